"""The five dtypes, and the types that signatures are written with."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
# A raw array, or a Tensor where the backward pass is itself recorded.
Value: TypeAlias = Any
Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | tuple[int, ...] | None

float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
bool_ = np.dtype(np.bool)
DTYPES = frozenset((float32, float64, int32, int64, bool_))


def promoted(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which arrays of these meet: floating before integer (tensor-16)."""
    for kind in "fi":
        of_kind = [dtype for dtype in dtypes if dtype.kind == kind]
        if of_kind:
            return max(of_kind, key=lambda dtype: dtype.itemsize)
    return bool_


def is_raw(value: object) -> bool:
    """Tell whether NumPy made this array or scalar."""
    return isinstance(value, (np.ndarray, np.generic))


def native(array: Array) -> Array:
    """Return an array in the machine's byte order: itself, or a copy (tensor-37)."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
