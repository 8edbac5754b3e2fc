"""Modules that change the shape, or nothing."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.module import Module
from impl_cupy.ops.manipulation import reshape
from impl_cupy.ops.primitive import as_tensor, normalize_axis
from impl_cupy.tensor import Tensor


class Identity(Module):
    """Give the input back; whatever it is made with is ignored."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """Give `x` back."""
        return x


class Flatten(Module):
    """Make one axis of several neighbours.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last of them.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        """Flatten `x`.

        Raises
        ------
        ValueError
            If an axis is out of range, or the first comes after the last.
        """
        value = as_tensor("Flatten", x)
        if value.ndim == 0:
            return reshape(value, (1,))
        start = normalize_axis("Flatten", self.start_dim, value.shape)
        end = normalize_axis("Flatten", self.end_dim, value.shape)
        if start > end:
            msg = (
                f"Flatten: start_dim={self.start_dim} must not come after end_dim={self.end_dim} "
                f"for shape {value.shape}"
            )
            raise ValueError(msg)
        middle = math.prod(value.shape[start : end + 1])
        return reshape(value, (*value.shape[:start], middle, *value.shape[end + 1 :]))

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
