"""Products, transposes of matrices and lengths of vectors, with their gradients."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import (
    as_ints,
    check_dtype,
    check_flag,
    check_int,
    check_not_empty,
    check_number,
    normalize_axes,
    refuse_shapes,
    shown,
)
from impl_cupy.dtypes import DTypeLike
from impl_cupy.launch import pointwise
from impl_cupy.ops.families import seen_by, shape, written, written_in
from impl_cupy.ops.reduction import counted
from impl_cupy.ops.transcendental import of_length
from impl_cupy.recording import as_operands, as_tensor, floating, record, sum_to
from impl_cupy.slices import deepest, mapped_call
from impl_cupy.sums import kept_shape, product, total
from impl_cupy.tape import handles, vmapped
from impl_cupy.tensor import Axis, Tensor


@written()
def matmul(x1: Any, x2: Any, /) -> Tensor:
    """Multiply matrices, ``x1 @ x2``.

    Parameters
    ----------
    x1 : Tensor or raw array, shape (*, N, K) or (K,)
    x2 : Tensor or raw array, shape (*, K, M) or (K,)
        Leading axes broadcast; a vector is a row on the left and a column on the right.

    Returns
    -------
    Tensor, shape (*, N, M), without N or M where a vector was given

    Raises
    ------
    TypeError
        If one is no array.
    ValueError
        That names both shapes, if they do not match.
    """
    if vmapped and deepest(x1, x2):
        return mapped_call("matmul", matmul, (x1, x2), {})
    a, b = as_operands("matmul", as_tensor("matmul", x1), as_tensor("matmul", x2))
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        refuse_shapes("matmul", (a, b))
    is_row, is_column = a.ndim == 1, b.ndim == 1
    left = a.reshape(1, a.shape[0]) if is_row else a
    right = b.reshape(b.shape[0], 1) if is_column else b
    result = record(
        "matmul",
        product,
        _matmul,
        (left, right),
        keep_inputs=True,
        config=(left.shape, right.shape),
    )
    if not (is_row or is_column):
        return result
    rows = () if is_row else result.shape[-2:-1]
    columns = () if is_column else result.shape[-1:]
    return result.reshape((*result.shape[:-2], *rows, *columns))


def _matmul(node: Any, grad: Any) -> tuple[Any, Any]:
    node = seen_by(grad, node)
    xp = node.xp
    to_first, to_second = node.edges
    first, second = node.config
    return (
        sum_to(xp, xp.matmul(grad, xp.matrix_transpose(node.other)), first) if to_first else None,
        sum_to(xp, xp.matmul(xp.matrix_transpose(node.x), grad), second) if to_second else None,
    )


@shape(lambda node, grad: node.xp.matrix_transpose(grad))
def matrix_transpose(x: Any, /) -> Any:
    """Exchange the last two axes.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, N, M)

    Returns
    -------
    Tensor, shape (*, M, N)

    Raises
    ------
    ValueError
        If there are fewer than two axes.
    """
    if x.ndim < 2:
        msg = f"matrix_transpose: x must have at least two axes, got shape {x.shape}"
        raise ValueError(msg)
    return cp.matrix_transpose


@written()
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Tensor:
    """Multiply and add up over axes of both.

    Parameters
    ----------
    x1, x2 : Tensor or raw array
    axes : int, or a pair of sequences of int
        How many last axes of `x1` and first of `x2`, or which axes of each.

    Returns
    -------
    Tensor, the other axes of `x1`, then those of `x2`

    Raises
    ------
    TypeError
        If one is no array, or an axis no int.
    ValueError
        That names both shapes, if the axes do not fit.
    """
    a, b = as_operands("tensordot", as_tensor("tensordot", x1), as_tensor("tensordot", x2))
    first, second = _summed_axes(a, b, axes)
    kept_first = tuple(place for place in range(a.ndim) if place not in first)
    kept_second = tuple(place for place in range(b.ndim) if place not in second)
    count = math.prod(a.shape[place] for place in first)
    rows = tuple(a.shape[place] for place in kept_first)
    columns = tuple(b.shape[place] for place in kept_second)
    left = handles.permute_dims(a, (*kept_first, *first)).reshape((math.prod(rows), count))
    right = handles.permute_dims(b, (*second, *kept_second)).reshape((count, math.prod(columns)))
    return matmul(left, right).reshape((*rows, *columns))


def _summed_axes(a: Any, b: Any, axes: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes of each to add up over, counted from 0 (ops-44)."""
    if isinstance(axes, (tuple, list)):
        if len(axes) != 2:
            _refuse_axes(a, b, axes)
        given = tuple(as_ints("tensordot", "axes", part) for part in axes)
    else:
        count = check_int("tensordot", "axes", axes)
        if not 0 <= count <= min(a.ndim, b.ndim):
            _refuse_axes(a, b, axes)
        given = tuple(range(a.ndim - count, a.ndim)), tuple(range(count))
    for array, places in zip((a, b), given, strict=True):
        if any(not -array.ndim <= place < array.ndim for place in places):
            _refuse_axes(a, b, axes)
    first, second = (
        tuple(place % array.ndim for place in places)
        for array, places in zip((a, b), given, strict=True)
    )
    sizes = [a.shape[place] for place in first], [b.shape[place] for place in second]
    if sizes[0] != sizes[1] or len(set(first)) != len(first) or len(set(second)) != len(second):
        _refuse_axes(a, b, axes)
    return first, second


def _refuse_axes(a: Any, b: Any, axes: Any) -> NoReturn:
    msg = (
        f"tensordot: axes must name axes of equal lengths, each once, got {shown(axes)} for shapes "
        f"{a.shape} and {b.shape}"
    )
    raise ValueError(msg)


@written()
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Multiply and add up along one axis of both; complex numbers of `x1` are conjugated.

    Parameters
    ----------
    x1, x2 : Tensor or raw array
        Of one length along `axis`; the other axes broadcast.
    axis : int
        Negative, counted from the end of each.

    Returns
    -------
    Tensor, the shape that the other axes broadcast to

    Raises
    ------
    TypeError
        If one is no array, or `axis` no int.
    ValueError
        That names both shapes, if the lengths differ or the axis is not there.
    """
    a, b = as_operands("vecdot", as_tensor("vecdot", x1), as_tensor("vecdot", x2))
    place = check_int("vecdot", "axis", axis)
    if not -min(a.ndim, b.ndim) <= place < 0:
        msg = f"vecdot: axis {axis} must be negative and in both shapes, {a.shape} and {b.shape}"
        raise ValueError(msg)
    first, second = (
        handles.permute_dims(
            array,
            (*(k for k in range(array.ndim) if k != array.ndim + place), array.ndim + place),
        )
        for array in (a, b)
    )
    try:
        np.broadcast_shapes(first.shape[:-1], second.shape[:-1])
    except ValueError:
        refuse_shapes("vecdot", (a, b))
    if first.shape[-1] != second.shape[-1]:
        refuse_shapes("vecdot", (a, b))
    if first.dtype.kind == "c":
        first = handles.conj(first)
    sums = matmul(
        first.reshape((*first.shape[:-1], 1, first.shape[-1])),
        second.reshape((*second.shape, 1)),
    )
    return sums.reshape(sums.shape[:-2])


@written("linalg.vector_norm in the Python array API standard 2025.12")
def norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """Return ``sum(abs(x) ** ord) ** (1 / ord)`` over `axis`.

    Parameters
    ----------
    x : Tensor or raw array, any shape; integers become float32
    axis : int, tuple of int or None
        The axes to go over; None means all.
    keepdims : bool
        Whether those axes stay, with length 1.
    ord : number
        inf and -inf are the largest and the smallest of ``abs(x)``; 0 counts what is not 0.

    Returns
    -------
    Tensor, shape of `x` without the axes

    Raises
    ------
    TypeError
        If `x` is no array, `axis` no int or `ord` no number.
    ValueError
        If an axis is out of range, or there is no smallest element.
    """
    value = floating(as_tensor("norm", x))
    axes = normalize_axes("norm", axis, value.shape)
    keepdims = check_flag("norm", "keepdims", keepdims)
    check_number("norm", "ord", ord)
    if value.dtype.kind == "c":
        value = handles.abs(value)
    is_empty = math.prod(value.shape[place] for place in axes) == 0
    if ord < 0:
        check_not_empty("norm", axis, axes, value.shape)
    if not axes:
        return _count_of(value, axes, True) if ord == 0 else handles.abs(value)
    if ord == 0:
        return _count_of(value, axes, keepdims)
    options = {"axis": axes, "keepdims": keepdims}
    if math.isinf(ord) and not is_empty:
        return (handles.max if ord > 0 else handles.min)(handles.abs(value), **options)
    if ord == 1 or is_empty:
        return handles.sum(handles.abs(value), **options)
    if ord == 2:
        kept = kept_shape(value.shape, axes)
        return record(
            "norm",
            lambda raw: cp.sqrt(total(raw * raw, axes, keepdims)),
            _norm,
            (value,),
            keep_inputs=True,
            keep_output=True,
            config=kept,
        )
    return handles.pow(handles.sum(handles.pow(handles.abs(value), ord), **options), 1 / ord)


def _norm(node: Any, grad: Any) -> tuple[Any]:
    xp = node.xp
    grad, length = xp.reshape(grad, node.config), xp.reshape(node.output, node.config)
    if isinstance(grad, cp.ndarray):
        return (pointwise("length_backward")(node.x, length, grad),)
    return (of_length(xp, grad, node.x, length),)


def _count_of(value: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """Count what is not 0 as a floating number; the gradient is 0 (ops-40)."""
    return record(
        "norm",
        lambda raw: counted(raw, axes, keepdims).astype(raw.dtype),
        lambda node, grad: (node.xp.zeros(node.config, dtype=grad.dtype),),
        (value,),
        config=value.shape,
    )


def _moved(value: Any, axis: int, count: int) -> Any:
    return handles.roll(value, -count, axis=axis)


@written_in("linalg")
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Return the vectors that are orthogonal to both of two.

    Parameters
    ----------
    x1, x2 : Tensor or raw array
        Of length 3 along `axis`; the other axes broadcast.
    axis : int
        Negative, counted from the end of each.

    Returns
    -------
    Tensor, the shape that `x1` and `x2` broadcast to

    Raises
    ------
    TypeError
        If one is no array, or of booleans, or `axis` no int.
    ValueError
        That names both shapes, if a length is not 3, they do not fit or the axis is not there.
    """
    a, b = as_operands("cross", as_tensor("cross", x1), as_tensor("cross", x2))
    place = check_int("cross", "axis", axis)
    if a.dtype.kind == "b":
        msg = "cross: booleans have no sign, got dtype bool; cast them with astype first"
        raise TypeError(msg)
    if not -min(a.ndim, b.ndim) <= place < 0:
        msg = f"cross: axis {axis} must be negative and in both shapes, {a.shape} and {b.shape}"
        raise ValueError(msg)
    if a.shape[place] != 3 or b.shape[place] != 3:
        refuse_shapes("cross", (a, b))
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        refuse_shapes("cross", (a, b))
    first = handles.multiply(_moved(a, place, 1), _moved(b, place, 2))
    return handles.subtract(first, handles.multiply(_moved(a, place, 2), _moved(b, place, 1)))


@written_in("linalg")
def outer(x1: Any, x2: Any, /) -> Tensor:
    """Return all products of the elements of two vectors.

    Parameters
    ----------
    x1 : Tensor or raw array, shape (M,)
    x2 : Tensor or raw array, shape (N,)

    Returns
    -------
    Tensor, shape (M, N)

    Raises
    ------
    TypeError
        If one is no array.
    ValueError
        That names both shapes, if one has another number of axes.
    """
    a, b = as_operands("outer", as_tensor("outer", x1), as_tensor("outer", x2))
    if a.ndim != 1 or b.ndim != 1:
        refuse_shapes("outer", (a, b))
    return handles.multiply(a.reshape((a.shape[0], 1)), b.reshape((1, b.shape[0])))


def _on_diagonal(name: str, x: Any, offset: Any) -> Any:
    value = as_tensor(name, x)
    if value.ndim < 2:
        msg = f"{name}: a matrix must have at least two axes, got shape {value.shape}"
        raise ValueError(msg)
    place = check_int(name, "offset", offset)
    rows, columns = value.shape[-2:]
    first_row, first_column = max(-place, 0), max(place, 0)
    steps = np.arange(max(min(rows - first_row, columns - first_column), 0))
    return value[..., steps + min(first_row, rows), steps + min(first_column, columns)]


@written_in("linalg")
def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """Return what stands on a diagonal.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)
    offset : int
        How far above the main diagonal; negative below it.

    Returns
    -------
    Tensor, shape (*, D)
        Without elements where the diagonal lies outside.

    Raises
    ------
    TypeError
        If `x` is no array, or `offset` no int.
    ValueError
        If `x` is no matrix.
    """
    return _on_diagonal("diagonal", x, offset)


@written_in("linalg")
def trace(x: Any, /, *, offset: int = 0, dtype: DTypeLike = None) -> Tensor:
    """Add up what stands on a diagonal.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)
    offset : int
        As of `diagonal`.
    dtype : dtype, optional
        To cast to first, as in `sum`.

    Returns
    -------
    Tensor, shape (*)

    Raises
    ------
    TypeError
        If `x` is no array, `offset` no int, or `dtype` none of those that there are.
    ValueError
        If `x` is no matrix.
    """
    if dtype is not None:
        check_dtype("trace", dtype)
    return handles.sum(_on_diagonal("trace", x, offset), axis=-1, dtype=dtype)
