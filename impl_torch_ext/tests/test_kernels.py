"""The compiled operators: registered as torch wants them, and equal to what they stand for.

Sizes are in the order T steps, N batch, I input size, H hidden size.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tolerances import agree
from torch import Tensor

import impl_torch_ext as nn
from impl_torch_ext.native import build_info, load_native, native
from impl_torch_ext.rnn import (
    GRUFunction,
    LSTMFunction,
    RNNCellFunction,
    RNNFunction,
)

TARGETS = ["avx512", "avx2", "neon", "portable"]
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
# One vector and less, several tiles, sizes that are no multiple of any width, one sample, one step.
SIZES = [
    (1, 1, 1, 1),
    (4, 3, 5, 7),
    (3, 17, 4, 33),
    (6, 1, 2, 64),
    (1, 9, 3, 16),
    (0, 2, 3, 4),
    (2, 0, 3, 4),
]


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return nn.randn(shape, dtype=dtype).as_subclass(torch.Tensor)


def parameters(
    cell: str, input_size: int, hidden_size: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    rows = GATES[cell] * hidden_size
    shapes = ((rows, input_size), (rows, hidden_size), (rows,), (rows,))
    return [draw(*shape, dtype=dtype) / hidden_size**0.5 for shape in shapes]


def sequence(cell: str, steps: int, batch: int, input_size: int, hidden_size: int) -> list[Tensor]:
    """Return inputs of a recurrent Function, all of which require grad."""
    states = [draw(batch, hidden_size) for _ in range(2 if cell == "lstm" else 1)]
    weights = parameters(cell, input_size, hidden_size)
    return [x.requires_grad_() for x in (draw(steps, batch, input_size), *states, *weights)]


def projected(
    steps: int, batch: int, input_size: int, hidden_size: int, size: int, dtype: Any = torch.float64
) -> list[Tensor]:
    """Return those of an LSTM with a projection to `size`."""
    states = [draw(batch, size, dtype=dtype), draw(batch, hidden_size, dtype=dtype)]
    weight_ih, _, *biases = parameters("lstm", input_size, hidden_size, dtype)
    weight_hh = draw(4 * hidden_size, size, dtype=dtype) / size**0.5
    weight_hr = draw(size, hidden_size, dtype=dtype) / hidden_size**0.5
    x = draw(steps, batch, input_size, dtype=dtype)
    inputs = (x, *states, weight_ih, weight_hh, *biases, weight_hr)
    return [y.requires_grad_() for y in inputs]


def falling(steps: int, batch: int) -> Tensor:
    """Return how many samples each step has, the last ones few; some samples have no step."""
    sizes = [max(1, (batch * (steps - t)) // (steps + 1)) for t in range(steps if batch else 0)]
    return torch.tensor(sizes, dtype=torch.int64)


def packed(inputs: list[Tensor], batch_sizes: Tensor) -> list[Tensor]:
    """Return the same inputs with the rows of x that those steps have."""
    x, *others = inputs
    rows = [one[:count] for one, count in zip(x.detach(), batch_sizes.tolist(), strict=False)]
    kept = torch.cat(rows) if rows else x.detach().new_empty((0, x.shape[2]))
    return [kept.requires_grad_(), *others]


@pytest.fixture(autouse=True)
def _seed() -> None:
    nn.manual_seed(0)


def choices(dtype: torch.dtype) -> list[tuple[Any, tuple[Any, ...]]]:
    """The operators that choose, with arguments for them."""
    listed: list[tuple[Any, tuple[Any, ...]]] = [
        (native.relu.default, (draw(3, 4, dtype=dtype).requires_grad_(),)),
        (native.relu.default, (draw(4, 3, dtype=dtype).mT,)),
        (
            native.relu_backward.default,
            (draw(3, 4, dtype=dtype).requires_grad_(), draw(3, 4, dtype=dtype)),
        ),
    ]
    matrix, other = draw(3, 4, dtype=dtype).requires_grad_(), draw(4, dtype=dtype).requires_grad_()
    listed += [
        (native.absolute.default, (matrix,)),
        (native.clamp.default, (matrix, -0.5, None)),
        (native.clamp.default, (matrix, -0.5, 0.5)),
        (native.extremum.default, (matrix, other, True)),
        (native.extremum.default, (other, matrix, False)),
        (native.extreme.default, (matrix, [1], False, True)),
        (native.extreme.default, (matrix, [], True, False)),
    ]
    index = torch.tensor([[0, 2], [-1, 0]])
    listed += [
        (native.gather.default, (matrix, index, 1)),
        (native.gather_backward.default, (other, index.reshape(-1), 0, 3)),
    ]
    return listed


def recurrences(dtype: torch.dtype) -> list[tuple[Any, tuple[Any, ...]]]:
    """The operators of the linear recurrence, with and without a first state."""
    a, b, g = (draw(2, 3, 4, dtype=dtype) for _ in range(3))
    first = draw(2, 4, dtype=dtype)
    forward, backward = (
        native.linear_recurrence.default,
        native.linear_recurrence_backward.default,
    )
    return [
        (forward, (a, b, first, 1, False)),
        (forward, (a, b.mT.contiguous().mT, None, 2, True)),
        (backward, (g, a, b, first, 1, True, [True] * 3)),
        (backward, (g, a, b, None, 0, False, [True, False, False])),
    ]


def projections(dtype: torch.dtype) -> list[tuple[Any, tuple[Any, ...]]]:
    """The operators of a projection, which also run packed and in reverse."""
    steps, batch, size = 3, 2, 2
    inputs = [x.detach() for x in projected(steps, batch, 4, 5, size, dtype)]
    listed: list[tuple[Any, tuple[Any, ...]]] = []
    for given, order in (
        (inputs, (None, False)),
        (packed(inputs, torch.tensor([2, 1, 1])), (torch.tensor([2, 1, 1]), True)),
    ):
        given = [x.detach() for x in given]
        output, _, _, *kept = native.projected_lstm_forward(*given, True, *order)
        saved = (*given[:5], given[7], output, *kept)
        g, g_h, g_c = (torch.ones_like(y) for y in (output, given[1], given[2]))
        backward = native.projected_lstm_backward.default
        listed += [
            (native.projected_lstm_forward.default, (*given, keep, *order))
            for keep in (False, True)
        ]
        listed += [
            (backward, (g, g_h, g_c, *saved, [True] * 7, *order)),
            (backward, (None, None, g_c, *saved, [True, False] * 3 + [False], *order)),
        ]
    return listed


def calls(dtype: torch.dtype) -> list[tuple[Any, tuple[Any, ...]]]:
    """Every operator with arguments for it, with and without what is optional."""
    steps, batch, input_size, hidden_size = 3, 2, 4, 5
    state = (batch, hidden_size)
    x, h, c = (
        draw(steps, batch, input_size, dtype=dtype),
        draw(*state, dtype=dtype),
        draw(*state, dtype=dtype),
    )
    g, g_h = draw(steps, *state, dtype=dtype), draw(*state, dtype=dtype)
    listed = choices(dtype) + recurrences(dtype)
    rnn, lstm, gru = (parameters(cell, input_size, hidden_size, dtype) for cell in GATES)
    for relu in (False, True):
        output, _ = native.rnn_forward(x, h, *rnn, relu)
        step = native.rnn_step(x[0], h, *rnn, relu)
        listed += [
            (native.rnn_step.default, (x[0], h, *rnn[:2], None, None, relu)),
            (native.rnn_step_backward.default, (g_h, x[0], h, *rnn[:2], step, relu, [True] * 5)),
            (native.rnn_forward.default, (x, h, *rnn, relu)),
            (native.rnn_backward.default, (g, None, x, h, *rnn[:2], output, relu, [True] * 5)),
            (
                native.rnn_backward.default,
                (None, g_h, x, h, *rnn[:2], output, relu, [False, True] * 2 + [False]),
            ),
        ]
    output, _, _, gates, cells = native.lstm_forward(x, h, c, *lstm, True)
    saved = (x, h, c, *lstm[:2], output, gates, cells)
    listed += [(native.lstm_forward.default, (x, h, c, *lstm, keep)) for keep in (False, True)]
    listed += [
        (native.lstm_backward.default, (g, g_h, g_h, *saved, [True] * 6)),
        (native.lstm_backward.default, (None, None, g_h, *saved, [True, False] * 3)),
        (native.lstm_backward.default, (None, None, None, *saved, [True] * 6, None, False, g)),
    ]
    listed += projections(dtype)
    output, _, gates = native.gru_forward(x, h, *gru, True)
    saved = (x, h, *gru[:2], output, gates)
    listed += [(native.gru_forward.default, (x, h, *gru, keep)) for keep in (False, True)]
    listed += [
        (native.gru_backward.default, (g, g_h, *saved, [True] * 6)),
        (native.gru_backward.default, (g, None, *saved, [False, True] * 3)),
    ]
    return listed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype: torch.dtype) -> None:
    for operator, arguments in calls(dtype):
        torch.library.opcheck(operator, arguments)


def test_every_operator_is_checked() -> None:
    checked = {operator.name() for operator, _ in calls(torch.float32)}
    there = {
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("impl_torch_ext::")
    }
    # Two are about leaves of a graph, which a trace has none of, others about the library. One
    # draws random numbers, and of the other the sizes are unknown: see test_operators.
    others = {"rows", "share_version", "target", "targets", "has_openmp", "record_teams"}
    others |= {"draw_kept", "packing"}
    # And these two walk a graph: see test_tools.
    others |= {"nodes_of", "check_gradients"}
    assert checked == there - {f"impl_torch_ext::{name}" for name in others}


FUSED = {
    "rnn-tanh": ("rnn", RNNFunction, {"relu": False}),
    "rnn-relu": ("rnn", RNNFunction, {"relu": True}),
    "lstm": ("lstm", LSTMFunction, {}),
    "lstm-cells": ("lstm", LSTMFunction, {"cells": True}),
    "gru": ("gru", GRUFunction, {}),
}


def compare(function: Any, inputs: list[Tensor], config: dict[str, Any]) -> None:
    """Compare values and gradients of a Function with those of its composite."""
    fused, composed = function.apply(*inputs, **config), function.composite(*inputs, **config)
    # Without a step the composed output is a constant.
    cotangents = [draw(*y.shape) for y in fused]
    grads = []
    for outputs in (fused, composed):
        pairs = [(y, g) for y, g in zip(outputs, cotangents, strict=True) if y.requires_grad]
        grads.append(
            torch.autograd.grad(
                [y for y, _ in pairs],
                inputs,
                [g for _, g in pairs],
                allow_unused=True,
                materialize_grads=True,
            )
        )
    for got, wanted in zip((*fused, *grads[0]), (*composed, *grads[1]), strict=True):
        agree(got, wanted, "rnn")
    with nn.no_grad():  # The LSTM then keeps one c alone.
        for got, wanted in zip(function.apply(*inputs, **config), fused, strict=True):
            assert torch.equal(got, wanted)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "packed"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", [*FUSED, "projected"])
def test_fused_equals_composed(
    name: str, sizes: tuple[int, int, int, int], whole: bool, reverse: bool
) -> None:
    cell, function, config = FUSED.get(name, ("lstm", LSTMFunction, {}))
    inputs = sequence(cell, *sizes) if name in FUSED else projected(*sizes, sizes[3] // 2 + 1)
    if whole:
        compare(function, inputs, {**config, "reverse": reverse})
    else:
        batch_sizes = falling(*sizes[:2])
        inputs = packed(inputs, batch_sizes)
        compare(function, inputs, {**config, "reverse": reverse, "batch_sizes": batch_sizes})


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "packed"])
@pytest.mark.parametrize("name", [*FUSED, "projected"])
def test_chunks_of_a_long_sequence_meet(name: str, whole: bool, reverse: bool) -> None:
    cell, function, config = FUSED.get(name, ("lstm", LSTMFunction, {}))
    # 4 H N = 2**17 elements a step: chunks of eight steps, one of them short.
    sizes = (19, 128, 3, 256)
    inputs = sequence(cell, *sizes) if name in FUSED else projected(*sizes, 40)
    config = {**config, "reverse": reverse}
    if not whole:
        config["batch_sizes"] = falling(*sizes[:2])
        inputs = packed(inputs, config["batch_sizes"])
    results = []
    for run in (function.apply, function.composite):
        outputs = run(*inputs, **config)
        results.append((*outputs, *torch.autograd.grad([y.sum() for y in outputs], inputs)))
    for got, wanted in zip(*results, strict=True):
        agree(got, wanted, "rnn")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([2, 3], "must be positive, not rise and start with at most 3, got 3 at step 1"),
        ([4, 1], "got 4 at step 0"),
        ([3, 2, 0], "got 0 at step 2"),
        ([3, 1], "x must have as many rows as batch_sizes has in all, 4, got 5"),
        ([[3, 2]], "batch_sizes must have shape"),
    ],
    ids=str,
)
def test_batch_sizes_that_do_not_fit_raise(sizes: list[Any], message: str) -> None:
    x, h, weights = draw(5, 4), draw(3, 5), parameters("gru", 4, 5)
    with pytest.raises(ValueError, match=message):
        native.gru_forward(x, h, *weights, True, torch.tensor(sizes))
    with pytest.raises(TypeError, match="batch_sizes must be int64"):
        native.gru_forward(x, h, *weights, True, torch.tensor([3, 2], dtype=torch.int32))


@pytest.mark.parametrize("relu", [False, True])
def test_step_equals_composed(relu: bool) -> None:
    inputs = [x.requires_grad_() for x in (draw(3, 4), draw(3, 5), *parameters("rnn", 4, 5))]
    results = []
    for run in (RNNCellFunction.apply, RNNCellFunction.composite):
        h = run(*inputs, relu=relu)
        results.append((h, *torch.autograd.grad(h.square().sum(), inputs)))
    for got, wanted in zip(*results, strict=True):
        agree(got, wanted, "rnn")


@pytest.mark.parametrize("name", FUSED)
def test_a_nan_reaches_the_output_and_no_other_sample(name: str) -> None:
    cell, function, config = FUSED[name]
    x = draw(3, 4, 2)
    x[1, 2, 0] = torch.nan
    states = [draw(4, 5) for _ in range(2 if cell == "lstm" else 1)]
    output = function.apply(x, *states, *parameters(cell, 2, 5), **config)[0]
    assert output[1:, 2].isnan().all()
    assert output[:, [0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("name", FUSED)
def test_saturated_gates_are_finite(name: str) -> None:
    cell, function, config = FUSED[name]
    x, *others = sequence(cell, 3, 4, 2, 5)
    inputs = [(x * 1000).detach().requires_grad_(), *others]
    outputs, composed = function.apply(*inputs, **config), function.composite(*inputs, **config)
    for got, wanted in zip(outputs, composed, strict=True):
        agree(got, wanted, "rnn")
    assert all(
        g.isfinite().all() for g in torch.autograd.grad(outputs[0].sum(), inputs, allow_unused=True)
    )


def test_results_do_not_change_from_call_to_call() -> None:
    layer, x = nn.LSTM(8, 16), nn.randn((20, 7, 8))
    first = layer(x)[0]
    nn.GRU(3, 40)(nn.randn((5, 9, 3)))
    assert torch.equal(first, layer(x)[0])


def test_wrong_arguments_of_operators_raise() -> None:
    x, h, weights = draw(2, 3, 4), draw(3, 5), parameters("gru", 4, 5)
    with pytest.raises(ValueError, match="gru_forward: h0 must have shape"):
        native.gru_forward(x, h[:2], *weights, True)
    with pytest.raises(TypeError, match="gru_forward: weight_ih must have dtype"):
        native.gru_forward(x, h, weights[0].float(), *weights[1:], True)


@pytest.mark.parametrize("target", TARGETS)
def test_every_instruction_set(target: str) -> None:
    """In a process of their own, as the choice is made once."""
    if target not in native.targets():
        pytest.skip(f"this machine has {native.targets()} alone")
    tests = "test_fused_equals_composed or test_saturated or test_a_nan or test_step or bit_for_bit"
    files = [__file__, str(Path(__file__).with_name("test_threads.py"))]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", tests, *files],
        env={**os.environ, "IMPL_TORCH_EXT_TARGET": target},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_targets_are_those_of_the_tests() -> None:
    assert set(native.targets()) <= set(TARGETS)
    assert build_info()["target"] in native.targets()


def test_an_unknown_instruction_set_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import impl_torch_ext"],
        env={**os.environ, "IMPL_TORCH_EXT_TARGET": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "IMPL_TORCH_EXT_TARGET must be one of" in done.stderr
    assert "portable on this machine, got 'sse9'" in done.stderr


def test_a_missing_library_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="pip install --no-build-isolation") as caught:
        load_native(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_library_of_another_kind_says_so(tmp_path: Path) -> None:
    (tmp_path / "_C.so").write_text("no library")
    with pytest.raises(ImportError, match="build it again") as caught:
        load_native(tmp_path)
    assert "\n" not in str(caught.value)
