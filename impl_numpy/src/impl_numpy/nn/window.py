"""Windows that slide over the last axes: what convolutions and pools share.

N batch, C channels, then one or two axes of lengths L, over which the windows slide; K a kernel's
size, O output channels, G groups. A size for each of these axes is a tuple. Along an axis window t
has the places s t + d k - p, k < K; s is the stride, d the dilation, p the padding in front.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from impl_numpy.batched import inside, is_batched
from impl_numpy.buffers import empty
from impl_numpy.checks import LARGEST, check_sizes, shown
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.recording import Grads, Primitive
from impl_numpy.recording import unary as record_unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor

FORMS = {1: "(N, C, L) or (C, L)", 2: "(N, C, H, W) or (C, H, W)"}
MODES = ("zeros", "reflect", "replicate", "circular")


class Windows(NamedTuple):
    """Where windows lie in an input of these sizes; a number for each axis."""

    sizes: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    after: Shape

    @property
    def reach(self) -> Shape:
        """Return from how many places on a window takes its own."""
        return reach(self.kernel, self.dilation)

    @property
    def counts(self) -> Shape:
        """Return how many windows there are (nn-17); below 1 where not one fits."""
        sizes = zip(self.sizes, self.before, self.after, self.reach, self.stride, strict=True)
        return tuple([(n + p + q - r) // s + 1 for n, p, q, r, s in sizes])


def reach(kernel: Shape, dilation: Shape) -> Shape:
    """Return from how many places on a window of this kernel takes its own."""
    return tuple([d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)])


def per_axis(owner: str, name: str, value: Any, axes: int, least: int = 1) -> Shape:
    """Return an int, or one for each axis, as a tuple.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If there are more or fewer than axes, or one is below the least.
    """
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    wanted = f"an int, or {axes} in a tuple, of at least {least}"
    if not all([isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in sizes]):
        msg = f"{owner}: {name} must be {wanted}, got {shown(value)}"
        raise TypeError(msg)
    if len(sizes) != axes or not all([least <= n < LARGEST for n in sizes]):
        msg = f"{owner}: {name} must be {wanted}, got {shown(value)}"
        raise ValueError(msg)
    return tuple([int(n) for n in sizes])


def with_batch(owner: str, x: Tensor, axes: int, of: str = "", channels: int = 0) -> Tensor:
    """Return an input with its batch, which may be left out; checked for its axes and channels."""
    fits = x.ndim in (axes + 1, axes + 2)
    if not fits or (channels and x.shape[-axes - 1] != channels):
        count = f" with C = {of} = {channels}" if channels else ""
        msg = f"{owner}: input must have shape {FORMS[axes]}{count}, got {x.shape}"
        raise ValueError(msg)
    return x if x.ndim == axes + 2 else x.reshape((1, *x.shape))


def like_input(y: Tensor, batch: bool) -> Tensor:
    """Return a result without its batch, where the input had none."""
    return y if batch else y.reshape(y.shape[1:])


def framed(x: Array, before: Shape, after: Shape, value: float = 0) -> Array:
    """Return an array with a border of one value on its last axes; where negative, with less."""
    if not any(before) and not any(after):
        return x
    if is_batched(x):
        return inside(x, lambda x: framed(x, before, after, value))
    axes = len(before)
    every: Any = ...
    lengths = list(zip(x.shape[-axes:], before, after, strict=True))
    shape = (*x.shape[:-axes], *[n + p + q for n, p, q in lengths])
    out = empty(check_sizes(shape, "pad"), x.dtype)
    out.fill(value)
    if max(*before, *after) <= 0:
        return x[(every, *[slice(-p, n + q) for n, p, q in lengths])]
    kept = [max(0, n + min(p, 0) + min(q, 0)) for n, p, q in lengths]
    within = [slice(max(p, 0), max(p, 0) + n) for p, n in zip(before, kept, strict=True)]
    taken = [slice(max(-p, 0), max(-p, 0) + n) for p, n in zip(before, kept, strict=True)]
    out[(every, *within)] = x[(every, *taken)]
    return out


def in_windows(x: Array, kernel: Shape, stride: Shape, dilation: Shape, counts: Shape) -> Array:
    """Return a view (C, *kernel, *counts) of an array (C, *sizes): place k of window t."""
    steps = x.strides[1:]
    inner = [d * step for d, step in zip(dilation, steps, strict=True)]
    outer = [s * step for s, step in zip(stride, steps, strict=True)]
    shape = (x.shape[0], *kernel, *counts)
    strides = (x.strides[0], *inner, *outer)
    return as_strided(x, shape, strides, writeable=False)


def tap(windows: Windows, place: Shape, counts: Shape) -> tuple[Any, ...]:
    """Return the index, in a framed input, of one place of the kernel in so many windows."""
    steps = zip(place, windows.dilation, windows.stride, counts, strict=True)
    return (..., *[slice(d * k, d * k + s * (n - 1) + 1, s) for k, d, s, n in steps])


def _beyond(length: int, before: int, after: int, mode: str) -> Array:
    """Return from which place of an axis each one of the bordered axis comes (nn-18)."""
    places = np.arange(-before, length + after)
    if mode == "circular":
        return places % length
    if mode == "replicate":
        return np.clip(places, 0, length - 1)
    last = length - 1
    return last - np.abs(last - np.abs(places))


def _border(x: Array, axis: int, before: int, after: int, mode: str) -> Array:
    return np.take(x, _beyond(x.shape[axis], before, after, mode), axis)


def _fold(x: Array, axis: int, before: int, after: int, mode: str) -> Array:
    """Return the sum of what came from each place."""
    x = np.moveaxis(x, axis, 0)
    length = len(x) - before - after
    out = x[before : before + length].copy()
    sources = _beyond(length, before, after, mode)
    for place in (*range(before), *range(before + length, len(x))):
        out[sources[place]] += x[place]
    return np.moveaxis(out, 0, axis)


def _border_vjp(grad: Value, _needs: Parents, _x: None, _out: None, *config: Any) -> Grads:
    return (_folded(grad, *config),)


def _fold_vjp(grad: Value, _needs: Parents, _x: None, _out: None, *config: Any) -> Grads:
    return (_bordered(grad, *config),)


_bordered = Primitive("pad", _border, _border_vjp)
_folded = Primitive("pad", _fold, _fold_vjp)


def bordered(owner: str, x: Tensor, before: Shape, after: Shape, mode: str) -> Tensor:
    """Return a Tensor with what a padding mode puts outside, on its last axes (nn-18).

    Raises
    ------
    ValueError
        If there is more outside than the mode can take from an axis.
    """
    axes = len(before)
    for length, p, q in zip(x.shape[-axes:], before, after, strict=True):
        most = {"reflect": length - 1, "circular": length}.get(mode, LARGEST if length else 0)
        if max(p, q) > most:
            msg = (
                f"{owner}: padding {max(p, q)} is too long for padding_mode {mode!r} and an axis "
                f"of {length}, which allows {max(most, 0)}"
            )
            raise ValueError(msg)
    for axis, (p, q) in enumerate(zip(before, after, strict=True), x.ndim - axes):
        if p or q:
            x = record_unary(_bordered, x, (axis, p, q, mode))
    return x
