"""The functions of `ops` as Modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from impl_numpy import ops
from impl_numpy.nn.layer import Layer
from impl_numpy.tensor import Tensor


class _Elementwise(Layer):
    """A function of `ops` without options."""

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input."""
        return type(self)._function(self._input(input))


class ReLU(_Elementwise):
    """Compute max(input, 0), element by element (torch.nn.ReLU)."""

    _function = staticmethod(ops.relu)


class Tanh(_Elementwise):
    """Compute the hyperbolic tangent, element by element (torch.nn.Tanh)."""

    _function = staticmethod(ops.tanh)


class Sigmoid(_Elementwise):
    """Compute 1 / (1 + exp(-input)), element by element (torch.nn.Sigmoid)."""

    _function = staticmethod(ops.sigmoid)


class _AlongAxis(Layer):
    """A function of `ops` along one axis."""

    _shown = ("dim=",)
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, dim: int) -> None:
        super().__init__(dim=dim)

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input."""
        return type(self)._function(self._input(input), axis=self.dim)


class Softmax(_AlongAxis):
    """Compute exp(input) / sum(exp(input)) over an axis (torch.nn.Softmax).

    Parameters
    ----------
    dim : int
    """

    _function = staticmethod(ops.softmax)


class LogSoftmax(_AlongAxis):
    """Compute log(softmax(input)) over an axis (torch.nn.LogSoftmax).

    Parameters
    ----------
    dim : int
    """

    _function = staticmethod(ops.log_softmax)
