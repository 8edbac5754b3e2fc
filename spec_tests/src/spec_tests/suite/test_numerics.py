"""The chapter ``numerics``: every function over a ladder of lengths."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows, tolerances
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, tensor, to_numpy, within
from spec_tests.support.calls import as_tensors, calls, evaluate, filled
from spec_tests.support.inputs import distinct, in_double, normal, positive

pytestmark = pytest.mark.sampled(6)

LADDER = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129, 1023, 1024, 1025, 4099]
# Of every kind of function some go up by each of these; a backend that compiles pays for each step.
STAIRS = [LADDER[first::5] for first in range(5)]
WIDE = 1025
OF_ELEMENTS = ("unary", "shaped", "binary", "bits", "compare", "predicate")


def stairs(place: int) -> list[int]:
    """Return some steps of the ladder, small and large, other ones for another place."""
    return sorted({*STAIRS[place % 5], 33 if place % 2 else 129})


def check(
    nn: Any, got: Any, want: Any, dtype: str, tolerance: str, call: str, *, terms: int = 1
) -> None:
    """Compare by a class; sums and products of more terms than it is for have more room."""
    figure = tolerances()[tolerance][dtype] or 0.0
    want = np.asarray(want, np.float64)
    finite = np.where(np.isfinite(want), np.abs(want), 0)
    # The terms are of size about 1, so that their sum of magnitudes is about their number.
    if terms > 64:
        eps = float(np.finfo(dtype).eps)
        figure += (
            2 * (2 + np.log2(terms)) * eps if tolerance == "reduction" else figure * terms / 64
        )
    scale = np.max(finite, initial=0.0)
    room = terms if tolerance == "reduction" and terms > 64 else 0
    eps = float(np.finfo(dtype).eps)
    more = 2 * (2 + np.log2(max(terms, 1))) * eps * room
    within(nn, got, want, figure * (finite + scale) + more, call=call, dtype=dtype)


class Smooth(NamedTuple):
    """An elementwise function: how operands are drawn, the value, and the slope to each."""

    draw: Callable[..., np.ndarray]
    value: Callable[..., np.ndarray]
    slopes: tuple[Callable[..., Any], ...]
    tolerance: str = "elementwise"


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ELEMENTWISE: dict[str, Smooth] = {
    "abs": Smooth(distinct, np.abs, (np.sign,), "exact"),
    "negative": Smooth(normal, np.negative, (lambda x: -1 + 0 * x,), "exact"),
    "exp": Smooth(normal, np.exp, (np.exp,)),
    "log": Smooth(positive, np.log, (lambda x: 1 / x,)),
    "sqrt": Smooth(positive, np.sqrt, (lambda x: 0.5 / np.sqrt(x),)),
    "square": Smooth(normal, np.square, (lambda x: 2 * x,)),
    "tanh": Smooth(normal, np.tanh, (lambda x: 1 / np.cosh(x) ** 2,)),
    "sin": Smooth(normal, np.sin, (np.cos,)),
    "cos": Smooth(normal, np.cos, (lambda x: -np.sin(x),)),
    "sign": Smooth(distinct, np.sign, (lambda x: 0 * x,), "exact"),
    "relu": Smooth(distinct, lambda x: np.maximum(x, 0), (lambda x: x > 0,), "exact"),
    "sigmoid": Smooth(normal, sigmoid, (lambda x: sigmoid(x) * sigmoid(-x),)),
    "add": Smooth(normal, np.add, (lambda x, y: 1 + 0 * x, lambda x, y: 1 + 0 * y)),
    "subtract": Smooth(normal, np.subtract, (lambda x, y: 1 + 0 * x, lambda x, y: 0 * y - 1)),
    "multiply": Smooth(normal, np.multiply, (lambda x, y: y, lambda x, y: x)),
    "divide": Smooth(positive, np.divide, (lambda x, y: 1 / y, lambda x, y: -x / y**2)),
    "pow": Smooth(
        positive, np.power, (lambda x, y: y * x ** (y - 1), lambda x, y: x**y * np.log(x))
    ),
    "maximum": Smooth(distinct, np.maximum, (lambda x, y: x > y, lambda x, y: y > x), "exact"),
    "minimum": Smooth(distinct, np.minimum, (lambda x, y: x < y, lambda x, y: y < x), "exact"),
}


def elementwise(nn: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Compare the value and the gradients of one function for one shape."""
    smooth = ELEMENTWISE[name]
    arrays = [smooth.draw(shape, dtype, seed=seed) for seed in range(len(smooth.slopes))]
    if smooth.tolerance == "exact" and len(arrays) == 2:
        arrays[1] = np.roll(arrays[0] + np.asarray(0.001, dtype), 1)
    leaves = [tensor(nn, array) for array in arrays]
    wide = [in_double(array) for array in arrays]
    got = getattr(nn.ops, name)(*leaves)
    check(nn, got, smooth.value(*wide), dtype, smooth.tolerance, f"{name} of {shape}")
    arrives = normal(shape, dtype, seed=9)
    got.backward(nn.tensor(arrives))
    for place, (leaf, slope) in enumerate(zip(leaves, smooth.slopes, strict=True)):
        want = in_double(arrives) * slope(*wide)
        call = f"{name} of {shape}: gradient to operand {place}"
        check(nn, leaf.grad, want, dtype, "gradient", call)


def lengthened(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape with 1367 for 4, so that 3 x 4 elements become the ladder's last step."""
    return tuple(1367 if size == 4 else size for size in shape)


@pytest.mark.sampled(8)
@clause("numerics-01")
@rows("ops", where=lambda row: row.family in OF_ELEMENTS and row.name not in ELEMENTWISE)
def test_elementwise_functions_of_the_table(nn: Any, row: Row) -> None:
    """Values by the formula; the gradient to a few elements is that of a call on these alone."""
    function = getattr(nn.ops, row.name)
    for call, few in zip(calls(row, "float32", lengthened), calls(row, "float32"), strict=True):
        positional, options, leaves = as_tensors(nn, call, requires_grad=row.gradient == "yes")
        got = function(*positional, **options)
        want = evaluate(row, call)
        wide = "float32" if want.dtype.kind == "f" else None
        agrees(nn, got, want, str(row.tolerance), call=call.text, dtype=wide)
        if row.gradient != "yes" or len(leaves) > 1 or want.shape[-1:] != (1367,):
            continue
        arrives = normal(want.shape, "float32", seed=9)
        got.backward(nn.tensor(arrives))
        slope = to_numpy(nn, leaves[0].grad)
        for start in (0, 512, 1363):
            part = (..., slice(start, start + 4))
            alone = tensor(nn, call.floating()[0][part])
            arguments, more = filled(nn, few, iter([alone]))
            function(*arguments, **more).backward(nn.tensor(arrives[part]))
            text = f"gradient of {call.text}"
            agrees(nn, slope[part], to_numpy(nn, alone.grad), "gradient", call=text)


@pytest.mark.sampled(4)
@clause("numerics-01")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_functions(nn: Any, name: str) -> None:
    for length in stairs(list(ELEMENTWISE).index(name)):
        elementwise(nn, name, (length,), "float32")


@clause("numerics-01", needs="float64")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_functions_in_double(nn: Any, name: str) -> None:
    elementwise(nn, name, (WIDE,), "float64")


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x)
    return powers / powers.sum(axis=axis, keepdims=True)


Reduced = tuple[Callable[[np.ndarray, int], Any], Callable[[np.ndarray, np.ndarray, int], Any]]
# The value along an axis, and the gradient where `g`, of the value's shape, arrives.
ALONG: dict[str, Reduced] = {
    "sum": (
        lambda x, axis: x.sum(axis),
        lambda x, g, axis: np.expand_dims(g, axis) + 0 * x,
    ),
    "mean": (
        lambda x, axis: x.sum(axis) / x.shape[axis],
        lambda x, g, axis: np.expand_dims(g, axis) / x.shape[axis] + 0 * x,
    ),
    "max": (
        lambda x, axis: x.max(axis),
        lambda x, g, axis: np.expand_dims(g, axis) * (x == x.max(axis, keepdims=True)),
    ),
    "min": (
        lambda x, axis: x.min(axis),
        lambda x, g, axis: np.expand_dims(g, axis) * (x == x.min(axis, keepdims=True)),
    ),
    "logsumexp": (
        lambda x, axis: np.log(np.exp(x).sum(axis)),
        lambda x, g, axis: np.expand_dims(g, axis) * softmax(x, axis),
    ),
    "softmax": (
        softmax,
        lambda x, g, axis: softmax(x, axis) * (g - (g * softmax(x, axis)).sum(axis, keepdims=True)),
    ),
    "log_softmax": (
        lambda x, axis: np.log(softmax(x, axis)),
        lambda x, g, axis: g - softmax(x, axis) * g.sum(axis, keepdims=True),
    ),
}


def along(nn: Any, name: str, length: int, axis: int, dtype: str) -> None:
    """Compare a function along the first or the last axis of an array."""
    shape = (3, length) if axis else (length, 3)
    array = distinct(shape, dtype, seed=length)
    value, slope = ALONG[name]
    want = value(in_double(array), axis)
    x = tensor(nn, array)
    got = getattr(nn.ops, name)(x, axis=axis)
    call = f"{name} of {shape} along {axis}"
    tolerance = "exact" if name in {"max", "min"} else "reduction"
    check(nn, got, want, dtype, tolerance, call, terms=length)
    arrives = normal(want.shape, dtype, seed=9)
    got.backward(nn.tensor(arrives))
    want = slope(in_double(array), in_double(arrives), axis)
    terms = length if "softmax" in name else 1
    check(nn, x.grad, want, dtype, "reduction", f"gradient of {call}", terms=terms)


@pytest.mark.sampled(4)
@clause("numerics-01")
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ALONG)
def test_functions_along_an_axis(nn: Any, name: str, axis: int) -> None:
    for length in stairs(2 * list(ALONG).index(name) + axis):
        if length:
            along(nn, name, length, axis, "float32")


@clause("numerics-01", needs="float64")
@pytest.mark.parametrize("name", ALONG)
def test_functions_along_an_axis_in_double(nn: Any, name: str) -> None:
    for axis in (0, 1):
        along(nn, name, WIDE, axis, "float64")


@clause("numerics-01")
def test_argmax_and_products(nn: Any) -> None:
    for length in stairs(1):
        array = distinct((2, length), "float32", seed=length)
        for axis, whole in ((1, array), (0, np.ascontiguousarray(array.T))):
            got = nn.ops.argmax(nn.tensor(whole), axis=axis)
            exactly(nn, got, whole.argmax(axis), call=f"argmax of {whole.shape}")
    for length in stairs(4):
        array = (1 + normal((2, length), seed=length) / max(length, 1)).astype("float32")
        for axis, whole in ((1, array), (0, np.ascontiguousarray(array.T))):
            x = tensor(nn, whole)
            got = nn.ops.cumulative_prod(x, axis=axis)
            call = f"cumulative_prod of {whole.shape} along {axis}"
            products = np.cumprod(in_double(whole), axis)
            check(nn, got, products, "float32", "matmul", call, terms=length)
            nn.ops.sum(got).backward()
            later = np.flip(np.cumsum(np.flip(products, axis), axis), axis)
            want = later / in_double(whole)
            check(nn, x.grad, want, "float32", "matmul", f"gradient of {call}", terms=length)


# Shapes in which one size of a product takes the steps of the ladder.
PRODUCTS: dict[str, Callable[[int], tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "rows": lambda n: ((n, 3), (3, 2)),
    "columns": lambda n: ((2, 3), (3, n)),
    "terms": lambda n: ((2, n), (n, 3)),
    "stacks": lambda n: ((n, 2, 3), (3, 2)),
    "vectors": lambda n: ((n,), (n,)),
}


@clause("numerics-01")
@pytest.mark.parametrize("which", PRODUCTS)
def test_products_of_matrices(nn: Any, which: str) -> None:
    for length in stairs(list(PRODUCTS).index(which)):
        first, second = PRODUCTS[which](length)
        a, b = normal(first, "float32"), normal(second, "float32", seed=1)
        x, y = tensor(nn, a), tensor(nn, b)
        got = nn.ops.matmul(x, y)
        want = np.matmul(in_double(a), in_double(b))
        terms = first[-1] if which in {"terms", "vectors"} else 3
        check(nn, got, want, "float32", "matmul", f"matmul {first} {second}", terms=terms)
        arrives = normal(want.shape, "float32", seed=2)
        got.backward(nn.tensor(arrives))
        g = in_double(arrives)
        to_x = g * b if which == "vectors" else np.matmul(g, in_double(b).T)
        to_y = (
            g * a
            if which == "vectors"
            else np.tensordot(in_double(a), g, (tuple(range(a.ndim - 1)), tuple(range(g.ndim - 1))))
        )
        call = f"matmul {first} {second}: gradient to"
        check(nn, x.grad, to_x, "float32", "matmul", f"{call} the first", terms=second[-1])
        check(nn, y.grad, to_y, "float32", "matmul", f"{call} the second", terms=max(length, 1))


@clause("numerics-01")
@pytest.mark.parametrize("axis", [0, 1])
def test_taking_and_indexing(nn: Any, axis: int) -> None:
    for length in [*stairs(1 + axis), 128, 4099]:
        shape = (2, length) if axis else (length, 2)
        array = normal(shape, "float32", seed=length)
        indices = np.random.default_rng(length).integers(0, length, length + 3)
        key: Any = (slice(None), indices) if axis else indices
        calls: list[tuple[str, Callable[[Any], Any]]] = [
            ("take", lambda x: nn.ops.take(x, indices, axis=axis)),  # noqa: B023
            ("x[i]", lambda x: x[key]),  # noqa: B023
        ]
        for name, call in calls:
            x = tensor(nn, array)
            got = call(x)
            exactly(nn, got, array[key], dtype="float32", call=f"{name} of {shape}")
            nn.ops.sum(got).backward()
            want = np.zeros(shape)
            np.add.at(want, key, 1.0)
            exactly(nn, x.grad, want, dtype="float32", call=f"gradient of {name} of {shape}")


@clause("numerics-01")
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_losses(nn: Any, name: str) -> None:
    for length in stairs(3 if name == "mse_loss" else 4):
        a, b = distinct((length,), "float32"), distinct((length,), "float32", seed=1) / 3
        b = b.astype("float32")
        error = in_double(a) - in_double(b)
        for reduction, share in (("mean", length), ("sum", 1)):
            x = tensor(nn, a)
            got = getattr(nn.loss, name)(x, nn.tensor(b), reduction=reduction)
            each = error**2 if name == "mse_loss" else np.abs(error)
            call = f"{name} of {length}, {reduction}"
            check(nn, got, each.sum() / share, "float32", "reduction", call, terms=length)
            got.backward()
            want = (2 * error if name == "mse_loss" else np.sign(error)) / share
            check(nn, x.grad, want, "float32", "gradient", f"gradient of {call}")


@clause("numerics-01")
@pytest.mark.parametrize("which", ["rows", "classes"])
def test_cross_entropy(nn: Any, which: str) -> None:
    for length in stairs(1 if which == "rows" else 2):
        count, classes = (length, 3) if which == "rows" else (3, length)
        logits = normal((count, classes), "float32", seed=length)
        target = np.random.default_rng(length).integers(0, classes, count)
        x = tensor(nn, logits)
        got = nn.loss.cross_entropy(x, nn.tensor(target))
        odds = softmax(in_double(logits), 1)
        want = -np.log(odds[np.arange(count), target]).mean()
        call = f"cross_entropy of {logits.shape}"
        check(nn, got, want, "float32", "reduction", call, terms=length)
        got.backward()
        want = (odds - np.eye(classes)[target]) / count
        check(nn, x.grad, want, "float32", "gradient", f"gradient of {call}", terms=classes)


@clause("numerics-01")
@pytest.mark.parametrize("which", ["rows", "features"])
def test_layers(nn: Any, which: str) -> None:
    for length in stairs(3 if which == "rows" else 4):
        rows, width = (length, 5) if which == "rows" else (4, length)
        array = normal((rows, width), "float32", seed=length)
        wide = in_double(array)
        linear, table = nn.Linear(width, 3), nn.Embedding(rows, width)
        weight, bias = (in_double(to_numpy(nn, p)) for p in (linear.weight, linear.bias))
        want = wide @ weight.T + bias
        call = f"Linear of {array.shape}"
        y = linear(nn.tensor(array))
        check(nn, y, want, "float32", "matmul", call, terms=width)
        arrives = normal(want.shape, "float32", seed=2)
        y.backward(nn.tensor(arrives))
        g = in_double(arrives)
        check(nn, linear.weight.grad, g.T @ wide, "float32", "matmul", call, terms=rows)
        check(nn, linear.bias.grad, g.sum(0), "float32", "reduction", call, terms=rows)
        indices = np.random.default_rng(length).integers(0, rows, rows + 3)
        entries = to_numpy(nn, table.weight)[indices]
        exactly(nn, table(nn.tensor(indices)), entries, dtype="float32", call="Embedding")
        if width == 1:
            continue
        norm = nn.LayerNorm(width)
        centred = wide - wide.mean(1, keepdims=True)
        want = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        call = f"LayerNorm of {array.shape}"
        check(nn, norm(nn.tensor(array)), want, "float32", "reduction", call, terms=1)
