"""Modules that change no values."""

import math
from typing import Any

from .. import arithmetic as A
from ..module import Module
from ..tensor import Tensor


class Flatten(Module):
    """The axes from `start_dim` to `end_dim`, both included, as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        """Map x, shape (..., a, ..., b, ...), to shape (..., a * ... * b, ...)."""
        shape = A.shape_of(A.operand("Flatten", x))
        if not shape:
            return A.reshape(x, (1,))
        start = A.normalize_axis("Flatten", self.start_dim, shape)
        end = A.normalize_axis("Flatten", self.end_dim, shape)
        if start > end:
            msg = (
                f"Flatten: start_dim {self.start_dim} comes after end_dim {self.end_dim} "
                f"in shape {shape}"
            )
            raise ValueError(msg)
        middle = math.prod(shape[start : end + 1])
        return A.reshape(x, (*shape[:start], middle, *shape[end + 1 :]))

    def extra_repr(self) -> str:
        """Return the first and the last axis."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """What came in; any arguments of the constructor are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """Return x."""
        return x
