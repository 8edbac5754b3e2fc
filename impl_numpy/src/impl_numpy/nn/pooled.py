"""What pools compute: the largest or the mean of windows. The letters are those of `window`.

A mean is taken along one axis after the other: a window's sum is the sum of its rows' sums. What an
axis adds is a list of pairs of slices, what and where to; the gradient goes the same ways back.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.batched import every
from impl_numpy.buffers import empty
from impl_numpy.dtypes import Array, Shape, Value, int64
from impl_numpy.nn.window import FORMS, Windows, framed, tap
from impl_numpy.ops.elementwise import BITS
from impl_numpy.recording import OUT, Grads, Primitive, quiet, raw
from impl_numpy.sums import total
from impl_numpy.tape import Parents

Pairs = tuple[tuple[slice, slice], ...]


def _largest(x: Array, windows: Windows) -> Array:
    """Return the largest of each window; NaN is larger than all (nn-21)."""
    whole, best = framed(x, windows.before, windows.after, -math.inf), None
    for place in np.ndindex(windows.kernel):
        part = whole[tap(windows, place, windows.counts)]
        best = part.copy() if best is None else np.maximum(best, part, out=best)
    assert best is not None
    return best


@quiet
def places_of(x: Array, best: Array, windows: Windows) -> Array:
    """Return where the largest stand, flat within a channel, of equals the first; -1 for none."""
    whole = framed(x, windows.before, windows.after, -math.inf)
    counts = windows.counts
    found = np.full_like(best, -1, int64)
    undefined = np.count_nonzero(every(best != best)) > 0
    for place in reversed(list(np.ndindex(windows.kernel))):
        part = whole[tap(windows, place, counts)]
        flat, inside = _flat(windows, place)
        here = part == best
        if undefined:
            here |= part != part
        if inside is not None:
            here &= inside
        np.copyto(found, flat, where=here)
    return found


def _flat(windows: Windows, place: Shape) -> tuple[Array, Array | None]:
    """Return the flat position of one place in all windows, and whether it is within the input."""
    flat, inside = np.zeros((), int64), np.ones((), bool)
    axes = zip(*windows, place, windows.counts, strict=True)
    for size, _, stride, dilation, before, _, k, count in axes:
        along = np.arange(count) * stride + (dilation * k - before)
        flat = flat[..., None] * size + along
        inside = inside[..., None] & (along >= 0) & (along < size)
    return flat, None if inside.all() else inside


def _spread(grad: Array, found: Array, shape: Shape) -> Array:
    """Add numbers where they came from, in an array of this shape that is 0 elsewhere."""
    size = math.prod(shape[2:])
    rows = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * (len(shape) - 2))
    flat, weights = (rows * size + found).ravel(), grad.ravel()
    somewhere = found.ravel() >= 0
    if not somewhere.all():
        flat, weights = flat[somewhere], weights[somewhere]
    # In float64, in which the few that meet lose nothing.
    added = np.bincount(flat, weights, math.prod(shape))
    return added.astype(grad.dtype, copy=False).reshape(shape)


def _gather(x: Array, found: Array, _shape: Shape) -> Array:
    """Return the numbers at places that were found."""
    flat, index = x.reshape(*x.shape[:2], -1), found.reshape(*found.shape[:2], -1)
    taken = np.take_along_axis(flat, np.maximum(index, 0), 2)
    return np.where(index >= 0, taken, taken.dtype.type(0)).reshape(found.shape)


def _largest_vjp(grad: Value, _needs: Parents, x: Value, out: Value, windows: Windows) -> Grads:
    values, best = raw(x), raw(out)
    if isinstance(grad, np.ndarray) and _plain(best, windows):
        return (_shared_out(grad, values, best, windows),)
    return (_spreading(grad, places_of(values, best, windows), values.shape),)


def _plain(best: Array, windows: Windows) -> bool:
    """Tell whether the largest are numbers, and none can be that of the border."""
    if np.count_nonzero(best != best):
        return False
    bordered = max(*windows.before, *windows.after) > 0
    return not bordered or not np.count_nonzero(best == -math.inf)


def _shared_out(grad: Array, x: Array, best: Array, windows: Windows) -> Array:
    """Return the gradient to x: each number of `grad` where the first of the largest stands."""
    # With what no window reaches.
    whole = framed(x, windows.before, tuple([max(q, 0) for q in windows.after]), -math.inf)
    apart = all([s >= r for s, r in zip(windows.stride, windows.reach, strict=True)])
    bits, out = BITS[grad.dtype], empty(whole.shape, grad.dtype)
    out.fill(0)
    number, work = np.ascontiguousarray(grad).view(bits), empty(grad.shape, grad.dtype)
    here, found = np.empty(best.shape, bool), np.zeros(best.shape, bool)
    for place in np.ndindex(windows.kernel):
        index = tap(windows, place, windows.counts)
        np.greater(np.equal(whole[index], best, here), found, here)
        np.logical_or(found, here, found)
        # As in `masked`: the bits times 0 or 1.
        if apart:
            np.multiply(number, here, out[index].view(bits))
        else:
            np.multiply(number, here, work.view(bits))
            np.add(out[index], work, out[index])
    lengths = zip(windows.before, windows.sizes, strict=True)
    inner: Any = (..., *[slice(p, p + n) for p, n in lengths])
    return out[inner]


def _spread_vjp(grad: Value, _needs: Parents, _x: None, _out: None, *config: Any) -> Grads:
    return (_gathering(grad, *config),)


def _gather_vjp(grad: Value, _needs: Parents, _x: None, _out: None, *config: Any) -> Grads:
    return (_spreading(grad, *config),)


max_pools = {
    axes: Primitive(f"MaxPool{axes}d", _largest, _largest_vjp, ((0, OUT),)) for axes in FORMS
}
_spreading = Primitive("max_pool", _spread, _spread_vjp)
_gathering = Primitive("max_pool", _gather, _gather_vjp)


class Means(NamedTuple):
    """What is added along each axis, from a size to a count, and what the sums are divided by."""

    sizes: Shape
    counts: Shape
    pairs: tuple[Pairs, ...]
    divisor: Array


def _mean(x: Array, means: Means) -> Array:
    for axis, (count, pairs) in enumerate(zip(means.counts, means.pairs, strict=True), 2):
        lead = (slice(None),) * axis
        added = np.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
        for source, target in pairs:
            part, place = x[(*lead, source)], added[(*lead, target)]
            place += part if part.shape == place.shape else total(part, (axis,), True)
        x = added
    return np.divide(x, means.divisor, x)


def _share(grad: Array, means: Means) -> Array:
    x = grad / means.divisor
    for axis, (size, pairs) in enumerate(zip(means.sizes, means.pairs, strict=True), 2):
        lead = (slice(None),) * axis
        added = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
        for source, target in pairs:
            added[(*lead, source)] += x[(*lead, target)]
        x = added
    return x


def _mean_vjp(grad: Value, _needs: Parents, _x: None, _out: None, means: Means) -> Grads:
    return (_sharing(grad, means),)


def _share_vjp(grad: Value, _needs: Parents, _x: None, _out: None, means: Means) -> Grads:
    return (averaging(grad, means),)


averaging = Primitive("avg_pool", _mean, _mean_vjp)
_sharing = Primitive("avg_pool", _share, _share_vjp)


def added_pairs(size: int, starts: Array, stops: Array, stride: int) -> Pairs:
    """Return what to add for windows from starts to stops; stride 0: at no regular distance."""
    count, longest = len(starts), int((stops - starts).max())
    if not stride or count < longest:
        bounds = zip(np.maximum(starts, 0).tolist(), np.minimum(stops, size).tolist(), strict=True)
        return tuple([(slice(*b), slice(i, i + 1)) for i, b in enumerate(bounds)])
    pairs = []
    for first in range(int(starts[0]), int(starts[0]) + longest):
        least = max(0, -(first // stride))
        most = min(count - 1, (size - 1 - first) // stride)
        if least <= most:
            source = slice(first + least * stride, first + most * stride + 1, stride)
            pairs.append((source, slice(least, most + 1)))
    return tuple(pairs)


def outer(lengths: list[Array], dtype: Any) -> Array:
    """Return the products of numbers, one for each axis."""
    product = np.ones((), dtype)
    for along in lengths:
        product = product[..., None] * along.astype(dtype)
    return product
