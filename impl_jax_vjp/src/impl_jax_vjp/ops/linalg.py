"""Products and transposes of matrices."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..checks import check_broadcast, check_int, check_ints, normalize_axis, refuse
from ..dtypes import bool_, promote
from ..recording import Primitive, as_operand, dtype_of, shape_of
from . import formulas as F
from .families import listed

_matmul = Primitive(F.matmul, "matmul", F.others)
_matrix_transpose = Primitive(lambda x: jnp.swapaxes(x, -1, -2), "matrix_transpose", F.nothing)


@listed(
    "x1 : Tensor or raw array, shape (..., M, K) or (K,)\n"
    "x2 : Tensor or raw array, shape (..., K, N) or (K,)",
    "shape (..., M, N)\n    Leading axes broadcast; a vector's own axis is left out.",
    "ValueError\n    If an operand has no axes, sizes K differ or leading axes do not broadcast.\n"
    "TypeError\n    If an operand is no array.",
)
def matmul(x1: Any, x2: Any, /) -> Any:
    """Return the matrix product as NumPy forms it, for vectors, matrices and stacks of matrices."""
    x1, x2 = as_operand("matmul", x1), as_operand("matmul", x2)
    xs, ys = shape_of(x1), shape_of(x2)
    if not xs or not ys or xs[-1] != ys[-2 if len(ys) > 1 else 0]:
        msg = f"matmul: shapes must be (..., M, K) and (..., K, N), got {xs} and {ys}"
        raise ValueError(msg)
    if len(xs) > 2 or len(ys) > 2:
        try:
            np.broadcast_shapes(xs[:-2], ys[:-2])
        except ValueError:
            msg = f"matmul: leading axes must broadcast, got shapes {xs} and {ys}"
            raise ValueError(msg) from None
    return _matmul((x1, x2), promote("matmul", dtype_of(x1), dtype_of(x2)))


@listed(
    "x : Tensor or raw array, shape (..., M, N)",
    "shape (..., N, M)",
    "ValueError\n    If `x` has fewer than two axes.\nTypeError\n    If `x` is no array.",
)
def matrix_transpose(x: Any, /) -> Any:
    """Exchange the last two axes."""
    x = as_operand("matrix_transpose", x)
    if len(shape_of(x)) < 2:  # tensor-32
        msg = f"matrix_transpose: x must have at least two axes, got shape {shape_of(x)}"
        raise ValueError(msg)
    return _matrix_transpose((x,))


def _contracted(xs: tuple[int, ...], ys: tuple[int, ...], dtype: Any, x: Any, y: Any) -> Any:
    """Return the products of two arrays, added up over axes of both."""
    x_rest = [axis for axis in range(x.ndim) if axis not in xs]
    y_rest = [axis for axis in range(y.ndim) if axis not in ys]
    shape = [x.shape[axis] for axis in x_rest] + [y.shape[axis] for axis in y_rest]
    inner = math.prod([x.shape[axis] for axis in xs])
    left = jnp.transpose(x.astype(dtype), (*x_rest, *xs))
    right = jnp.transpose(y.astype(dtype), (*ys, *y_rest))
    rows, columns = [math.prod(left.shape[: len(x_rest)]), math.prod(right.shape[len(ys) :])]
    made = F.product(left.reshape(rows, inner), right.reshape(inner, columns))
    return made.reshape(shape)


def _dot(axis: int, dtype: Any, x: Any, y: Any) -> Any:
    x, y = F.stretched(x.astype(dtype), y.astype(dtype))
    if dtype == bool_:
        return jnp.any(x & y, axis=axis)
    x = jnp.conj(x) if dtype.kind == "c" else x  # ops-59
    return F.total(x * y, (axis % x.ndim,)).astype(dtype)


_tensordot = Primitive(_contracted, "tensordot", F.others)
_vecdot = Primitive(_dot, "vecdot", F.others)


def _pairs(axes: Any, xs: Any, ys: Any) -> tuple[Any, Any]:
    """Return the axes of both operands that `tensordot` adds up over."""
    both = f"that shapes {xs} and {ys} have, of equal sizes"
    if not isinstance(axes, list | tuple):
        count = check_int("tensordot", "axes", axes, "an int or two sequences of ints")
        if not 0 <= count <= min(len(xs), len(ys)):
            refuse("tensordot", "axes", f"a count of axes {both}", count)
        return tuple(range(len(xs) - count, len(xs))), tuple(range(count))
    if len(axes) != 2:
        refuse("tensordot", "axes", "an int or two sequences of ints", axes)
    found = []
    for part, shape in zip(axes, (xs, ys), strict=True):
        places = check_ints("tensordot", "axes", part)
        if not all([-len(shape) <= place < len(shape) for place in places]):
            refuse("tensordot", "axes", f"axes {both}", axes)
        found.append(tuple([place % len(shape) for place in places]))
    if len(found[0]) != len(found[1]) or any([len(set(f)) != len(f) for f in found]):
        refuse("tensordot", "axes", f"as many axes {both}, each once", axes)
    return found[0], found[1]


@listed(
    "x1, x2 : Tensor or raw array\naxes : int or two sequences of int\n"
    "    How many last axes of `x1` and first of `x2`, or which axes of both.",
    "shape of the axes that are left, those of x1 first",
    "ValueError\n    If the axes are not there, or their sizes differ.\n"
    "TypeError\n    If an operand is no array, or an axis no int.",
)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Return products of elements, added up over axes of both operands."""  # ops-44
    x1, x2 = as_operand("tensordot", x1), as_operand("tensordot", x2)
    xs, ys = shape_of(x1), shape_of(x2)
    first, second = _pairs(axes, xs, ys)
    if [xs[a] for a in first] != [ys[a] for a in second]:
        wanted = f"of equal sizes in shapes {xs} and {ys}"
        refuse("tensordot", "axes", wanted, axes)
    return _tensordot((x1, x2), first, second, promote("tensordot", dtype_of(x1), dtype_of(x2)))


@listed(
    "x1, x2 : Tensor or raw array\n    They broadcast beside `axis`.\naxis : int\n"
    "    Negative, the same in both.",
    "the common shape without the axis",
    "ValueError\n    If the axis is not there or not negative, or the shapes do not fit.\n"
    "TypeError\n    If an operand is no array, or the axis no int.",
)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Return the inner products along an axis."""  # ops-44
    x1, x2 = as_operand("vecdot", x1), as_operand("vecdot", x2)
    xs, ys = shape_of(x1), shape_of(x2)
    for shape in (xs, ys):
        normalize_axis("vecdot", axis, shape)
    place = check_int("vecdot", "axis", axis)
    if place >= 0:
        refuse("vecdot", "axis", f"negative for shapes {xs} and {ys}", place)
    if xs[place] != ys[place]:
        refuse("vecdot", f"sizes along axis {place}", "equal", f"shapes {xs} and {ys}")
    check_broadcast("vecdot", xs, ys)
    return _vecdot((x1, x2), place, promote("vecdot", dtype_of(x1), dtype_of(x2)))
