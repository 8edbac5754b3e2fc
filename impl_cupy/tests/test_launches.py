"""How much the device is asked to do: per step one matrix product and one kernel, each way."""

from __future__ import annotations

from typing import Any

import pytest

import impl_cupy as nn
from impl_cupy.backend import EMULATED

if EMULATED:
    from cupy_emulation import kernel_launches, launches, reset_launches

pytestmark = pytest.mark.skipif(not EMULATED, reason="only the emulation counts launches")

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
STEPS = [0, 1, 2, 19]


def call(name: str, steps: int, batch_first: bool) -> Any:
    layer: Any = LAYERS[name](3, 5, batch_first=batch_first)
    x = nn.randn((2, steps, 3) if batch_first else (steps, 2, 3), requires_grad=True)
    state: Any = nn.zeros((1, 2, 5), requires_grad=True)
    if name == "lstm":
        state = (state, nn.zeros((1, 2, 5), requires_grad=True))
    reset_launches()
    return layer(x, state)[0]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", LAYERS)
def test_forward(name: str, steps: int, batch_first: bool) -> None:
    call(name, steps, batch_first)
    assert kernel_launches().get(f"{name}_forward_float", 0) == launches("raw") == steps
    assert launches("gemm") == steps + 1
    # Copies of the first states into their place, and of the last ones out of it.
    assert launches() <= 2 * steps + 7


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", LAYERS)
def test_backward(name: str, steps: int, batch_first: bool) -> None:
    output = call(name, steps, batch_first)
    seed = nn.ones(output.shape)
    reset_launches()
    output.backward(seed)
    assert kernel_launches().get(f"{name}_backward_float", 0) == launches("raw") == steps
    assert launches("gemm") == steps + 3
    assert launches() <= 2 * steps + 10


@pytest.mark.parametrize("name", LAYERS)
def test_an_input_that_needs_no_gradient_costs_nothing(name: str) -> None:
    layer: Any = LAYERS[name](3, 5).requires_grad_(False)
    layer.bias_ih_l0.requires_grad_()
    output, _ = layer(nn.randn((4, 2, 3)))
    reset_launches()
    output.backward(nn.ones(output.shape))
    # Three steps' products lead from one step to the one before; no weight's gradient is formed.
    assert launches("gemm") == 3
    assert launches("reduction") == 1
    assert layer.weight_ih_l0.grad is None


LENGTHS = [[4, 0, 2], [3, 3, 3], [0, 0, 0], [7, 7, 7], [1, 7, 6]]


def measured(layer: Any, lengths: Any, steps: int = 7) -> tuple[dict[str, int], dict[str, int]]:
    """Return how often each kind of work was launched, forward and backward."""
    x = nn.randn((steps, 3, 3), requires_grad=True)
    found = []
    reset_launches()
    output = layer(x, lengths=lengths)[0]
    for _ in range(2):
        found.append({kind: launches(kind) for kind in ("raw", "gemm", "other")})
        found[-1]["all"] = launches()
        seed = nn.ones(output.shape)
        reset_launches()
        if len(found) == 1:
            output.backward(seed)
    return found[0], found[1]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_lengths_run_the_steps_of_the_longest(name: str, lengths: list[int]) -> None:
    forward, backward = measured(LAYERS[name](3, 5), lengths)
    longest = max(lengths)
    assert forward["raw"] == backward["raw"] == longest
    assert forward["gemm"] == longest + 1
    # The product that leads to the first state is left out: it needs no gradient.
    assert backward["gemm"] == max(0, longest - 1) + 3
    # The input is gathered and the output put back once, into zeros; of each state there are zeros
    # to begin with, the first ones in their order and the last.
    states = 2 if name == "lstm" else 1
    assert forward["other"] <= 3 + 3 * states
    assert forward["all"] <= 2 * longest + 16
    assert backward["all"] <= 2 * longest + 14


@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_directions_and_layers_cost_what_one_costs(name: str, lengths: Any) -> None:
    one = measured(LAYERS[name](3, 5), lengths)
    many = measured(LAYERS[name](3, 5, 3, bidirectional=True), lengths)
    for single, whole in zip(one, many, strict=True):
        assert whole["raw"] == 6 * single["raw"]
        # Outputs and states are joined, and gradients taken apart; the lengths are copied once.
        assert whole["all"] <= 6 * single["all"] + 20
    assert many[0]["gemm"] == 6 * one[0]["gemm"]


@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=str)
def test_a_projection_is_one_product_more_a_step(lengths: Any) -> None:
    steps = 4 if lengths else 7
    plain, projected = (measured(nn.LSTM(3, 5, proj_size=size), lengths) for size in (0, 2))
    for one, more in zip(plain, projected, strict=True):
        assert more["raw"] == one["raw"] == steps
    assert projected[0]["gemm"] == plain[0]["gemm"] + steps
    # Besides, the output's gradient is brought to what was projected, and W_hr has one.
    assert projected[1]["gemm"] == plain[1]["gemm"] + steps + 2
    assert projected[0]["all"] - plain[0]["all"] <= steps + 4
    assert projected[1]["all"] - plain[1]["all"] <= steps + 6


def test_an_optimizer_step_is_one_kernel_a_parameter() -> None:
    layer = nn.Linear(3, 2)
    nn.ops.sum(layer(nn.ones((4, 3)))).backward()
    optimizer = nn.optim.Adam(layer.parameters())
    optimizer.step()
    reset_launches()
    optimizer.step()
    assert kernel_launches() == {"adam_step_float": 2}
    assert launches() == 2


ELEMENTS = (
    "positive reciprocal expm1 log1p log2 log10 tan asin acos atan sinh cosh asinh acosh atanh erf "
    "silu softplus leaky_relu elu gelu ceil floor trunc round"
).split()
PAIRS = ("atan2", "hypot", "logaddexp", "copysign", "remainder", "floor_divide")


@pytest.mark.parametrize("name", [*ELEMENTS, *PAIRS])
def test_a_function_of_elements_is_one_launch_each_way(name: str) -> None:
    operands = [nn.full((2, 3), 0.5, requires_grad=True) for _ in range(1 + (name in PAIRS))]
    for leaf in operands:
        nn.ops.sum(leaf).backward()
    reset_launches()
    output = getattr(nn.ops, name)(*operands)
    assert launches() == 1
    seed = nn.ones((2, 3))
    reset_launches()
    output.backward(seed)
    # One adds to what the leaf has already.
    assert launches() <= 2 * len(operands)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_recurrence_is_one_launch_each_way(axis: int) -> None:
    shape = (4, 5, 6)
    first = shape[:axis] + shape[axis + 1 :]
    leaves = [nn.full(sizes, 0.5, requires_grad=True) for sizes in (shape, shape, first)]
    reset_launches()
    output = nn.ops.linear_recurrence(*leaves, axis=axis)
    assert kernel_launches() == {"recurrence_forward_float": 1}
    assert launches() == 1
    seed = nn.ones(shape)
    reset_launches()
    output.backward(seed)
    assert kernel_launches() == {"recurrence_backward_float": 1}
    assert launches() == 1


def test_cell_states_cost_no_launch() -> None:
    layer, x = nn.LSTM(3, 5), nn.randn((7, 3, 3))
    found = []
    for wanted in (False, True):
        reset_launches()
        layer(x, return_cell_states=wanted)
        found.append(launches())
    assert found[0] == found[1]


def test_a_norm_is_one_launch_and_adds_up_its_parameters() -> None:
    layer, x = nn.LayerNorm(33), nn.randn((5, 33), requires_grad=True)
    reset_launches()
    output = layer(x)
    assert launches() == 1
    seed = nn.ones(output.shape)
    reset_launches()
    output.backward(seed)
    assert launches("reduction") == 2
    assert launches() == 3


@pytest.mark.parametrize(
    ("cell", "forward", "backward"),
    [(nn.LayerNormLSTMCell, 5, 18), (nn.LayerNormGRUCell, 7, 23), (nn.PeepholeLSTMCell, 3, 10)],
)
def test_launches_of_a_variant(cell: Any, forward: int, backward: int) -> None:
    steps, x = 12, nn.randn((12, 3, 4), requires_grad=True)
    made = cell(4, 40)
    reset_launches()
    output, _ = nn.rnn.unroll(made, x)
    assert launches() <= forward * steps + 12
    seed = nn.ones(output.shape)
    reset_launches()
    output.backward(seed)
    assert launches() <= backward * steps + 12
