"""Chapter ops: every integer dtype, by exact values of NumPy, whose arithmetic wraps around."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, own, raw, refuses, to_numpy
from spec_tests.support.calls import Call, as_raw, as_tensors, calls, evaluate_all, results
from spec_tests.support.complexes import listed
from spec_tests.support.dtypes import INTEGERS, SIGNED, there
from spec_tests.support.inputs import normal, positive

pytestmark = pytest.mark.sampled(6)

KEEPING = (
    "the dtype of `x`",
    "where two meet (`tensor-16`)",
    "`int64` or `uint64`, as `ops-15` says",
)
NAMES = frozenset().union(*(listed("ops-60")[cell] for cell in KEEPING))
FAMILIES = ("shape", "several", "scan", "reduce", "compare", "predicate")
AS_THEY_ARE = ("ceil", "floor", "trunc", "round")
TWO = ("add", "subtract", "multiply", "floor_divide", "remainder", "maximum", "minimum")


def in_quarters(test: Any) -> Any:
    """Ask for each quarter of the dtypes in a test of its own; with --quick for one of them."""
    return pytest.mark.sampled(4)(pytest.mark.parametrize("quarter", range(4))(test))


def whole_calls(row: Row, dtype: str) -> Iterator[Call]:
    """Yield the calls of a row that have arrays of numbers, and no floating number beside them."""
    for call in calls(row, dtype):
        leaves: list[Any] = []
        call.map(leaves.append)
        kinds = {array.dtype.name for array in call.arrays()}
        # NumPy's formula of a descending order negates, which wraps around.
        descending = bool(call.options.get("descending"))
        made = "normal" in call.text or "positive" in call.text or "distinct" in call.text
        fractions = any(isinstance(leaf, float) for leaf in leaves)
        if dtype in kinds and made and not descending and not fractions:
            yield call


def asked(row: Row) -> bool:
    listed_or_shaped = row.name in NAMES or row.family in FAMILIES
    real_numbers = row.name in ("mean", "var", "std", "norm", "cumulative_logsumexp", "signbit")
    takes_whole = row.formula is not None and any(whole_calls(row, "int8"))
    return listed_or_shaped and not real_numbers and takes_whole


def summed(nn: Any, got: Any, want: np.ndarray, call: str) -> None:
    """Compare what may be a sum: of unsigned integers it may be int64 where there is no uint64."""
    unsigned = want.dtype.name == "uint64" and "uint64" not in there(nn)
    if unsigned and to_numpy(nn, got).dtype.name == "int64":
        want = want.astype("int64")
    exactly(nn, got, want, dtype=want.dtype.name, call=call)


@pytest.mark.sampled(32)
@clause("ops-60", "tensor-38", "ops-15")
@rows("ops", where=asked)
def test_values_of_integers(nn: Any, row: Row) -> None:
    function = getattr(nn.ops, row.name)
    for dtype in there(nn, INTEGERS):
        for call in whole_calls(row, dtype):
            wanted = call.arrays() if row.name in AS_THEY_ARE else evaluate_all(row, call)
            tensors, options, _ = as_tensors(nn, call)
            for positional, keywords in ((tensors, options), as_raw(nn, call)):
                value = function(*positional, **keywords)
                for got, array in zip(results(value), wanted, strict=True):
                    summed(nn, got, array, f"{call.text} of {dtype}")


def ends(dtype: str) -> np.ndarray:
    """Return the ends of a dtype and small numbers."""
    limits = np.iinfo(dtype)
    small = [0, 1, 2, 3, 100] + ([-1, -2, -100] if dtype in SIGNED else [])
    return np.array([limits.min, limits.min + 1, limits.max - 1, limits.max, *small], dtype)


@clause("ops-60", "tensor-38", "ops-34")
@pytest.mark.parametrize("name", TWO)
def test_every_end_with_every_other(nn: Any, name: str) -> None:
    for dtype in there(nn, INTEGERS):
        a = ends(dtype)
        with np.errstate(all="ignore"):
            want = getattr(np, name)(a[:, None], a)
        got = getattr(nn.ops, name)(nn.tensor(a[:, None]), nn.tensor(a))
        exactly(nn, got, want, dtype=dtype, call=f"{name} of {dtype}")
        for number in (int(a[3]), 3, 0):
            with np.errstate(all="ignore"):
                want = getattr(np, name)(a, np.array(number, dtype))
            got = getattr(nn.ops, name)(nn.tensor(a), number)
            exactly(nn, got, want, dtype=dtype, call=f"{name} of {dtype} and {number}")


@clause("ops-60", "tensor-38")
@in_quarters
def test_ends_of_one(nn: Any, quarter: int) -> None:
    for dtype in there(nn, INTEGERS)[quarter::4]:
        a = ends(dtype)
        for name in ("abs", "negative", "square", "sign", "positive", "bitwise_invert"):
            with np.errstate(all="ignore"):
                want = getattr(np, name)(a)
            got = getattr(nn.ops, name)(nn.tensor(a))
            exactly(nn, got, want, dtype=dtype, call=f"{name} of {dtype}")


@clause("ops-35", "ops-60")
@in_quarters
def test_bits_of_every_integer(nn: Any, quarter: int) -> None:
    for dtype in there(nn, INTEGERS)[quarter::4]:
        a, b = normal((3, 4), dtype), normal((3, 4), dtype, seed=1)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
            got = getattr(nn.ops, name)(nn.tensor(a), nn.tensor(b))
            exactly(nn, got, getattr(np, name)(a, b), dtype=dtype, call=f"{name} of {dtype}")
        size = np.iinfo(dtype).bits
        counts = np.array([0, 1, size - 1, size], dtype)
        for name in ("left_shift", "right_shift"):
            # NumPy's own answer beyond the number of bits is not asked for.
            past = a >> (size - 1) if name == "right_shift" and dtype in SIGNED else a * 0
            want = np.where(counts < size, getattr(np, name)(a, counts % size), past)
            got = getattr(nn.ops, f"bitwise_{name}")(nn.tensor(a), nn.tensor(counts))
            exactly(nn, got, want.astype(dtype), dtype=dtype, call=f"{name} of {dtype}")


@clause("ops-60", "ops-49", "ops-50", "ops-51")
@in_quarters
def test_order_of_every_integer(nn: Any, quarter: int) -> None:
    ops = nn.ops
    for dtype in there(nn, INTEGERS)[quarter::4]:
        a = np.concatenate([ends(dtype), ends(dtype)[::-1]])
        x = nn.tensor(a)
        up = np.argsort(a, stable=True)
        down = len(a) - 1 - np.argsort(a[::-1], stable=True)[::-1]
        exactly(nn, ops.sort(x), a[up], dtype=dtype, call=f"sort of {dtype}")
        exactly(nn, ops.sort(x, descending=True), a[down], dtype=dtype, call="sort, descending")
        exactly(nn, ops.argsort(x), up, dtype="int64", call=f"argsort of {dtype}")
        exactly(nn, ops.argsort(x, descending=True), down, dtype="int64", call="descending")
        exactly(nn, ops.argmax(x), np.argmax(a), dtype="int64", call=f"argmax of {dtype}")
        exactly(nn, ops.argmin(x), np.argmin(a), dtype="int64", call=f"argmin of {dtype}")
        line = np.unique(a)
        got = ops.searchsorted(nn.tensor(line), x, side="right")
        exactly(nn, got, np.searchsorted(line, a, "right"), dtype="int64", call="searchsorted")
        wanted: Any = np.unique_all(a)
        for got, want in zip(ops.unique_all(x), wanted, strict=True):
            exactly(nn, got, want, dtype=want.dtype.name, call=f"unique_all of {dtype}")
        got = ops.isin(x, nn.tensor(line[:2]))
        exactly(nn, got, np.isin(a, line[:2]), dtype="bool", call=f"isin of {dtype}")
        low, high = int(line[1]), int(line[-2])
        got = ops.clip(x, low, high)
        exactly(nn, got, np.clip(a, low, high), dtype=dtype, call=f"clip of {dtype}")
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
            want = getattr(np, name)(a[:, None], a)
            got = getattr(ops, name)(nn.tensor(a[:, None]), x)
            exactly(nn, got, want, dtype="bool", call=f"{name} of {dtype}")
        for name in ("all", "any", "count_nonzero"):
            want = np.asarray(getattr(np, name)(a))
            exactly(nn, getattr(ops, name)(x), want, dtype=want.dtype.name, call=name)


@clause("ops-60", "tensor-06", "ops-47")
@in_quarters
def test_integers_are_made(nn: Any, quarter: int) -> None:
    ops = nn.ops
    for dtype in there(nn, INTEGERS)[quarter::4]:
        kind = getattr(nn, dtype)
        top, classes = int(np.iinfo(dtype).max), np.array([1, 0], dtype)
        made = {
            "zeros": (ops.zeros((2,), dtype=kind), np.zeros(2)),
            "ones": (nn.ones((2,), dtype=kind), np.ones(2)),
            "full": (ops.full((2,), top, dtype=kind), np.full(2, top, dtype)),
            "full_like": (ops.full_like(nn.ones((2,), dtype=kind), top), np.full(2, top, dtype)),
            "arange": (ops.arange(2, 9, 3, dtype=kind), np.array([2, 5, 8])),
            "eye": (ops.eye(2, 3, k=1, dtype=kind), np.eye(2, 3, 1)),
            "one_hot": (ops.one_hot(nn.tensor(classes), 2, dtype=kind), np.eye(2)[::-1]),
            "pad": (ops.pad(nn.ones((1,), dtype=kind), 1, constant_values=7), np.array([7, 1, 7])),
            "tensor": (nn.tensor([top, 0], dtype=kind), np.array([top, 0], dtype)),
            "asarray": (ops.asarray([[1], [2]], dtype=kind), np.array([[1], [2]])),
        }
        for call, (got, want) in made.items():
            exactly(nn, got, want.astype(dtype), dtype=dtype, call=f"{call} of {dtype}")
        assert ops.empty((2,), dtype=kind).dtype == kind


@clause("ops-60", "ops-11")
@in_quarters
def test_casts_of_integers(nn: Any, quarter: int) -> None:
    for dtype in there(nn, INTEGERS)[quarter::4]:
        a = ends(dtype)
        for other in there(nn, ("bool", *INTEGERS, "float32", "float64")):
            got = nn.ops.astype(nn.tensor(a), getattr(nn, other))
            exactly(nn, got, a.astype(other), dtype=other, call=f"{dtype} to {other}")
        small = np.array([0.0, 1.5, 99.75, *([-2.5] if dtype in SIGNED else [])], "float32")
        got = nn.ops.astype(nn.tensor(small), getattr(nn, dtype))
        exactly(nn, got, small.astype(dtype), dtype=dtype, call=f"float32 to {dtype}")


@clause("ops-60", "ops-14")
@in_quarters
def test_quotients_of_every_integer(nn: Any, quarter: int) -> None:
    for dtype in there(nn, INTEGERS)[quarter::4]:
        a, b = positive((3, 4), dtype), positive((3, 4), dtype, seed=1)
        got = nn.ops.divide(nn.tensor(a), nn.tensor(b))
        agrees(nn, got, a / b, "elementwise", dtype="float32", call=f"divide of {dtype}")
        for name in ("mean", "var", "std"):
            got = getattr(nn.ops, name)(nn.tensor(a), axis=1)
            want = getattr(np, name)(a, axis=1)
            agrees(nn, got, want, "reduction", dtype="float32", call=f"{name} of {dtype}")


@clause("ops-60", "ops-15", "ops-22", "ops-38")
@in_quarters
def test_sums_of_every_integer(nn: Any, quarter: int) -> None:
    for dtype in there(nn, INTEGERS)[quarter::4]:
        a = np.tile(ends(dtype), 40)
        for name in ("sum", "prod", "cumulative_sum", "cumulative_prod"):
            want = np.asarray(getattr(np, name)(a))
            assert want.dtype.name in ("int64", "uint64")
            for given in (nn.tensor(a), raw(nn, a)):
                summed(nn, getattr(nn.ops, name)(given), want, f"{name} of {dtype}")
            for told in there(nn, INTEGERS):
                want = np.asarray(getattr(np, name)(a.astype(told), dtype=told))
                got = getattr(nn.ops, name)(nn.tensor(a), dtype=getattr(nn, told))
                exactly(nn, got, want, dtype=told, call=f"{name} of {dtype} in {told}")
        summed(nn, nn.tensor(a).sum(), np.asarray(np.sum(a)), f"x.sum() of {dtype}")


@clause("ops-60", "ops-35", "tensor-38")
def test_numbers_that_do_not_fit_beside_them(nn: Any) -> None:
    for dtype in there(nn, INTEGERS):
        x = nn.tensor(ends(dtype))
        for number in (int(np.iinfo(dtype).max) + 1, int(np.iinfo(dtype).min) - 1):
            for name in ("add", "multiply", "maximum", "bitwise_and"):
                with refuses((ValueError, OverflowError), name, number):
                    getattr(nn.ops, name)(x, number)
            for word, make in (("tensor", nn.tensor), ("asarray", nn.ops.asarray)):
                with refuses((ValueError, OverflowError), word, number):
                    make([number], dtype=getattr(nn, dtype))
                if abs(number) < 2**63:
                    with refuses((ValueError, OverflowError), word):
                        make(np.array([number]), dtype=getattr(nn, dtype))
            with refuses((ValueError, OverflowError), "full", number):
                nn.ops.full((2,), number, dtype=getattr(nn, dtype))


@clause("ops-60", "tensor-36")
@in_quarters
def test_lookups_in_every_integer(nn: Any, quarter: int) -> None:
    for dtype in there(nn, INTEGERS)[quarter::4]:
        table = normal((5, 2), dtype)
        for kind in there(nn, INTEGERS):
            rows_taken = np.array([4, 0, 4], kind)
            got = nn.ops.take(nn.tensor(table), nn.tensor(rows_taken), axis=0)
            exactly(nn, got, table[[4, 0, 4]], dtype=dtype, call=f"take of {dtype} by {kind}")
        got = nn.tensor(table)[nn.tensor(np.array([4, 0]))]
        exactly(nn, got, table[[4, 0]], dtype=dtype, call=f"x[i] of {dtype}")
        exactly(nn, nn.tensor(table)[1:, 0], table[1:, 0], dtype=dtype, call=f"x[1:, 0] of {dtype}")
        if own(nn):
            for kind in there(nn, INTEGERS):
                got = nn.tensor(table)[nn.tensor(np.array([4, 0, 4], kind))]
                exactly(nn, got, table[[4, 0, 4]], dtype=dtype, call=f"x[i], i a Tensor of {kind}")
        mask = nn.tensor(table > 0)
        exactly(nn, nn.tensor(table)[mask], table[table > 0], dtype=dtype, call="x[mask]")


@clause("tensor-36", "ops-60", "ops-46")
def test_tensors_of_every_integer_look_up(nn: Any) -> None:
    layer = nn.Embedding(5, 2)
    table = np.array(to_numpy(nn, layer.weight))
    logits = nn.tensor(np.eye(3, 5, dtype="float32"))
    want = float(nn.loss.cross_entropy(logits, nn.tensor([4, 0, 1])))
    for kind in there(nn, INTEGERS):
        index = nn.tensor(np.array([4, 0, 1], kind))
        exactly(nn, layer(index), table[[4, 0, 1]], dtype="float32", call=f"Embedding by {kind}")
        got = float(nn.loss.cross_entropy(logits, index))
        assert got == want, f"cross_entropy by {kind} is {got}"
        got = nn.ops.one_hot(index, 5)
        exactly(nn, got, np.eye(5)[[4, 0, 1]], dtype="float32", call=f"one_hot of {kind}")
        got = nn.ops.segment_sum(nn.tensor(table[:3]), nn.ops.astype(index, getattr(nn, kind)), 5)
        assert tuple(got.shape) == (5, 2)


@clause("ops-60", "ops-12")
@in_quarters
def test_products_of_integers_are_exact(nn: Any, quarter: int) -> None:
    for dtype in there(nn, INTEGERS)[quarter::4]:
        a, b = normal((3, 40), dtype), normal((40, 2), dtype, seed=1)
        want = np.matmul(a, b)
        assert want.dtype.name == dtype
        got = nn.ops.matmul(nn.tensor(a), nn.tensor(b))
        exactly(nn, got, want, dtype=dtype, call=f"matmul of {dtype}")
        got = nn.ops.einsum("ij,jk->ik", nn.tensor(a), nn.tensor(b))
        exactly(nn, got, want, dtype=dtype, call=f"einsum of {dtype}")
        got = nn.ops.tensordot(nn.tensor(a), nn.tensor(b), axes=1)
        exactly(nn, got, want, dtype=dtype, call=f"tensordot of {dtype}")
        got = nn.ops.vecdot(nn.tensor(a), nn.tensor(b[:, 0]))
        assert to_numpy(nn, got).tolist() == want[:, 0].tolist(), f"vecdot of {dtype}"
