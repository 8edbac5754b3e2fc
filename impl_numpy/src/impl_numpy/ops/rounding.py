"""Functions of elements that go by steps: rounding, division with remainder, bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from impl_numpy.dtypes import Array, Value, bool_
from impl_numpy.ops.elementwise import masked
from impl_numpy.ops.families import apply_binary, binary, registered, unary
from impl_numpy.recording import Grads, Primitive, raw
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, wrap


def _of_numbers(ufunc: Callable[..., Any]) -> Callable[..., Any]:
    """Return a computation that refuses booleans (tensor-40), which NumPy makes small ints of."""

    def compute(*arrays: Array) -> Any:
        if all([x.dtype == bool_ for x in arrays]):
            msg = "booleans are no numbers; cast with astype first"
            raise TypeError(msg)
        return ufunc(*arrays)

    return compute


def _flat(grad: Value, x: None, out: None) -> Value:
    return masked(grad, np.zeros((), bool_))  # ops-33


def _flat_vjp(grad: Value, needs: Parents, a: None, b: None, out: None) -> Grads:
    zero = masked(grad, np.zeros(grad.shape, bool_))
    return zero, zero


def _remainder_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    whole = None if needs[1] is None else np.floor_divide(raw(a), raw(b))
    return grad, None if whole is None else -(grad * whole)  # ops-34


positive = unary("positive", np.positive, lambda g, x, y: g, None, "Return +x.", floats=False)
ceil = unary(
    "ceil",
    _of_numbers(np.ceil),
    _flat,
    None,
    "Return the least integer from x on.",
    floats=False,
    real=True,
)
floor = unary(
    "floor",
    _of_numbers(np.floor),
    _flat,
    None,
    "Return the greatest integer to x.",
    floats=False,
    real=True,
)
trunc = unary(
    "trunc",
    _of_numbers(np.trunc),
    _flat,
    None,
    "Return x without its fraction.",
    floats=False,
    real=True,
)
round = unary(
    "round",
    _of_numbers(np.round),
    _flat,
    None,
    "Return the nearest integer, the even one of two.",
    floats=False,
)
floor_divide = binary(
    "floor_divide",
    _of_numbers(np.floor_divide),
    _flat_vjp,
    ((), ()),
    "Return x1 / x2, rounded down.",
    real=True,
)
remainder = binary(
    "remainder",
    _of_numbers(np.remainder),
    _remainder_vjp,
    ((), (0, 1)),
    "Return what x1 is more than a multiple of x2, with the sign of x2.",
    real=True,
)

_next = Primitive(
    "nextafter",
    np.nextafter,
    lambda grad, needs, *_: (None, None),
    ((), ()),
    floats=True,
    real=True,
    stretches=True,
)
_STEP = """Parameters
----------
x1, x2 : Tensor or raw array, shapes that broadcast
    One of them may be a Python number, which takes the other's dtype.

Returns
-------
Tensor without history, of the common shape and dtype

Raises
------
ValueError
    If the shapes do not broadcast.
TypeError
    If an operand is none of these."""


@registered("nextafter", "Return the number next to x1 on the way to x2.", _STEP)
def nextafter(x1: Any, x2: Any, /) -> Tensor:  # ops-33
    return wrap(apply_binary(_next, x1, x2)._data, None)


def _shift(ufunc: np.ufunc) -> Callable[..., Any]:
    def compute(x: Array, count: Array) -> Any:
        if bool_ in (x.dtype, count.dtype):
            msg = "booleans have no bits to shift; cast with astype first"
            raise TypeError(msg)
        return ufunc(x, count)

    return compute


def _bits(name: str, forward: Callable[..., Any], summary: str) -> Callable[..., Tensor]:
    """Make a function of two operands of integers or booleans (ops-35)."""
    return binary(name, forward, lambda grad, needs, *_: (None, None), ((), ()), summary)


bitwise_and = _bits("bitwise_and", np.bitwise_and, "Return the bits that both have.")
bitwise_or = _bits("bitwise_or", np.bitwise_or, "Return the bits that one of them has.")
bitwise_xor = _bits("bitwise_xor", np.bitwise_xor, "Return the bits that just one of them has.")
bitwise_left_shift = _bits(
    "bitwise_left_shift", _shift(np.left_shift), "Return the bits of x1 moved x2 places up."
)
bitwise_right_shift = _bits(
    "bitwise_right_shift", _shift(np.right_shift), "Return the bits of x1 moved x2 places down."
)
bitwise_invert = unary(
    "bitwise_invert", np.invert, lambda g, x, y: g, None, "Return the other bits.", floats=False
)
