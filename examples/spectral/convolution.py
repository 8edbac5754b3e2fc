"""A circular convolution as a Function that goes through spectra, written once for all.

`forward` and `backward` use ``ctx.xp.fft`` alone, so one class runs on every implementation, and is
differentiated twice: what it saves are complex arrays. The spectrum of a convolution is the product
of the spectra; in `backward` one of them is conjugate (the correlation theorem).

    python convolution.py --impl impl_numpy
"""

from typing import Any

import chosen
import numpy as np


class Convolution:
    """y_i = sum_j x_{i-j} k_j, round the end: x (N, L) and k (L,) to (N, L)."""

    @staticmethod
    def forward(ctx: Any, x: Any, k: Any) -> Any:
        """Multiply the spectra, and keep them."""
        fft = ctx.xp.fft
        signal, kernel = fft.rfft(x), fft.rfft(k)
        ctx.save_for_backward(signal, kernel)
        return fft.irfft(signal * kernel, n=x.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        """Correlate with the other operand."""
        fft, conj = ctx.xp.fft, ctx.xp.conj
        signal, kernel = ctx.saved_tensors
        length = grad_output.shape[-1]
        arriving = fft.rfft(grad_output)
        to_x = fft.irfft(arriving * conj(kernel), n=length)
        to_k = fft.irfft(arriving * conj(signal), n=length)
        return to_x, ctx.xp.sum(to_k, axis=0)


def summed(nn: Any, x: Any, k: Any) -> Any:
    """Return what `Convolution` returns, as a sum of shifted copies."""
    terms = [nn.ops.roll(x, j, axis=1) * k[j] for j in range(k.shape[0])]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def difference(nn: Any) -> float:
    """Return the largest difference between its values and gradients and those of the sum."""
    apply = nn.as_function(Convolution).apply
    nn.manual_seed(0)
    x, k = nn.randn((3, 15)), nn.randn(15)

    def by(function: Any) -> tuple[Any, ...]:
        slopes = nn.grad(lambda x, k: nn.ops.sum(function(x, k) ** 2), argnums=(0, 1))(x, k)
        return function(x, k), *slopes

    pairs = zip(by(apply), by(lambda x, k: summed(nn, x, k)), strict=True)
    return max(nn.ops.max(nn.ops.abs(a - b)).item() for a, b in pairs)


def echo(length: int) -> np.ndarray:
    """Return a kernel that adds two echoes."""
    kernel = np.zeros(length, np.float32)
    kernel[[0, 5, 11]] = 1, 0.6, -0.3
    return kernel


def learn(nn: Any, steps: int) -> tuple[list[float], np.ndarray]:
    """Find the echoes of a sound that is known; return the losses and the kernel."""
    apply = nn.as_function(Convolution).apply
    nn.manual_seed(0)
    sound, known = nn.randn((32, 31)), nn.tensor(echo(31))
    heard = apply(sound, known)
    kernel = nn.Parameter(nn.zeros(31))
    optimizer = nn.optim.Adam([kernel], lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.loss.mse_loss(apply(sound, kernel), heard)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, np.asarray(kernel.tolist())


if __name__ == "__main__":
    nn, picture = chosen.arguments("convolution.png")
    print(f"largest difference to the sum of shifted copies: {difference(nn):.1e}")
    losses, kernel = learn(nn, steps=150)
    for number in range(0, 150, 30):
        print(f"step {number:3d}: loss {losses[number]:.2e}")
    places = np.argsort(-np.abs(kernel))[:3]
    found = ", ".join(f"{kernel[place]:+.3f} after {place}" for place in sorted(places))
    print(f"last: loss {losses[-1]:.2e}; echoes {found}")
    chosen.draw(losses, picture, scale="log")
