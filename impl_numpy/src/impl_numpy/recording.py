"""How an operation on Tensors is computed and put on the tape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from impl_numpy import primitives as prim
from impl_numpy.dtypes import bool_, float32, int64, is_raw, raw_array
from impl_numpy.primitives import Primitive, Shape
from impl_numpy.tape import MODE, Array, Node, Stretched, Value

Axis: TypeAlias = int | tuple[int, ...] | None

_array = np.array


class Traced:
    """What the tape can follow: a raw array and the node that made it. Tensor is the only kind."""

    __slots__ = ("_data", "_node")

    _data: Array
    _node: Node | None

    @staticmethod
    def wrap(data: Any, node: Node | None) -> Any:
        """A Tensor of this array that `node` made."""
        raise NotImplementedError


class Differentiable:
    """Where `ops` leaves itself, for what lies below it and cannot import it.

    Attributes
    ----------
    ops : module
        The array-API namespace on Tensors.
    """

    ops: Any


def unary(rule: Primitive, x: Any, config: tuple[Any, ...] = ()) -> Any:
    """Compute an operation on one Tensor, and put it on the tape if it wants a gradient.

    Parameters
    ----------
    rule : Primitive
    x : Tensor
    config : tuple
        What `rule.forward` takes after the operand.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the shape does not fit; the message names the operation and the shape.
    """
    array, node = x._data, x._node
    if rule.floats and array.dtype.kind != "f":
        array = array.astype(float32)
    out = _computed(rule, (array,), config)
    if node is None or not MODE.recording or out.dtype.kind != "f":
        return x.wrap(out, None)
    keep_x, keep_out = rule.kept[1]
    saved = (array if keep_x else None, out if keep_out else None, *config)
    return x.wrap(out, Node(rule, (node,), saved))


def binary(rule: Primitive, a: Any, b: Any, config: tuple[Any, ...] = ()) -> Any:
    """An operator between a Tensor and a Tensor, raw array or number; else NotImplemented.

    It does what `record` does, in a hurry: most programs spend their time here.
    """
    left = right = None
    if isinstance(a, Traced):
        x, left, wrap = a._data, a._node, a.wrap
        if isinstance(b, Traced):
            y, right = b._data, b._node
        else:
            b = y = _operand(b, x.dtype)
    else:
        y, right, wrap = b._data, b._node, b.wrap
        a = x = _operand(a, y.dtype)
    if x is None or y is None:
        return NotImplemented
    if x.dtype != y.dtype or (rule.floats and x.dtype.kind != "f"):
        return record(rule, (a, b), config)
    out = _computed(rule, (x, y), config)
    if (left is None and right is None) or not MODE.recording:
        return wrap(out, None)
    keep_x, keep_y, keep_out = rule.kept[(left is not None) + 2 * (right is not None)]
    if rule.stretches:
        if left is not None and x.shape != out.shape:
            left = _stretched(left, x)
        if right is not None and y.shape != out.shape:
            right = _stretched(right, y)
    saved = (
        x if keep_x else None,
        y if keep_y else None,
        out if keep_out else None,
        *config,
    )
    return wrap(out, Node(rule, (left, right), saved))


def record(rule: Primitive, operands: Sequence[Value], config: tuple[Any, ...] = ()) -> Any:
    """Compute an operation on several operands, and put it on the tape if one wants a gradient.

    Parameters
    ----------
    rule : Primitive
    operands : sequence of Tensor or raw array
        At least one is a Tensor. Shapes and dtypes may differ as far as the operation allows.
    config : tuple
        What `rule.forward` takes after the operands.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the shapes do not fit; the message names the operation and every shape.
    """
    wrap = next(x.wrap for x in operands if isinstance(x, Traced))
    arrays = [x._data if isinstance(x, Traced) else x for x in operands]
    parents = [x._node if isinstance(x, Traced) else None for x in operands]
    values = _promoted(arrays, rule.floats)
    out = _computed(rule, values, config)
    if not any(parents) or not MODE.recording:
        return wrap(out, None)
    kept: list[Array | None] = [None] * (len(arrays) + 1)
    for k, (parent, x) in enumerate(zip(parents, arrays, strict=True)):
        if parent is None:
            continue
        for place in rule.keep[k]:
            kept[place] = out if place == prim.OUT else values[place]
        if x.dtype != out.dtype or x.shape != _own_shape(rule, x, out):
            parents[k] = _stretched(parent, x)
    return wrap(out, Node(rule, tuple(parents), (*kept, *config)))


def _computed(rule: Primitive, arrays: Sequence[Array], config: tuple[Any, ...]) -> Any:
    try:
        if rule.quiet:
            with np.errstate(all="ignore"):
                return rule.forward(*arrays, *config)
        return rule.forward(*arrays, *config)
    except ValueError as error:
        if rule is prim.power and arrays[1].dtype.kind != "f" and np.any(arrays[1] < 0):
            least = arrays[1].min()
            msg = f"pow: integers take no negative exponent, got {least}; cast with astype first"
            raise ValueError(msg) from None
        shapes = " and ".join(str(np.shape(x)) for x in arrays)
        wanted = f" to {config[0]}" if rule in (prim.reshape, prim.spread) else ""
        reason = " ".join(str(error).split())
        msg = f"{rule.name}: cannot take the shape(s) {shapes}{wanted}: {reason}"
    raise ValueError(msg)


def _stretched(parent: Node, x: Array) -> Stretched:
    return Stretched(prim.spread, (parent,), (None, None, None, None, x.shape, x.dtype))


def _own_shape(rule: Primitive, x: Array, out: Array) -> Shape:
    """The shape of the rule's gradient of an operand: the result's where it was stretched."""
    if rule.stretches:
        return out.shape
    return out.shape[:-2] + x.shape[-2:] if rule is prim.matmul else x.shape


def _promoted(arrays: list[Array], floats: bool) -> list[Array]:
    """Integers take the widest floating dtype there is; without one, float32 if `floats`."""
    floating = [x.dtype for x in arrays if x.dtype.kind == "f"]
    if len(floating) == len(arrays) or not (floating or floats):
        return arrays
    dtype = max(floating, key=lambda d: d.itemsize, default=float32)
    return [x if x.dtype.kind == "f" else x.astype(dtype) for x in arrays]


def _operand(value: Any, dtype: np.dtype[Any]) -> Any:
    """What stands next to a Tensor as a raw array; a plain number takes the Tensor's dtype."""
    kind = type(value)
    if kind is float:
        return _array(value, dtype if dtype.kind == "f" else float32)
    if kind is int:
        return _array(value, int64 if dtype == bool_ else dtype)
    if kind is bool:
        return _array(value, dtype)
    if isinstance(value, np.generic):
        return _operand(value.item(), dtype)
    return raw_array(value, "operator") if is_raw(value) else None


def compare(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """Element by element, without history; NotImplemented for no Tensor, raw array or number."""
    other = b._data if isinstance(b, Traced) else b
    if not isinstance(other, (np.ndarray, np.generic, bool, int, float)):
        return NotImplemented
    try:
        return a.wrap(ufunc(a._data, other), None)
    except ValueError as error:
        msg = f"{ufunc.__name__}: cannot take shapes {a.shape} and {np.shape(other)}: {error}"
        raise ValueError(msg) from None


def matmul(a: Any, b: Any) -> Any:
    """The product of matrices, stacks of them and vectors, as NumPy has it; else NotImplemented.

    Raises
    ------
    ValueError
        If the shapes do not match; the message names both.
    """
    wrap = a.wrap if isinstance(a, Traced) else b.wrap
    left, right = (
        wrap(raw_array(np.asarray(x), "matmul"), None) if is_raw(x) else x for x in (a, b)
    )
    if not isinstance(left, Traced) or not isinstance(right, Traced):
        return NotImplemented
    before, after = left._data.shape, right._data.shape
    if not before or not after or before[-1] != after[-2:][0]:
        msg = f"matmul: the inner sizes of shapes {before} and {after} must be equal"
        raise ValueError(msg)
    if len(before) == len(after) == 2:
        return binary(prim.matmul, left, right)
    if len(before) == 1:
        whole = matmul(_reshaped(left, (1, -1)), right)
        return _reshaped(whole, (*after[:-2], *after[-1:]) if len(after) > 1 else ())
    if len(after) == 1:
        return _reshaped(matmul(left, _reshaped(right, (-1, 1))), before[:-1])
    if len(after) == 2:
        # One product instead of a stack, and the gradient of `right` without a stack to sum.
        rows = _reshaped(left, (math.prod(before[:-1]), before[-1]))
        return _reshaped(binary(prim.matmul, rows, right), (*before[:-1], after[-1]))
    return record(prim.matmul, (left, right))


def _reshaped(x: Any, shape: Shape) -> Any:
    return unary(prim.reshape, x, (shape, x._data.shape))


def reduction(
    name: str, shape: Shape, axis: Axis, keepdims: bool
) -> tuple[Shape, bool, Shape, Shape]:
    """The configuration of a reduction of an array of this shape."""
    if axis is None:
        return tuple(range(len(shape))), bool(keepdims), (1,) * len(shape), shape
    given = (axis,) if isinstance(axis, int) else axis
    axes = tuple(one_axis(name, k, shape) for k in given)
    if len(set(axes)) < len(axes):
        msg = f"{name}: axis {axis} names an axis twice for shape {shape}"
        raise ValueError(msg)
    kept = tuple(1 if k in axes else n for k, n in enumerate(shape))
    return axes, bool(keepdims), kept, shape


def one_axis(name: str, axis: int, shape: Shape) -> int:
    """An axis of an array of this shape, counted from 0."""
    if not isinstance(axis, (int, np.integer)):
        msg = f"{name}: the axis must be an int, got {axis!r}"
        raise TypeError(msg)
    if not -len(shape) <= axis < len(shape):
        msg = f"{name}: axis {axis} is out of range for shape {shape}"
        raise ValueError(msg)
    return axis % len(shape)


def plain_key(key: Any) -> Any:
    """An index without Tensors in it."""
    if isinstance(key, tuple):
        return tuple(plain_key(k) for k in key)
    if isinstance(key, Traced):
        return key._data
    if isinstance(key, list):
        array = np.asarray([plain_key(k) for k in key])
        return array if array.size else array.astype(int64)
    return key
