"""The dtypes of Tensors and of numbers, and which one an operation on two of them has."""

from __future__ import annotations

from typing import Any

import numpy as np

float32 = np.dtype("float32")
float64 = np.dtype("float64")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
bool_ = np.dtype("bool")

DTypeLike = Any

# A wider or more general dtype stands later; of two the later one results, so that int64 with
# float32 is float32 (tensor-16), where NumPy would have float64.
dtypes = (bool_, int32, int64, float32, float64)
_RANK = {dtype: rank for rank, dtype in enumerate(dtypes)}


def promote(first: np.dtype[Any], second: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of an operation between two arrays."""
    return first if _RANK[first] >= _RANK[second] else second


def is_supported(dtype: np.dtype[Any]) -> bool:
    """Tell whether a Tensor can have this dtype."""
    return dtype in _RANK


def native(host: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a NumPy array in the machine's byte order: itself, or a copy (tensor-37)."""
    return host if host.dtype.isnative else host.astype(host.dtype.newbyteorder("="))


def number_dtype(number: bool | int | float) -> np.dtype[Any]:
    """Return the dtype of an array of a Python number."""
    if isinstance(number, bool):
        return bool_
    return int64 if isinstance(number, int) else float32


def plain(value: np.generic) -> Any:
    """Return a NumPy scalar as a number of Python's; itself if it is no real number."""
    # item() of a longdouble is a longdouble.
    made = {"b": bool, "i": int, "u": int, "f": float}.get(value.dtype.kind)
    return value if made is None else made(value)


def held(dtype: np.dtype[Any], value: Any) -> Any:
    """Return what a number becomes in a dtype of integers or booleans, None if it does not fit."""
    try:
        made = dtype.type(int(value))
    except (OverflowError, ValueError):
        return None
    return made if made == value else None
