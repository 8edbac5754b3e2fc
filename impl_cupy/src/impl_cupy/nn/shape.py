"""Modules that change the shape, or nothing."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.checks import normalize_axis
from impl_cupy.nn.layer import Layer
from impl_cupy.ops.manipulation import reshape
from impl_cupy.recording import as_tensor
from impl_cupy.tensor import Tensor


class Identity(Layer):
    """Give the input back; whatever it is made with is ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return `input`."""
        return input


class Flatten(Layer):
    """Make one axis of several neighbours.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last of them.
    """

    start_dim: int
    end_dim: int

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim=start_dim, end_dim=end_dim)

    def forward(self, input: Any) -> Tensor:
        """Flatten `input`.

        Raises
        ------
        ValueError
            If an axis is out of range, or the first comes after the last.
        """
        value = as_tensor("Flatten", input)
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
