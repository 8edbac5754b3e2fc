"""The five dtypes, and what counts as a raw array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.tape import Array

float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
bool_ = np.dtype(np.bool)
DTYPES = frozenset((float32, float64, int32, int64, bool_))


def raw_array(array: Any, operation: str) -> Array:
    """Check that something is a raw array of one of the five dtypes, and return it."""
    if not isinstance(array, np.ndarray):
        got = type(array).__name__
        msg = f"{operation}: wants a numpy.ndarray, got {got}; tensor() takes other data"
        raise TypeError(msg)
    if array.dtype not in DTYPES:
        msg = (
            f"{operation}: the dtype must be float32, float64, int32, int64 or bool, "
            f"got {array.dtype}; cast with astype"
        )
        raise TypeError(msg)
    return np.asarray(array)


def is_raw(value: object) -> bool:
    """Whether NumPy made this array or scalar."""
    return isinstance(value, (np.ndarray, np.generic))


def check_floating(dtype: np.dtype[Any], operation: str) -> None:
    """Refuse a dtype that cannot require grad.

    Raises
    ------
    ValueError
        If it is neither float32 nor float64.
    """
    if dtype.kind != "f":
        msg = f"{operation}: only float32 and float64 can require grad, got {dtype}"
        raise ValueError(msg)


def one_dtype(dtype: DTypeLike, operation: str) -> np.dtype[Any]:
    """One of the five dtypes from whatever NumPy takes for it."""
    found = np.dtype(dtype)
    if found not in DTYPES:
        msg = f"{operation}: the dtype must be float32, float64, int32, int64 or bool, got {found}"
        raise TypeError(msg)
    return found
