"""The arithmetic of a sequence's steps, on raw arrays: what the fused Functions are made of.

T steps, N batch, I input size, H hidden size, G gates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from impl_numpy.buffers import empty
from impl_numpy.dtypes import Array, Shape, float32, float64
from impl_numpy.ops.elementwise import cosh, slope_of_tanh

# So many elements of one gate are worked on at once in backward: they should stay in the cache.
CHUNK = 1 << 13
_add, _multiply, _divide, _tanh = np.add, np.multiply, np.divide, np.tanh


def projected(x: Array, w_ih: Array, b_ih: Array | None, b_hh: Array | None) -> Array:
    """Return the input's part of the gates, and the biases: (T, N, G H), a new array."""
    gates = empty((*x.shape[:2], len(w_ih)), x.dtype)
    np.matmul(flattened(x), w_ih.T, out=flattened(gates))
    if b_ih is not None:
        gates += b_ih if b_hh is None else b_ih + b_hh
    elif b_hh is not None:
        gates += b_hh
    return gates


def slots(first: Array, steps: int) -> Array:
    """Return room for the states before and after each step: (T + 1, N, H)."""
    states = empty((steps + 1, *first.shape), first.dtype)
    states[0] = first
    return states


def start_from(grad: Array | None, like: Array) -> Array:
    """Return the gradient of the last state as an array to work in."""
    work = np.empty(like.shape, like.dtype)
    work[...] = 0 if grad is None else grad
    return work


def chunked(shape: Shape) -> Iterator[tuple[int, int]]:
    """Yield ranges of steps from the last to the first."""
    steps, batch, size = shape
    length = max(1, CHUNK // max(1, batch * size))
    for stop in range(steps, 0, -length):
        yield max(0, stop - length), stop


def parts_of(gates: Array, size: int) -> list[Array]:
    """Return one view a gate, from (T, N, G H)."""
    return [gates[:, :, k : k + size] for k in range(0, gates.shape[2], size)]


def flattened(x: Array) -> Array:
    """Return the rows of all steps one below the other: (T N, ...)."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def alone(x: Array) -> Array:
    """Return what a step works in: (N, ...), or of a batch of one the only row."""
    return x[0] if len(x) == 1 else x


def views_of(x: Array) -> list[Array]:
    """Return what `alone` would of each step of (T, N, ...)."""
    return list(x[:, 0] if x.shape[1] == 1 else x)


def split(x: Array, size: int) -> tuple[Array, Array]:
    """Return the columns before one, and those from it on."""
    return x[..., :size], x[..., size:]


def product_for(h: Array) -> Callable[..., Array]:
    """Return what multiplies a state by a matrix: for a vector `np.dot` has less to look at."""
    return np.dot if len(h) == 1 else np.matmul


def incoming_of(d_output: Array | None, like: Array) -> Array:
    """Return zeros where no gradient of the outputs came: one for each step."""
    return np.zeros((len(like), 1, 1), like.dtype) if d_output is None else d_output


def backwards(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yield what several sequences have of each step, from the last to the first."""
    return zip(*[reversed(views_of(x)) for x in arrays], strict=True)


def lstm_local(gates: Array, cgs: Array, wide: Array, narrow: Array) -> tuple[Array, ...]:
    """Return the local derivatives of some steps, computed in the last two arguments.

    Those of o by h; of c by h; of f, i and g by c, (T, N, 3, H); and f, that of c by the c before.
    """
    steps, batch, size = narrow[0, : len(gates)].shape
    e, sigmoids, l_fig = wide[:, :steps]
    np.minimum(gates[:, :, : 3 * size], largest(batch, 3 * size, e.dtype), out=e)
    one = NUMBERS[e.dtype][1]
    _divide(one, _add(e, one, sigmoids), sigmoids)
    _multiply(_multiply(e, sigmoids, e), sigmoids, e)
    (o, f, i), (d_o, d_f, d_i) = parts_of(sigmoids, size), parts_of(e, size)
    l_o, through = narrow[:, :steps]
    (c, g), after = split(cgs[:-1], size), cgs[1:, :, :size]
    _times_slope(o, after, _tanh(after, l_o), through)
    _multiply(l_o, d_o, l_o)
    l_f, l_i, l_g = parts_of(l_fig, size)
    _multiply(c, d_f, l_f)
    _multiply(g, d_i, l_i)
    _times_slope(i, gates[:, :, 3 * size :], g, l_g)
    return l_o, through, l_fig.reshape(steps, batch, 3, size), f


def gru_local(
    gates: Array, hs: Array, inner: Array, n: Array, wide: Array, narrow: Array
) -> tuple[Array, ...]:
    """Return the local derivatives of some steps, computed in the last two arguments.

    Those of n, r, z and of the state's part of n by h; and z, that of h by the h before.
    """
    size, steps = gates.shape[2] // 3, len(gates)
    sigmoids, rest = wide[:, :steps]
    e, one = gates[:, :, : 2 * size], NUMBERS[wide.dtype][1]
    _divide(one, _add(e, one, sigmoids), sigmoids)
    _multiply(e, sigmoids, rest)
    (r, z), (l_n, l_r, l_z, l_hn) = parts_of(sigmoids, size), narrow[:, :steps]
    _times_slope(rest[:, :, size:], gates[:, :, 2 * size :], n, l_n)
    _multiply(l_n, r, l_hn)
    d_r, d_z = parts_of(_multiply(rest, sigmoids, rest), size)
    _multiply(_multiply(l_n, inner, l_r), d_r, l_r)
    _multiply(np.subtract(hs, n, l_z), d_z, l_z)
    return l_n, l_r, l_z, l_hn, z


def _times_slope(factor: Array, x: Array, y: Array, out: Array) -> None:
    """Write a factor times the slope of tanh at x, where y = tanh(x)."""
    if out.dtype == float32:
        # As in `slope_of_tanh`, with one operation less.
        cosh(x, out)
        _divide(factor, np.square(out, out), out)
    else:
        _multiply(factor, slope_of_tanh(x, y), out)


# 0 and 1 as arrays, and the largest finite number.
NUMBERS = {dtype: (np.zeros((), dtype), np.ones((), dtype)) for dtype in (float32, float64)}
_MOST = {dtype: np.array(np.finfo(dtype).max) for dtype in (float32, float64)}


def largest(batch: int, size: int, dtype: np.dtype[Any]) -> Array:
    """Return the largest number; for rows as a row, with which a minimum takes half the time."""
    return _MOST[dtype] if batch == 1 else np.full(size, _MOST[dtype])


def lstm_rows(w: Array, negate: bool = False) -> Array:
    """Return rows i, f, g, o as o, f, i, g: the sigmoids side by side, and what c' is made from.

    With `negate` those of the sigmoids change their sign.
    """
    gates = w.reshape(4, -1)[[3, 1, 0, 2]]
    if negate:
        np.negative(gates[:3], gates[:3])
    return gates.reshape(w.shape)


def lstm_rows_back(w: Array) -> Array:
    """Return rows o, f, i, g as i, f, g, o."""
    return w.reshape(4, -1)[[2, 1, 3, 0]].reshape(w.shape)


def rolled(w: Array, first: int) -> Array:
    """Return the rows from one on, and then those before it."""
    return np.concatenate([w[first:], w[:first]])
