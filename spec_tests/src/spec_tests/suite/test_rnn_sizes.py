"""The chapter ``rnn``: gates nearly shut and wide open, NaN in the batch, and sizes."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import tolerances
from spec_tests.support.assertions import exactly, to_numpy, within
from spec_tests.support.inputs import normal
from spec_tests.support.recurrence import GATES, Recurrence, states_of
from spec_tests.support.recurrent import call_cell, call_layer, cell_of, layer_of, outcome

pytestmark = pytest.mark.sampled(6)

NAN = float("nan")
Arrays = dict[str, np.ndarray]


def check(nn: Any, got: Any, want: np.ndarray, dtype: str, call: str, times: float = 1.0) -> None:
    """Compare by the class ``rnn``; what is below the smallest normal number may be 0."""
    tolerance = tolerances()["rnn"][dtype] or 0.0
    scale = np.max(np.abs(want), initial=0.0)
    least = 8 * float(np.finfo(dtype).tiny)
    allowed = times * tolerance * (np.abs(want) + scale) + least
    within(nn, got, want, allowed, call=call, dtype=dtype)


def eighths(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Return multiples of 1/8 between -1 and 1, whose products add up without an error."""
    return (np.random.default_rng(seed).integers(-8, 9, shape) / 8).astype(dtype)


def compare(
    nn: Any,
    name: str,
    parameters: Arrays,
    inputs: Arrays,
    cotangents: Arrays,
    call: str,
    times: float = 1.0,
) -> None:
    """Compare a layer, and for one step its cell, with the recurrence in float64."""
    dtype = inputs["x"].dtype.name
    reference = Recurrence(name, parameters)
    values = reference.forward(inputs["x"], *(inputs[key] for key in states_of(name)))
    slopes = reference.backward(cotangents)
    layer = layer_of(nn, name, dtype, {f"{key}_l0": array for key, array in parameters.items()})
    states = [key for key in cotangents if key != "output"]
    # A layer's states have an axis of length 1 before the others.
    wrapped = {key: array if key == "x" else array[None] for key, array in inputs.items()}
    arriving = {key: cotangents[key][None] for key in states} | {"output": cotangents["output"]}
    got = outcome(nn, call_layer, layer, wrapped, arriving)
    for key, value in got["outputs"].items():
        want = values[key] if key == "output" else values[key][None]
        check(nn, value, want, dtype, f"{call}: {key}", times)
    for key, value in got["gradients"].items():
        want = slopes[key.removesuffix("_l0")]
        want = want[None] if key in {"h0", "c0"} else want
        check(nn, value, want, dtype, f"{call}: gradient to {key}", times)
    if len(inputs["x"]) > 1:
        return
    cell = cell_of(nn, name, dtype, parameters)
    whole = {"h": cotangents["h_n"] + cotangents["output"][0]}
    whole |= {"c": cotangents["c_n"]} if name == "LSTM" else {}
    got = outcome(nn, call_cell, cell, inputs | {"x": inputs["x"][0]}, whole)
    for key, value in got["outputs"].items():
        check(nn, value, values[f"{key}_n"], dtype, f"{call}, cell: {key}", times)
    for key, value in got["gradients"].items():
        want = slopes[key][0] if key == "x" else slopes[key]
        check(nn, value, want, dtype, f"{call}, cell: gradient to {key}", times)


def problem(name: str, sizes: tuple[int, int, int, int], dtype: str, spread: float) -> Any:
    """Return parameters, inputs and cotangents for sizes T, N, I and H."""
    steps, batch, width, hidden = sizes
    rows = GATES[name] * hidden
    parameters = {
        "weight_ih": normal((rows, width), seed=1) * spread / np.sqrt(width),
        "weight_hh": normal((rows, hidden), seed=2) * spread / np.sqrt(hidden),
        "bias_ih": normal(rows, seed=3) * spread,
        "bias_hh": normal(rows, seed=4) * spread,
    }
    inputs = {"x": normal((steps, batch, width), dtype, seed=5)}
    cotangents = {"output": normal((steps, batch, hidden), dtype, seed=6)}
    for place, state in enumerate(states_of(name)):
        inputs[state] = normal((batch, hidden), dtype, seed=7 + place)
        cotangents[f"{state[0]}_n"] = normal((batch, hidden), dtype, seed=9 + place)
    return {key: array.astype(dtype) for key, array in parameters.items()}, inputs, cotangents


def sized(nn: Any, name: str, sizes: tuple[int, int, int, int], dtype: str, call: str) -> None:
    """Compare a layer of these sizes with the recurrence in float64."""
    parameters, inputs, cotangents = problem(name, sizes, dtype, 0.5)
    compare(nn, name, parameters, inputs, cotangents, call)


ARGUMENTS = [-100, -87, -60, -40, -20, -12, -9, -7, -5, -3, 3, 5, 7, 9, 12, 20, 40, 60, 87, 100]
ROWS = {"LSTM": "ifgo", "GRU": "rzn"}


@clause("rnn-26")
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    ("name", "gates"),
    [
        ("LSTM", "i"),
        ("LSTM", "f"),
        ("LSTM", "o"),
        ("LSTM", "io"),
        ("LSTM", "fi"),
        ("LSTM", "ifo"),
        ("GRU", "r"),
        ("GRU", "z"),
        ("GRU", "rz"),
    ],
)
def test_gates_nearly_shut_and_wide_open(
    nn: Any, dtype: str, name: str, gates: str, steps: int
) -> None:
    batch, width, hidden = 3, 2, 4
    rows = GATES[name] * hidden
    parameters = {
        "weight_ih": eighths((rows, width), dtype, 1),
        "weight_hh": eighths((rows, hidden), dtype, 2),
        "bias_ih": eighths((rows,), dtype, 3),
        "bias_hh": eighths((rows,), dtype, 4),
    }
    _, inputs, cotangents = problem(name, (steps, batch, width, hidden), dtype, 0.5)
    inputs = {
        key: eighths(array.shape, dtype, seed) for seed, (key, array) in enumerate(inputs.items())
    }
    plain = parameters["bias_ih"]
    for argument in ARGUMENTS:
        bias = plain.copy()
        for gate in gates:
            place = ROWS[name].index(gate)
            bias[place * hidden : (place + 1) * hidden] += argument
        parameters["bias_ih"] = bias
        call = f"{name}, T = {steps}, {' and '.join(gates)} at {argument}"
        times = max(1.0, (abs(argument) + 4) / 32)
        compare(nn, name, parameters, inputs, cotangents, call, times)


LAYERS = ["RNN_tanh", "RNN_relu", "LSTM", "GRU"]


def run(nn: Any, name: str, parameters: Arrays, inputs: Arrays, cotangents: Arrays) -> Any:
    """Return a layer's outputs and gradients as NumPy arrays."""
    dtype = inputs["x"].dtype.name
    layer = layer_of(nn, name, dtype, {f"{key}_l0": array for key, array in parameters.items()})
    wrapped = {key: array if key == "x" else array[None] for key, array in inputs.items()}
    arriving = {key: array if key == "output" else array[None] for key, array in cotangents.items()}
    got = outcome(nn, call_layer, layer, wrapped, arriving)
    return [{key: to_numpy(nn, a) for key, a in got[part].items()} for part in got]


@clause("rnn-27")
@pytest.mark.parametrize("place", ["x", "h0", "c0"])
@pytest.mark.parametrize("name", LAYERS)
def test_nan_stays_in_its_sequence(nn: Any, dtype: str, name: str, place: str) -> None:
    if place not in {"x", *states_of(name)}:
        return
    parameters, inputs, cotangents = problem(name, (5, 4, 3, 6), dtype, 0.5)
    clean = run(nn, name, parameters, inputs, cotangents)
    spoilt = {key: array.copy() for key, array in inputs.items()}
    # The second sequence, from the third step on where it is the input.
    start = 2 if place == "x" else 0
    if place == "x":
        spoilt["x"][start, 1, 0] = NAN
    else:
        spoilt[place][1] = NAN
    outputs, slopes = run(nn, name, parameters, spoilt, cotangents)
    others = [0, 2, 3]
    call = f"{name}, NaN in {place}"
    for key, value in outputs.items():
        exactly(nn, value[:, others], clean[0][key][:, others], call=f"{call}: {key} of others")
    exactly(nn, outputs["output"][:start], clean[0]["output"][:start], call=f"{call}: before it")
    assert np.isnan(outputs["output"][start:, 1]).all(), f"{call}: the output is {outputs}"
    for key in ("h_n", "c_n") if name == "LSTM" else ("h_n",):
        assert np.isnan(outputs[key][:, 1]).all(), f"{call}: {key}"
    for key in inputs:
        got, want = slopes[key][:, others], clean[1][key][:, others]
        exactly(nn, got, want, call=f"{call}: gradient to {key} of others")
    lost_where_it_must(slopes, name, columns=[0] if place == "x" else [], states=True, call=call)


def lost_where_it_must(
    slopes: dict[str, Any], name: str, columns: list[int], states: bool, call: str
) -> None:
    """Assert which elements of the gradients are NaN: of the parameters, and with relu of all.

    `columns` are the inputs that were NaN; `states` says whether a state that was multiplied was.
    """
    for key, slope in slopes.items():
        is_parameter = key.startswith(("weight", "bias"))
        want = np.full(slope.shape, name != "RNN_relu")
        # A relu passes the gradient that arrived, so only a factor that is NaN makes it NaN.
        if key.startswith("weight_ih"):
            want[:, columns] = True
        elif key.startswith("weight_hh"):
            want |= states
        if is_parameter or name == "RNN_relu":
            assert np.isfinite(slope[~want]).all(), f"{call}: NaN in the gradient to {key}"
            assert np.isnan(slope[want]).all(), f"{call}: the gradient to {key} lost the NaN"


@clause("rnn-27")
@pytest.mark.parametrize("name", LAYERS)
def test_nan_stays_in_its_row_of_a_cell(nn: Any, dtype: str, name: str) -> None:
    parameters, inputs, cotangents = problem(name, (1, 4, 3, 6), dtype, 0.5)
    results = []
    for number in (0.5, NAN):
        cell = cell_of(nn, name, dtype, parameters)
        given = inputs | {"x": inputs["x"][0].copy()}
        given["x"][1, 2] = number
        whole = {key.removesuffix("_n"): cotangents[key] for key in cotangents if key != "output"}
        got = outcome(nn, call_cell, cell, given, whole)
        results.append([{key: to_numpy(nn, a) for key, a in got[part].items()} for part in got])
    others = [0, 2, 3]
    (values, slopes), (outputs, spoilt) = results
    for key, value in outputs.items():
        exactly(nn, value[others], values[key][others], call=f"{name} cell: {key} of others")
        assert np.isnan(value[1]).all(), f"{name} cell: {key} lost the NaN"
    for key in inputs:
        exactly(nn, spoilt[key][others], slopes[key][others], call=f"{name} cell: {key} of others")
    lost_where_it_must(spoilt, name, columns=[2], states=False, call=f"{name} cell")


LADDER = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129]


def rung(place: int) -> tuple[int, int, int, int]:
    """Return sizes T, N, I and H: over all places each is every one of LADDER once."""
    steps, batch, width, hidden = (LADDER[(place + shift) % len(LADDER)] for shift in (0, 5, 9, 14))
    return steps, batch, width, hidden


@clause("rnn-28")
@pytest.mark.sampled(14)
@pytest.mark.parametrize("place", range(len(LADDER)))
def test_sizes(nn: Any, place: int) -> None:
    sizes = rung(place)
    # A backend that compiles pays for every shape, so the others take every other rung.
    for name in ("LSTM", "GRU" if place % 2 else "RNN_tanh"):
        call = f"{name}, T, N, I, H = {sizes}"
        sized(nn, name, sizes, "float32", call)


@clause("rnn-28")
@pytest.mark.parametrize("place", [4, 13])
@pytest.mark.parametrize("name", LAYERS)
def test_sizes_in_other_precision(nn: Any, dtype: str, name: str, place: int) -> None:
    sizes = rung(place)
    if dtype == "float64" or name == "RNN_relu":
        call = f"{name}, T, N, I, H = {sizes}, {dtype}"
        sized(nn, name, sizes, dtype, call)


@pytest.mark.sampled(6)
@clause("rnn-28")
@pytest.mark.parametrize(
    ("steps", "batch", "width", "hidden"), [(515, 2, 3, 65), (130, 5, 2, 257), (1030, 1, 1, 17)]
)
@pytest.mark.parametrize("name", LAYERS)
def test_long_and_wide(nn: Any, name: str, steps: int, batch: int, width: int, hidden: int) -> None:
    sizes = (steps, batch, width, hidden)
    call = f"{name}, T, N, I, H = {sizes}"
    sized(nn, name, sizes, "float32", call)
