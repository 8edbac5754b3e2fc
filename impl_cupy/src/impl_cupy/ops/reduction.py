"""Reductions over axes, with their gradients."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.dtypes import DTypeLike, as_dtype, int64
from impl_cupy.ops.primitive import apply, as_tensor, cast, floating, normalize_axes, normalize_axis
from impl_cupy.tensor import Axis, Tensor


def _kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def sum(x: Any, /, axis: Axis = None, dtype: DTypeLike = None, keepdims: bool = False) -> Tensor:
    """Add up over `axis`, over everything unless given.

    Parameters
    ----------
    x : Tensor
    axis : int, tuple of int or None
    dtype : dtype, optional
        In which to add; booleans and integers add up to int64.
    keepdims : bool
        Keep the axes with length 1.
    """
    value = as_tensor("sum", x)
    if dtype is not None:
        value = cast(value, as_dtype("sum", dtype))
    axes = normalize_axes("sum", axis, value.shape)
    config = (value.shape, _kept_shape(value.shape, axes))
    if value.dtype.kind != "f":
        value = cast(value, int64)
    return apply(
        "sum",
        lambda raw: cp.sum(raw, axis=axes, keepdims=keepdims) if axes else raw.copy(),
        _sum,
        (value,),
        config=config,
    )


def _sum(node: Any, grad: Any) -> tuple[Any]:
    shape, kept = node.config
    return (node.xp.broadcast_to(node.xp.reshape(grad, kept), shape),)


def mean(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Average over `axis`; integers give float32."""
    value = floating(as_tensor("mean", x))
    axes = normalize_axes("mean", axis, value.shape)
    count = math.prod(value.shape[each] for each in axes)
    config = (value.shape, _kept_shape(value.shape, axes), count)
    return apply(
        "mean",
        lambda raw: cp.mean(raw, axis=axes, keepdims=keepdims) if axes else raw.copy(),
        _mean,
        (value,),
        config=config,
    )


def _mean(node: Any, grad: Any) -> tuple[Any]:
    shape, kept, count = node.config
    if count == 0:
        return (node.xp.broadcast_to(node.xp.reshape(grad, kept), shape),)
    return (node.xp.broadcast_to(node.xp.reshape(grad / count, kept), shape),)


def max(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Give the largest over `axis`; elements that tie share the gradient equally.

    Raises
    ------
    ValueError
        If there is nothing to choose from.
    """
    return _extreme("max", cp.max, x, axis, keepdims)


def min(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Give the smallest over `axis`; elements that tie share the gradient equally.

    Raises
    ------
    ValueError
        If there is nothing to choose from.
    """
    return _extreme("min", cp.min, x, axis, keepdims)


def _extreme(name: str, function: Any, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    value = as_tensor(name, x)
    axes = normalize_axes(name, axis, value.shape)
    if any(value.shape[each] == 0 for each in axes):
        msg = f"{name}: axis {axis} of shape {value.shape} has no elements"
        raise ValueError(msg)
    return apply(
        name,
        lambda raw: function(raw, axis=axes, keepdims=keepdims) if axes else raw.copy(),
        _share,
        (value,),
        keep_inputs=True,
        keep_output=True,
        config=(_kept_shape(value.shape, axes), axes),
    )


def _share(node: Any, grad: Any) -> tuple[Any]:
    xp = node.xp
    (x,) = node.inputs
    kept, axes = node.config
    chosen = xp.astype(x == xp.reshape(node.output, kept), grad.dtype)
    count = xp.sum(chosen, axis=axes, keepdims=True) if axes else chosen
    return (chosen * (xp.reshape(grad, kept) / count),)


def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Give the position of the first largest element along `axis`, int64.

    Without `axis` it is the position in the flattened array.

    Raises
    ------
    ValueError
        If there is nothing to choose from.
    """
    value = as_tensor("argmax", x)
    where = None if axis is None else normalize_axis("argmax", axis, value.shape)
    if value.size == 0 and (where is None or value.shape[where] == 0):
        msg = f"argmax: axis {axis} of shape {value.shape} has no elements"
        raise ValueError(msg)
    kept = _kept_shape(value.shape, tuple(range(value.ndim)) if where is None else (where,))

    def position(raw: Any) -> Any:
        found = cp.argmax(raw, axis=where).astype("int64")
        return found.reshape(kept) if keepdims else found

    return apply("argmax", position, None, (value,))
