"""Activations as Modules: each applies a function of `ops`, or a formula of its own."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .. import ops
from ..checks import (
    as_scalar,
    check_choice,
    check_int,
    check_number,
    check_parameter,
    finite,
    normalize_axis,
    refuse,
)
from ..dtypes import floating
from ..ops import formulas as F
from ..ops.transcendental import expm1, logaddexp, sloped
from ..recording import Primitive, as_operand, dtype_of, shape_of
from ..tensor import Tensor
from .layer import Layer

Array = Any

_SCALE, _ALPHA = 1.0507009873554805, 1.6732632423543772
# Beyond this number Mish has the slope 0 or 1 in every dtype, and no infinity must meet a 0.
_FAR = 1000.0


def _applied(name: str, formula: Callable[..., Array]) -> Callable[..., Tensor]:
    """Return a function of one operand, and of numbers, as one compiled program for all numbers."""
    primitive = Primitive(lambda dtype, x, *rest: formula(x.astype(dtype), *rest), name)

    def function(x: Any, *numbers: float) -> Tensor:
        x = as_operand(name, x)
        dtype = floating(dtype_of(x))
        made: Tensor = primitive((x, *[as_scalar(name, n, dtype) for n in numbers]), dtype)
        return made

    return function


def _scaled(x: Array) -> Array:
    # Where x is chosen, the other branch must be finite.
    return _SCALE * jnp.where(x > 0, x, _ALPHA * expm1(jnp.where(x > 0, 0, x)))


@jax.custom_jvp
def _share(x: Array) -> tuple[Array, Array]:
    """Return ``tanh(log(1 + exp(x)))`` and 1 less it, both with their digits."""
    e = jnp.exp(-jnp.abs(x))
    share = jnp.where(x < 0, e * (e + 2), 1 + 2 * e)
    rest = jnp.where(x < 0, 2, 2 * e * e)
    return share / (share + rest), rest / (share + rest)


@_share.defjvp
def _share_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    share, rest = _share(*primals)
    slope = rest * (1 + share) * F.sigmoid(primals[0]) * tangents[0]
    return (share, rest), (slope, -slope)


def _mish_slope(x: Array) -> Array:
    x = jnp.clip(x, -_FAR, _FAR)
    share, rest = _share(x)
    return share + x * rest * (1 + share) * F.sigmoid(x)


_softplus = sloped(lambda x: logaddexp(x, jnp.zeros_like(x)), F.sigmoid)


def _bent(x: Array, beta: Array, threshold: Array) -> Array:
    straight = beta * x > threshold
    return jnp.where(straight, x, _softplus(jnp.where(straight, 0, beta * x)) / beta)


def _gated(axis: int, dtype: Any, x: Array) -> Array:
    a, b = jnp.split(x.astype(dtype), 2, axis)
    return a * F.sigmoid(b)


def _tilted(count: int, x: Array, weight: Array) -> Array:
    check_parameter("PReLU", "weight", weight, (count,))
    if count > 1:
        weight = jnp.reshape(weight, (count,) + (1,) * (x.ndim - 2))
    slope = F.stretch(weight if count > 1 else jnp.reshape(weight, (1,) * x.ndim), x.shape)
    return jnp.where(x > 0, x, slope * jnp.where(x > 0, 0, x))


_selu = _applied("SELU", _scaled)
_mish = _applied("Mish", sloped(lambda x: jnp.where(x < -_FAR, 0, x * _share(x)[0]), _mish_slope))
_thresholded = _applied("Softplus", _bent)
_glu = Primitive(_gated, "GLU")
_prelu = Primitive(_tilted, "PReLU")


class _Elementwise(Layer):
    """One function without options, element by element."""

    _function: ClassVar[Callable[..., Any]]

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        made: Tensor = type(self)._function(input)
        return made


class ReLU(_Elementwise):
    """``max(input, 0)``, element by element (the page of ``torch.nn.ReLU``)."""

    _function: ClassVar[Callable[..., Any]] = staticmethod(ops.relu)


class Tanh(_Elementwise):
    """The hyperbolic tangent, element by element (the page of ``torch.nn.Tanh``)."""

    _function: ClassVar[Callable[..., Any]] = staticmethod(ops.tanh)


class Sigmoid(_Elementwise):
    """``1 / (1 + exp(-input))``, element by element (the page of ``torch.nn.Sigmoid``)."""

    _function: ClassVar[Callable[..., Any]] = staticmethod(ops.sigmoid)


class SiLU(_Elementwise):
    """``input / (1 + exp(-input))``, element by element (Elfwing et al. 2018)."""

    _function: ClassVar[Callable[..., Any]] = staticmethod(ops.silu)


class SELU(_Elementwise):
    """A scaled `ELU` that keeps mean 0 and variance 1 (Klambauer et al. 2017, equation 2)."""

    _function = staticmethod(_selu)


class Mish(_Elementwise):
    """``input * tanh(log(1 + exp(input)))``, element by element (Misra 2019, equation 1)."""

    _function = staticmethod(_mish)


class LeakyReLU(Layer):
    """`input` where it is positive, else ``negative_slope * input`` (Maas et al. 2013).

    Parameters
    ----------
    negative_slope : number
    """

    _options = ("negative_slope=",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = check_number("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.leaky_relu(as_operand("LeakyReLU", input), self.negative_slope)


class ELU(Layer):
    """`input` where it is positive, else ``alpha * (exp(input) - 1)`` (Clevert et al. 2016, 15).

    Parameters
    ----------
    alpha : number
    """

    _options = ("alpha=",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = check_number("ELU", "alpha", alpha)

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.elu(input, self.alpha)


class GELU(Layer):
    """`input` times the share of the normal distribution below it (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    approximate : {"none", "tanh"}
        Whether that share is computed by the hyperbolic tangent.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        check_choice("GELU", "approximate", approximate, ("none", "tanh"))
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return ops.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Return the option, as Python writes it."""
        return f"approximate={self.approximate!r}"


class Softplus(Layer):
    """``log(1 + exp(beta * input)) / beta``, or `input` where it is large (Glorot et al. 2011).

    Parameters
    ----------
    beta : number
    threshold : number
        Where ``beta * input`` is above it the result is `input`.

    Raises
    ------
    ValueError
        If `beta` is 0.
    """

    _options = ("beta=", "threshold=")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = finite("Softplus", "beta", beta)
        self.threshold = check_number("Softplus", "threshold", threshold)
        if self.beta == 0:  # nn-29
            refuse("Softplus", "beta", "another number than 0", beta)

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape."""
        return _thresholded(input, self.beta, self.threshold)


class PReLU(Layer):
    """`input` where it is positive, else ``weight * input`` (He et al. 2015, equation 1).

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels, which are axis 1 of the input.
    init : number
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)
    """

    num_parameters: int
    _options = ("num_parameters=",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None) -> None:
        super().__init__(dtype=dtype)
        self._take_sizes(num_parameters=num_parameters)
        self.init = check_number("PReLU", "init", init)
        self._parameter("weight", np.full(self.num_parameters, self.init))

    def forward(self, input: Any) -> Tensor:
        """Map shape (N, num_parameters, *), or any shape for one parameter, to the same shape.

        Raises
        ------
        ValueError
            If there is another number of channels.
        TypeError
            If its dtype is not that of the parameters.
        """
        x, count = self._of_dtype("input", as_operand("PReLU", input)), self.num_parameters
        if count not in (1, *shape_of(x)[1:2]):  # nn-28
            wanted = f"of num_parameters = {count} channels along axis 1"
            refuse("PReLU", "input", wanted, f"shape {shape_of(x)}")
        made: Tensor = _prelu((x, self.weight), count)
        return made


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


class GLU(_AlongAxis):
    """``a * sigmoid(b)``, `a` and `b` the halves along the axis `dim` (Dauphin et al. 2017, 1).

    Parameters
    ----------
    dim : int
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)

    def forward(self, input: Any) -> Tensor:
        """Map shape (..., 2 n, ...) to shape (..., n, ...).

        Raises
        ------
        ValueError
            If the size of the axis is odd, or there is no such axis.
        """
        x = as_operand("GLU", input)
        axis = normalize_axis("GLU", self.dim, shape_of(x))
        if shape_of(x)[axis] % 2:  # nn-30
            refuse("GLU", f"axis {self.dim}", "of even size", shape_of(x)[axis])
        made: Tensor = _glu((x,), axis, floating(dtype_of(x)))
        return made
