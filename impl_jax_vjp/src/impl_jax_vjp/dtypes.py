"""The dtypes of Tensors, and which of them a result has."""

from typing import Any

import jax
import numpy as np

# int64 and float64 are part of the specification, and JAX rounds both to 32 bits unless told so.
jax.config.update("jax_enable_x64", True)

DType = np.dtype[Any]

float32 = np.dtype("float32")
float64 = np.dtype("float64")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
bool_ = np.dtype("bool")

DTYPES = frozenset({float32, float64, int32, int64, bool_})
FLOATING = frozenset({float32, float64})


def is_floating(dtype: Any) -> bool:
    """Tell whether gradients exist for a dtype."""
    return dtype in FLOATING


def promote(x: DType, y: DType) -> DType:
    """Return the dtype of a result: floating wins over integers, the wider one of two."""
    if x == y or is_floating(x) > is_floating(y):
        return x
    if is_floating(y) > is_floating(x):
        return y
    return np.promote_types(x, y)


def promote_number(number: Any, dtype: DType) -> DType:
    """Return the dtype of a result of a Python number and an array of `dtype`."""
    if is_floating(dtype) or isinstance(number, bool):
        return dtype
    if isinstance(number, float):
        return float32
    return int64 if dtype == bool_ else dtype


def floating(dtype: DType) -> DType:
    """Return the dtype in which a real function of an array of `dtype` is computed."""
    return dtype if is_floating(dtype) else float32  # ops-14


def accumulated(dtype: DType) -> DType:
    """Return the dtype in which elements of `dtype` are added or multiplied up."""
    return int64 if dtype.kind in "bi" else dtype  # ops-15, ops-22
