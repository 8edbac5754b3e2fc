"""Windows that slide over the last axes: what convolutions and pools share, and their products.

N batch, C channels, then one or two axes of lengths L, over which the windows slide; K a kernel's
size, O output channels, G groups. A size for each of these axes is a tuple. Along an axis window t
has the places s t + d k - p, k < K; s is the stride, d the dilation, p the padding in front.

The result of a convolution is bilinear in input and weight. Its gradients are the two other maps
that one sum defines,

    sum over n, o, t, c, k of y[n, o, t] weight[o, c, k] x[n, c, s t + d k - p],

and so are the gradients of these: each of the three `Primitive`s has the other two as its
derivatives, to any order. Each is one matrix product for a block of windows, which are written out
as the columns of a matrix (C K, places); the block bounds the memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from impl_numpy.batched import inside, is_batched
from impl_numpy.buffers import empty
from impl_numpy.checks import LARGEST, check_sizes, shown
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.recording import RULES, Grads, Primitive
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
    """Return a view (C, *kernel, N, *counts) of an array (N, C, *sizes): place k of window t."""
    steps = x.strides[2:]
    inner = [d * step for d, step in zip(dilation, steps, strict=True)]
    outer = [s * step for s, step in zip(stride, steps, strict=True)]
    shape = (x.shape[1], *kernel, x.shape[0], *counts)
    strides = (x.strides[1], *inner, x.strides[0], *outer)
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


# So many elements are written out at once: the processor still has them when they are multiplied.
BLOCK = 1 << 20


class Geometry(NamedTuple):
    """Windows over x, and the number of groups."""

    windows: Windows
    groups: int


class _Block(NamedTuple):
    """Some samples, and some rows of windows, written out."""

    samples: slice
    rows: slice
    shape: Shape


def _blocks(channels: int, samples: int, windows: Windows) -> Iterator[_Block]:
    """Yield the blocks of a product: whole samples, or where one is too large rows of it."""
    counts = windows.counts
    row = max(1, channels * math.prod(windows.kernel) * math.prod(counts[1:]))
    height = max(1, min(counts[0], BLOCK // row))
    depth = max(1, BLOCK // (row * height))
    for n in range(0, samples, depth):
        part = slice(n, min(n + depth, samples))
        for start in range(0, counts[0], height):
            rows = slice(start, min(start + height, counts[0]))
            shape = (part.stop - n, rows.stop - start, *counts[1:])
            yield _Block(part, rows, shape)


def _columns(x: Array, geometry: Geometry) -> Iterator[tuple[_Block, Array]]:
    """Yield the windows of an input block by block, as matrices (G, C K / G, places)."""
    windows, groups = geometry
    whole = framed(x, windows.before, windows.after)
    counts, axes = windows.counts, len(windows.kernel)
    view = in_windows(whole, windows.kernel, windows.stride, windows.dilation, counts)
    lead = (slice(None),) * (1 + axes)
    for block in _blocks(x.shape[1], len(x), windows):
        part = view[(*lead, block.samples, block.rows)]
        columns = empty(part.shape, x.dtype)
        np.copyto(columns, part)
        yield block, columns.reshape(groups, -1, math.prod(block.shape))


def _rows(y: Array, block: _Block, groups: int) -> Array:
    """Return a block of results as matrices (G, O / G, places)."""
    part = y[block.samples, :, block.rows].swapaxes(0, 1)
    rows = empty(part.shape, y.dtype)
    np.copyto(rows, part)
    return rows.reshape(groups, y.shape[1] // groups, -1)


def _times(matrix: Array, columns: Array) -> Array:
    out = empty((*matrix.shape[:2], columns.shape[2]), columns.dtype)
    return np.matmul(matrix, columns, out=out)


def _put(y: Array, block: _Block, product: Array) -> None:
    """Put a product (G, O / G, places) where its block of results lies."""
    part = product.reshape(y.shape[1], *block.shape).swapaxes(0, 1)
    y[block.samples, :, block.rows] = part


def _correlate(x: Array, weight: Array, *rest: Any) -> Array:
    """Return the cross-correlation (nn-17); after the weight there may be a bias."""
    *bias, geometry = rest
    groups = geometry.groups
    y = empty(check_sizes((len(x), len(weight), *geometry.windows.counts), "conv"), x.dtype)
    matrix = weight.reshape(groups, len(weight) // groups, -1)
    for block, columns in _columns(x, geometry):
        product = _times(matrix, columns)
        for b in bias:
            product += b.reshape(groups, -1, 1)
        _put(y, block, product)
    return y


def _transpose(y: Array, weight: Array, *rest: Any) -> Array:
    """Return what the gradient to x makes of y (nn-20), plus a bias if there is one."""
    *bias, geometry = rest
    windows = geometry.windows
    if max(windows.stride) == 1:
        return _turned(y, weight, *rest)
    x = _scattered(y, weight, geometry)
    for b in bias:
        x += b.reshape(-1, *(1,) * len(windows.sizes))
    return x


def _turned(y: Array, weight: Array, *rest: Any) -> Array:
    """Do it with stride 1: correlate with the weight turned round, its channels exchanged."""
    *bias, (windows, groups) = rest
    axes = len(windows.kernel)
    apart = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    turned = np.flip(apart, tuple(range(-axes, 0))).swapaxes(1, 2)
    before, after = [
        tuple([r - 1 - p for r, p in zip(windows.reach, edge, strict=True)])
        for edge in (windows.before, windows.after)
    ]
    other = windows._replace(sizes=windows.counts, before=before, after=after)
    wide = turned.reshape(groups * weight.shape[1], len(weight) // groups, *windows.kernel)
    return _correlate(y, wide, *bias, Geometry(other, groups))


def _scattered(y: Array, weight: Array, geometry: Geometry) -> Array:
    """Do it with any stride: add each place of the kernel where its windows lie."""
    windows, groups = geometry
    channels = groups * weight.shape[1]
    sizes = zip(windows.sizes, windows.before, windows.after, strict=True)
    lengths = [n + p + max(q, 0) for n, p, q in sizes]
    whole = np.zeros(check_sizes((len(y), channels, *lengths), "conv"), y.dtype)
    matrix = weight.reshape(groups, len(weight) // groups, -1).swapaxes(1, 2)
    step = windows.stride[0]
    for block in _blocks(channels, len(y), windows):
        product = _times(matrix, _rows(y, block, groups))
        columns = product.reshape(channels, *windows.kernel, *block.shape)
        target = whole[block.samples, :, step * block.rows.start :].swapaxes(0, 1)
        for place in np.ndindex(windows.kernel):
            part = columns[(slice(None), *place)]
            target[tap(windows, place, block.shape[1:])] += part
    ends = zip(windows.before, windows.sizes, strict=True)
    every: Any = ...
    return whole[(every, *[slice(p, p + n) for p, n in ends])]


def _weigh(x: Array, y: Array, geometry: Geometry) -> Array:
    """Return what the gradient to the weight makes of x and of a gradient y."""
    groups, outputs = geometry.groups, y.shape[1]
    kernel = geometry.windows.kernel
    inner = x.shape[1] // groups
    added = np.zeros((groups, outputs // groups, inner * math.prod(kernel)), x.dtype)
    for block, columns in _columns(x, geometry):
        added += _rows(y, block, groups) @ columns.swapaxes(1, 2)
    return added.reshape(outputs, inner, *kernel)


def _over_places(grad: Value) -> Value:
    """Return the gradient to a bias."""
    axes = (0, *range(2, grad.ndim))
    kept = tuple([1 if k in axes else n for k, n in enumerate(grad.shape)])
    return RULES["sum"](grad, axes, False, kept, grad.shape)


def _correlate_vjp(grad: Value, needs: Parents, x: Value, weight: Value, *rest: Any) -> Grads:
    maps, geometry = _maps(rest)
    return (
        None if needs[0] is None else maps.transposed(grad, weight, geometry),
        None if needs[1] is None else maps.weighed(x, grad, geometry),
        *[None if need is None else _over_places(grad) for need in needs[2:]],
    )


def _transpose_vjp(grad: Value, needs: Parents, y: Value, weight: Value, *rest: Any) -> Grads:
    maps, geometry = _maps(rest)
    return (
        None if needs[0] is None else maps.correlated(grad, weight, geometry),
        None if needs[1] is None else maps.weighed(grad, y, geometry),
        *[None if need is None else _over_places(grad) for need in needs[2:]],
    )


def _weigh_vjp(grad: Value, needs: Parents, x: Value, y: Value, *rest: Any) -> Grads:
    maps, geometry = _maps(rest)
    return (
        None if needs[0] is None else maps.transposed(y, grad, geometry),
        None if needs[1] is None else maps.correlated(x, grad, geometry),
    )


class Maps:
    """The maps of convolutions along so many axes, and two of them with a bias."""

    def __init__(self, axes: int) -> None:
        keep = ((1,), (0,))
        names = f"Conv{axes}d", f"ConvTranspose{axes}d"
        self.correlated = Primitive(names[0], _correlate, _correlate_vjp, keep)
        self.transposed = Primitive(names[1], _transpose, _transpose_vjp, keep)
        self.weighed = Primitive(names[0], _weigh, _weigh_vjp, keep)
        self.correlated_biased = Primitive(names[0], _correlate, _correlate_vjp, (*keep, ()))
        self.transposed_biased = Primitive(names[1], _transpose, _transpose_vjp, (*keep, ()))


MAPS = {axes: Maps(axes) for axes in FORMS}


def _maps(rest: tuple[Any, ...]) -> tuple[Maps, Geometry]:
    """Return the maps that a rule's configuration, the last of its arguments, is for."""
    geometry: Geometry = rest[-1]
    return MAPS[len(geometry.windows.kernel)], geometry
