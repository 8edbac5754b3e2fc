"""The chapter ``numerics``: what one example of a batch has to do with the rest."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, tensor, to_numpy
from spec_tests.support.inputs import distinct, normal, positive

COUNTS = (2, 7, 64)
KINDS = ("alike", "large", "not finite")
WIDTH = 5
MATRIX = normal((WIDTH, 3), "float32")


class Rows(NamedTuple):
    """``make(nn, dtype)`` gives a function of a batch; `axis` is that of the examples."""

    make: Callable[[Any, Any], Callable[[Any], Any]]
    tolerance: str
    shape: tuple[int, ...] = (WIDTH,)
    draw: Callable[..., np.ndarray] = normal
    axis: int = 0


def op(name: str, *more: Any, **options: Any) -> Callable[[Any, Any], Callable[[Any], Any]]:
    """Return what makes a function of `ops`."""
    return lambda nn, dtype: lambda x: getattr(nn.ops, name)(x, *more, **options)


def layer(name: str, *sizes: Any, **options: Any) -> Callable[[Any, Any], Callable[[Any], Any]]:
    """Return what makes a layer, which is then evaluated."""

    def make(nn: Any, dtype: Any) -> Callable[[Any], Any]:
        nn.manual_seed(1)
        kind = getattr(nn, name)
        typed = {"dtype": dtype} if "dtype" in inspect.signature(kind).parameters else {}
        built = kind(*sizes, **options, **typed).eval()

        def call(x: Any) -> Any:
            y = built(x)
            return y[0] if isinstance(y, tuple) else y

        return call

    return make


def number(nn: Any, dtype: Any) -> Any:
    return nn.ops.astype(nn.tensor(np.asarray([0.5, -3.0, 1.5, 0.3, -0.7], "float32")), dtype)


def with_constant(call: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return what makes a function of a batch and a row that every example has."""
    return lambda nn, dtype: lambda x: call(nn, x, number(nn, dtype))


BITS: dict[str, Rows] = {
    "add": Rows(with_constant(lambda nn, x, c: x + c), "exact"),
    "subtract": Rows(with_constant(lambda nn, x, c: c - x), "exact"),
    "multiply": Rows(with_constant(lambda nn, x, c: x * c), "exact"),
    "abs": Rows(op("abs"), "exact"),
    "negative": Rows(op("negative"), "exact"),
    "square": Rows(op("square"), "exact"),
    "maximum": Rows(with_constant(lambda nn, x, c: nn.ops.maximum(x, c)), "exact"),
    "minimum": Rows(with_constant(lambda nn, x, c: nn.ops.minimum(x, c)), "exact"),
    "clip": Rows(op("clip", -0.5, 0.5), "exact"),
    "relu": Rows(op("relu"), "exact", draw=distinct),
    "where": Rows(with_constant(lambda nn, x, c: nn.ops.where(x > 0, x, c)), "exact"),
    "x[:, i]": Rows(lambda nn, dtype: lambda x: x[:, [4, 0, 0]], "exact"),
    "take": Rows(op("take", np.array([3, 1]), axis=1), "exact"),
    "flip": Rows(op("flip", axis=1), "exact"),
}
CLASSES: dict[str, Rows] = {
    **{
        name: Rows(op(name), "elementwise")
        for name in ("exp", "tanh", "sin", "cos", "sigmoid", "expm1", "erf")
    },
    "divide": Rows(with_constant(lambda nn, x, c: x / c), "elementwise"),
    "sqrt": Rows(op("sqrt"), "elementwise", draw=positive),
    "log": Rows(op("log"), "elementwise", draw=positive),
    "pow": Rows(with_constant(lambda nn, x, c: nn.ops.pow(x, c)), "elementwise", draw=positive),
    "GELU": Rows(layer("GELU"), "elementwise"),
    **{
        name: Rows(op(name, axis=1), "reduction")
        for name in ("softmax", "log_softmax", "logsumexp", "sum", "mean", "cumulative_sum")
    },
    "max": Rows(op("max", axis=1), "exact", draw=distinct),
    "matmul": Rows(
        lambda nn, dtype: lambda x: x @ nn.ops.astype(nn.tensor(MATRIX), dtype), "matmul"
    ),
    "Linear": Rows(layer("Linear", WIDTH, 4), "matmul"),
    "LayerNorm": Rows(layer("LayerNorm", WIDTH), "reduction"),
    "RMSNorm": Rows(layer("RMSNorm", WIDTH), "reduction"),
    "GroupNorm": Rows(layer("GroupNorm", 2, 4), "reduction", (4, 3)),
    "BatchNorm1d": Rows(layer("BatchNorm1d", WIDTH), "reduction"),
    "Conv1d": Rows(layer("Conv1d", 2, 3, 3, padding=1), "matmul", (2, 6)),
    "Conv2d": Rows(layer("Conv2d", 2, 3, 3), "matmul", (2, 5, 4)),
    "ConvTranspose1d": Rows(layer("ConvTranspose1d", 2, 3, 3), "matmul", (2, 4)),
    "AvgPool2d": Rows(layer("AvgPool2d", 2), "reduction", (2, 4, 4)),
    "MaxPool2d": Rows(layer("MaxPool2d", 2), "exact", (2, 4, 4), distinct),
    "attention": Rows(lambda nn, dtype: attending(nn, dtype), "matmul", (3, 4)),
    "RNN": Rows(layer("RNN", 4, 3), "rnn", (6, 4), axis=1),
    "LSTM": Rows(layer("LSTM", 4, 3, 2, batch_first=True), "rnn", (6, 4)),
    "GRU": Rows(layer("GRU", 4, 3, bidirectional=True), "rnn", (6, 4), axis=1),
    "LSTMCell": Rows(layer("LSTMCell", 4, 3), "rnn", (4,)),
    "mse_loss": Rows(
        with_constant(
            lambda nn, x, c: nn.loss.mse_loss(x, nn.ops.broadcast_to(c, x.shape), reduction="none")
        ),
        "reduction",
    ),
    "cross_entropy": Rows(
        lambda nn, dtype: (
            lambda x: nn.loss.cross_entropy(x, nn.tensor(np.full(x.shape[0], 2)), reduction="none")
        ),
        "reduction",
    ),
}


def attending(nn: Any, dtype: Any) -> Callable[[Any], Any]:
    nn.manual_seed(1)
    built = nn.MultiheadAttention(4, 2, batch_first=True, dtype=dtype).eval()
    return lambda x: built(x, x, x)[0]


def run(
    nn: Any, call: Callable[[Any], Any], axis: int, batch: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a batch and its gradients, with the examples along the first axis."""
    x = tensor(nn, np.ascontiguousarray(np.moveaxis(batch, 0, axis)))
    y = call(x)
    shape = np.moveaxis(np.empty(tuple(y.shape), bool), axis, 0).shape[1:]
    one = normal(shape, batch.dtype.name, seed=9)
    weights = np.moveaxis(np.broadcast_to(one, (len(batch), *shape)), 0, axis)
    y.backward(nn.tensor(np.ascontiguousarray(weights)))
    value, slope = (np.moveaxis(to_numpy(nn, t), axis, 0) for t in (y, x.grad))
    return value, slope


def neighbours(rows: Rows, count: int, dtype: str, kind: str) -> np.ndarray:
    """Return a batch of examples to stand beside one."""
    others = rows.draw((count, *rows.shape), dtype, seed=count)
    if kind == "large":
        others = others * np.asarray(1e4, dtype)
    if kind == "not finite":
        others[...] = np.resize([np.nan, np.inf, 1.0], others.shape)
    return others


def beside(
    nn: Any, rows: Rows, dtype: str, name: str, *kinds: str, counts: tuple[int, ...] = COUNTS
) -> None:
    """Compare an example alone with itself among others, at several places."""
    call = rows.make(nn, getattr(nn, dtype))
    example = rows.draw(rows.shape, dtype, seed=100)
    value, slope = (part[0] for part in run(nn, call, rows.axis, example[None]))
    assert np.all(np.isfinite(value)), name
    gradient = {"exact": "exact", "rnn": "rnn"}.get(rows.tolerance, "gradient")
    for kind, count in itertools.product(kinds, counts):
        for place in {0, count // 2, count - 1}:
            batch = neighbours(rows, count, dtype, kind)
            batch[place] = example
            got, to_x = run(nn, call, rows.axis, batch)
            text = f"{name}, example {place} of {count}, the others {kind}"
            agrees(nn, got[place], value, rows.tolerance, call=text)
            agrees(nn, to_x[place], slope, gradient, call=f"{text}: gradient")


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", BITS)
@clause("numerics-02")
def test_the_same_bits_in_every_batch(nn: Any, dtype: str, name: str) -> None:
    beside(nn, BITS[name], dtype, name, *KINDS)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", CLASSES)
@clause("numerics-02")
def test_the_same_to_the_class_in_every_batch(nn: Any, name: str) -> None:
    beside(nn, CLASSES[name], "float32", name, *KINDS)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", CLASSES)
@clause("numerics-02", needs="float64")
def test_the_same_in_double_in_every_batch(nn: Any, name: str) -> None:
    beside(nn, CLASSES[name], "float64", name, "large", counts=(7,))


@clause("numerics-02")
def test_embedding_in_every_batch(nn: Any) -> None:
    table = nn.Embedding(9, 4)
    (alone,) = to_numpy(nn, table(nn.tensor([5])))
    for count in COUNTS:
        for place in (0, count - 1):
            indices = np.random.default_rng(count).integers(0, 9, count)
            indices[place] = 5
            exactly(nn, to_numpy(nn, table(nn.tensor(indices)))[place], alone, dtype="float32")
