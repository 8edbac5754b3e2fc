"""Products and transposes of matrices, products of vectors, diagonals."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import (
    check_broadcast,
    check_int,
    check_ints,
    normalize_axis,
    refuse,
)
from ..dtypes import bool_, promote
from ..recording import Primitive, as_operand, dtype_of, shape_of
from . import formulas as F
from .families import NO_ARRAY, listed, summed_in

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
    if len(xs) > 2 and len(ys) > 2:
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
    return F.total(jnp.conj(x) * y, (axis % x.ndim,)).astype(dtype)  # ops-59


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


def _crossed(axis: int, dtype: Any, x: Any, y: Any) -> Any:
    x, y = F.stretched(x.astype(dtype), y.astype(dtype))
    a, b = [[lax.index_in_dim(z, k, z.ndim + axis) for k in range(3)] for z in (x, y)]
    turns = ((1, 2), (2, 0), (0, 1))
    return jnp.concatenate([a[i] * b[k] - a[k] * b[i] for i, k in turns], axis=axis)


_cross = Primitive(_crossed, "cross", F.others)
_outer = Primitive(
    lambda dtype, x, y: x.astype(dtype)[:, None] * y.astype(dtype), "outer", F.others
)


@listed(
    "x1, x2 : Tensor or raw array\n    They broadcast beside `axis`, which has length 3.\n"
    "axis : int\n    Negative, the same in both.",
    "the common shape",
    "ValueError\n    If the axis is not there or not negative, or the shapes do not fit.\n"
    "TypeError\n    If an operand is no array or of booleans, or the axis no int.",
    space="linalg",
)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Return the cross products of vectors of three elements."""  # linalg-21
    x1, x2 = as_operand("cross", x1), as_operand("cross", x2)
    place, shapes = check_int("cross", "axis", axis), (shape_of(x1), shape_of(x2))
    both = f"shapes {shapes[0]} and {shapes[1]}"
    if place >= 0 or any([len(shape) < -place for shape in shapes]):
        refuse("cross", "axis", f"negative and one that both have for {both}", place)
    if any([shape[place] != 3 for shape in shapes]):
        refuse("cross", f"sizes along axis {place}", "3", both)
    check_broadcast("cross", *shapes)
    dtype = promote("cross", dtype_of(x1), dtype_of(x2))
    if dtype == bool_:
        msg = "cross: booleans must be converted to numbers first, got dtype bool"
        raise TypeError(msg)
    return _cross((x1, x2), place, dtype)


@listed(
    "x1 : Tensor or raw array, shape (M,)\nx2 : Tensor or raw array, shape (N,)",
    "shape (M, N)",
    "ValueError\n    If an operand has not one axis.\n" + NO_ARRAY,
    space="linalg",
)
def outer(x1: Any, x2: Any, /) -> Any:
    """Return the products of each element of one vector and each of another."""
    x1, x2 = as_operand("outer", x1), as_operand("outer", x2)
    xs, ys = shape_of(x1), shape_of(x2)
    if len(xs) != 1 or len(ys) != 1:
        refuse("outer", "both operands", "of one axis", f"shapes {xs} and {ys}")
    return _outer((x1, x2), promote("outer", dtype_of(x1), dtype_of(x2)))


def _on_diagonal(offset: int, x: Any) -> Any:
    """Return the diagonals, which lie at equal distances in a matrix's elements."""
    (*stack, m, n) = x.shape
    count = max(0, min(m + min(offset, 0), n - max(offset, 0)))
    if not count:
        return jnp.zeros((*stack, 0), x.dtype)
    start = offset if offset >= 0 else -offset * n
    flat = jnp.reshape(x, (*stack, m * n))
    stop = start + (count - 1) * (n + 1) + 1
    return lax.slice_in_dim(flat, start, stop, n + 1, axis=len(stack))


def _traced(offset: int, dtype: Any, x: Any) -> Any:
    return F.total(F.cast(_on_diagonal(offset, x), dtype), (x.ndim - 2,))


_diagonal = Primitive(_on_diagonal, "diagonal", F.nothing)
_trace = Primitive(_traced, "trace", F.nothing)
_OFFSET = (
    "x : Tensor or raw array, shape (..., M, N)\noffset : int\n    Positive above the main one."
)
_NO_MATRIX = (
    "ValueError\n    If `x` has fewer than two axes.\n"
    "TypeError\n    If `x` is no array, or `offset` no int."
)


def _offset(name: str, x: Any, offset: Any) -> int:
    """Return which diagonal is meant; all that lie outside count as one."""
    place, shape = check_int(name, "offset", offset), shape_of(x)
    if len(shape) < 2:
        refuse(name, "x", "of at least two axes", f"shape {shape}")
    return max(-shape[-2], min(place, shape[-1]))


@listed(_OFFSET, "shape (..., K)", _NO_MATRIX, space="linalg")
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """Return the elements of a diagonal."""
    x = as_operand("diagonal", x)
    return _diagonal((x,), _offset("diagonal", x, offset))


@listed(
    _OFFSET + "\ndtype : dtype, optional\n    The elements are cast to it first.",
    "shape (...)",
    _NO_MATRIX,
    space="linalg",
)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Return the sums of the elements of a diagonal; integers are added as int64 or uint64."""
    x = as_operand("trace", x)
    place = _offset("trace", x, offset)
    return _trace((x,), place, summed_in("trace", dtype_of(x), dtype))
