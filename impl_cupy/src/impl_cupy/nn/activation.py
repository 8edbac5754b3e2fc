"""Functions of `ops` as Modules."""

from __future__ import annotations

from typing import Any

from impl_cupy.nn.layer import Layer
from impl_cupy.ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from impl_cupy.tensor import Tensor


class ReLU(Layer):
    """``max(input, 0)``."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return relu(input)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return tanh(input)


class Sigmoid(Layer):
    """``1 / (1 + exp(-input))``."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return sigmoid(input)


class Softmax(Layer):
    """``exp(input) / sum(exp(input))`` along an axis.

    Parameters
    ----------
    dim : int
        The axis.
    """

    dim: int

    def __init__(self, dim: int) -> None:
        super().__init__(dim=dim)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape that has the axis."""
        return softmax(input, axis=self.dim)


class LogSoftmax(Layer):
    """``input - log(sum(exp(input)))`` along an axis.

    Parameters
    ----------
    dim : int
        The axis.
    """

    dim: int

    def __init__(self, dim: int) -> None:
        super().__init__(dim=dim)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape that has the axis."""
        return log_softmax(input, axis=self.dim)
