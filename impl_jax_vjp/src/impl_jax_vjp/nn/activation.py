"""Activations as Modules."""

from typing import Any

from .. import ops
from ..module import Module
from ..tensor import Tensor


class ReLU(Module):
    """``max(x, 0)``, element by element."""

    def forward(self, x: Any) -> Tensor:
        """Map x, any shape, to the same shape."""
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent, element by element."""

    def forward(self, x: Any) -> Tensor:
        """Map x, any shape, to the same shape."""
        return ops.tanh(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``, element by element."""

    def forward(self, x: Any) -> Tensor:
        """Map x, any shape, to the same shape."""
        return ops.sigmoid(x)


class _AlongAxis(Module):
    """What works along one axis, `dim`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """``exp(x) / sum(exp(x))`` along the axis `dim`."""

    def forward(self, x: Any) -> Tensor:
        """Map x, any shape, to the same shape."""
        return ops.softmax(x, axis=self.dim)


class LogSoftmax(_AlongAxis):
    """The logarithm of `Softmax` along the axis `dim`."""

    def forward(self, x: Any) -> Tensor:
        """Map x, any shape, to the same shape."""
        return ops.log_softmax(x, axis=self.dim)
