"""Every check of an argument, and the wording of its error.

A check takes the name of the operation that asks, and raises an error of one line that names it,
says what the argument must be and what came.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.batched import asarray, every
from impl_numpy.dtypes import (
    DTYPES,
    FIVE,
    Array,
    Axis,
    Shape,
    float32,
    int64,
    is_raw,
    native,
)

SHOWN = 80
LARGEST = 1 << 59
KNOWN = "bool, an integer of 8 to 64 bits, float32, float64, complex64 or complex128"
THE_FIVE = "float32, float64, int32, int64 or bool"


def shown(value: Any) -> str:
    """Return what a message shows of a value: one line, not long."""
    array = getattr(value, "_data", value)
    if is_raw(array) and array.ndim:
        return f"{type(value).__name__} of shape {array.shape} and dtype {array.dtype}"
    try:
        text = " ".join(repr(value).split())
    except Exception:
        # Nothing is known of a foreign object's repr.
        return type(value).__name__
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def check_flag(operation: str, name: str, value: Any) -> bool:
    """Return a bool, or what stands for one: a number or None."""
    if type(value) is bool:
        return value
    number = as_number(value)
    if number is None and value is not None:
        msg = f"{operation}: {name} must be a bool, got {shown(value)}"
        raise TypeError(msg)
    return bool(number)


def check_bit(operation: str, name: str, value: Any) -> bool:
    """Return a bool, or 0 or 1 as one."""
    number = as_number(value)
    if number is None or number not in (0, 1):
        msg = f"{operation}: {name} must be a bool, or 0 or 1, got {shown(value)}"
        raise TypeError(msg)
    return bool(number)


def check_callable(operation: str, name: str, value: Any) -> None:
    """Raise TypeError for what cannot be called."""
    if not callable(value):
        msg = f"{operation}: {name} must be callable, got {shown(value)} ({type(value).__name__})"
        raise TypeError(msg)


def check_tensors(operation: str, name: str, leaves: Sequence[Any], least: int = 0) -> None:
    """Raise TypeError unless the leaves of a structure are Tensors, at least so many."""
    others = [x for x in leaves if not hasattr(type(x), "_node")]
    if others or len(leaves) < least:
        got = shown(others[0]) if others else "none"
        msg = f"{operation}: {name} must be a Tensor or a structure of them, got {got}"
        raise TypeError(msg)


def check_string(operation: str, name: str, value: Any) -> str:
    """Return a string, or raise TypeError."""
    if not isinstance(value, str):
        msg = f"{operation}: {name} must be a string, got {shown(value)}"
        raise TypeError(msg)
    return value


def check_items(operation: str, name: str, value: Any, wanted: str) -> list[Any]:
    """Return the items of an iterable as a list, or raise TypeError."""
    try:
        return list(value)
    except TypeError:
        msg = f"{operation}: {name} must be {wanted}, got {shown(value)}"
        raise TypeError(msg) from None


def check_raw(array: Any, operation: str, shares: bool = False) -> Array:
    """Return a raw array of a dtype that Tensors have, or raise TypeError.

    One of the other byte order is copied, or refused where its memory is to be shared (tensor-37).
    """
    if not isinstance(array, np.ndarray):
        got = type(array).__name__
        msg = f"{operation}: wants a numpy.ndarray, got {got}; tensor() takes other data"
        raise TypeError(msg)
    if array.dtype not in DTYPES:
        array = array if shares else native(array)
        if array.dtype not in DTYPES:
            msg = f"{operation}: the dtype must be {KNOWN}, got {array.dtype}; cast with astype"
            raise TypeError(msg)
    return asarray(array)


def check_five(operation: str, dtype: np.dtype[Any], name: str = "") -> None:
    """Raise TypeError for a dtype of which Modules and files have nothing (tensor-37)."""
    if dtype not in FIVE:
        of = f" of {name}" if name else ""
        msg = f"{operation}: the dtype{of} must be {THE_FIVE}, got {dtype}; cast with astype"
        raise TypeError(msg)


def check_real(operation: str, *dtypes: np.dtype[Any]) -> None:
    """Raise TypeError for a complex dtype (ops-59)."""
    for dtype in dtypes:
        if dtype.kind == "c":
            msg = f"{operation}: takes real numbers, got {dtype}; see real, imag and abs"
            raise TypeError(msg)


def check_keeps(operation: str, dtype: np.dtype[Any], wanted: np.dtype[Any]) -> None:
    """Raise TypeError where a cast would lose the imaginary part (ops-11)."""
    if dtype.kind == "c" and wanted.kind not in "cb":
        msg = f"{operation}: {dtype} does not become {wanted}; take real or imag first"
        raise TypeError(msg)


def as_number(value: Any) -> bool | int | float | None:
    """Return a Python number, or a NumPy scalar as the Python number of its value; else None."""
    if isinstance(value, np.generic):
        if value.dtype.kind not in "biuf":
            return None
        number = value.item()
        # The item of a longdouble is a longdouble.
        return number if isinstance(number, (bool, int, float)) else float(value)
    return value if isinstance(value, (bool, int, float)) else None


def as_scalar(value: Any) -> bool | int | float | complex | None:
    """Return what `as_number` does, and complex numbers too."""
    if isinstance(value, complex):
        return complex(value)
    if isinstance(value, np.complexfloating):
        return complex(value)
    return as_number(value)


def check_scalar(
    owner: str, name: str, value: Any, dtype: np.dtype[Any] | None
) -> bool | int | float | complex:
    """Return a number, complex only where the dtype (None: any) is, or raise TypeError."""
    number = as_scalar(value)
    if number is None:
        msg = f"{owner}: {name} must be a number, got {shown(value)}"
        raise TypeError(msg)
    if isinstance(number, complex) and dtype is not None and dtype.kind != "c":
        msg = f"{owner}: {name} must be a real number for {dtype}, got the complex {shown(value)}"
        raise TypeError(msg)
    return number


def check_number(owner: str, name: str, value: Any) -> bool | int | float:
    """Return a number as a Python number, or raise TypeError."""
    number = as_number(value)
    if number is None:
        msg = f"{owner}: {name} must be a number, got {shown(value)}"
        raise TypeError(msg)
    return number


def check_fits(operation: str, value: Any, dtype: np.dtype[Any]) -> None:
    """Raise ValueError for a number that an integer dtype does not hold (tensor-38)."""
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if not bounds.min <= value <= bounds.max:
            msg = f"{operation}: {value} does not fit into {dtype}"
            raise ValueError(msg)


def check_cast(operation: str, array: Array, dtype: np.dtype[Any]) -> None:
    """Raise ValueError where an integer dtype does not hold an element of an array (tensor-38).

    Raises
    ------
    TypeError
        For complex numbers and a dtype that is not.
    """
    if array.dtype.kind == "c" and dtype.kind != "c":
        msg = f"{operation}: {array.dtype} does not become {dtype}; take real or imag first"
        raise TypeError(msg)
    values = every(array)
    if dtype.kind in "iu" and values.size and not np.can_cast(values.dtype, dtype):
        # Of an array with NaN in it these two are NaN.
        for value in (values.min(), values.max()):
            check_fits(operation, value.item(), dtype)


def check_dtype(dtype: DTypeLike, operation: str) -> np.dtype[Any]:
    """Return one of the thirteen dtypes from whatever NumPy takes for it, or raise TypeError."""
    try:
        # NumPy warns of an alias of "S" instead of refusing it.
        alias = isinstance(dtype, str) and dtype.startswith("a")
        checked = None if alias else np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        checked = None
    # NumPy takes None for float64.
    if checked is None or dtype is None:
        msg = f"{operation}: the dtype must be {KNOWN}, got {shown(dtype)}"
        raise TypeError(msg)
    if checked not in DTYPES:
        msg = f"{operation}: the dtype must be {KNOWN}, got {checked}"
        raise TypeError(msg)
    return checked


def check_device(operation: str, device: Any) -> None:
    """Raise ValueError for another device than the processor (ops-31)."""
    if device is not None and not (isinstance(device, str) and device == "cpu"):
        msg = f"{operation}: the device must be 'cpu' or None, got {shown(device)}"
        raise ValueError(msg)


def check_int(operation: str, name: str, value: Any) -> int:
    """Return an int; raise TypeError for no int, ValueError for one that no array needs."""
    if isinstance(value, (bool, np.bool)) or not isinstance(value, (int, np.integer)):
        msg = f"{operation}: {name} must be an int, got {shown(value)}"
        raise TypeError(msg)
    if not -LARGEST < value < LARGEST:
        msg = f"{operation}: {name} must be smaller, got {value}"
        raise ValueError(msg)
    return int(value)


def check_diagonal(operation: str, k: Any, shape: Shape) -> int:
    """Return which diagonal of matrices is meant, an int; far out there is nothing."""
    if isinstance(k, (bool, np.bool)) or not isinstance(k, (int, np.integer)):
        msg = f"{operation}: k must be an int, got {shown(k)}"
        raise TypeError(msg)
    return max(-shape[-2] - 1, min(int(k), shape[-1] + 1))


def check_count(operation: str, name: str, value: Any) -> int:
    """Return an int that is not negative; raise TypeError for no int, ValueError for a negative."""
    number = check_int(operation, name, value)
    if number < 0:
        msg = f"{operation}: {name} must be at least 0, got {value}"
        raise ValueError(msg)
    return number


def check_parameter_dtype(owner: str, dtype: DTypeLike | None) -> np.dtype[Any]:
    """Return the dtype of a layer's parameters: float32 unless another floating one is named."""
    checked: np.dtype[Any] = float32 if dtype is None else check_dtype(dtype, owner)
    if checked.kind != "f":  # nn-09
        msg = f"{owner}: dtype must be float32 or float64, got {checked}"
        raise TypeError(msg)
    return checked


def check_same_dtype(owner: str, name: str, got: np.dtype[Any], wanted: np.dtype[Any]) -> None:
    """Raise TypeError for an input that has not the parameters' dtype."""
    if got != wanted:
        msg = f"{owner}: {name} must have the parameters' dtype {wanted}, got {got}"
        raise TypeError(msg)


def check_array(operation: str, x: Any, name: str = "") -> Array:
    """Return a raw array or NumPy scalar as a raw array; raise TypeError for anything else."""
    if not is_raw(x):
        subject = f"{name} must be" if name else "wants"
        msg = f"{operation}: {subject} a Tensor or a raw array, got {type(x).__name__}"
        raise TypeError(msg)
    return check_raw(asarray(x), operation)


def check_operands(operation: str, x1: Any, x2: Any) -> None:
    """Raise TypeError unless one of two operands is an array, and the other that or a number."""
    numbers = 0
    for x in (x1, x2):
        if isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic):
            numbers += 1
        elif not is_raw(x) and not hasattr(x, "_data"):
            numbers = 2
    if numbers > 1:  # ops-21
        kinds = f"{type(x1).__name__} and {type(x2).__name__}"
        msg = f"{operation}: wants Tensors, raw arrays or one number beside them, got {kinds}"
        raise TypeError(msg)


def check_answered(operation: str, result: Any, x1: Any, x2: Any) -> None:
    """Raise TypeError where an operator gave up on its operands."""
    if result is NotImplemented:
        kinds = f"{type(x1).__name__} and {type(x2).__name__}"
        msg = f"{operation}: wants Tensors, raw arrays or one number beside them, got {kinds}"
        raise TypeError(msg)


def check_positive(owner: str, **sizes: Any) -> None:
    """Raise TypeError for a size that is no int, ValueError for one below 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            msg = f"{owner}: {name} must be a positive int, got {shown(size)}"
            raise TypeError(msg)
        if not 0 < size < LARGEST:
            msg = f"{owner}: {name} must be a positive int, got {size}"
            raise ValueError(msg)


def check_positive_sizes(owner: str, name: str, sizes: Any) -> Shape:
    """Return one positive int, or a sequence of at least one, as a tuple."""
    several = tuple(sizes) if isinstance(sizes, Sequence) else (sizes,)
    if not several:
        msg = f"{owner}: {name} must hold at least one size, got {shown(sizes)}"
        raise ValueError(msg)
    check_positive(owner, **{f"{name}[{k}]": size for k, size in enumerate(several)})
    return tuple([int(size) for size in several])


def check_not_negative(owner: str, name: str, value: Any) -> None:
    """Raise ValueError for a number below 0, or NaN; TypeError for no number."""
    if not check_number(owner, name, value) >= 0:
        msg = f"{owner}: {name} must not be negative, got {value}"
        raise ValueError(msg)


def check_finite(owner: str, **values: Any) -> list[bool | int | float]:
    """Return numbers as Python's; raise ValueError for an infinity or NaN, TypeError for none."""
    numbers = [check_number(owner, name, value) for name, value in values.items()]
    for name, number in zip(values, numbers, strict=True):
        # An int beyond float64 is none to compute with.
        if not -sys.float_info.max <= number <= sys.float_info.max:
            msg = f"{owner}: {name} must be finite, got {shown(number)}"
            raise ValueError(msg)
    return numbers


def check_probability(owner: str, name: str, value: Any) -> bool | int | float:
    """Return a number from 0 to 1; raise ValueError for another, TypeError for no number."""
    number = check_number(owner, name, value)
    if not 0 <= number <= 1:
        msg = f"{owner}: {name} must be a probability, 0 <= {name} <= 1, got {value}"
        raise ValueError(msg)
    return number


def check_no_bool(owner: str, name: str, value: Any) -> None:
    """Raise TypeError for a bool where a number is meant."""
    if isinstance(value, (bool, np.bool)):
        msg = f"{owner}: {name} must be a number, got {value}"
        raise TypeError(msg)


def check_choice(owner: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError for a word that is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        msg = f"{owner}: {name} must be one of {', '.join(choices)}, got {shown(value)}"
        raise ValueError(msg)


def check_indices(
    owner: str,
    name: str,
    x: Any,
    least: int | None = None,
    length: Any = "any length",
    of: str = "length",
) -> Array:
    """Return integers of any dtype (tensor-36), of a Tensor or raw array, as new ones of int64.

    With `least` they must be at least that, and less than `length`.

    Raises
    ------
    TypeError
        If x is neither, or does not hold integers.
    IndexError
        If one is out of range, or beyond int64.
    """
    array = x._data if hasattr(type(x), "_node") else asarray(x) if is_raw(x) else None
    if array is None:
        msg = f"{owner}: {name} must be a Tensor or a raw array, got {type(x).__name__}"
        raise TypeError(msg)
    if array.dtype.kind not in "iu":
        msg = f"{owner}: {name} must hold integers, got {array.dtype}"
        raise TypeError(msg)
    if least is not None:
        values = every(array)
        outside = values[(values < least) | (values >= length)]
        if outside.size:  # ops-29
            bounds = f"at least {least} and less than {of} = {length}"
            msg = f"{owner}: an index must be {bounds}, got {outside[0]}"
            raise IndexError(msg)
    elif (
        array.dtype == np.uint64
        and array.size
        and (every(array).max(initial=0) > np.iinfo(np.int64).max)
    ):
        msg = f"{owner}: index {every(array).max()} is out of range for {length}"
        raise IndexError(msg)
    return array.astype(int64)


def check_sizes(shape: int | Shape, operation: str, least: int = 0) -> Shape:
    """Return a shape as a tuple of ints, none of them negative; with `least` -1, one may be -1."""
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    try:
        checked = tuple([operator.index(n) for n in sizes])
    except (TypeError, ValueError):
        msg = f"{operation}: the shape must be an int or a tuple of ints, got {shown(shape)}"
        raise TypeError(msg) from None
    if math.prod(checked if 0 not in checked else [n for n in checked if n]) > LARGEST:
        msg = f"{operation}: no memory holds the shape {shown(checked)}"
        raise ValueError(msg)
    lowest = min(checked, default=0)
    if lowest < least or (lowest < 0 and sum(n < 0 for n in checked) > 1):  # ops-20
        but_one = ", but for one that is -1" if least else ""
        msg = f"{operation}: sizes must not be negative{but_one}, got {checked}"
        raise ValueError(msg)
    return checked


def normalize_axis(operation: str, axis: Any, shape: Shape) -> int:
    """Return an axis of an array of this shape, counted from 0.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is out of range.
    """
    if not isinstance(axis, (int, np.integer)):
        msg = f"{operation}: the axis must be an int, got {shown(axis)}"
        raise TypeError(msg)
    if not -len(shape) <= axis < len(shape):
        msg = f"{operation}: axis {axis} is out of range for shape {shape}"
        raise ValueError(msg)
    return int(axis) % len(shape)


def normalize_axes(operation: str, axis: Axis, shape: Shape) -> Shape:
    """Return one axis, several or (for None) all of them, counted from 0.

    Raises
    ------
    TypeError
        If one is no int.
    ValueError
        If one is out of range or comes twice.
    """
    if axis is None:
        return tuple(range(len(shape)))
    several = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple([normalize_axis(operation, k, shape) for k in several])
    if len(set(axes)) < len(axes):
        msg = f"{operation}: axis {axis} names an axis twice for shape {shape}"
        raise ValueError(msg)
    return axes


def normalize_new_axis(operation: str, axis: Any, shape: Shape, count: int = 1) -> int:
    """Return the place, counted from 0, of one of `count` new axes in this shape."""
    if not isinstance(axis, (int, np.integer)):
        msg = f"{operation}: the axis must be an int, got {shown(axis)}"
        raise TypeError(msg)
    if not -len(shape) - count <= axis < len(shape) + count:
        msg = f"{operation}: axis {axis} is out of range for a new axis of shape {shape}"
        raise ValueError(msg)
    return int(axis) % (len(shape) + count)
