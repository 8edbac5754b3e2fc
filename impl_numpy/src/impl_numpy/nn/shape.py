"""Modules that change the shape, or nothing."""

from __future__ import annotations

import math
from typing import Any

from impl_numpy.module import Module
from impl_numpy.nn.checks import as_tensor
from impl_numpy.recording import one_axis
from impl_numpy.tensor import Tensor


class Flatten(Module):
    """The axes from start_dim to end_dim, both included, as one.

    Parameters
    ----------
    start_dim, end_dim : int
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        """x in its flat shape."""
        x = as_tensor("Flatten", "x", x)
        if not x.shape:
            return x.reshape(1)
        start = one_axis("Flatten", self.start_dim, x.shape)
        end = one_axis("Flatten", self.end_dim, x.shape)
        if start > end:
            msg = (
                f"Flatten: start_dim {self.start_dim} is after end_dim {self.end_dim} of {x.shape}"
            )
            raise ValueError(msg)
        flat = math.prod(x.shape[start : end + 1])
        return x.reshape((*x.shape[:start], flat, *x.shape[end + 1 :]))

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """x itself; takes any arguments, as torch's does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """x."""
        return x
