"""Roots, exponentials, logarithms and angles, element by element.

Each has the derivative that ops-37 writes down, which is a formula that JAX differentiates again.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..checks import check_real
from ..dtypes import floating
from ..recording import Primitive, as_pair
from ..tape import unwrap
from . import formulas as F
from .families import NO_BROADCAST, TWO_REAL, binary, listed, unary

Array = Any
Formula = Callable[[Array], Array]


def sloped(formula: Formula, slope: Formula) -> Formula:
    """Return a function of one array, element by element, with a derivative that is given."""

    @jax.custom_jvp
    def function(x: Array) -> Array:
        return formula(x)

    @function.defjvp
    def _jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        (x,), (dx,) = primals, tangents
        return function(x), slope(x) * dx

    made: Formula = function
    return made


def _row(name: str, formula: Formula, slope: Formula, doc: str) -> Formula:
    function = sloped(formula, slope)
    unary(name, function, doc, real=True, complexes=True)
    return function


_row("reciprocal", lambda x: 1 / x, lambda x: -1 / (x * x), "Return ``1 / x``.")
expm1 = _row("expm1", jnp.expm1, jnp.exp, "Return ``exp(x) - 1`` with its digits near 0.")
_row("log1p", jnp.log1p, lambda x: 1 / (1 + x), "Return ``log(1 + x)`` with its digits near 0.")
_row("log2", jnp.log2, lambda x: 1 / (x * math.log(2)), "Return the logarithm to base 2.")
_row("log10", jnp.log10, lambda x: 1 / (x * math.log(10)), "Return the logarithm to base 10.")


@jax.custom_jvp
def _tan(x: Array) -> Array:
    return jnp.tan(x)


@_tan.defjvp
def _tan_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    out = _tan(primals[0])
    return out, (1 + out * out) * tangents[0]


def _asin_slope(x: Array) -> Array:
    return 1 / jnp.sqrt((1 - x) * (1 + x))


unary("tan", _tan, "Return the tangent.", real=True, complexes=True)
_row("asin", jnp.arcsin, _asin_slope, "Return the inverse sine.")
_row("acos", jnp.arccos, lambda x: -_asin_slope(x), "Return the inverse cosine.")
_row("atan", jnp.arctan, lambda x: 1 / (1 + x * x), "Return the inverse tangent.")
_row("sinh", jnp.sinh, jnp.cosh, "Return the hyperbolic sine.")
_row("cosh", jnp.cosh, jnp.sinh, "Return the hyperbolic cosine.")
_row("asinh", jnp.arcsinh, lambda x: 1 / jnp.sqrt(1 + x * x), "Return the inverse of `sinh`.")


def _acosh_slope(x: Array) -> Array:
    if x.dtype.kind == "c":
        # The root of the product is another one in the left half of the plane.
        return 1 / (jnp.sqrt(x - 1) * jnp.sqrt(x + 1))
    return 1 / jnp.sqrt((x - 1) * (x + 1))


_row("acosh", jnp.arccosh, _acosh_slope, "Return the inverse of `cosh`.")


def _atanh(x: Array) -> Array:
    if x.dtype.kind == "c":
        return jnp.arctanh(x)
    # One logarithm: the difference of two loses digits near 0.
    size = jnp.abs(x)
    return jnp.copysign(jnp.log1p(2 * size / (1 - size)) / 2, x)


_row("atanh", _atanh, lambda x: 1 / ((1 - x) * (1 + x)), "Return the inverse of `tanh`.")
unary(
    "erf",
    sloped(lax.erf, lambda x: 2 / math.sqrt(math.pi) * jnp.exp(-x * x)),
    "Return the error function.",
    real=True,
    source="page of torch.erf",
)


@jax.custom_jvp
def _atan2(x: Array, y: Array) -> Array:
    return jnp.arctan2(x, y)


@_atan2.defjvp
def _atan2_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, y), (dx, dy) = primals, tangents
    length = x * x + y * y
    return _atan2(x, y), y / length * dx - x / length * dy


@jax.custom_jvp
def _hypot(x: Array, y: Array) -> Array:
    x, y = jnp.abs(x), jnp.abs(y)
    larger = jnp.maximum(x, y)
    ratio = jnp.minimum(x, y) / jnp.where(larger == 0, 1, larger)
    out = larger * jnp.sqrt(1 + ratio * ratio)
    return jnp.where(jnp.isinf(x) | jnp.isinf(y), jnp.inf, out)


@_hypot.defjvp
def _hypot_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, y), (dx, dy) = primals, tangents
    out = _hypot(x, y)
    length = jnp.where(out == 0, 1, out)
    return out, x / length * dx + y / length * dy


@jax.custom_jvp
def logaddexp(x: Array, y: Array) -> Array:
    """Return log(exp(x) + exp(y)) of two arrays of one shape, without overflow."""
    # Equal ones may be infinite, and their difference NaN.
    same = x == y
    apart = jnp.where(same, 0, x - y)
    return jnp.maximum(x, y) + jnp.log1p(jnp.exp(-jnp.abs(apart)))


@logaddexp.defjvp
def _logaddexp_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, y), (dx, dy) = primals, tangents
    return logaddexp(x, y), F.sigmoid(x - y) * dx + F.sigmoid(y - x) * dy


@jax.custom_jvp
def _copysign(x: Array, y: Array) -> Array:
    return jnp.copysign(x, y)


@_copysign.defjvp
def _copysign_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, y), (dx, _) = primals, tangents
    slope = lax.stop_gradient(jnp.copysign(jnp.ones_like(x), y) * jnp.sign(x))
    return _copysign(x, y), jnp.where(x == 0, 0, slope * dx)


binary("atan2", _atan2, "Return the angle of the point ``(x2, x1)``.", real=True)
binary(
    "hypot",
    _hypot,
    "Return ``sqrt(x1 ** 2 + x2 ** 2)``, which overflows no sooner than it must.",
    real=True,
)
binary("logaddexp", logaddexp, "Return ``log(exp(x1) + exp(x2))``, without overflow.", real=True)
binary("copysign", _copysign, "Return `x1` with the sign of `x2`.", real=True)


def _next(dtype: Any, x: Array, y: Array) -> Array:
    x, y = F.stretched(lax.stop_gradient(x), lax.stop_gradient(y))
    return lax.nextafter(x.astype(dtype), y.astype(dtype))


_nextafter = Primitive(_next, "nextafter")


@listed(TWO_REAL, "the common shape", NO_BROADCAST)
def nextafter(x1: Any, x2: Any, /) -> Any:
    """Return the number of the dtype that is next to `x1` towards `x2`; it has no gradient."""
    x1, x2, dtype = as_pair("nextafter", x1, x2)
    check_real("nextafter", dtype)
    # The values alone: what is recorded would require grad. # ops-33
    return _nextafter((unwrap(x1), unwrap(x2)), floating(dtype))
