"""Steps, remainders and bits."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_kinds
from impl_cupy.launch import fused, pointwise
from impl_cupy.ops.elementwise import no_booleans
from impl_cupy.ops.families import STANDARD, Operation, binary, bits, row, unary
from impl_cupy.recording import as_operands, as_tensor, floating, record
from impl_cupy.tensor import Tensor


def _nothing(node: Any, grad: Any) -> Any:
    """Return 0, whatever arrives (ops-33)."""
    return node.xp.zeros_like(grad)


def _step(name: str, function: Any, summary: str) -> Operation:
    """Make a function to whole numbers; integers are whole."""
    whole = no_booleans(name, lambda raw: function(raw) if raw.dtype.kind in "fc" else raw.copy())
    return unary(name, whole, _nothing, f"{summary}; the gradient is 0.")


ceil = _step("ceil", cp.ceil, "Round up to a whole number")
floor = _step("floor", cp.floor, "Round down to a whole number")
trunc = _step("trunc", cp.trunc, "Round to a whole number towards 0")
round = _step("round", cp.rint, "Round to the nearest whole number, at ties to the even one")


floor_divide = binary(
    "floor_divide",
    no_booleans("floor_divide", lambda a, b: pointwise("floor_divide")(a, b)),
    (_nothing, _nothing),
    "Return ``x1 // x2`` as Python's, and 0 of integers where `x2` is 0; the gradient is 0.",
)
remainder = binary(
    "remainder",
    no_booleans("remainder", lambda a, b: pointwise("remainder_of")(a, b)),
    (
        lambda _, grad: grad,
        fused(
            "remainder_backward",
            "x other",
            lambda node, grad: -grad * node.xp.floor_divide(node.x, node.other),
        ),
    ),
    "Return ``x1 % x2`` as Python's, with the sign of `x2`; of integers 0 where `x2` is 0.",
    uses=("", "x other"),
)


def _with_sign(node: Any, grad: Any) -> Any:
    """Return ``grad * copysign(1, x2) * sign(x1)``, 0 where `x1` is 0."""
    xp, x = node.xp, node.x
    signed = grad * (xp.copysign(xp.ones_like(grad), node.other) * xp.sign(x))
    return xp.where(x == 0, xp.zeros_like(grad), signed)


copysign = binary(
    "copysign",
    cp.copysign,
    (fused("copysign_backward", "x other", _with_sign), _nothing),
    "Return `x1` with the sign of `x2`, whose gradient is 0.",
    uses=("x other", ""),
    real=True,
)


def _nextafter(x1: Any, x2: Any, /) -> Tensor:
    a, b = as_operands("nextafter", x1, x2)
    return record("nextafter", cp.nextafter, None, (floating(a), floating(b)))


nextafter = row(
    _nextafter,
    "nextafter",
    "Return the next number of the dtype after `x1` towards `x2`; there is no gradient.",
    """
Parameters
----------
x1, x2 : Tensor, raw array or number
    Arrays, or an array and a number, whose shapes broadcast; integers become float32.

Returns
-------
Tensor, the shape that `x1` and `x2` broadcast to

Raises
------
TypeError
    If neither is an array, or one is neither an array nor a number.
ValueError
    If the shapes do not broadcast.
""",
    STANDARD,
)

bitwise_and = bits("bitwise_and", cp.bitwise_and, "Return the bits that both have.")
bitwise_or = bits("bitwise_or", cp.bitwise_or, "Return the bits that one has, or both.")
bitwise_xor = bits("bitwise_xor", cp.bitwise_xor, "Return the bits that one of two has.")
bitwise_left_shift = bits(
    "bitwise_left_shift",
    lambda a, b: pointwise("shifted_left")(a, b),
    "Return ``x1 * 2 ** x2``; 0 where `x2` is negative or no less than the number of bits.",
    booleans=False,
)
bitwise_right_shift = bits(
    "bitwise_right_shift",
    lambda a, b: pointwise("shifted_right")(a, b),
    "Return ``x1 // 2 ** x2``; 0 or -1 where `x2` is negative or no less than the number of bits.",
    booleans=False,
)


def _bitwise_invert(x: Any, /) -> Tensor:
    value = as_tensor("bitwise_invert", x)
    check_kinds("bitwise_invert", value, "biu")
    return record("bitwise_invert", cp.invert, None, (value,))


bitwise_invert = row(
    _bitwise_invert,
    "bitwise_invert",
    "Return the bits that `x` has not.",
    """
Parameters
----------
x : Tensor or raw array of integers or bool, any shape

Returns
-------
Tensor, shape of `x`

Raises
------
TypeError
    If `x` is no array, or neither integers nor bool.
""",
    STANDARD,
)
