"""The functions of the Python array API standard 2024.12, and some from deep learning, on Tensors.

Values and derivatives are torch's, signatures those of array-api-compat. Added here are errors in
Python's own types that name the function and what it was given, promotion where torch has none, and
negative and nested indices in `take`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import array_api_compat.torch as compat
import numpy as np
import torch
from torch import Tensor

from impl_torch_ext import arithmetic
from impl_torch_ext.kernels import kernels
from impl_torch_ext.tensor import arange, check_dtype, full, ones, tensor, zeros

__all__ = [
    "abs",
    "add",
    "arange",
    "argmax",
    "asarray",
    "astype",
    "broadcast_to",
    "clip",
    "concat",
    "cos",
    "divide",
    "equal",
    "exp",
    "expand_dims",
    "full",
    "greater",
    "greater_equal",
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

Axis: TypeAlias = int | tuple[int, ...] | None
Operand: TypeAlias = Tensor | float


def asarray(obj: Any, /, *, dtype: torch.dtype | None = None, copy: bool | None = None) -> Tensor:
    """Return ``obj`` as a Tensor, itself if it is one of that dtype and ``copy`` is not true."""
    if not isinstance(obj, Tensor):
        return tensor(obj, dtype=dtype)
    result = obj if dtype is None else obj.to(check_dtype("asarray", dtype))
    return result.clone() if copy and result is obj else result


def zeros_like(x: Tensor, /, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return zeros of the shape, and unless told otherwise the dtype, of ``x``."""
    return torch.zeros_like(_tensor("zeros_like", x), dtype=dtype)


def ones_like(x: Tensor, /, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return ones of the shape, and unless told otherwise the dtype, of ``x``."""
    return torch.ones_like(_tensor("ones_like", x), dtype=dtype)


def astype(x: Tensor, dtype: torch.dtype, /, *, copy: bool = True) -> Tensor:
    """Convert ``x``; the gradient comes back in the dtype of ``x``."""
    return _tensor("astype", x).to(check_dtype("astype", dtype), copy=copy)


def _unary(name: str, fn: Callable[[Tensor], Tensor], doc: str) -> Callable[[Tensor], Tensor]:
    def op(x: Tensor, /) -> Tensor:
        return fn(_tensor(name, x))

    op.__name__ = op.__qualname__ = name
    op.__doc__ = f"Return {doc}, element by element; ``x`` of any shape."
    return op


def _binary(
    name: str, fn: Callable[[Any, Any], Tensor], doc: str
) -> Callable[[Operand, Operand], Tensor]:
    def op(x1: Operand, x2: Operand, /) -> Tensor:
        try:
            return fn(x1, x2)
        except (RuntimeError, TypeError, AttributeError) as error:
            _explain(name, error, x1, x2)

    op.__name__ = op.__qualname__ = name
    op.__doc__ = f"Return {doc}, element by element; shapes broadcast, one operand may be a number."
    return op


abs = _unary("abs", torch.abs, "the absolute value, of gradient 0 at 0")
negative = _unary("negative", torch.negative, "-x")
exp = _unary("exp", torch.exp, "e**x")
log = _unary("log", torch.log, "the natural logarithm")
sqrt = _unary("sqrt", torch.sqrt, "the square root, of infinite gradient at 0")
square = _unary("square", torch.square, "x * x")
tanh = _unary("tanh", torch.tanh, "the hyperbolic tangent")
sin = _unary("sin", torch.sin, "the sine")
cos = _unary("cos", torch.cos, "the cosine")
sign = _unary("sign", torch.sign, "-1, 0 or 1")
logical_not = _unary("logical_not", torch.logical_not, "whether x is false")
isnan = _unary("isnan", torch.isnan, "whether x is NaN")
isfinite = _unary("isfinite", torch.isfinite, "whether x is neither infinite nor NaN")
sigmoid = _unary("sigmoid", torch.sigmoid, "1 / (1 + exp(-x))")

add = _binary("add", compat.add, "x1 + x2")
subtract = _binary("subtract", arithmetic.subtract, "x1 - x2")
multiply = _binary("multiply", compat.multiply, "x1 * x2")
divide = _binary("divide", compat.divide, "x1 / x2")
pow = _binary("pow", arithmetic.power, "x1 ** x2, of gradient 0 where x2 is 0")
maximum = _binary(
    "maximum", compat.maximum, "the larger one; at ties each gets half of the gradient"
)
minimum = _binary(
    "minimum", compat.minimum, "the smaller one; at ties each gets half of the gradient"
)
equal = _binary("equal", compat.equal, "x1 == x2")
not_equal = _binary("not_equal", compat.not_equal, "x1 != x2")
less = _binary("less", compat.less, "x1 < x2")
less_equal = _binary("less_equal", compat.less_equal, "x1 <= x2")
greater = _binary("greater", compat.greater, "x1 > x2")
greater_equal = _binary("greater_equal", compat.greater_equal, "x1 >= x2")
logical_and = _binary("logical_and", compat.logical_and, "whether both are true")
logical_or = _binary("logical_or", compat.logical_or, "whether one is true")


def clip(x: Tensor, /, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Return ``x``, or the bound that it lies beyond; the gradient passes where ``min <= x <=
    max``.

    Parameters
    ----------
    x : Tensor, any shape
    min, max : Tensor, number or None
        Broadcast against ``x``.
    """
    _tensor("clip", x)
    if min is None and max is None:
        return x.clone()
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        x = arithmetic.promoted(x, *(b for b in (min, max) if isinstance(b, Tensor)))[0]
        min, max = (b if b is None else torch.as_tensor(b, dtype=x.dtype) for b in (min, max))
    try:
        return torch.clamp(x, min, max)
    except RuntimeError as error:
        _explain("clip", error, x, *(b for b in (min, max) if b is not None))


def where(condition: Tensor, x1: Operand, x2: Operand, /) -> Tensor:
    """Return ``x1`` where ``condition`` is true, else ``x2``; the other one gets gradient 0."""
    if _tensor("where", condition).dtype != torch.bool:
        msg = f"where: condition must be of dtype bool, got {condition.dtype}"
        raise TypeError(msg)
    try:
        return compat.where(condition, x1, x2)
    except RuntimeError as error:
        _explain("where", error, condition, x1, x2)


def sum(
    x: Tensor, /, *, axis: Axis = None, dtype: torch.dtype | None = None, keepdims: bool = False
) -> Tensor:
    """Return the sum over ``axis`` (an int, a tuple of ints, or None for all)."""
    return _reduce("sum", compat.sum, x, axis=axis, dtype=dtype, keepdims=keepdims)


def mean(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean over ``axis``; of integers it is float32."""
    return _reduce("mean", compat.mean, _floating("mean", x), axis=axis, keepdims=keepdims)


def max(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the maximum over ``axis``; equal maxima share the gradient equally."""
    return _reduce("max", compat.max, x, axis=axis, keepdims=keepdims)


def min(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the minimum over ``axis``; equal minima share the gradient equally."""
    return _reduce("min", compat.min, x, axis=axis, keepdims=keepdims)


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the int64 index of the first maximum along ``axis``, which is dropped, or in C order.

    Raises
    ------
    ValueError
        If the axis is out of range or has no elements.
    """
    return _reduce("argmax", compat.argmax, x, axis=axis, keepdims=keepdims)


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the product (..., M, N) of (..., M, K) and (..., K, N), or of one axis as in NumPy.

    Raises
    ------
    ValueError
        If an operand has no axes, the sizes K differ or leading axes do not broadcast.
    """
    if _tensor("matmul", x1).ndim == 0 or _tensor("matmul", x2).ndim == 0:
        msg = f"matmul: operands need at least one axis, got shapes {_shapes(x1, x2)}"
        raise ValueError(msg)
    depths = x1.shape[-1], x2.shape[-2 if x2.ndim > 1 else -1]
    if depths[0] != depths[1]:
        msg = (
            f"matmul: shapes {_shapes(x1, x2)} do not match, the inner sizes are {depths[0]} and "
            f"{depths[1]}"
        )
        raise ValueError(msg)
    try:
        return compat.matmul(x1, x2)
    except RuntimeError as error:
        _explain("matmul", error, x1, x2, shapes=(x1.shape[:-2], x2.shape[:-2]))


def matrix_transpose(x: Tensor, /) -> Tensor:
    """Return ``x``, (..., M, N), with its last two axes exchanged."""
    if _tensor("matrix_transpose", x).ndim < 2:
        msg = f"matrix_transpose: x needs at least two axes, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return x.mT


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """Return the elements of ``x`` in C order in another shape, one size of which may be -1."""
    try:
        return compat.reshape(
            _tensor("reshape", x), (shape,) if isinstance(shape, int) else tuple(shape), copy=copy
        )
    except RuntimeError:
        msg = f"reshape: cannot reshape {tuple(x.shape)} to {shape}"
        raise ValueError(msg) from None


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """Return ``x`` with its axes in the order ``axes``."""
    found = _axes("permute_dims", _tensor("permute_dims", x), tuple(axes))
    if sorted(found) != list(range(x.ndim)):
        msg = (
            f"permute_dims: axes must be a permutation of {x.ndim} axes, got {axes} for shape "
            f"{tuple(x.shape)}"
        )
        raise ValueError(msg)
    return torch.permute(x, found)


def expand_dims(x: Tensor, /, axis: int = 0) -> Tensor:
    """Return ``x`` with an axis of length 1 put in at ``axis``."""
    if not -_tensor("expand_dims", x).ndim - 1 <= axis <= x.ndim:
        _bad_axis("expand_dims", axis, x)
    return torch.unsqueeze(x, axis)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Return ``x`` without the axes ``axis``, which must have length 1."""
    found = _axes("squeeze", _tensor("squeeze", x), (axis,) if isinstance(axis, int) else axis)
    if any(x.shape[a] != 1 for a in found):
        msg = f"squeeze: axes {axis} of shape {tuple(x.shape)} must have length 1"
        raise ValueError(msg)
    return torch.squeeze(x, found)


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """Return ``x`` stretched to ``shape``."""
    try:
        return torch.broadcast_to(_tensor("broadcast_to", x), tuple(shape))
    except RuntimeError:
        msg = f"broadcast_to: shape {tuple(x.shape)} does not broadcast to {tuple(shape)}"
        raise ValueError(msg) from None


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Return ``arrays``, (..., M_i, ...), as (..., sum of M_i, ...); with None each is flattened.

    Raises
    ------
    ValueError
        If there are no arrays, the axis is out of range or other sizes differ.
    """
    items = _tensors("concat", arrays)
    if axis is None:
        return torch.cat([x.reshape(-1) for x in items])
    (place,) = _axes("concat", items[0], (axis,))
    rests = [(*x.shape[:place], *x.shape[place + 1 :]) for x in items]
    if any(
        rest != rests[0] or x.ndim != items[0].ndim for rest, x in zip(rests, items, strict=True)
    ):
        msg = f"concat: shapes {_shapes(*items)} must agree but for axis {axis}"
        raise ValueError(msg)
    return torch.cat(items, place)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Return ``arrays``, of one shape, along a new axis ``axis``."""
    items = _tensors("stack", arrays)
    if any(x.shape != items[0].shape for x in items):
        msg = f"stack: shapes must be equal, got {_shapes(*items)}"
        raise ValueError(msg)
    if not -items[0].ndim - 1 <= axis <= items[0].ndim:
        _bad_axis("stack", axis, items[0])
    return torch.stack(items, axis)


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return the elements of ``x`` at ``indices`` along ``axis``; gradients of repeated ones add
    up.

    Parameters
    ----------
    x : Tensor, shape (..., M, ...)
    indices : integer Tensor or list of ints
        Negative ones count from the end. Their axes take the place of ``axis``.
    axis : int
        May be left out where ``x`` has one axis.

    Raises
    ------
    IndexError
        If an index is out of range.
    """
    if axis is None:
        if _tensor("take", x).ndim != 1:
            msg = f"take: axis can be left out for one axis only, got shape {tuple(x.shape)}"
            raise ValueError(msg)
        axis = 0
    (place,) = _axes("take", _tensor("take", x), (axis,))
    chosen = torch.as_tensor(indices)
    if chosen.is_floating_point() or chosen.dtype == torch.bool:
        msg = f"take: indices must be integers, got dtype {chosen.dtype}"
        raise TypeError(msg)
    try:
        return x[(slice(None),) * place + (chosen,)]
    except IndexError:
        msg = (
            f"take: indices must be in [-{x.shape[place]}, {x.shape[place]}) for axis {axis} of "
            f"shape {tuple(x.shape)}"
        )
        raise IndexError(msg) from None


def relu(x: Tensor, /) -> Tensor:
    """Return max(x, 0), element by element, of gradient 0 at 0."""
    return kernels.relu.default(x) if _tensor("relu", x).is_floating_point() else torch.relu(x)


def softmax(x: Tensor, /, axis: int = -1) -> Tensor:
    """Return exp(x) / sum(exp(x)) along ``axis``, the shape of ``x``.

    Raises
    ------
    ValueError
        If the axis is out of range.
    """
    return torch.softmax(_floating("softmax", x), *_axes("softmax", x, (axis,)))


def log_softmax(x: Tensor, /, axis: int = -1) -> Tensor:
    """Return x - logsumexp(x) along ``axis``, the shape of ``x``.

    Raises
    ------
    ValueError
        If the axis is out of range.
    """
    return torch.log_softmax(_floating("log_softmax", x), *_axes("log_softmax", x, (axis,)))


def logsumexp(x: Tensor, /, axis: Axis = -1, *, keepdims: bool = False) -> Tensor:
    """Return log(sum(exp(x))) over ``axis``, which is dropped or kept with size 1; no overflow.

    Raises
    ------
    ValueError
        If an axis is out of range.
    """
    x = _floating("logsumexp", x)
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return torch.logsumexp(x, _axes("logsumexp", x, axes), keepdim=keepdims)


def _reduce(
    name: str, fn: Callable[..., Tensor], x: Tensor, *, axis: Axis, **options: Any
) -> Tensor:
    if axis is not None:
        _axes(name, _tensor(name, x), (axis,) if isinstance(axis, int) else axis)
    try:
        return fn(_tensor(name, x), axis=axis, **options)
    except (RuntimeError, IndexError) as error:
        if x.numel() == 0:
            msg = f"{name}: axis {axis} of shape {tuple(x.shape)} has no elements"
            raise ValueError(msg) from None
        _explain(name, error, x)


def _tensor(name: str, x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        kind = (
            "a NumPy array; tensor() makes a Tensor of it"
            if isinstance(x, np.ndarray)
            else type(x).__name__
        )
        msg = f"{name}: takes Tensors, got {kind}"
        raise TypeError(msg)
    return x


def _tensors(name: str, arrays: Sequence[Tensor]) -> list[Tensor]:
    items = [_tensor(name, x) for x in arrays]
    if not items:
        msg = f"{name}: needs at least one array"
        raise ValueError(msg)
    return items


def _floating(name: str, x: Tensor) -> Tensor:
    return x if _tensor(name, x).is_floating_point() else x.to(torch.float32)


def _axes(name: str, x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``axes`` counted from the front."""
    for axis in axes:
        if not -x.ndim <= axis < x.ndim:
            _bad_axis(name, axis, x)
    return tuple(axis % x.ndim for axis in axes)


def _bad_axis(name: str, axis: int, x: Tensor) -> NoReturn:
    msg = f"{name}: axis {axis} is out of range for shape {tuple(x.shape)}"
    raise ValueError(msg)


def _shapes(*arrays: Any) -> str:
    return " and ".join(str(tuple(x.shape)) for x in arrays if isinstance(x, Tensor))


def _explain(
    name: str, error: Exception, *operands: Any, shapes: tuple[tuple[int, ...], ...] | None = None
) -> NoReturn:
    """Raise what ``error`` means in the terms of the specification."""
    for x in operands:
        if not isinstance(x, bool | int | float):
            _tensor(name, x)
    if not any(isinstance(x, Tensor) for x in operands):
        msg = (
            f"{name}: at least one operand must be a Tensor, got "
            f"{' and '.join(type(x).__name__ for x in operands)}"
        )
        raise TypeError(msg) from None
    try:
        torch.broadcast_shapes(*(shapes or (x.shape for x in operands if isinstance(x, Tensor))))
    except RuntimeError:
        msg = f"{name}: shapes {_shapes(*operands)} do not broadcast"
        raise ValueError(msg) from None
    raise error
