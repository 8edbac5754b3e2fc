"""Chapter rnn: cells beyond torch's.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check.differences import gradients
from spec_tests.support.assertions import agrees, exactly, refuses, same_signature, tensor, to_numpy
from spec_tests.support.cells import layer_norm_gru, layer_norm_lstm, peephole_lstm
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.user_cells import tensors_of

pytestmark = pytest.mark.sampled(6)

T, N, I, H = 6, 3, 2, 4  # noqa: E741 - the letters of the chapter
NORMS = {"norm_ih": 4 * H, "norm_hh": 4 * H, "norm_c": H}
GRU_NORMS = {"norm_ih": 2 * H, "norm_hh": 2 * H, "norm_in": H, "norm_hn": H}


def normed(names: dict[str, int], rows: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a cell with normalization, in order."""
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, I), "weight_hh": (rows, H)}
    for name, size in names.items():
        shapes[f"{name}.weight"] = (size,)
        if bias:
            shapes[f"{name}.bias"] = (size,)
    return shapes


def peepholes(bias: bool) -> dict[str, tuple[int, ...]]:
    biases = {"bias_ih": (4 * H,), "bias_hh": (4 * H,)} if bias else {}
    return {"weight_ih": (4 * H, I), "weight_hh": (4 * H, H), **biases, "weight_ch": (3 * H,)}


SHAPES: dict[str, Callable[[bool], dict[str, tuple[int, ...]]]] = {
    "LayerNormLSTMCell": lambda bias: normed(NORMS, 4 * H, bias),
    "LayerNormGRUCell": lambda bias: normed(GRU_NORMS, 3 * H, bias),
    "PeepholeLSTMCell": peepholes,
}
CLAUSES = {
    "LayerNormLSTMCell": "rnn-46",
    "LayerNormGRUCell": "rnn-47",
    "PeepholeLSTMCell": "rnn-48",
}
EPS = 0.01


def cases() -> list[Any]:
    """Return the name of each cell under the mark of its clause."""
    return [pytest.param(name, marks=clause(number)) for name, number in CLAUSES.items()]


def step_of(name: str) -> Callable[..., Any]:
    """Return the step of a cell in float64."""
    if name == "PeepholeLSTMCell":
        return peephole_lstm
    step: Callable[..., Any] = layer_norm_lstm if name == "LayerNormLSTMCell" else layer_norm_gru
    return lambda *arguments: step(*arguments, EPS)


def made(nn: Any, name: str, dtype: str, bias: bool) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a cell with given parameters, and these."""
    options = {} if name == "PeepholeLSTMCell" else {"eps": EPS}
    cell = getattr(nn, name)(I, H, bias=bias, dtype=getattr(nn, dtype), **options)
    shapes = SHAPES[name](bias)
    values = {k: normal(shape, dtype, seed=s) / 2 for s, (k, shape) in enumerate(shapes.items())}
    cell.load_state_dict({key: nn.tensor(array) for key, array in values.items()})
    return cell, values


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("bias", [True, False])
def test_parameters(nn: Any, dtype: str, name: str, bias: bool) -> None:
    wide = getattr(nn, dtype)
    nn.manual_seed(6)
    cell = getattr(nn, name)(I, H, bias, dtype=wide)
    shapes = SHAPES[name](bias)
    got = {key: tuple(p.shape) for key, p in cell.named_parameters()}
    assert list(got.items()) == list(shapes.items()), f"{name}: got {got}"
    nn.manual_seed(6)
    k = 1 / np.sqrt(H)
    for key, p in cell.named_parameters():
        if key.startswith("norm"):
            want = np.full(p.shape, float(key.endswith("weight")))
        else:
            drawn = nn.init.uniform_(nn.zeros(p.shape, dtype=wide), -k, k)
            want = to_numpy(nn, drawn)
        exactly(nn, p.detach(), want, call=f"{name}.{key}", dtype=dtype)
    eps = "" if name == "PeepholeLSTMCell" else "eps=1e-05, "
    wanted = eval(f"lambda input_size, hidden_size, bias=True, {eps}*, dtype=None: None")
    same_signature(getattr(nn, name), inspect.signature(wanted))
    assert (cell.input_size, cell.hidden_size) == (I, H)
    assert re.search(rf"{name}\([^)]*\b{I}\b[^)]*\b{H}\b", repr(cell)), repr(cell)


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(nn: Any, dtype: str, name: str, bias: bool) -> None:
    cell, values = made(nn, name, dtype, bias)
    step = step_of(name)
    arrays = {"x": normal((N, I), dtype, seed=20), "h": normal((N, H), dtype, seed=21)}
    if "LSTM" in name:
        arrays["c"] = normal((N, H), dtype, seed=22)
    cotangents = [normal((N, H), dtype, seed=30 + i) for i in range(len(arrays) - 1)]
    leaves = {key: tensor(nn, array) for key, array in arrays.items()}
    states = list(leaves.values())[1:]
    results = tensors_of(cell(leaves["x"], tuple(states) if len(states) == 2 else states[0]))
    everything = {**values, **arrays}
    keys = list(everything)

    def wanted(*given: np.ndarray) -> Any:
        p = dict(zip(keys, given, strict=True))
        return step(p, *[p[key] for key in arrays])

    def number(*given: np.ndarray) -> float:
        return float(sum(np.sum(a * b) for a, b in zip(wanted(*given), cotangents, strict=True)))

    double = [in_double(array) for array in everything.values()]
    for got, want in zip(results, wanted(*double), strict=True):
        agrees(nn, got, want, "rnn", call=name, dtype=dtype)
    terms = [nn.ops.sum(r * nn.tensor(c)) for r, c in zip(results, cotangents, strict=True)]
    sum(terms[1:], terms[0]).backward()
    leaves |= dict(cell.named_parameters())
    tolerance = "difference" if dtype == "float64" else "gradient"
    for key, slope in zip(keys, gradients(number, double), strict=True):
        agrees(nn, leaves[key].grad, slope, tolerance, call=f"{name}: {key}", dtype=dtype)


@pytest.mark.parametrize("name", cases())
def test_calls_as_those_of_torchs_cells(nn: Any, name: str) -> None:
    cell, _ = made(nn, name, "float32", bias=True)
    x = nn.tensor(normal((N, I), "float32"))
    zeros = nn.zeros((N, H))
    state = (zeros, zeros) if "LSTM" in name else zeros
    pairs = zip(tensors_of(cell(x)), tensors_of(cell(input=x, hx=state)), strict=True)
    for got, want in pairs:
        exactly(nn, got.detach(), to_numpy(nn, want.detach()), dtype="float32")
    alone = tensors_of(cell(x[1]))[0]
    agrees(nn, alone, to_numpy(nn, tensors_of(cell(x))[0].detach())[1], "rnn", dtype="float32")
    with refuses(ValueError, name, "input", "(3, 5)"):
        cell(nn.zeros((3, 5)))
    with refuses(ValueError, name, ("h0", "h must"), "(3, 5)"):
        wrong = nn.zeros((3, 5))
        cell(x, (wrong, zeros) if "LSTM" in name else wrong)
    with refuses(TypeError, name, "float64"):
        cell(nn.zeros((N, I), dtype=nn.float64))
    for bad in (-1, 0):
        with refuses(ValueError, name, "hidden_size"):
            getattr(nn, name)(I, bad)


def wrapped(nn: Any, kind: str, inner: str, p: Any, dtype: str = "float32") -> Any:
    """Return a cell of ours in one that draws."""
    nn.manual_seed(13)
    return getattr(nn, kind)(getattr(nn, inner)(I, H, dtype=getattr(nn, dtype)), p)


def drawn(nn: Any, *shape: int) -> np.ndarray:
    """Return the next uniform numbers of the generator."""
    return np.asarray(to_numpy(nn, nn.rand(*shape, dtype=nn.float64)))


INNER = ["RNNCell", "LSTMCell", "GRUCell", "PeepholeLSTMCell", "LayerNormGRUCell"]


@clause("rnn-49")
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("training", [True, False])
def test_zoneout(nn: Any, dtype: str, inner: str, training: bool) -> None:
    pair = "LSTM" in inner
    chances = (0.25, 0.5) if pair else (0.25,)
    cell = wrapped(nn, "ZoneoutCell", inner, chances if pair else 0.25, dtype).train(training)
    assert cell.state_size == cell.cell.state_size
    assert [name for name, _ in cell.named_children()] == ["cell"]
    x = nn.tensor(normal((T, N, I), dtype, seed=1))
    state = tuple(nn.tensor(normal((N, H), dtype, seed=2 + s)) for s in range(1 + pair))
    nn.manual_seed(17)
    output, last = nn.rnn.unroll(cell, x, state if pair else state[0])
    after = drawn(nn, 2)
    nn.manual_seed(17)
    masks = [drawn(nn, T, N, H) < q for q in chances] if training else []
    exactly(nn, after, drawn(nn, 2), dtype="float64")
    outputs = []
    for t in range(T):
        new = tensors_of(cell.cell(x[t], state if pair else state[0]))
        if training:
            keep = [nn.tensor(mask[t]) for mask in masks]
            state = tuple(nn.ops.where(k, o, s) for k, o, s in zip(keep, state, new, strict=True))
        else:
            state = tuple(q * o + (1 - q) * s for q, o, s in zip(chances, state, new, strict=True))
        outputs.append(to_numpy(nn, state[0].detach()))
    agrees(nn, output.detach(), np.stack(outputs), "rnn", call=inner, dtype=dtype)
    for got, want in zip(tensors_of(last), state, strict=True):
        agrees(nn, got.detach(), to_numpy(nn, want.detach()), "rnn", call=inner, dtype=dtype)


@clause("rnn-49")
@pytest.mark.parametrize("inner", INNER)
def test_recurrent_dropout(nn: Any, dtype: str, inner: str) -> None:
    """One mask for all steps, and only where h meets W_hh."""
    pair, p = "LSTM" in inner, 0.4
    cell = wrapped(nn, "RecurrentDropoutCell", inner, p, dtype)
    x = nn.tensor(normal((T, N, I), dtype, seed=1))
    parts = tuple(nn.tensor(normal((N, H), dtype, seed=2 + s)) for s in range(1 + pair))
    state: Any = parts if pair else parts[0]
    nn.manual_seed(19)
    output, _ = nn.rnn.unroll(cell, x, state)
    after = drawn(nn, 2)
    nn.manual_seed(19)
    keep = nn.tensor(drawn(nn, N, H) >= p)
    exactly(nn, after, drawn(nn, 2), dtype="float64")
    inside, outputs = cell.cell, []
    for t in range(T):
        h = tensors_of(state)[0]
        dropped = nn.ops.where(keep, h / (1 - p), nn.ops.zeros_like(h))
        state = inside.step(inside.project(x[t]), state, recurrent=dropped)
        outputs.append(to_numpy(nn, tensors_of(state)[0].detach()))
    agrees(nn, output.detach(), np.stack(outputs), "rnn", call=inner, dtype=dtype)
    cell.eval()
    want, _ = nn.rnn.unroll(inside, x)
    got, _ = nn.rnn.unroll(cell, x)
    agrees(nn, got.detach(), to_numpy(nn, want.detach()), "rnn", dtype=dtype)


@clause("rnn-49")
@pytest.mark.parametrize("kind", ["ZoneoutCell", "RecurrentDropoutCell"])
def test_a_call_of_one_step_draws_for_it(nn: Any, kind: str) -> None:
    cell = wrapped(nn, kind, "GRUCell", 0.5)
    x, h = nn.tensor(normal((N, I), "float32")), nn.tensor(normal((N, H), "float32", seed=1))
    nn.manual_seed(23)
    got = cell(x, h)
    after = drawn(nn, 2)
    nn.manual_seed(23)
    numbers = drawn(nn, N, H)
    exactly(nn, after, drawn(nn, 2), dtype="float64")
    if kind == "ZoneoutCell":
        want = nn.ops.where(nn.tensor(numbers < 0.5), h, cell.cell(x, h))
    else:
        kept = nn.ops.where(nn.tensor(numbers >= 0.5), h * 2, nn.zeros((N, H)))
        want = cell.cell.step(cell.cell.project(x), h, recurrent=kept)
    agrees(nn, got.detach(), to_numpy(nn, want.detach()), "rnn", call=kind, dtype="float32")
    for training in (True, False):
        cell.train(training)
        nn.manual_seed(23)
        first = cell(x)
        nn.manual_seed(23)
        want = cell(x, nn.zeros((N, H)))
        agrees(nn, first.detach(), to_numpy(nn, want.detach()), "rnn", call=kind, dtype="float32")


@clause("rnn-49")
@pytest.mark.parametrize("kind", ["ZoneoutCell", "RecurrentDropoutCell"])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_at_the_ends_of_the_range(nn: Any, kind: str, p: float) -> None:
    cell = wrapped(nn, kind, "RNNCell", p)
    x, h = nn.tensor(normal((T, N, I), "float32")), nn.tensor(normal((N, H), "float32", seed=1))
    nn.manual_seed(29)
    output, last = nn.rnn.unroll(cell, x, h)
    after = drawn(nn, 2)
    nn.manual_seed(29)
    inside = cell.cell
    if p == 0:
        exactly(nn, after, drawn(nn, 2), dtype="float64")
        want = to_numpy(nn, nn.rnn.unroll(inside, x, h)[0].detach())
        agrees(nn, output.detach(), want, "rnn", dtype="float32")
    elif kind == "ZoneoutCell":
        exactly(nn, last.detach(), to_numpy(nn, h), dtype="float32")
    else:
        alone = [to_numpy(nn, inside(x[t], nn.zeros((N, H))).detach()) for t in range(T)]
        agrees(nn, output.detach(), np.stack(alone), "rnn", dtype="float32")


@clause("rnn-49")
def test_gradients_through_what_is_drawn(nn: Any) -> None:
    """Of zoneout in dropout, under one seed: those of differences."""
    nn.manual_seed(31)
    inner = nn.RecurrentDropoutCell(nn.GRUCell(I, H, dtype=nn.float64), 0.3)
    cell = nn.ZoneoutCell(inner, 0.25)
    weights = normal((T, N, H), "float64", seed=3)

    def call(x: Any) -> Any:
        nn.manual_seed(37)
        return nn.ops.sum(nn.rnn.unroll(cell, x)[0] * nn.tensor(weights))

    array = normal((T, N, I), "float64", seed=1)
    leaf = tensor(nn, array)
    call(leaf).backward()
    (want,) = gradients(lambda x: float(to_numpy(nn, call(nn.tensor(x)).detach())), [array])
    agrees(nn, leaf.grad, want, "difference", dtype="float64")


@clause("rnn-49")
@pytest.mark.parametrize("kind", ["ZoneoutCell", "RecurrentDropoutCell"])
def test_what_does_not_fit(nn: Any, kind: str) -> None:
    make = getattr(nn, kind)
    for bad in (-0.1, 1.5, float("nan")):
        with refuses(ValueError, kind, "p"):
            make(nn.GRUCell(I, H), bad)
    with refuses(TypeError, kind, "p"):
        make(nn.GRUCell(I, H), "0.5")
    with refuses(TypeError, kind, "cell", "Linear"):
        make(nn.Linear(I, H), 0.5)
    with refuses(TypeError, kind, "cell", "int"):
        make(3, 0.5)
    if kind == "ZoneoutCell":
        with refuses(ValueError, kind, "p"):
            make(nn.LSTMCell(I, H), (0.1, 0.2, 0.3))


@clause("rnn-39", "rnn-49")
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell", *CLAUSES])
@pytest.mark.parametrize("kind", ["", "ZoneoutCell", "RecurrentDropoutCell"])
def test_how_step_is_called(nn: Any, name: str, kind: str) -> None:
    cell = getattr(nn, name)(I, H)
    cell = getattr(nn, kind)(cell) if kind else cell
    wanted = inspect.signature(lambda projected, hx=None, *, recurrent=None: None)
    same_signature(cell.step, wanted)
