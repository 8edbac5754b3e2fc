"""Activations, and softmax with its logarithm, which do not overflow."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..checks import as_scalar, check_choice, check_number, check_real
from ..dtypes import floating
from ..recording import Primitive, as_operand, dtype_of
from . import formulas as F
from .families import NO_ARRAY, REAL_ONE, along, along_reduced, listed, unary
from .transcendental import expm1, logaddexp, sloped

Array = Any

unary(
    "relu", F.relu, "Return ``max(x, 0)``; the gradient at 0 is 0.",
    source="page of torch.nn.functional.relu",
)  # fmt: skip
unary(
    "sigmoid", F.sigmoid, "Return ``1 / (1 + exp(-x))``.", real=True,
    source="page of torch.sigmoid",
)  # fmt: skip
along(
    "softmax", F.softmax, "Return ``exp(x) / sum(exp(x))`` along an axis, without overflow.",
    source="page of torch.nn.functional.softmax",
)  # fmt: skip
along(
    "log_softmax", F.log_softmax, "Return the logarithm of `softmax`, without overflow.",
    source="page of torch.nn.functional.log_softmax",
)  # fmt: skip
along_reduced(
    "logsumexp", F.logsumexp, "Return ``log(sum(exp(x)))`` along axes, without overflow.",
    source="page of torch.logsumexp",
)  # fmt: skip

# Beyond these the derivatives of `silu` and `gelu` are 0 and 1 in every dtype, and no product of
# an infinite number and 0 must make them NaN. # ops-37
_FAR_SILU, _FAR_GELU = 1000.0, 100.0


def _kept(x: Array, far: float) -> Array:
    return jnp.where(jnp.abs(x) > far, far * jnp.sign(x), x)


def _silu_slope(x: Array) -> Array:
    x = _kept(x, _FAR_SILU)
    value, rest = F.sigmoid_and_rest(x)
    return value + x * value * rest


def _normal_slope(x: Array) -> Array:
    x = _kept(x, _FAR_GELU)
    return _below(x) + x * jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _tail(x: Array) -> Array:
    return lax.erfc(-x / math.sqrt(2)) / 2


# The share of the normal distribution that is below x.
_below = sloped(_tail, lambda x: jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi))

_CUBE = 0.044715


def _bent(x: Array) -> Array:
    # ``(1 + tanh(u)) / 2`` is the sigmoid of ``2 * u``.
    return 2 * math.sqrt(2 / math.pi) * (x + _CUBE * x * x * x)


def _tanh_slope(x: Array) -> Array:
    x = _kept(x, _FAR_GELU)
    value, rest = F.sigmoid_and_rest(_bent(x))
    slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * _CUBE * x * x)
    return value + x * value * rest * slope


_silu = sloped(lambda x: jnp.where(x < -_FAR_SILU, 0, x * jax.nn.sigmoid(x)), _silu_slope)
_GELU = {
    "none": sloped(lambda x: jnp.where(x < -_FAR_GELU, 0, x * _tail(x)), _normal_slope),
    "tanh": sloped(
        lambda x: jnp.where(x < -_FAR_GELU, 0, x * jax.nn.sigmoid(_bent(x))), _tanh_slope
    ),
}

unary(
    "silu", _silu, "Return ``x * sigmoid(x)``.", real=True,
    source="page of torch.nn.functional.silu",
)  # fmt: skip
unary(
    "softplus", sloped(lambda x: logaddexp(x, jnp.zeros_like(x)), F.sigmoid),
    "Return ``log(1 + exp(x))``, without overflow.", real=True,
    source="page of torch.nn.functional.softplus",
)  # fmt: skip

_leaky_relu = Primitive(
    lambda dtype, x, slope: jnp.where(x > 0, x.astype(dtype), slope * x.astype(dtype)),
    "leaky_relu",
)


def _bounded(dtype: Any, x: Array, alpha: Array) -> Array:
    x = x.astype(dtype)
    # Where x is chosen, the other branch must be finite.
    return jnp.where(x > 0, x, alpha * expm1(jnp.where(x > 0, 0, x)))


_elu = Primitive(_bounded, "elu")
_gelu = Primitive(lambda form, dtype, x: _GELU[form](x.astype(dtype)), "gelu")


def _shaped(name: str, primitive: Primitive, x: Any, argument: str, number: Any) -> Any:
    x = as_operand(name, x)
    check_real(name, dtype_of(x))
    dtype = floating(dtype_of(x))
    # An operand and not static, so that one program serves every number.
    return primitive((x, as_scalar(name, check_number(name, argument, number), dtype)), dtype)


@listed(
    f"{REAL_ONE}\nnegative_slope : number",
    "the shape of x",
    NO_ARRAY,
    "page of torch.nn.functional.leaky_relu",
)
def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Any:
    """Return `x` where it is positive, else ``negative_slope * x``."""
    return _shaped("leaky_relu", _leaky_relu, x, "negative_slope", negative_slope)


@listed(
    f"{REAL_ONE}\nalpha : number",
    "the shape of x",
    NO_ARRAY,
    "page of torch.nn.functional.elu",
)
def elu(x: Any, /, alpha: float = 1.0) -> Any:
    """Return `x` where it is positive, else ``alpha * expm1(x)``."""
    return _shaped("elu", _elu, x, "alpha", alpha)


@listed(
    f'{REAL_ONE}\napproximate : {{"none", "tanh"}}',
    "the shape of x",
    f"ValueError\n    If `approximate` is neither.\n{NO_ARRAY}",
    "page of torch.nn.functional.gelu",
)
def gelu(x: Any, /, approximate: str = "none") -> Any:
    """Return `x` times the share of the normal distribution that is below it."""
    x = as_operand("gelu", x)
    check_real("gelu", dtype_of(x))
    check_choice("gelu", "approximate", approximate, tuple(_GELU))
    return _gelu((x,), approximate, floating(dtype_of(x)))
