"""Tensors from data and from nothing."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import random
from impl_numpy.dtypes import bool_, check_floating, float32, int64, one_dtype, raw_array
from impl_numpy.operands import tensor_of
from impl_numpy.primitives import Shape
from impl_numpy.tape import Array
from impl_numpy.tensor import Tensor


def tensor(data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of the data.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, numpy.ndarray or Tensor
        Python's floats become float32, ints int64, bools bool; an array or Tensor keeps its dtype.
    dtype : dtype, optional
    requires_grad : bool

    Raises
    ------
    ValueError
        If lists are ragged, an int does not fit, or integers are to require grad.
    TypeError
        If `data` holds what is no number.
    """
    kind = None if dtype is None else one_dtype(dtype, "tensor")
    array = _from_data(data, kind)
    return _made(array, requires_grad, "tensor")


def from_array(array: Array, requires_grad: bool = False) -> Tensor:
    """A Tensor that shares the memory of a raw array.

    Raises
    ------
    TypeError
        If `array` is no NumPy array.
    """
    return _made(array, requires_grad, "from_array")


Variable = from_array


def zeros(
    shape: int | Shape, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros; float32 unless told."""
    return _made(np.zeros(_shape(shape, "zeros"), _dtype(dtype, "zeros")), requires_grad, "zeros")


def ones(
    shape: int | Shape, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones; float32 unless told."""
    return _made(np.ones(_shape(shape, "ones"), _dtype(dtype, "ones")), requires_grad, "ones")


def empty(
    shape: int | Shape, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Unspecified values; float32 unless told."""
    return _made(np.empty(_shape(shape, "empty"), _dtype(dtype, "empty")), requires_grad, "empty")


def zeros_like(x: Any, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros of the shape and dtype of x."""
    x = tensor_of("zeros_like", x)
    return zeros(x.shape, dtype=x.dtype if dtype is None else dtype)


def ones_like(x: Any, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """Ones of the shape and dtype of x."""
    x = tensor_of("ones_like", x)
    return ones(x.shape, dtype=x.dtype if dtype is None else dtype)


def full(
    shape: int | Shape, value: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere; its dtype follows the value as in `tensor`."""
    filler = tensor(value, dtype=dtype).data
    return _made(np.full(_shape(shape, "full"), filler, filler.dtype), requires_grad, "full")


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from start, or 0, to before stop: int64 from ints, float32 from floats."""
    first, last = (0, start) if stop is None else (start, stop)
    if step == 0:
        msg = "arange: step must not be 0"
        raise ValueError(msg)
    whole = all(isinstance(k, (int, np.integer)) for k in (first, last, step))
    kind = one_dtype(dtype, "arange") if dtype is not None else int64 if whole else float32
    return _made(np.arange(first, last, step).astype(kind), requires_grad, "arange")


def eye(
    n: int, m: int | None = None, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix, zeros elsewhere."""
    rows, columns = _shape((n, n if m is None else m), "eye")
    return _made(np.eye(rows, columns, dtype=_dtype(dtype, "eye")), requires_grad, "eye")


def rand(
    shape: int | Shape, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Uniform numbers in [0, 1), drawn in float64 and rounded."""
    sizes, kind = _shape(shape, "rand"), _floating(dtype, "rand")
    return _made(random.uniform(sizes).astype(kind), requires_grad, "rand")


def randn(
    shape: int | Shape, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Standard normal numbers, drawn in float64 and rounded."""
    sizes, kind = _shape(shape, "randn"), _floating(dtype, "randn")
    return _made(random.normal(sizes).astype(kind), requires_grad, "randn")


def _made(array: Array, requires_grad: bool, operation: str) -> Tensor:
    made = Tensor(array)
    if requires_grad:
        check_floating(array.dtype, operation)
        made.requires_grad_()
    return made


def _from_data(data: Any, dtype: np.dtype[Any] | None) -> Array:
    """A new array of the dtype, or of the data's own, from whatever `tensor` takes."""
    if isinstance(data, Tensor):
        return data.data.astype(dtype or data.dtype)
    if isinstance(data, (np.ndarray, np.generic)):
        array = raw_array(np.asarray(data), "tensor")
        return array.astype(dtype or array.dtype)
    if not isinstance(data, (bool, int, float, list, tuple)):
        msg = f"tensor: wants numbers, lists of numbers or an array, got {type(data).__name__}"
        raise TypeError(msg)
    try:
        array = np.array(_without_tensors(data))
    except ValueError as error:
        reason = " ".join(str(error).split())
        msg = f"tensor: lists must be of equal lengths, got ragged ones: {reason}"
        raise ValueError(msg) from None
    if array.dtype.kind == "u" or (array.dtype.kind == "O" and _all_ints(array)):
        msg = "tensor: an int does not fit into int64"
        raise ValueError(msg)
    kinds: dict[str, np.dtype[Any]] = {"f": float32, "i": int64, "b": bool_}
    if array.dtype.kind not in kinds:
        msg = f"tensor: wants numbers, got a list with a {_other(data)} in it"
        raise TypeError(msg)
    return array.astype(dtype or kinds[array.dtype.kind])


def _other(data: Any) -> str:
    """The kind of the first thing that is no number."""
    if isinstance(data, (list, tuple)):
        return next((kind for kind in map(_other, data) if kind), "")
    return "" if isinstance(data, (int, float, np.generic, Tensor)) else type(data).__name__


def _without_tensors(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_without_tensors(x) for x in data]
    return data.data if isinstance(data, Tensor) else data


def _all_ints(array: Array) -> bool:
    return all(isinstance(x, int) for x in array.ravel())


def _shape(shape: int | Shape, operation: str) -> Shape:
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    try:
        found = tuple(operator.index(n) for n in sizes)
    except TypeError:
        msg = f"{operation}: the shape must be an int or a tuple of ints, got {shape!r}"
        raise TypeError(msg) from None
    if any(n < 0 for n in found):
        msg = f"{operation}: sizes must not be negative, got {found}"
        raise ValueError(msg)
    return found


def _dtype(dtype: DTypeLike | None, operation: str) -> np.dtype[Any]:
    return float32 if dtype is None else one_dtype(dtype, operation)


def _floating(dtype: DTypeLike | None, operation: str) -> np.dtype[Any]:
    kind = _dtype(dtype, operation)
    check_floating(kind, operation)
    return kind
