"""Parameter: a Tensor that a Module registers and an optimizer updates."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_cupy.checks import check_differentiable, check_flag, check_raw, to_device
from impl_cupy.dtypes import check_five
from impl_cupy.memory import RawArray, lend
from impl_cupy.tensor import Tensor


class Parameter(Tensor):
    """A leaf that requires grad, and that is registered where a Module's attribute is set to it.

    Parameters
    ----------
    data : Tensor, cupy.ndarray or numpy.ndarray
        A raw array, or a Tensor's, is not copied.
    requires_grad : bool

    Raises
    ------
    TypeError
        If `data` is none of these.
    ValueError
        If `requires_grad` is asked for a dtype that is not floating.
    """

    # No __slots__: a Parameter takes free attributes (tensor-42).

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        raw = as_raw("Parameter", data)
        requires_grad = check_flag("Parameter", "requires_grad", requires_grad)
        if requires_grad:
            check_differentiable("Parameter", raw.dtype)
        check_five("Parameter", raw.dtype)
        if raw is data:
            lend(raw)
        self._begin(raw, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def as_raw(operation: str, data: Any) -> RawArray:
    """Take the raw array of a Tensor, or a raw array, or copy a NumPy array to the device.

    Raises
    ------
    TypeError
        If `data` is none of these.
    """
    if isinstance(data, Tensor):
        return data._data
    if isinstance(data, np.ndarray):
        return to_device(operation, data)
    check_raw(operation, data)
    return data
