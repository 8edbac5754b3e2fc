"""Parameter: a Tensor that a Module owns and an optimizer changes."""

from typing import Any

import jax
import numpy as np

from .checks import check_dtype, check_five, check_flag, check_floating, refuse_type
from .dtypes import make_array, native
from .tape import Traced, unwrap
from .tensor import Tensor, bare


class Parameter(Tensor):
    """A leaf Tensor that requires grad.

    Parameters
    ----------
    data : Tensor, jax.Array or numpy.ndarray
        A raw array is not copied.
    requires_grad : bool

    Raises
    ------
    TypeError
        If `data` is no array, or no Tensor has its dtype.
    ValueError
        If `requires_grad` is asked of a dtype that is not floating.
    """

    # Free attributes, as an object of any class of the user's has them. # tensor-42
    __slots__ = ("__dict__",)

    def __new__(cls, data: Any, requires_grad: bool = True) -> "Parameter":
        """Make a Parameter of an array."""
        if isinstance(data, Traced):
            raw = unwrap(data)
        elif isinstance(data, jax.Array):
            raw = data
        elif isinstance(data, np.ndarray):
            data = native(data)
            check_dtype("Parameter", data.dtype)
            raw = make_array(data)
        else:
            refuse_type("Parameter", "data", "a Tensor or an array", data)
        check_dtype("Parameter", raw.dtype)
        requires_grad = check_flag("Parameter", "requires_grad", requires_grad)
        if requires_grad:
            check_floating("Parameter", raw.dtype)
        check_five("Parameter", raw.dtype)
        made: Parameter = bare(cls, raw, requires_grad)
        return made

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
