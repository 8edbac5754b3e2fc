"""Tensors. A Tensor is a `torch.Tensor`, and so is its raw array.

Operators, methods and indexing are torch's own; the README lists where they differ from the
functions of `ops`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.dtypes import FROM_NUMPY

__all__ = ["Tensor", "from_numpy", "raw", "with_grad"]


def from_numpy(name: str, array: "np.ndarray[Any, Any]") -> Tensor:
    """Copy a NumPy array, or raise a TypeError in the name of `name` for a foreign dtype."""
    native = array.dtype.newbyteorder("=")
    if native not in FROM_NUMPY:
        msg = (
            f"{name}: an array must be of dtype float32, float64, int32, int64 or bool, got "
            f"{array.dtype}"
        )
        raise TypeError(msg)
    return torch.from_numpy(np.array(array, dtype=native, order="C"))


def raw(x: Any) -> Any:
    """Return the raw array of a Tensor that requires grad; anything else as it is."""
    return x.detach() if isinstance(x, Tensor) and x.requires_grad else x


def with_grad(name: str, x: Tensor, requires_grad: bool) -> Tensor:
    """Return `x`, which requires grad then if asked to; raise a ValueError if it cannot."""
    if not requires_grad:
        return x
    if not x.is_floating_point():  # tensor-13
        msg = f"{name}: only floating Tensors can require grad, got dtype {x.dtype}"
        raise ValueError(msg)
    return x.requires_grad_()
