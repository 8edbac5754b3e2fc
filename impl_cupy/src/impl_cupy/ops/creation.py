"""Making arrays inside differentiable code, under the array API's signatures."""

from __future__ import annotations

from typing import Any

from impl_cupy import creation
from impl_cupy.backend import cp
from impl_cupy.dtypes import DTypeLike, as_dtype
from impl_cupy.ops.elementwise import astype
from impl_cupy.ops.primitive import as_tensor
from impl_cupy.tensor import Tensor, wrap


def asarray(obj: Any, /, *, dtype: DTypeLike = None, copy: bool | None = None) -> Tensor:
    """Make a Tensor; one that is a Tensor already keeps its history.

    Parameters
    ----------
    obj : Tensor, raw array, number or nested lists of numbers
    dtype : dtype, optional
    copy : bool, optional
        True forces a copy.
    """
    if isinstance(obj, (Tensor, cp.ndarray)):
        value = as_tensor("asarray", obj)
        wanted = value.dtype if dtype is None else dtype
        return astype(value, wanted, copy=bool(copy))
    return creation.tensor(obj, dtype=dtype)


def zeros(shape: Any, *, dtype: DTypeLike = None) -> Tensor:
    """Make zeros, float32 unless told."""
    return creation.zeros(shape, dtype=dtype)


def ones(shape: Any, *, dtype: DTypeLike = None) -> Tensor:
    """Make ones, float32 unless told."""
    return creation.ones(shape, dtype=dtype)


def full(shape: Any, fill_value: Any, *, dtype: DTypeLike = None) -> Tensor:
    """Make an array of one value, whose dtype follows the value unless told."""
    return creation.full(shape, fill_value, dtype=dtype)


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: DTypeLike = None
) -> Tensor:
    """Make evenly spaced numbers below `stop`."""
    return creation.arange(start, stop, step, dtype=dtype)


def zeros_like(x: Any, /, *, dtype: DTypeLike = None) -> Tensor:
    """Make zeros of the shape and dtype of `x`."""
    value = as_tensor("zeros_like", x)
    wanted = value.dtype if dtype is None else as_dtype("zeros_like", dtype)
    return wrap(cp.zeros(value.shape, dtype=wanted))


def ones_like(x: Any, /, *, dtype: DTypeLike = None) -> Tensor:
    """Make ones of the shape and dtype of `x`."""
    value = as_tensor("ones_like", x)
    wanted = value.dtype if dtype is None else as_dtype("ones_like", dtype)
    return wrap(cp.ones(value.shape, dtype=wanted))
