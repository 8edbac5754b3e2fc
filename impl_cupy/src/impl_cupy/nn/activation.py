"""Functions of `ops` as Modules."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_choice,
    check_int,
    check_number,
    check_positive_int,
    normalize_axis,
)
from impl_cupy.dtypes import DTypeLike
from impl_cupy.launch import fused, pointwise
from impl_cupy.nn.layer import Layer, constant
from impl_cupy.ops.activation import (
    elu,
    elu_rule,
    gelu,
    leaky_relu,
    log_softmax,
    near,
    relu,
    shaped,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from impl_cupy.recording import as_input, floating, record, sum_to
from impl_cupy.sums import cut
from impl_cupy.tensor import Tensor

_ALPHA, _SCALE = 1.6732632423543772, 1.0507009873554805


class ReLU(Layer):
    """``max(input, 0)``."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return relu(as_input("ReLU", input))


class Tanh(Layer):
    """The hyperbolic tangent."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return tanh(as_input("Tanh", input))


class Sigmoid(Layer):
    """``1 / (1 + exp(-input))``."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return sigmoid(as_input("Sigmoid", input))


class Softmax(Layer):
    """``exp(input) / sum(exp(input))`` along an axis.

    Parameters
    ----------
    dim : int
        The axis.
    """

    dim: int

    def __init__(self, dim: int) -> None:
        check_int("Softmax", "dim", dim)
        super().__init__(dim=dim)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape that has the axis."""
        return softmax(as_input("Softmax", input), axis=self.dim)


class LogSoftmax(Layer):
    """``input - log(sum(exp(input)))`` along an axis.

    Parameters
    ----------
    dim : int
        The axis.
    """

    dim: int

    def __init__(self, dim: int) -> None:
        check_int("LogSoftmax", "dim", dim)
        super().__init__(dim=dim)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape that has the axis."""
        return log_softmax(as_input("LogSoftmax", input), axis=self.dim)


class LeakyReLU(Layer):
    """``input`` where it is above 0, elsewhere `negative_slope` times that.

    Source: Maas et al. 2013; the page of torch.nn.LeakyReLU.

    Parameters
    ----------
    negative_slope : number

    Raises
    ------
    TypeError
        If `negative_slope` is no number.
    """

    negative_slope: float

    def __init__(self, negative_slope: float = 0.01) -> None:
        check_number("LeakyReLU", "negative_slope", negative_slope)
        super().__init__(negative_slope=negative_slope)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return leaky_relu(as_input("LeakyReLU", input), self.negative_slope)


class PReLU(Layer):
    """``input`` where it is above 0, elsewhere `weight` times that.

    Source: He et al. 2015, equation 1; the page of torch.nn.PReLU.

    Parameters
    ----------
    num_parameters : int
        1 for all elements, or the number of channels, axis 1.
    init : number
        What `weight` is filled with.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)

    Raises
    ------
    ValueError
        If `num_parameters` is below 1.
    TypeError
        If it is no int, or `init` no number.
    """

    num_parameters: int
    init: float

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: DTypeLike = None
    ) -> None:
        count = check_positive_int("PReLU", "num_parameters", num_parameters)
        check_number("PReLU", "init", init)
        super().__init__(dtype, num_parameters=count)
        self.init = init
        self._parameter("weight", (count,), constant(init))

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, shape (N, num_parameters, *), or any with one parameter.

        Raises
        ------
        ValueError
            If there is another number of channels.
        TypeError
            If the dtype is not the parameters'.
        """
        value = as_input("PReLU", input)
        self._check_parameters(value.dtype)
        channels = value.shape[1] if value.ndim > 1 else 1
        if self.num_parameters not in (1, channels):  # nn-28
            msg = (
                f"PReLU: input must have num_parameters = {self.num_parameters} channels, got "
                f"{channels} in shape {value.shape}"
            )
            raise ValueError(msg)
        rest = (1,) * (value.ndim - 2)
        weight = self.weight if self.num_parameters == 1 else self.weight.reshape((-1, *rest))
        output: Tensor = record(
            "PReLU", pointwise("leaky_relu"), _prelu, (value, weight), keep_inputs=True
        )
        return output


_to_slope = fused(
    "slope_backward", "x", lambda node, grad: node.xp.where(node.x < 0, node.x * grad, 0.0)
)


def _prelu(node: Any, grad: Any) -> tuple[Any, Any]:
    x, weight = node.inputs
    if isinstance(grad, cp.ndarray):
        to_x = pointwise("leaky_relu_backward")(x, weight, grad)
    else:
        to_x = node.xp.where(x > 0, grad, grad * weight)
    return to_x, sum_to(node.xp, _to_slope(node, grad), weight.shape) if node.edges[1] else None


class ELU(Layer):
    """``input`` where it is above 0, elsewhere ``alpha * (exp(input) - 1)``.

    Source: Clevert et al. 2016, equation 15; the page of torch.nn.ELU.

    Parameters
    ----------
    alpha : number

    Raises
    ------
    TypeError
        If `alpha` is no number.
    """

    alpha: float

    def __init__(self, alpha: float = 1.0) -> None:
        check_number("ELU", "alpha", alpha)
        super().__init__(alpha=alpha)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return elu(as_input("ELU", input), self.alpha)


class SELU(Layer):
    """1.0507009873554805 times ELU with the alpha 1.6732632423543772.

    Source: Klambauer et al. 2017, equation 2; the page of torch.nn.SELU.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return shaped("SELU", "elu", as_input("SELU", input), elu_rule, _ALPHA, _SCALE)


class GELU(Layer):
    """``input`` times the normal distribution below it.

    Source: Hendrycks and Gimpel 2016; the page of torch.nn.GELU.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        With "tanh" the distribution is ``(1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``.

    Raises
    ------
    ValueError
        If `approximate` is neither.
    """

    approximate: str

    def __init__(self, approximate: str = "none") -> None:
        check_choice("GELU", "approximate", approximate, ("none", "tanh"))
        super().__init__(approximate=approximate)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return gelu(as_input("GELU", input), self.approximate)

    def extra_repr(self) -> str:
        """Show the form, in quotes."""
        return f"approximate={self.approximate!r}"


class SiLU(Layer):
    """``input / (1 + exp(-input))``.

    Source: Elfwing et al. 2018; the page of torch.nn.SiLU.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return silu(as_input("SiLU", input))


class Mish(Layer):
    """``input * tanh(log(1 + exp(input)))``.

    Source: Misra 2019, equation 1; the page of torch.nn.Mish.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return shaped("Mish", "mish", as_input("Mish", input), _mish)


def _mish(node: Any, grad: Any) -> tuple[Any]:
    if isinstance(grad, cp.ndarray):
        return (pointwise("mish_backward")(node.x, grad),)
    x = near(node)
    share = tanh(softplus(x))
    return (grad * (share + x * ((1 - share * share) * sigmoid(x))),)


class Softplus(Layer):
    """``log(1 + exp(beta * input)) / beta``, and `input` itself far above 0.

    Source: Glorot et al. 2011; the page of torch.nn.Softplus.

    Parameters
    ----------
    beta : number
        Not 0.
    threshold : number
        Where ``beta * input`` is above it the result is `input`.

    Raises
    ------
    ValueError
        If `beta` is 0.
    TypeError
        If one is no number.
    """

    beta: float
    threshold: float

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        check_number("Softplus", "beta", beta)
        check_number("Softplus", "threshold", threshold)
        if beta == 0:  # nn-29
            msg = f"Softplus: beta must not be 0, got {beta}"
            raise ValueError(msg)
        super().__init__(beta=beta, threshold=threshold)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape."""
        return shaped(
            "Softplus",
            "bent",
            as_input("Softplus", input),
            _bent,
            float(self.beta),
            float(self.threshold),
        )


def _bent(node: Any, grad: Any) -> tuple[Any]:
    beta, threshold = node.config
    if isinstance(grad, cp.ndarray):
        return (pointwise("bent_backward")(node.x, beta, threshold, grad),)
    inner = beta * node.x
    return (node.xp.where(inner > threshold, grad, grad * sigmoid(inner)),)


class GLU(Layer):
    """``a * sigmoid(b)`` of the halves a and b of the input.

    Source: Dauphin et al. 2017, equation 1; the page of torch.nn.GLU.

    Parameters
    ----------
    dim : int
        The axis that is halved.

    Raises
    ------
    TypeError
        If `dim` is no int.
    """

    dim: int

    def __init__(self, dim: int = -1) -> None:
        check_int("GLU", "dim", dim)
        super().__init__(dim=dim)

    def forward(self, input: Any) -> Tensor:
        """Apply it to `input`, any shape whose axis `dim` is even.

        Raises
        ------
        ValueError
            If the axis is out of range, or odd.
        """
        value: Any = floating(as_input("GLU", input))
        axis = normalize_axis("GLU", self.dim, value.shape)
        size = value.shape[axis]
        if size % 2:  # nn-30
            msg = f"GLU: axis {self.dim} must have an even size, got {size} in shape {value.shape}"
            raise ValueError(msg)
        first, second = cut(value, axis, 0, size // 2), cut(value, axis, size // 2)
        output: Tensor = first * sigmoid(second)
        return output
