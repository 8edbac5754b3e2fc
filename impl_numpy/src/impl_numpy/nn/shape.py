"""Modules that change the shape, or nothing."""

from __future__ import annotations

import math
from typing import Any

from impl_numpy.checks import normalize_axis
from impl_numpy.module import Module
from impl_numpy.nn.layer import Layer
from impl_numpy.tensor import Tensor


class Flatten(Layer):
    """Join the axes from start_dim to end_dim, both included (torch.nn.Flatten).

    Parameters
    ----------
    start_dim, end_dim : int
    """

    _shown = ("start_dim=", "end_dim=")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim=start_dim, end_dim=end_dim)

    def forward(self, input: Any) -> Tensor:
        """Return the input in its flat shape."""
        x = self._input(input)
        if not x.shape:
            return x.reshape(1)
        start = normalize_axis("Flatten", self.start_dim, x.shape)
        end = normalize_axis("Flatten", self.end_dim, x.shape)
        if start > end:
            msg = (
                f"Flatten: start_dim {self.start_dim} is after end_dim {self.end_dim} of {x.shape}"
            )
            raise ValueError(msg)
        flat = math.prod(x.shape[start : end + 1])
        return x.reshape((*x.shape[:start], flat, *x.shape[end + 1 :]))


class Identity(Module):
    """Return the input; take any arguments, as torch.nn.Identity does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input
