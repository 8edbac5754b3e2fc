"""Functions that move elements about: shapes, axes, joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from impl_numpy.checks import (
    check_flag,
    check_items,
    check_sizes,
    normalize_axes,
    normalize_axis,
    normalize_new_axis,
)
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.ops.families import as_tensors, registered, rule, shape, spread_to
from impl_numpy.recording import Grads, Primitive, record, unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor


def _reshape(x: Array, to: Shape, shape: Shape) -> Array:
    return x.reshape(to)


def _reshape_vjp(grad: Value, needs: Parents, x: None, out: None, to: Shape, shape: Shape) -> Grads:
    return (grad.reshape(shape),)


_reshaped = rule(
    Primitive(
        "reshape",
        _reshape,
        _reshape_vjp,
        explain=lambda x, to, shape: f"cannot bring the shape {shape} into the shape {to}",
    )
)


def _permute_vjp(grad: Value, needs: Parents, x: None, out: None, axes: Shape) -> Grads:
    return (_permuted(grad, tuple(sorted(range(len(axes)), key=axes.__getitem__))),)


_permuted = rule(Primitive("permute_dims", np.transpose, _permute_vjp))


def _concat_vjp(grad: Value, needs: Parents, *saved: Any) -> Grads:
    axis, stops = saved[-2:]
    lead = (slice(None),) * axis
    starts = (0, *stops[:-1])
    return tuple(
        grad[(*lead, slice(start, stop))] if need is not None else None
        for need, start, stop in zip(needs, starts, stops, strict=True)
    )


def _stack_vjp(grad: Value, needs: Parents, *saved: Any) -> Grads:
    lead = (slice(None),) * saved[-1]
    return tuple(grad[(*lead, k)] if need is not None else None for k, need in enumerate(needs))


def _joined(arrays: int) -> Primitive:
    """Make the primitive that joins so many arrays; configuration: the axis, each one's end."""
    return Primitive(
        "concat",
        lambda *args: np.concatenate(args[:-2], axis=args[-2]),
        _concat_vjp,
        ((),) * arrays,
    )


def _stacked(arrays: int) -> Primitive:
    """Make the primitive that stacks so many arrays; configuration: the new axis."""
    return Primitive(
        "stack", lambda *args: np.stack(args[:-1], axis=args[-1]), _stack_vjp, ((),) * arrays
    )


rule(_joined(2), "concat of two")


def _check_shape(name: str, sizes: Any, least: int) -> Shape:
    # A tuple is asked for first: to ask the abstract class takes longer than the rest.
    several = isinstance(sizes, (tuple, Sequence))
    return check_sizes(tuple(sizes) if several else sizes, name, least)


_RESHAPE = """Parameters
----------
x : Tensor or raw array
shape : int or tuple of int
    One size may be -1: what is left.
copy : bool, optional
    True always copies, False never does, None only where it must.

Returns
-------
Tensor, of that shape

Raises
------
ValueError
    If the elements do not fit, a size is negative, or a copy is needed and forbidden.
TypeError
    If x is no array or a size no int."""


@registered("reshape", "Return the elements in another shape.", _RESHAPE)
def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    x = as_tensor("reshape", x)
    result: Tensor = unary(_reshaped, x, (_check_shape("reshape", shape, -1), x._data.shape))
    copy = None if copy is None else check_flag("reshape", "copy", copy)
    if copy is not None and np.may_share_memory(x._data, result._data) == copy:  # ops-17
        if not copy:
            msg = f"reshape: copy=False, but shape {x.shape} to {result.shape} needs a copy"
            raise ValueError(msg)
        result._data = result._data.copy()
    return result


_PERMUTE = """Parameters
----------
x : Tensor or raw array
axes : tuple of int
    Every axis once.

Returns
-------
Tensor, its axes in that order

Raises
------
ValueError
    If the axes are not those of x.
TypeError
    If x is no array or an axis no int."""


@registered("permute_dims", "Return the axes in another order.", _PERMUTE)
def permute_dims(x: Any, /, axes: Shape) -> Tensor:
    x = as_tensor("permute_dims", x)
    several = check_items("permute_dims", "axes", axes, "a tuple of ints")
    order = tuple([normalize_axis("permute_dims", k, x.shape) for k in several])
    if sorted(order) != list(range(x.ndim)):
        msg = f"permute_dims: axes {order} are no order of the axes of shape {x.shape}"
        raise ValueError(msg)
    result: Tensor = unary(_permuted, x, (order,))
    return result


def _expanded(sizes: Shape, axis: Any) -> Shape:
    """Return the shape with new axes; their places are those in the result (ops-18)."""
    several = axis if isinstance(axis, tuple) else (axis,)
    count = len(several)
    places = {normalize_new_axis("expand_dims", k, sizes, count) for k in several}
    if len(places) < count:
        msg = f"expand_dims: axis {axis} names a place twice for shape {sizes}"
        raise ValueError(msg)
    left = iter(sizes)
    return tuple(1 if k in places else next(left) for k in range(len(sizes) + count))


def _squeezed(sizes: Shape, axis: Any) -> Shape:
    axes = normalize_axes("squeeze", axis, sizes)
    if any(sizes[k] != 1 for k in axes):
        msg = f"squeeze: axis {axis} of shape {sizes} must have length 1"
        raise ValueError(msg)
    return tuple(n for k, n in enumerate(sizes) if k not in axes)


expand_dims = shape(
    "expand_dims",
    _expanded,
    "Return x with new axes of length 1.",
    "Or a tuple of ints: the places of the new axes in the result.",
)
squeeze = shape(
    "squeeze", _squeezed, "Return x without axes of length 1.", "Or a tuple of ints: which to drop."
)

_BROADCAST = """Parameters
----------
x : Tensor or raw array
shape : tuple of int

Returns
-------
Tensor, of that shape

Raises
------
ValueError
    If x does not broadcast to the shape, or a size is negative.
TypeError
    If x is no array or a size no int."""


@registered("broadcast_to", "Return x repeated to a shape.", _BROADCAST)
def broadcast_to(x: Any, /, shape: Any) -> Tensor:
    x = as_tensor("broadcast_to", x)
    to = _check_shape("broadcast_to", shape, 0)
    return spread_to(x, to, x.dtype)


_JOIN = """Parameters
----------
arrays : sequence of Tensor or raw array
    {shapes}
axis : int{none}

Returns
-------
Tensor

Raises
------
ValueError
    If there is no array, the axis is out of range, or the shapes do not fit.
TypeError
    If something is no array, or the axis no int."""


@registered(
    "concat",
    "Return arrays one after the other on an axis.",
    _JOIN.format(shapes="All sizes but that of `axis` are the same.", none=" or None (flatten)"),
)
def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Tensor:
    tensors = as_tensors("concat", arrays)
    if axis is None:
        tensors = [reshape(x, (-1,)) for x in tensors]
    place = normalize_axis("concat", 0 if axis is None else axis, tensors[0].shape)
    stops = np.cumsum([x.shape[place] if x.ndim > place else 0 for x in tensors]).tolist()
    result: Tensor = record(_joined(len(tensors)), tensors, (place, stops))
    return result


@registered(
    "stack",
    "Return arrays of one shape along a new axis.",
    _JOIN.format(shapes="All of one shape.", none=": the place of the new axis"),
)
def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Tensor:
    tensors = as_tensors("stack", arrays)
    place = normalize_new_axis("stack", axis, tensors[0].shape)
    result: Tensor = record(_stacked(len(tensors)), tensors, (place,))
    return result
