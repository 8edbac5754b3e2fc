"""The chapter ``tensor``: dtypes that are refused, integers that do not fit, NumPy's scalars."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.support.assertions import exactly, own, raw, refuses, tensor, to_numpy
from spec_tests.support.dtypes import INTEGERS, there
from spec_tests.support.inputs import NO_DTYPES, OUTSIDE, foreign

UNFIT = (ValueError, OverflowError)


def shown(name: str) -> tuple[str, ...]:
    """Return the words by which a message may call the dtype of an array of OUTSIDE."""
    dtype = NO_DTYPES[name].dtype
    return (name, dtype.name, str(dtype), "void")


# Calls to which an array of another dtype is given, by the word that the message must hold.
TAKERS: dict[str, Callable[[Any, Any], Any]] = {
    "tensor": lambda nn, a: nn.tensor(a),
    "Parameter": lambda nn, a: nn.Parameter(a),
    "add": lambda nn, a: nn.ops.add(nn.ones((2,)), a),
    "multiply": lambda nn, a: nn.ops.multiply(a, nn.ones((2,))),
    "divide": lambda nn, a: nn.ops.divide(nn.ones((2,)), a),
    "pow": lambda nn, a: nn.ops.pow(nn.ones((2,)), a),
    "maximum": lambda nn, a: nn.ops.maximum(nn.ones((2,)), a),
    "equal": lambda nn, a: nn.ops.equal(nn.ones((2,)), a),
    "less": lambda nn, a: nn.ops.less(nn.ones((2,)), a),
    "logical_and": lambda nn, a: nn.ops.logical_and(nn.ones((2,), dtype=nn.bool), a),
    "matmul": lambda nn, a: nn.ops.matmul(nn.ones((2,)), a),
    "where": lambda nn, a: nn.ops.where(nn.ones((2,), dtype=nn.bool), nn.ones((2,)), a),
    "concat": lambda nn, a: nn.ops.concat([nn.ones((2,)), a]),
    "stack": lambda nn, a: nn.ops.stack([nn.ones((2,)), a]),
    "asarray": lambda nn, a: nn.ops.asarray(a),
    "exp": lambda nn, a: nn.ops.exp(a),
    "abs": lambda nn, a: nn.ops.abs(a),
    "sum": lambda nn, a: nn.ops.sum(a),
    "max": lambda nn, a: nn.ops.max(a),
    "argmax": lambda nn, a: nn.ops.argmax(a),
    "softmax": lambda nn, a: nn.ops.softmax(a),
    "cumulative_prod": lambda nn, a: nn.ops.cumulative_prod(a),
    "clip": lambda nn, a: nn.ops.clip(a, 0, 1),
    "astype": lambda nn, a: nn.ops.astype(a, nn.float32),
    "reshape": lambda nn, a: nn.ops.reshape(a, (2, 1)),
    "broadcast_to": lambda nn, a: nn.ops.broadcast_to(a, (2, 2)),
    "zeros_like": lambda nn, a: nn.ops.zeros_like(a),
    "isnan": lambda nn, a: nn.ops.isnan(a),
    "take": lambda nn, a: nn.ops.take(a, nn.tensor([0])),
    "mse_loss": lambda nn, a: nn.loss.mse_loss(nn.ones((2,)), a),
}


@clause("tensor-37")
@pytest.mark.parametrize("taker", TAKERS)
def test_arrays_of_other_dtypes_are_refused(nn: Any, taker: str) -> None:
    some = ("float16", "str", "object")
    names = OUTSIDE if taker in {"tensor", "Parameter", "asarray", "add", "sum"} else some
    for name in names:
        with refuses(TypeError, taker, shown(name)):
            TAKERS[taker](nn, OUTSIDE[name])


@clause("tensor-37")
@pytest.mark.parametrize("taker", [*TAKERS, "from_array"])
def test_raw_arrays_of_other_dtypes_are_refused(nn: Any, taker: str) -> None:
    call = TAKERS.get(taker, lambda nn, a: nn.from_array(a))
    with refuses(TypeError, taker, "float16"):
        call(nn, foreign(raw(nn, np.ones(2, np.float32)))["float16"])


@clause("tensor-37", "tensor-38")
@pytest.mark.parametrize("name", ["int8", "int16", "uint8", "uint32", "uint64", "float16"])
def test_arrays_are_converted_when_told(nn: Any, name: str) -> None:
    array = np.array([[0, 3], [100, 7]], name)
    for make in (nn.tensor, nn.ops.asarray):
        for dtype in there(nn, ("float32", "float64", "int8", "int32", "int64", "uint8")):
            exactly(nn, make(array, dtype=getattr(nn, dtype)), array.astype(dtype), dtype=dtype)
        if name in there(nn, INTEGERS):
            exactly(nn, make(array), array, dtype=name, call=f"of {name}")
        elif name == "float16":
            with refuses(TypeError, ("tensor", "asarray"), name):
                make(array)
        for number, source, dtype in (
            (2**63, "uint64", "int64"),
            (2**31, "uint32", "int32"),
            (200, "uint8", "int8"),
            (-1, "int64", "uint8"),
        ):
            with refuses((ValueError, OverflowError), ("tensor", "asarray")):
                make(np.array([number], source), dtype=getattr(nn, dtype))


@clause("tensor-37")
@pytest.mark.parametrize("name", ["float16", "str", "object"])
def test_operands_of_other_dtypes_are_refused(nn: Any, name: str) -> None:
    if not own(nn):
        return
    x, array = nn.ones((2,)), NO_DTYPES[name]
    for word, apply in (
        ("add", operator.add),
        ("multiply", operator.mul),
        ("subtract", operator.sub),
        ("matmul", operator.matmul),
        ("pow", operator.pow),
    ):
        with refuses(TypeError, word, shown(name)):
            apply(x, array)
        with refuses(TypeError, word, shown(name)):
            apply(array, x)


# Calls to which another dtype is given by itself.
WITH_DTYPE: dict[str, Callable[[Any, Any], Any]] = {
    "tensor": lambda nn, d: nn.tensor([1.0], dtype=d),
    "zeros": lambda nn, d: nn.zeros((2,), dtype=d),
    "ones": lambda nn, d: nn.ones((2,), dtype=d),
    "full": lambda nn, d: nn.full((2,), 1.0, dtype=d),
    "empty": lambda nn, d: nn.empty((2,), dtype=d),
    "arange": lambda nn, d: nn.arange(3, dtype=d),
    "eye": lambda nn, d: nn.eye(3, dtype=d),
    "rand": lambda nn, d: nn.rand((2,), dtype=d),
    "randn": lambda nn, d: nn.randn((2,), dtype=d),
    "zeros, of ops": lambda nn, d: nn.ops.zeros((2,), dtype=d),
    "full, of ops": lambda nn, d: nn.ops.full((2,), 1.0, dtype=d),
    "arange, of ops": lambda nn, d: nn.ops.arange(3, dtype=d),
    "zeros_like": lambda nn, d: nn.ops.zeros_like(nn.ones((2,)), dtype=d),
    "asarray": lambda nn, d: nn.ops.asarray(nn.ones((2,)), dtype=d),
    "astype": lambda nn, d: nn.ops.astype(nn.ones((2,)), d),
    "sum": lambda nn, d: nn.ops.sum(nn.ones((2,)), dtype=d),
    "cumulative_prod": lambda nn, d: nn.ops.cumulative_prod(nn.ones((2,)), dtype=d),
    "Linear": lambda nn, d: nn.Linear(3, 2, dtype=d),
    "Embedding": lambda nn, d: nn.Embedding(3, 2, dtype=d),
    "LayerNorm": lambda nn, d: nn.LayerNorm(3, dtype=d),
    "LSTM": lambda nn, d: nn.LSTM(3, 2, dtype=d),
    "GRUCell": lambda nn, d: nn.GRUCell(3, 2, dtype=d),
}


@clause("tensor-37")
@pytest.mark.parametrize("maker", WITH_DTYPE)
def test_other_dtypes_are_not_made(nn: Any, maker: str) -> None:
    word = maker.partition(",")[0]
    for name, array in foreign(raw(nn, np.ones(2, np.float32))).items():
        # Complex Tensors are made by functions; Modules and random numbers are real.
        if name == "float16" or word[0].isupper() or word in ("rand", "randn"):
            with refuses((TypeError, ValueError) if word[0].isupper() else TypeError, word, name):
                WITH_DTYPE[maker](nn, array.dtype)
    wrong: Any
    for wrong in ("texts", 3.5, [1], object()):
        with refuses((TypeError, ValueError) if word[0].isupper() else TypeError, word):
            WITH_DTYPE[maker](nn, wrong)


@clause("tensor-37")
def test_outputs_of_other_dtypes_are_refused(nn: Any) -> None:
    class Odd(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return foreign(x)["float16"]

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output

    for requires_grad in (True, False):
        x = tensor(nn, np.ones(2, np.float32), requires_grad)
        with refuses(TypeError, "Odd", "float16"):
            Odd.apply(x)


@clause("tensor-30", "tensor-37", "tensor-39")
def test_scalars_by_themselves_and_as_numbers(nn: Any) -> None:
    x = nn.tensor([1.0, 2.0])
    for scalar, want in (
        (np.float16(0.5), "float32"),
        (np.longdouble(0.5), "float32"),
        (np.int8(3), "int64"),
        (np.int16(3), "int64"),
        (np.uint8(3), "int64"),
        (np.uint64(3), "int64"),
    ):
        call = f"{type(scalar).__name__}"
        value = np.array(float(scalar)).astype(want)
        alone = scalar.dtype.name if scalar.dtype.name in INTEGERS else want
        if alone == want or alone in there(nn):
            exactly(nn, nn.tensor(scalar), value.astype(alone), dtype=alone, call=f"tensor({call})")
        exactly(nn, nn.tensor([scalar]), value[None], dtype=want, call=f"tensor([{call}])")
        exactly(nn, nn.ops.add(x, scalar), np.array([1, 2]) + np.float32(scalar), dtype="float32")
    wrong: list[Any] = [np.datetime64("2020-01-01"), np.str_("a"), np.bytes_(b"a")]
    for strange in wrong:
        with refuses(TypeError, "tensor"):
            nn.tensor(strange)
        with refuses(TypeError, "add"):
            nn.ops.add(x, strange)


BIG = 2**63
# Calls that hold a number which the dtype does not hold, and the number.
UNFITTING: list[tuple[str, int, Callable[[Any], Any]]] = [
    ("tensor", BIG, lambda nn: nn.tensor([BIG, -1])),
    ("tensor", BIG, lambda nn: nn.tensor(BIG)),
    ("tensor", -BIG - 1, lambda nn: nn.tensor([[0, -BIG - 1]])),
    ("tensor", 10**30, lambda nn: nn.tensor([10**30])),
    ("tensor", 2**31, lambda nn: nn.tensor([2**31], dtype=nn.int32)),
    ("tensor", -(2**31) - 1, lambda nn: nn.tensor(-(2**31) - 1, dtype=nn.int32)),
    ("tensor", 128, lambda nn: nn.tensor([128], dtype=nn.int8)),
    ("tensor", -1, lambda nn: nn.tensor([-1], dtype=nn.uint8)),
    ("tensor", BIG, lambda nn: nn.tensor([np.uint64(BIG), np.uint64(1)])),
    ("tensor", 2**64 - 1, lambda nn: nn.tensor((1, np.uint64(2**64 - 1)))),
    ("full", BIG, lambda nn: nn.full((2,), BIG)),
    ("full", 2**31, lambda nn: nn.full((2,), 2**31, dtype=nn.int32)),
    ("full", BIG, lambda nn: nn.full((2,), np.uint64(BIG))),
    ("full", 2**31, lambda nn: nn.ops.full((2,), 2**31, dtype=nn.int32)),
    ("arange", BIG, lambda nn: nn.arange(BIG, BIG + 2)),
    ("arange", 2**31, lambda nn: nn.arange(2**31, 2**31 + 2, dtype=nn.int32)),
    ("arange", 2**31, lambda nn: nn.ops.arange(2**31, 2**31 + 2, dtype=nn.int32)),
    ("add", 2**40, lambda nn: nn.ops.add(nn.tensor([1], dtype=nn.int32), 2**40)),
    ("add", BIG, lambda nn: nn.ops.add(nn.tensor([1]), BIG)),
    ("add", BIG, lambda nn: nn.ops.add(nn.tensor([1]), np.uint64(BIG))),
    ("subtract", 2**40, lambda nn: nn.ops.subtract(2**40, nn.tensor([1], dtype=nn.int32))),
    ("multiply", 2**40, lambda nn: nn.ops.multiply(nn.tensor([1], dtype=nn.int32), 2**40)),
    ("maximum", 2**40, lambda nn: nn.ops.maximum(nn.tensor([1], dtype=nn.int32), 2**40)),
    ("minimum", BIG, lambda nn: nn.ops.minimum(nn.tensor([1]), BIG)),
    ("add", BIG, lambda nn: nn.ops.add(nn.tensor([True]), BIG)),
]


@clause("tensor-38")
@pytest.mark.parametrize("number", range(len(UNFITTING)))
def test_integers_that_do_not_fit(nn: Any, number: int) -> None:
    word, wrong, call = UNFITTING[number]
    # A number may be written in full or as a power of two's neighbour by the backend's own words.
    with refuses(UNFIT, word, str(wrong)):
        call(nn)


@clause("tensor-38")
def test_operators_and_integers_that_do_not_fit(nn: Any) -> None:
    if not own(nn):
        return
    x = nn.tensor([1], dtype=nn.int32)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("add", lambda: x + 2**40),
        ("add", lambda: 2**40 + x),
        ("subtract", lambda: x - 2**40),
        ("multiply", lambda: x * 2**40),
        ("add", lambda: nn.tensor([1]) + BIG),
        ("add", lambda: nn.tensor([1]) + np.uint64(BIG)),
    ]
    for word, call in calls:
        with refuses(UNFIT, word):
            call()


@clause("tensor-38")
def test_integers_at_the_ends_fit(nn: Any) -> None:
    for numbers, name in (([BIG - 1, -BIG], "int64"), ([2**31 - 1, -(2**31)], "int32")):
        want = np.array(numbers, name)
        exactly(nn, nn.tensor(numbers, dtype=getattr(nn, name)), want, call=f"tensor {name}")
        exactly(nn, nn.full((1,), numbers[1], dtype=getattr(nn, name)), want[1:], call="full")
        x = nn.tensor(np.zeros(1, name))
        exactly(nn, nn.ops.add(x, numbers[0]), want[:1], call=f"add of {numbers[0]}")
        exactly(nn, nn.ops.add(x, numbers[1]), want[1:], call=f"add of {numbers[1]}")
    exactly(nn, nn.tensor([np.uint64(BIG - 1)]), np.array([BIG - 1]), call="tensor([uint64])")
    high = nn.tensor(np.array([2**31 - 1, 5], np.int32))
    one = nn.tensor(np.array([1, 1], np.int32))
    exactly(nn, nn.ops.add(high, one), np.array([-(2**31), 6], np.int32), call="array arithmetic")


COMPARE = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}


def exact_or_refused(nn: Any, call: Callable[[], Any], want: list[Any], said: str) -> bool:
    """Ask for the values that Python's integers give, or for a refusal; tell if it was one."""
    try:
        got = to_numpy(nn, call())
    except (ValueError, OverflowError):
        return True
    assert got.tolist() == want, f"{said}: got {got.tolist()} but should be {want}"
    return False


@pytest.mark.sampled(3)
@clause("tensor-38")
@pytest.mark.parametrize("name", COMPARE)
def test_comparisons_with_integers_that_do_not_fit(nn: Any, name: str) -> None:
    compare = COMPARE[name]
    numbers = [2**31, 2**32 + 2, 2**40, -(2**31) - 1, -(2**40), BIG, 2**64 + 2, -BIG - 1, 10**30]
    for dtype in ("int32", "int64", "bool"):
        values = [2, -1, 1] if dtype != "bool" else [True, False, True]
        x = nn.tensor(np.array(values, dtype))
        for number in numbers:
            said = f"{name} of {dtype} and {number}"
            want = [compare(value, number) for value in values]
            right = exact_or_refused(nn, lambda: getattr(nn.ops, name)(x, number), want, said)  # noqa: B023
            want = [compare(number, value) for value in values]
            left = exact_or_refused(nn, lambda: getattr(nn.ops, name)(number, x), want, said)  # noqa: B023
            assert left == right, f"{said}: refused on one side alone"
            if own(nn):
                want = [compare(value, number) for value in values]
                exact_or_refused(nn, lambda: compare(x, number), want, said)  # noqa: B023
    assert to_numpy(nn, nn.ops.equal(nn.tensor([2], dtype=nn.int32), 2)).tolist() == [True]


@clause("tensor-38")
def test_where_and_clip_of_integers_that_do_not_fit(nn: Any) -> None:
    ops = nn.ops
    for name, edge in (("int32", 2**31 - 1), ("int64", BIG - 1)):
        values = [5, -7, edge]
        x, c = nn.tensor(np.array(values, name)), nn.tensor([True, False, True])
        for number in (edge + 1, edge + 2**40, -edge - 2, 2 * edge + 4):
            for call, want in (
                (lambda: ops.where(c, x, number), [5, number, edge]),  # noqa: B023
                (lambda: ops.where(c, number, x), [number, -7, number]),  # noqa: B023
                (lambda: ops.clip(x, number), [max(v, number) for v in values]),  # noqa: B023
                (lambda: ops.clip(x, None, number), [min(v, number) for v in values]),  # noqa: B023
                (lambda: ops.clip(x, -number, number) if number > 0 else x, values),  # noqa: B023
            ):
                exact_or_refused(nn, call, want, f"{name}, {number}")


@clause("tensor-38")
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_nan_and_infinities_where_integers_are_wanted(nn: Any, number: str) -> None:
    wrong = float(number)
    types = (ValueError, OverflowError, TypeError)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("tensor", lambda: nn.tensor([wrong, 1.0], dtype=nn.int64)),
        ("tensor", lambda: nn.tensor(wrong, dtype=nn.int32)),
        ("full", lambda: nn.full((2,), wrong, dtype=nn.int64)),
        ("full", lambda: nn.full((2,), np.float32(wrong), dtype=nn.int32)),
        ("full", lambda: nn.ops.full((2,), wrong, dtype=nn.int64)),
        ("arange", lambda: nn.arange(wrong, dtype=nn.int64)),
        ("arange", lambda: nn.arange(0, wrong)),
        ("arange", lambda: nn.ops.arange(0.0, wrong, 0.5)),
    ]
    for word, call in calls:
        with refuses(types, word, number.strip("-")):
            call()


def places(nn: Any) -> dict[str, tuple[Any, Any]]:
    """Return calls with NumPy's scalars for axes and sizes, and the same calls with Python's."""
    x = nn.tensor(np.arange(6, dtype=np.float32).reshape(1, 2, 3))
    ops, two, one = nn.ops, np.int64(2), np.uint8(1)
    return {
        "sum": (ops.sum(x, axis=two), ops.sum(x, axis=2)),
        "sum of two": (ops.sum(x, axis=(one, two)), ops.sum(x, axis=(1, 2))),
        "sum, keepdims": (
            ops.sum(x, axis=np.int8(-1), keepdims=np.bool_(True)),
            ops.sum(x, axis=-1, keepdims=True),
        ),
        "x.mean": (x.mean(axis=one), x.mean(axis=1)),
        "max": (ops.max(x, axis=two), ops.max(x, axis=2)),
        "argmax": (ops.argmax(x, axis=one), ops.argmax(x, axis=1)),
        "softmax": (ops.softmax(x, two), ops.softmax(x, 2)),
        "logsumexp": (ops.logsumexp(x, (one, two)), ops.logsumexp(x, (1, 2))),
        "cumulative_prod": (ops.cumulative_prod(x, axis=one), ops.cumulative_prod(x, axis=1)),
        "concat": (ops.concat([x, x], axis=one), ops.concat([x, x], axis=1)),
        "stack": (ops.stack([x, x], axis=two), ops.stack([x, x], axis=2)),
        "expand_dims": (ops.expand_dims(x, one), ops.expand_dims(x, 1)),
        "squeeze": (ops.squeeze(x, np.int16(0)), ops.squeeze(x, 0)),
        "permute_dims": (
            ops.permute_dims(x, (two, np.int8(0), one)),
            ops.permute_dims(x, (2, 0, 1)),
        ),
        "take": (
            ops.take(x, nn.tensor([0]), axis=two),
            ops.take(x, nn.tensor([0]), axis=2),
        ),
        "reshape": (ops.reshape(x, (two, np.int8(-1))), ops.reshape(x, (2, -1))),
        "x.reshape": (x.reshape(two, np.int32(3)), x.reshape(2, 3)),
        "broadcast_to": (ops.broadcast_to(x, (two, two, 3)), ops.broadcast_to(x, (2, 2, 3))),
        "zeros": (nn.zeros((two, one)), nn.zeros((2, 1))),
        "ones": (nn.ones(two), nn.ones(2)),
        "eye": (nn.eye(two, np.int32(3)), nn.eye(2, 3)),
    }


def values(nn: Any) -> dict[str, tuple[Any, Any]]:
    """Return calls with NumPy's scalars for values, and the same calls with Python's."""
    x = nn.tensor(np.arange(6, dtype=np.float32).reshape(1, 2, 3))
    i, c = nn.tensor([1, 2, 3]), nn.tensor([True, False, True])
    ops, two, one = nn.ops, np.int64(2), np.uint8(1)
    half, lots = np.float64(0.5), np.float32(2.5)
    return {
        "full": (nn.full(two, lots), nn.full(2, 2.5)),
        "full of integers": (ops.full((two,), np.int16(3)), ops.full((2,), 3)),
        "arange": (nn.arange(np.int32(5)), nn.arange(5)),
        "arange of three": (ops.arange(one, np.int64(9), two), ops.arange(1, 9, 2)),
        "arange of floats": (
            nn.arange(np.float64(0), np.float32(2), half),
            nn.arange(0.0, 2.0, 0.5),
        ),
        "clip": (ops.clip(x, half, lots), ops.clip(x, 0.5, 2.5)),
        "clip of integers": (ops.clip(i, np.int8(2), np.uint64(2)), ops.clip(i, 2, 2)),
        "where": (ops.where(c, i, np.int8(7)), ops.where(c, i, 7)),
        "where of floats": (ops.where(c, half, nn.ones((3,))), ops.where(c, 0.5, nn.ones((3,)))),
        "add": (ops.add(x, half), ops.add(x, 0.5)),
        "pow": (ops.pow(x, np.float64(2)), ops.pow(x, 2.0)),
        "maximum": (ops.maximum(np.float64(1.5), x), ops.maximum(1.5, x)),
        "x * half": (x * half, x * 0.5),
        "half - x": (half - x, 0.5 - x),
        "i + one": (i + one, i + 1),
        "i / two": (i / two, i / 2),
        "x ** two": (x**two, x**2),
        "x[...]": (x[np.int8(0), one, np.uint64(2)], x[0, 1, 2]),
        "x[slice]": (x[:, np.int8(0) : two], x[:, 0:2]),
        "i.tolist": (nn.tensor(i.tolist()[two]), nn.tensor(3)),
    }


@clause("tensor-39", "tensor-15")
def test_numpy_scalars_are_numbers(nn: Any) -> None:
    for name, (got, want) in {**places(nn), **values(nn)}.items():
        value = to_numpy(nn, want)
        exactly(nn, got, value, dtype=value.dtype.name, call=name)


@clause("tensor-39")
def test_two_numbers_in_where(nn: Any) -> None:
    array = np.array([True, False])
    for c in (nn.tensor(array), raw(nn, array), array):
        for one, two, dtype in (
            (True, 3, "int64"),
            (3, True, "int64"),
            (np.float64(0.5), 2, "float32"),
            (2, np.float64(0.5), "float32"),
            (np.bool_(True), False, "bool"),
            (True, False, "bool"),
            (np.int32(3), np.int8(2), "int64"),
            (1, 2.5, "float32"),
            (True, 0.5, "float32"),
            (np.uint8(200), np.int8(-100), "int64"),
            (np.float16(0.5), np.bool_(False), "float32"),
        ):
            want = np.array([one, two]).astype(dtype)
            got = nn.ops.where(c, one, two)
            exactly(nn, got, want, dtype=dtype, call=f"where(c, {one!r}, {two!r})")


@clause("tensor-39")
def test_numpy_scalars_in_modules_and_init(nn: Any) -> None:
    two, one, half = np.int64(2), np.int32(1), np.float64(0.5)
    x = nn.ones((2, 2))
    for layer in (
        nn.Linear(two, one),
        nn.LayerNorm(two, eps=np.float64(1e-5)),
        nn.Dropout(half),
        nn.Dropout(np.float32(0.5)),
        nn.Softmax(one),
        nn.Flatten(np.int8(0), one),
    ):
        assert layer(x).dtype == nn.float32, repr(layer)
        assert "np." not in repr(layer), repr(layer)
    assert nn.Embedding(two, one, padding_idx=one)(nn.tensor([1])).shape == (1, 1)
    assert nn.GRU(two, one)(x)[0].shape == (2, 1)
    chain = nn.Sequential(nn.ReLU(), nn.Tanh())
    assert chain[one] is chain[1]
    assert nn.ModuleList([chain])[np.int8(0)] is chain
    makers: list[Callable[[Any, Any], Any]] = [
        lambda w, gain: nn.init.xavier_uniform_(w, gain=gain),
        lambda w, gain: nn.init.xavier_normal_(w, gain=gain),
        lambda w, gain: nn.init.constant_(w, gain),
        lambda w, gain: nn.init.uniform_(w, -gain, gain),
        lambda w, gain: nn.init.normal_(w, gain, gain),
    ]
    for make in makers:
        results = []
        for gain in (2.0, np.float64(2), np.float32(2)):
            nn.manual_seed(5)
            weight = nn.Parameter(nn.zeros((3, 2)))
            make(weight, gain)
            results.append(to_numpy(nn, weight))
            assert weight.dtype == nn.float32
        for got in results[1:]:
            exactly(nn, got, results[0], dtype="float32")
    for seed in (7, np.int64(7), np.uint8(7), np.uint64(7)):
        nn.manual_seed(seed)
        exactly(nn, nn.rand((two,)), Draws(7).uniform((2,), 0.0, 1.0, "float32"), dtype="float32")
