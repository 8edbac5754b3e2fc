"""Functions of `ops` as Modules."""

from __future__ import annotations

from typing import Any

from impl_cupy.module import Module
from impl_cupy.ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from impl_cupy.tensor import Tensor


class ReLU(Module):
    """``max(x, 0)``."""

    def forward(self, x: Any) -> Tensor:
        """Apply it to `x`, any shape."""
        return relu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        """Apply it to `x`, any shape."""
        return tanh(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: Any) -> Tensor:
        """Apply it to `x`, any shape."""
        return sigmoid(x)


class _AlongAxis(Module):
    """Holds the axis of a function.

    Parameters
    ----------
    dim : int
        The axis.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """``exp(x) / sum(exp(x))`` along the axis `dim`."""

    def forward(self, x: Any) -> Tensor:
        """Apply it to `x`, any shape that has the axis."""
        return softmax(x, axis=self.dim)


class LogSoftmax(_AlongAxis):
    """``x - log(sum(exp(x)))`` along the axis `dim`."""

    def forward(self, x: Any) -> Tensor:
        """Apply it to `x`, any shape that has the axis."""
        return log_softmax(x, axis=self.dim)
