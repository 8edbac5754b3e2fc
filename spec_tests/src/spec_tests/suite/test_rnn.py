"""The chapter ``rnn``: cells and layers.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

import math
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws, load
from spec_tests.support.assertions import agrees, exactly, refuses, rounded, tensor, to_numpy
from spec_tests.support.recurrent import (
    agree,
    applications,
    call_cell,
    call_layer,
    cell_of,
    cell_outcome_without_bias,
    cell_outcomes,
    layer_of,
    layer_outcomes,
    outcome,
    squares,
    state_of,
    wanted,
    weighted,
)

pytestmark = pytest.mark.sampled(6)

T, N, I, H = 5, 3, 4, 5  # noqa: E741 - the letters of the chapter
NAMES = ["RNN_tanh", "RNN_relu", "LSTM", "GRU"]
RNN_NAMES = NAMES[:2]


def check_layer_values(nn: Any, name: str, dtype: str) -> None:
    """Compare a layer's values with the reference, with a state and without one."""
    known = load("layers")[name][dtype]
    layer = layer_of(nn, name, dtype, known["parameters"])
    inputs = {key: nn.tensor(array) for key, array in known["inputs"].items()}
    outputs = call_layer(layer, inputs["x"], state_of(inputs))
    for key, array in known["outputs"].items():
        agrees(nn, outputs[key], array, "rnn", call=f"{name} on (5, 3, 4): {key}")
    with nn.no_grad():
        outputs = call_layer(layer, inputs["x"], state_of(inputs))
    for key, array in known["outputs"].items():
        agrees(nn, outputs[key], array, "rnn", call=f"{name} under no_grad: {key}")
    outputs = call_layer(layer, inputs["x"])
    for key, array in known["without_state"].items():
        agrees(nn, outputs[key], array, "rnn", call=f"{name} without a state: {key}")


@clause("rnn-01")
@pytest.mark.parametrize(("layer_name", "gates"), [("RNN", 1), ("LSTM", 4), ("GRU", 3)])
def test_cell_parameters(nn: Any, layer_name: str, gates: int) -> None:
    rows = gates * H
    shapes = [
        ("weight_ih", (rows, I)),
        ("weight_hh", (rows, H)),
        ("bias_ih", (rows,)),
        ("bias_hh", (rows,)),
    ]
    make = getattr(nn, f"{layer_name}Cell")
    cell = make(I, H)
    assert [(name, tuple(p.shape)) for name, p in cell.named_parameters()] == shapes
    assert all(p.dtype == nn.float32 for p in cell.parameters())
    plain = make(I, H, bias=False)
    assert [name for name, _ in plain.named_parameters()] == ["weight_ih", "weight_hh"]
    assert plain.bias_ih is None
    assert plain.bias_hh is None


@clause("rnn-02")
@pytest.mark.parametrize("name", RNN_NAMES)
def test_rnn_cell(nn: Any, dtype: str, name: str) -> None:
    for call, got, want in cell_outcomes(nn, name, dtype):
        agree(nn, call, got, want)


@clause("rnn-02")
@pytest.mark.parametrize("name", RNN_NAMES)
def test_rnn_cell_without_bias(nn: Any, dtype: str, name: str) -> None:
    agree(nn, *cell_outcome_without_bias(nn, name, dtype))


@clause("rnn-03")
def test_lstm_cell(nn: Any, dtype: str) -> None:
    for call, got, want in cell_outcomes(nn, "LSTM", dtype):
        agree(nn, call, got, want)


@clause("rnn-03")
def test_lstm_cell_without_bias(nn: Any, dtype: str) -> None:
    agree(nn, *cell_outcome_without_bias(nn, "LSTM", dtype))


@clause("rnn-04")
def test_gru_cell(nn: Any, dtype: str) -> None:
    for call, got, want in cell_outcomes(nn, "GRU", dtype):
        agree(nn, call, got, want)


@clause("rnn-04")
def test_gru_cell_without_bias(nn: Any, dtype: str) -> None:
    agree(nn, *cell_outcome_without_bias(nn, "GRU", dtype))


@clause("rnn-05")
@pytest.mark.parametrize("name", NAMES)
def test_cell_of_one_sample(nn: Any, dtype: str, name: str) -> None:
    known = load("cells")[name][dtype]
    inputs = {key: array[0] for key, array in known["inputs"].items()}
    cotangents = {key: array[0] for key, array in known["cotangents"].items()}
    cell = cell_of(nn, name, dtype, known["parameters"])
    got = outcome(nn, call_cell, cell, inputs, cotangents)
    agree(nn, f"{name} cell of one sample", got, wanted(known["one_sample"]))


@clause("rnn-06")
@pytest.mark.parametrize(("layer_name", "gates"), [("RNN", 1), ("LSTM", 4), ("GRU", 3)])
def test_layer_parameters(nn: Any, layer_name: str, gates: int) -> None:
    rows = gates * H
    shapes = [
        ("weight_ih_l0", (rows, I)),
        ("weight_hh_l0", (rows, H)),
        ("bias_ih_l0", (rows,)),
        ("bias_hh_l0", (rows,)),
    ]
    make = getattr(nn, layer_name)
    layer = make(I, H)
    assert [(name, tuple(p.shape)) for name, p in layer.named_parameters()] == shapes
    assert all(p.dtype == nn.float32 for p in layer.parameters())
    plain = make(I, H, bias=False)
    assert [name for name, _ in plain.named_parameters()] == ["weight_ih_l0", "weight_hh_l0"]
    assert plain.bias_ih_l0 is None
    assert plain.bias_hh_l0 is None


@clause("rnn-07")
@pytest.mark.parametrize("name", RNN_NAMES)
def test_rnn_values(nn: Any, dtype: str, name: str) -> None:
    check_layer_values(nn, name, dtype)


@clause("rnn-08")
def test_lstm_values(nn: Any, dtype: str) -> None:
    check_layer_values(nn, "LSTM", dtype)


@clause("rnn-09")
def test_gru_values(nn: Any, dtype: str) -> None:
    check_layer_values(nn, "GRU", dtype)


@clause("rnn-10")
@pytest.mark.parametrize("name", RNN_NAMES)
@pytest.mark.parametrize("only", ["all", "output", "h_n"])
def test_rnn_gradients(nn: Any, dtype: str, name: str, only: str) -> None:
    for call, got, want in layer_outcomes(nn, name, dtype, only):
        agree(nn, call, got, want)


@clause("rnn-11")
@pytest.mark.parametrize("only", ["all", "output", "h_n", "c_n"])
def test_lstm_gradients(nn: Any, dtype: str, only: str) -> None:
    for call, got, want in layer_outcomes(nn, "LSTM", dtype, only):
        agree(nn, call, got, want)


@clause("rnn-12")
@pytest.mark.parametrize("only", ["all", "output", "h_n"])
def test_gru_gradients(nn: Any, dtype: str, only: str) -> None:
    for call, got, want in layer_outcomes(nn, "GRU", dtype, only):
        agree(nn, call, got, want)


@clause("rnn-10", "rnn-11", "rnn-12")
@pytest.mark.parametrize("name", NAMES)
def test_strides_do_not_matter(nn: Any, dtype: str, name: str) -> None:
    known = load("layers")[name][dtype]
    cotangents = {"output": np.ones((T, N, H), dtype)}
    plain = layer_of(nn, name, dtype, known["parameters"])
    usual = {key: tensor(nn, array) for key, array in known["inputs"].items()}
    outputs = call_layer(plain, usual["x"], state_of(usual))
    weighted(nn, outputs, cotangents).backward()

    layer = layer_of(nn, name, dtype, known["parameters"])
    for key in ("weight_ih_l0", "weight_hh_l0"):
        parameter = getattr(layer, key)
        parameter.data = nn.tensor(np.ascontiguousarray(known["parameters"][key].T)).T.data
    turned = {
        key: tensor(nn, np.ascontiguousarray(np.swapaxes(array, 1, 2)))
        for key, array in known["inputs"].items()
    }
    views = {key: leaf.mT for key, leaf in turned.items()}
    output, _ = layer(views["x"], state_of(views))
    agrees(nn, output, known["outputs"]["output"], "rnn", call=f"{name} of transposed arrays")
    # The gradient of a sum is one number in all places: every stride is 0.
    nn.ops.sum(output).backward()
    for key, leaf in turned.items():
        want = np.swapaxes(to_numpy(nn, usual[key].grad), 1, 2)
        agrees(nn, leaf.grad, want, "rnn", call=f"{name} of transposed arrays: gradient to {key}")
    for key, parameter in layer.named_parameters():
        want = to_numpy(nn, getattr(plain, key).grad)
        agrees(nn, parameter.grad, want, "rnn", call=f"{name}: gradient to {key}")


@clause("rnn-13")
@pytest.mark.parametrize("name", NAMES)
def test_batch_first(nn: Any, dtype: str, name: str) -> None:
    known = load("layers")[name][dtype]
    layer = layer_of(nn, name, dtype, known["parameters"], batch_first=True)

    def turned(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            key: np.swapaxes(array, 0, 1) if key in ("x", "output") else array
            for key, array in arrays.items()
        }

    want = {part: turned(arrays) for part, arrays in wanted(known).items()}
    got = outcome(nn, call_layer, layer, turned(known["inputs"]), turned(known["cotangents"]))
    agree(nn, f"{name} with batch_first", got, want)


@clause("rnn-14")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_first", [False, True])
def test_no_batch_axis(nn: Any, dtype: str, name: str, batch_first: bool) -> None:
    known = load("layers")[name][dtype]
    inputs = {key: array[:, 0] for key, array in known["inputs"].items()}
    cotangents = {key: array[:, 0] for key, array in known["cotangents"].items()}
    layer = layer_of(nn, name, dtype, known["parameters"], batch_first=batch_first)
    got = outcome(nn, call_layer, layer, inputs, cotangents)
    agree(nn, f"{name} without a batch axis", got, wanted(known["one_sample"]))


@clause("rnn-15")
@pytest.mark.sampled(10)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [(5, 3, 4, 5), (3, 1, 1, 1), (2, 9, 19, 33)])
def test_layer_equals_its_cell_in_a_loop(
    nn: Any, dtype: str, name: str, sizes: tuple[int, int, int, int]
) -> None:
    steps, batch, width, hidden = sizes
    random = np.random.default_rng(51)
    gates = {"LSTM": 4, "GRU": 3}.get(name, 1)
    shapes = {
        "weight_ih_l0": (gates * hidden, width),
        "weight_hh_l0": (gates * hidden, hidden),
        "bias_ih_l0": (gates * hidden,),
        "bias_hh_l0": (gates * hidden,),
    }
    k = 1 / math.sqrt(hidden)
    parameters = {
        key: rounded(random.uniform(-k, k, shape), dtype) for key, shape in shapes.items()
    }
    states = ("h0", "c0") if name == "LSTM" else ("h0",)
    inputs = {"x": rounded(random.uniform(-1, 1, (steps, batch, width)), dtype)}
    inputs |= {key: rounded(random.uniform(-1, 1, (1, batch, hidden)), dtype) for key in states}
    cotangent = {"output": rounded(random.uniform(-1, 1, (steps, batch, hidden)), dtype)}
    layer = layer_of(nn, name, dtype, parameters)
    plain = {key.removesuffix("_l0"): array for key, array in parameters.items()}
    cell = cell_of(nn, name, dtype, plain)

    whole = {key: tensor(nn, array) for key, array in inputs.items()}
    outputs = call_layer(layer, whole["x"], state_of(whole))
    weighted(nn, outputs, cotangent).backward()

    single = {key: tensor(nn, array) for key, array in inputs.items()}
    state = state_of({key: leaf if key == "x" else leaf[0] for key, leaf in single.items()})
    states_seen = []
    for t in range(steps):
        state = cell(single["x"][t], state)
        states_seen.append(state[0] if isinstance(state, tuple) else state)
    stacked = {"output": nn.ops.stack(states_seen)}
    weighted(nn, stacked, cotangent).backward()

    case = f"{name}, (T, N, I, H) = {sizes}"
    want = to_numpy(nn, stacked["output"])
    agrees(nn, outputs["output"], want, "rnn", call=f"{case}: output")
    for key in whole:
        want = to_numpy(nn, single[key].grad)
        agrees(nn, whole[key].grad, want, "rnn", call=f"{case}: gradient to {key}")
    for key, parameter in cell.named_parameters():
        got, want = getattr(layer, f"{key}_l0").grad, to_numpy(nn, parameter.grad)
        agrees(nn, got, want, "rnn", call=f"{case}: gradient to {key}")


@clause("rnn-16")
@pytest.mark.parametrize("layer_name", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_initial_values(nn: Any, dtype: str, layer_name: str) -> None:
    draws, k = Draws(31), 1 / math.sqrt(3)
    nn.manual_seed(31)
    module = getattr(nn, layer_name)(2, 3, dtype=getattr(nn, dtype))
    for _, parameter in module.named_parameters():
        exactly(nn, parameter, draws.uniform(tuple(parameter.shape), -k, k, dtype))


@clause("rnn-17")
@pytest.mark.parametrize("name", NAMES)
def test_gradient_penalty(nn: Any, dtype: str, name: str) -> None:
    known = load("layers")[name][dtype]
    layer = layer_of(nn, name, dtype, known["parameters"])
    names = list(known["inputs"])

    def loss(parameters: dict[str, Any], *inputs: Any) -> Any:
        leaves = dict(zip(names, inputs, strict=True))
        arguments = (leaves["x"], state_of(leaves))
        output, state = nn.functional_call(layer, parameters, *arguments)
        states = state if isinstance(state, tuple) else (state,)
        outputs = dict(zip(known["cotangents"], (output, *states), strict=True))
        return weighted(nn, outputs, known["cotangents"])

    def penalty(parameters: dict[str, Any], *inputs: Any) -> Any:
        positions = tuple(range(1, 1 + len(inputs)))
        first = nn.grad(loss, argnums=positions, create_graph=True)(parameters, *inputs)
        return squares(nn, first)

    parameters = {key: nn.tensor(array) for key, array in known["parameters"].items()}
    inputs = [nn.tensor(array) for array in known["inputs"].values()]
    positions = tuple(range(1 + len(inputs)))
    value, slopes = nn.value_and_grad(penalty, argnums=positions)(parameters, *inputs)
    agrees(nn, value, known["penalty"]["value"], "rnn", call=f"{name}: penalty")
    gradients = dict(zip(names, slopes[1:], strict=True)) | slopes[0]
    for key, array in known["penalty"]["gradients"].items():
        agrees(nn, gradients[key], array, "rnn", call=f"{name}: gradient of the penalty to {key}")


@clause("rnn-17")
@pytest.mark.parametrize("name", ["RNN_tanh", "LSTM", "GRU"])
def test_gradient_penalty_by_backward(nn: Any, dtype: str, name: str) -> None:
    known = load("layers")[name][dtype]
    layer = layer_of(nn, name, dtype, known["parameters"])
    leaves = {key: tensor(nn, array) for key, array in known["inputs"].items()}
    outputs = call_layer(layer, leaves["x"], state_of(leaves))
    weighted(nn, outputs, known["cotangents"]).backward(create_graph=True)
    penalty = squares(nn, [leaf.grad for leaf in leaves.values()])
    layer.zero_grad()
    penalty.backward()
    want = known["penalty"]["gradients"]
    for key, parameter in layer.named_parameters():
        agrees(nn, parameter.grad, want[key], "rnn", call=f"{name}: gradient to {key}")


@clause("rnn-18")
@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_is_one_function(nn: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = load("layers")[name]["float32"]
    layer = layer_of(nn, name, "float32", known["parameters"])
    function = getattr(nn.rnn, f"{name.partition('_')[0]}Function")
    assert issubclass(function, nn.Function)
    applied = applications(function, monkeypatch)
    output, _ = layer(tensor(nn, known["inputs"]["x"]))
    assert len(applied) == 1
    agrees(nn, output, known["without_state"]["output"], "rnn", dtype="float32")


@clause("rnn-19")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (3, 0)])
def test_zero_sizes(nn: Any, name: str, steps: int, batch: int) -> None:
    layer_name, _, nonlinearity = name.partition("_")
    layer = getattr(nn, layer_name)(
        3, 2, **({"nonlinearity": nonlinearity} if nonlinearity else {})
    )
    count = 2 if layer_name == "LSTM" else 1
    numbers = np.arange(batch * 2, dtype=np.float32).reshape(1, batch, 2)
    leaves = {"x": nn.zeros((steps, batch, 3), requires_grad=True)}
    leaves |= {f"state {number}": tensor(nn, numbers + number) for number in range(count)}
    outputs = call_layer(layer, leaves["x"], state_of(leaves))
    assert outputs["output"].shape == (steps, batch, 2)
    weighted(
        nn, outputs, {key: np.ones(array.shape, np.float32) for key, array in outputs.items()}
    ).backward()
    exactly(nn, leaves["x"].grad, np.zeros((steps, batch, 3), np.float32))
    for number, key in enumerate(("h_n", "c_n")[:count]):
        exactly(nn, outputs[key], numbers + number)
        exactly(nn, leaves[f"state {number}"].grad, np.ones((1, batch, 2), np.float32))
    for parameter in layer.parameters():
        if parameter.grad is not None:
            exactly(nn, parameter.grad, np.zeros(parameter.shape, np.float32))


@clause("rnn-20")
@pytest.mark.parametrize("layer_name", ["RNN", "LSTM", "GRU"])
def test_layers_say_what_does_not_fit(nn: Any, layer_name: str) -> None:
    layer = getattr(nn, layer_name)(I, H)
    x, h0 = nn.zeros((T, N, I)), nn.zeros((1, N, H))

    def state(h: Any) -> Any:
        return (h, nn.zeros((1, N, H))) if layer_name == "LSTM" else h

    x_named = (" x ", " x:", "'x'", "`x`", "input")
    for shape in ((T, N, 7), (T,), (1, T, N, I)):
        with refuses(ValueError, layer_name, x_named, str(shape), str(I)):
            layer(nn.zeros(shape))
    for wrong in ((1, N, 6), (1, 2, H), (2, N, H), (N, H)):
        with refuses(ValueError, layer_name, "h0", str(wrong), str((1, N, H))):
            layer(x, state(nn.zeros(wrong)))
    with refuses(ValueError, layer_name, "h0", str((2, H)), str((1, H))):
        layer(nn.zeros((T, I)), state(nn.zeros((2, H))))
    if layer_name == "LSTM":
        with refuses(ValueError, layer_name, "c0", str((1, N, 6)), str((1, N, H))):
            layer(x, (h0, nn.zeros((1, N, 6))))
        for no_pair in (h0, (h0, h0, h0), (h0,)):
            with refuses(ValueError, layer_name, ("pair", "(h0, c0)")):
                layer(x, no_pair)


@clause("rnn-20")
@pytest.mark.parametrize("layer_name", ["RNN", "LSTM", "GRU"])
def test_cells_say_what_does_not_fit(nn: Any, layer_name: str) -> None:
    cell = getattr(nn, f"{layer_name}Cell")(I, H)
    x, h = nn.zeros((N, I)), nn.zeros((N, H))
    x_named = (" x ", " x:", "'x'", "`x`", "input")
    for shape in ((N, 7), (), (1, N, I)):
        with refuses(ValueError, f"{layer_name}Cell", x_named, str(shape), str(I)):
            cell(nn.zeros(shape))
    for wrong in ((N, 6), (2, H), (H,)):
        state = nn.zeros(wrong)
        with refuses(ValueError, f"{layer_name}Cell", " h", str(wrong), str((N, H))):
            cell(x, (state, h) if layer_name == "LSTM" else state)
    for name, _ in cell.named_parameters():
        with refuses(ValueError, name):
            nn.functional_call(cell, {name: nn.zeros((1,))}, x)
    if layer_name == "LSTM":
        with refuses(ValueError, "LSTMCell", ("pair", "(h, c)")):
            cell(x, h)


@clause("rnn-20", needs="float64")
@pytest.mark.parametrize("layer_name", ["RNN", "LSTM", "GRU"])
def test_dtypes_that_differ_are_refused(nn: Any, layer_name: str) -> None:
    with refuses(TypeError, layer_name, "float32", "float64"):
        getattr(nn, layer_name)(I, H)(nn.zeros((T, N, I), dtype=nn.float64))
    with refuses(TypeError, f"{layer_name}Cell", "float32", "float64"):
        getattr(nn, f"{layer_name}Cell")(I, H, dtype=nn.float64)(nn.zeros((N, I)))


@clause("rnn-21")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "without", [("x", "bias_hh_l0"), ("h0", "weight_ih_l0"), ("weight_hh_l0", "bias_ih_l0", "x")]
)
def test_no_gradient_where_none_is_wanted(nn: Any, name: str, without: tuple[str, ...]) -> None:
    known = load("layers")[name]["float32"]
    layer = layer_of(nn, name, "float32", known["parameters"])
    for key, parameter in layer.named_parameters():
        parameter.requires_grad_(key not in without)
    leaves = {
        key: tensor(nn, array, requires_grad=key not in without)
        for key, array in known["inputs"].items()
    }
    outputs = call_layer(layer, leaves["x"], state_of(leaves))
    weighted(nn, outputs, known["cotangents"]).backward()
    leaves |= dict(layer.named_parameters())
    for key, want in known["gradients"]["all"].items():
        if key in without:
            assert leaves[key].grad is None
        else:
            call = f"{name} without {without}: gradient to {key}"
            agrees(nn, leaves[key].grad, want, "rnn", call=call, dtype="float32")


@clause("rnn-22")
@pytest.mark.parametrize("name", ["RNN_tanh", "LSTM", "GRU"])
def test_long_sequences(nn: Any, dtype: str, name: str) -> None:
    known = load("long_sequences")
    want, shown = known[name][dtype], known["shown"]
    layer = layer_of(nn, name, dtype, want["parameters"])
    x = tensor(nn, known["x"].astype(dtype))
    cotangents = {key: array.astype(dtype) for key, array in known["cotangents"].items()}
    outputs = call_layer(layer, x)
    weighted(nn, outputs, cotangents).backward()
    got = {"shown": to_numpy(nn, outputs.pop("output"))[shown], **outputs}
    for key, array in want["outputs"].items():
        agrees(nn, got[key], array, "rnn", call=f"{name}, T = 2000: {key}")
    gradients = {key: parameter.grad for key, parameter in layer.named_parameters()}
    gradients["x"] = to_numpy(nn, x.grad)[shown]
    for key, array in want["gradients"].items():
        agrees(nn, gradients[key], array, "rnn", call=f"{name}, T = 2000: gradient to {key}")
