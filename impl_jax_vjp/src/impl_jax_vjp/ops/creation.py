"""Arrays from nothing, from a shape, or like another."""

import array
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .. import creation
from ..checks import (
    as_dtype,
    as_number,
    check_cast,
    check_dtype,
    check_flag,
    check_int,
    check_number,
    check_sizes,
    refuse,
    refuse_type,
)
from ..creation import on_device
from ..dtypes import DType, complex64, float32, in_x64, is_inexact, make_array, native
from ..recording import as_operand, dtype_of, shape_of
from ..tape import Traced, wrap
from .families import FUNCTIONS, create

_DEVICE = "\ndevice : jax.Device, optional"
_SHAPE = "shape : int or sequence of int\ndtype : dtype, optional" + _DEVICE
_BAD_SHAPE = (
    "ValueError\n    If a size is negative.\n"
    "TypeError\n    If a size is no int, or no Tensor has the dtype."
)
_LIKE = (
    "x : Tensor or raw array, any shape\ndtype : dtype, optional\n    That of x by default."
    + _DEVICE
)


@create(
    "obj : Tensor, raw array, number or nested lists of numbers\ndtype : dtype, optional\n"
    "device : jax.Device, optional\n"
    "copy : bool, optional\n    True copies, False refuses to; None copies where it has to.",
    "the shape of obj",
    "ValueError\n    If ``copy=False`` and a copy is needed.\n"
    "TypeError\n    If `obj` is none of these.",
)
def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """Return a Tensor; gradients pass through one that is given."""
    return on_device("asarray", _as_tensor("asarray", obj, dtype, copy), device)


def _as_tensor(name: str, obj: Any, dtype: Any, copy: bool | None) -> Any:
    """Return a Tensor of what holds numbers, in the name of an operation."""
    copy = None if copy is None else check_flag(name, "copy", copy)
    if isinstance(obj, Traced | jax.Array):
        # Arrays of JAX cannot change: a copy is not told from the original. # ops-16
        check_dtype(name, dtype_of(obj))
        same = dtype is None or dtype_of(obj) == as_dtype(name, dtype)
        if same and copy and isinstance(obj, Traced):
            return FUNCTIONS["astype"](obj, obj._data.dtype)
        if same:
            return obj if isinstance(obj, Traced) else creation.from_array(obj)
        if copy is not False:
            check_cast(name, dtype_of(obj), as_dtype(name, dtype))
            return FUNCTIONS["astype"](obj, dtype)
    if copy is False:  # ops-16
        msg = f"{name}: copy must be True or None for this {type(obj).__name__}, got False"
        raise ValueError(msg)
    if isinstance(obj, array.array | memoryview):
        obj = _of_memory(name, obj)
    if not isinstance(obj, int | float | complex | list | tuple | np.ndarray | np.generic):
        # ops-21
        refuse_type(name, "obj", "a Tensor, a raw array, numbers or lists of them", obj)
    return creation.made(name, obj, dtype)


def _of_memory(name: str, obj: Any) -> Any:
    """Return the NumPy array of an object's memory; raise `TypeError` if it has no numbers."""
    try:
        return np.asarray(obj)
    except (TypeError, ValueError, NotImplementedError):
        refuse_type(name, "obj", "of memory with numbers of one dtype", obj)


@create(_SHAPE, "of that shape", _BAD_SHAPE)
def zeros(shape: int | Sequence[int], *, dtype: Any = None, device: Any = None) -> Any:
    """Return zeros, float32 by default."""
    return on_device("zeros", creation.zeros(shape, dtype=dtype), device)


@create(_SHAPE, "of that shape", _BAD_SHAPE)
def ones(shape: int | Sequence[int], *, dtype: Any = None, device: Any = None) -> Any:
    """Return ones, float32 by default."""
    return on_device("ones", creation.ones(shape, dtype=dtype), device)


@create(_SHAPE.replace("\n", "\nfill_value : number\n"), "of that shape", _BAD_SHAPE)
def full(
    shape: int | Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None
) -> Any:
    """Return one value everywhere; its dtype follows the number as in `tensor`."""
    return on_device("full", creation.full(shape, fill_value, dtype=dtype), device)


@create(
    "start, stop, step : number\n    `start` alone is where to stop.\ndtype : dtype, optional"
    + _DEVICE,
    "shape (count,)",
    "ValueError\n    If `step` is 0.",
)
def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
) -> Any:
    """Return the numbers from `start` (0 if alone) to before `stop`, int64 if all are ints."""
    return on_device("arange", creation.arange(start, stop, step, dtype=dtype), device)


def _like(name: str, x: Any, number: int, dtype: Any) -> Any:
    x = as_operand(name, x)
    wanted = dtype_of(x) if dtype is None else as_dtype(name, dtype)
    return wrap(make_array(np.full(shape_of(x), number, wanted)))


@create(_LIKE, "the shape of x", "TypeError\n    If `x` is no array, or no Tensor has the dtype.")
def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """Return zeros of `x`'s shape and dtype."""
    return on_device("zeros_like", _like("zeros_like", x, 0, dtype), device)


@create(_LIKE, "the shape of x", "TypeError\n    If `x` is no array, or no Tensor has the dtype.")
def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """Return ones of `x`'s shape and dtype."""
    return on_device("ones_like", _like("ones_like", x, 1, dtype), device)


@create(_SHAPE, "of that shape", _BAD_SHAPE)
def empty(shape: int | Sequence[int], *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array whose contents are not specified; here they are zeros."""
    return on_device("empty", creation.empty(shape, dtype=dtype), device)


@create(_LIKE, "the shape of x", "TypeError\n    If `x` is no array, or no Tensor has the dtype.")
def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array like `x` whose contents are not specified; here they are zeros."""
    return on_device("empty_like", _like("empty_like", x, 0, dtype), device)


@create(
    _LIKE.replace("\n", "\nfill_value : number\n", 1),
    "the shape of x",
    "ValueError\n    If the dtype does not hold the number.\n"
    "TypeError\n    If `x` is no array, or no Tensor has the dtype.",
)
def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """Return one value everywhere, in `x`'s shape and dtype."""
    x = as_operand("full_like", x)
    wanted = dtype_of(x) if dtype is None else dtype
    made = creation.filled("full_like", shape_of(x), fill_value, wanted)
    return on_device("full_like", made, device)


@create(
    "n_rows, n_cols : int\n    As many columns as rows by default.\nk : int\n"
    "    The diagonal that has ones.\ndtype : dtype, optional" + _DEVICE,
    "shape (n_rows, n_cols)",
    "ValueError\n    If a size is negative.\nTypeError\n    If a size or `k` is no int.",
)
def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
) -> Any:
    """Return a matrix with ones on a diagonal, and zeros elsewhere."""
    rows, columns = check_sizes("eye", (n_rows, n_rows if n_cols is None else n_cols))
    place = max(-rows, min(check_int("eye", "k", k), columns))
    return on_device("eye", creation.host("eye", np.eye(rows, columns, place), dtype), device)


def _end(name: str, argument: str, value: Any) -> Any:
    """Return a float or complex number."""
    number = as_number(value)
    if isinstance(number, complex):
        return number
    return float(check_number(name, argument, value))


def _between(name: str, dtype: Any, first: Any, last: Any) -> DType:
    """Return the dtype of numbers between two; raise `TypeError` if it does not hold them."""
    number = isinstance(first, complex) or isinstance(last, complex)
    wanted = as_dtype(name, dtype, complex64 if number else float32)
    if not is_inexact(wanted) or (number and wanted.kind != "c"):  # ops-47
        kinds = "complex" if number else "floating or complex"
        msg = f"{name}: dtype must be {kinds}, got {wanted}"
        raise TypeError(msg)
    return wanted


@create(
    "start, stop : number\nnum : int\n    How many.\ndtype : dtype, optional\n"
    "    float32 by default, or complex64 between complex numbers."
    + _DEVICE
    + "\nendpoint : bool\n    Whether `stop` is the last.",
    "shape (num,)",
    "ValueError\n    If `num` is negative.\n"
    "TypeError\n    If `num` is no int, an end no number, or the dtype does not hold them.",
)
def linspace(
    start: float,
    stop: float,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
) -> Any:
    """Return numbers at equal distances, computed in 64 bits and rounded once."""
    name = "linspace"
    first, last = _end(name, "start", start), _end(name, "stop", stop)
    count = check_int(name, "num", num)
    if count < 0:  # ops-47
        refuse(name, "num", "at least 0", count)
    check_sizes(name, count)
    wanted = _between(name, dtype, first, last)
    ends = check_flag(name, "endpoint", endpoint)
    with np.errstate(all="ignore"):
        values = np.linspace(first, last, count, endpoint=ends)
        rounded = values.astype(wanted)
    return on_device(name, creation.host(name, rounded, wanted), device)


@create(
    "x : Tensor, raw array, numpy.ndarray or object with ``__dlpack__``" + _DEVICE + "\n"
    "copy : bool, optional\n    True copies, False refuses to; None copies where it has to.",
    "the shape of x",
    "ValueError\n    If ``copy=False`` and a copy is needed.\n"
    "TypeError\n    If `x` has no ``__dlpack__``, or no Tensor has its dtype.",
)
def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """Return a Tensor of an array of other software; gradients pass through a Tensor."""
    name = "from_dlpack"
    if not isinstance(x, Traced | jax.Array | np.ndarray):  # ops-48
        if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
            refuse_type(name, "x", "an array with __dlpack__", x)
        x = _borrowed(x)
    if isinstance(x, np.ndarray):
        x = native(x)
        check_dtype(name, x.dtype)
    return on_device(name, _as_tensor(name, x, None, copy), device)


@in_x64
def _borrowed(x: Any) -> Any:
    """Return an array of other software as one of NumPy, or as a jax.Array on other devices."""
    # DLPack's number for the memory of the host is 1. What is there is read by NumPy, and copied
    # then, since arrays of JAX must not change.
    return np.from_dlpack(x) if int(x.__dlpack_device__()[0]) == 1 else jax.dlpack.from_dlpack(x)
