"""The chapter ``nn``: layers without a memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.oracle import Draws, load
from spec_tests.support.assertions import agrees, exactly, refuses, rounded, tensor, to_numpy
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(4)


def linear(nn: Any, dtype: str, parameters: dict[str, np.ndarray]) -> Any:
    """Return a ``Linear(4, 5)`` with these parameters."""
    layer = nn.Linear(4, 5, bias="bias" in parameters, dtype=getattr(nn, dtype))
    layer.load_state_dict(parameters)
    return layer


@clause("nn-01")
@pytest.mark.parametrize("case", ["matrix", "stack"])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(nn: Any, dtype: str, case: str, bias: bool) -> None:
    known = load("linear")[case][dtype]
    parameters = {
        name: array for name, array in known["parameters"].items() if bias or name == "weight"
    }
    want = known if bias else known["without_bias"]
    layer = linear(nn, dtype, parameters)
    x = tensor(nn, known["inputs"]["x"])
    y = layer(x)
    call = f"Linear(4, 5, bias={bias})(x), x {x.shape}"
    agrees(nn, y, want["outputs"]["y"], "matmul", call=call)
    y.backward(nn.tensor(known["cotangents"]["y"]))
    for name, array in want["gradients"]["all"].items():
        leaf = x if name == "x" else getattr(layer, name)
        agrees(nn, leaf.grad, array, "gradient", call=f"{call}, gradient to {name}")


@clause("nn-01")
def test_linear_parameters(nn: Any) -> None:
    layer = nn.Linear(4, 5)
    shapes = [(name, tuple(parameter.shape)) for name, parameter in layer.named_parameters()]
    assert shapes == [("weight", (5, 4)), ("bias", (5,))]
    assert layer.weight.dtype == nn.float32
    plain = nn.Linear(4, 5, bias=False)
    assert plain.bias is None
    assert [name for name, _ in plain.named_parameters()] == ["weight"]


@clause("nn-01")
def test_linear_takes_one_sample(nn: Any, dtype: str) -> None:
    known = load("linear")["matrix"][dtype]
    y = linear(nn, dtype, known["parameters"])(nn.tensor(known["inputs"]["x"][0]))
    agrees(nn, y, known["outputs"]["y"][0], "matmul", call="Linear(4, 5)(x), x (4,)")


@clause("nn-02")
def test_linear_initial_values(nn: Any, dtype: str) -> None:
    draws, k = Draws(11), 1 / np.sqrt(3)
    nn.manual_seed(11)
    layer = nn.Linear(3, 2, dtype=getattr(nn, dtype))
    exactly(nn, layer.weight, draws.uniform((2, 3), -k, k, dtype))
    exactly(nn, layer.bias, draws.uniform((2,), -k, k, dtype))
    following = nn.Linear(3, 1, bias=False, dtype=getattr(nn, dtype))
    exactly(nn, following.weight, draws.uniform((1, 3), -k, k, dtype))


@clause("nn-03")
@pytest.mark.parametrize("shape", [(2, 4), (4,), (2, 2, 1)])
def test_linear_says_what_does_not_fit(nn: Any, shape: tuple[int, ...]) -> None:
    with refuses(ValueError, "Linear", str(shape), "in_features", "3"):
        nn.Linear(3, 2)(nn.zeros(shape))


@clause("nn-03")
@pytest.mark.parametrize("other", ["float64", "int64"])
def test_linear_refuses_another_dtype(nn: Any, other: str) -> None:
    with refuses(TypeError, "Linear", "float32", other):
        nn.Linear(3, 2)(nn.zeros((4, 3), dtype=getattr(nn, other)))


@clause("nn-04")
def test_embedding(nn: Any, dtype: str) -> None:
    known = load("linear")["embedding"][dtype]
    layer = nn.Embedding(5, 3, padding_idx=2, dtype=getattr(nn, dtype))
    layer.load_state_dict({"weight": known["weight"]})
    y = layer(nn.tensor(known["indices"]))
    exactly(nn, y, known["weight"][known["indices"]])
    y.backward(nn.tensor(known["cotangent"]))
    agrees(nn, layer.weight.grad, known["gradient"], "gradient", call="Embedding, gradient")


@clause("nn-04")
def test_embedding_without_padding(nn: Any) -> None:
    layer = nn.Embedding(3, 2)
    assert layer.weight.dtype == nn.float32
    y = layer(nn.tensor([2, 0, 2]))
    y.backward(nn.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    exactly(nn, layer.weight.grad, np.array([[3, 4], [0, 0], [6, 8]], np.float32))
    assert layer(nn.tensor(1)).shape == (2,)
    narrow = nn.tensor(np.array([[2, 0]], np.int32))
    exactly(nn, layer(narrow), to_numpy(nn, layer.weight)[[[2, 0]]])


@clause("nn-04")
def test_embedding_initial_values(nn: Any, dtype: str) -> None:
    nn.manual_seed(12)
    layer = nn.Embedding(4, 3, padding_idx=1, dtype=getattr(nn, dtype))
    want = Draws(12).normal((4, 3), 0.0, 1.0, dtype)
    want[1] = 0
    exactly(nn, layer.weight, want)


@clause("nn-05")
def test_embedding_refuses_what_it_cannot_look_up(nn: Any) -> None:
    layer = nn.Embedding(5, 3)
    with refuses(TypeError, "Embedding", "float32"):
        layer(nn.tensor([1.0]))
    for index in (5, -1):
        with refuses(IndexError, str(index), "num_embeddings", "5"):
            layer(nn.tensor([0, index]))


@clause("nn-06")
def test_activations(nn: Any, dtype: str) -> None:
    x = rounded([[-1.25, 0.5, 2.0], [0.0, -0.75, 1.5]], dtype)
    wide = x.astype(np.float64)
    powers = np.exp(wide)
    along = {axis: powers / powers.sum(axis=axis, keepdims=True) for axis in (0, 1)}
    for layer, want, tolerance in (
        (nn.ReLU(), np.maximum(wide, 0), "exact"),
        (nn.Tanh(), np.tanh(wide), "elementwise"),
        (nn.Sigmoid(), 1 / (1 + np.exp(-wide)), "elementwise"),
        (nn.Softmax(0), along[0], "reduction"),
        (nn.Softmax(dim=-1), along[1], "reduction"),
        (nn.LogSoftmax(0), np.log(along[0]), "reduction"),
        (nn.LogSoftmax(dim=1), np.log(along[1]), "reduction"),
    ):
        agrees(nn, layer(nn.tensor(x)), want, tolerance, call=f"{layer!r}(x), x (2, 3)")


@clause("nn-06", needs="float64")
def test_gradients_of_activations(nn: Any) -> None:
    x = np.array([[-1.25, 0.5, 2.0], [0.25, -0.75, 1.5]])
    for layer in (nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Softmax(0), nn.LogSoftmax(1)):
        check_gradients(nn, layer, [x], call=repr(layer))


@clause("nn-07")
def test_flatten_and_identity(nn: Any) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    x = tensor(nn, values)
    exactly(nn, nn.Flatten()(x), values.reshape(2, 12))
    exactly(nn, nn.Flatten(0)(x), values.reshape(24))
    exactly(nn, nn.Flatten(1, 2)(x), values.reshape(2, 6, 2))
    exactly(nn, nn.Flatten(start_dim=-2, end_dim=-1)(x), values.reshape(2, 3, 4))
    exactly(nn, nn.Identity()(x), values)
    cotangent = np.arange(24, dtype=np.float32).reshape(2, 12)
    nn.Flatten()(nn.Identity()(x)).backward(nn.tensor(cotangent))
    exactly(nn, x.grad, cotangent.reshape(2, 3, 2, 2))


@clause("nn-08", "init-04")
def test_dropout_mask_and_gradient(nn: Any, dtype: str) -> None:
    values = rounded(np.linspace(0.5, 2.0, 15).reshape(3, 5), dtype)
    draws = Draws(21)
    nn.manual_seed(21)
    layer = nn.Dropout(0.3)
    for _ in range(2):
        kept = draws.units(15).reshape(3, 5) >= 0.3
        assert kept.any()
        assert not kept.all()
        x = tensor(nn, values)
        y = layer(x)
        agrees(nn, y, np.where(kept, values / 0.7, 0), "elementwise", call="Dropout(0.3)(x)")
        y.backward(nn.tensor(np.full((3, 5), 2, dtype)))
        agrees(nn, x.grad, np.where(kept, 2 / 0.7, 0), "elementwise", call="its gradient")


@clause("nn-08")
def test_dropout_at_the_ends_and_in_evaluation(nn: Any) -> None:
    x = nn.ones((2, 3))
    ones, zeros = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    exactly(nn, nn.Dropout(0.0)(x), ones)
    exactly(nn, nn.Dropout(1.0)(x), zeros)
    layer = nn.Dropout().eval()
    nn.manual_seed(22)
    exactly(nn, layer(x), ones)
    exactly(nn, nn.rand((2,)), Draws(22).uniform((2,), 0.0, 1.0, "float32"))


@clause("nn-08")
@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_dropout_refuses_other_probabilities(nn: Any, p: float) -> None:
    with refuses(ValueError, "Dropout", "p", str(p)):
        nn.Dropout(p)


@clause("nn-01", "nn-04", "rnn-01", "rnn-06")
def test_a_dtype_of_none_is_float32(nn: Any) -> None:
    for layer in (
        nn.Linear(3, 2, dtype=None),
        nn.Embedding(3, 2, dtype=None),
        nn.GRUCell(3, 2, dtype=None),
        nn.LSTM(3, 2, dtype=None),
    ):
        for name, parameter in layer.named_parameters():
            assert parameter.dtype == nn.float32, (type(layer).__name__, name)


NAN, INF = float("nan"), float("inf")


@clause("nn-13")
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_selects(nn: Any, dtype: str, p: float) -> None:
    values = rounded(np.resize([INF, NAN, -INF, 1.5, -2.0], (4, 6)), dtype)
    arrives = rounded(np.resize([1.0, INF, NAN, -INF], (4, 6)), dtype)
    kept = Draws(31).units(24).reshape(4, 6) >= p
    nn.manual_seed(31)
    x = tensor(nn, values)
    y = nn.Dropout(p)(x)
    y.backward(nn.tensor(arrives))
    scale = 1 / (1 - p) if p < 1 else 0
    with np.errstate(invalid="ignore"):
        want, slope = values.astype("float64") * scale, arrives.astype("float64") * scale
    agrees(nn, y, np.where(kept, want, 0), "elementwise", call=f"Dropout({p})")
    agrees(nn, x.grad, np.where(kept, slope, 0), "elementwise", call=f"gradient of Dropout({p})")
    exactly(nn, to_numpy(nn, y)[~kept], np.zeros(int((~kept).sum())), call="what is dropped")
    exactly(nn, to_numpy(nn, x.grad)[~kept], np.zeros(int((~kept).sum())), call="its gradient")


ROWS: dict[str, tuple[tuple[int, ...], Callable[..., Any]]] = {
    "Linear": ((5, 4), lambda nn, dtype: nn.Linear(4, 3, dtype=dtype)),
    "wide Linear": ((37, 33), lambda nn, dtype: nn.Linear(33, 17, dtype=dtype)),
    "Linear of stacks": ((3, 2, 4), lambda nn, dtype: nn.Linear(4, 3, dtype=dtype)),
    "LayerNorm": ((5, 4), lambda nn, dtype: nn.LayerNorm(4, dtype=dtype)),
    "wide LayerNorm": ((9, 133), lambda nn, dtype: nn.LayerNorm(133, dtype=dtype)),
    "LayerNorm of matrices": ((5, 2, 3), lambda nn, dtype: nn.LayerNorm((2, 3), dtype=dtype)),
    "RMSNorm": ((5, 4), lambda nn, dtype: nn.RMSNorm(4, dtype=dtype)),
    "GroupNorm": ((3, 4, 2), lambda nn, dtype: nn.GroupNorm(2, 4, dtype=dtype)),
    "Conv1d": ((3, 2, 7), lambda nn, dtype: nn.Conv1d(2, 3, 3, padding=1, dtype=dtype)),
    "Conv2d": ((3, 2, 5, 4), lambda nn, dtype: nn.Conv2d(2, 3, 3, stride=2, dtype=dtype)),
    "ConvTranspose1d": ((3, 2, 5), lambda nn, dtype: nn.ConvTranspose1d(2, 3, 3, dtype=dtype)),
    "MaxPool2d": ((3, 2, 4, 4), lambda nn, dtype: nn.MaxPool2d(2)),
    "AvgPool1d": ((3, 2, 6), lambda nn, dtype: nn.AvgPool1d(3)),
    "Softmax": ((5, 4), lambda nn, dtype: nn.Softmax(-1)),
    "wide Softmax": ((9, 133), lambda nn, dtype: nn.Softmax(1)),
    "Softmax of stacks": ((3, 4, 2), lambda nn, dtype: nn.Softmax(1)),
}


@clause("nn-14")
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", ROWS)
def test_nan_stays_in_its_row(nn: Any, dtype: str, name: str, number: str) -> None:
    shape, make = ROWS[name]
    layer = make(nn, getattr(nn, dtype))
    clean = normal(shape, dtype)
    spoilt = clean.copy()
    spoilt[(1, *(0,) * (len(shape) - 1))] = float(number)
    results = []
    for array in (clean, spoilt):
        x = tensor(nn, array)
        y = layer(x)
        y.backward(nn.tensor(normal(tuple(y.shape), dtype, seed=1)))
        results.append((to_numpy(nn, y), to_numpy(nn, x.grad)))
    others = [row for row in range(shape[0]) if row != 1]
    for kept, got, what in zip(*results, ("result", "gradient"), strict=True):
        exactly(nn, got[others], kept[others], call=f"{name}, {what} of the other rows")
    if number == "nan":
        assert np.isnan(results[1][0][1]).any(), f"{name} has lost the NaN"


@clause("nn-14")
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_nan_stays_in_its_row_of_a_table(nn: Any, dtype: str, number: str) -> None:
    indices = nn.tensor(np.array([2, 0, 1, 2]))
    layer = nn.Embedding(4, 3, dtype=getattr(nn, dtype))
    table = normal((4, 3), dtype)
    table[1] = float(number)
    layer.load_state_dict({"weight": table})
    y = layer(indices)
    exactly(nn, y, table[[2, 0, 1, 2]], call="Embedding")
    arrives = normal((4, 3), dtype, seed=1)
    arrives[2] = float(number)
    y.backward(nn.tensor(arrives))
    want = np.stack([arrives[1], arrives[2], arrives[0] + arrives[3], 0 * arrives[0]])
    exactly(nn, layer.weight.grad, want, call="gradient of Embedding")


@clause("nn-14", "nn-04")
@pytest.mark.parametrize("number", ["nan", "inf", "3"])
def test_padding_selects(nn: Any, dtype: str, number: str) -> None:
    layer = nn.Embedding(4, 3, padding_idx=2, dtype=getattr(nn, dtype))
    exactly(nn, layer.weight[2], np.zeros(3), call="row padding_idx at the start")
    y = layer(nn.tensor(np.array([2, 0, 2])))
    arrives = np.full((3, 3), float(number), dtype)
    y.backward(nn.tensor(arrives))
    want = np.zeros((4, 3))
    want[0] = float(number)
    exactly(nn, layer.weight.grad, want, call=f"Embedding, where {number} arrives")
