"""Activations: the functions of `ops` as Modules."""

from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.module import Module

__all__ = ["LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """``max(x, 0)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x``, any shape."""
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x``, any shape."""
        return ops.tanh(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x``, any shape."""
        return ops.sigmoid(x)


class _AlongAxis(Module):
    """What works along one axis, ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """``exp(x) / sum(exp(x))`` along the axis ``dim``."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x``, any shape with the axis ``dim``."""
        return ops.softmax(x, axis=self.dim)


class LogSoftmax(_AlongAxis):
    """``x - logsumexp(x)`` along the axis ``dim``."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x``, any shape with the axis ``dim``."""
        return ops.log_softmax(x, axis=self.dim)
