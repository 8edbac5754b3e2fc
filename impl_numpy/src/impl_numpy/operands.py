"""What may stand next to an array in an operation: another array, or a number (tensor-15)."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.checks import as_scalar, check_raw
from impl_numpy.dtypes import WHOLE, bool_, complex64, float32, int64

_array = np.array


def operand(value: Any, dtype: np.dtype[Any], operation: str) -> Any:
    """Return what stands next to an array as a raw array; a number takes the Tensor's dtype."""
    number = type(value)  # tensor-15
    if number is float:
        return _array(value, dtype if dtype.kind in "fc" else float32)
    if number is int:
        try:
            return _array(value, int64 if dtype == bool_ else dtype)
        except OverflowError:
            msg = f"{operation}: {value} does not fit into {dtype}"
            raise ValueError(msg) from None  # tensor-38
    if number is bool:
        return _array(value, dtype)
    if isinstance(value, np.ndarray):
        return check_raw(value, operation)
    if number is complex:
        return _array(value, WHOLE.get(dtype, complex64))
    plain = as_scalar(value)  # tensor-39
    if plain is None:
        return None
    if type(plain) not in (bool, int, float, complex):
        plain = float(plain)  # type: ignore[arg-type]
    return operand(plain, dtype, operation)
