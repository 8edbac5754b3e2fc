"""The five dtypes of the specification, and which of them numbers and NumPy arrays get."""

from typing import Any

import numpy as np
import torch

__all__ = [
    "DTYPES",
    "FROM_NUMPY",
    "TO_NUMPY",
    "bool_",
    "dtype_of",
    "dtype_of_numbers",
    "float32",
    "float64",
    "int32",
    "int64",
    "is_integer",
    "plain_number",
]

float32 = torch.float32
float64 = torch.float64
int32 = torch.int32
int64 = torch.int64
bool_ = torch.bool

# A set, for each operation asks it.
DTYPES = frozenset({float32, float64, int32, int64, bool_})
FROM_NUMPY: dict["np.dtype[np.generic]", torch.dtype] = {
    np.dtype(np.float32): float32,
    np.dtype(np.float64): float64,
    np.dtype(np.int32): int32,
    np.dtype(np.int64): int64,
    np.dtype(np.bool_): bool_,
}
TO_NUMPY = {torchs: numpys for numpys, torchs in FROM_NUMPY.items()}


def dtype_of(spelling: Any) -> torch.dtype | None:
    """Return which of the five dtypes NumPy reads in a name, class or dtype; None for no other."""
    if not isinstance(spelling, str | type | np.dtype):  # NumPy takes None for float64.
        return None
    if isinstance(spelling, str) and "a" in spelling[:2]:  # NumPy warns of this name for bytes.
        return None
    try:
        return FROM_NUMPY.get(np.dtype(spelling))  # tensor-37
    except (TypeError, ValueError, SyntaxError):
        return None


def dtype_of_numbers(*numbers: float) -> torch.dtype:
    """Return the dtype that Python numbers get together: float32, int64 or bool."""
    if not numbers or any(isinstance(number, float) for number in numbers):  # tensor-04
        return float32
    return bool_ if all(isinstance(number, bool) for number in numbers) else int64


def plain_number(x: Any) -> Any:
    """Return a NumPy scalar as the Python number of its value; anything else as it is."""
    if not isinstance(x, np.generic):
        return x
    convert = {"b": bool, "i": int, "u": int, "f": float}.get(x.dtype.kind)  # tensor-39
    return x if convert is None else convert(x)


def is_integer(dtype: torch.dtype) -> bool:
    """Return whether `dtype` is one of integers; booleans are not."""
    return not (dtype.is_floating_point or dtype.is_complex or dtype == bool_)
