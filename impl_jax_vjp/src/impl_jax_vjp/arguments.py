"""Checks of the arguments of layers."""

from typing import Any

import numpy as np

from .arithmetic import as_dtype
from .tape import is_floating


def positive_int(module: str, argument: str, value: Any) -> int:
    """Return a size, or raise an error that names the Module, the argument and the value."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        msg = f"{module}: {argument} must be a positive int, got {value!r}"
        raise TypeError(msg)
    size = value.__index__()
    if size <= 0:
        msg = f"{module}: {argument} must be a positive int, got {size}"
        raise ValueError(msg)
    return size


def floating_dtype(module: str, dtype: Any) -> np.dtype[Any]:
    """Return the dtype of a layer's parameters, float32 for None, or raise an error."""
    wanted = as_dtype(module, dtype)
    if not is_floating(wanted):
        msg = f"{module}: dtype must be float32 or float64, got {wanted}"
        raise ValueError(msg)
    return wanted
