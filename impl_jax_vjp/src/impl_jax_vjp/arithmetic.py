"""Operations on Tensors: dtypes, shapes and errors, before a kernel runs.

Operands are Tensors, raw arrays and, beside at least one of these, Python numbers. The functions
here are those of the array API standard 2024.12 under the standard's names; `ops` offers them.
"""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import kernels
from .tape import Primitive, Traced, is_floating, unwrap

Operand = Any
Axis = int | Sequence[int] | None

_FLOAT32 = np.dtype("float32")
_INT64 = np.dtype("int64")
_BOOL = np.dtype("bool")
_DTYPES = frozenset(np.dtype(n) for n in ("float32", "float64", "int32", "int64", "bool"))
_ARRAYS = (Traced, jax.Array, np.ndarray)


def is_array(value: Any) -> bool:
    """Tell whether a value has a dtype and a shape of its own; NumPy's scalars are numbers."""
    return isinstance(value, _ARRAYS)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def operand(name: str, value: Any) -> Any:
    """Return a Tensor or a raw array; refuse anything that is no array."""
    if isinstance(value, Traced | jax.Array):
        return value
    if is_array(value):
        return jnp.asarray(value)
    msg = f"{name}: got {type(value).__name__}, wanted a Tensor or a raw array"
    raise TypeError(msg)


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of a Tensor or a raw array."""
    return value._data.shape if isinstance(value, Traced) else value.shape


def dtype_of(value: Any) -> np.dtype[Any]:
    """Return the dtype of a Tensor or a raw array."""
    return value._data.dtype if isinstance(value, Traced) else value.dtype


def check_dtype(name: str, dtype: Any) -> None:
    """Raise `TypeError` that names the dtype if no Tensor has it."""
    if dtype not in _DTYPES:
        msg = f"{name}: got dtype {dtype}, wanted float32, float64, int32, int64 or bool"
        raise TypeError(msg)


def as_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    """Return the dtype that was asked for; None, as where nothing was said, is float32.

    Raises
    ------
    TypeError
        If no Tensor has that dtype.
    """
    wanted = _FLOAT32 if dtype is None else np.dtype(dtype)
    check_dtype(name, wanted)
    return wanted


def promote(x: np.dtype[Any], y: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a result: a floating dtype wins over integers, the wider one of two."""
    if x == y or is_floating(x) > is_floating(y):
        return x
    if is_floating(y) > is_floating(x):
        return y
    return np.promote_types(x, y)


def _weak(value: Any, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that a Python number and an array of `dtype` give."""
    if is_floating(dtype) or isinstance(value, bool):
        return dtype
    if isinstance(value, float):
        return _FLOAT32
    return _INT64 if dtype == _BOOL else dtype


def pair(name: str, x: Operand, y: Operand) -> tuple[Any, Any, np.dtype[Any]]:
    """Return two operands and the dtype of their result; a Python number becomes a scalar of it.

    Raises
    ------
    TypeError
        If neither is an array, or one is neither array nor number.
    ValueError
        If the shapes do not broadcast; it names the function and both shapes.
    """
    x_is, y_is = is_array(x), is_array(y)
    if x_is and y_is:
        x, y = operand(name, x), operand(name, y)
        xs, ys = shape_of(x), shape_of(y)
        if xs != ys:
            check_broadcast(name, xs, ys)
        return x, y, promote(dtype_of(x), dtype_of(y))
    x, y = _number(x), _number(y)
    if x_is and isinstance(y, int | float):
        x = operand(name, x)
        dtype = _weak(y, dtype_of(x))
        return x, dtype.type(y), dtype
    if y_is and isinstance(x, int | float):
        y = operand(name, y)
        dtype = _weak(x, dtype_of(y))
        return dtype.type(x), y, dtype
    msg = (
        f"{name}: got {type(x).__name__} and {type(y).__name__}, wanted Tensors, raw arrays "
        "or one number"
    )
    raise TypeError(msg)


def check_broadcast(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the common shape, or raise `ValueError` that names the function and every shape."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(s) for s in shapes)
        msg = f"{name}: shapes {listed} do not broadcast"
        raise ValueError(msg) from None


def floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which a floating function of an array of `dtype` is computed."""
    return dtype if is_floating(dtype) else _FLOAT32


_add = Primitive(kernels.add, "add", kernels.nothing)
_subtract = Primitive(kernels.subtract, "subtract", kernels.nothing)
_multiply = Primitive(kernels.multiply, "multiply", kernels.others)
_divide = Primitive(kernels.divide, "divide", kernels.divisor)
_power = Primitive(kernels.power, "pow")
_integer_power = Primitive(kernels.integer_power, "pow")
_maximum = Primitive(kernels.maximum, "maximum")
_minimum = Primitive(kernels.minimum, "minimum")
_compare = Primitive(kernels.compare, "compare")
_where = Primitive(kernels.where, "where", kernels.first_only)
_clip = Primitive(kernels.clip, "clip")
_negative = Primitive(kernels.negative, "negative", kernels.nothing)
_absolute = Primitive(kernels.absolute, "abs")
_astype = Primitive(kernels.astype, "astype", kernels.nothing)
_sum = Primitive(kernels.sum_, "sum", kernels.nothing)
_mean = Primitive(kernels.mean, "mean", kernels.nothing)
_max = Primitive(kernels.max_, "max")
_min = Primitive(kernels.min_, "min")
_argmax = Primitive(kernels.argmax, "argmax")
_matmul = Primitive(kernels.matmul, "matmul", kernels.others)
_matrix_transpose = Primitive(kernels.matrix_transpose, "matrix_transpose", kernels.nothing)
_reshape = Primitive(kernels.reshape, "reshape", kernels.nothing)


def add(x1: Operand, x2: Operand) -> Any:
    """Return ``x1 + x2``."""
    x1, x2, dtype = pair("add", x1, x2)
    return _add((x1, x2), dtype)


def subtract(x1: Operand, x2: Operand) -> Any:
    """Return ``x1 - x2``."""
    x1, x2, dtype = pair("subtract", x1, x2)
    return _subtract((x1, x2), dtype)


def multiply(x1: Operand, x2: Operand) -> Any:
    """Return ``x1 * x2``."""
    x1, x2, dtype = pair("multiply", x1, x2)
    return _multiply((x1, x2), dtype)


def divide(x1: Operand, x2: Operand) -> Any:
    """Return ``x1 / x2``; between integers it is float32."""
    if isinstance(x1, float | int) and not is_floating(getattr(x2, "dtype", _INT64)):
        x1 = float(x1)
    if isinstance(x2, float | int) and not is_floating(getattr(x1, "dtype", _INT64)):
        x2 = float(x2)
    x1, x2, dtype = pair("divide", x1, x2)
    return _divide((x1, x2), floating(dtype))


def pow(x1: Operand, x2: Operand) -> Any:
    """Return ``x1 ** x2``, with ``0 ** 0 = 1`` and gradient 0 there.

    Raises
    ------
    ValueError
        If the result is of an integer dtype and an exponent negative, where values are known.
    """
    small = isinstance(x2, int | float) and not isinstance(x2, bool) and x2 in (0, 1, 2, 3, 4)
    if small and isinstance(x1, Traced) and is_floating(dtype_of(x1)):
        return _integer_power((x1,), int(x2))
    x1, x2, dtype = pair("pow", x1, x2)
    if not is_floating(dtype):
        _refuse_negative(x2)
    return _power((x1, x2), dtype)


def _refuse_negative(exponent: Any) -> None:
    values = unwrap(exponent)
    if not isinstance(values, jax.core.Tracer) and bool((np.asarray(values) < 0).any()):
        msg = (
            "pow: integers to negative integer powers are not allowed; convert one operand to a "
            "floating dtype"
        )
        raise ValueError(msg)


def maximum(x1: Operand, x2: Operand) -> Any:
    """Return the larger, element by element; at a tie each operand gets half the gradient."""
    x1, x2, dtype = pair("maximum", x1, x2)
    return _maximum((x1, x2), dtype)


def minimum(x1: Operand, x2: Operand) -> Any:
    """Return the smaller, element by element; at a tie each operand gets half the gradient."""
    x1, x2, dtype = pair("minimum", x1, x2)
    return _minimum((x1, x2), dtype)


def compare(relation: str, x1: Operand, x2: Operand) -> Any:
    """Compare element by element; `relation` is the standard's name of the comparison."""
    x1, x2, dtype = pair(relation, x1, x2)
    return _compare((x1, x2), relation, dtype)


def where(condition: Operand, x1: Operand, x2: Operand) -> Any:
    """Select `x1` where `condition`, else `x2`; the other one's gradient is exactly 0.

    Raises
    ------
    TypeError
        If the condition is not of booleans.
    """
    condition = operand("where", condition)
    if dtype_of(condition) != _BOOL:
        msg = f"where: the condition must be of booleans, got dtype {dtype_of(condition)}"
        raise TypeError(msg)
    x1, x2 = _number(x1), _number(x2)
    if not (is_array(x1) or is_array(x2)):
        kind = float if float in (type(x1), type(x2)) else type(x1)
        dtypes: dict[Any, np.dtype[Any]] = {int: _INT64, bool: _BOOL}
        default = dtypes.get(kind, _FLOAT32)
        x1, x2, dtype = default.type(x1), default.type(x2), default
    else:
        x1, x2, dtype = pair("where", x1, x2)
    check_broadcast("where", shape_of(condition), shape_of(x1), shape_of(x2))
    return _where((condition, x1, x2), dtype)


def clip(x: Operand, /, min: Operand = None, max: Operand = None) -> Any:
    """Return `x` kept within bounds; the gradient passes where ``min <= x <= max``."""
    x = operand("clip", x)
    dtype = dtype_of(x)
    bounds = []
    for bound in (min, max):
        if bound is None:
            continue
        _, bound, joint = pair("clip", x, bound)
        dtype = promote(dtype, joint)
        bounds.append(bound)
    return _clip((x, *bounds), dtype, min is not None, max is not None)


def negative(x: Operand) -> Any:
    """Return ``-x``."""
    return _negative((operand("negative", x),))


def abs(x: Operand) -> Any:
    """Return the absolute value; its gradient at 0 is 0."""
    return _absolute((operand("abs", x),))


def astype(x: Operand, dtype: Any) -> Any:
    """Return `x` in another dtype; between floating dtypes the gradient comes back in `x`'s."""
    return _astype((operand("astype", x),), as_dtype("astype", dtype))


def normalize_axes(name: str, axis: Axis, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return axes counted from 0; refuse one that the shape does not have, or that comes twice."""
    if axis is None:
        return None
    listed = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    found = tuple(normalize_axis(name, a, shape) for a in listed)
    if len(set(found)) != len(found):
        msg = f"{name}: axis {axis} names an axis of shape {shape} twice"
        raise ValueError(msg)
    return found


def normalize_axis(name: str, axis: int, shape: tuple[int, ...], extra: int = 0) -> int:
    """Return an axis counted from 0; `extra` axes are added to those that the shape has."""
    count = len(shape) + extra
    index = operator.index(axis)
    if not -count <= index < count:
        msg = f"{name}: axis {axis} is out of range for shape {shape}"
        raise ValueError(msg)
    return index % count


def sum(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the sum; small integers and booleans are added as int64."""
    x = operand("sum", x)
    dtype = dtype_of(x)
    dtype = _INT64 if dtype.kind in "bi" else dtype
    return _sum((x,), normalize_axes("sum", axis, shape_of(x)), bool(keepdims), dtype)


def mean(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean; of integers it is float32."""
    x = operand("mean", x)
    axes = normalize_axes("mean", axis, shape_of(x))
    return _mean((x,), axes, bool(keepdims), floating(dtype_of(x)))


def _extreme(primitive: Primitive, x: Operand, axis: Axis, keepdims: bool) -> Any:
    x = operand(primitive.name, x)
    shape = shape_of(x)
    axes = normalize_axes(primitive.name, axis, shape)
    if 0 in (shape if axes is None else [shape[a] for a in axes]):
        msg = f"{primitive.name}: nothing to choose from along axis {axis} of shape {shape}"
        raise ValueError(msg)
    return primitive((x,), axes, bool(keepdims))


def max(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the largest; elements that attain it share the gradient equally."""
    return _extreme(_max, x, axis, keepdims)


def min(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the smallest; elements that attain it share the gradient equally."""
    return _extreme(_min, x, axis, keepdims)


def argmax(x: Operand, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the place of the first largest, int64, along an axis or in C order.

    Parameters
    ----------
    x : array, any shape
    axis : int, optional
        None for all axes.
    keepdims : bool
        Whether what is searched keeps size 1; otherwise it is dropped from the result's shape.

    Raises
    ------
    ValueError
        If the axis is out of range or has no elements.
    """
    x = operand("argmax", x)
    shape = shape_of(x)
    where_ = None if axis is None else normalize_axis("argmax", axis, shape)
    if (0 in shape) if where_ is None else shape[where_] == 0:
        msg = f"argmax: nothing to choose from along axis {axis} of shape {shape}"
        raise ValueError(msg)
    return _argmax((x,), where_, bool(keepdims))


def matmul(x1: Operand, x2: Operand) -> Any:
    """Return the matrix product as NumPy forms it, for vectors, matrices and stacks of matrices.

    Parameters
    ----------
    x1 : array, shape (..., M, K) or (K,)
    x2 : array, shape (..., K, N) or (K,)

    Returns
    -------
    Tensor, shape (..., M, N)
        Leading axes broadcast; a vector's own axis is left out.

    Raises
    ------
    ValueError
        If an operand has no axes, the sizes K differ or leading axes do not broadcast.
    TypeError
        If an operand is no array.
    """
    x1, x2 = operand("matmul", x1), operand("matmul", x2)
    xs, ys = shape_of(x1), shape_of(x2)
    if not xs or not ys or xs[-1] != ys[-2 if len(ys) > 1 else 0]:
        msg = f"matmul: shapes {xs} and {ys} do not match"
        raise ValueError(msg)
    if len(xs) > 2 or len(ys) > 2:
        try:
            np.broadcast_shapes(xs[:-2], ys[:-2])
        except ValueError:
            msg = f"matmul: the stacks of shapes {xs} and {ys} do not broadcast"
            raise ValueError(msg) from None
    return _matmul((x1, x2), promote(dtype_of(x1), dtype_of(x2)))


def matrix_transpose(x: Operand) -> Any:
    """Exchange the last two axes."""
    x = operand("matrix_transpose", x)
    if len(shape_of(x)) < 2:
        msg = f"matrix_transpose: wanted at least two axes, got shape {shape_of(x)}"
        raise ValueError(msg)
    return _matrix_transpose((x,))


def reshape(x: Operand, /, shape: int | Sequence[int]) -> Any:
    """Return the same elements in C order in another shape, one size of which may be -1."""
    x = operand("reshape", x)
    old = shape_of(x)
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    wanted = [operator.index(s) for s in sizes]
    total = int(np.prod(old, dtype=np.int64))
    if wanted.count(-1) == 1:
        rest = int(np.prod([s for s in wanted if s != -1], dtype=np.int64))
        if rest and total % rest == 0:
            wanted[wanted.index(-1)] = total // rest
    if any(s < 0 for s in wanted) or int(np.prod(wanted, dtype=np.int64)) != total:
        msg = f"reshape: shape {old} of {total} elements cannot become {tuple(sizes)}"
        raise ValueError(msg)
    return _reshape((x,), tuple(wanted))
