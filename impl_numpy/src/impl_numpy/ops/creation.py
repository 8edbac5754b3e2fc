"""Making arrays, under the signatures of the array API."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import creation
from impl_numpy.checks import (
    check_cast,
    check_count,
    check_device,
    check_diagonal,
    check_dtype,
    check_fits,
    check_flag,
    check_scalar,
    check_sizes,
)
from impl_numpy.dtypes import DTYPES, complex64, float32, is_raw
from impl_numpy.ops.elementwise import astype
from impl_numpy.ops.families import create, registered, spread_to
from impl_numpy.tensor import Tensor, as_tensor, wrap

zeros = create("zeros", creation.zeros, "(shape, *, dtype=None, device=None)", "Return zeros.")
ones = create("ones", creation.ones, "(shape, *, dtype=None, device=None)", "Return ones.")
empty = create(
    "empty",
    creation.empty,
    "(shape, *, dtype=None, device=None)",
    "Return unspecified values.",
)
full = create(
    "full",
    creation.full,
    "(shape, fill_value, *, dtype=None, device=None)",
    "Return one value everywhere.",
)
eye = create(
    "eye",
    lambda rows, columns=None, k=0, dtype=None: _eye(rows, columns, k, dtype),
    "(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)",
    "Return 1 on a diagonal, 0 elsewhere.",
)
linspace = create(
    "linspace",
    lambda start, stop, num, dtype=None, endpoint=True: _linspace(
        start, stop, num, dtype, endpoint
    ),
    "(start, stop, /, num, *, dtype=None, device=None, endpoint=True)",
    "Return numbers at equal distances.",
)
arange = create(
    "arange",
    creation.arange,
    "(start, /, stop=None, step=1, *, dtype=None, device=None)",
    "Return numbers from start, or 0, to before stop.",
)
zeros_like = create(
    "zeros_like",
    lambda x, dtype=None: _like("zeros_like", creation.zeros, x, dtype),
    "(x, /, *, dtype=None, device=None)",
    "Return zeros of the shape and dtype of x.",
)
ones_like = create(
    "ones_like",
    lambda x, dtype=None: _like("ones_like", creation.ones, x, dtype),
    "(x, /, *, dtype=None, device=None)",
    "Return ones of the shape and dtype of x.",
)


empty_like = create(
    "empty_like",
    lambda x, dtype=None: _like("empty_like", creation.empty, x, dtype),
    "(x, /, *, dtype=None, device=None)",
    "Return unspecified values, of the shape and dtype of x.",
)
full_like = create(
    "full_like",
    lambda x, fill_value, dtype=None: _full_like(x, fill_value, dtype),
    "(x, /, fill_value, *, dtype=None, device=None)",
    "Return one value everywhere, of the shape and dtype of x.",
)


def _full_like(x: Any, fill_value: Any, dtype: DTypeLike | None) -> Tensor:
    x = as_tensor("full_like", x)
    wanted = x.dtype if dtype is None else check_dtype(dtype, "full_like")
    number = check_scalar("full_like", "fill_value", fill_value, wanted)
    check_fits("full_like", number, wanted)  # tensor-38
    return creation.full(x.shape, number, dtype=wanted)


def _eye(rows: Any, columns: Any, k: Any, dtype: DTypeLike | None) -> Tensor:
    shape = (
        check_count("eye", "n_rows", rows),
        check_count("eye", "n_cols", rows if columns is None else columns),
    )
    wanted = float32 if dtype is None else check_dtype(dtype, "eye")
    check_sizes(shape, "eye")
    return wrap(np.eye(*shape, check_diagonal("eye", k, shape), wanted), None)


def _linspace(start: Any, stop: Any, num: Any, dtype: DTypeLike | None, endpoint: Any) -> Tensor:
    wanted = None if dtype is None else check_dtype(dtype, "linspace")
    first = check_scalar("linspace", "start", start, wanted)
    last = check_scalar("linspace", "stop", stop, wanted)
    count = check_count("linspace", "num", num)
    of: Any = complex if isinstance(first, complex) or isinstance(last, complex) else float
    if wanted is None:
        wanted = complex64 if of is complex else float32
    if wanted.kind not in "fc":
        msg = f"linspace: dtype must be floating or complex, got {wanted}"
        raise TypeError(msg)
    ends = check_flag("linspace", "endpoint", endpoint)
    with np.errstate(all="ignore"):
        made = np.linspace(of(first), of(last), count, endpoint=ends)
        return wrap(made.astype(wanted), None)  # ops-47


_DLPACK = """Parameters
----------
x : Tensor, raw array, or what has __dlpack__
device : 'cpu', optional
copy : bool, optional
    True always copies, False never does, None only where it must.

Returns
-------
Tensor; gradients pass through a Tensor that is given

Raises
------
ValueError, BufferError
    If a copy is needed and forbidden, or the device is another.
TypeError
    If x has no __dlpack__, or its dtype is none that Tensors have."""


@registered("from_dlpack", "Return a Tensor of an array of other software.", _DLPACK)
def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:  # ops-48
    check_device("from_dlpack", device)
    copy = None if copy is None else check_flag("from_dlpack", "copy", copy)
    if isinstance(x, Tensor) or is_raw(x):
        given = as_tensor("from_dlpack", x)
        return asarray(given, copy=True) if copy else given
    if not hasattr(x, "__dlpack__"):
        msg = f"from_dlpack: wants an array with __dlpack__, got {type(x).__name__}"
        raise TypeError(msg)
    try:
        array = np.from_dlpack(x, copy=copy)
    except (RuntimeError, TypeError) as error:
        msg = f"from_dlpack: cannot take a {type(x).__name__}: {' '.join(str(error).split())}"
        raise TypeError(msg) from None
    return as_tensor("from_dlpack", array)


def _of_memory(obj: Any) -> Any:
    """Return an object of Python's buffer protocol as a copied array, and all else as it is."""
    if isinstance(obj, (Tensor, bool, int, float, complex, list, tuple, bytes, bytearray, str)):
        return obj
    if is_raw(obj):
        return obj
    try:
        return np.array(memoryview(obj))
    except TypeError:
        return obj


def _like(name: str, constructor: Any, x: Any, dtype: DTypeLike | None) -> Tensor:
    x = as_tensor(name, x)
    wanted = x.dtype if dtype is None else check_dtype(dtype, name)
    result: Tensor = constructor(x.shape, dtype=wanted)
    return result


_ASARRAY = """Parameters
----------
obj : what `tensor` takes
dtype : dtype, optional
device : 'cpu', optional
copy : bool, optional
    True always copies, False never does, None only where it must.

Returns
-------
Tensor; gradients pass through a Tensor that is given

Raises
------
ValueError
    If a copy is needed and forbidden, or the device is another.
TypeError
    If obj holds what is no number."""


@registered("asarray", "Return a Tensor of what `tensor` takes.", _ASARRAY)
def asarray(
    obj: Any,
    /,
    *,
    dtype: DTypeLike | None = None,
    device: Any = None,
    copy: bool | None = None,
) -> Tensor:  # ops-16
    check_device("asarray", device)
    copy = None if copy is None else check_flag("asarray", "copy", copy)
    wanted = None if dtype is None else check_dtype(dtype, "asarray")
    if copy is not False:
        obj = _of_memory(obj)
    foreign = wanted is not None and is_raw(obj) and obj.dtype not in DTYPES  # tensor-37
    if not isinstance(obj, Tensor) and (foreign or not is_raw(obj)):
        if copy is False:
            msg = f"asarray: copy=False, but a {type(obj).__name__} needs a copy"
            raise ValueError(msg)
        return wrap(creation.from_data(obj, wanted, "asarray"), None)
    x = as_tensor("asarray", obj)
    if wanted is not None and wanted != x.dtype:
        if copy is False:
            msg = f"asarray: copy=False, but {x.dtype} to {wanted} needs a copy"
            raise ValueError(msg)
        check_cast("asarray", x._data, wanted)  # tensor-38
        return astype(x, wanted)
    if not copy:
        return x
    result = spread_to(x, x.shape, x.dtype)
    result._data = x._data.copy()
    return result
