"""Steps, whose gradient is 0, and what is left over; the bits of integers."""

from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.dtypes import bool_, is_integer, uint8
from impl_torch_ext.ops.elementwise import check_numbers
from impl_torch_ext.ops.families import Op, Operand, binary, predicate, unary
from impl_torch_ext.ops.transcendental import derived, pair, pair_of_reals

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "floor",
    "floor_divide",
    "nextafter",
    "positive",
    "remainder",
    "round",
    "signbit",
    "trunc",
]


def _step(name: str, fn: Op, result: str) -> Op:
    """Add a function that gives integers as they are."""

    def step(x: Tensor) -> Tensor:
        check_numbers(name, x)
        if x.is_complex():  # ops-59: `round` alone gets here.
            return torch.complex(fn(x.real), fn(x.imag))
        return fn(x) if x.is_floating_point() else x.clone()

    return unary(name, step, f"{result}, of gradient 0")  # ops-33


def _positive(x: Tensor) -> Tensor:
    check_numbers("positive", x)
    return x.clone()


def _nextafter(x1: Operand, x2: Operand) -> Tensor:
    first, second = pair_of_reals(x1, x2)
    return torch.nextafter(first.detach(), second.detach())


def _signed_rest(a: Tensor, b: Tensor) -> Tensor:
    rest = torch.remainder(a, b)
    return torch.where(rest == 0, torch.copysign(torch.zeros_like(b), b), rest)  # ops-34


def _negative_quotient(a: Tensor, b: Tensor) -> Tensor:
    return -torch.div(a, b, rounding_mode="floor")


_rest_recorded = derived(
    "remainder", _signed_rest, lambda a, _: torch.ones_like(a), _negative_quotient
)


def _rest(a: Tensor, b: Tensor) -> Tensor:
    if a.requires_grad or b.requires_grad:
        return _rest_recorded(*torch.broadcast_tensors(a, b))
    return _signed_rest(a, b)


def _quotient(name: str, rest: bool) -> Op:
    """Make `floor_divide`, or with `rest` `remainder`; of integers they are 0 beside 0."""

    def divide(x1: Operand, x2: Operand) -> Tensor:
        check_numbers(name, x1, x2)
        a, b = pair(x1, x2)
        if a.is_floating_point():
            return _rest(a, b) if rest else torch.div(a, b, rounding_mode="floor")
        # ops-34. No processor divides the least integer by -1.
        odd = b == 0 if a.dtype is uint8 else (b == 0) | (b == -1)
        usual = torch.where(odd, 1, b)
        if rest:
            return torch.where(odd, 0, torch.remainder(a, usual))
        special = torch.where(b == 0, 0, -a)
        return torch.where(odd, special, torch.div(a, usual, rounding_mode="floor"))

    return divide


def _bits(name: str, *xs: Operand, booleans: bool) -> None:
    for x in xs:
        if isinstance(x, Tensor):
            fits = is_integer(x.dtype) or (booleans and x.dtype == bool_)
            came = f"dtype {x.dtype}"
        else:
            fits = type(x) is int or (booleans and type(x) is bool)
            came = type(x).__name__
        if not fits:  # ops-35
            wanted = "integers or booleans" if booleans else "integers"
            msg = f"{name}: operands must be {wanted}, got {came}"
            raise TypeError(msg)


def _bitwise(name: str, fn: Op, result: str) -> Op:
    def bits(x1: Operand, x2: Operand) -> Tensor:
        _bits(name, x1, x2, booleans=True)
        return fn(*pair(x1, x2))

    return binary(name, bits, result)


def _invert(x: Tensor) -> Tensor:
    _bits("bitwise_invert", x, booleans=True)
    return torch.bitwise_not(x)


def _shift(name: str, fn: Op, right: bool) -> Op:
    def shift(x1: Operand, x2: Operand) -> Tensor:
        _bits(name, x1, x2, booleans=False)
        x, count = pair(x1, x2)
        width = torch.iinfo(x.dtype).bits
        beyond = (count < 0) | (count >= width)
        within = torch.where(beyond, 0, count)
        # The last shift of a signed integer leaves its sign, or nothing.
        far: Any = x >> (width - 1) if right and x.dtype is not uint8 else 0
        return torch.where(beyond, far, fn(x, within))

    return binary(name, shift, f"x1 shifted by x2 bits to the {'right' if right else 'left'}")


positive = unary("positive", _positive, "+x")
ceil = _step("ceil", torch.ceil, "the integer above")
floor = _step("floor", torch.floor, "the integer below")
trunc = _step("trunc", torch.trunc, "the integer towards 0")
round = _step("round", torch.round, "the nearest integer, the even one of two")
signbit = predicate("signbit", torch.signbit, "whether the sign is negative, as that of -0.0 is")
nextafter = binary("nextafter", _nextafter, "the number next to x1 on the way to x2")

floor_divide = binary(
    "floor_divide", _quotient("floor_divide", rest=False), "the floor of x1 / x2, of gradient 0"
)
remainder = binary(
    "remainder", _quotient("remainder", rest=True), "what x2 leaves of x1, with the sign of x2"
)

bitwise_and = _bitwise("bitwise_and", torch.bitwise_and, "the bits that both have")
bitwise_or = _bitwise("bitwise_or", torch.bitwise_or, "the bits that one of them has")
bitwise_xor = _bitwise("bitwise_xor", torch.bitwise_xor, "the bits that just one has")
bitwise_invert = unary("bitwise_invert", _invert, "the other bits")
bitwise_left_shift = _shift("bitwise_left_shift", torch.bitwise_left_shift, right=False)
bitwise_right_shift = _shift("bitwise_right_shift", torch.bitwise_right_shift, right=True)
