"""Functions that move elements about, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, check_flag, normalize_axes, normalize_axis, refuse_shapes
from impl_cupy.ops.families import Raw, join, shape
from impl_cupy.recording import sum_to


def _reshaped(node: Any, grad: Any) -> Any:
    return node.xp.reshape(grad, node.config)


@shape(_reshaped)
def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Raw:
    """Return another shape with as many elements, in C order.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    shape : int or tuple of int
        One size may be -1: what is left over.
    copy : bool, optional
        True forces a copy, False forbids one.

    Returns
    -------
    Tensor, shape `shape`

    Raises
    ------
    TypeError
        If `x` is no array, or a size no int.
    ValueError
        That names both shapes, if the elements do not fit, or only a copy would do.
    """
    sizes = as_ints("reshape", "shape", shape)
    copy = None if copy is None else check_flag("reshape", "copy", copy)
    if sizes.count(-1) == 1:
        known = -math.prod(sizes)
        left = x.size // known if known > 0 and x.size % known == 0 else -1
        sizes = tuple(left if size == -1 else size for size in sizes)
    if math.prod(sizes) != x.size or min(sizes, default=0) < 0:  # ops-20
        msg = f"reshape: shape {x.shape} cannot become {shape}"
        raise ValueError(msg)
    if copy is False and x.size and not cp.may_share_memory(x._data.reshape(sizes), x._data):
        # ops-17
        msg = f"reshape: shape {x.shape} cannot become {shape} without a copy; leave copy out"
        raise ValueError(msg)
    return lambda raw: (raw.copy() if copy else raw).reshape(sizes)


@shape(lambda node, grad: node.xp.permute_dims(grad, node.config))
def permute_dims(x: Any, /, axes: Sequence[int]) -> Any:
    """Put the axes into another order.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    axes : tuple of int
        Every axis of `x`, in the new order.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` is no array, or an axis no int.
    ValueError
        If `axes` is no order of all axes.
    """
    places = as_ints("permute_dims", "axes", axes)
    order = normalize_axes("permute_dims", places, x.shape)
    if len(order) != x.ndim:
        msg = f"permute_dims: axis order {places} must name every axis of shape {x.shape}"
        raise ValueError(msg)
    back = tuple(order.index(axis) for axis in range(x.ndim))
    return (lambda raw: raw.transpose(order)), back


@shape(_reshaped)
def expand_dims(x: Any, /, axis: int | tuple[int, ...]) -> Raw:
    """Insert axes of length 1.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    axis : int or tuple of int
        Places in the result; negative ones count from its end (ops-18).

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` is no array, or `axis` no int.
    ValueError
        If a place is out of range or named twice.
    """
    places = as_ints("expand_dims", "axis", axis)
    ndim = x.ndim + len(places)
    normal = {place % ndim for place in places if -ndim <= place < ndim}
    if len(normal) != len(places):
        msg = (
            f"expand_dims: axis {axis} must name different places among {ndim} for shape {x.shape}"
        )
        raise ValueError(msg)
    old = iter(x.shape)
    sizes = tuple(1 if place in normal else next(old) for place in range(ndim))
    return lambda raw: raw.reshape(sizes)


@shape(_reshaped)
def squeeze(x: Any, /, axis: int | tuple[int, ...]) -> Raw:
    """Remove axes of length 1.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    axis : int or tuple of int

    Returns
    -------
    Tensor, shape of `x` without the axes

    Raises
    ------
    TypeError
        If `x` is no array, or `axis` no int.
    ValueError
        If an axis is out of range, or longer than 1.
    """
    axes = normalize_axes("squeeze", axis, x.shape)
    if any(x.shape[place] != 1 for place in axes):
        msg = f"squeeze: axis {axis} of shape {x.shape} must have length 1"
        raise ValueError(msg)
    sizes = tuple(size for place, size in enumerate(x.shape) if place not in axes)
    return lambda raw: raw.reshape(sizes)


@shape(lambda node, grad: sum_to(node.xp, grad, node.config))
def broadcast_to(x: Any, /, shape: Any) -> Raw | None:
    """Stretch axes of length 1, and put new ones in front, without copying.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    shape : int or tuple of int

    Returns
    -------
    Tensor, shape `shape`

    Raises
    ------
    TypeError
        If `x` is no array, or a size no int.
    ValueError
        That names both shapes, if it cannot be done.
    """
    sizes = as_ints("broadcast_to", "shape", shape)
    if x.shape == sizes:
        return None
    pairs = zip(reversed(x.shape), reversed(sizes), strict=False)
    fits = len(sizes) >= x.ndim and all(have in (1, want) for have, want in pairs)
    if not fits or any(size < 0 for size in sizes):  # ops-20
        msg = f"broadcast_to: shape {x.shape} cannot become {sizes}"
        raise ValueError(msg)
    return lambda raw: cp.broadcast_to(raw, sizes)


def _pieces(grad: Any, axis: int, lengths: Sequence[int]) -> list[Any]:
    """Cut a gradient along an axis."""
    ends = accumulate(lengths)
    before = (slice(None),) * axis
    return [
        grad[(*before, slice(end - length, end))] for end, length in zip(ends, lengths, strict=True)
    ]


@join(_pieces)
def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Join arrays along an axis that exists.

    Parameters
    ----------
    arrays : sequence of Tensor or raw array
        Of one shape but for the axis.
    axis : int or None
        With None the arrays are flattened first.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If an element is no array, or `axis` no int.
    ValueError
        That names every shape, if another axis differs; if the axis is out of range.
    """
    if axis is None:
        arrays = tuple(array.reshape((array.size,)) for array in arrays)
    place = normalize_axis("concat", 0 if axis is None else axis, arrays[0].shape)
    return arrays, place, lambda raws, along: cp.concatenate(raws, axis=along)


def _layers(grad: Any, axis: int, lengths: Sequence[int]) -> list[Any]:
    """Take a gradient apart along an axis."""
    before = (slice(None),) * axis
    return [grad[(*before, place)] for place in range(len(lengths))]


@join(_layers)
def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis.

    Parameters
    ----------
    arrays : sequence of Tensor or raw array
    axis : int
        Its place in the result.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If an element is no array, or `axis` no int.
    ValueError
        That names every shape, if they differ; if the axis is out of range.
    """
    if any(array.shape != arrays[0].shape for array in arrays):
        refuse_shapes("stack", arrays)
    place = normalize_axis("stack", axis, arrays[0].shape, new=1)
    return arrays, place, lambda raws, along: cp.stack(raws, axis=along)
