"""Layers that change the shape alone, or nothing."""

import math
from typing import Any, ClassVar

from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import check_int, check_tensor
from impl_torch_ext.nn.layer import Layer, Options

__all__ = ["Flatten", "Identity"]


class Flatten(Layer):
    """The axes from `start_dim` to `end_dim`, both included, made one."""

    _options: ClassVar[Options] = {"start_dim": check_int, "end_dim": check_int}
    start_dim: int
    end_dim: int

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim, end_dim)

    def forward(self, input: Tensor) -> Tensor:
        """Flatten `input`, which must have those axes."""
        check_tensor("Flatten", input, "input")
        shape, ndim = tuple(input.shape), input.ndim
        start, end = (axis + ndim if axis < 0 else axis for axis in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < ndim:
            msg = (
                f"Flatten: axes {self.start_dim} to {self.end_dim} must be a range of axes, got "
                f"shape {shape}"
            )
            raise ValueError(msg)
        size = math.prod(shape[start : end + 1])
        return ops.reshape(input, (*shape[:start], size, *shape[end + 1 :]))


class Identity(Layer):
    """What it gets; any constructor arguments are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`."""
        return input
