"""The chapter ``data``: batches of rows, and of sequences of similar length."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.support.assertions import agrees, exactly, raw, refuses, to_numpy

ROWS = np.arange(21, dtype=np.float32).reshape(7, 3)
LABELS = np.arange(7) * 10
KINDS: dict[str, Callable[[Any, np.ndarray], Any]] = {
    "Tensor": lambda nn, array: nn.tensor(array),
    "raw array": raw,
    "NumPy array": lambda nn, array: np.array(array),
}
LENGTHS = [3, 1, 4, 1, 0, 3, 2, 1]


def of_kind(nn: Any, kind: str, value: Any) -> bool:
    """Whether a value is of a kind."""
    if kind == "Tensor":
        return isinstance(value, nn.Tensor) and not value.requires_grad
    return type(value) is type(KINDS[kind](nn, np.ones(2, np.float32)))


def sequences(nn: Any, kind: str = "NumPy array") -> list[Any]:
    """Return sequences of 2 features whose numbers tell them apart."""
    arrays = [np.full((n, 2), k + 1, np.float32) for k, n in enumerate(LENGTHS)]
    return [KINDS[kind](nn, array) for array in arrays]


@clause("data-02", "data-05")
@pytest.mark.parametrize("kind", KINDS)
def test_batches_as_the_arrays_came(nn: Any, kind: str) -> None:
    x, y = (KINDS[kind](nn, array) for array in (ROWS, LABELS))
    parts = [slice(0, 3), slice(3, 6), slice(6, 7)]
    for arrays in ((x, y), [x, y]):
        got = list(nn.data.batches(arrays, 3))
        assert len(got) == 3
        for batch, part in zip(got, parts, strict=True):
            assert isinstance(batch, tuple)
            assert all(of_kind(nn, kind, entry) for entry in batch)
            exactly(nn, batch[0], ROWS[part])
            exactly(nn, batch[1], LABELS[part])
    named = list(nn.data.batches({"y": y, "x": x}, 3, drop_last=True))
    assert [list(batch) for batch in named] == [["y", "x"], ["y", "x"]]
    exactly(nn, named[1]["x"], ROWS[3:6])
    alone = nn.data.batches(x, batch_size=4)
    assert isinstance(alone, Iterator)
    for batch, part in zip(alone, (slice(0, 4), slice(4, 7)), strict=True):
        assert of_kind(nn, kind, batch)
        exactly(nn, batch, ROWS[part])
    (whole,) = nn.data.batches(x, 100)
    exactly(nn, whole, ROWS)
    assert list(nn.data.batches(x, 100, drop_last=True)) == []
    assert list(nn.data.batches((x[:0], y[:0]), 2)) == []


@clause("data-01", "data-03")
def test_batches_in_the_order_of_a_seed(nn: Any) -> None:
    nn.manual_seed(5)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    seen = []
    for seed in (0, 1, 2**64 - 1):
        order = Draws(seed).order(7)
        got = list(nn.data.batches((ROWS, LABELS), 3, shuffle=True, seed=seed))
        for k, (x, y) in enumerate(got):
            exactly(nn, x, ROWS[order[3 * k : 3 * k + 3]])
            exactly(nn, y, LABELS[order[3 * k : 3 * k + 3]])
        seen.append(order.tolist())
        short = list(nn.data.batches(LABELS, 3, shuffle=True, seed=seed, drop_last=True))
        assert np.concatenate(short).tolist() == (10 * order[:6]).tolist()
    assert seen[0] != seen[1]
    (plain,) = nn.data.batches(LABELS, 7, seed=3)
    exactly(nn, plain, LABELS)
    with refuses(ValueError, "batches", "seed"):
        nn.data.batches(ROWS, 3, shuffle=True)
    exactly(nn, nn.get_rng_state(), state)


@clause("data-04")
def test_batches_that_go_on(nn: Any) -> None:
    for options in ({}, {"drop_last": True}, {"shuffle": True, "seed": 4}):
        whole = [batch.tolist() for batch in nn.data.batches(LABELS, 3, **options)]
        for start in range(len(whole) + 1):
            rest = nn.data.batches(LABELS, 3, start=start, **options)
            assert [batch.tolist() for batch in rest] == whole[start:], f"{options}, {start}"
        for bad in (len(whole) + 1, -1):
            with refuses(ValueError, "batches", "start", bad):
                nn.data.batches(LABELS, 3, start=bad, **options)


@clause("data-05")
def test_batches_are_copies(nn: Any) -> None:
    x = np.array(ROWS)
    for options in ({}, {"shuffle": True, "seed": 0}):
        for batch in nn.data.batches(x, 3, **options):
            assert not np.shares_memory(batch, x)
            batch[...] = -1
    assert np.array_equal(x, ROWS)
    later = nn.data.batches(x, 3)
    x[0] = 9
    exactly(nn, next(later)[0], np.full(3, 9, np.float32))
    texts = np.array(["a", "b", "c"])
    (first, second) = nn.data.batches(texts, 2)
    assert (first.dtype, first.tolist(), second.tolist()) == (texts.dtype, ["a", "b"], ["c"])
    small = np.arange(4, dtype=np.uint8)
    assert next(nn.data.batches((small, ROWS[:4]), 2))[0].dtype == np.uint8
    leaf = nn.tensor(ROWS, requires_grad=True)
    (batch,) = nn.data.batches(leaf, 7)
    assert not batch.requires_grad
    exactly(nn, batch, ROWS)


UNFIT: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, "batch_size", {"batch_size": 0}),
    (ValueError, "batch_size", {"batch_size": -2}),
    (TypeError, "batch_size", {"batch_size": 2.0}),
    (TypeError, "batch_size", {"batch_size": True}),
    (TypeError, "batch_size", {"batch_size": None}),
    (ValueError, "seed", {"seed": -1}),
    (ValueError, "seed", {"seed": 2**64}),
    (TypeError, "seed", {"seed": 1.5}),
    (TypeError, "seed", {"seed": "7"}),
    (TypeError, "start", {"start": 1.0}),
    (ValueError, "start", {"start": 9}),
    (TypeError, "drop_last", {"drop_last": "yes"}),
]


@clause("data-06", "data-09")
@pytest.mark.parametrize("number", range(len(UNFIT)))
def test_arguments_that_do_not_fit(nn: Any, number: int) -> None:
    error, name, options = UNFIT[number]
    came = next(iter(options.values()))
    shown = str(came) if error is ValueError else (type(came).__name__, str(came))
    for function, what in (("batches", ROWS), ("bucketed", sequences(nn))):
        with refuses(error, function, name, shown):
            getattr(nn.data, function)(what, **{"batch_size": 3, **options})


@clause("data-06")
def test_arrays_that_do_not_fit(nn: Any) -> None:
    bad: list[tuple[type[Exception], Any, tuple[Any, ...]]] = [
        (ValueError, (ROWS, LABELS[:5]), ("7", "5")),
        (ValueError, {"x": ROWS, "y": LABELS[:5]}, ("7", "5")),
        (ValueError, nn.tensor(1.0), ("()",)),
        (ValueError, (ROWS, np.array(1.0)), ("()",)),
        (ValueError, (), ("arrays",)),
        (ValueError, [], ("arrays",)),
        (ValueError, {}, ("arrays",)),
        (TypeError, 3, (("int", "3"),)),
        (TypeError, None, ("None",)),
        (TypeError, "rows", (("str", "rows"),)),
        (TypeError, (ROWS, [1, 2, 3, 4, 5, 6, 7]), (("list", "[1"),)),
        (TypeError, {"x": ROWS, "y": None}, ("None",)),
    ]
    for error, arrays, fragments in bad:
        with refuses(error, "batches", *fragments):
            nn.data.batches(arrays, 2)
    with refuses(TypeError, "batches", "shuffle"):
        nn.data.batches(ROWS, 2, shuffle="yes", seed=1)


def wanted(size: int, seed: int | None, drop_last: bool) -> list[list[int]]:
    """Return the places of the sequences of each batch, from the text."""
    lengths, count = np.array(LENGTHS), len(LENGTHS)
    order = np.argsort(lengths, kind="stable")
    draws = Draws(seed or 0)
    if seed is not None:
        order = np.lexsort((draws.units(count), lengths))
    number = count // size if drop_last else math.ceil(count / size)
    places = range(number) if seed is None else draws.order(number)
    return [order[size * k : size * k + size].tolist() for k in places]


@clause("data-01", "data-07")
@pytest.mark.parametrize("seed", [None, 0, 1, 2**63])
def test_the_order_of_buckets(nn: Any, seed: int | None) -> None:
    nn.manual_seed(5)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    for size, drop_last in ((3, False), (3, True), (2, False), (100, False), (100, True)):
        options = {"seed": seed, "drop_last": drop_last}
        want = wanted(size, seed, drop_last)
        got = [places.tolist() for _, _, places in nn.data.bucketed(sequences(nn), size, **options)]
        assert got == want, f"batches of {size}, {options}"
        for start in range(len(want) + 1):
            rest = nn.data.bucketed(sequences(nn), size, start=start, **options)
            assert [places.tolist() for _, _, places in rest] == want[start:]
    exactly(nn, nn.get_rng_state(), state)


@clause("data-08")
@pytest.mark.parametrize("kind", KINDS)
def test_padded_batches(nn: Any, kind: str) -> None:
    given = sequences(nn, kind)
    for batch_first, value in ((False, 0.0), (True, -1.5), (False, math.nan)):
        options = {"batch_first": batch_first, "padding_value": value}
        batches = list(nn.data.bucketed(given, 3, seed=1, **options))
        assert sum(len(lengths) for _, lengths, _ in batches) == len(given)
        for padded, lengths, places in batches:
            assert of_kind(nn, kind, padded)
            for numbers in (lengths, places):
                assert isinstance(numbers, np.ndarray)
                assert numbers.dtype == np.int64
            assert lengths.tolist() == [LENGTHS[k] for k in places]
            want = np.full((lengths.max(), len(places), 2), value, np.float32)
            for n, k in enumerate(places):
                want[: LENGTHS[k], n] = k + 1
            want = want.swapaxes(0, 1) if batch_first else want
            exactly(nn, padded, want, call=f"batch_first={batch_first}")


@clause("data-08")
def test_padded_batches_of_other_dtypes_and_shapes(nn: Any) -> None:
    lines = [np.array([1, 2, 3]), np.array([4]), np.array([], np.int64)]
    ((padded, lengths, places),) = nn.data.bucketed(lines, 5, padding_value=-1)
    exactly(nn, padded, np.array([[-1, 4, 1], [-1, -1, 2], [-1, -1, 3]]))
    assert (lengths.tolist(), places.tolist()) == ([0, 1, 3], [2, 1, 0])
    flags = [np.array([True]), np.array([True, True])]
    ((padded, _, _),) = nn.data.bucketed(flags, 2)
    exactly(nn, padded, np.array([[True, True], [False, True]]))
    ((padded, _, _),) = nn.data.bucketed((np.zeros((0, 2, 3)),), 2)
    assert padded.shape == (0, 1, 2, 3)
    assert list(nn.data.bucketed([], 2)) == list(nn.data.bucketed((), 2, seed=0)) == []
    leaf = nn.tensor(ROWS, requires_grad=True)
    ((padded, _, _),) = nn.data.bucketed([leaf], 1)
    assert not padded.requires_grad
    x = np.array(ROWS)
    ((padded, _, _),) = nn.data.bucketed([x], 1)
    assert not np.shares_memory(padded, x)


@clause("data-08")
def test_sequences_of_several_kinds(nn: Any) -> None:
    for kinds, wanted in (
        (["NumPy array", "Tensor", "raw array", "NumPy array"], "Tensor"),
        (["raw array", "NumPy array", "NumPy array", "Tensor"], "Tensor"),
        (["NumPy array", "NumPy array", "raw array", "NumPy array"], "raw array"),
        (["raw array", "NumPy array", "NumPy array", "NumPy array"], "raw array"),
    ):
        given = [KINDS[kind](nn, np.full(1 + n, n, np.float32)) for n, kind in enumerate(kinds)]
        batches = list(nn.data.bucketed(given, 2))
        assert all(of_kind(nn, wanted, padded) for padded, _, _ in batches), kinds
        exactly(nn, batches[0][0], np.array([[0, 1], [0, 1]], np.float32), call=f"{kinds}")
        exactly(nn, batches[1][0], np.array([[2, 3]] * 3 + [[0, 3]], np.float32), call=f"{kinds}")
    for other in ("Tensor", "raw array"):
        with refuses(TypeError, "bucketed", "1", "int64", "float32"):
            nn.data.bucketed([np.ones(2, np.float32), KINDS[other](nn, np.ones(2, np.int64))], 2)


@clause("data-08")
def test_a_layer_takes_the_batches(nn: Any) -> None:
    nn.manual_seed(2)
    layer, given = nn.GRU(2, 3), sequences(nn, "Tensor")
    for padded, lengths, places in nn.data.bucketed(given, 4, seed=3, padding_value=math.nan):
        _, last = layer(padded, lengths=lengths)
        for n, k in enumerate(places):
            if LENGTHS[k]:
                alone = to_numpy(nn, layer(given[k])[1]).astype(np.float64)
                agrees(nn, last[:, n], alone, "rnn", dtype="float32", call=f"sequence {k}")


@clause("data-09")
def test_sequences_that_do_not_fit(nn: Any) -> None:
    good = np.ones((3, 2), np.float32)
    bad: list[tuple[type[Exception], Any, tuple[Any, ...]]] = [
        (ValueError, [good, np.ones((2, 3), np.float32)], ("1", "(3, 2)", "(2, 3)")),
        (ValueError, [good, np.ones(2, np.float32)], ("1", "(2,)")),
        (ValueError, [np.ones((), np.float32)], ("0", "()")),
        (TypeError, [good, good.astype(np.int64)], ("1", "int64", "float32")),
        (TypeError, [good.astype(np.float16)], ("0", "float16")),
        (TypeError, [good, [1.0, 2.0]], ("1", ("list", "[1"))),
        (TypeError, [good, None], ("1", "None")),
        (TypeError, 3, (("int", "3"),)),
        (TypeError, {"a": good}, (("dict", "{"),)),
    ]
    for error, given, fragments in bad:
        with refuses(error, "bucketed", *fragments):
            nn.data.bucketed(given, 2)
    whole = [np.array([1, 2])]
    for value, kind, error in (
        (0.5, whole, ValueError),
        (math.nan, whole, ValueError),
        (2**63, whole, ValueError),
        (2, [np.array([True])], ValueError),
        ("0", [good], TypeError),
        (None, [good], TypeError),
    ):
        with refuses(error, "bucketed", "padding_value"):
            nn.data.bucketed(kind, 2, padding_value=value)
    with refuses(TypeError, "bucketed", "batch_first"):
        nn.data.bucketed([good], 2, batch_first="yes")
