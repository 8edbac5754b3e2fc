"""Steps and what they leave over, and the bits of integers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..dtypes import is_floating, is_inexact
from ..recording import Primitive, as_operand, dtype_of
from . import formulas as F
from .families import binary, bits, listed, unary

Array = Any


def _step(name: str, formula: Callable[[Array], Array], doc: str, complexes: bool = False) -> None:
    """Make a function whose gradient is 0, and that leaves integers as they are."""
    unary(
        name,
        lambda x: formula(x) if is_inexact(x.dtype) else x,
        doc,
        keeps=F.nothing,
        booleans="refused",
        complexes=complexes,
    )


def _rounded(x: Array) -> Array:
    if x.dtype.kind == "c":
        return lax.complex(_rounded(jnp.real(x)), _rounded(jnp.imag(x)))
    return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)


_step("ceil", lax.ceil, "Return the least whole number that is not below; the gradient is 0.")
_step("floor", lax.floor, "Return the greatest whole number that is not above; the gradient is 0.")
_step("trunc", jnp.trunc, "Return the whole part; the gradient is 0.")
_step(
    "round",
    _rounded,
    "Return the nearest whole number, the even one at a tie; the gradient is 0.",
    complexes=True,
)
unary(
    "positive",
    lambda x: x,
    "Return ``+x``.",
    keeps=F.nothing,
    booleans="refused",
    complexes=True,
)


def _of_integers(formula: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """Return what a division of integers gives, and 0 where the divisor is 0."""
    none = y == 0
    return jnp.where(none, 0, formula(x, jnp.where(none, 1, y)))


@jax.custom_jvp
def _quotient(x: Array, y: Array) -> Array:
    # As Python and NumPy: from the remainder, so that the two belong together to rounding.
    rest = lax.rem(x, y)
    other_sign = (rest != 0) & ((rest < 0) != (y < 0))
    near = (x - rest) / y - other_sign.astype(x.dtype)
    whole = jnp.floor(near)
    whole = jnp.where(near - whole > 0.5, whole + 1, whole)
    # A quotient of 0 has the sign of the division. # ops-34
    whole = jnp.where(near == 0, jnp.copysign(jnp.zeros_like(x), x / y), whole)
    return jnp.where(y == 0, x / y, whole)


@_quotient.defjvp
def _quotient_jvp(primals: tuple[Array, Array], _: Any) -> tuple[Array, Array]:
    out = _quotient(*primals)
    return out, jnp.zeros_like(out)


@jax.custom_jvp
def _rest(x: Array, y: Array) -> Array:
    out = jnp.remainder(x, y)
    return jnp.where(out == 0, jnp.copysign(jnp.zeros_like(y), y), out)


@_rest.defjvp
def _rest_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    # ops-34: at its jumps too.
    return _rest(*primals), tangents[0] - _quotient(*primals) * tangents[1]


def _floor_divide(x: Array, y: Array) -> Array:
    return _quotient(x, y) if is_floating(x.dtype) else _of_integers(jnp.floor_divide, x, y)


def _remainder(x: Array, y: Array) -> Array:
    return _rest(x, y) if is_floating(x.dtype) else _of_integers(jnp.remainder, x, y)


binary(
    "floor_divide",
    _floor_divide,
    "Return the greatest whole number that is not above ``x1 / x2``; the gradient is 0.",
    keeps=F.nothing,
    booleans="refused",
)
binary(
    "remainder",
    _remainder,
    "Return ``x1 - x2 * floor_divide(x1, x2)``, which has the sign of `x2`.",
    booleans="refused",
)


def _counted(x: Array, count: Array) -> tuple[Array, Array]:
    """Return where a count of bits is less than there are, and the counts, 0 elsewhere."""
    inside = (count >= 0) & (count < jnp.iinfo(x.dtype).bits)
    return inside, jnp.where(inside, count, 0)


def _left(x: Array, count: Array) -> Array:
    inside, count = _counted(x, count)
    return jnp.where(inside, lax.shift_left(x, count), 0)


def _right(x: Array, count: Array) -> Array:
    inside, count = _counted(x, count)
    if x.dtype.kind == "u":
        return jnp.where(inside, lax.shift_right_logical(x, count), 0)
    beyond = jnp.where(x < 0, jnp.full_like(x, -1), 0)
    return jnp.where(inside, lax.shift_right_arithmetic(x, count), beyond)


_BEYOND = "; a count beyond the bits leaves 0"

bits("bitwise_and", jnp.bitwise_and, "Return the bits that both have.")
bits("bitwise_or", jnp.bitwise_or, "Return the bits that either has.")
bits("bitwise_xor", jnp.bitwise_xor, "Return the bits that one of both has.")
bits("bitwise_left_shift", _left, f"Return ``x1 * 2 ** x2``, bit by bit{_BEYOND}.", booleans=False)
bits(
    "bitwise_right_shift",
    _right,
    f"Return ``x1 // 2 ** x2``, bit by bit{_BEYOND}, or -1 of a negative number.",
    booleans=False,
)

_invert = Primitive(jnp.invert, "bitwise_invert", F.nothing)


@listed(
    "x : Tensor or raw array of integers or booleans",
    "the shape of x",
    "TypeError\n    If `x` is no array, or of floating numbers.",
)
def bitwise_invert(x: Any, /) -> Any:
    """Return the bits that `x` has not; of booleans, what is false."""
    x = as_operand("bitwise_invert", x)
    dtype = dtype_of(x)
    if dtype.kind not in "biu":  # ops-35
        msg = f"bitwise_invert: x must be integers or booleans, got dtype {dtype}"
        raise TypeError(msg)
    return _invert((x,))
