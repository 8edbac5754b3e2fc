"""What functions of `ops` take: Tensors, NumPy's arrays and numbers beside them."""

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import check_fits, check_tensor
from impl_torch_ext.dtypes import (
    FIVE,
    WITH_COMPLEX,
    float32,
    int64,
    is_inexact,
    is_integer,
    plain_number,
)
from impl_torch_ext.tensor import from_numpy

__all__ = ["SMALL", "Operand", "array_of_reals", "arrays_of", "operands", "with_number"]

Operand: TypeAlias = Tensor | complex

_NUMBERS = frozenset({bool, int, float})
# The integers among the five hold the ints from -SMALL to below SMALL.
SMALL = 2**31


def operands(name: str, *values: Any, alone: bool = False) -> list[Any]:
    """Return the operands, NumPy's arrays as Tensors and its scalars as numbers, or raise.

    Parameters
    ----------
    name : str
        The function, for messages.
    *values
        At least one must be a Tensor, unless `alone`.
    alone : bool
        Whether numbers may stand alone.
    """
    converted = [
        x
        if type(x) in _NUMBERS or (isinstance(x, Tensor) and x.dtype in FIVE)
        else _operand(name, x)
        for x in values
    ]
    if not alone and not any(isinstance(x, Tensor) for x in values):
        came = " and ".join(type(x).__name__ for x in values)
        msg = f"{name}: at least one operand must be a Tensor, got {came}"
        raise TypeError(msg)
    return converted


def with_number(name: str, x1: Operand, x2: Operand, compares: bool = False) -> tuple[Any, Any]:
    """Return two operands, a number among them as the dtype of the Tensor beside it holds it.

    Raises
    ------
    ValueError
        If that is an int which the dtype does not hold, unless the operands are compared.
    """
    if type(x2) is int and isinstance(x1, Tensor) and not _fits_well(x1, x2):
        return _beside(name, x1, x2, compares)
    if type(x1) is int and isinstance(x2, Tensor) and not _fits_well(x2, x1):
        x2, x1 = _beside(name, x2, x1, compares)
    return x1, x2


def _fits_well(x: Tensor, number: int) -> bool:
    if x.dtype in FIVE or not is_integer(x.dtype):
        return -SMALL <= number < SMALL
    limits = torch.iinfo(x.dtype)
    return limits.min <= number <= limits.max


def _beside(name: str, x: Tensor, number: int, compares: bool) -> tuple[Tensor, float]:
    if is_inexact(x.dtype):
        check_fits(name, number, x.dtype)
        return x, float(number)
    if compares and not -(2**63) <= number < 2**63:
        return x, math.inf if number > 0 else -math.inf
    if compares:
        return x.to(int64), number
    check_fits(name, number, x.dtype)
    return x, number


def arrays_of(name: str, arrays: Any) -> list[Tensor]:
    """Return a sequence of Tensors and NumPy arrays as Tensors, or raise."""
    if not isinstance(arrays, list | tuple):
        msg = f"{name}: arrays must be a list or tuple of Tensors, got {type(arrays).__name__}"
        raise TypeError(msg)
    if not arrays:
        msg = f"{name}: arrays must not be empty, got {arrays!r}"
        raise ValueError(msg)
    if all(isinstance(x, Tensor) and x.dtype in FIVE for x in arrays):
        return list(arrays)
    return [check_tensor(name, x, "each of arrays") for x in operands(name, *arrays)]


def _operand(name: str, x: Any) -> Any:
    if isinstance(x, Tensor):
        return check_tensor(name, x, "each operand")
    if isinstance(x, np.ndarray):  # tensor-33
        return check_tensor(name, from_numpy(name, x), "each operand")
    number = plain_number(x)  # tensor-15
    if isinstance(number, bool | int | float):
        return number
    if isinstance(number, complex):
        if name in WITH_COMPLEX:
            return number
        msg = f"{name}: operands must be real, got {number}, which is complex"
        raise TypeError(msg)  # ops-59
    msg = f"{name}: operands must be Tensors or numbers, got {type(x).__name__}"
    raise TypeError(msg)  # ops-21


def array_of_reals(name: str, x: Tensor) -> Tensor:
    """Return `x`, as float32 if it is neither floating nor, where `name` takes it, complex."""
    return x if is_inexact(check_tensor(name, x).dtype) else x.to(float32)  # ops-14
