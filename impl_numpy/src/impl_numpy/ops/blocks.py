"""Functions of elements that take many passes, in float32 and block by block.

Equations: with S(z) = P(z) / Q(z), a minimax fit of log(p / (1 - p)) / x at z = x^2, where p is the
normal distribution's share below x: p = 1 / (1 + exp(-x S)) and erf(x / sqrt(2)) = tanh(x S / 2).
The fit is wrong by 3e-9 of erf, a twentieth of a unit in the last place of 1, for |x| < 5.6; beyond
it p goes on to 0. All coefficients are positive, so that no digits cancel; p keeps more of them in
the tail than (1 + erf) / 2 has. Logarithms of 1 + e, 0 <= e <= 1, are 2 artanh(e / (2 + e)).

Layout: arguments of any layout, which must have one shape, are read as one row, and so is what is
written. A kernel is called for each `BLOCK` of it as `kernel(out, work, *arguments)`, and has three
rows to work in; so much stays in the cache over all passes, of which each goes through memory else.

Ownership: the result is new. Of arguments nothing is written, and `out` overlaps none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from impl_numpy.buffers import empty
from impl_numpy.dtypes import Array, float32

Kernel = Callable[..., Any]

BLOCK = 1 << 14
# Beyond these the exponential is 0 or infinite in every dtype, and 0 times infinity is not made.
FAR = 1000.0


def in_blocks(kernel: Kernel, *arguments: Any) -> Array:
    """Return what a kernel makes of float32 arrays of one shape.

    Parameters
    ----------
    kernel : callable
        `kernel(out, work, *arguments)` on rows of one length, `work` being three of them.
    *arguments : numpy.ndarray or NumPy's scalar, one shape

    Returns
    -------
    numpy.ndarray of float32, of the arguments' shape, C-contiguous
    """
    out = empty(arguments[0].shape, float32)
    size = out.size
    rows = [np.ascontiguousarray(x).reshape(-1) for x in (out, *arguments)]
    work = empty((3, min(size, BLOCK)), float32)
    if size <= BLOCK:
        kernel(rows[0], work, *rows[1:])
        return out
    for start in range(0, size, BLOCK):
        parts = [row[start : start + BLOCK] for row in rows]
        kernel(parts[0], work[:, : len(parts[0])], *parts[1:])
    return out


def _numbers(values: Sequence[float]) -> list[Array]:
    # A Python number costs more than what is done with it.
    return [np.array(value, float32) for value in values]


_P = (1.5957691269105252, 0.19785324753999567, 0.01507781235592211, 0.00038506825768412373)
_Q = (1.0, 0.07844625226117777, 0.005922469211496025, 4.061536648300783e-05)
_SHARE = _numbers([-c for c in _P]), _numbers(_Q)
# Of x / sqrt(2), and halved.
_ERF = (
    _numbers([c * 2**k / math.sqrt(2) for k, c in enumerate(_P)]),
    _numbers([c * 2**k for k, c in enumerate(_Q)]),
)
_STEEP, _CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715
_BY_TANH = _numbers([-_STEEP, -_STEEP * _CUBIC])
_SLOPE_BY_TANH = _numbers([_STEEP, 3 * _STEEP * _CUBIC])
_DENSITY = np.array(math.sqrt(0.5 / math.pi), float32)
_LOG = _numbers([2 / (2 * k + 1) for k in range(7)])
_ONE, _TWO, _MINUS_HALF, _LOW, _HIGH, _INFINITE = _numbers([1, 2, -0.5, -FAR, FAR, math.inf])


def _horner(coefficients: list[Array], z: Array, out: Array) -> Array:
    """Write the value of a polynomial, whose coefficients ascend."""
    *rest, second, first = coefficients
    np.multiply(z, first, out)
    np.add(out, second, out)
    for c in reversed(rest):
        np.multiply(out, z, out)
        np.add(out, c, out)
    return out


def _ratio(fit: tuple[list[Array], list[Array]], z: Array, out: Array, below: Array) -> Array:
    """Write P(z) / Q(z) in `out`."""
    return np.divide(_horner(fit[0], z, out), _horner(fit[1], z, below), out)


def erf(out: Array, work: Array, x: Array) -> None:
    """Write erf(x)."""
    z, below, _ = work
    np.clip(np.square(x, z), 0, _HIGH, z)
    np.tanh(np.multiply(_ratio(_ERF, z, out, below), x, out), out)


def _below(out: Array, near: Array) -> None:
    """Make of S the inverse of the share below x."""
    np.exp(np.multiply(out, near, out), out)
    np.add(out, _ONE, out)


def gelu(out: Array, work: Array, x: Array) -> None:
    """Write x p, p being the normal distribution's share below x."""
    near, z, below = work
    np.square(np.clip(x, _LOW, _HIGH, near), z)
    _below(_ratio(_SHARE, z, out, below), near)
    np.divide(np.maximum(near, x, out=near), out, out)


def gelu_slope(out: Array, work: Array, x: Array, grad: Array) -> None:
    """Write grad (p + x d), d being the normal distribution's density at x."""
    near, z, below = work
    np.square(np.clip(x, _LOW, _HIGH, near), z)
    _below(_ratio(_SHARE, z, out, below), near)
    np.exp(np.multiply(z, _MINUS_HALF, z), z)
    np.multiply(np.multiply(z, near, z), _DENSITY, z)
    np.add(np.divide(_ONE, out, out), z, out)
    np.multiply(out, grad, out)


def gelu_by_tanh(out: Array, work: Array, x: Array) -> None:
    """Write x p, where log(p / (1 - p)) is taken as a polynomial of x."""
    near, z, _ = work
    np.square(np.clip(x, _LOW, _HIGH, near), z)
    _below(_horner(_BY_TANH, z, out), near)
    np.divide(np.maximum(near, x, out=near), out, out)


def gelu_by_tanh_slope(out: Array, work: Array, x: Array, grad: Array) -> None:
    """Write grad (p + x p (1 - p) times the polynomial's slope)."""
    near, z, p = work
    np.square(np.clip(x, _LOW, _HIGH, near), z)
    e = np.exp(np.multiply(_horner(_BY_TANH, z, out), near, out), out)
    np.divide(_ONE, np.add(e, _ONE, p), p)
    rest = _rest(e, p)
    np.multiply(np.multiply(rest, p, rest), near, rest)
    np.add(np.multiply(z, _SLOPE_BY_TANH[1], z), _SLOPE_BY_TANH[0], z)
    np.add(np.multiply(rest, z, out), p, out)
    np.multiply(out, grad, out)


def _rest(e: Array, p: Array) -> Array:
    """Make of e = exp(-a) what p = 1 / (1 + e) leaves of 1."""
    # Where e is infinite the product is NaN, which `fmin` passes over.
    return np.fmin(np.multiply(e, p, e), _ONE, e)


def sigmoid(out: Array, _work: Array, x: Array) -> None:
    """Write s = 1 / (1 + exp(-x)); where the exponential is infinite, 0."""
    np.exp(np.negative(x, out), out)
    np.divide(_ONE, np.add(out, _ONE, out), out)


def sigmoid_slope(out: Array, work: Array, x: Array, grad: Array) -> None:
    """Write grad s (1 - s) as grad / (exp(x) + exp(-x) + 2), of which no digits cancel."""
    e = np.exp(x, out)
    np.add(np.add(e, np.reciprocal(e, work[0]), out), _TWO, out)
    np.divide(grad, out, out)


def silu(out: Array, work: Array, x: Array) -> None:
    """Write x s."""
    near = work[0]
    np.clip(x, _LOW, _INFINITE, near)
    np.add(np.exp(np.negative(near, out), out), _ONE, out)
    np.divide(near, out, out)


def silu_slope(out: Array, work: Array, x: Array, grad: Array) -> None:
    """Write grad s (1 + x (1 - s))."""
    near, e, _ = work
    np.exp(np.negative(np.clip(x, _LOW, _HIGH, near), e), e)
    s = np.divide(_ONE, np.add(e, _ONE, out), out)
    rest = _rest(e, s)
    np.add(np.multiply(rest, near, rest), _ONE, rest)
    np.multiply(np.multiply(s, rest, out), grad, out)


def softplus(out: Array, work: Array, x: Array) -> None:
    """Write log(1 + exp(x)) as max(x, 0) + log(1 + e), e = exp(-|x|)."""
    e, ratio, z = work
    np.exp(np.negative(np.abs(x, e), e), e)
    np.divide(e, np.add(e, _TWO, ratio), ratio)
    np.multiply(_horner(_LOG, np.square(ratio, z), out), ratio, out)
    np.add(out, np.clip(x, 0, _INFINITE, e), out)
