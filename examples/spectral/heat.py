"""A Fourier layer finds the heat equation in its solutions.

u_t = nu u_xx on a circle takes the coefficient of the frequency k from c to c exp(-nu k^2 t). A
layer that multiplies coefficients can do just that, and its squared error is a parabola in each of
its numbers: with curvature h, gradient descent from 0 with the step `rate` has gone, after s steps,
1 - (1 - rate h)^s of the way. So it is known how close it should be, and not only that it learns.

    python heat.py --impl impl_numpy
"""

from typing import Any

import chosen
import fourier
import numpy as np

GRID, MODES, SAMPLES = 32, 8, 64
NU_T = 0.04


def solutions() -> tuple[np.ndarray, np.ndarray]:
    """Return functions (N, L, 1), white noise, and what they are at the time t."""
    start = np.random.default_rng(0).normal(size=(SAMPLES, GRID, 1)).astype(np.float32)
    decay = multipliers(GRID // 2 + 1)[:, None]
    return start, np.fft.irfft(np.fft.rfft(start, axis=1) * decay, n=GRID, axis=1)


def multipliers(modes: int) -> np.ndarray:
    """Return exp(-nu k^2 t) for the first frequencies."""
    return np.asarray(np.exp(-NU_T * np.arange(modes) ** 2))


def curvatures() -> np.ndarray:
    """Return the second derivative of the mean squared error by each multiplier."""
    start, _ = solutions()
    power = np.abs(np.fft.rfft(start.astype(np.float64), axis=1, norm="forward")) ** 2
    counts = np.where(np.arange(MODES) == 0, 1, 2)
    return np.asarray(2 * counts * power[:, :MODES, 0].mean(axis=0))


def learn(nn: Any, steps: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Train; return the losses, the multipliers that were learnt, and those to be expected."""
    start, end = solutions()
    x, target = nn.tensor(start), nn.tensor(end.astype(np.float32))
    layer = fourier.define(nn)(1, 1, MODES, scale=0.0)
    h = curvatures()
    rate = float(1 / h.max())
    optimizer = nn.optim.SGD(list(layer.parameters()), lr=rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.loss.mse_loss(layer(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    real, imag = (np.asarray(p.tolist())[:, 0, 0] for p in (layer.real, layer.imag))
    return losses, real + 1j * imag, multipliers(MODES) * (1 - (1 - rate * h) ** steps)


if __name__ == "__main__":
    nn, picture = chosen.arguments("heat.png")
    losses, found, _ = learn(nn, steps=60)
    print(f"loss: {losses[0]:.2e} before the first step, {losses[-1]:.2e} before the last")
    for k, (number, known) in enumerate(zip(found, multipliers(MODES), strict=True)):
        print(
            f"k = {k}: learnt {number.real:8.5f} {number.imag:+8.5f}i, exp(-nu k^2 t) {known:.5f}"
        )
    drawn = chosen.axes(2)
    if drawn is not None:
        figure, (left, right) = drawn
        left.semilogy(losses)
        left.set(xlabel="step", ylabel="loss")
        right.plot(found.real, "o", label="learnt")
        right.plot(multipliers(MODES), label="exp(-nu k^2 t)")
        right.set(xlabel="frequency k", ylabel="multiplier")
        right.legend()
        figure.savefig(picture)
        print(f"drawn in {picture}")
