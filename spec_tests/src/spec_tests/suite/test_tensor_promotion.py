"""The chapter ``tensor``: in which dtype two meet, and what a number beside an array becomes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import asks
from spec_tests.support.assertions import agrees, exactly, own, raw, refuses, to_numpy
from spec_tests.support.dtypes import (
    ALL,
    COMPLEX,
    FLOATING,
    INTEGERS,
    SIGNED,
    bits,
    meet,
    pairs,
    there,
)

ONE = np.array([1, 0, 1])
TWO = np.array([[1], [0]])


def together(nn: Any, name: str, x: Any, y: Any) -> Any:
    """Apply a function of two arrays of shapes (2, 1) and (3,)."""
    ops = nn.ops
    if name == "where":
        return ops.where(nn.tensor(ONE > 0), x, y)
    if name == "concat":
        return ops.concat([x, y], axis=None)
    return getattr(ops, name)(x, y)


@pytest.mark.sampled(12)
@clause("tensor-16")
@pytest.mark.parametrize("third", range(3))
@pytest.mark.parametrize("name", ["add", "multiply", "where", "concat", "equal", "matmul"])
def test_every_pair_of_dtypes(nn: Any, name: str, third: int) -> None:
    for one, other in list(pairs(nn))[third::3]:
        for first, second in ((one, other), (other, one)):
            x, y = nn.tensor(TWO.astype(first)), nn.tensor(ONE.astype(second))
            if name == "matmul":
                y = nn.ops.reshape(y, (1, 3))
            said, want = f"{name} of {first} and {second}", meet(first, second)
            if want is None:
                with refuses(TypeError, name, first, second):
                    together(nn, name, x, y)
                continue
            got = to_numpy(nn, together(nn, name, x, y))
            assert got.dtype.name == ("bool" if name == "equal" else want), f"{said} is {got.dtype}"
            values = {
                "add": TWO + ONE,
                "multiply": TWO * ONE,
                "where": np.where(ONE > 0, TWO, ONE),
                "concat": np.concatenate([TWO, ONE], axis=None),
                "equal": TWO == ONE,
                "matmul": TWO @ ONE[None],
            }[name]
            assert np.array_equal(got, values.astype(got.dtype)), f"{said} gives {got}"


@asks("values", "ops.can_cast")
@clause("tensor-16", "ops-32")
def test_result_type_of_every_pair(nn: Any) -> None:
    ops = nn.ops
    for one, other in pairs(nn):
        for first, second in ((one, other), (other, one)):
            want = meet(first, second)
            kinds = getattr(nn, first), getattr(nn, second)
            x = nn.tensor(np.zeros((), first))
            assert ops.can_cast(*kinds) is (want == second), f"can_cast({first}, {second})"
            assert ops.can_cast(x, kinds[1]) is (want == second)
            for given in (kinds, (x, kinds[1]), (x.data, raw(nn, np.zeros(2, second)))):
                if want is None:
                    with refuses(TypeError, "result_type", first, second):
                        ops.result_type(*given)
                else:
                    got = ops.result_type(*given)
                    assert got == getattr(nn, want), f"{first} and {second} give {got}"


@clause("tensor-16")
def test_several_arrays_meet(nn: Any) -> None:
    cases = [
        (("bool", "uint8", "int8"), "int16"),
        (("int8", "int64", "float32"), "float32"),
        (("uint8", "float32", "complex64"), "complex64"),
        (("float32", "complex64", "float64"), "complex128"),
    ]
    for names, want in cases:
        if len(there(nn, (*names, want))) < len({*names, want}):
            continue
        arrays = [nn.tensor(np.ones(2, name)) for name in names]
        summed = nn.ops.einsum("i,i,i", *_sums(nn, arrays))
        for got in (nn.ops.concat(arrays), nn.ops.stack(arrays), summed):
            assert to_numpy(nn, got).dtype.name == want, f"{names} give {got.dtype}"
        assert nn.ops.result_type(*arrays) == getattr(nn, want)


def _sums(nn: Any, arrays: list[Any]) -> list[Any]:
    # `einsum` refuses booleans.
    return [nn.ops.astype(x, nn.uint8) if x.dtype == nn.bool else x for x in arrays]


@clause("tensor-16")
def test_operators_of_mixed_dtypes(nn: Any) -> None:
    for one, other in pairs(nn, ("int8", "uint8", "int64", "uint16", "float32", *COMPLEX)):
        want = meet(one, other)
        if want is None or not own(nn):
            continue
        x, y = nn.tensor(np.array([3, 4], one)), nn.tensor(np.array(2, other))
        for got, value in ((x + y, [5, 6]), (y * x, [6, 8]), (x - y, [1, 2])):
            exactly(nn, got, np.array(value, want), dtype=want, call=f"{one} and {other}")
    got = nn.tensor(np.array([3, 4], "uint8")) * nn.tensor(np.array([2, 2], "uint8"))
    exactly(nn, got, np.array([6, 8], "uint8"), dtype="uint8", call="uint8 twice")


# Of a Python number beside an array: what it is, and the dtype that comes of each kind of array.
NUMBERS: list[tuple[Any, Callable[[str], str]]] = [
    (True, lambda name: name),
    (2, lambda name: "int64" if name == "bool" else name),
    (0.5, lambda name: "float32" if name in ("bool", *INTEGERS) else name),
    (1j, lambda name: {"float64": "complex128", "complex128": "complex128"}.get(name, "complex64")),
]


@clause("tensor-15", "tensor-39", "tensor-40")
def test_numbers_beside_every_dtype(nn: Any) -> None:
    for name in there(nn, ALL):
        array = np.array([1, 0]).astype(name)
        x = nn.tensor(array)
        for number, becomes in NUMBERS:
            want = becomes(name)
            if want not in there(nn, ALL):
                continue
            value = array.astype(want) * np.array(number).astype(want)
            numpys: Any = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}
            for given in (number, numpys[type(number)](number)):
                call = f"{name} and {given!r}"
                exactly(nn, nn.ops.multiply(x, given), value, dtype=want, call=call)
                exactly(nn, nn.ops.multiply(given, x), value, dtype=want, call=call)
                got = nn.ops.where(nn.tensor([True, False]), x, given)
                assert got.dtype == getattr(nn, want), f"where of {call} is {got.dtype}"
            assert nn.ops.result_type(x, number) == getattr(nn, want)
            assert nn.ops.result_type(number, getattr(nn, name)) == getattr(nn, want)
            if own(nn):
                exactly(nn, x * number, value, dtype=want, call=f"{name} * {number}")
                exactly(nn, number * x, value, dtype=want, call=f"{number} * {name}")


@clause("tensor-15")
def test_quotients_of_mixed_integers(nn: Any) -> None:
    names = ["bool", *there(nn, INTEGERS)]
    for one in names:
        for other in names:
            if meet(one, other) is None or other == one == "bool":
                continue
            got = nn.ops.divide(nn.tensor(np.ones(2, one)), nn.tensor(np.ones(2, other)))
            exactly(nn, got, np.ones(2), dtype="float32", call=f"divide of {one} and {other}")


@clause("tensor-16", "tensor-45")
def test_widths_of_complex_numbers(nn: Any) -> None:
    for name in there(nn, COMPLEX):
        for part in there(nn, FLOATING):
            x = nn.tensor(np.array([0.5, 2.0], part))
            z = nn.tensor(np.array([1j, 2], name))
            want = f"complex{2 * max(bits(name), bits(part))}"
            got = nn.ops.add(x, z)
            agrees(nn, got, np.array([0.5 + 1j, 4]), "exact", dtype=want, call=f"{part} + {name}")


@clause("tensor-38")
def test_what_the_clause_says_of_wrapping(nn: Any) -> None:
    ops = nn.ops
    for got, want, dtype in (
        (ops.add(nn.tensor(np.array([200], "uint8")), 100), 44, "uint8"),
        (ops.negative(nn.tensor(np.array([1], "uint8"))), 255, "uint8"),
        (ops.abs(nn.tensor(np.array([-128], "int8"))), -128, "int8"),
        (ops.negative(nn.tensor(np.array([-128], "int8"))), -128, "int8"),
    ):
        exactly(nn, got, np.array([want], dtype), dtype=dtype)
    for dtype in there(nn, SIGNED):
        top = np.array([np.iinfo(dtype).max], dtype)
        exactly(nn, ops.add(nn.tensor(top), 1), np.array([np.iinfo(dtype).min], dtype), dtype=dtype)
