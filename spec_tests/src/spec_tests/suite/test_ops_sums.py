"""Chapter ops: the error of long sums, by the bound of ``ops-25``.

A sum here is of one number many times. Its exact value is known, and additions one after the other
into one number go wrong by far more than the bound, each in the same direction.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, tensor, within

pytestmark = pytest.mark.sampled(6)

LONG = 2**20 + 3
LONGEST = 2**24 + 2**22
# What is computed before it is added may be wrong by so many units of eps.
TERM = 8


def eps(dtype: str) -> float:
    """Return the machine epsilon of a dtype."""
    return float(np.finfo(dtype).eps)


def bound(count: int, dtype: str) -> float:
    """Return the error of a sum of `count` numbers in units of the sum of their magnitudes."""
    return float(2 * (2 + np.log2(count)) * eps(dtype))


def tenths(count: int, dtype: str) -> np.ndarray:
    """Return 0.1, 0.2, ... as the dtype holds them."""
    return (np.arange(1, count + 1) / 10).astype(dtype)


def times(count: int, numbers: np.ndarray) -> np.ndarray:
    """Return exactly what many of each number add up to, rounded once."""
    return np.array([float(Fraction(float(number)) * count) for number in numbers])


def repeated(numbers: np.ndarray, count: int, axis: int = 0) -> np.ndarray:
    """Return an array in which each number stands `count` times along an axis."""
    shape = (count, len(numbers)) if axis == 0 else (len(numbers), count)
    along = numbers if axis == 0 else numbers[:, None]
    return np.ascontiguousarray(np.broadcast_to(along, shape))


def check(nn: Any, got: Any, numbers: np.ndarray, count: int, call: str, more: float = 0) -> None:
    """Compare sums of `count` equal numbers each with their exact values."""
    want = times(count, numbers)
    dtype = numbers.dtype.name
    allowed = np.abs(want) * (bound(count, dtype) + more * eps(dtype))
    within(nn, got, want, allowed, call=call, dtype=dtype)


# Shapes in which 3 sums stand, the axes that are added, and how many numbers each sum has.
LAYOUTS: dict[str, tuple[Callable[[Any, np.ndarray], Any], Any, int]] = {
    "along the first": (lambda nn, v: nn.tensor(repeated(v, LONG)), 0, LONG),
    "along the last": (lambda nn, v: nn.tensor(repeated(v, LONG, 1)), -1, LONG),
    "of a transpose, first": (lambda nn, v: nn.tensor(repeated(v, LONG, 1)).T, 0, LONG),
    "of a transpose, last": (lambda nn, v: nn.tensor(repeated(v, LONG)).T, 1, LONG),
    "outer axes": (
        lambda nn, v: nn.tensor(repeated(v, 1025 * 1023, 1).reshape(3, 1025, 1023)),
        (1, 2),
        1025 * 1023,
    ),
    "first and last": (
        lambda nn, v: nn.tensor(np.broadcast_to(v[:, None], (1025, 3, 1023)).copy()),
        (0, 2),
        1025 * 1023,
    ),
    "in the middle": (
        lambda nn, v: nn.tensor(np.broadcast_to(v, (1, LONG, 3)).copy()),
        (0, 1),
        LONG,
    ),
    "of every other row": (lambda nn, v: nn.tensor(repeated(v, LONG))[::2], 0, LONG // 2 + 1),
}


@clause("ops-25")
@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_in_every_layout(nn: Any, dtype: str, layout: str, name: str) -> None:
    make, axis, count = LAYOUTS[layout]
    numbers = tenths(3, dtype)
    got = getattr(nn.ops, name)(make(nn, numbers), axis=axis)
    got = got.numpy().astype("float64").reshape(3)
    want = times(count, numbers) / (count if name == "mean" else 1)
    within(nn, got, want, bound(count, dtype) * want, call=f"{name} {layout}", dtype="float64")


@clause("ops-25")
def test_sums_of_all(nn: Any, dtype: str) -> None:
    numbers = tenths(1, dtype)
    for shape in ((LONG,), (1025, 1023), (1023, 5, 205)):
        x = nn.tensor(np.full(shape, numbers[0]))
        for got in (nn.ops.sum(x), x.sum(), nn.ops.mean(x) * float(x.numpy().size)):
            check(nn, got.reshape((1,)), numbers, x.numpy().size, f"sum of {shape}", more=2)


@clause("ops-25")
def test_more_numbers_than_float32_counts(nn: Any) -> None:
    got = nn.ops.mean(nn.ones((LONGEST, 2)), axis=0)
    within(nn, got, np.ones(2), bound(LONGEST, "float32"), call="mean of ones", dtype="float32")
    got = nn.ops.sum(nn.ones((LONGEST,)))
    allowed = LONGEST * bound(LONGEST, "float32")
    within(nn, got, np.array(LONGEST, "float64"), allowed, call="sum of ones", dtype="float32")


@clause("ops-25")
def test_a_gradient_of_more_numbers_than_float32_counts(nn: Any) -> None:
    b = tensor(nn, np.zeros(1, "float32"))
    nn.ops.sum(nn.zeros((LONGEST, 1)) + b).backward()
    allowed = LONGEST * bound(LONGEST, "float32")
    within(nn, b.grad, np.array([LONGEST], "float64"), allowed, call="gradient", dtype="float32")


# How an operand of 3 numbers, which come first, is stretched beside a large one.
STRETCHED: dict[str, tuple[int, Callable[..., Any]]] = {
    "b + x": (0, lambda ops, b, x: ops.add(b, x)),
    "x + b": (0, lambda ops, b, x: x + b),
    "x - b": (0, lambda ops, b, x: ops.multiply(ops.subtract(x, b), -1.0)),
    "b * x": (0, lambda ops, b, x: ops.multiply(b, x)),
    "where": (0, lambda ops, b, x: ops.where(ops.greater(x, 0), b, x)),
    "maximum": (0, lambda ops, b, x: ops.maximum(b, x - 9.0)),
    "broadcast_to": (0, lambda ops, b, x: ops.broadcast_to(b, x.shape)),
    "a column": (1, lambda ops, b, x: ops.add(ops.reshape(b, (3, 1)), x)),
    "a column, multiplied": (1, lambda ops, b, x: ops.multiply(ops.reshape(b, (3, 1)), x)),
}


@clause("ops-25")
@pytest.mark.parametrize("name", STRETCHED)
def test_gradients_of_operands_that_are_stretched(nn: Any, dtype: str, name: str) -> None:
    axis, call = STRETCHED[name]
    numbers = tenths(3, dtype)
    b = tensor(nn, np.ones(3, dtype))
    x = nn.tensor(np.ones((3, LONG) if axis else (LONG, 3), dtype))
    call(nn.ops, b, x).backward(nn.tensor(repeated(numbers, LONG, axis)))
    check(nn, b.grad, numbers, LONG, f"{name}: gradient to b")


@clause("ops-25")
def test_the_gradient_of_a_number_beside_many(nn: Any, dtype: str) -> None:
    b = tensor(nn, np.array(1.0, dtype))
    numbers = tenths(1, dtype)
    (b + nn.tensor(np.ones((1025, 1023), dtype))).backward(
        nn.tensor(np.full((1025, 1023), numbers[0]))
    )
    check(nn, b.grad.reshape((1,)), numbers, 1025 * 1023, "gradient to a Tensor of no axes")


# How the second of three rows of x is chosen many times, by an array of ones.
CHOSEN: dict[str, Callable[..., Any]] = {
    "x[i]": lambda nn, x, ones: x[nn.tensor(ones)],
    "x[i, j]": lambda nn, x, ones: x[nn.tensor(ones)[:, None], nn.tensor([[0, 1, 2]])],
    "x[i, 0:3]": lambda nn, x, ones: x[nn.tensor(ones), 0:3],
    "take": lambda nn, x, ones: nn.ops.take(x, nn.tensor(ones), axis=0),
    "take of a result": lambda nn, x, ones: nn.ops.take(x * 1.0, nn.tensor(ones), axis=0),
    "take along the last": lambda nn, x, ones: nn.ops.take(x.T, nn.tensor(ones), axis=1).T,
    "Embedding": lambda nn, x, ones: nn.functional_call(
        nn.Embedding(3, 3), {"weight": x}, nn.tensor(ones)
    ),
}


@pytest.mark.sampled(5)
@clause("ops-25")
@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("count", [17, 1023, LONG // 4])
def test_gradients_of_indices_that_repeat(nn: Any, dtype: str, name: str, count: int) -> None:
    numbers = tenths(3, dtype)
    x = tensor(nn, np.ones((3, 3), dtype))
    y = CHOSEN[name](nn, x, np.ones(count, "int64"))
    y.backward(nn.tensor(repeated(numbers, count)))
    check(nn, x.grad[1], numbers, count, f"{name}: gradient of {count} equal indices")
    others = nn.ops.stack([x.grad[0], x.grad[2]])
    within(nn, others, np.zeros((2, 3)), 0.0, call=f"{name}: gradient of other rows", dtype=dtype)


@clause("ops-25")
@pytest.mark.parametrize("shape", [(2_000_000,), (1025, 1023)])
def test_the_gradient_of_a_bias(nn: Any, shape: tuple[int, ...]) -> None:
    layer = nn.Linear(1, 2)
    numbers, count = tenths(2, "float32"), int(np.prod(shape))
    y = layer(nn.zeros((*shape, 1)))
    y.backward(nn.tensor(repeated(numbers, count).reshape(*shape, 2)))
    check(nn, layer.bias.grad, numbers, count, f"Linear(1, 2) of {shape}: gradient to bias")


@clause("ops-25")
def test_gradients_of_layer_norm(nn: Any, dtype: str) -> None:
    layer = nn.LayerNorm(2, eps=0.0, dtype=getattr(nn, dtype))
    numbers = tenths(2, dtype)
    y = layer(nn.tensor(repeated(np.array([1.0, -1.0], dtype), LONG)))
    y.backward(nn.tensor(repeated(numbers, LONG)))
    check(nn, layer.bias.grad, numbers, LONG, "LayerNorm: gradient to bias")
    # What is normalized is 1 and -1 already.
    signed = numbers * np.array([1, -1], dtype)
    check(nn, layer.weight.grad, signed, LONG, "LayerNorm: gradient to weight", TERM)


STEPS, BATCH = 3, 2**18 + 1


def slopes(name: str, arrives: np.ndarray) -> dict[str, np.ndarray]:
    """Return what one sequence adds to a layer's biases where every parameter but RNN's is 0.

    The states are 0 (of RNN: 1) then, the gates open by half, and `arrives` comes to each output.
    """
    none = np.zeros_like(arrives)
    if name == "RNN":
        return {"bias_ih_l0": STEPS * arrives, "bias_hh_l0": STEPS * arrives}
    total, carried = none, none
    for _ in range(STEPS):
        # An LSTM carries half of c, which gets half of what h gets; a GRU carries half of h.
        carried = carried / 2 + (arrives / 2 if name == "LSTM" else arrives)
        total = total + carried / 2
    if name == "LSTM":
        gates = np.concatenate([none, none, total, none])
        return {"bias_ih_l0": gates, "bias_hh_l0": gates}
    return {
        "bias_ih_l0": np.concatenate([none, none, total]),
        "bias_hh_l0": np.concatenate([none, none, total / 2]),
    }


@clause("ops-25")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_gradients_of_recurrent_biases(nn: Any, name: str) -> None:
    options = {"nonlinearity": "relu"} if name == "RNN" else {}
    layer = getattr(nn, name)(1, 2, **options)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    if name == "RNN":
        nn.init.ones_(layer.bias_ih_l0)
    numbers = tenths(2, "float32")
    output, _ = layer(nn.zeros((STEPS, BATCH, 1)))
    output.backward(nn.tensor(np.broadcast_to(numbers, (STEPS, BATCH, 2)).copy()))
    for key, one in slopes(name, numbers.astype("float64")).items():
        count = STEPS * BATCH
        allowed = np.abs(one) * BATCH * (bound(count, "float32") + TERM * eps("float32"))
        call = f"{name}: gradient to {key}"
        within(nn, getattr(layer, key).grad, one * BATCH, allowed, call=call, dtype="float32")


@clause("ops-25")
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_of_exponentials(nn: Any, dtype: str, axis: int) -> None:
    # One element is the greatest; the others have a tenth and a fifth of its weight.
    array = repeated(np.log(tenths(2, "float64")).astype(dtype), LONG, axis)
    array[(0, slice(None)) if axis == 0 else (slice(None), 0)] = 0
    weights = np.exp(array.astype("float64"))
    one = weights[-1] if axis == 0 else weights[:, -1]
    total = np.expand_dims(1 + one * (LONG - 1), axis)
    room = bound(LONG, dtype) + 2 * TERM * eps(dtype)
    x = tensor(nn, array)
    got = nn.ops.logsumexp(x, axis=axis, keepdims=True)
    logs = np.log(total)
    within(nn, got, logs, room + 4 * eps(dtype) * logs, call="logsumexp")
    odds = weights / total
    got = nn.ops.softmax(x, axis=axis)
    within(nn, got, odds, room * odds, call="softmax")
    # Where the same arrives at every element, the gradient is 0 but for the error of its sum.
    got.backward(nn.ones(got.shape, dtype=getattr(nn, dtype)))
    within(nn, x.grad, np.zeros(odds.shape), 2 * room * odds, call="gradient of softmax")
    got = nn.ops.log_softmax(x, axis=axis)
    want = array.astype("float64") - logs
    within(nn, got, want, room + 4 * eps(dtype) * np.abs(logs), call="log_softmax")


@clause("ops-25")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(LONG,), (1025, 1023)])
def test_losses_of_many(nn: Any, dtype: str, reduction: str, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    number = float(tenths(1, dtype)[0])
    x, zeros = nn.tensor(np.full(shape, number, dtype)), nn.tensor(np.zeros(shape, dtype))
    for name, one in (("l1_loss", number), ("mse_loss", number**2)):
        want = np.array(one * (count if reduction == "sum" else 1))
        got = getattr(nn.loss, name)(x, zeros, reduction=reduction)
        allowed = want * (bound(count, dtype) + TERM * eps(dtype))
        within(nn, got, want, allowed, call=f"{name}, {reduction} of {shape}")


@clause("ops-25")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_of_many(nn: Any, dtype: str, reduction: str) -> None:
    row = np.array([0.0, 1.0]).astype(dtype)
    one = float(np.log1p(np.exp(-1.0)))
    target = nn.tensor(np.ones(LONG, "int64"))
    got = nn.loss.cross_entropy(nn.tensor(repeated(row, LONG)), target, reduction=reduction)
    want = np.array(one * (LONG if reduction == "sum" else 1))
    # A row's loss is the difference of two numbers near 1.
    allowed = want * (bound(LONG, dtype) + 2 * TERM * eps(dtype))
    within(nn, got, want, allowed, call=f"cross_entropy, {reduction} over rows")
    wide = np.full((1, LONG), np.log(0.1)).astype(dtype)
    wide[0, 0] = 0
    total = float(np.log(1 + np.exp(float(wide[0, 1])) * (LONG - 1)))
    got = nn.loss.cross_entropy(nn.tensor(wide), nn.tensor([0]), reduction=reduction)
    room = bound(LONG, dtype) + 2 * TERM * eps(dtype) + 4 * eps(dtype) * total
    within(nn, got, np.array(total), room, call="cross_entropy over classes")


def slope(nn: Any, call: Callable[[Any], Any], shape: tuple[int, int], cotangent: Any) -> Any:
    """Return the gradient of ``call(w)`` with respect to w, of zeros."""
    w = nn.zeros(shape, dtype=cotangent.dtype, requires_grad=True)
    call(w).backward(cotangent)
    return w.grad


# A product (M, K) @ (K, N) with a long inner sum, and how it comes about.
PRODUCTS: dict[str, Callable[..., Any]] = {
    "matmul": lambda nn, a, b: nn.ops.matmul(a, b),
    "matmul of transposes": lambda nn, a, b: nn.ops.matmul(b.T, a.T).T,
    "matmul of stacks": lambda nn, a, b: nn.ops.matmul(a[None], b[None])[0],
    "matmul of a stack": lambda nn, a, b: nn.ops.matmul(a[None], b)[0],
    "gradient of the second": lambda nn, a, b: slope(
        nn, lambda w: nn.ops.matmul(a.T, w), (a.shape[0], b.shape[1]), b
    ),
    "gradient of the first": lambda nn, a, b: slope(
        nn, lambda w: nn.ops.matmul(w, b.T), (a.shape[0], b.shape[1]), a
    ),
}


@pytest.mark.sampled(8)
@clause("ops-25")
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 8), (8, 1), (2, 2), (8, 8)])
def test_long_inner_products(nn: Any, dtype: str, name: str, m: int, n: int) -> None:
    numbers = tenths(m, dtype)
    a, b = repeated(numbers, 2 * LONG, 1), np.ones((2 * LONG, n), dtype)
    got = PRODUCTS[name](nn, nn.tensor(a), nn.tensor(b))
    want = np.broadcast_to(times(2 * LONG, numbers)[:, None], (m, n))
    allowed = 512 * eps(dtype) * np.abs(want)
    within(nn, got, want, allowed, call=f"{name}, {(m, 2 * LONG, n)}", dtype=dtype)


@clause("ops-25")
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 1), (1, 3), (8, 8)])
def test_gradients_of_weights_of_many_rows(nn: Any, dtype: str, rows: int, columns: int) -> None:
    numbers = tenths(columns, dtype)
    layer = nn.Linear(columns, rows, dtype=getattr(nn, dtype))
    x = nn.tensor(repeated(numbers, 1024 * 1023).reshape(1024, 1023, columns))
    nn.ops.sum(layer(x)).backward()
    want = np.broadcast_to(times(1024 * 1023, numbers), (rows, columns))
    allowed = 512 * eps(dtype) * np.abs(want)
    within(nn, layer.weight.grad, want, allowed, call="gradient of the weight", dtype=dtype)


@clause("ops-24", "ops-25")
def test_no_products_with_a_long_inner_sum(nn: Any, dtype: str) -> None:
    x, w = (tensor(nn, np.ones(shape, dtype)) for shape in ((0, 2, 2**14), (1, 2**14, 3)))
    y = nn.ops.matmul(x, w)
    exactly(nn, y, np.zeros((0, 2, 3)), dtype=dtype)
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.zeros((0, 2, 2**14)), dtype=dtype)
    exactly(nn, w.grad, np.zeros((1, 2**14, 3)), dtype=dtype)
