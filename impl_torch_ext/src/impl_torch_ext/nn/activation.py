"""Activations: the functions of `ops` as layers, and those that torch alone has."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import (
    check_choice,
    check_floating,
    check_int,
    check_size,
    check_tensor,
    explain,
    normalize_axis,
)
from impl_torch_ext.init import constant_
from impl_torch_ext.nn.layer import Layer, Options, over_channels
from impl_torch_ext.ops.transcendental import as_float

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]

# From here on log(1 + exp(x)) is x in both dtypes.
_FAR = 40.0


def _number(name: str, option: str, value: Any) -> float:
    as_float(name, option, value)
    return value


def _factor(name: str, option: str, value: Any) -> float:
    if as_float(name, option, value) == 0:  # nn-29
        msg = f"{name}: {option} must be another number than 0, got {value}"
        raise ValueError(msg)
    return value


class _Elementwise(Layer):
    def __init__(self) -> None:
        super().__init__()


class ReLU(_Elementwise):
    """`max(x, 0)`, of any shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.relu(input)


class LeakyReLU(Layer):
    """`x` where it is positive, else `negative_slope * x`, of any shape.

    Source: Maas et al. 2013; the page of `torch.nn.LeakyReLU`.

    Parameters
    ----------
    negative_slope : float
    """

    _options: ClassVar[Options] = {"negative_slope": _number}
    negative_slope: float

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope)

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.leaky_relu(check_tensor("LeakyReLU", input, "input"), self.negative_slope)


class PReLU(Layer):
    """`x` where it is positive, else `weight * x`, the weight being learned.

    Source: He et al. 2015, equation 1; the page of `torch.nn.PReLU`.

    Parameters
    ----------
    num_parameters : int
        1 for all elements, or the number of channels.
    init : float
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)
        Filled with `init`.
    """

    _options: ClassVar[Options] = {"num_parameters": check_size, "init": _number}
    _unsaid: ClassVar[dict[str, Any]] = {"init": ...}
    num_parameters: int
    init: float
    weight: Tensor

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(num_parameters, init)
        fill = partial(constant_, val=float(init))
        self._draw(fill, dtype, weight=(self.num_parameters,))

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, shape (N, C, *), or any shape for one parameter.

        Raises
        ------
        ValueError
            If there are several parameters, but another number of channels.
        """
        self._check("input", input, (None,) * getattr(input, "ndim", 1), "(N, C, *)", self.weight)
        channels = input.shape[1] if input.ndim > 1 else 1
        if self.num_parameters not in (1, channels):  # nn-28
            msg = (
                f"PReLU: input must have num_parameters = {self.num_parameters} channels, got "
                f"shape {tuple(input.shape)}"
            )
            raise ValueError(msg)
        try:
            if channels == 1 or self.num_parameters == 1:
                return torch.prelu(input, self.weight)
            weight = over_channels(self.weight, input).unsqueeze(0)
            return torch.ops.aten._prelu_kernel.default(input, weight)
        except RuntimeError as error:  # Parameters that functional_call put there.
            explain("PReLU", error, input, shapes=((), ()))


class ELU(Layer):
    """`x` where it is positive, else `alpha * (exp(x) - 1)`, of any shape.

    Source: Clevert et al. 2016, equation 15; the page of `torch.nn.ELU`.

    Parameters
    ----------
    alpha : float
    """

    _options: ClassVar[Options] = {"alpha": _number}
    alpha: float

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha)

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.elu(input, self.alpha)


class SELU(_Elementwise):
    """An ELU whose results keep mean 0 and variance 1 through layers.

    Source: Klambauer et al. 2017, equation 2; the page of `torch.nn.SELU`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return torch.selu(check_floating("SELU", input, "input"))


class GELU(Layer):
    """`x` times the probability that a normal variable is below it, of any shape.

    Source: Hendrycks and Gimpel 2016; the page of `torch.nn.GELU`.

    Parameters
    ----------
    approximate : {"none", "tanh"}
    """

    _options: ClassVar[Options] = {"approximate": check_choice("none", "tanh")}
    approximate: str

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate)

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.gelu(input, self.approximate)


class SiLU(_Elementwise):
    """`x * sigmoid(x)`, of any shape.

    Source: Elfwing et al. 2018; the page of `torch.nn.SiLU`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return ops.silu(input)


class Mish(_Elementwise):
    """`x * tanh(log(1 + exp(x)))`, of any shape.

    Source: Misra 2019, equation 1; the page of `torch.nn.Mish`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        return torch.nn.functional.mish(check_floating("Mish", input, "input"))


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


class Softplus(Layer):
    """`log(1 + exp(beta x)) / beta`, and `x` where `beta x > threshold`, of any shape.

    Source: Glorot et al. 2011; the page of `torch.nn.Softplus`.

    Parameters
    ----------
    beta : float
        Not 0.
    threshold : float
    """

    _options: ClassVar[Options] = {"beta": _factor, "threshold": _number}
    beta: float
    threshold: float

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta, threshold)

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, any shape."""
        check_floating("Softplus", input, "input")
        threshold = min(float(self.threshold), _FAR)  # nn-29: no overflow
        return torch.nn.functional.softplus(input, float(self.beta), threshold)


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


class GLU(Layer):
    """`a * sigmoid(b)`, `a` and `b` being the halves along the axis `dim`.

    Source: Dauphin et al. 2017, equation 1; the page of `torch.nn.GLU`.

    Parameters
    ----------
    dim : int
    """

    _options: ClassVar[Options] = {"dim": check_int}
    dim: int

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)

    def forward(self, input: Tensor) -> Tensor:
        """Return the function of `input`, of half its size along the axis.

        Raises
        ------
        ValueError
            If there is no such axis, or its size is odd.
        """
        axis = normalize_axis("GLU", self.dim, check_floating("GLU", input, "input"))
        if input.shape[axis] % 2:  # nn-30
            msg = f"GLU: axis {self.dim} must have an even size, got {input.shape[axis]}"
            raise ValueError(msg)
        return torch.nn.functional.glu(input, axis)
