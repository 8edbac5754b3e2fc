"""The thirteen dtypes, how they meet, and the types that signatures are written with."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
# A raw array, or a Tensor where the backward pass is itself recorded.
Value: TypeAlias = Any
Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | tuple[int, ...] | None

bool_ = np.dtype(np.bool)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
uint16 = np.dtype(np.uint16)
uint32 = np.dtype(np.uint32)
uint64 = np.dtype(np.uint64)
float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
complex64 = np.dtype(np.complex64)
complex128 = np.dtype(np.complex128)
INTEGERS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
BY_NAME = {
    dtype.name: dtype for dtype in (bool_, *INTEGERS, float32, float64, complex64, complex128)
}
DTYPES = frozenset(BY_NAME.values())
# Those of which Modules, losses, optimizers and files are made (tensor-37).
FIVE = frozenset((float32, float64, int32, int64, bool_))
# The dtype of the parts of a complex number, and what is complex of such parts.
PART: dict[np.dtype[Any], np.dtype[Any]] = {complex64: float32, complex128: float64}
WHOLE: dict[np.dtype[Any], np.dtype[Any]] = {
    float32: complex64,
    float64: complex128,
    complex64: complex64,
    complex128: complex128,
}


@cache
def met(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the dtype in which two meet, or None where they do not (tensor-16)."""
    first, second = sorted((one, other), key=lambda dtype: "buifc".index(dtype.kind))
    if first.kind == second.kind:
        return max(first, second, key=lambda dtype: dtype.itemsize)
    if second.kind == "i" and first.kind == "u":
        bits = 8 * max(2 * first.itemsize, second.itemsize)
        return BY_NAME.get(f"int{bits}")
    if second.kind == "c" and first.kind == "f":
        return max(second, WHOLE[first], key=lambda dtype: dtype.itemsize)
    return second


def promoted(operation: str, *dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which arrays of these meet, one after another.

    Raises
    ------
    TypeError
        Where uint64 would meet signed integers; the message names the operation and both.
    """
    common = bool_
    for dtype in dtypes:
        meeting = common if dtype is common else met(common, dtype)
        if meeting is None:
            msg = f"{operation}: {common} and {dtype} do not meet in one dtype; cast with astype"
            raise TypeError(msg)
        common = meeting
    return common


def is_raw(value: object) -> bool:
    """Tell whether NumPy made this array or scalar."""
    return isinstance(value, (np.ndarray, np.generic))


def native(array: Array) -> Array:
    """Return an array in the machine's byte order: itself, or a copy (tensor-37)."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
