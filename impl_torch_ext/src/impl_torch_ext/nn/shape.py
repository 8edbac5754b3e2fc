"""Modules that change the shape alone, or nothing."""

import math
from typing import Any

from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.module import Module

__all__ = ["Flatten", "Identity"]


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim``, both included, made one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        """Flatten ``x``, which must have those axes."""
        shape = tuple(x.shape)
        start, end = (
            axis + x.ndim if axis < 0 else axis for axis in (self.start_dim, self.end_dim)
        )
        if not 0 <= start <= end < x.ndim:
            msg = (
                f"Flatten: axes {self.start_dim} to {self.end_dim} are no range of axes of shape "
                f"{shape}"
            )
            raise ValueError(msg)
        return ops.reshape(
            x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Returns what it gets; any constructor arguments are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x
