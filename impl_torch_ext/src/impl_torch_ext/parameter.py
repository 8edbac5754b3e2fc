"""Parameters: the Tensors that a Module owns."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import check_five, check_flag
from impl_torch_ext.tensor import Leaf, from_numpy, refuse_gradient

__all__ = ["Parameter"]


class Parameter(Leaf, torch.nn.Parameter):
    """A Tensor that a Module counts among its parameters when it is assigned to an attribute.

    Parameters
    ----------
    data : Tensor, raw array or numpy.ndarray
        A Tensor is not copied: the Parameter shares its memory.
    requires_grad : bool

    Raises
    ------
    ValueError
        If `data` is not floating and `requires_grad` is true.
    """

    def __new__(cls, data: Tensor | np.ndarray, requires_grad: bool = True) -> "Parameter":
        """Make a Parameter; see the class."""
        if isinstance(data, np.ndarray):
            data = from_numpy("Parameter", data)
        if not isinstance(data, Tensor):
            msg = f"Parameter: data must be a Tensor or an array, got {type(data).__name__}"
            raise TypeError(msg)
        requires_grad = check_flag("Parameter", "requires_grad", requires_grad)
        if requires_grad and not data.is_floating_point():
            refuse_gradient("Parameter", data.dtype)
        check_five("Parameter", data.dtype)  # tensor-37
        return torch.Tensor._make_subclass(cls, data.detach(), requires_grad)

    def __repr__(self, **options: Any) -> str:
        return f"Parameter containing:\n{super().__repr__(**options)}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._reduced()
