"""Moving, repeating and pairing elements, with their gradients (ops-43)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import (
    as_ints,
    check_choice,
    check_int,
    check_number,
    check_sizes,
    normalize_axes,
    normalize_axis,
    shown,
)
from impl_cupy.dtypes import check_fits, plain, refuse_complex
from impl_cupy.ops.families import shape, written
from impl_cupy.recording import as_indices, as_tensor, record
from impl_cupy.tape import handles
from impl_cupy.tensor import Axis, Tensor


@shape(lambda node, grad: node.xp.flip(grad, axis=node.config))
def flip(x: Any, /, *, axis: Axis = None) -> Any:
    """Reverse the order of the elements along axes.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    axis : int, tuple of int or None
        None means all.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or `axis` no int.
    ValueError
        If an axis is out of range.
    """
    axes = normalize_axes("flip", axis, x.shape)
    if not axes:
        return None
    return (lambda raw: cp.flip(raw, axis=axes)), axes


@shape(lambda node, grad: node.xp.roll(grad, node.config[0], axis=node.config[1]))
def roll(x: Any, /, shift: int | tuple[int, ...], *, axis: Axis = None) -> Any:
    """Move elements along axes; what leaves one end comes in at the other.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    shift : int or tuple of int
        How far, one for each axis or one for all.
    axis : int, tuple of int or None
        None rolls the flattened array; an axis that is named twice is rolled twice.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or a shift or an axis no int.
    ValueError
        If an axis is out of range, or there are other numbers of shifts and of axes.
    """
    shifts = as_ints("roll", "shift", shift)
    places = (0,) if axis is None else as_ints("roll", "axis", axis)
    axes = tuple(
        place if axis is None else normalize_axis("roll", place, x.shape) for place in places
    )
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(shifts) != len(axes):
        msg = f"roll: {len(shifts)} shifts do not fit axis {shown(axis)} of shape {x.shape}"
        raise ValueError(msg)
    back = tuple(-count for count in shifts)
    if axis is None:
        return (lambda raw: cp.roll(raw, shifts[0])), (back[0], None)
    return (lambda raw: cp.roll(raw, shifts, axis=axes)), (back, axes)


@shape(lambda node, grad: node.xp.permute_dims(grad, node.config))
def moveaxis(x: Any, source: Any, destination: Any, /) -> Any:
    """Move axes to other places; the others keep their order.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    source, destination : int or tuple of int
        As many places in `x` as in the result.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` is no array, or an axis no int.
    ValueError
        If an axis is out of range or named twice, or there are not as many of both.
    """
    starts = normalize_axes("moveaxis", as_ints("moveaxis", "source", source), x.shape)
    ends = normalize_axes("moveaxis", as_ints("moveaxis", "destination", destination), x.shape)
    if len(starts) != len(ends):
        msg = (
            f"moveaxis: source {shown(source)} and destination {shown(destination)} must be as many"
        )
        raise ValueError(msg)
    left = iter(place for place in range(x.ndim) if place not in starts)
    order = tuple(
        starts[ends.index(place)] if place in ends else next(left) for place in range(x.ndim)
    )
    back = tuple(order.index(place) for place in range(x.ndim))
    return (lambda raw: raw.transpose(order)), back


@written()
def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Repeat each element, one behind the other.

    Counts that are an array wait for the device: the result's shape depends on them (ops-52).

    Parameters
    ----------
    x : Tensor or raw array, any shape
    repeats : int, or Tensor or raw array of integers
        One count, or one for each place along `axis`.
    axis : int, optional
        Without it the flattened array is repeated.

    Returns
    -------
    Tensor, shape of `x` but for `axis`

    Raises
    ------
    TypeError
        If `x` is no array, a count no integer, or `axis` no int.
    ValueError
        If a count is negative, there are other numbers of them, or `axis` is out of range.
    """
    value = as_tensor("repeat", x)
    counts = _counts(repeats)
    place = 0 if axis is None else normalize_axis("repeat", axis, value.shape)
    flat = value.reshape((value.size,)) if axis is None else value
    length = flat.shape[place]
    if len(counts) not in (1, length) or any(count < 0 for count in counts):
        msg = f"repeat: counts must be 1 or {length}, none negative, got {shown(repeats)}"
        raise ValueError(msg)
    total = sum(counts) * (length if len(counts) == 1 else 1)
    check_sizes("repeat", (*flat.shape[:place], total, *flat.shape[place + 1 :]))
    if len(counts) != 1:
        return handles.take(flat, np.repeat(np.arange(length), counts), axis=place)
    return record(
        "repeat",
        lambda raw: cp.repeat(raw, counts[0], axis=place),
        _unrepeat,
        (flat,),
        config=(flat.shape, place, counts[0]),
    )


def _counts(repeats: Any) -> tuple[int, ...]:
    """Return counts on the host."""
    if isinstance(repeats, (Tensor, cp.ndarray, np.ndarray)):
        values = as_indices("repeat", repeats)
        if values.dtype.kind != "i":
            msg = f"repeat: counts must be integers, got dtype {values.dtype.name}"
            raise TypeError(msg)
        if values.ndim > 1:
            msg = f"repeat: counts must have one axis, got shape {values.shape}"
            raise ValueError(msg)
        return tuple(values._data.reshape(-1).tolist())
    return as_ints("repeat", "repeats", repeats)


def _unrepeat(node: Any, grad: Any) -> tuple[Any]:
    sizes, axis, count = node.config
    grouped = node.xp.reshape(grad, (*sizes[: axis + 1], count, *sizes[axis + 1 :]))
    return (node.xp.sum(grouped, axis=axis + 1),)


def _untile(node: Any, grad: Any) -> Any:
    sizes, wide = node.config
    apart = node.xp.reshape(grad, wide)
    return node.xp.reshape(node.xp.sum(apart, axis=tuple(range(0, len(wide), 2))), sizes)


@shape(_untile)
def tile(x: Any, repetitions: tuple[int, ...], /) -> Any:
    """Repeat the whole array along axes.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    repetitions : tuple of int
        How often along each of the last axes; more than there are make new ones in front.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` is no array, or a count no int.
    ValueError
        If a count is negative.
    """
    counts = as_ints("tile", "repetitions", repetitions)
    if any(count < 0 for count in counts):
        msg = f"tile: repetitions must not be negative, got {shown(repetitions)}"
        raise ValueError(msg)
    ndim = max(len(counts), x.ndim)
    counts = (1,) * (ndim - len(counts)) + counts
    sizes = (1,) * (ndim - x.ndim) + x.shape
    one_each = tuple(size for pair in sizes for size in (1, pair))
    wide = tuple(size for pair in zip(counts, sizes, strict=True) for size in pair)
    final = tuple(count * size for count, size in zip(counts, sizes, strict=True))
    own = x.shape
    return (lambda raw: cp.broadcast_to(raw.reshape(one_each), wide).reshape(final)), (own, wide)


@shape(lambda node, grad: grad[node.config])
def pad(x: Any, pad_width: Any, /, mode: str = "constant", *, constant_values: float = 0) -> Any:
    """Put a border of one number around the elements.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    pad_width : int, pair of int, or a pair for each axis
        How wide it is before and after.
    mode : {"constant"}
    constant_values : number

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` is no array, a width no int, or `constant_values` no number.
    ValueError
        If a width is negative, there are other numbers of them, or `mode` is another.
    """
    if not isinstance(mode, str) or mode != "constant":
        msg = f"pad: mode must be 'constant', got {shown(mode)}"
        raise ValueError(msg)
    pairs = _widths(pad_width, x.shape)
    number = plain(constant_values) if isinstance(constant_values, np.generic) else constant_values
    if isinstance(number, complex) and x.dtype.kind != "c":
        refuse_complex("pad", f"the complex number {number}")
    if not isinstance(number, (bool, complex)):
        check_number("pad", "constant_values", number)
    if x.dtype.kind in "iu":
        if not math.isfinite(number):
            msg = f"pad: the number {number} does not fit dtype {x.dtype.name}"
            raise ValueError(msg)
        number = int(number)
        check_fits("pad", number, x.dtype)
    sizes = tuple(size + sum(pair) for size, pair in zip(x.shape, pairs, strict=True))
    inner = tuple(slice(pair[0], pair[0] + size) for size, pair in zip(x.shape, pairs, strict=True))

    def padded(raw: Any) -> Any:
        out = cp.full(sizes, number, dtype=raw.dtype)
        out[inner] = raw
        return out

    return padded, inner


def _widths(pad_width: Any, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return how wide the border of each axis is, before and after."""
    if isinstance(pad_width, (tuple, list)) and any(
        isinstance(part, (tuple, list)) for part in pad_width
    ):
        pairs = [as_ints("pad", "pad_width", part) for part in pad_width]
    else:
        widths = as_ints("pad", "pad_width", pad_width)
        pairs = [widths * 2 if len(widths) == 1 else widths] * len(sizes)
    is_right = len(pairs) == len(sizes) and all(len(pair) == 2 and min(pair) >= 0 for pair in pairs)
    if not is_right:
        msg = (
            "pad: pad_width must be an int, a pair or a pair for each axis, none negative, got "
            f"{shown(pad_width)} for shape {sizes}"
        )
        raise ValueError(msg)
    return pairs


def _diagonal(name: str, x: Any, k: int) -> Any:
    """Check the arguments of `tril` and `triu`; return a function on raw arrays, and `k`."""
    k = check_int(name, "k", k)
    if x.ndim < 2:
        msg = f"{name}: x must have at least two axes, got shape {x.shape}"
        raise ValueError(msg)
    # A diagonal beyond the next one is no other than it.
    k = max(-x.shape[-2], min(k, x.shape[-1]))
    function = getattr(cp, name)
    return (lambda raw: function(raw, k)), k


@shape(lambda node, grad: node.xp.tril(grad, k=node.config))
def tril(x: Any, /, *, k: int = 0) -> Any:
    """Keep what is at a diagonal and below it; the rest is 0, and has gradient 0.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, N, M)
    k : int
        Which diagonal, counted upwards from the main one.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or `k` no int.
    ValueError
        If there are fewer than two axes.
    """
    return _diagonal("tril", x, k)


@shape(lambda node, grad: node.xp.triu(grad, k=node.config))
def triu(x: Any, /, *, k: int = 0) -> Any:
    """Keep what is at a diagonal and above it; the rest is 0, and has gradient 0.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, N, M)
    k : int
        Which diagonal, counted upwards from the main one.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or `k` no int.
    ValueError
        If there are fewer than two axes.
    """
    return _diagonal("triu", x, k)


@written()
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """Take an array apart along an axis.

    Parameters
    ----------
    x : Tensor or raw array, at least one axis
    axis : int

    Returns
    -------
    tuple of Tensor, shape of `x` without the axis

    Raises
    ------
    TypeError
        If `x` is no array, or `axis` no int.
    ValueError
        If `axis` is out of range.
    """
    value = as_tensor("unstack", x)
    place = normalize_axis("unstack", axis, value.shape)
    before = (slice(None),) * place
    return tuple(handles.getitem(value, (*before, k)) for k in range(value.shape[place]))


def common_shape(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape that shapes broadcast to.

    Raises
    ------
    ValueError
        That names every shape, if they do not fit.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        msg = f"{name}: shapes {' and '.join(map(str, shapes))} do not fit together"
        raise ValueError(msg) from None


@written()
def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """Stretch arrays to one shape, without copying.

    Parameters
    ----------
    *arrays : Tensor or raw array

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    TypeError
        If one is no array.
    ValueError
        That names every shape, if they do not fit.
    """
    values = [as_tensor("broadcast_arrays", array) for array in arrays]
    sizes = common_shape("broadcast_arrays", [value.shape for value in values])
    return tuple(handles.broadcast_to(value, sizes) for value in values)


@written()
def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Make the coordinates of a grid, one array for each axis.

    Parameters
    ----------
    *arrays : Tensor or raw array, one axis each
    indexing : {"xy", "ij"}
        With "xy" the first two axes of the results are exchanged.

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    TypeError
        If one is no array.
    ValueError
        If one has not one axis, or `indexing` is another.
    """
    check_choice("meshgrid", "indexing", indexing, ("xy", "ij"))
    values = [as_tensor("meshgrid", array) for array in arrays]
    for value in values:
        if value.ndim != 1:
            msg = f"meshgrid: arrays must have one axis, got shape {value.shape}"
            raise ValueError(msg)
    places = list(range(len(values)))
    if indexing == "xy":
        places[:2] = places[:2][::-1]
    sizes = [values[place].size for place in places]
    return tuple(
        handles.broadcast_to(
            value.reshape([value.size if k == place else 1 for k in range(len(values))]),
            tuple(sizes),
        )
        for value, place in zip(values, places, strict=True)
    )


@written()
def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """Return the shape that shapes broadcast to.

    Parameters
    ----------
    *shapes : tuple of int

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError
        If a size is no int.
    ValueError
        That names every shape, if they do not fit, or a size is negative.
    """
    sizes = [as_ints("broadcast_shapes", "shapes", each) for each in shapes]
    if any(size < 0 for each in sizes for size in each):
        msg = f"broadcast_shapes: sizes must not be negative, got {shown(shapes)}"
        raise ValueError(msg)
    return tuple(common_shape("broadcast_shapes", sizes))
