"""Functions element by element, and selections from two values or between bounds."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import (
    Shape,
    as_dtype,
    as_number,
    as_scalar,
    check_broadcast,
    check_cast,
    check_flag,
    check_int,
    check_real,
    refuse,
)
from ..creation import on_device
from ..dtypes import DType, bool_, is_inexact, promote, promote_number
from ..recording import Primitive, as_operand, as_pair, dtype_of, is_array, shape_of
from ..tape import Traced, unwrap
from . import formulas as F
from .families import binary, listed, unary
from .plans import shape

Array = Any


@jax.custom_jvp
def magnitude(x: Array) -> Array:
    """Return the absolute value of a complex x, any shape, real, with gradient 0 at 0."""
    infinite = jnp.isinf(jnp.real(x)) | jnp.isinf(jnp.imag(x))
    return jnp.where(infinite, jnp.inf, jnp.abs(x))  # beside a NaN too, as the standard has it


@magnitude.defjvp
def _magnitude_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    towards = direction(x)
    return magnitude(x), jnp.real(towards) * jnp.real(dx) + jnp.imag(towards) * jnp.imag(dx)


@jax.custom_jvp
def direction(x: Array) -> Array:
    """Return a complex x, any shape, divided by its absolute value; 0 with gradient 0 at 0."""
    size = magnitude(x)
    return jnp.where(size == 0, 0, x / jnp.where(size == 0, 1, size))


@direction.defjvp
def _direction_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # ops-61: what of dx is across x turns it.
    (x,), (dx,) = primals, tangents
    out, size = direction(x), magnitude(x)
    across = dx - out * jnp.real(jnp.conj(out) * dx)
    return out, jnp.where(size == 0, 0, across / jnp.where(size == 0, 1, size))


def size_of(x: Array) -> Array:
    """Return the absolute value of x, any shape, real or complex, with gradient 0 at 0."""
    return magnitude(x) if x.dtype.kind == "c" else F.absolute(x)


def _sign(x: Array) -> Array:
    if x.dtype.kind == "c":
        return direction(x)
    # The sign of -0.0 is 0.0.
    return jnp.where(x == 0, jnp.zeros_like(x), jnp.sign(x))


unary("abs", size_of, "Return the absolute value; its gradient at 0 is 0.", complexes=True)
unary(
    "negative",
    jnp.negative,
    "Return ``-x``.",
    keeps=F.nothing,
    booleans="refused",
    complexes=True,
)
unary("exp", jnp.exp, "Return e to the power `x`.", real=True, complexes=True)
unary("log", jnp.log, "Return the natural logarithm.", real=True, complexes=True)
unary(
    "sqrt",
    jnp.sqrt,
    "Return the square root; its gradient at 0 is infinite.",
    real=True,
    complexes=True,
)
unary("square", jnp.square, "Return ``x * x``.", booleans="int64", complexes=True)
unary("tanh", jnp.tanh, "Return the hyperbolic tangent.", real=True, complexes=True)
unary("sin", jnp.sin, "Return the sine.", real=True, complexes=True)
unary("cos", jnp.cos, "Return the cosine.", real=True, complexes=True)
unary(
    "sign",
    _sign,
    "Return -1, 0 or 1 with gradient 0; of complex numbers ``x / abs(x)``.",
    booleans="refused",
    complexes=True,
)

_TIES = "element by element; at a tie each operand gets half the gradient."  # ops-08

binary("add", lambda x, y: x + y, "Return ``x1 + x2``.", keeps=F.nothing, complexes=True)
binary(
    "subtract",
    lambda x, y: x - y,
    "Return ``x1 - x2``.",
    keeps=F.nothing,
    booleans="refused",
    complexes=True,
)
binary("multiply", lambda x, y: x * y, "Return ``x1 * x2``.", keeps=F.others, complexes=True)
binary(
    "divide",
    lambda x, y: x / y,
    "Return ``x1 / x2``.",
    real=True,
    keeps=F.divisor,
    complexes=True,
)
binary("maximum", F.maximum, f"Return the larger, {_TIES}")
binary("minimum", F.minimum, f"Return the smaller, {_TIES}")

_integer_power = Primitive(F.integer_power, "pow")


def _known_power(x1: Any, x2: Any) -> Any:
    """Return a small whole power of numbers with gradients, which needs no logarithm; or None."""
    x2 = as_number(x2)
    small = isinstance(x2, int | float) and not isinstance(x2, bool) and x2 in (0, 1, 2, 3, 4)
    if small and isinstance(x1, Traced) and is_inexact(dtype_of(x1)):
        return _integer_power((x1,), int(x2))
    return None


def _check_exponent(exponent: Any, dtype: DType) -> None:
    """Raise `ValueError` for a negative power in integers, where values are known."""
    values = unwrap(exponent)
    if is_inexact(dtype) or isinstance(values, jax.core.Tracer):
        return
    if bool((np.asarray(values) < 0).any()):
        msg = (
            "pow: exponents of integers must not be negative, got one that is; convert one operand "
            "to a floating dtype"
        )
        raise ValueError(msg)


@jax.custom_jvp
def _complex_power(x: Array, y: Array) -> Array:
    none = x == 0
    return jnp.where(y == 0, 1, jnp.where(none, 0, jnp.power(jnp.where(none, 1, x), y)))


@_complex_power.defjvp
def _complex_power_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    # ops-61. As `formulas.power`: y stays a factor of the slope, for the slope's own derivative.
    (x, y), (dx, dy) = primals, tangents
    out = _complex_power(x, y)
    slope = y * _complex_power(x, jnp.where((x == 0) & (y == 0), 1, y - 1))
    growth = jnp.where(x == 0, 0, out * jnp.log(jnp.where(x == 0, 1, x)))
    return out, slope * dx + growth * dy


def _power(x: Array, y: Array) -> Array:
    return _complex_power(x, y) if x.dtype.kind == "c" else F.power(x, y)


binary(
    "pow",
    _power,
    "Return ``x1 ** x2``, with ``0 ** 0 = 1`` and gradient 0 there.",
    shortcut=_known_power,
    check=_check_exponent,
    booleans="int64",
    complexes=True,
)

_where = Primitive(F.where, "where", F.first_only)


@listed(
    "condition : Tensor or raw array of booleans\n"
    "x1, x2 : Tensor, raw array or number\n    All three shapes broadcast.",
    "the common shape",
    "TypeError\n    If the condition is not of booleans, or an operand neither array nor number.\n"
    "ValueError\n    If the shapes do not broadcast.",
)
def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """Select `x1` where `condition`, else `x2`; the other one's gradient is exactly 0."""  # ops-10
    condition = as_operand("where", condition)
    if dtype_of(condition) != bool_:
        msg = f"where: the condition must be of booleans, got dtype {dtype_of(condition)}"
        raise TypeError(msg)
    x1, x2 = as_number(x1), as_number(x2)
    numbers = [value for value in (x1, x2) if isinstance(value, int | float | complex)]
    if len(numbers) < 2 or is_array(x1) or is_array(x2):
        x1, x2, dtype = as_pair("where", x1, x2)
    else:  # ops-21
        dtype = promote_number(x2, promote_number(x1, bool_))
        x1, x2 = as_scalar("where", x1, dtype), as_scalar("where", x2, dtype)
    check_broadcast("where", shape_of(condition), shape_of(x1), shape_of(x2))
    return _where((condition, x1, x2), dtype)


_clip = Primitive(F.clip, "clip")


@listed(
    "x : Tensor or raw array, any shape\nmin, max : Tensor, raw array or number, optional\n"
    "    The shapes broadcast.",
    "the common shape",
)
def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Return `x` kept within bounds; the gradient passes where ``min <= x <= max``."""
    x = as_operand("clip", x)
    dtype = dtype_of(x)
    bounds = []
    for bound in (min, max):
        if bound is None:
            continue
        _, bound, joint = as_pair("clip", x, bound)
        dtype = promote("clip", dtype, joint)
        bounds.append(bound)
    check_real("clip", dtype)
    return _clip((x, *bounds), dtype, min is not None, max is not None)


_astype = Primitive(lambda dtype, x: F.cast(x, dtype), "astype", F.nothing)


@listed(
    "x : Tensor or raw array, any shape\ndtype : dtype\n"
    "copy : bool\n    False may give `x` itself back where it has the dtype.\n"
    "device : jax.Device, optional",
    "the shape of x",
    "TypeError\n    If `x` is no array, or no Tensor has the dtype.",
)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Return `x` in another dtype; a gradient that there is comes back in that of `x`."""
    x = as_operand("astype", x)
    wanted = as_dtype("astype", dtype, None)
    check_cast("astype", dtype_of(x), wanted)
    copy = check_flag("astype", "copy", copy)
    if device is not None:
        return on_device("astype", _astype((x,), wanted), device)
    if not copy and isinstance(x, Traced) and dtype_of(x) == wanted:
        return x
    return _astype((x,), wanted)  # ops-11


def _triangle(lower: bool, k: int, x: Any) -> Any:
    # Selected, not multiplied: what is left out has gradient 0 whatever arrives. # ops-43
    rows, columns = x.shape[-2:]
    places = np.arange(columns) - np.arange(rows)[:, None]
    return jnp.where(places <= k if lower else places >= k, x, jnp.zeros_like(x))


_tril = Primitive(functools.partial(_triangle, True), "tril", F.nothing)
_triu = Primitive(functools.partial(_triangle, False), "triu", F.nothing)
_DIAGONAL = (
    "k : int\n    The last diagonal that is kept; 0 is the main one, above it they count up.",
    "the shape of x",
    "ValueError\n    If `x` has fewer than two axes.\nTypeError\n    If `k` is no int.",
)


def _kept_diagonal(name: str, x: Shape, k: Any) -> int:
    number = check_int(name, "k", k)
    if len(x) < 2:
        refuse(name, "x", "of two axes at least", f"shape {x}")
    return max(-x[-2], min(number, x[-1]))


@shape(_tril, *_DIAGONAL)
def tril(x: Shape, /, *, k: int = 0) -> int:
    """Return what is on a diagonal and below it, and 0 elsewhere."""
    return _kept_diagonal("tril", x, k)


@shape(_triu, *_DIAGONAL)
def triu(x: Shape, /, *, k: int = 0) -> int:
    """Return what is on a diagonal and above it, and 0 elsewhere."""
    return _kept_diagonal("triu", x, k)
