"""Chapter tensor: operators, their dtypes, broadcasting and gradients."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, raw, tensor
from spec_tests.support.inputs import distinct, in_double, normal, positive

pytestmark = pytest.mark.sampled(4)

ARITHMETIC = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)
MATMUL_SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((2, 2, 3), (2, 3, 2)),
    ((2, 2, 3), (3, 2)),
    ((3,), (2, 3, 2)),
    ((2, 1, 2, 3), (2, 3, 1)),
]


@pytest.mark.parametrize("symbol", ARITHMETIC)
@clause("tensor-14")
def test_arithmetic(nn: Any, dtype: str, symbol: str) -> None:
    apply = ARITHMETIC[symbol]
    a, b = positive((3, 4), dtype), normal((3, 4), dtype, seed=1)
    got = apply(nn.tensor(a), nn.tensor(b))
    assert isinstance(got, nn.Tensor)
    agrees(
        nn, got, apply(in_double(a), in_double(b)), "elementwise", call=f"(3, 4) {symbol} (3, 4)"
    )


@clause("tensor-14")
def test_unary_and_whole_powers(nn: Any, dtype: str) -> None:
    a = normal((3, 4), dtype)
    x = nn.tensor(a)
    exactly(nn, -x, -a)
    exactly(nn, abs(x), np.abs(a))
    agrees(nn, x**2, in_double(a) ** 2, "elementwise")
    agrees(nn, x**3, in_double(a) ** 3, "elementwise")


@pytest.mark.parametrize(("left", "right"), MATMUL_SHAPES)
@clause("tensor-14")
def test_matmul(nn: Any, dtype: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = normal(left, dtype), normal(right, dtype, seed=1)
    want = in_double(a) @ in_double(b)
    agrees(nn, nn.tensor(a) @ nn.tensor(b), want, "matmul", call=f"{left} @ {right}")


@pytest.mark.parametrize("symbol", ARITHMETIC)
@clause("tensor-15")
def test_python_scalars_are_weak(nn: Any, dtype: str, symbol: str) -> None:
    apply = ARITHMETIC[symbol]
    array = positive(4, dtype)
    for number in (0.3, 2):
        # The number itself is rounded to the Tensor's dtype before anything is computed.
        weak = in_double(np.asarray(number).astype(dtype))
        call = f"{dtype} {symbol} {number}"
        agrees(
            nn,
            apply(nn.tensor(array), number),
            apply(in_double(array), weak),
            "elementwise",
            call=call,
        )
        call = f"{number} {symbol} {dtype}"
        agrees(
            nn,
            apply(number, nn.tensor(array)),
            apply(weak, in_double(array)),
            "elementwise",
            call=call,
        )


@clause("tensor-15")
def test_python_scalars_with_integers(nn: Any) -> None:
    whole = np.array([1, 2, 3])
    for name in ("int32", "int64"):
        x = nn.tensor(whole.astype(name))
        exactly(nn, x + 1, (whole + 1).astype(name), dtype=name)
        exactly(nn, 2 * x, (whole * 2).astype(name), dtype=name)
        for got, want in (
            (x + 2.5, whole + 2.5),
            (0.5 * x, whole * 0.5),
            (x / 2, whole / 2),
            (6 / x, 6 / whole),
            (x / x, whole / whole),
        ):
            agrees(nn, got, want, "elementwise", call=name, dtype="float32")


@clause("tensor-16", needs="float64")
def test_mixed_dtypes(nn: Any) -> None:
    for left, right, wanted in (
        ("float32", "float64", "float64"),
        ("int64", "float32", "float32"),
        ("int32", "float64", "float64"),
        ("int64", "float64", "float64"),
        ("bool", "float32", "float32"),
        ("int32", "float32", "float32"),
    ):
        a, b = np.array([0, 1, 1]).astype(left), positive(3, right)
        x, y = nn.tensor(a), nn.tensor(b)
        for apply in (operator.add, operator.mul, operator.truediv):
            call = f"{left} {apply.__name__} {right}"
            want = apply(in_double(a), in_double(b))
            agrees(nn, apply(x, y), want, "elementwise", call=call, dtype=wanted)
        want = in_double(b) + in_double(a)
        agrees(nn, y + x, want, "elementwise", call=f"{right} + {left}", dtype=wanted)


@pytest.mark.parametrize("symbol", ARITHMETIC)
@clause("tensor-16", needs="float64")
def test_the_wider_of_two_floats(nn: Any, symbol: str) -> None:
    apply = ARITHMETIC[symbol]
    a, b = positive(3, "float32"), positive(3, "float64", seed=1)
    for left, right in ((a, b), (b, a)):
        want = apply(in_double(left), in_double(right))
        call = f"{left.dtype} {symbol} {right.dtype}"
        agrees(nn, apply(nn.tensor(left), nn.tensor(right)), want, "elementwise", call=call)


@pytest.mark.parametrize("shape", [(2, 2), ()])
@clause("tensor-16", needs="float64")
def test_functions_of_mixed_dtypes(nn: Any, shape: tuple[int, ...]) -> None:
    for left, right, wanted in (
        ("float32", "float64", "float64"),
        ("float64", "float32", "float64"),
        ("float32", "int64", "float32"),
        ("int64", "float64", "float64"),
    ):
        a, b = positive(shape, left), normal((2, 2), right, seed=1)
        for x, y in ((a, b), (b, a)):
            call = f"ops.add({x.dtype} {x.shape}, {y.dtype} {y.shape})"
            want = in_double(x) + in_double(y)
            got = nn.ops.add(nn.tensor(x), nn.tensor(y))
            agrees(nn, got, want, "elementwise", call=call, dtype=wanted)


@clause("tensor-16", needs="float64")
def test_matmul_of_mixed_dtypes(nn: Any) -> None:
    for left, right, wanted in (
        ("float32", "float64", "float64"),
        ("float64", "float32", "float64"),
        ("int64", "float32", "float32"),
    ):
        a, b = normal((2, 3), left), normal((3, 2), right, seed=1)
        call = f"ops.matmul({left}, {right})"
        got = nn.ops.matmul(nn.tensor(a), nn.tensor(b))
        agrees(nn, got, in_double(a) @ in_double(b), "matmul", call=call, dtype=wanted)


@clause("tensor-16", needs="float64")
def test_gradients_keep_the_dtype_of_the_operand(nn: Any) -> None:
    a, b = positive(3, "float32"), positive(3, "float64", seed=1)
    x, y = tensor(nn, a), tensor(nn, b)
    nn.ops.sum(x * y).backward()
    agrees(nn, x.grad, b, "gradient", dtype="float32")
    agrees(nn, y.grad, in_double(a), "gradient", dtype="float64")


@pytest.mark.parametrize("symbol", ARITHMETIC)
@clause("tensor-17")
def test_raw_arrays_on_either_side(nn: Any, dtype: str, symbol: str) -> None:
    apply = ARITHMETIC[symbol]
    a, b = positive((2, 3), dtype), positive((2, 3), dtype, seed=1)
    for got, want in (
        (apply(tensor(nn, a), raw(nn, b)), apply(in_double(a), in_double(b))),
        (apply(raw(nn, b), tensor(nn, a)), apply(in_double(b), in_double(a))),
    ):
        assert isinstance(got, nn.Tensor)
        assert got.requires_grad
        agrees(nn, got, want, "elementwise")


@clause("tensor-17")
def test_raw_arrays_are_constants(nn: Any, dtype: str) -> None:
    a, b = normal((2, 2), dtype), normal((2, 2), dtype, seed=1)
    ones = np.ones((2, 2))
    uses: list[tuple[Any, np.ndarray]] = [
        (lambda x, r: x * r, in_double(b)),
        (lambda x, r: r * x, in_double(b)),
        (lambda x, r: r - x, -ones),
        (lambda x, r: x @ r, ones @ in_double(b).T),
        (lambda x, r: r @ x, in_double(b).T @ ones),
    ]
    for apply, want in uses:
        x = tensor(nn, a)
        nn.ops.sum(apply(x, raw(nn, b))).backward()
        agrees(nn, x.grad, want, "gradient")
    exactly(nn, nn.tensor(a) < raw(nn, b), a < b)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4,)),
        ((3, 1), (1, 4)),
        ((2, 3, 4), (3, 1)),
        ((), (2, 3)),
        ((1,), (5,)),
        ((2, 1), (1,)),
    ],
)
@clause("tensor-18")
def test_broadcasting(nn: Any, dtype: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = positive(left, dtype), positive(right, dtype, seed=1)
    wide_a, wide_b = np.broadcast_arrays(in_double(a), in_double(b))
    weight = normal(wide_a.shape, dtype, seed=2)
    w = in_double(weight)
    for symbol, slope_a, slope_b in (
        ("+", w, w),
        ("-", w, -w),
        ("*", w * wide_b, w * wide_a),
        ("/", w / wide_b, -w * wide_a / wide_b**2),
        ("**", w * wide_b * wide_a ** (wide_b - 1), w * wide_a**wide_b * np.log(wide_a)),
    ):
        x, y = tensor(nn, a), tensor(nn, b)
        z = ARITHMETIC[symbol](x, y)
        call = f"{left} {symbol} {right}"
        agrees(nn, z, ARITHMETIC[symbol](wide_a, wide_b), "elementwise", call=call)
        z.backward(nn.tensor(weight))
        agrees(nn, x.grad, summed_to(slope_a, left), "gradient", call=f"{call}, left gradient")
        agrees(nn, y.grad, summed_to(slope_b, right), "gradient", call=f"{call}, right gradient")
    exactly(nn, nn.tensor(a) < nn.tensor(b), a < b, call=f"{left} < {right}", dtype="bool")
    exactly(nn, nn.tensor(a) == nn.tensor(b), a == b, call=f"{left} == {right}", dtype="bool")


def summed_to(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = array.sum(axis=tuple(range(array.ndim - len(shape))))
    stretched = tuple(i for i, size in enumerate(shape) if size == 1)
    return np.asarray(array.sum(axis=stretched, keepdims=True))


@pytest.mark.parametrize("symbol", ARITHMETIC)
@clause("tensor-19", needs="float64")
def test_gradients_of_operators(nn: Any, symbol: str) -> None:
    inputs = [positive((2, 3)), positive((2, 3), seed=1)]
    check_gradients(nn, ARITHMETIC[symbol], inputs, call=symbol)
    check_gradients(nn, lambda x: ARITHMETIC[symbol](x, 2.5), inputs[:1], call=f"x {symbol} 2.5")
    check_gradients(nn, lambda x: ARITHMETIC[symbol](2.5, x), inputs[:1], call=f"2.5 {symbol} x")


@clause("tensor-19", needs="float64")
def test_gradients_of_unary_operators(nn: Any) -> None:
    check_gradients(nn, operator.neg, [distinct((2, 3))], call="-x")
    check_gradients(nn, abs, [distinct((2, 3))], call="abs(x)")
    check_gradients(nn, lambda x: x**2, [distinct((2, 3))], call="x ** 2")
    check_gradients(nn, lambda x: x**3, [distinct((2, 3))], call="x ** 3")


@pytest.mark.parametrize(("left", "right"), MATMUL_SHAPES)
@clause("tensor-19", needs="float64")
def test_gradients_of_matmul(nn: Any, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    inputs = [normal(left), normal(right, seed=1)]
    check_gradients(nn, operator.matmul, inputs, call=f"{left} @ {right}")


@pytest.mark.parametrize("compare", COMPARISONS)
@clause("tensor-20")
def test_comparisons(nn: Any, dtype: str, compare: Callable[[Any, Any], Any]) -> None:
    a = np.array([0.0, 1.0, 2.0, np.nan], dtype)
    b = np.array([1.0, 1.0, 1.0, 1.0], dtype)
    for got, want in (
        (compare(tensor(nn, a), nn.tensor(b)), compare(a, b)),
        (compare(tensor(nn, a), 1), compare(a, b)),
        (compare(1.0, tensor(nn, a)), compare(b, a)),
    ):
        assert not got.requires_grad
        exactly(nn, got, want, dtype="bool")


@clause("tensor-20")
def test_tensors_hash_by_identity(nn: Any) -> None:
    x, y = nn.tensor([1.0, 2.0]), nn.tensor([1.0, 2.0])
    assert {x: "x", y: "y"}[x] == "x"
    assert len({x, y, x}) == 2


@clause("tensor-29")
def test_repeated_use(nn: Any, dtype: str) -> None:
    array = normal(4, dtype)
    x = tensor(nn, array)
    nn.ops.sum(x * x + x).backward()
    agrees(nn, x.grad, 2 * in_double(array) + 1, "gradient")
    x = tensor(nn, array)
    y = x * x
    nn.ops.sum(y * y + y * x + x + x).backward()
    wide = in_double(array)
    agrees(nn, x.grad, 4 * wide**3 + 3 * wide**2 + 2, "gradient")


@clause("tensor-15", "tensor-04")
def test_numpy_scalars_count_as_python_numbers(nn: Any) -> None:
    x = nn.tensor([1.0, 2.0])
    for got in (x * np.float64(3), x + np.int64(2), nn.tensor([np.float64(1), 2])):
        assert got.dtype == nn.float32
    assert (nn.tensor([1, 2]) * np.float64(0.5)).dtype == nn.float32
