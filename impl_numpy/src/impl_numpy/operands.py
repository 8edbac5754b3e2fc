"""What `ops` makes of its arguments, or refuses by the operation's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from impl_numpy.dtypes import is_raw, raw_array
from impl_numpy.primitives import Primitive, Shape
from impl_numpy.recording import binary, compare, one_axis, unary
from impl_numpy.tensor import Tensor, wrap


def on_one(rule: Primitive, x: Any) -> Tensor:
    """Apply a primitive to what must be a Tensor or raw array."""
    return unary(rule, tensor_of(rule.name, x))


def on_two(rule: Primitive, a: Any, b: Any) -> Tensor:
    """Apply a primitive to Tensors, raw arrays and at most one number."""
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a, b = (tensor_of(rule.name, a), b) if is_raw(a) else (a, tensor_of(rule.name, b))
    return known(rule.name, binary(rule, a, b), a, b)


def compared(ufunc: np.ufunc, a: Any, b: Any) -> Tensor:
    """Compare as `on_two` applies."""
    if not isinstance(a, Tensor) and not is_raw(a):
        like = tensor_of(ufunc.__name__, b)
        a = np.full((), a, like.dtype if not isinstance(a, float) else None)
    return known(ufunc.__name__, compare(ufunc, tensor_of(ufunc.__name__, a), b), a, b)


def along(rule: Primitive, x: Any, axis: int) -> Tensor:
    """Apply a primitive that works along one axis."""
    x = tensor_of(rule.name, x)
    return unary(rule, x, (one_axis(rule.name, axis, x.shape),))


def known(name: str, result: Any, a: Any, b: Any) -> Tensor:
    """The result of an operator, unless it gave up on its operands.

    Raises
    ------
    TypeError
        If it did; the message names both kinds.
    """
    if result is NotImplemented:
        kinds = f"{type(a).__name__} and {type(b).__name__}"
        msg = f"{name}: wants Tensors, raw arrays or one number beside them, got {kinds}"
        raise TypeError(msg)
    found: Tensor = result
    return found


def tensor_of(name: str, x: Any) -> Tensor:
    """A Tensor of a Tensor or raw array.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(x, Tensor):
        return x
    if not is_raw(x):
        msg = f"{name}: wants a Tensor or a raw array, got {type(x).__name__}"
        raise TypeError(msg)
    return wrap(raw_array(np.asarray(x), name), None)


def tensors_of(name: str, arrays: Sequence[Any]) -> list[Tensor]:
    """Tensors of one or more Tensors or raw arrays.

    Raises
    ------
    ValueError
        If there is none.
    """
    tensors = [tensor_of(name, x) for x in arrays]
    if not tensors:
        msg = f"{name}: wants at least one array, got none"
        raise ValueError(msg)
    return tensors


def new_axis(name: str, axis: int, shape: Shape) -> int:
    """The place, counted from 0, of a new axis in this shape.

    Raises
    ------
    ValueError
        If it is out of range.
    """
    if not -len(shape) - 1 <= axis <= len(shape):
        msg = f"{name}: axis {axis} is out of range for a new axis of shape {shape}"
        raise ValueError(msg)
    return axis % (len(shape) + 1)
