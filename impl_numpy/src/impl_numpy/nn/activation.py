"""Functions of elements, and along an axis, as Modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from numpy.typing import DTypeLike

from impl_numpy import ops
from impl_numpy.checks import check_choice, check_number, normalize_axis
from impl_numpy.nn.layer import Layer
from impl_numpy.parameter import Parameter
from impl_numpy.tensor import Tensor


class _Applied(Layer):
    """A function that takes the input and the options that `repr` shows."""

    _function: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input."""
        options = [getattr(self, name.rstrip("=")) for name in self._shown]
        return type(self)._function(self._input(input), *options)


class _Elementwise(_Applied):
    """A function without options."""

    def __init__(self) -> None:
        super().__init__()


class ReLU(_Elementwise):
    """Compute max(input, 0), element by element (torch.nn.ReLU)."""

    _function = staticmethod(ops.relu)


class Tanh(_Elementwise):
    """Compute the hyperbolic tangent, element by element (torch.nn.Tanh)."""

    _function = staticmethod(ops.tanh)


class Sigmoid(_Elementwise):
    """Compute 1 / (1 + exp(-input)), element by element (torch.nn.Sigmoid)."""

    _function = staticmethod(ops.sigmoid)


class SiLU(_Elementwise):
    """Compute input * sigmoid(input) (Elfwing et al. 2018; torch.nn.SiLU)."""

    _function = staticmethod(ops.silu)


def _selu(x: Tensor) -> Tensor:
    return ops.elu(x, 1.6732632423543772) * 1.0507009873554805


class SELU(_Elementwise):
    """Compute scale * elu(input, alpha), which keeps means and variances.

    Klambauer et al. 2017, equation 2, and its constants to the last digit; torch.nn.SELU.
    """

    _function = staticmethod(_selu)


def _mish(x: Tensor) -> Tensor:
    return x * ops.tanh(ops.softplus(x))


class Mish(_Elementwise):
    """Compute input * tanh(softplus(input)) (Misra 2019, equation 1; torch.nn.Mish)."""

    _function = staticmethod(_mish)


class LeakyReLU(_Applied):
    """Keep what is positive, and multiply the rest by a slope (Maas et al. 2013).

    Source: torch.nn.LeakyReLU.

    Parameters
    ----------
    negative_slope : float
    """

    _shown = ("negative_slope=",)
    _function = staticmethod(ops.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        slope = check_number("LeakyReLU", "negative_slope", negative_slope)
        super().__init__(negative_slope=slope)


class ELU(_Applied):
    """Keep what is positive, and take the rest to alpha * (exp(input) - 1).

    Clevert et al. 2016, equation 15; torch.nn.ELU.

    Parameters
    ----------
    alpha : float
    """

    _shown = ("alpha=",)
    _function = staticmethod(ops.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=check_number("ELU", "alpha", alpha))


class GELU(_Applied):
    """Compute the input times the normal distribution's share below it.

    Hendrycks and Gimpel 2016; torch.nn.GELU.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        The distribution itself, or a tanh that comes close to it.
    """

    _shown = ("approximate=",)
    _function = staticmethod(ops.gelu)

    def __init__(self, approximate: str = "none") -> None:
        check_choice("GELU", "approximate", approximate, ("none", "tanh"))
        super().__init__(approximate=approximate)


def _softplus(x: Tensor, beta: float, threshold: float) -> Tensor:
    scaled = x * float(beta)
    return ops.where(scaled > threshold, x, ops.softplus(scaled) / float(beta))  # nn-29


class Softplus(_Applied):
    """Compute log(1 + exp(beta * input)) / beta.

    It is the input itself where beta * input is above a threshold. Glorot et al. 2011;
    torch.nn.Softplus.

    Parameters
    ----------
    beta : float
        Not 0.
    threshold : float
    """

    _shown = ("beta=", "threshold=")
    _function = staticmethod(_softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        if check_number("Softplus", "beta", beta) == 0:  # nn-29
            msg = f"Softplus: beta must not be 0, got {beta}"
            raise ValueError(msg)
        check_number("Softplus", "threshold", threshold)
        super().__init__(beta=beta, threshold=threshold)


class PReLU(Layer):
    """Keep what is positive, and multiply the rest by a slope that is learnt.

    He et al. 2015, equation 1; torch.nn.PReLU.

    Parameters
    ----------
    num_parameters : int
        One slope for all, or one for each channel (axis 1).
    init : float
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)
        Filled with `init`.
    """

    _sizes = ("num_parameters",)
    _shown = ("num_parameters=",)
    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: DTypeLike | None = None
    ) -> None:
        super().__init__(num_parameters=num_parameters, init=check_number("PReLU", "init", init))
        self._constant("weight", (self.num_parameters,), init, dtype)

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input, whose axis 1 is the channels'.

        Raises
        ------
        ValueError
            If there are several parameters, and not as many channels.
        """
        x, count = self._input(input, self.weight.dtype), self.num_parameters
        channels = x.shape[1] if x.ndim > 1 else 1  # nn-28
        if count not in (1, channels):
            msg = (
                f"PReLU: input of {channels} channels, shape {x.shape}, but num_parameters={count}"
            )
            raise ValueError(msg)
        slope = self.weight if x.ndim < 2 else self.weight.reshape((-1, *(1,) * (x.ndim - 2)))
        slope = slope.reshape(()) if not x.ndim else slope
        positive = x > 0
        # What is positive has no part in the slope's gradient, be it infinite.
        return ops.where(positive, x, slope * ops.where(positive, 0.0, x))


class _AlongAxis(_Applied):
    """A function along one axis."""

    _shown = ("dim=",)

    def __init__(self, dim: int) -> None:
        super().__init__(dim=dim)


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


def _glu(x: Tensor, dim: int) -> Tensor:
    axis = normalize_axis("GLU", dim, x.shape)
    half, odd = divmod(x.shape[axis], 2)
    if odd:  # nn-30
        msg = f"GLU: axis {dim} must have an even size, got {x.shape[axis]} of shape {x.shape}"
        raise ValueError(msg)
    lead = (slice(None),) * axis
    return x[(*lead, slice(0, half))] * ops.sigmoid(x[(*lead, slice(half, None))])


class GLU(_AlongAxis):
    """Compute a * sigmoid(b), a and b the halves of an axis.

    Dauphin et al. 2017, equation 1; torch.nn.GLU.

    Parameters
    ----------
    dim : int
    """

    _function = staticmethod(_glu)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)
