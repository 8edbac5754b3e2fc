"""Functions that move elements about, with their gradients."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.dtypes import promote
from impl_cupy.ops.primitive import (
    apply,
    as_tensor,
    cast,
    normalize_axes,
    normalize_axis,
    refuse_shapes,
    sum_to,
)
from impl_cupy.tensor import Tensor


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    """Give another shape with as many elements, in C order.

    Parameters
    ----------
    x : Tensor
    shape : int or tuple of int
        One size may be -1: what is left over.
    copy : bool, optional
        True forces a copy.

    Raises
    ------
    ValueError
        That names both shapes, if the elements do not fit.
    """
    value = as_tensor("reshape", x)
    sizes = _resolve(value, shape)
    return apply(
        "reshape",
        lambda raw: (raw.copy() if copy else raw).reshape(sizes),
        _reshape,
        (value,),
        config=value.shape,
    )


def _resolve(value: Tensor, shape: Any) -> tuple[int, ...]:
    parts = shape if isinstance(shape, (tuple, list)) else (shape,)
    try:
        sizes = [operator.index(each) for each in parts]
    except TypeError:
        msg = f"reshape: shape must be an int or a tuple of ints, got {shape!r}"
        raise TypeError(msg) from None
    known = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known > 0 and value.size % known == 0:
        sizes[sizes.index(-1)] = value.size // known
    if any(size < 0 for size in sizes) or math.prod(sizes) != value.size:
        msg = f"reshape: shape {value.shape} cannot become {tuple(parts)}"
        raise ValueError(msg)
    return tuple(sizes)


def _reshape(node: Any, grad: Any) -> tuple[Any]:
    return (node.xp.reshape(grad, node.config),)


def permute_dims(x: Any, /, axes: Sequence[int]) -> Tensor:
    """Put the axes into another order.

    Raises
    ------
    ValueError
        If `axes` is no order of all of them.
    """
    value = as_tensor("permute_dims", x)
    order = normalize_axes("permute_dims", tuple(axes), value.shape)
    if len(order) != value.ndim:
        msg = f"permute_dims: axis order {tuple(axes)} must name every axis of shape {value.shape}"
        raise ValueError(msg)
    back = tuple(order.index(axis) for axis in range(value.ndim))
    return apply(
        "permute_dims", lambda raw: raw.transpose(order), _permute_dims, (value,), config=back
    )


def _permute_dims(node: Any, grad: Any) -> tuple[Any]:
    return (node.xp.permute_dims(grad, node.config),)


def expand_dims(x: Any, /, axis: int = 0) -> Tensor:
    """Insert an axis of length 1 before `axis`.

    Raises
    ------
    ValueError
        If `axis` is out of range.
    """
    value = as_tensor("expand_dims", x)
    if not -value.ndim - 1 <= axis <= value.ndim:
        msg = f"expand_dims: axis {axis} is out of range for shape {value.shape}"
        raise ValueError(msg)
    where = axis % (value.ndim + 1)
    shape = (*value.shape[:where], 1, *value.shape[where:])
    return apply(
        "expand_dims", lambda raw: raw.reshape(shape), _reshape, (value,), config=value.shape
    )


def squeeze(x: Any, /, axis: int | tuple[int, ...]) -> Tensor:
    """Remove axes of length 1.

    Raises
    ------
    ValueError
        If one of them is longer.
    """
    value = as_tensor("squeeze", x)
    axes = normalize_axes("squeeze", axis, value.shape)
    if any(value.shape[each] != 1 for each in axes):
        msg = f"squeeze: axis {axis} of shape {value.shape} must have length 1"
        raise ValueError(msg)
    shape = tuple(size for each, size in enumerate(value.shape) if each not in axes)
    return apply("squeeze", lambda raw: raw.reshape(shape), _reshape, (value,), config=value.shape)


def broadcast_to(x: Any, /, shape: Any) -> Tensor:
    """Stretch axes of length 1, and put new ones in front, without copying.

    Raises
    ------
    ValueError
        That names both shapes, if it cannot be done.
    """
    value = as_tensor("broadcast_to", x)
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if value.shape == sizes:
        return value
    fits = len(sizes) >= value.ndim and all(
        have in (1, want)
        for have, want in zip(reversed(value.shape), reversed(sizes), strict=False)
    )
    if not fits:
        msg = f"broadcast_to: shape {value.shape} cannot become {sizes}"
        raise ValueError(msg)
    return apply(
        "broadcast_to",
        lambda raw: cp.broadcast_to(raw, sizes),
        _broadcast_to,
        (value,),
        config=value.shape,
    )


def _broadcast_to(node: Any, grad: Any) -> tuple[Any]:
    return (sum_to(node.xp, grad, node.config),)


def _common(name: str, arrays: Sequence[Any]) -> tuple[Tensor, ...]:
    values = tuple(as_tensor(name, each) for each in arrays)
    if not values:
        msg = f"{name}: at least one array is needed"
        raise ValueError(msg)
    dtype = values[0].dtype
    for each in values:
        dtype = promote(dtype, each.dtype)
    return tuple(cast(each, dtype) for each in values)


def concat(arrays: Sequence[Any], /, axis: int | None = 0) -> Tensor:
    """Join arrays along an axis that exists; with None they are flattened first.

    Raises
    ------
    ValueError
        That names every shape, if another axis differs.
    """
    values = _common("concat", arrays)
    if axis is None:
        values = tuple(reshape(each, (-1,) if each.size else (0,)) for each in values)
        axis = 0
    where = normalize_axis("concat", axis, values[0].shape)
    others = {(*each.shape[:where], *each.shape[where + 1 :]) for each in values}
    if len(others) != 1 or len({each.ndim for each in values}) != 1:
        refuse_shapes("concat", values)
    return apply(
        "concat",
        lambda *raws: cp.concatenate(raws, axis=where),
        _concat,
        values,
        config=(where, [each.shape[where] for each in values]),
    )


def _concat(node: Any, grad: Any) -> list[Any]:
    axis, lengths = node.config
    pieces = []
    start = 0
    for edge, length in zip(node.edges, lengths, strict=True):
        key = (slice(None),) * axis + (slice(start, start + length),)
        pieces.append(grad[key] if edge is not None else None)
        start += length
    return pieces


def stack(arrays: Sequence[Any], /, axis: int = 0) -> Tensor:
    """Join arrays of one shape along a new axis.

    Raises
    ------
    ValueError
        That names every shape, if they differ.
    """
    values = _common("stack", arrays)
    shape = values[0].shape
    if any(each.shape != shape for each in values):
        refuse_shapes("stack", values)
    if not -len(shape) - 1 <= axis <= len(shape):
        msg = f"stack: axis {axis} is out of range for shape {shape} with one more"
        raise ValueError(msg)
    where = axis % (len(shape) + 1)
    return apply("stack", lambda *raws: cp.stack(raws, axis=where), _stack, values, config=where)


def _stack(node: Any, grad: Any) -> list[Any]:
    before = (slice(None),) * node.config
    return [
        grad[(*before, index)] if edge is not None else None
        for index, edge in enumerate(node.edges)
    ]
