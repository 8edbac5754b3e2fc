"""The namespace of functions on Tensors: array API standard 2024.12 names, and deep learning's own.

They take Tensors, raw arrays and, beside at least one of these, Python numbers, and return Tensors.
Each is differentiable as often as its mathematics is.
"""

import builtins
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from . import arithmetic as A
from . import kernels
from .arithmetic import (
    abs,
    add,
    argmax,
    astype,
    clip,
    divide,
    matmul,
    matrix_transpose,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    pow,
    reshape,
    subtract,
    sum,
    where,
)
from .creation import arange, full, ones, tensor, zeros
from .tape import Primitive, unwrap
from .tensor import Tensor, bool_, float32, float64, int32, int64
from .tensor import bool_ as bool

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

Array = Any

_elementwise = {
    name: Primitive(kernels.elementwise, name)
    for name in ("exp", "log", "sqrt", "square", "tanh", "sin", "cos", "sign")
}
_logical = Primitive(kernels.compare, "logical")
_elementwise_bool = Primitive(kernels.elementwise, "predicate")
_relu = Primitive(kernels.relu, "relu")
_sigmoid = Primitive(kernels.sigmoid, "sigmoid")
_softmax = Primitive(kernels.softmax, "softmax")
_log_softmax = Primitive(kernels.log_softmax, "log_softmax")
_logsumexp = Primitive(kernels.logsumexp, "logsumexp")
_reshape = Primitive(kernels.reshape, "reshape", kernels.nothing)
_permute_dims = Primitive(kernels.permute_dims, "permute_dims", kernels.nothing)
_broadcast_to = Primitive(kernels.broadcast_to, "broadcast_to", kernels.nothing)
_concat = Primitive(kernels.concat, "concat", kernels.nothing)
_stack = Primitive(kernels.stack, "stack", kernels.nothing)
_take = Primitive(kernels.take, "take", kernels.all_but_first)


def asarray(obj: Any, /, *, dtype: Any = None, copy: builtins.bool | None = None) -> Tensor:
    """Return a Tensor: `obj` itself if it is one of that dtype and no copy is asked for."""
    if isinstance(obj, Tensor) and not copy:
        return obj if dtype is None or obj.dtype == np.dtype(dtype) else astype(obj, dtype)
    return tensor(obj, dtype=dtype)


def _like(name: str, x: Array, value: int, dtype: Any) -> Tensor:
    x = A.operand(name, x)
    return full(A.shape_of(x), value, dtype=A.dtype_of(x) if dtype is None else dtype)


def zeros_like(x: Array, /, *, dtype: Any = None) -> Tensor:
    """Return zeros of `x`'s shape and dtype."""
    return _like("zeros_like", x, 0, dtype)


def ones_like(x: Array, /, *, dtype: Any = None) -> Tensor:
    """Return ones of `x`'s shape and dtype."""
    return _like("ones_like", x, 1, dtype)


def _map(name: str, x: Array, floating: Any = True) -> Any:
    x = A.operand(name, x)
    dtype = A.dtype_of(x)
    return _elementwise[name]((x,), name, A.floating(dtype) if floating else dtype)


def exp(x: Array, /) -> Any:
    """Return e to the power `x`."""
    return _map("exp", x)


def log(x: Array, /) -> Any:
    """Return the natural logarithm."""
    return _map("log", x)


def sqrt(x: Array, /) -> Any:
    """Return the square root; its gradient at 0 is infinite."""
    return _map("sqrt", x)


def square(x: Array, /) -> Any:
    """Return ``x * x``."""
    return _map("square", x, floating=False)


def tanh(x: Array, /) -> Any:
    """Return the hyperbolic tangent."""
    return _map("tanh", x)


def sin(x: Array, /) -> Any:
    """Return the sine."""
    return _map("sin", x)


def cos(x: Array, /) -> Any:
    """Return the cosine."""
    return _map("cos", x)


def sign(x: Array, /) -> Any:
    """Return -1, 0 or 1; the gradient is 0."""
    return _map("sign", x, floating=False)


def equal(x1: Array, x2: Array, /) -> Any:
    """Return ``x1 == x2``, element by element."""
    return A.compare("equal", x1, x2)


def not_equal(x1: Array, x2: Array, /) -> Any:
    """Return ``x1 != x2``, element by element."""
    return A.compare("not_equal", x1, x2)


def less(x1: Array, x2: Array, /) -> Any:
    """Return ``x1 < x2``, element by element."""
    return A.compare("less", x1, x2)


def less_equal(x1: Array, x2: Array, /) -> Any:
    """Return ``x1 <= x2``, element by element."""
    return A.compare("less_equal", x1, x2)


def greater(x1: Array, x2: Array, /) -> Any:
    """Return ``x1 > x2``, element by element."""
    return A.compare("greater", x1, x2)


def greater_equal(x1: Array, x2: Array, /) -> Any:
    """Return ``x1 >= x2``, element by element."""
    return A.compare("greater_equal", x1, x2)


def logical_and(x1: Array, x2: Array, /) -> Any:
    """Return whether both are true."""
    x1, x2, _ = A.pair("logical_and", x1, x2)
    return _logical((x1, x2), "logical_and", bool_)


def logical_or(x1: Array, x2: Array, /) -> Any:
    """Return whether either is true."""
    x1, x2, _ = A.pair("logical_or", x1, x2)
    return _logical((x1, x2), "logical_or", bool_)


def logical_not(x: Array, /) -> Any:
    """Return whether `x` is false."""
    return _elementwise_bool((A.operand("logical_not", x),), "logical_not", bool_)


def isnan(x: Array, /) -> Any:
    """Tell where `x` is NaN."""
    x = A.operand("isnan", x)
    return _elementwise_bool((x,), "isnan", A.floating(A.dtype_of(x)))


def isfinite(x: Array, /) -> Any:
    """Tell where `x` is neither NaN nor infinite."""
    x = A.operand("isfinite", x)
    return _elementwise_bool((x,), "isfinite", A.floating(A.dtype_of(x)))


def relu(x: Array, /) -> Any:
    """Return ``max(x, 0)``; the gradient at 0 is 0."""
    return _relu((A.operand("relu", x),))


def sigmoid(x: Array, /) -> Any:
    """Return ``1 / (1 + exp(-x))``."""
    x = A.operand("sigmoid", x)
    return _sigmoid((x,), A.floating(A.dtype_of(x)))


def _along(primitive: Primitive, x: Array, axis: int) -> Any:
    x = A.operand(primitive.name, x)
    place = A.normalize_axis(primitive.name, axis, A.shape_of(x))
    return primitive((x,), place, A.floating(A.dtype_of(x)))


def softmax(x: Array, /, axis: int = -1) -> Any:
    """Return ``exp(x) / sum(exp(x))`` along an axis, without overflow.

    Parameters
    ----------
    x : array, any shape
        Integers are computed in float32.
    axis : int

    Returns
    -------
    Tensor, the shape of x

    Raises
    ------
    ValueError
        If the axis is out of range.
    """
    return _along(_softmax, x, axis)


def log_softmax(x: Array, /, axis: int = -1) -> Any:
    """Return the logarithm of `softmax`, without overflow.

    Parameters
    ----------
    x : array, any shape
        Integers are computed in float32.
    axis : int

    Returns
    -------
    Tensor, the shape of x

    Raises
    ------
    ValueError
        If the axis is out of range.
    """
    return _along(_log_softmax, x, axis)


def logsumexp(x: Array, /, axis: A.Axis = -1, keepdims: builtins.bool = False) -> Any:
    """Return ``log(sum(exp(x)))`` along an axis, without overflow.

    Parameters
    ----------
    x : array, any shape
        Integers are computed in float32.
    axis : int, sequence of ints or None
        None for all axes.
    keepdims : bool
        Whether the axes stay, with size 1; otherwise they are dropped.

    Raises
    ------
    ValueError
        If an axis is out of range or named twice.
    """
    x = A.operand("logsumexp", x)
    axes = A.normalize_axes("logsumexp", axis, A.shape_of(x))
    return _logsumexp((x,), axes, builtins.bool(keepdims), A.floating(A.dtype_of(x)))


def permute_dims(x: Array, /, axes: Sequence[int]) -> Any:
    """Put the axes in another order, shape ``tuple(x.shape[a] for a in axes)``."""
    x = A.operand("permute_dims", x)
    shape = A.shape_of(x)
    order = A.normalize_axes("permute_dims", tuple(axes), shape)
    if order is None or len(order) != len(shape):
        msg = f"permute_dims: axes {tuple(axes)} do not name each axis of shape {shape} once"
        raise ValueError(msg)
    return _permute_dims((x,), order)


def expand_dims(x: Array, /, axis: int = 0) -> Any:
    """Insert an axis of length 1 at `axis`."""
    x = A.operand("expand_dims", x)
    shape = A.shape_of(x)
    place = A.normalize_axis("expand_dims", axis, shape, extra=1)
    return _reshape((x,), (*shape[:place], 1, *shape[place:]))


def squeeze(x: Array, /, axis: int | Sequence[int]) -> Any:
    """Remove axes of length 1."""
    x = A.operand("squeeze", x)
    shape = A.shape_of(x)
    axes = A.normalize_axes("squeeze", axis, shape) or ()
    for place in axes:
        if shape[place] != 1:
            msg = f"squeeze: axis {place} of shape {shape} has length {shape[place]}, not 1"
            raise ValueError(msg)
    return _reshape((x,), tuple(size for i, size in enumerate(shape) if i not in axes))


def broadcast_to(x: Array, /, shape: Sequence[int]) -> Any:
    """Stretch axes of length 1, and add leading ones, to reach `shape`."""
    x = A.operand("broadcast_to", x)
    wanted = tuple(shape)
    if (
        len(wanted) < len(A.shape_of(x))
        or A.check_broadcast("broadcast_to", A.shape_of(x), wanted) != wanted
    ):
        msg = f"broadcast_to: shape {A.shape_of(x)} cannot be stretched to {wanted}"
        raise ValueError(msg)
    return _broadcast_to((x,), wanted)


def _joined(name: str, arrays: Sequence[Array]) -> tuple[list[Any], Any]:
    listed = [A.operand(name, array) for array in arrays]
    if not listed:
        msg = f"{name}: got no arrays, wanted at least one"
        raise ValueError(msg)
    dtype = A.dtype_of(listed[0])
    for array in listed[1:]:
        dtype = A.promote(dtype, A.dtype_of(array))
    return listed, dtype


def concat(arrays: Sequence[Array], /, *, axis: int | None = 0) -> Any:
    """Join arrays along an axis that they have; ``axis=None`` flattens them first.

    Parameters
    ----------
    arrays : sequence of arrays, shape (..., M_i, ...)
        Equal in every size but that of `axis`; of different dtypes, the result has the promoted.
    axis : int or None

    Returns
    -------
    Tensor, shape (..., sum of M_i, ...)

    Raises
    ------
    ValueError
        If there are no arrays, the axis is out of range or other sizes differ.
    """
    listed, dtype = _joined("concat", arrays)
    if axis is None:
        listed, axis = [reshape(array, (-1,)) for array in listed], 0
    shapes = [A.shape_of(array) for array in listed]
    place = A.normalize_axis("concat", axis, shapes[0])
    rests = {(len(s), *s[:place], *s[place + 1 :]) for s in shapes}
    if len(rests) > 1:
        msg = f"concat: shapes {' and '.join(map(str, shapes))} differ beside axis {axis}"
        raise ValueError(msg)
    return _concat(listed, place, dtype)


def stack(arrays: Sequence[Array], /, *, axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis."""
    listed, dtype = _joined("stack", arrays)
    shapes = [A.shape_of(array) for array in listed]
    if len(set(shapes)) > 1:
        msg = f"stack: shapes {' and '.join(map(str, shapes))} are not the same"
        raise ValueError(msg)
    return _stack(listed, A.normalize_axis("stack", axis, shapes[0], extra=1), dtype)


def take(x: Array, indices: Array, /, *, axis: int | None = None) -> Any:
    """Select along an axis by a vector of integers; repeated indices add up their gradients.

    Raises
    ------
    IndexError
        If an index is out of range, where values are known.
    """
    x = A.operand("take", x)
    shape = A.shape_of(x)
    if isinstance(indices, list | tuple | int):
        indices = np.asarray(indices, np.int64)
    indices = A.operand("take", indices)
    if A.dtype_of(indices).kind not in "iu":
        msg = f"take: indices must be integers, got dtype {A.dtype_of(indices)}"
        raise TypeError(msg)
    if axis is None and len(shape) != 1:
        msg = f"take: axis is needed for shape {shape}"
        raise ValueError(msg)
    place = A.normalize_axis("take", 0 if axis is None else axis, shape)
    check_indices("take", indices, -shape[place], shape[place])
    return _take((x, indices), place)


def check_indices(name: str, indices: Any, low: int, high: int, what: str = "") -> None:
    """Raise `IndexError` that names an index outside the bounds, where values are known."""
    values = unwrap(indices)
    if isinstance(values, jax.core.Tracer) or values.size == 0:
        return
    known = np.asarray(values)
    wrong = known[(known < low) | (known >= high)]
    if wrong.size:
        msg = f"{name}: index {int(wrong[0])} is outside {low} <= i < {high}{what}"
        raise IndexError(msg)
