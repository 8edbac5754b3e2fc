"""The dtypes of Tensors, and which one an operation on two of them has."""

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
_ORDER = (bool_, int32, int64, float32, float64)
_RANK = {dtype: rank for rank, dtype in enumerate(_ORDER)}


def promote(first: np.dtype[Any], second: np.dtype[Any]) -> np.dtype[Any]:
    """Give the dtype of an operation between two arrays."""
    return first if _RANK[first] >= _RANK[second] else second


def is_supported(dtype: np.dtype[Any]) -> bool:
    """Tell whether a Tensor can have this dtype."""
    return dtype in _RANK


def as_dtype(operation: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Turn what a user gave as ``dtype=`` into one of the five dtypes; None is float32.

    Raises
    ------
    TypeError
        If it is none of them.
    """
    try:
        found = float32 if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in _RANK:
        names = ", ".join(each.name for each in _ORDER)
        msg = f"{operation}: dtype must be one of {names}, got {dtype!r}"
        raise TypeError(msg)
    return found


def as_floating(operation: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Turn ``dtype=`` into float32 or float64.

    Raises
    ------
    TypeError
        If it is no floating dtype.
    """
    found = as_dtype(operation, dtype)
    if found.kind != "f":
        msg = f"{operation}: dtype must be float32 or float64, got {found.name}"
        raise TypeError(msg)
    return found
