"""The functions of the Python array API standard, and some from deep learning, on Tensors.

They take Tensors, raw arrays and, next to at least one of these, Python numbers. Each
returns a Tensor.
"""

from __future__ import annotations

import builtins
import operator
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import creation
from impl_numpy import primitives as prim
from impl_numpy.creation import arange, full, ones, ones_like, zeros, zeros_like
from impl_numpy.dtypes import bool_ as bool
from impl_numpy.dtypes import float32, float64, int32, int64, is_raw, one_dtype
from impl_numpy.operands import (
    along,
    compared,
    known,
    new_axis,
    on_one,
    on_two,
    tensor_of,
    tensors_of,
)
from impl_numpy.primitives import Shape
from impl_numpy.recording import Axis, Differentiable, binary, one_axis, record, unary
from impl_numpy.recording import matmul as _matmul
from impl_numpy.tensor import Tensor, wrap

__all__ = [
    "abs",
    "add",
    "arange",
    "argmax",
    "asarray",
    "astype",
    "bool",
    "broadcast_to",
    "clip",
    "concat",
    "cos",
    "divide",
    "equal",
    "exp",
    "expand_dims",
    "float32",
    "float64",
    "full",
    "greater",
    "greater_equal",
    "int32",
    "int64",
    "isfinite",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "ones",
    "ones_like",
    "permute_dims",
    "pow",
    "relu",
    "reshape",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "subtract",
    "sum",
    "take",
    "tanh",
    "where",
    "zeros",
    "zeros_like",
]


def asarray(x: Any, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """A Tensor of what `tensor` takes; Tensors and raw arrays are not copied."""
    if isinstance(x, Tensor) or is_raw(x):
        found = tensor_of("asarray", x)
        return found if dtype is None else astype(found, dtype)
    return creation.tensor(x, dtype=dtype)


def abs(x: Any, /) -> Tensor:
    """|x|; the subgradient at 0 is 0."""
    return on_one(prim.absolute, x)


def negative(x: Any, /) -> Tensor:
    """-x."""
    return on_one(prim.negative, x)


def exp(x: Any, /) -> Tensor:
    """e ** x."""
    return on_one(prim.exp, x)


def log(x: Any, /) -> Tensor:
    """The natural logarithm."""
    return on_one(prim.log, x)


def sqrt(x: Any, /) -> Tensor:
    """The square root; its gradient at 0 is infinite."""
    return on_one(prim.sqrt, x)


def square(x: Any, /) -> Tensor:
    """x * x."""
    return on_one(prim.square, x)


def tanh(x: Any, /) -> Tensor:
    """The hyperbolic tangent."""
    return on_one(prim.tanh, x)


def sin(x: Any, /) -> Tensor:
    """The sine."""
    return on_one(prim.sin, x)


def cos(x: Any, /) -> Tensor:
    """The cosine."""
    return on_one(prim.cos, x)


def relu(x: Any, /) -> Tensor:
    """max(x, 0); the subgradient at 0 is 0."""
    return on_one(prim.relu, x)


def sigmoid(x: Any, /) -> Tensor:
    """1 / (1 + exp(-x)), without overflow at either end."""
    return on_one(prim.sigmoid, x)


def sign(x: Any, /) -> Tensor:
    """-1, 0 or 1; its gradient is 0."""
    return on_one(prim.sign, x)


def add(x1: Any, x2: Any, /) -> Tensor:
    """x1 + x2."""
    return on_two(prim.add, x1, x2)


def subtract(x1: Any, x2: Any, /) -> Tensor:
    """x1 - x2."""
    return on_two(prim.subtract, x1, x2)


def multiply(x1: Any, x2: Any, /) -> Tensor:
    """x1 * x2."""
    return on_two(prim.multiply, x1, x2)


def divide(x1: Any, x2: Any, /) -> Tensor:
    """x1 / x2; between integers the quotient is float32."""
    return on_two(prim.divide, x1, x2)


def pow(x1: Any, x2: Any, /) -> Tensor:
    """x1 ** x2; 0 ** 0 is 1, and the gradient of x ** 0 is 0."""
    if isinstance(x1, Tensor):
        return known("pow", x1.__pow__(x2), x1, x2)
    return on_two(prim.power, x1, x2)


def maximum(x1: Any, x2: Any, /) -> Tensor:
    """The larger of two elements; at a tie each gets half of the gradient."""
    return on_two(prim.maximum, x1, x2)


def minimum(x1: Any, x2: Any, /) -> Tensor:
    """The smaller of two elements; at a tie each gets half of the gradient."""
    return on_two(prim.minimum, x1, x2)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x between bounds; the gradient passes where min <= x <= max, bounds included."""
    x = tensor_of("clip", x)
    if min is not None:
        x = where(x < min, min, x)
    if max is not None:
        x = where(x > max, max, x)
    return x


def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """x1 where the condition holds, else x2; what is not selected gets a gradient of exactly 0."""
    chosen = condition.data if isinstance(condition, Tensor) else np.asarray(condition)
    if chosen.dtype != bool:
        msg = f"where: the condition must be of dtype bool, got {chosen.dtype}"
        raise TypeError(msg)
    if not any(isinstance(x, Tensor) or is_raw(x) for x in (x1, x2)):
        x1 = creation.tensor(x1)
    first = x1 if isinstance(x1, Tensor) or not is_raw(x1) else tensor_of("where", x1)
    second = x2 if isinstance(x2, Tensor) or isinstance(first, Tensor) else tensor_of("where", x2)
    return known("where", binary(prim.select, first, second, (chosen,)), x1, x2)


def astype(x: Any, dtype: DTypeLike, /, *, copy: builtins.bool = True) -> Tensor:
    """x in another dtype; between floating dtypes the gradient comes back in that of x."""
    x = tensor_of("astype", x)
    found = one_dtype(dtype, "astype")
    return unary(prim.spread, x, (x.shape, found, x.shape, x.dtype))


def equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 == x2."""
    return compared(np.equal, x1, x2)


def not_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 != x2."""
    return compared(np.not_equal, x1, x2)


def less(x1: Any, x2: Any, /) -> Tensor:
    """x1 < x2."""
    return compared(np.less, x1, x2)


def less_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 <= x2."""
    return compared(np.less_equal, x1, x2)


def greater(x1: Any, x2: Any, /) -> Tensor:
    """x1 > x2."""
    return compared(np.greater, x1, x2)


def greater_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 >= x2."""
    return compared(np.greater_equal, x1, x2)


def logical_and(x1: Any, x2: Any, /) -> Tensor:
    """x1 and x2."""
    return compared(np.logical_and, x1, x2)


def logical_or(x1: Any, x2: Any, /) -> Tensor:
    """x1 or x2."""
    return compared(np.logical_or, x1, x2)


def logical_not(x: Any, /) -> Tensor:
    """Not x."""
    return wrap(np.logical_not(tensor_of("logical_not", x).data), None)


def isnan(x: Any, /) -> Tensor:
    """Where x is NaN."""
    return wrap(np.isnan(tensor_of("isnan", x).data), None)


def isfinite(x: Any, /) -> Tensor:
    """Where x is neither infinite nor NaN."""
    return wrap(np.isfinite(tensor_of("isfinite", x).data), None)


def sum(x: Any, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The sum over one axis, several, or all."""
    return tensor_of("sum", x).sum(axis, keepdims)


def mean(x: Any, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The mean over one axis, several, or all."""
    return tensor_of("mean", x).mean(axis, keepdims)


def max(x: Any, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The largest element; elements that tie share its gradient."""
    return tensor_of("max", x).amax(axis, keepdims)


def min(x: Any, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The smallest element; elements that tie share its gradient."""
    return tensor_of("min", x).amin(axis, keepdims)


def argmax(x: Any, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
    """The index of the first largest element on an axis, or of all.

    Parameters
    ----------
    x : Tensor or array of any shape, not empty
    axis : int, optional
        Left out, the index is that into the flattened array.
    keepdims : bool
        Keep the axis, with length 1.

    Returns
    -------
    Tensor of int64, the shape of x without `axis`

    Raises
    ------
    ValueError
        If the axis is out of range, or there is no element.
    """
    x = tensor_of("argmax", x)
    place = None if axis is None else one_axis("argmax", axis, x.shape)
    return wrap(np.argmax(x.data, axis=place, keepdims=keepdims), None)


def matmul(x1: Any, x2: Any, /) -> Tensor:
    """The matrix product, as in `x1 @ x2` (numpy.matmul).

    Parameters
    ----------
    x1 : Tensor or array, shape (..., M, K) or (K,)
    x2 : Tensor or array, shape (..., K, N) or (K,)
        The leading axes broadcast.

    Returns
    -------
    Tensor, shape (..., M, N), without M or N where a vector came

    Raises
    ------
    ValueError
        If the inner sizes differ, an operand has no axis, or the leading axes do not fit.
    TypeError
        If an operand is no Tensor or raw array.
    """
    return known("matmul", _matmul(tensor_of("matmul", x1), x2), x1, x2)


def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes exchanged."""
    return tensor_of("matrix_transpose", x).mT


def reshape(x: Any, /, shape: Shape) -> Tensor:
    """The elements in another shape; one size may be -1."""
    return tensor_of("reshape", x).reshape(tuple(shape) if isinstance(shape, Sequence) else shape)


def permute_dims(x: Any, /, axes: Shape) -> Tensor:
    """The axes in another order."""
    x = tensor_of("permute_dims", x)
    order = tuple(one_axis("permute_dims", k, x.shape) for k in axes)
    if sorted(order) != list(range(x.ndim)):
        msg = f"permute_dims: axes {tuple(axes)} are no order of the axes of shape {x.shape}"
        raise ValueError(msg)
    return unary(prim.permute, x, (order,))


def expand_dims(x: Any, /, *, axis: int = 0) -> Tensor:
    """A new axis of length 1 at a place."""
    x = tensor_of("expand_dims", x)
    place = new_axis("expand_dims", axis, x.shape)
    return x.reshape((*x.shape[:place], 1, *x.shape[place:]))


def squeeze(x: Any, /, axis: int | tuple[int, ...]) -> Tensor:
    """Without the named axes, which must be of length 1."""
    x = tensor_of("squeeze", x)
    given = axis if isinstance(axis, tuple) else (axis,)
    axes = {one_axis("squeeze", k, x.shape) for k in given}
    if any(x.shape[k] != 1 for k in axes):
        msg = f"squeeze: axis {axis} of shape {x.shape} must have length 1"
        raise ValueError(msg)
    return x.reshape(tuple(n for k, n in enumerate(x.shape) if k not in axes))


def broadcast_to(x: Any, /, shape: Shape) -> Tensor:
    """x repeated to a shape."""
    x = tensor_of("broadcast_to", x)
    to = tuple(operator.index(n) for n in shape)
    return unary(prim.spread, x, (to, x.dtype, x.shape, x.dtype))


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Tensor:
    """Arrays one after the other on an axis.

    Parameters
    ----------
    arrays : sequence of Tensor or array, shapes (..., N_k, ...)
        All sizes but that of `axis` are the same.
    axis : int or None
        With None all are flattened first.

    Returns
    -------
    Tensor, shape (..., sum of N_k, ...)

    Raises
    ------
    ValueError
        If there is no array, the axis is out of range, or other sizes differ.
    """
    tensors = tensors_of("concat", arrays)
    if axis is None:
        tensors = [x.reshape(-1) for x in tensors]
    place = one_axis("concat", 0 if axis is None else axis, tensors[0].shape)
    stops = np.cumsum([x.shape[place] if x.ndim > place else 0 for x in tensors]).tolist()
    return record(prim.concat(len(tensors)), tensors, (place, stops))


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Tensor:
    """Arrays of one shape along a new axis."""
    tensors = tensors_of("stack", arrays)
    place = new_axis("stack", axis, tensors[0].shape)
    return record(prim.stack(len(tensors)), tensors, (place,))


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """The elements at indices on an axis; repeated ones accumulate gradients.

    Parameters
    ----------
    x : Tensor or array, shape (..., N, ...)
    indices : Tensor or array of integers, shape S
        Negative ones count from the end.
    axis : int, optional
        That of length N; may be left out where there is only one.

    Returns
    -------
    Tensor, shape (..., *S, ...)

    Raises
    ------
    ValueError
        If the axis is out of range, or left out where there are several.
    IndexError
        If an index is out of range.
    """
    x = tensor_of("take", x)
    if axis is None and x.ndim != 1:
        msg = f"take: axis may be left out for one axis alone, got shape {x.shape}"
        raise ValueError(msg)
    place = 0 if axis is None else one_axis("take", axis, x.shape)
    found = indices if isinstance(indices, Tensor) else np.asarray(indices)
    return x[(*(slice(None),) * place, found)] if place else x[found]


def softmax(x: Any, /, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) over an axis, without overflow (torch.nn.functional.softmax).

    The result has the shape of x; ValueError if the axis is out of range.
    """
    return along(prim.softmax, x, axis)


def log_softmax(x: Any, /, axis: int = -1) -> Tensor:
    """log(softmax(x)) over an axis, without overflow (torch.nn.functional.log_softmax).

    The result has the shape of x; ValueError if the axis is out of range.
    """
    return along(prim.log_softmax, x, axis)


def logsumexp(x: Any, /, axis: int = -1, keepdims: builtins.bool = False) -> Tensor:
    """log(sum(exp(x))) over an axis, without overflow (torch.logsumexp).

    The result has the shape of x without `axis`, or with length 1 there if `keepdims`; ValueError
    if the axis is out of range.
    """
    found = along(prim.logsumexp, x, axis)
    return found if keepdims else squeeze(found, axis)


Differentiable.ops = sys.modules[__name__]
