"""Chapter ops: functions of complex arrays, their values and what refuses them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge import tables
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, raw, refuses
from spec_tests.support.calls import (
    Call,
    as_raw,
    as_tensors,
    calls,
    evaluate,
    evaluate_all,
    results,
)
from spec_tests.support.complexes import PARTS, class_of, complex_calls, listed, takes, taking
from spec_tests.support.dtypes import COMPLEX, there
from spec_tests.support.inputs import distinct, normal

pytestmark = pytest.mark.sampled(4)

ROWS = {row.name: row for row in tables.read().values() if row.chapter == "ops"}
EVERYTHING = frozenset().union(*listed("ops-59").values())
WITH_EMPTY = ("unary", "binary", "compare", "reduce", "scan", "linalg")
Z = np.array([[1 + 2j, -0.5j, 0], [0.25, -1 + 1j, 3 - 4j]])


def name_of(want: np.ndarray, dtype: str) -> str:
    """Return the dtype that a result has, where the operands have the complex `dtype`."""
    return {"c": dtype, "f": PARTS[dtype]}.get(want.dtype.kind, want.dtype.name)


@pytest.mark.sampled(16)
@clause("ops-59", "ops-02")
@rows("ops", where=takes)
def test_values_of_complex_arrays(nn: Any, row: Row) -> None:
    function = getattr(nn.ops, row.name)
    for dtype in there(nn, COMPLEX):
        for call in complex_calls(row, dtype):
            wanted = evaluate_all(row, call)
            tensors, options, _ = as_tensors(nn, call)
            for positional, keywords in ((tensors, options), as_raw(nn, call)):
                value = function(*positional, **keywords)
                for got, want in zip(results(value), wanted, strict=True):
                    assert isinstance(got, nn.Tensor), f"{call.text} gave {type(got).__name__}"
                    said = f"{call.text} of {dtype}"
                    wide = name_of(want, dtype)
                    agrees(nn, got, want, class_of(row), call=said, dtype=wide)


@clause("ops-59", "tensor-15")
@rows("ops", where=lambda row: takes(row) and row.family in ("binary", "compare"))
def test_complex_numbers_beside_arrays(nn: Any, row: Row) -> None:
    for dtype in there(nn, ("float32", "float64", *COMPLEX)):
        array = calls(row, dtype)[0].arrays()[-1]
        for number in (1.25 + 0.5j, np.complex64(1 - 0.25j), *([1.25, 2] if "c" in dtype else [])):
            for positional in ((array, number), (number, array)):
                call = Call(f"{row.name} of {dtype} and {number!r}", positional, {})
                tensors, _, _ = as_tensors(nn, call)
                got = getattr(nn.ops, row.name)(*tensors)
                want = evaluate(row, call)
                wide = (
                    dtype if dtype in COMPLEX else {"float32": "complex64"}.get(dtype, COMPLEX[1])
                )
                agrees(nn, got, want, class_of(row), call=call.text, dtype=name_of(want, wide))


@clause("ops-59", "ops-24")
def test_empty_complex_arrays(nn: Any) -> None:
    asked = [row for row in ROWS.values() if takes(row) and row.family in WITH_EMPTY]
    for row in asked:
        made = calls(row, "complex64")
        number = next(number for number, call in enumerate(made) if call.floating())
        size = max(made[number].floating()[0].shape)
        call = calls(row, "complex64", without(size))[number]
        positional, options, _ = as_tensors(nn, call)
        got = getattr(nn.ops, row.name)(*positional, **options)
        want = evaluate(row, call)
        said = f"{call.text}, empty"
        agrees(nn, got, want, class_of(row), call=said, dtype=name_of(want, "complex64"))


def without(size: int) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Return a function that puts 0 for every axis of this length."""
    return lambda shape: tuple(0 if length == size else length for length in shape)


def refusing(row: Row) -> bool:
    return row.name not in EVERYTHING and row.family not in ("create", "other")


@pytest.mark.sampled(1)
@clause("ops-59")
@rows("ops", where=refusing)
def test_functions_that_refuse_complex_arrays(nn: Any, row: Row) -> None:
    # Bits and `isin` are asked with integers in their rows.
    call = next(
        (call for call in calls(row, "float32") if call.floating()), calls(row, "float32")[0]
    )
    function = getattr(nn.ops, row.name)
    for make in (nn.tensor, lambda array: raw(nn, array)):
        for dtype in there(nn, COMPLEX):

            def change(leaf: Any, make: Any = make, dtype: str = dtype) -> Any:
                return make(leaf.astype(dtype)) if isinstance(leaf, np.ndarray) else leaf

            positional, options = call.map(change)
            with refuses(TypeError, row.name, dtype):
                function(*positional, **options)
    if row.family in ("binary", "compare", "bits"):
        for positional in ((nn.ones((2,)), 1j), (1j, nn.ones((2,)))):
            with refuses(TypeError, row.name, "complex"):
                function(*positional)


@clause("ops-59", "ops-62")
def test_refusals_of_other_arguments(nn: Any) -> None:
    ops, x = nn.ops, nn.tensor([1.0, 2.0])
    z = nn.tensor(Z)
    wrong: list[tuple[str, str, Callable[[], Any]]] = [
        ("clip", "complex", lambda: ops.clip(x, 1j)),
        ("clip", "complex", lambda: ops.clip(x, max=1j)),
        ("searchsorted", "complex", lambda: ops.searchsorted(x, 1j)),
        ("isin", "complex", lambda: ops.isin(x, 1j)),
        ("arange", "complex64", lambda: ops.arange(3, dtype=nn.complex64)),
        ("arange", "complex64", lambda: nn.arange(3, dtype=nn.complex64)),
        ("rand", "complex64", lambda: nn.rand((2,), dtype=nn.complex64)),
        ("randn", "complex64", lambda: nn.randn((2,), dtype=nn.complex64)),
        ("linspace", "float32", lambda: ops.linspace(0, 1j, 3, dtype=nn.float32)),
        ("full", "complex", lambda: ops.full((2,), 1j, dtype=nn.float32)),
        ("pad", "complex", lambda: ops.pad(x, 1, constant_values=1j)),
        ("put", "complex64", lambda: ops.put(x, 0, nn.tensor(1j))),
        ("iinfo", "complex64", lambda: ops.iinfo(nn.complex64)),
        ("one_hot", "complex128", lambda: ops.one_hot(z, 3)),
        ("take", "complex128", lambda: ops.take(x, z)),
    ]
    for word, came, call in wrong:
        with refuses(TypeError, word, came):
            call()


@clause("ops-59", "ops-11")
def test_casts_of_complex_arrays(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        z = nn.tensor(Z.astype(dtype))
        for other in there(nn, COMPLEX):
            got = nn.ops.astype(z, getattr(nn, other))
            exactly(nn, got, Z.astype(dtype).astype(other), dtype=other, call=f"{dtype} to {other}")
        exactly(nn, nn.ops.astype(z, nn.bool), Z != 0, dtype="bool", call=f"{dtype} to bool")
        for other in ("float32", "int64", "uint8"):
            with refuses(TypeError, "astype", dtype, other, "real"):
                nn.ops.astype(z, getattr(nn, other))
            for word, make in (("tensor", nn.tensor), ("asarray", nn.ops.asarray)):
                with refuses(TypeError, word, dtype):
                    make(Z.astype(dtype), dtype=getattr(nn, other))
            for name in ("sum", "prod"):
                with refuses(TypeError, name, dtype):
                    getattr(nn.ops, name)(z, dtype=getattr(nn, other))
        for other in ("bool", "int64", "uint8", "float32"):
            array = np.array([0, 1, 3]).astype(other)
            got = nn.ops.astype(nn.tensor(array), getattr(nn, dtype))
            exactly(nn, got, array.astype(dtype), dtype=dtype, call=f"{other} to {dtype}")
            got = nn.tensor(array, dtype=getattr(nn, dtype))
            exactly(nn, got, array.astype(dtype), dtype=dtype, call=f"tensor of {other}")


@clause("ops-59", "ops-41", "ops-51")
def test_what_is_not_zero_and_what_is_equal(nn: Any) -> None:
    ops = nn.ops
    for dtype in there(nn, COMPLEX):
        array = Z.astype(dtype)
        z = nn.tensor(array)
        for axis in (None, 1):
            for name in ("all", "any", "count_nonzero"):
                want = np.asarray(getattr(np, name)(array, axis=axis))
                got = getattr(ops, name)(z, axis=axis)
                exactly(nn, got, want, dtype=want.dtype.name, call=f"{name} of {dtype}")
        for got, want in zip(ops.nonzero(z), np.nonzero(array), strict=True):
            exactly(nn, got, want, dtype="int64", call="nonzero")
        for name in ("logical_and", "logical_or", "logical_xor"):
            got = getattr(ops, name)(z, nn.tensor(array[:1]))
            exactly(nn, got, getattr(np, name)(array, array[:1]), dtype="bool", call=name)
        exactly(nn, ops.logical_not(z), array == 0, dtype="bool", call="logical_not")
        repeated = np.array([2 + 1j, 1 - 1j, 2 + 1j, 2 - 1j, 1 - 1j, 0]).astype(dtype)
        wanted: Any = np.unique_all(repeated)
        for got, want in zip(ops.unique_all(nn.tensor(repeated)), wanted, strict=True):
            exactly(nn, got, want, dtype=want.dtype.name, call="unique_all")
        exactly(nn, ops.unique_values(nn.tensor(repeated)), wanted[0], dtype=dtype)
        counts = ops.unique_counts(nn.tensor(repeated))
        exactly(nn, counts.counts, wanted.counts, dtype="int64", call="unique_counts")
        inverse = ops.unique_inverse(nn.tensor(repeated))
        exactly(nn, inverse.inverse_indices, wanted.inverse_indices, dtype="int64")
        half = array + np.where(array == 0, 0, 1j).astype(dtype)
        exactly(nn, ops.equal(z, nn.tensor(half)), array == half, dtype="bool", call="equal")
        broken = np.array([1, complex(np.nan, 1), complex(1, np.inf), complex(-np.inf, 0)], dtype)
        for name in ("isnan", "isinf", "isfinite"):
            got = getattr(ops, name)(nn.tensor(broken))
            exactly(nn, got, getattr(np, name)(broken), dtype="bool", call=f"{name} of parts")


@clause("ops-59", "ops-47", "ops-16")
def test_complex_arrays_are_made(nn: Any) -> None:
    ops = nn.ops
    for dtype in there(nn, COMPLEX):
        kind = getattr(nn, dtype)
        made = {
            "zeros": (ops.zeros((2,), dtype=kind), np.zeros(2)),
            "ones": (ops.ones((2,), dtype=kind), np.ones(2)),
            "full": (ops.full((2,), 1 - 2j, dtype=kind), np.full(2, 1 - 2j)),
            "full of a real number": (ops.full((2,), 3, dtype=kind), np.full(2, 3)),
            "nn.full": (nn.full((2,), 1 - 2j, dtype=kind), np.full(2, 1 - 2j)),
            "eye": (ops.eye(2, 3, k=1, dtype=kind), np.eye(2, 3, 1)),
            "linspace": (ops.linspace(0, 1 + 2j, 3, dtype=kind), np.array([0, 0.5 + 1j, 1 + 2j])),
            "linspace of real numbers": (ops.linspace(0, 1, 3, dtype=kind), np.array([0, 0.5, 1])),
            "asarray": (ops.asarray([1j, 2], dtype=kind), np.array([1j, 2])),
            "full_like": (ops.full_like(ops.zeros((2,), dtype=kind), 1j), np.full(2, 1j)),
            "one_hot": (ops.one_hot(nn.tensor([1, 0]), 2, dtype=kind), np.eye(2)[::-1]),
            "pad": (
                ops.pad(ops.ones((1,), dtype=kind), 1, constant_values=1j),
                np.array([1j, 1, 1j]),
            ),
        }
        for call, (got, want) in made.items():
            exactly(nn, got, want.astype(dtype), dtype=dtype, call=f"{call} of {dtype}")
        assert tuple(ops.empty((2, 3), dtype=kind).shape) == (2, 3)
    plain = {
        "full": (ops.full((2,), 1j), np.full(2, 1j)),
        "nn.full": (nn.full((2,), 1j), np.full(2, 1j)),
        "linspace": (ops.linspace(1j, 2, 2), np.array([1j, 2])),
        "asarray": (ops.asarray([1j, 2.5, 3, True]), np.array([1j, 2.5, 3, 1])),
        "where": (ops.where(nn.tensor([True, False]), 1j, 2), np.array([1j, 2])),
    }
    for call, (got, want) in plain.items():
        exactly(nn, got, want.astype("complex64"), dtype="complex64", call=call)


@clause("ops-59", "ops-62")
def test_principal_values(nn: Any) -> None:
    z = np.array([-1 + 0j, -4 + 0j, -0.5 + 0.5j, -0.5 - 0.5j, 1j, -1j])
    for dtype in there(nn, COMPLEX):
        narrow = z.astype(dtype)
        for name in ("log", "sqrt"):
            want = getattr(np, name)(z)
            agrees(nn, getattr(nn.ops, name)(nn.tensor(narrow)), want, "elementwise", dtype=dtype)
        got = nn.ops.pow(nn.tensor(narrow), 0)
        exactly(nn, got, np.ones(6, dtype), dtype=dtype, call="pow(z, 0)")
        got = nn.ops.sign(nn.tensor(np.array([0, 3 + 4j, -2j], dtype)))
        want = np.array([0, 0.6 + 0.8j, -1j])
        agrees(nn, got, want, "elementwise", dtype=dtype, call="sign")
        got = nn.ops.round(nn.tensor(np.array([0.5 + 1.5j, -2.5 - 0.75j], dtype)))
        exactly(nn, got, np.array([0 + 2j, -2 - 1j], dtype), dtype=dtype, call="round")


@clause("ops-62")
@pytest.mark.parametrize("name", ["real", "imag", "conj"])
def test_parts_of_real_numbers(nn: Any, name: str) -> None:
    function = getattr(nn.ops, name)
    for dtype in there(nn, ("float32", "float64", "int8", "int32", "int64", "uint8", "uint64")):
        array = (4 * distinct((2, 3), "float64")).astype(dtype)
        want = np.zeros_like(array) if name == "imag" else array
        exactly(nn, function(nn.tensor(array)), want, dtype=dtype, call=f"{name} of {dtype}")
    with refuses(TypeError, name, "bool"):
        function(nn.tensor([True]))
    infinite = np.array([np.inf, -np.inf, np.nan], "float32")
    want = np.zeros(3, "float32") if name == "imag" else infinite
    exactly(nn, function(nn.tensor(infinite)), want, dtype="float32", call=f"{name} of infinities")


@clause("ops-59", "ops-25")
def test_long_sums_of_complex_numbers(nn: Any) -> None:
    array = normal(4099, "complex64")
    want = np.sum(array.astype("complex128"))
    got = complex(nn.ops.sum(nn.tensor(array)).item())
    bound = 2 * (2 + np.log2(4099)) * 2.0**-23 * np.sum(np.abs(array))
    assert abs(got - want) <= bound, f"the sum is {got} but should be {want}"


@clause("ops-59")
def test_the_list_and_the_tables(nn: Any) -> None:
    assert set(ROWS) >= EVERYTHING, sorted(EVERYTHING - set(ROWS))
    assert {name for name in taking() if callable(getattr(nn.ops, name, None))} == taking()
