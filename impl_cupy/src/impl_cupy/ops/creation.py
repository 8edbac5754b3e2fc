"""Making arrays inside differentiable code, under the array API's signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from impl_cupy import creation
from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_count,
    check_device,
    check_dtype,
    check_flag,
    check_floating_dtype,
    check_int,
    check_number,
    check_sizes,
    to_device,
    type_name,
)
from impl_cupy.dtypes import DTypeLike, complex64, float64
from impl_cupy.ops.elementwise import astype
from impl_cupy.ops.families import STANDARD, Operation, Raw, row, written
from impl_cupy.recording import as_tensor, cast_raw
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

# The type of device that DLPack says the host is.
_HOST = 1

_CREATE = """
Parameters
----------
{first}
dtype : dtype, optional
    Left out: {usual}.
device : device, optional
    That of every array; there is no other (ops-31).

Returns
-------
Tensor, shape {shape}

Raises
------
TypeError
    If {wrong}, or `dtype` is one that no Tensor has.
ValueError
    If `device` is another one.
"""


def like(name: str, function: Raw, summary: str) -> Operation:
    """Make a constructor of an array with the shape and the dtype of another."""

    def operation(x: Any, /, *, dtype: DTypeLike = None, device: Any = None) -> Tensor:
        if device is not None:
            check_device(name, device)
        value = as_tensor(name, x)._data
        wanted = value.dtype if dtype is None else check_dtype(name, dtype)
        return wrap(function(value.shape, dtype=wanted))

    frame = _CREATE.format(
        first="x : Tensor or raw array",
        usual="that of `x`",
        shape="of `x`",
        wrong="`x` is no array",
    )
    return row(operation, name, summary, frame, STANDARD)


def create(name: str, function: Callable[..., Tensor], summary: str) -> Operation:
    """Make a constructor ``name(shape, *, dtype=None, device=None)`` of one of the package's."""

    def operation(shape: Any, *, dtype: DTypeLike = None, device: Any = None) -> Tensor:
        if device is not None:
            check_device(name, device)
        return function(shape, dtype=dtype)

    frame = _CREATE.format(
        first="shape : int or tuple of int, not negative",
        usual="float32",
        shape="`shape`",
        wrong="a size is no int",
    )
    return row(operation, name, summary, frame, STANDARD)


@written()
def asarray(
    obj: Any, /, *, dtype: DTypeLike = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    """Make a Tensor; one that is a Tensor already keeps its history.

    Parameters
    ----------
    obj : Tensor, raw array, number, nested lists of numbers or object with the buffer protocol
    dtype : dtype, optional
    device : device, optional
        That of every array; there is no other (ops-31).
    copy : bool, optional
        True forces a copy, False forbids one.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `obj` is nothing of the kind, or `dtype` none that a Tensor can have.
    ValueError
        If lists are ragged, or only a copy would do.
    """
    if device is not None:
        check_device("asarray", device)
    copy = None if copy is None else check_flag("asarray", "copy", copy)
    if isinstance(obj, (Tensor, cp.ndarray)):
        value = as_tensor("asarray", obj)
        wanted = value.dtype if dtype is None else check_dtype("asarray", dtype)
        if value.dtype.kind == "c" != wanted.kind:
            cast_raw("asarray", value._data[:0] if value.ndim else value._data, wanted)
        if copy is not False or wanted == value.dtype:
            return astype(value, wanted, copy=bool(copy))
    if copy is False:  # ops-16
        msg = f"asarray: {type_name(obj)} cannot be shared as a Tensor like that; leave copy out"
        raise ValueError(msg)
    return creation.made("asarray", _of_memory(obj), dtype)


def _of_memory(obj: Any) -> Any:
    """Return the NumPy array of an object of Python's buffer protocol; anything else itself."""
    if isinstance(
        obj, (np.ndarray, np.generic, int, float, complex, list, tuple, bytes, bytearray)
    ):
        return obj
    try:
        return np.asarray(memoryview(obj))
    except (TypeError, ValueError):
        return obj


zeros = create("zeros", creation.zeros, "Make an array of zeros.")
ones = create("ones", creation.ones, "Make an array of ones.")
zeros_like = like("zeros_like", cp.zeros, "Make zeros of the shape and dtype of `x`.")
empty = create("empty", creation.empty, "Make an array of whatever the memory holds.")
ones_like = like("ones_like", cp.ones, "Make ones of the shape and dtype of `x`.")
empty_like = like("empty_like", cp.empty, "Make an array like `x` of whatever the memory holds.")


@written()
def full(shape: Any, fill_value: Any, *, dtype: DTypeLike = None, device: Any = None) -> Tensor:
    """Make an array of one value, whose dtype follows the value unless told.

    Parameters
    ----------
    shape : int or tuple of int
    fill_value : number
    dtype : dtype, optional
    device : device, optional
        That of every array; there is no other (ops-31).

    Returns
    -------
    Tensor, shape `shape`

    Raises
    ------
    TypeError
        If a size is no int, `fill_value` no number, or `dtype` none that a Tensor can have.
    ValueError
        If a size is negative.
    """
    if device is not None:
        check_device("full", device)
    return creation.full(shape, fill_value, dtype=dtype)


@written()
def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike = None,
    device: Any = None,
) -> Tensor:
    """Make evenly spaced numbers, ``start, start + step, ...`` below `stop`.

    Parameters
    ----------
    start, stop, step : number
        With one number it is `stop`, and `start` is 0. Ints give int64, else float32.
    dtype : dtype, optional
    device : device, optional
        That of every array; there is no other (ops-31).

    Returns
    -------
    Tensor, one axis

    Raises
    ------
    ValueError
        If `step` is 0.
    """
    if device is not None:
        check_device("arange", device)
    return creation.arange(start, stop, step, dtype=dtype)


@written()
def full_like(x: Any, /, fill_value: Any, *, dtype: DTypeLike = None, device: Any = None) -> Tensor:
    """Make an array of one value with the shape and the dtype of another.

    Parameters
    ----------
    x : Tensor or raw array
    fill_value : number
    dtype : dtype, optional
    device : device, optional
        That of every array; there is no other (ops-31).

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, `fill_value` no number, or `dtype` none that a Tensor can have.
    ValueError
        If the dtype does not hold `fill_value`, or `device` is another one.
    """
    if device is not None:
        check_device("full_like", device)
    value = as_tensor("full_like", x)
    wanted = value.dtype if dtype is None else check_dtype("full_like", dtype)
    return creation.filled("full_like", value.shape, fill_value, wanted)


@written()
def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DTypeLike = None,
    device: Any = None,
) -> Tensor:
    """Make a matrix with ones on a diagonal.

    Parameters
    ----------
    n_rows, n_cols : int
        As many columns as rows unless told.
    k : int
        Which diagonal, counted upwards from the main one.
    dtype : dtype, optional
        float32 unless told.
    device : device, optional
        That of every array; there is no other (ops-31).

    Returns
    -------
    Tensor, shape (n_rows, n_cols)

    Raises
    ------
    TypeError
        If a size or `k` is no int, or `dtype` none that a Tensor can have.
    ValueError
        If a size is negative, or `device` is another one.
    """
    if device is not None:
        check_device("eye", device)
    rows, columns = check_sizes("eye", (n_rows, n_rows if n_cols is None else n_cols))
    diagonal = check_int("eye", "k", k)
    return wrap(cp.eye(rows, columns, k=diagonal, dtype=check_dtype("eye", dtype)))


@written()
def linspace(
    start: float,
    stop: float,
    /,
    num: int,
    *,
    dtype: DTypeLike = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """Make numbers at equal distances, ``start + k * step`` in float64 and rounded once.

    Parameters
    ----------
    start, stop : number
    num : int, at least 0
    dtype : dtype, optional
        A floating or complex one; float32 unless told, or complex64 of complex numbers.
    device : device, optional
        That of every array; there is no other (ops-31).
    endpoint : bool
        Whether `stop` is the last of them.

    Returns
    -------
    Tensor, shape (num,)

    Raises
    ------
    TypeError
        If `start` or `stop` is no number, `num` no int, or `dtype` neither floating nor complex, or
        floating beside a complex number.
    ValueError
        If `num` is negative, or `device` is another one.
    """
    if device is not None:
        check_device("linspace", device)
    is_complex = False
    for argument, value in (("start", start), ("stop", stop)):
        if isinstance(value, (complex, np.complexfloating)):
            is_complex = True
        else:
            check_number("linspace", argument, value)
    count = check_count("linspace", "num", num)
    wanted = _spaced_dtype(dtype, is_complex)
    ends = check_flag("linspace", "endpoint", endpoint)
    kind = complex if wanted.kind == "c" else float
    first, last = kind(start), kind(stop)
    gaps = count - 1 if ends else count
    step = (last - first) / gaps if gaps > 0 else 0.0
    # Two launches, since one might round a product and a sum together.
    values = cp.arange(count, dtype=float64) * step  # complex128 with a complex step
    values += first
    if ends and count > 1:
        values[-1] = last
    return wrap(values.astype(wanted, copy=False))


def _spaced_dtype(dtype: DTypeLike, is_complex: bool) -> np.dtype[Any]:
    if not is_complex and (dtype is None or check_dtype("linspace", dtype).kind != "c"):
        return check_floating_dtype("linspace", dtype)
    wanted = complex64 if dtype is None else check_dtype("linspace", dtype)
    if wanted.kind != "c":
        msg = f"linspace: dtype must be complex for complex numbers, got {wanted.name}"
        raise TypeError(msg)
    return wanted


@written()
def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Make a Tensor of an array of other software; one that is a Tensor keeps its history.

    Parameters
    ----------
    x : Tensor, raw array, numpy.ndarray or object with ``__dlpack__``
    device : device, optional
        That of every array; there is no other (ops-31).
    copy : bool, optional
        True forces a copy, False forbids one; what is on the host must be copied.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` has no ``__dlpack__``, or a dtype that no Tensor has.
    ValueError
        If only a copy would do, or `device` is another one.
    """
    if device is not None:
        check_device("from_dlpack", device)
    copy = None if copy is None else check_flag("from_dlpack", "copy", copy)
    if isinstance(x, (Tensor, cp.ndarray)):
        value = as_tensor("from_dlpack", x)
        return astype(value, value.dtype, copy=bool(copy))
    if not isinstance(x, np.ndarray):
        if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
            msg = f"from_dlpack: an array with __dlpack__ is needed, got {type_name(x)}"
            raise TypeError(msg)
        if int(x.__dlpack_device__()[0]) != _HOST:
            value = as_tensor("from_dlpack", cp.from_dlpack(x))
            return astype(value, value.dtype, copy=bool(copy))
        x = np.from_dlpack(x)
    if copy is False:
        msg = "from_dlpack: an array on the host cannot be shared with the device; leave copy out"
        raise ValueError(msg)
    return wrap(to_device("from_dlpack", x))
