"""A Fourier neural operator learns where Burgers' equation takes a function, on any grid.

u_t + u u_x = nu u_xx on a circle. The network maps u at time 0 to u at time 1: each layer is
gelu(W v + K(v)), with K a Fourier layer (Li et al. 2021, equations 2 and 4, and section 5.1). It is
trained on a grid of 64 points and then given one of 128 with the same parameters.

    python burgers.py --impl impl_numpy
"""

from typing import Any

import chosen
import fourier
import numpy as np

FINE, COARSE, NU = 128, 64, 0.02
TRAINED, HELD_OUT = 96, 32


def solved(start: np.ndarray, steps: int = 200) -> np.ndarray:
    """Return u at time 1 for each row of u at time 0, by Runge and Kutta's fourth order.

    The viscous term is taken exactly, by its factor exp(-nu k^2 t) in front of each coefficient;
    a third of the frequencies is left out of the product, so that none comes back as another.
    """
    length = start.shape[-1]
    k = 2 * np.pi * np.arange(length // 2 + 1)
    kept = np.arange(length // 2 + 1) < length // 3
    step = 1 / steps
    half = np.exp(-NU * k**2 * step / 2)

    def slope(u: np.ndarray) -> np.ndarray:
        values = np.fft.irfft(u * kept, n=length)
        return np.asarray(-0.5j * k * np.fft.rfft(values**2) * kept)

    u = np.fft.rfft(start)
    for _ in range(steps):
        a = slope(u)
        b = slope(half * (u + step / 2 * a))
        c = slope(half * u + step / 2 * b)
        d = slope(half**2 * u + step * half * c)
        u = half**2 * u + step / 6 * (half**2 * a + 2 * half * (b + c) + d)
    return np.asarray(np.fft.irfft(u, n=length))


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Return smooth random functions (N, L) of mean 0, and what becomes of them."""
    rng = np.random.default_rng(0)
    frequencies = FINE // 2 + 1
    noise = rng.normal(size=(2, TRAINED + HELD_OUT, frequencies))
    size = 25 / ((2 * np.pi * np.arange(frequencies)) ** 2 + 25)
    size[0] = 0
    start = np.fft.irfft((noise[0] + 1j * noise[1]) * size, n=FINE, norm="forward")
    return start, solved(start)


def define(nn: Any) -> type:
    """Return the Module `Operator` of an implementation."""
    layer = fourier.define(nn)

    class Operator(nn.Module):
        """A function (N, L) to another."""

        def __init__(self, width: int = 10, modes: int = 10) -> None:
            super().__init__()
            self.lift = nn.Linear(2, width)
            self.spectral = nn.ModuleList(
                [layer(width, width, modes, scale=1 / width**2) for _ in range(2)]
            )
            self.local = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
            self.project = nn.Linear(width, 1)

        def forward(self, u: Any) -> Any:
            place = nn.ops.broadcast_to(nn.ops.arange(u.shape[1]) / u.shape[1], u.shape)
            v = self.lift(nn.ops.stack([u, place], axis=-1))
            for spectral, local in zip(self.spectral, self.local, strict=True):
                v = nn.ops.gelu(spectral(v) + local(v))
            return self.project(v)[..., 0]

    return Operator


def error(nn: Any, model: Any, start: np.ndarray, end: np.ndarray) -> float:
    """Return the mean over the rows of the error's length by the solution's."""
    with nn.no_grad():
        got = np.asarray(model(nn.tensor(start.astype(np.float32))).tolist())
    lengths = np.linalg.norm(got - end, axis=1) / np.linalg.norm(end, axis=1)
    return float(lengths.mean())


def learn(nn: Any, steps: int) -> tuple[list[float], float, float]:
    """Train on the coarse grid; return the losses, and the errors of rows held out on both."""
    start, end = examples()
    every = FINE // COARSE
    nn.manual_seed(0)
    model = define(nn)()
    x = nn.tensor(start[:TRAINED, ::every].astype(np.float32))
    target = nn.tensor(end[:TRAINED, ::every].astype(np.float32))
    optimizer = nn.optim.Adam(list(model.parameters()), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.loss.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    start, end = start[TRAINED:], end[TRAINED:]
    coarse = error(nn, model, start[:, ::every], end[:, ::every])
    return losses, coarse, error(nn, model, start, end)


if __name__ == "__main__":
    nn, picture = chosen.arguments("burgers.png")
    losses, coarse, fine = learn(nn, steps=100)
    for number in range(0, 100, 20):
        print(f"step {number:3d}: loss {losses[number]:.2e}")
    print(f"last: loss {losses[-1]:.2e}")
    print(f"error of functions held out: {coarse:.1%} on {COARSE} points, {fine:.1%} on {FINE}")
    chosen.draw(losses, picture, scale="log")
