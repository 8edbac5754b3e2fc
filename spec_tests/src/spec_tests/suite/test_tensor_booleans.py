"""The chapter ``tensor``: booleans in arithmetic."""

import operator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import exactly, own, raw, refuses, to_numpy
from spec_tests.support.dtypes import ALL

pytestmark = pytest.mark.sampled(6)

P, Q = np.array([True, True, False, False]), np.array([True, False, True, False])


@clause("tensor-40")
@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("add", [True, True, True, False]),
        ("multiply", [True, False, False, False]),
        ("maximum", [True, True, True, False]),
        ("minimum", [True, False, False, False]),
    ],
)
def test_arithmetic_of_booleans(nn: Any, name: str, want: list[bool]) -> None:
    apply = getattr(nn.ops, name)
    for make in (nn.tensor, lambda array: raw(nn, array)):
        got = apply(make(P), make(Q))
        exactly(nn, got, np.array(want), dtype="bool", call=f"{name} of booleans")
    got = apply(nn.tensor(P[:, None]), nn.tensor(Q[:1]))
    assert to_numpy(nn, got).dtype == bool
    exactly(nn, apply(nn.tensor(P), Q), np.array(want), dtype="bool", call=f"{name}, NumPy's")
    number = apply(nn.tensor(P), True)
    assert to_numpy(nn, number).dtype == bool, f"{name} of booleans and True"


@clause("tensor-40")
def test_booleans_between_booleans(nn: Any) -> None:
    p, q = nn.tensor(P), nn.tensor(Q)
    for bounds, want in (
        ((q, None), P | Q),
        ((None, q), P & Q),
        ((q, True), P | Q),
        ((False, q), P & Q),
        ((True, None), P | True),
        ((False, True), P),
    ):
        exactly(nn, nn.ops.clip(p, *bounds), want, dtype="bool", call=f"clip to {bounds}")


@clause("tensor-40")
def test_abs_and_products_of_booleans(nn: Any) -> None:
    exactly(nn, nn.ops.abs(nn.tensor(P)), P, dtype="bool", call="abs")
    a = np.array([[True, False], [True, True], [False, False]])
    b = np.array([[True, False, True], [True, False, False]])
    got = nn.ops.matmul(nn.tensor(a), nn.tensor(b))
    exactly(nn, got, a @ b, dtype="bool", call="matmul of booleans")
    exactly(nn, nn.ops.matmul(nn.tensor(P), nn.tensor(Q)), np.array(True), dtype="bool")
    stacks = nn.ops.matmul(nn.tensor(a[None]), nn.tensor(np.stack([b, ~b])))
    exactly(nn, stacks, a[None] @ np.stack([b, ~b]), dtype="bool", call="matmul of stacks")
    long = nn.tensor(np.ones((2, 300), bool))
    want = np.ones((2, 2), bool)
    exactly(nn, nn.ops.matmul(long, long.T), want, dtype="bool", call="300 terms")


@clause("tensor-40")
def test_powers_of_booleans(nn: Any) -> None:
    p, q = nn.tensor(P), nn.tensor(Q)
    exactly(nn, nn.ops.square(p), np.array([1, 1, 0, 0]), dtype="int64", call="square")
    exactly(nn, nn.ops.pow(p, q), np.array([1, 1, 0, 1]), dtype="int64", call="pow")
    exactly(nn, nn.ops.pow(p, 2), np.array([1, 1, 0, 0]), dtype="int64", call="pow(p, 2)")
    exactly(nn, nn.ops.pow(p, 0.5), np.array([1, 1, 0, 0.0]), dtype="float32", call="pow(p, 0.5)")
    exactly(nn, nn.ops.pow(2, q), np.array([2, 1, 2, 1]), dtype="int64", call="pow(2, q)")


@clause("tensor-40")
def test_what_booleans_do_not_do(nn: Any) -> None:
    p, q = nn.tensor(P), nn.tensor(Q)
    with refuses(TypeError, "sign"):
        nn.ops.sign(p)
    with refuses(TypeError, "negative"):
        nn.ops.negative(p)
    with refuses(TypeError, "subtract"):
        nn.ops.subtract(p, q)
    for array in (P, raw(nn, P)):
        with refuses(TypeError, "subtract"):
            nn.ops.subtract(p, array)
    with refuses(TypeError, "sign"):
        nn.ops.sign(raw(nn, P))


@clause("tensor-40")
@pytest.mark.parametrize("dtype_name", ["int32", "int64", "float32", "float64"])
def test_booleans_take_the_other_dtype(nn: Any, dtype_name: str) -> None:
    p = nn.tensor(P)
    array = np.array([3, -2, 5, 0]).astype(dtype_name)
    x = nn.tensor(array)
    for name, apply in (
        ("add", operator.add),
        ("multiply", operator.mul),
        ("subtract", operator.sub),
        ("maximum", np.maximum),
        ("minimum", np.minimum),
    ):
        want = apply(P.astype(dtype_name), array)
        exactly(nn, getattr(nn.ops, name)(p, x), want, dtype=dtype_name, call=name)
        want = apply(array, P.astype(dtype_name))
        exactly(nn, getattr(nn.ops, name)(x, p), want, dtype=dtype_name, call=name)
    got = nn.ops.matmul(p, x)
    exactly(nn, got, P.astype(dtype_name) @ array, dtype=dtype_name, call="matmul")


@clause("tensor-40")
@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
def test_booleans_beside_numbers(nn: Any, name: str) -> None:
    apply = getattr(nn.ops, name)
    reference = {"add": np.add, "multiply": np.multiply}.get(name) or getattr(np, name)
    for number, dtype in ((2, "int64"), (-3, "int64"), (0.5, "float32"), (np.int8(2), "int64")):
        want = reference(P.astype(dtype), np.array(number).astype(dtype))
        call = f"{name} of booleans and {number!r}"
        exactly(nn, apply(nn.tensor(P), number), want, dtype=dtype, call=call)
        exactly(nn, apply(number, nn.tensor(P)), want, dtype=dtype, call=call)


@clause("tensor-40")
def test_operators_of_booleans(nn: Any) -> None:
    if not own(nn):
        return
    p, q = nn.tensor(P), nn.tensor(Q)
    exactly(nn, p + q, P | Q, dtype="bool")
    exactly(nn, p * q, P & Q, dtype="bool")
    exactly(nn, abs(p), P, dtype="bool")
    exactly(nn, p @ q, np.array(True), dtype="bool")
    exactly(nn, p + 1, P + np.int64(1), dtype="int64")
    exactly(nn, p * 0.5, P * np.float32(0.5), dtype="float32")
    exactly(nn, p**2, np.array([1, 1, 0, 0]), dtype="int64")
    with refuses(TypeError, "subtract"):
        p - q
    with refuses(TypeError, "negative"):
        -p  # noqa: B018


@pytest.mark.sampled(8)
@clause("tensor-40", "tensor-37")
@rows("ops", where=lambda row: row.family in {"unary", "binary", "reduce", "scan", "along"})
def test_no_result_has_another_dtype(nn: Any, row: Row) -> None:
    array = np.array([[True, False], [True, True]])
    function = getattr(nn.ops, row.name)
    count = 2 if row.family == "binary" else 1
    options = {"axis": 1} if row.family == "scan" else {}
    for name in ("bool", "int32", "int64"):
        for other in ("bool", "int32", "int64"):
            arguments = [nn.tensor(array.astype(name)), nn.tensor(array.astype(other))][:count]
            try:
                got = function(*arguments, **options)
            except TypeError as error:
                assert row.name in str(error), str(error)  # noqa: PT017
                continue
            dtype = to_numpy(nn, got).dtype.name
            assert dtype in ALL, f"{row.name} of {name} and {other} gives {dtype}"
