"""The chapter ``rnn``: several episodes in one sequence.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.recurrent import call_layer, squares, weighted

pytestmark = pytest.mark.sampled(4)

T, N, I, H = 5, 3, 2, 3  # noqa: E741 - the letters of the chapter
MASK = np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
ENDS = (4, 3, 0)
CASES: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    ("GRU", {"bidirectional": True}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
]
Arrays = dict[str, np.ndarray]


def layer_of(nn: Any, name: str, dtype: str, **options: Any) -> Any:
    """Return a layer with drawn parameters."""
    nn.manual_seed(17)
    return getattr(nn, name)(I, H, dtype=getattr(nn, dtype), **options)


def numbers(layer: Any, dtype: str) -> tuple[Arrays, Arrays]:
    """Return an input with the states of a call and of resets, and the outputs' cotangents."""
    count = layer.num_layers * (1 + layer.bidirectional)
    out = getattr(layer, "proj_size", 0) or H
    sizes = {"h": out, "c": H} if type(layer).__name__ == "LSTM" else {"h": H}
    drawn = {"x": normal((T, N, I), dtype, seed=1)}
    for place, (key, size) in enumerate(sizes.items()):
        drawn[f"{key}0"] = normal((count, N, size), dtype, seed=2 + place)
        drawn[f"reset {key}0"] = normal((count, N, size), dtype, seed=4 + place)
        drawn[f"{key}_n"] = normal((count, N, size), dtype, seed=6 + place)
    drawn["output"] = normal((T, N, out * (1 + layer.bidirectional)), dtype, seed=8)
    inputs = {key: array for key, array in drawn.items() if key == "x" or key.endswith("0")}
    return inputs, {key: array for key, array in drawn.items() if key not in inputs}


def paired(states: list[Any]) -> Any:
    """Return states as a call takes them."""
    return tuple(states) if len(states) > 1 else states[0]


def by_stretches(nn: Any, layer: Any, leaves: dict[str, Any], ends: Any) -> dict[str, Any]:
    """Run every stretch of steps by itself, and put together what comes."""
    keys = [key for key in ("h0", "c0") if key in leaves]
    both = layer.bidirectional
    columns, last = [], []
    for n, end in enumerate(ends):
        starts = [0, *(t for t in range(1, end) if MASK[t, n])]
        stops = [*starts[1:], end]
        outputs, after = [], []
        for start, stop in zip(starts, stops, strict=True):
            states = []
            for key in keys:
                usual, anew = leaves[key][:, n : n + 1], leaves[f"reset {key}"][:, n : n + 1]
                fresh = start > 0 or (end > 0 and bool(MASK[0, n]))
                # By layer and direction: where that direction begins with the given state.
                rows = []
                for row in range(usual.shape[0]):
                    turned = both and row % 2 == 1
                    renewed = stop < end if turned else fresh
                    rows.append((anew if renewed else usual)[row : row + 1])
                states.append(nn.ops.concat(rows, axis=0))
            found = call_layer(layer, leaves["x"][start:stop, n : n + 1], paired(states))
            outputs.append(found.pop("output"))
            after.append(list(found.values()))
        padding = nn.zeros((T - end, 1, outputs[0].shape[2]), dtype=leaves["x"].dtype)
        columns.append(nn.ops.concat([*outputs, padding], axis=0))
        last.append(
            [
                nn.ops.concat(
                    [
                        (first if both and row % 2 else final)[row : row + 1]
                        for row in range(first.shape[0])
                    ],
                    axis=0,
                )
                for first, final in zip(after[0], after[-1], strict=True)
            ]
        )
    joined = [nn.ops.concat(list(states), axis=1) for states in zip(*last, strict=True)]
    names = ("h_n", "c_n")[: len(joined)]
    return {"output": nn.ops.concat(columns, axis=1), **dict(zip(names, joined, strict=True))}


def whole(nn: Any, layer: Any, leaves: dict[str, Any], ends: Any) -> dict[str, Any]:
    """Call the layer once."""
    keys = [key for key in ("h0", "c0") if key in leaves]
    return call_layer(
        layer,
        leaves["x"],
        paired([leaves[key] for key in keys]),
        reset_mask=MASK,
        reset_state=paired([leaves[f"reset {key}"] for key in keys]),
        **({} if ends is None else {"lengths": ends}),
    )


@clause("rnn-37")
@pytest.mark.sampled(10)
@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("ends", [None, ENDS])
def test_every_stretch_is_as_if_alone(
    nn: Any, dtype: str, name: str, options: dict[str, Any], ends: Any
) -> None:
    layer = layer_of(nn, name, dtype, **options)
    inputs, cotangents = numbers(layer, dtype)
    found = []
    for call in (whole, by_stretches):
        layer.zero_grad()
        leaves = {key: tensor(nn, array) for key, array in inputs.items()}
        outputs = call(nn, layer, leaves, ends if call is whole else ends or (T,) * N)
        weighted(nn, outputs, cotangents).backward()
        leaves |= dict(layer.named_parameters())
        values = {key: to_numpy(nn, outputs[key]) for key in cotangents}
        slopes = {f"gradient to {key}": to_numpy(nn, leaf.grad) for key, leaf in leaves.items()}
        found.append(values | slopes)
    for key, want in found[1].items():
        agrees(nn, found[0][key], want, "rnn", call=f"{name}({options}), lengths {ends}: {key}")


@clause("rnn-37", "rnn-17")
@pytest.mark.sampled(10, first=2)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_second_derivative(nn: Any, dtype: str, name: str, options: dict[str, Any]) -> None:
    layer = layer_of(nn, name, dtype, **options)
    inputs, cotangents = numbers(layer, dtype)
    found = []
    for call in (whole, by_stretches):
        leaves = {key: tensor(nn, array) for key, array in inputs.items()}
        outputs = call(nn, layer, leaves, ENDS)
        weighted(nn, outputs, cotangents).backward(create_graph=True)
        penalty = squares(nn, [leaf.grad for leaf in leaves.values()])
        layer.zero_grad()
        penalty.backward()
        # What the penalty does not depend on may have none.
        zeros = {key: np.zeros(p.shape, dtype) for key, p in layer.named_parameters()}
        slopes = {key: p.grad for key, p in layer.named_parameters() if p.grad is not None}
        found.append(zeros | {key: to_numpy(nn, slope) for key, slope in slopes.items()})
    for key, want in found[1].items():
        agrees(nn, found[0][key], want, "rnn", call=f"{name}({options}): {key}")


@pytest.mark.sampled(6)
@clause("rnn-37")
@pytest.mark.parametrize(("name", "options"), CASES)
def test_layouts_and_kinds(nn: Any, name: str, options: dict[str, Any]) -> None:
    usual, turned = (
        layer_of(nn, name, "float32", batch_first=first, **options) for first in (False, True)
    )
    x = normal((T, N, I), "float32")
    want = to_numpy(nn, usual(nn.tensor(x), reset_mask=MASK)[0])
    for mask in (MASK.tolist(), nn.tensor(MASK), raw(nn, MASK)):
        exactly(nn, usual(nn.tensor(x), reset_mask=mask)[0], want, dtype="float32")
    across, _ = turned(nn.tensor(np.swapaxes(x, 0, 1)), reset_mask=MASK.T)
    exactly(nn, across, np.swapaxes(want, 0, 1), dtype="float32")
    single, _ = usual(nn.tensor(x[:, 0]), reset_mask=MASK[:, 0])
    agrees(nn, single, want[:, 0], "rnn", dtype="float32")
    none, _ = usual(nn.tensor(x), reset_mask=np.zeros((T, N), bool))
    agrees(nn, none, to_numpy(nn, usual(nn.tensor(x))[0]), "rnn", dtype="float32")


@clause("rnn-37")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_mask_changed_afterwards(nn: Any, name: str) -> None:
    layer = layer_of(nn, name, "float32")
    found = []
    for other in (MASK, ~MASK):
        leaf, mask = tensor(nn, normal((T, N, I), "float32")), MASK.copy()
        output, _ = layer(leaf, reset_mask=mask)
        mask[:] = other
        nn.ops.sum(output * output).backward()
        found.append(to_numpy(nn, leaf.grad))
    exactly(nn, found[1], found[0], dtype="float32")


@clause("rnn-37")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_dropout_draws_as_without_resets(nn: Any, name: str) -> None:
    layer = layer_of(nn, name, "float32", num_layers=2, dropout=0.5)
    x, blank = nn.tensor(normal((T, N, I), "float32")), np.zeros((T, N), bool)
    results = []
    for options in ({}, {"reset_mask": blank}):
        nn.manual_seed(4)
        results.append(to_numpy(nn, layer(x, **options)[0]))
        drawn = Draws(4).units(T * N * H + 3)[T * N * H :].astype("float32")
        exactly(nn, nn.init.uniform_(nn.zeros(3)), drawn)
    agrees(nn, results[1], results[0], "rnn", dtype="float32")
    kept = Draws(4).units(T * N * H).reshape(T, N, H) >= 0.5
    nn.manual_seed(4)
    output, _ = layer(x, reset_mask=MASK)
    below, above = (getattr(nn, name)(width, H) for width in (I, H))
    for place, single in enumerate((below, above)):
        state = layer.state_dict().items()
        single.load_state_dict(
            {key.replace(f"l{place}", "l0"): p for key, p in state if f"l{place}" in key}
        )
    middle = nn.ops.where(nn.tensor(kept), below(x, reset_mask=MASK)[0] * 2, nn.zeros((T, N, H)))
    agrees(nn, output, to_numpy(nn, above(middle, reset_mask=MASK)[0]), "rnn", dtype="float32")


@clause("rnn-37", "autograd-20", needs="jit")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_resets_under_jit(nn: Any, name: str) -> None:
    layer = layer_of(nn, name, "float32", bidirectional=True)
    x = nn.tensor(normal((T, N, I), "float32"))
    traced = nn.jit(lambda value, mask: layer(value, reset_mask=mask)[0])
    for mask in (MASK, ~MASK):
        want, _ = layer(x, reset_mask=mask)
        agrees(nn, traced(x, nn.tensor(mask)), to_numpy(nn, want), "rnn", dtype="float32")


@clause("rnn-38")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_what_does_not_fit(nn: Any, name: str) -> None:
    layer = layer_of(nn, name, "float32")
    x = nn.zeros((T, N, I))
    for shape in ((N, T), (T,), (T, N, 1), (T + 1, N)):
        with refuses(ValueError, name, "reset_mask", str((T, N)), str(shape)):
            layer(x, reset_mask=np.zeros(shape, bool))
    odd: tuple[Any, ...] = (np.zeros((T, N)), np.zeros((T, N), int), nn.zeros((T, N)), "mask", 3.5)
    for mask in odd:
        with refuses(TypeError, name, "reset_mask"):
            layer(x, reset_mask=mask)
    fits = nn.zeros((1, N, H))
    for wrong in ((1, N, H + 1), (2, N, H)):
        state = nn.zeros(wrong)
        with refuses(ValueError, name, "reset", str((1, N, H)), str(wrong)):
            given = (state, fits) if name == "LSTM" else state
            layer(x, reset_mask=MASK, reset_state=given)
    with refuses(ValueError, name, "reset_state", "reset_mask"):
        layer(x, reset_state=(fits, fits) if name == "LSTM" else fits)
    with pytest.raises(TypeError):
        layer(x, None, None, MASK)
