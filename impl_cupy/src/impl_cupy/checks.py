"""Every check of an argument, once, and the wording of errors: "name: ... must be ..., got ...".

Nothing here knows Tensor: what a check is asked about is a raw array, a shape or a plain value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.dtypes import (
    DTypeLike,
    dtypes,
    float32,
    is_supported,
    native,
    number_dtype,
)

_NAMES = ", ".join(dtype.name for dtype in dtypes)


def type_name(value: Any) -> str:
    """Name a value's type, with its package where several libraries have the name."""
    cls = type(value)
    if cls.__name__ == "ndarray":
        return f"{cls.__module__.partition('.')[0]}.ndarray"
    return cls.__name__


def shown(value: Any) -> str:
    """Show a value in one short line."""
    if not isinstance(value, type) and hasattr(value, "shape") and value.shape:
        return f"{type_name(value)} of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def check_flag(operation: str, argument: str, value: Any) -> bool:
    """Return a bool; refuse a string, and what has no truth value, as an array of several elements.

    Raises
    ------
    TypeError
        That names the argument and the value.
    """
    try:
        if not isinstance(value, (str, bytes)):
            return bool(value)
    except Exception:
        pass
    msg = f"{operation}: {argument} must be a bool, got {shown(value)}"
    raise TypeError(msg)


def check_bool(operation: str, argument: str, value: Any) -> bool:
    """Return a bool; refuse what is neither one nor an int.

    Raises
    ------
    TypeError
        That names the argument and the value.
    """
    if not isinstance(value, (bool, int, np.bool_, np.integer)):
        msg = f"{operation}: {argument} must be a bool, got {shown(value)}"
        raise TypeError(msg)
    return bool(value)


def check_callable(operation: str, argument: str, value: Any) -> None:
    """Refuse what cannot be called.

    Raises
    ------
    TypeError
        That names the argument and the value.
    """
    if not callable(value):
        msg = f"{operation}: {argument} must be callable, got {shown(value)}"
        raise TypeError(msg)


def as_list(operation: str, argument: str, value: Any) -> list[Any]:
    """List what an iterable holds.

    Raises
    ------
    TypeError
        If it is none.
    """
    try:
        return list(value)
    except TypeError:
        msg = f"{operation}: {argument} must be a sequence, got {shown(value)}"
        raise TypeError(msg) from None


def check_text(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no str.

    Raises
    ------
    TypeError
        That names the argument and the value.
    """
    if not isinstance(value, str):
        msg = f"{operation}: {argument} must be a str, got {shown(value)}"
        raise TypeError(msg)


def check_dtype(operation: str, dtype: DTypeLike, *, needed: bool = False) -> np.dtype[Any]:
    """Turn what a user gave as ``dtype=`` into one that a Tensor can have.

    None is float32, unless a dtype is `needed`.

    Raises
    ------
    TypeError
        If it is none of them.
    """
    try:
        checked = np.dtype(dtype) if dtype is not None else None if needed else float32
    except Exception:
        checked = None
    if checked is None or not is_supported(checked):
        msg = f"{operation}: dtype must be one of {_NAMES}, got {shown(dtype)}"
        raise TypeError(msg)
    return checked


def check_floating_dtype(operation: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Turn ``dtype=`` into float32 or float64.

    Raises
    ------
    TypeError
        If it is no floating dtype.
    """
    checked = check_dtype(operation, dtype)
    if checked.kind != "f":
        msg = f"{operation}: dtype must be float32 or float64, got {checked.name}"
        raise TypeError(msg)
    return checked


def check_same_dtype(operation: str, argument: str, dtype: Any, wanted: Any) -> None:
    """Refuse an argument of another dtype than the parameters'.

    Raises
    ------
    TypeError
        That names both dtypes.
    """
    if dtype != wanted:
        msg = (
            f"{operation}: {argument} must have the parameters' dtype {wanted.name}, "
            f"got {dtype.name}"
        )
        raise TypeError(msg)


def check_raw(operation: str, raw: Any) -> None:
    """Refuse what is no raw array of a supported dtype.

    Raises
    ------
    TypeError
        That names `operation` and what came.
    """
    if not isinstance(raw, cp.ndarray):
        msg = f"{operation}: must be a cupy.ndarray, got {type_name(raw)}; use tensor(...)"
        raise TypeError(msg)
    if not is_supported(raw.dtype):
        msg = f"{operation}: dtype must be one of {_NAMES}, got {raw.dtype.name}; use astype first"
        raise TypeError(msg)


def to_device(operation: str, host: np.ndarray[Any, np.dtype[Any]]) -> Any:
    """Copy a NumPy array to the device.

    Raises
    ------
    TypeError
        If it has a dtype that no Tensor has.
    """
    host = native(host)
    if not is_supported(host.dtype):
        msg = f"{operation}: dtype must be one of {_NAMES}, got {host.dtype.name}; cast it first"
        raise TypeError(msg)
    return cp.asarray(host)


def check_differentiable(operation: str, dtype: np.dtype[Any]) -> None:
    """Refuse leaves that require grad, but for floating ones (tensor-13).

    Raises
    ------
    ValueError
        That names the dtype.
    """
    if dtype.kind != "f":
        parts = "; make it of two real Tensors, as by a + 1j * b" if dtype.kind == "c" else ""
        msg = f"{operation}: only floating leaves can require grad, got dtype {dtype.name}{parts}"
        raise ValueError(msg)


def check_sizes(operation: str, shape: Any) -> tuple[int, ...]:
    """Turn an int or a sequence of ints into a shape.

    Raises
    ------
    TypeError
        If a size is no int.
    ValueError
        If a size is negative.
    """
    sizes = as_ints(operation, "shape", shape)
    if any(size < 0 for size in sizes):
        msg = f"{operation}: sizes must not be negative, got shape {sizes}"
        raise ValueError(msg)
    if math.prod(sizes) >= 2**60:
        msg = f"{operation}: sizes must fit in memory, got shape {sizes}"
        raise ValueError(msg)
    return sizes


def as_ints(operation: str, argument: str, value: Any) -> tuple[int, ...]:
    """Turn an int or a sequence of ints into a tuple of ints.

    Raises
    ------
    TypeError
        If a part is no int.
    """
    parts = value if isinstance(value, (tuple, list)) else (value,)
    try:
        # operator.index takes Python's booleans, but not NumPy's.
        if bool in map(type, parts):
            raise TypeError
        return tuple(map(operator.index, parts))
    except (TypeError, ValueError, AttributeError):
        msg = f"{operation}: {argument} must be an int or a tuple of ints, got {shown(value)}"
        raise TypeError(msg) from None


def check_int(operation: str, argument: str, value: Any) -> int:
    """Return one int.

    Raises
    ------
    TypeError
        If it is none.
    """
    if isinstance(value, (tuple, list)):
        msg = f"{operation}: {argument} must be an int, got {shown(value)}"
        raise TypeError(msg)
    return as_ints(operation, argument, value)[0]


def check_count(operation: str, argument: str, value: Any) -> int:
    """Return an int that is at least 0.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is negative.
    """
    count = check_int(operation, argument, value)
    if count < 0:
        msg = f"{operation}: {argument} must not be negative, got {count}"
        raise ValueError(msg)
    return count


def check_kinds(operation: str, value: Any, kinds: str) -> None:
    """Refuse an array or a number of other kinds: integers "iu", booleans "b", floating "f".

    Raises
    ------
    TypeError
        That names the dtype (ops-35).
    """
    dtype = value.dtype if hasattr(value, "dtype") else number_dtype(value)
    if dtype.kind not in kinds:
        wanted = {"biu": "integers or booleans", "iu": "integers", "iufc": "numbers"}[kinds]
        msg = f"{operation}: operands must be {wanted}, got dtype {dtype.name}"
        raise TypeError(msg)


def check_device(operation: str, device: Any) -> None:
    """Refuse what is neither None nor the device that Tensors are on (ops-31).

    Raises
    ------
    ValueError
        That names what came.
    """
    if device is None or (isinstance(device, cp.cuda.Device) and device == cp.cuda.Device()):
        return
    msg = f"{operation}: device must be None or {cp.cuda.Device()!r}, got {shown(device)}"
    raise ValueError(msg)


def check_positive_int(operation: str, argument: str, value: Any) -> int:
    """Return a size that is at least 1.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is below 1.
    """
    try:
        size = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, AttributeError):
        size = None
    if size is None or size < 1:
        msg = f"{operation}: {argument} must be a positive int, got {shown(value)}"
        raise TypeError(msg) if size is None else ValueError(msg)
    return size


def check_shape(operation: str, argument: str, value: Any) -> tuple[int, ...]:
    """Return a shape of at least one axis, given as an int or a sequence of ints.

    Raises
    ------
    TypeError
        If a size is no int.
    ValueError
        If there is no size, or one is below 1.
    """
    sizes = as_ints(operation, argument, value)
    if not sizes:
        msg = f"{operation}: {argument} must hold at least one size, got {shown(value)}"
        raise ValueError(msg)
    return tuple(check_positive_int(operation, argument, size) for size in sizes)


def check_number(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no real number.

    Raises
    ------
    TypeError
        That names the argument and the value.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        msg = f"{operation}: {argument} must be a number, got {shown(value)}"
        raise TypeError(msg)


def check_one_element(operation: str, raw: Any) -> None:
    """Refuse a raw array with any other number of elements.

    Raises
    ------
    ValueError
        That names its shape.
    """
    if raw.size != 1:
        msg = f"{operation}: a Tensor with one element is needed, got shape {raw.shape}"
        raise ValueError(msg)


def check_at_least_zero(operation: str, argument: str, value: Any) -> None:
    """Refuse a number below 0.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is negative or NaN.
    """
    check_number(operation, argument, value)
    if not value >= 0:
        msg = f"{operation}: {argument} must not be negative, got {value}"
        raise ValueError(msg)


def check_fraction(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no number from 0 to 1.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is outside, or NaN.
    """
    check_number(operation, argument, value)
    if not 0 <= value <= 1:
        msg = f"{operation}: {argument} must be in [0, 1], got {value}"
        raise ValueError(msg)


def check_choice(operation: str, argument: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse what is none of `choices`.

    Raises
    ------
    ValueError
        That lists them.
    """
    if not isinstance(value, str) or value not in choices:
        *first, last = (repr(choice) for choice in choices)
        msg = f"{operation}: {argument} must be {', '.join(first)} or {last}, got {shown(value)}"
        raise ValueError(msg)


def normalize_axes(operation: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Make an int, a tuple of ints or None a tuple of axes that count from 0.

    Raises
    ------
    TypeError
        If it is none of them.
    ValueError
        That names the operation, the axis and the shape, if it is out of range or named twice.
    """
    ndim = len(shape)
    if axis is None:
        return tuple(range(ndim))
    only = axis[0] if type(axis) is tuple and len(axis) == 1 else axis
    if type(only) is int and -ndim <= only < ndim:
        return (only % ndim,)
    axes = as_ints(operation, "axis", axis)
    if any(not -ndim <= place < ndim for place in axes):
        msg = f"{operation}: axis {axis} is out of range for shape {shape}"
        raise ValueError(msg)
    axes = tuple(place % ndim for place in axes)
    if len(set(axes)) != len(axes):
        msg = f"{operation}: axis {axis} names an axis of shape {shape} twice"
        raise ValueError(msg)
    return axes


def normalize_axis(operation: str, axis: Any, shape: tuple[int, ...], *, new: int = 0) -> int:
    """Make one axis count from 0, or a place for it among `new` more axes.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        As in `normalize_axes`.
    """
    if isinstance(axis, (tuple, list)) or axis is None:
        msg = f"{operation}: axis must be an int, got {shown(axis)}"
        raise TypeError(msg)
    (place,), ndim = as_ints(operation, "axis", axis), len(shape) + new
    if not -ndim <= place < ndim:
        more = f" and {new} axis more" if new else ""
        msg = f"{operation}: axis {axis} is out of range for shape {shape}{more}"
        raise ValueError(msg)
    return place % ndim


def check_not_empty(
    operation: str, axis: Any, axes: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    """Refuse axes along which there is no element to choose.

    Raises
    ------
    ValueError
        That names the operation, the axis and the shape.
    """
    if any(shape[place] == 0 for place in axes):
        msg = f"{operation}: axis {axis} of shape {shape} has no elements"
        raise ValueError(msg)


def refuse_shapes(operation: str, arrays: Sequence[Any]) -> NoReturn:
    """Raise the error for operands whose shapes do not go together (ops-12).

    Raises
    ------
    ValueError
        That names the operation and every shape.
    """
    shapes = [str(getattr(array, "shape", ())) for array in arrays]
    msg = f"{operation}: shapes {' and '.join(shapes)} do not fit together"
    raise ValueError(msg) from None
