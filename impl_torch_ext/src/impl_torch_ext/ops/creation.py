"""Arrays from nothing, from a shape, or like another."""

from array import array
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext import creation
from impl_torch_ext.checks import (
    Shape,
    check_device,
    check_dtype,
    check_fits,
    check_flag,
    check_floating_dtype,
    check_int,
    check_number,
    check_shape,
    check_tensor,
    refuse_dtype,
    shown,
)
from impl_torch_ext.dtypes import (
    DTYPES,
    FROM_NUMPY,
    complex64,
    complex128,
    float32,
    float64,
    plain_number,
)
from impl_torch_ext.ops.families import Op, create, listed
from impl_torch_ext.ops.movement import diagonal

_SHAPE = "int or tuple of ints"
_DTYPE = "dtype, optional\nfloat32 if left out or None."
_DEVICE = "device, optional\nThe one that there is."


def _like(name: str, fn: Op, result: str) -> Op:
    """Add `fn` that makes an array of another one's shape."""

    def op(x: Tensor, /, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        check_device(name, device)
        check_tensor(name, x)
        return fn(x, dtype=dtype if dtype is None else check_dtype(name, dtype))

    op.__name__, op.__doc__ = name, f"Return {result} of the shape of `x`."
    return create(
        "Tensor, the shape of `x`",
        x="Tensor, any shape",
        dtype="dtype, optional\nThat of `x` if left out or None.",
        device=_DEVICE,
    )(op)


zeros_like = _like("zeros_like", torch.zeros_like, "zeros")
ones_like = _like("ones_like", torch.ones_like, "ones")
empty_like = _like("empty_like", torch.empty_like, "unspecified contents")


@create("Tensor, shape `shape`", shape=_SHAPE, dtype=_DTYPE, device=_DEVICE)
def zeros(shape: Shape, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """Return zeros."""
    check_device("zeros", device)
    return creation.zeros(shape, dtype=dtype)


@create("Tensor, shape `shape`", shape=_SHAPE, dtype=_DTYPE, device=_DEVICE)
def ones(shape: Shape, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """Return ones."""
    check_device("ones", device)
    return creation.ones(shape, dtype=dtype)


@create(
    "Tensor, shape `shape`",
    shape=_SHAPE,
    fill_value="number",
    dtype="dtype, optional\nThat of the number if left out or None.",
    device=_DEVICE,
)
def full(
    shape: Shape, fill_value: float, *, dtype: torch.dtype | None = None, device: Any = None
) -> Tensor:
    """Return `fill_value` everywhere."""
    check_device("full", device)
    return creation.full(shape, fill_value, dtype=dtype)


@create(
    "Tensor, shape (ceil((stop - start) / step),)",
    **{"start, stop, step": "number"},
    dtype="dtype, optional\nint64 if all are ints, else float32, if left out or None.",
    device=_DEVICE,
)
def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """Return the numbers from `start` (0 if `stop` is left out) to below `stop`."""
    check_device("arange", device)
    return creation.arange(start, stop, step, dtype=dtype)


@create(
    "Tensor, `obj` itself if it is one of that dtype and `copy` is not true",
    obj="Tensor, array, number, or nested lists of numbers",
    dtype="dtype, optional\nThat of `obj` if left out or None.",
    device=_DEVICE,
    copy="bool, optional\nTrue always copies, False never.",
)
def asarray(
    obj: Any,
    /,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
) -> Tensor:
    """Return `obj` as a Tensor."""
    check_device("asarray", device)
    if dtype is not None:
        dtype = check_dtype("asarray", dtype)
    if copy is not None:
        copy = check_flag("asarray", "copy", copy)
    shares = isinstance(obj, Tensor) and dtype in (None, obj.dtype)
    if copy is False and not shares:  # ops-16
        came = f"{obj.dtype}" if isinstance(obj, Tensor) else type(obj).__name__
        msg = f"asarray: copy=False must not need a copy, got {came} for dtype {dtype}"
        raise ValueError(msg)
    if isinstance(obj, memoryview | array):  # ops-16
        obj = np.asarray(obj)
    if not isinstance(obj, Tensor) or (dtype is not None and obj.dtype not in DTYPES):
        return creation.copied("asarray", obj, dtype)
    check_dtype("asarray", obj.dtype)  # tensor-37
    result = obj if dtype is None else creation.converted("asarray", obj, dtype)
    return result.clone() if copy and shares else result


@create("Tensor, shape `shape`", shape=_SHAPE, dtype=_DTYPE, device=_DEVICE)
def empty(shape: Shape, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """Return unspecified contents."""
    check_device("empty", device)
    return creation.empty(shape, dtype=dtype)


@create(
    "Tensor, the shape of `x`",
    x="Tensor, any shape",
    fill_value="number",
    dtype="dtype, optional\nThat of `x` if left out or None.",
    device=_DEVICE,
)
def full_like(
    x: Tensor, /, fill_value: float, *, dtype: torch.dtype | None = None, device: Any = None
) -> Tensor:
    """Return `fill_value` everywhere, in the shape of `x`."""
    check_device("full_like", device)
    kind = check_tensor("full_like", x).dtype if dtype is None else dtype
    value = creation.copied("full_like", plain_number(fill_value), kind)
    if value.ndim != 0:
        msg = f"full_like: fill_value must be a number, got shape {tuple(value.shape)}"
        raise ValueError(msg)
    return value.expand(x.shape).clone()


@create(
    "Tensor, shape (n_rows, n_cols)",
    n_rows="int",
    n_cols="int, optional\nAs `n_rows` if left out or None.",
    k="int\nHow far above the diagonal the ones stand.",
    dtype=_DTYPE,
    device=_DEVICE,
)
def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: torch.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """Return ones on a diagonal, and zeros elsewhere."""
    check_device("eye", device)
    rows, columns = check_shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    kind = float32 if dtype is None else check_dtype("eye", dtype)
    offset = diagonal("eye", k, rows, columns)
    return (torch.arange(rows)[:, None] + offset == torch.arange(columns)).to(kind)


def _end(which: str, x: Any) -> complex:
    number = plain_number(x)
    if isinstance(number, complex):
        return number
    number = check_number("linspace", which, number)
    if isinstance(number, int):
        check_fits("linspace", number, float64)
    return number


def _kind_of_numbers(dtype: Any, wide: torch.dtype) -> torch.dtype:
    """Return the dtype of `linspace`, whose ends are of the dtype `wide`, or raise (ops-47)."""
    if dtype is not None and check_dtype("linspace", dtype).is_complex:
        return check_dtype("linspace", dtype)
    if not wide.is_complex:
        return check_floating_dtype("linspace", dtype)
    if dtype is None:
        return complex64
    msg = f"linspace: dtype must be complex for a complex start or stop, got {shown(dtype)}"
    raise TypeError(msg)


@create(
    "Tensor, shape (num,)",
    **{"start, stop": "number"},
    num="int, at least 0",
    dtype="dtype, optional\nFloating or complex; float32, or complex64 for complex ends, if None.",
    device=_DEVICE,
    endpoint="bool\nWhether `stop` is the last.",
)
def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """Return numbers at equal distances from `start` to `stop`."""
    check_device("linspace", device)
    first, last = (_end(which, x) for which, x in (("start", start), ("stop", stop)))
    wide = complex128 if complex in (type(first), type(last)) else float64
    count = check_int("linspace", "num", num)
    if count < 0:  # ops-47
        msg = f"linspace: num must be at least 0, got {count}"
        raise ValueError(msg)
    kind = _kind_of_numbers(dtype, wide)
    closed = check_flag("linspace", "endpoint", endpoint)
    parts = count - 1 if closed else count
    values = torch.arange(count, dtype=float64).to(wide) * ((last - first) / max(parts, 1)) + first
    if closed and count > 1:
        values[-1] = last
    return values.to(kind)


@listed(
    {
        "x": "Tensor, NumPy array, or anything with `__dlpack__` on this device",
        "device": _DEVICE,
        "copy": "bool, optional\nTrue always copies, False never.",
    },
    "Tensor, which shares the memory of `x` where it can and may",
    {
        "TypeError": "If `x` has no `__dlpack__`, or a dtype that there is not.",
        "BufferError, ValueError": "If `copy` is False and the memory cannot be shared.",
    },
)
def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Return an array of other software as a Tensor."""
    check_device("from_dlpack", device)
    copies = copy if copy is None else check_flag("from_dlpack", "copy", copy)
    if isinstance(x, Tensor):
        return asarray(check_tensor("from_dlpack", x), copy=copies)
    if not hasattr(x, "__dlpack__"):
        msg = f"from_dlpack: x must be an array with __dlpack__, got {type(x).__name__}"
        raise TypeError(msg)
    if isinstance(x, np.ndarray) and x.dtype.newbyteorder("=") not in FROM_NUMPY:
        refuse_dtype("from_dlpack", "x", x.dtype)  # tensor-37
    try:
        shared = torch.from_dlpack(x)
    except BufferError as error:
        if copies is False or not isinstance(x, np.ndarray):
            reason = " ".join(str(error).split())
            msg = f"from_dlpack: the memory of x cannot be shared: {reason}"
            raise BufferError(msg) from None
        return creation.copied("from_dlpack", x, None)
    if shared.dtype not in DTYPES:
        refuse_dtype("from_dlpack", "x", shared.dtype)
    return creation.from_array(shared.clone() if copies else shared)
