"""Parameter: a Tensor that a Module owns and trains."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.batched import USED, assign
from impl_numpy.checks import check_five, check_flag, check_raw
from impl_numpy.dtypes import Array
from impl_numpy.grad_checks import check_requires_grad
from impl_numpy.memory import follow, left, note_values, written
from impl_numpy.tape import check_uncut
from impl_numpy.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a Module owns and trains.

    Parameters
    ----------
    data : Tensor or numpy.ndarray
        Shared, not copied.
    requires_grad : bool

    Raises
    ------
    TypeError
        If `data` is neither.
    ValueError
        If a gradient is asked of integers or booleans.
    """

    def __init__(self, data: Tensor | Array, requires_grad: bool = True) -> None:
        if isinstance(data, Tensor):
            if data._node is not None:
                check_uncut("Parameter")
            self._data, self._node, self._grad, self._lent = data._data, None, None, False
            follow(self)
        else:
            super().__init__(check_raw(data, "Parameter"))
        if check_flag("Parameter", "requires_grad", requires_grad):
            check_requires_grad(self.dtype, "Parameter")
            self.requires_grad_()
        check_five("Parameter", self.dtype)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def overwrite(tensor: Tensor, values: Any) -> None:
    """Change the values of a Tensor, in its own memory where that can be written."""
    if USED:
        note_values(tensor)
    try:
        assign(tensor._data, ..., values)
    except ValueError:
        if tensor._data.flags.writeable:
            raise
        left(tensor)
        tensor._data = np.array(np.broadcast_to(values, tensor.shape), tensor.dtype)
    else:
        written(tensor)
