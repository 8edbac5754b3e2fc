"""The bilinear maps of convolutions. The letters in shapes are those of `window`.

Equation: the result of a convolution is bilinear in input and weight. Its gradients are the two
other maps that one sum defines,

    sum over n, o, t, c, k of y[n, o, t] weight[o, c, k] x[n, c, s t + d k - p],

and so are the gradients of these: each of the three `Primitive`s has the other two as its
derivatives, to any order.

Layout: each is one matrix product for a block of windows, which are written out as the columns of a
matrix (C K, places); the block bounds the memory. Where the last axis is short the samples of a
block are put behind it, so that what lies together is long. Where each channel is a group with one
result (`_filtered`) the places of the kernel are added, and there are no columns; where a window is
one place the input is its own columns.

Ownership: results lie in memory of their own (`buffers`), and so do blocks. Of arguments nothing is
written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.buffers import empty
from impl_numpy.checks import check_sizes
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.nn.window import FORMS, Windows, framed, in_windows, tap
from impl_numpy.recording import RULES, Grads, Primitive
from impl_numpy.sums import total
from impl_numpy.tape import Parents

# So many elements are written out at once: the processor still has them when they are multiplied.
BLOCK = 1 << 20


class Geometry(NamedTuple):
    """Windows over x, and the number of groups."""

    windows: Windows
    groups: int

    @property
    def pointwise(self) -> bool:
        """Return whether each window is one place, and each place a window."""
        windows = self.windows
        return max(*windows.kernel, *windows.stride) == 1 and windows.sizes == windows.counts


def _lines(x: Array, groups: int) -> Array:
    """Return an array (N, C, ...) as matrices (N, G, C / G, places)."""
    return x.reshape(len(x), groups, x.shape[1] // groups, math.prod(x.shape[2:]))


class _Block(NamedTuple):
    """Some samples, and some rows of windows, written out.

    The shape is that of the rows with their samples, whose axis it is that `place` names: 0 or -1.
    """

    samples: slice
    rows: slice
    shape: Shape
    place: int

    def within(self, x: Array) -> Array:
        """Return a view (C, *shape) of the block's part of an array (N, C, *counts)."""
        return self.beside(x[self.samples, :, self.rows])

    def beside(self, x: Array) -> Array:
        """Return a view of an array (N, C, ...) with the samples in their place."""
        return np.moveaxis(x, 0, -1) if self.place else x.swapaxes(0, 1)

    def around(self, sizes: Any, of_samples: Any) -> Any:
        """Return something for each axis, that of the samples too."""
        return (*sizes, of_samples) if self.place else (of_samples, *sizes)


# Shorter rows are not worth a loop of their own.
_SHORT = 20


def _blocks(
    channels: int, samples: int, windows: Windows, place: int | None = None
) -> Iterator[_Block]:
    """Yield the blocks of a product: whole samples, or where one is too large rows of it."""
    counts = windows.counts
    if place is None:
        place = -1 if counts[-1] < _SHORT < counts[-1] * samples else 0
    row = max(1, channels * math.prod(windows.kernel) * math.prod(counts[1:]))
    height = max(1, min(counts[0], BLOCK // row))
    depth = max(1, BLOCK // (row * height))
    for n in range(0, samples, depth):
        part = slice(n, min(n + depth, samples))
        for start in range(0, counts[0], height):
            rows = slice(start, min(start + height, counts[0]))
            block = _Block(part, rows, (), place)
            shape = block.around((rows.stop - start, *counts[1:]), part.stop - n)
            yield block._replace(shape=shape)


def _frames(x: Array, windows: Windows, place: int | None = None) -> Iterator[tuple[_Block, Array]]:
    """Yield block by block its samples with their borders."""
    framing: Any = None
    # Without columns there is room for more.
    channels = x.shape[1] if place is None else x.shape[1] // math.prod(windows.kernel)
    for block in _blocks(channels, len(x), windows, place):
        if framing is not block.samples:
            framing = block.samples
            samples, edges = block.beside(x[framing]), (windows.before, windows.after)
            whole = framed(samples, *[block.around(edge, 0) for edge in edges])
            if block.place and not whole.flags.c_contiguous:
                whole = _copied(whole)
        yield block, whole


def _copied(x: Array) -> Array:
    copy = empty(x.shape, x.dtype)
    np.copyto(copy, x)
    return copy


def _columns(x: Array, geometry: Geometry) -> Iterator[tuple[_Block, Array]]:
    """Yield the windows of an input block by block, as matrices (G, C K / G, places)."""
    windows, groups = geometry
    counts, every = windows.counts, slice(None)
    lead = (every,) * (2 + len(windows.kernel))
    for block, whole in _frames(x, windows):
        kernel, stride, dilation = [block.around(sizes, 1) for sizes in windows[1:4]]
        wide = block.around(counts, len(x[block.samples]))
        view = in_windows(whole, kernel, stride, dilation, wide)
        rows = block.around((block.rows, *(every,) * (len(counts) - 1)), every)
        columns = _copied(view[(*lead, *rows)])
        yield block, columns.reshape(groups, -1, math.prod(block.shape))


def _rows(y: Array, block: _Block, groups: int) -> Array:
    """Return a block of results as matrices (G, O / G, places)."""
    return _copied(block.within(y)).reshape(groups, y.shape[1] // groups, -1)


def _times(matrix: Array, columns: Array) -> Array:
    out = empty((*matrix.shape[:2], columns.shape[2]), columns.dtype)
    return np.matmul(matrix, columns, out=out)


def _put(y: Array, block: _Block, product: Array) -> None:
    """Put a product (G, O / G, places) where its block of results lies."""
    np.copyto(block.within(y), product.reshape(y.shape[1], *block.shape))


class _Taps(NamedTuple):
    """What each place of the kernel meets in a block: an array (C, ...) for each, of one shape.

    With stride 1 the rows of the block's samples and their borders follow each other in one line,
    so that a place of the kernel is a distance on it. What windows would be that begin on a border
    is computed too: `wide` is the shape with it, and `kept` what of it is in the result.
    """

    block: _Block
    parts: list[tuple[Shape, Array]]
    wide: Shape
    kept: tuple[Any, ...]


def _taps(x: Array, windows: Windows, lines: bool) -> Iterator[_Taps]:
    """Yield what the kernel meets, block by block; with `lines` as lines where that can be."""
    counts, places, every = windows.counts, list(np.ndindex(windows.kernel)), slice(None)
    for block, whole in _frames(x, windows, -1):
        if max(windows.stride) > 1 or not lines:
            taps = [whole[(*tap(windows, place, counts), every)] for place in places]
            parts = [(place, part[:, block.rows]) for place, part in zip(places, taps, strict=True)]
            yield _Taps(block, parts, (len(whole), *block.shape), (...,))
            continue
        wide = (len(whole), block.shape[0], *whole.shape[2:])
        steps = [math.prod(whole.shape[k:]) for k in range(2, whole.ndim)]
        flat = whole.reshape(len(whole), -1)
        size = whole.shape[-1]
        size += sum([(n - 1) * step for n, step in zip(block.shape, steps, strict=False)])
        parts = []
        for place in places:
            axes = zip(place, windows.dilation, steps, strict=True)
            first = block.rows.start * steps[0] + sum([k * d * step for k, d, step in axes])
            parts.append((place, flat[:, first : first + size]))
        yield _Taps(block, parts, wide, (..., *[slice(n) for n in counts[1:]], every))


def _filtered(x: Array, weight: Array, y: Array, *rest: Any) -> Array:
    """Write the cross-correlation where each channel is a group with one result."""
    *bias, (windows, _) = rest
    for block, parts, wide, kept in _taps(x, windows, True):
        whole, work = [empty((wide[0], math.prod(wide[1:])), x.dtype) for _ in range(2)]
        added, scratch = [_like(array, parts[0][1]) for array in (whole, work)]
        shape = (-1, *(1,) * (added.ndim - 1))
        for k, (place, part) in enumerate(parts):
            factor = weight[_index(place)].reshape(shape)
            np.multiply(part, factor, scratch if k else added)
            if k:
                np.add(added, scratch, added)
        for b in bias:
            np.add(added, b.reshape(shape), added)
        np.copyto(block.within(y), whole.reshape(wide)[kept])
    return y


def _index(place: Shape) -> Any:
    """Return where the weights of one place of the kernel are."""
    return (slice(None), 0, *place)


def _like(whole: Array, part: Array) -> Array:
    """Return the first of an array's rows in the shape of a part, which may be shorter."""
    return whole[:, : part.shape[1]] if part.ndim == 2 else whole.reshape(part.shape)


def _weigh_alone(x: Array, y: Array, windows: Windows) -> Array:
    """Return what `_weigh` does where each channel is a group with one result."""
    added = np.zeros((x.shape[1], 1, *windows.kernel), x.dtype)
    # Not as lines: of what is beyond the windows nothing may be added, be it 0 times infinity.
    for block, parts, *_ in _taps(x, windows, False):
        rows = _copied(block.within(y))
        rows = rows.reshape(*rows.shape[:-2], -1)
        for place, part in parts:
            products = np.vecdot(part.reshape(rows.shape), rows)
            added[_index(place)] += total(products, tuple(range(1, products.ndim)))
    return added


def _correlate(x: Array, weight: Array, *rest: Any) -> Array:
    """Return the cross-correlation (nn-17); after the weight there may be a bias."""
    *bias, geometry = rest
    groups = geometry.groups
    y = empty(check_sizes((len(x), len(weight), *geometry.windows.counts), "conv"), x.dtype)
    if groups == x.shape[1] == len(weight):
        return _filtered(x, weight, y, *rest)
    matrix = weight.reshape(groups, len(weight) // groups, -1)
    if geometry.pointwise:
        np.matmul(matrix, _lines(x, groups), out=_lines(y, groups))
        for b in bias:
            y += b.reshape(-1, *(1,) * len(geometry.windows.kernel))
        return y
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
        target = whole[block.samples, :, step * block.rows.start :]
        counts = (block.rows.stop - block.rows.start, *windows.counts[1:])
        for place in np.ndindex(windows.kernel):
            part = columns[(slice(None), *place)]
            block.beside(target[tap(windows, place, counts)])[...] += part
    ends = zip(windows.before, windows.sizes, strict=True)
    every: Any = ...
    return whole[(every, *[slice(p, p + n) for p, n in ends])]


def _weigh(x: Array, y: Array, geometry: Geometry) -> Array:
    """Return what the gradient to the weight makes of x and of a gradient y."""
    groups, outputs = geometry.groups, y.shape[1]
    if groups == x.shape[1] == outputs:
        return _weigh_alone(x, y, geometry.windows)
    kernel = geometry.windows.kernel
    if geometry.pointwise:
        products = np.matmul(_lines(y, groups), _lines(x, groups).swapaxes(2, 3))
        return total(products, (0,)).reshape(outputs, -1, *kernel)
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
