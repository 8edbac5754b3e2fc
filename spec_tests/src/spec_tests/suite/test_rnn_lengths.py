"""The chapter ``rnn``: sequences of different lengths in one batch.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.recurrence import GATES, Recurrence, states_of
from spec_tests.support.recurrent import call_layer, layer_of, state_of, weighted

pytestmark = pytest.mark.sampled(4)

T, N, I, H = 5, 4, 3, 2  # noqa: E741 - the letters of the chapter
ENDS = (2, 5, 0, 3)
NAMES = list(GATES)
Arrays = dict[str, np.ndarray]


def parameters_of(name: str, width: int, hidden: int) -> Arrays:
    """Return contracting parameters of a layer without its number."""
    rows = GATES[name] * hidden
    return {
        "weight_ih": normal((rows, width), "float32", seed=1) / np.float32(np.sqrt(width)),
        "weight_hh": normal((rows, hidden), "float32", seed=2) / np.float32(2 * np.sqrt(hidden)),
        "bias_ih": normal(rows, "float32", seed=3) / 2,
        "bias_hh": normal(rows, "float32", seed=4) / 2,
    }


def alone(name: str, parameters: Arrays, inputs: Arrays, cotangents: Arrays, ends: Any) -> Arrays:
    """Run the recurrence in float64 for each sequence by itself: values and gradients by name."""
    steps, batch = inputs["x"].shape[:2]
    found: Arrays = {key: np.zeros_like(array, float) for key, array in cotangents.items()}
    slopes = {key: np.zeros_like(array, float) for key, array in (inputs | parameters).items()}
    for n, end in enumerate(ends):
        reference = Recurrence(name, parameters)
        states = [inputs[key][n : n + 1] for key in states_of(name)]
        values = reference.forward(inputs["x"][:end, n : n + 1], *states)
        found["output"][:end, n] = values["output"][:, 0]
        own = {key: cotangents[key][n : n + 1] for key in cotangents if key != "output"}
        back = reference.backward(own | {"output": cotangents["output"][:end, n : n + 1]})
        for key in own:
            found[key][n] = values[key][0]
        slopes["x"][:end, n] = back["x"][:, 0]
        for key in states_of(name):
            slopes[key][n] = back[key][0]
        for key in parameters:
            slopes[key] += back[key]
    assert (steps, batch) == found["output"].shape[:2]
    return found | {f"gradient to {key}": array for key, array in slopes.items()}


@clause("rnn-33")
@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("turned", [False, True])
def test_every_sequence_is_as_if_alone(nn: Any, dtype: str, name: str, turned: bool) -> None:
    compare(nn, dtype, name, turned, (16, 33, 7, 17))


@clause("rnn-33", "rnn-28")
@pytest.mark.sampled(20)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sizes", [(9, 8, 16, 64), (3, 65, 1, 3), (70, 3, 2, 5), (60, 12, 2, 128)])
def test_sizes(nn: Any, name: str, turned: bool, sizes: tuple[int, int, int, int]) -> None:
    compare(nn, "float32", name, turned, sizes)


def compare(nn: Any, dtype: str, name: str, turned: bool, sizes: tuple[int, int, int, int]) -> None:
    """Compare a batch of these sizes with the recurrence of each sequence by itself."""
    steps, batch, width, hidden = sizes
    ends = np.random.default_rng(7).integers(0, steps + 1, batch)
    parameters = parameters_of(name, width, hidden)
    inputs = {"x": normal((steps, batch, width), "float32", seed=5)}
    inputs |= {
        key: normal((batch, hidden), "float32", seed=6 + number)
        for number, key in enumerate(states_of(name))
    }
    names = ("h_n", "c_n")[: len(inputs) - 1]
    cotangents = {"output": normal((steps, batch, hidden), "float32", seed=8)}
    cotangents |= {
        key: normal((batch, hidden), "float32", seed=9 + number) for number, key in enumerate(names)
    }
    want = alone(name, parameters, inputs, cotangents, ends)
    running = (np.arange(steps)[:, None] < ends)[..., None]
    given = np.where(running, inputs["x"], np.float32(np.nan))
    if turned:
        # The reverse direction of the sequences turned round is the forward one.
        given, cotangents, want = reversed_in_place(given, cotangents, want, ends)
    named = {
        f"{key}_l0{end}": array.astype(dtype)
        for end in ("", "_reverse")[: 1 + turned]
        for key, array in parameters.items()
    }
    layer = layer_of(nn, name, dtype, named, bidirectional=turned)
    check(nn, layer, given, inputs, cotangents, want, ends, dtype)


def reversed_in_place(x: np.ndarray, cotangents: Arrays, want: Arrays, ends: Any) -> Any:
    """Return what is a sequence with each sequence turned round within its length."""

    def turn(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        for n, end in enumerate(ends):
            array[:end, n] = array[:end, n][::-1]
        return array

    cotangents = cotangents | {"output": turn(cotangents["output"])}
    sequences = {key: turn(want[key]) for key in ("output", "gradient to x")}
    return turn(x), cotangents, want | sequences


def check(
    nn: Any,
    layer: Any,
    x: np.ndarray,
    inputs: Arrays,
    cotangents: Arrays,
    want: Arrays,
    ends: Any,
    dtype: str,
) -> None:
    """Compare a layer, or the reverse direction of one with both, with what is wanted."""
    both = bool(layer.bidirectional)
    place, hidden = int(both), layer.hidden_size
    leaves = {"x": tensor(nn, x.astype(dtype))}
    for key in inputs:
        if key != "x":
            states = np.zeros((1 + both, *inputs[key].shape), dtype)
            states[place] = inputs[key]
            leaves[key] = tensor(nn, states)
    outputs = call_layer(layer, leaves["x"], state_of(leaves), lengths=ends)
    chosen = {key: value[place] for key, value in outputs.items() if key != "output"}
    chosen["output"] = outputs["output"][:, :, place * hidden :]
    weighted(nn, chosen, {key: a.astype(dtype) for key, a in cotangents.items()}).backward()
    for key, value in chosen.items():
        agrees(nn, value, want[key], "rnn", call=key, dtype=dtype)
    end = "_l0_reverse" if both else "_l0"
    found = dict(layer.named_parameters()) | leaves
    for key, array in want.items():
        source, _, wanted = key.rpartition(" ")
        if not source:
            continue
        grad = to_numpy(nn, found[wanted if wanted in found else wanted + end].grad)
        grad = grad[place] if wanted in ("h0", "c0") else grad
        agrees(nn, grad, array, "rnn", call=key, dtype=dtype)
    past = np.arange(len(x))[:, None] >= np.asarray(ends)
    exactly(nn, to_numpy(nn, chosen["output"])[past], np.zeros((past.sum(), hidden), dtype))
    exactly(nn, to_numpy(nn, leaves["x"].grad)[past], np.zeros((past.sum(), x.shape[2]), dtype))


def small(nn: Any, name: str, **options: Any) -> tuple[Any, Any]:
    """Return a layer of both directions and an input for it."""
    kind, _, nonlinearity = name.partition("_")
    if nonlinearity:
        options["nonlinearity"] = nonlinearity
    nn.manual_seed(3)
    layer = getattr(nn, kind)(I, H, 2, bidirectional=True, **options)
    return layer, normal((T, N, I), "float32")


@clause("rnn-33")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "kind", ["tuple", "array", "int8", "uint16", "int64", "Tensor", "int32 Tensor", "raw array"]
)
def test_kinds_of_lengths(nn: Any, name: str, kind: str) -> None:
    layer, x = small(nn, name)
    want, _ = layer(nn.tensor(x), lengths=list(ENDS))
    known: dict[str, Any] = {
        "tuple": ENDS,
        "array": np.array(ENDS),
        "Tensor": nn.tensor(list(ENDS)),
        "int32 Tensor": nn.tensor(np.array(ENDS, "int32")),
        "raw array": raw(nn, np.array(ENDS)),
    }
    got, _ = layer(nn.tensor(x), lengths=known[kind] if kind in known else np.array(ENDS, kind))
    exactly(nn, got, to_numpy(nn, want), dtype="float32")


@clause("rnn-33")
@pytest.mark.parametrize("name", NAMES)
def test_lengths_changed_afterwards(nn: Any, name: str) -> None:
    layer, x = small(nn, name)
    ends = np.array(ENDS)
    results = []
    for other in (ENDS, (0, 1, 5, 0)):
        leaf = tensor(nn, x)
        given = ends.copy()
        output, _ = layer(leaf, lengths=given)
        given[:] = other
        nn.ops.sum(output * output).backward()
        results.append((to_numpy(nn, output), to_numpy(nn, leaf.grad)))
    for got, want in zip(results[1], results[0], strict=True):
        exactly(nn, got, want, dtype="float32")


@clause("rnn-33")
@pytest.mark.parametrize("name", NAMES)
def test_all_lengths_full_is_no_lengths(nn: Any, name: str) -> None:
    layer, x = small(nn, name)
    cotangents = {"output": normal((T, N, 2 * H), "float32", seed=4)}
    found = []
    for options in ({}, {"lengths": [T] * N}):
        leaf = tensor(nn, x)
        outputs = call_layer(layer, leaf, **options)
        weighted(nn, outputs, cotangents).backward()
        found.append({key: to_numpy(nn, value) for key, value in outputs.items()})
        found[-1]["gradient"] = to_numpy(nn, leaf.grad)
    for key, want in found[0].items():
        agrees(nn, found[1][key], want, "rnn", call=f"{name}: {key}", dtype="float32")


@clause("rnn-33")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("waste", [np.nan, np.inf])
def test_padding_and_what_arrives_there_do_not_matter(nn: Any, name: str, waste: float) -> None:
    layer, x = small(nn, name, batch_first=True)
    x = np.swapaxes(x, 0, 1)
    past = np.arange(T) >= np.array(ENDS)[:, None]
    weights = normal((N, T, 2 * H), "float32", seed=4)
    found = []
    for filled in (np.float32(0), np.float32(waste)):
        leaf = tensor(nn, np.where(past[..., None], filled, x))
        layer.zero_grad()
        output, _ = layer(leaf, lengths=ENDS)
        output.backward(raw(nn, np.where(past[..., None], filled, weights)))
        slopes = {key: to_numpy(nn, p.grad) for key, p in layer.named_parameters()}
        found.append({"output": to_numpy(nn, output), "x": to_numpy(nn, leaf.grad), **slopes})
    for key, want in found[0].items():
        exactly(nn, found[1][key], want, call=f"{name}: {key}", dtype="float32")
    assert not found[0]["output"][past].any()
    assert not found[0]["x"][past].any()


@clause("rnn-33")
@pytest.mark.parametrize("name", NAMES)
def test_nan_in_one_sequence_stays_there(nn: Any, name: str) -> None:
    layer, x = small(nn, name)
    whole = to_numpy(nn, layer(nn.tensor(x), lengths=ENDS)[0])
    x[1, 1] = np.nan
    output, _ = layer(nn.tensor(x), lengths=ENDS)
    got = to_numpy(nn, output)
    exactly(nn, np.delete(got, 1, axis=1), np.delete(whole, 1, axis=1), dtype="float32")
    assert np.isnan(got[:, 1]).all()


@clause("rnn-33", "rnn-14")
@pytest.mark.parametrize("name", NAMES)
def test_one_sample_takes_one_length(nn: Any, name: str) -> None:
    layer, x = small(nn, name)
    want, _ = layer(nn.tensor(x[:, :1]), lengths=[3])
    ends: list[Any] = [3, np.int64(3), np.array(3, "uint8"), nn.tensor(3)]
    for end in ends:
        output, _ = layer(nn.tensor(x[:, 0]), lengths=end)
        exactly(nn, output, to_numpy(nn, want)[:, 0], dtype="float32")
    with refuses(ValueError, name.partition("_")[0], "lengths", str(())):
        layer(nn.tensor(x[:, 0]), lengths=[3])


@clause("rnn-34")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths_that_do_not_fit(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H)
    x = nn.zeros((T, N, I))
    misshapen: tuple[Any, ...] = ([2, 3], [[1, 2, 3, 4]], 3, [])
    for odd in misshapen:
        with refuses(ValueError, name, "lengths", str((N,)), str(np.shape(odd))):
            layer(x, lengths=odd)
    for wrong in (-1, T + 1, 2**40):
        with refuses(ValueError, name, "lengths", T, wrong):
            layer(x, lengths=[1, wrong, 2, 3])
    for kind in (
        [1.0, 2.0, 3.0, 4.0],
        np.ones(N),
        np.ones(N, bool),
        [True, False, True, True],
        nn.ones(N),
        ["1", "2", "3", "4"],
        "1234",
        object(),
    ):
        with refuses(TypeError, name, "lengths"):
            layer(x, lengths=kind)
    with pytest.raises(TypeError):
        layer(x, None, [1, 2, 3, 4])


@clause("rnn-33", "autograd-20", needs="jit")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths_under_jit(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H, bidirectional=True)
    x = nn.tensor(normal((T, N, I), "float32"))
    traced = nn.jit(lambda value, ends: layer(value, lengths=ends)[0])
    for ends in (ENDS, (5, 5, 1, 0)):
        want, _ = layer(x, lengths=ends)
        agrees(nn, traced(x, nn.tensor(list(ends))), to_numpy(nn, want), "rnn", dtype="float32")


@clause("rnn-34", "autograd-20", needs="jit")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths_out_of_range_under_jit(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H, bidirectional=True)
    x = nn.tensor(normal((T, N, I), "float32"))
    ends = nn.tensor([2, T + 1, 3, -1])

    def call(value: Any, lengths: Any) -> Any:
        outputs = call_layer(layer, value, lengths=lengths)
        return tuple(outputs.values())

    try:
        got, said = nn.jit(call)(x, ends), ""
    except ValueError as error:
        got, said = None, str(error)
    if got is None:
        # Values are known where `jit` does not compile.
        assert "lengths" in said
        return
    known = nn.tensor([2, 0, 3, 0])
    for value, want in zip(got, call(x, known), strict=True):
        array, right = to_numpy(nn, value), to_numpy(nn, want)
        agrees(nn, array[:, [0, 2]], right[:, [0, 2]], "rnn", dtype="float32")
        assert np.isnan(array[:, [1, 3]]).all()
