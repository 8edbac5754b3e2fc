"""Activations as Modules: each applies a function of `ops`."""

from typing import Any

from .. import ops
from ..checks import check_int
from ..tensor import Tensor
from .layer import Layer


class ReLU(Layer):
    """``max(input, 0)``, element by element."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.relu(input)


class Tanh(Layer):
    """The hyperbolic tangent, element by element."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.tanh(input)


class Sigmoid(Layer):
    """``1 / (1 + exp(-input))``, element by element."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.sigmoid(input)


class _AlongAxis(Layer):
    """What works along one axis, `dim`."""

    _options = ("dim=",)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = check_int(type(self).__name__, "dim", dim)


class Softmax(_AlongAxis):
    """``exp(input) / sum(exp(input))`` along the axis `dim`."""

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.softmax(input, axis=self.dim)


class LogSoftmax(_AlongAxis):
    """The logarithm of `Softmax` along the axis `dim`."""

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.log_softmax(input, axis=self.dim)
