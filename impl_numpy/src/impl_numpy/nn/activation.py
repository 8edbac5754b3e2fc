"""The functions of `ops` as Modules."""

from __future__ import annotations

from typing import Any

from impl_numpy import ops
from impl_numpy.module import Module
from impl_numpy.tensor import Tensor


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Tensor:
        """Element by element."""
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        """Element by element."""
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Tensor:
        """Element by element."""
        return ops.sigmoid(x)


class _AlongAxis(Module):
    """A function over one axis."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) over an axis (torch.nn.Softmax).

    Parameters
    ----------
    dim : int
    """

    def forward(self, x: Any) -> Tensor:
        """Over the axis `dim`; the shape stays."""
        return ops.softmax(x, axis=self.dim)


class LogSoftmax(_AlongAxis):
    """log(softmax(x)) over an axis (torch.nn.LogSoftmax).

    Parameters
    ----------
    dim : int
    """

    def forward(self, x: Any) -> Tensor:
        """Over the axis `dim`; the shape stays."""
        return ops.log_softmax(x, axis=self.dim)
