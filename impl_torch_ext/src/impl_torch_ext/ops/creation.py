"""Arrays from nothing, from a shape, or like another."""

from typing import Any

import torch
from torch import Tensor

from impl_torch_ext import creation
from impl_torch_ext.checks import Shape, check_dtype, check_flag
from impl_torch_ext.dtypes import DTYPES
from impl_torch_ext.ops.families import create, like

zeros_like = like("zeros_like", torch.zeros_like, "zeros")
ones_like = like("ones_like", torch.ones_like, "ones")

_SHAPE = "int or tuple of ints"
_DTYPE = "dtype, optional\nfloat32 if left out or None."


@create("Tensor, shape `shape`", shape=_SHAPE, dtype=_DTYPE)
def zeros(shape: Shape, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return zeros."""
    return creation.zeros(shape, dtype=dtype)


@create("Tensor, shape `shape`", shape=_SHAPE, dtype=_DTYPE)
def ones(shape: Shape, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return ones."""
    return creation.ones(shape, dtype=dtype)


@create(
    "Tensor, shape `shape`",
    shape=_SHAPE,
    fill_value="number",
    dtype="dtype, optional\nThat of the number if left out or None.",
)
def full(shape: Shape, fill_value: float, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return `fill_value` everywhere."""
    return creation.full(shape, fill_value, dtype=dtype)


@create(
    "Tensor, shape (ceil((stop - start) / step),)",
    **{"start, stop, step": "number"},
    dtype="dtype, optional\nint64 if all are ints, else float32, if left out or None.",
)
def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Return the numbers from `start` (0 if `stop` is left out) to below `stop`."""
    return creation.arange(start, stop, step, dtype=dtype)


@create(
    "Tensor, `obj` itself if it is one of that dtype and `copy` is not true",
    obj="Tensor, array, number, or nested lists of numbers",
    dtype="dtype, optional\nThat of `obj` if left out or None.",
    copy="bool, optional\nTrue always copies, False never.",
)
def asarray(obj: Any, /, *, dtype: torch.dtype | None = None, copy: bool | None = None) -> Tensor:
    """Return `obj` as a Tensor."""
    if dtype is not None:
        dtype = check_dtype("asarray", dtype)
    if copy is not None:
        copy = check_flag("asarray", "copy", copy)
    shares = isinstance(obj, Tensor) and dtype in (None, obj.dtype)
    if copy is False and not shares:  # ops-16
        came = f"{obj.dtype}" if isinstance(obj, Tensor) else type(obj).__name__
        msg = f"asarray: copy=False must not need a copy, got {came} for dtype {dtype}"
        raise ValueError(msg)
    if not isinstance(obj, Tensor) or (dtype is not None and obj.dtype not in DTYPES):
        return creation.copied("asarray", obj, dtype)
    check_dtype("asarray", obj.dtype)  # tensor-37
    result = obj if dtype is None else creation.converted("asarray", obj, dtype)
    return result.clone() if copy and shares else result
