"""What the constructors and inputs of layers are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.dtypes import check_floating, float32, is_raw, one_dtype, raw_array
from impl_numpy.tensor import Tensor, wrap


def positive(owner: str, **sizes: int) -> None:
    """Sizes must be positive ints.

    Raises
    ------
    TypeError, ValueError
        With the names of the Module, the argument and the value.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            msg = f"{owner}: {name} must be a positive int, got {size!r}"
            raise TypeError(msg)
        if size <= 0:
            msg = f"{owner}: {name} must be a positive int, got {size}"
            raise ValueError(msg)


def floating_dtype(owner: str, dtype: DTypeLike | None) -> np.dtype[Any]:
    """The dtype of a layer's parameters; float32 unless told."""
    found: np.dtype[Any] = float32 if dtype is None else one_dtype(dtype, owner)
    check_floating(found, owner)
    return found


def as_tensor(owner: str, name: str, x: Any) -> Tensor:
    """An input as a Tensor; raw arrays are constants."""
    if isinstance(x, Tensor):
        return x
    if not is_raw(x):
        msg = f"{owner}: {name} must be a Tensor or a raw array, got {type(x).__name__}"
        raise TypeError(msg)
    return wrap(raw_array(np.asarray(x), owner), None)


def same_dtype(owner: str, name: str, x: Tensor, dtype: np.dtype[Any]) -> None:
    """An input must have the parameters' dtype."""
    if x.dtype != dtype:
        msg = f"{owner}: {name} must have the parameters' dtype {dtype}, got {x.dtype}"
        raise TypeError(msg)
