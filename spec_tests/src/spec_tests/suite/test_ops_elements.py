"""Chapter ops: steps, remainders, bits, and digits that must not be lost."""

import math
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy, within

pytestmark = pytest.mark.sampled(4)

INTS = np.array([7, -7, 0, 5])


@clause("ops-33")
def test_ties_go_to_the_even_neighbour(nn: Any, dtype: str) -> None:
    array = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], dtype)
    exactly(nn, nn.ops.round(nn.tensor(array)), np.array([0, 2, 2, 0, -2, -2.0]), call="round")


@clause("ops-33")
@pytest.mark.parametrize("name", ["ceil", "floor", "trunc", "round", "positive"])
def test_integers_come_back(nn: Any, name: str) -> None:
    for dtype in ("int32", "int64"):
        got = getattr(nn.ops, name)(nn.tensor(INTS.astype(dtype)))
        exactly(nn, got, INTS.astype(dtype), dtype=dtype, call=f"{name} of {dtype}")


@clause("ops-33", "tensor-40")
def test_booleans_are_no_numbers(nn: Any) -> None:
    x = nn.tensor([True, False])
    for name in ("ceil", "floor", "trunc", "round", "positive", "diff"):
        with refuses(TypeError, name):
            getattr(nn.ops, name)(x)
    for name in ("floor_divide", "remainder"):
        with refuses(TypeError, name):
            getattr(nn.ops, name)(x, x)


@clause("ops-33")
def test_signs(nn: Any, dtype: str) -> None:
    array = np.array([-0.0, 0.0, -1.0, 1.0, -np.inf, np.inf], dtype)
    exactly(nn, nn.ops.signbit(nn.tensor(array)), np.signbit(array), call="signbit")
    exactly(nn, nn.ops.signbit(raw(nn, array)), np.signbit(array), call="signbit of a raw array")


@clause("ops-11")
def test_a_dtype_without_a_copy(nn: Any) -> None:
    array = np.array([3, 0], "int32")
    for to in ("int64", "int32", "float32", "bool"):
        got = nn.ops.astype(nn.tensor(array), getattr(nn, to), copy=False)
        exactly(nn, got, array.astype(to), dtype=to, call=f"astype {to}, copy=False")


@clause("ops-33")
def test_the_next_number_is_of_the_dtype(nn: Any, dtype: str) -> None:
    x, y = (np.array(values, dtype) for values in ([1.0, 1.0, 0.5, 2.0], [2.0, 0.0, 0.5, np.inf]))
    want = np.nextafter(x, y)
    got = nn.ops.nextafter(tensor(nn, x), nn.tensor(y))
    assert not got.requires_grad, "nextafter should not require grad"
    exactly(nn, got, want, dtype=dtype, call="nextafter")
    exactly(nn, nn.ops.nextafter(raw(nn, x), 2.0), np.nextafter(x, x.dtype.type(2)), dtype=dtype)


@clause("ops-34")
@pytest.mark.parametrize("dtype_name", ["int32", "int64"])
def test_division_of_integers(nn: Any, dtype_name: str) -> None:
    x = np.array([7, -7, 7, -7, 0], dtype_name)
    y = np.array([2, 2, -2, -2, 3], dtype_name)
    for name in ("floor_divide", "remainder"):
        want = getattr(np, name)(x, y)
        got = getattr(nn.ops, name)(nn.tensor(x), nn.tensor(y))
        exactly(nn, got, want, dtype=dtype_name, call=f"{name} of integers")
        got = getattr(nn.ops, name)(nn.tensor(x), nn.tensor(np.zeros_like(y)))
        exactly(nn, got, np.zeros_like(x), dtype=dtype_name, call=f"{name} by 0")


@clause("ops-34")
def test_a_quotient_and_its_remainder_belong_together(nn: Any, dtype: str) -> None:
    x, y = np.array([5.5, -5.5, 5.5, -5.5], dtype), np.array([2.0, 2.0, -2.0, -2.0], dtype)
    whole, rest = nn.ops.floor_divide(nn.tensor(x), y), nn.ops.remainder(nn.tensor(x), y)
    exactly(nn, whole, np.array([2, -3, -3, 2.0]), call="floor_divide")
    exactly(nn, rest, np.array([1.5, 0.5, -0.5, -1.5]), call="remainder")


@clause("ops-34")
def test_the_gradient_of_a_remainder_at_its_jumps(nn: Any, dtype: str) -> None:
    x, y = tensor(nn, np.array([4.0, -4.0], dtype)), tensor(nn, np.array([2.0, 2.0], dtype))
    nn.ops.sum(nn.ops.remainder(x, y)).backward()
    exactly(nn, x.grad, np.ones(2), call="gradient to x1")
    exactly(nn, y.grad, np.array([-2.0, 2.0]), call="gradient to x2")


@clause("ops-35")
def test_bits_of_integers_and_booleans(nn: Any) -> None:
    x, y = np.array([12, -1, 7], np.int32), np.array([10, 3, -8], np.int64)
    p, q = np.array([True, True, False]), np.array([True, False, False])
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        function, reference = getattr(nn.ops, name), getattr(np, name)
        exactly(nn, function(nn.tensor(x), nn.tensor(y)), reference(x, y), dtype="int64", call=name)
        exactly(nn, function(nn.tensor(p), nn.tensor(q)), reference(p, q), dtype="bool", call=name)
        mixed = function(nn.tensor(x), nn.tensor(p))
        exactly(nn, mixed, reference(x, p), dtype="int32", call=f"{name} of int32 and bool")
        exactly(nn, function(nn.tensor(x), 6), reference(x, np.int32(6)), dtype="int32", call=name)
    exactly(nn, nn.ops.bitwise_invert(nn.tensor(x)), ~x, dtype="int32", call="bitwise_invert")


@clause("ops-35")
@pytest.mark.parametrize("dtype_name", ["int32", "int64"])
def test_shifts_by_any_count(nn: Any, dtype_name: str) -> None:
    width = np.iinfo(dtype_name).bits
    x = np.array([5, -5, 5, -5, 5, -5, -5], dtype_name)
    count = np.array([1, 1, width, width, width + 9, -1, 0], dtype_name)
    left = nn.ops.bitwise_left_shift(nn.tensor(x), nn.tensor(count))
    exactly(nn, left, np.array([10, -10, 0, 0, 0, 0, -5], dtype_name), call="left shift")
    right = nn.ops.bitwise_right_shift(nn.tensor(x), nn.tensor(count))
    exactly(nn, right, np.array([2, -3, 0, -1, 0, -1, -5], dtype_name), call="right shift")


@clause("ops-35")
def test_what_has_no_bits(nn: Any) -> None:
    real, whole, flag = nn.tensor([1.0]), nn.tensor([1]), nn.tensor([True])
    for name in ("and", "or", "xor", "left_shift", "right_shift"):
        function = getattr(nn.ops, f"bitwise_{name}")
        for pair in ((real, whole), (whole, real), (whole, 1.5)):
            with refuses(TypeError, f"bitwise_{name}"):
                function(*pair)
    with refuses(TypeError, "bitwise_invert", "float32"):
        nn.ops.bitwise_invert(real)
    for name in ("bitwise_left_shift", "bitwise_right_shift"):
        with refuses(TypeError, name, "bool"):
            getattr(nn.ops, name)(flag, flag)


@clause("ops-36")
@pytest.mark.parametrize("name", ["expm1", "log1p"])
def test_digits_near_0(nn: Any, dtype: str, name: str) -> None:
    for number in (1e-6, -1e-6):
        x = tensor(nn, np.array([number], dtype))
        exact = float(to_numpy(nn, x)[0])
        got = getattr(nn.ops, name)(x)
        agrees(nn, got, np.array([getattr(math, name)(exact)]), "elementwise", call=name)
        got.backward(nn.ones((1,), dtype=getattr(nn, dtype)))
        slope = math.exp(exact) if name == "expm1" else 1 / (1 + exact)
        agrees(nn, x.grad, np.array([slope]), "elementwise", call=f"gradient of {name}")


@clause("ops-36")
def test_digits_far_from_0(nn: Any, dtype: str) -> None:
    x = nn.tensor(np.array([-20.0], dtype))
    want = np.array([math.log1p(math.exp(-20.0))])
    agrees(nn, nn.ops.softplus(x), want, "elementwise", call="softplus(-20)")
    agrees(nn, nn.ops.logaddexp(x, 0.0), want, "elementwise", call="logaddexp(-20, 0)")


@clause("ops-36")
def test_nothing_overflows(nn: Any, dtype: str) -> None:
    array = np.array([1000.0, -1000.0], dtype)
    x = tensor(nn, array)
    got = nn.ops.softplus(x)
    exactly(nn, got, np.array([1000.0, 0.0]), call="softplus(±1000)")
    nn.ops.sum(got).backward()
    exactly(nn, x.grad, np.array([1.0, 0.0]), call="gradient of softplus(±1000)")
    for values in ([1000.0, 1000.0], [-1000.0, -1000.0]):
        top = values[0] + math.log(2)
        x = tensor(nn, np.array(values, dtype))
        got = nn.ops.cumulative_logsumexp(x)
        agrees(nn, got, np.array([values[0], top]), "reduction", call="cumulative_logsumexp")
        nn.ops.sum(got).backward()
        # The result, of size 1000, has no more digits than these.
        lost = 2000 * float(np.finfo(dtype).eps)
        within(nn, x.grad, np.array([1.5, 0.5]), lost, call="its gradient")
        y, z = tensor(nn, np.array(values[:1], dtype)), tensor(nn, np.array(values[1:], dtype))
        got = nn.ops.logaddexp(y, z)
        agrees(nn, got, np.array([top]), "elementwise", call="logaddexp")
        nn.ops.sum(got).backward()
        exactly(nn, y.grad, np.array([0.5]), call="gradient of logaddexp")
    big = 3.0 * 2.0 ** (100 if dtype == "float32" else 1000)
    for scale in (big, 1 / big):
        got = nn.ops.hypot(nn.tensor(np.array([scale], dtype)), 4 * scale / 3)
        agrees(nn, got, np.array([5 * scale / 3]), "elementwise", call=f"hypot of {scale}")


@clause("ops-37")
def test_infinite_sides(nn: Any, dtype: str) -> None:
    x, y = np.array([np.inf, np.nan, -np.inf], dtype), np.array([np.nan, np.inf, 1.0], dtype)
    got = nn.ops.hypot(nn.tensor(x), nn.tensor(y))
    exactly(nn, got, np.full(3, np.inf), call="hypot with an infinite side")
    first = nn.ops.argmin(nn.tensor(np.array([1.0, np.nan, -np.inf, np.nan], dtype)))
    exactly(nn, first, np.array(1), call="argmin with NaN")
    exactly(nn, nn.ops.isinf(nn.tensor(x)), np.isinf(x), call="isinf")


@clause("ops-37")
def test_the_other_form_of_gelu_at_infinity(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([np.inf, -np.inf, np.nan], dtype))
    got = nn.ops.gelu(x, approximate="tanh")
    exactly(nn, got, np.array([np.inf, 0.0, np.nan]), call="gelu, tanh")
    nn.ops.sum(got).backward()
    exactly(nn, x.grad, np.array([1.0, 0.0, np.nan]), call="gradient of gelu, tanh")
    with refuses(ValueError, "gelu", "sigmoid"):
        nn.ops.gelu(x, "sigmoid")


@clause("ops-37")
def test_sums_and_products_with_nan(nn: Any, dtype: str) -> None:
    x = nn.tensor(np.array([1.0, np.nan, 2.0], dtype))
    for name in ("prod", "var", "std", "norm"):
        exactly(nn, getattr(nn.ops, name)(x), np.array(np.nan), call=f"{name} with NaN")
    got = nn.ops.cumulative_sum(x)
    exactly(nn, got, np.array([1.0, np.nan, np.nan]), call="cumulative_sum with NaN")
