"""Activations: the functions of `ops` as layers."""

from typing import ClassVar

from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import check_int
from impl_torch_ext.nn.layer import Layer, Options

__all__ = ["LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class _Elementwise(Layer):
    def __init__(self) -> None:
        super().__init__()


class ReLU(_Elementwise):
    """`max(x, 0)`, of any shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.relu(input)


class Tanh(_Elementwise):
    """The hyperbolic tangent, of any shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.tanh(input)


class Sigmoid(_Elementwise):
    """`1 / (1 + exp(-x))`, of any shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.sigmoid(input)


class _AlongAxis(Layer):
    _options: ClassVar[Options] = {"dim": check_int}
    dim: int

    def __init__(self, dim: int) -> None:
        super().__init__(dim)


class Softmax(_AlongAxis):
    """`exp(x) / sum(exp(x))` along the axis `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape with the axis `dim`."""
        return ops.softmax(input, axis=self.dim)


class LogSoftmax(_AlongAxis):
    """`x - logsumexp(x)` along the axis `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape with the axis `dim`."""
        return ops.log_softmax(input, axis=self.dim)
