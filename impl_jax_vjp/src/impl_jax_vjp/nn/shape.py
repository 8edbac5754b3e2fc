"""Modules that change no values."""

import math
from typing import Any

from .. import ops
from ..checks import check_int, normalize_axis, refuse
from ..recording import as_operand, shape_of
from ..tensor import Tensor
from .layer import Layer


class Flatten(Layer):
    """The axes from `start_dim` to `end_dim`, both included, as one."""

    _options = ("start_dim=", "end_dim=")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = check_int("Flatten", "start_dim", start_dim)
        self.end_dim = check_int("Flatten", "end_dim", end_dim)

    def forward(self, input: Any) -> Tensor:
        """Map shape (..., a, ..., b, ...) to shape (..., a * ... * b, ...)."""
        shape = shape_of(as_operand("Flatten", input))
        if not shape:
            return ops.reshape(input, (1,))
        start = normalize_axis("Flatten", self.start_dim, shape)
        end = normalize_axis("Flatten", self.end_dim, shape)
        if start > end:
            dims = f"start_dim {self.start_dim}, end_dim {self.end_dim} for shape {shape}"
            refuse("Flatten", "start_dim", "no later axis than end_dim", dims)
        middle = math.prod(shape[start : end + 1])
        return ops.reshape(input, (*shape[:start], middle, *shape[end + 1 :]))


class Identity(Layer):
    """What came in; any arguments of the constructor are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input
