"""What unroll asks of the device, and what the Modules of a cell go through.

T, N, K, H: steps, batch, input size, hidden size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.backend import EMULATED

if EMULATED:
    from cupy_emulation import kernel_launches, launches, reset_launches

T, N, K, H = 12, 3, 4, 5
CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


def subclass(cell: type[Any]) -> type[Any]:
    """Return a class of its own, which is run step by step."""
    return type("Own", (cell,), {})


def flat(state: Any) -> list[Any]:
    return list(state) if isinstance(state, tuple) else [state]


@pytest.mark.skipif(not EMULATED, reason="only the emulation counts launches")
@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_a_step_is_one_product_and_one_kernel(name: str, is_own: bool) -> None:
    cell = (subclass(CELLS[name]) if is_own else CELLS[name])(K, H)
    x = nn.randn((T, N, K), requires_grad=True)
    reset_launches()
    output, _ = nn.rnn.unroll(cell, x)
    assert kernel_launches()[f"{name}_forward_float"] == launches("raw") == T
    assert launches("gemm") == T + 1
    assert launches() <= 2 * T + 12
    seed = nn.ones(output.shape)
    reset_launches()
    output.backward(seed)
    assert kernel_launches()[f"{name}_backward_float"] == T
    # In a step of its own the weight's gradient is one product more, and is added up.
    assert launches("gemm") <= (2 if is_own else 1) * T + 3
    assert launches() <= (9 if is_own else 2) * T + 12


@pytest.mark.parametrize("options", [{}, {"lengths": [12, 0, 7]}, {"checkpoint": 5}], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_both_ways_agree(name: str, options: dict[str, Any]) -> None:
    nn.manual_seed(1)
    whole = CELLS[name](K, H, dtype=nn.float64)
    single = subclass(CELLS[name])(K, H, dtype=nn.float64)
    single.load_state_dict(whole.state_dict())
    mask = np.random.default_rng(0).random((T, N)) < 0.3
    found = []
    for cell in (whole, single):
        x = nn.tensor(np.random.default_rng(1).normal(size=(T, N, K)), requires_grad=True)
        output, state = nn.rnn.unroll(cell, x, reset_mask=mask, **options)
        sum((nn.ops.sum(part * part) for part in flat(state)), nn.ops.sum(output)).backward()
        leaves = [x, *cell.parameters()]
        found.append([output, *flat(state), *(leaf.grad for leaf in leaves)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-10)


class Counting(nn.Module):
    """Its steps depend on how many there were, and it remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(K, K, dtype=nn.float64)
        self.count = 0
        self.seen: list[int] = []

    def forward(self, x: Any, state: Any) -> Any:
        self.count += 1
        self.seen.append(self.count)
        return nn.ops.tanh(self.linear(x)) * self.count + (0.0 if state is None else 0.5 * state)


def test_a_cell_that_counts_its_steps_may_be_checkpointed() -> None:
    cell, found = Counting(), []
    for checkpoint in (None, 5):
        cell.count, cell.seen = 0, []
        cell.zero_grad()
        seen = cell.seen
        x = nn.tensor(np.linspace(-1, 1, T * N * K).reshape(T, N, K), requires_grad=True)
        output, _ = nn.rnn.unroll(cell, x, checkpoint=checkpoint)
        nn.ops.sum(output * output).backward()
        assert cell.count == T
        assert cell.seen is seen
        assert seen == list(range(1, T + 1))
        assert x.grad is not None
        assert cell.linear.weight.grad is not None
        found.append((x.grad.numpy(), cell.linear.weight.grad.numpy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_parameters_that_a_call_put_in_place_are_there_again() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(K, 1)

        def forward(self, x: Any, again: bool) -> Any:
            result = nn.checkpoint(lambda x: self.linear(x), x) if again else self.linear(x)
            return nn.ops.sum(nn.ops.tanh(result))

    net, x = Net(), nn.randn((N, K))
    given = {name: value * 2 for name, value in net.state_dict().items()}
    wanted, got = (
        nn.grad(lambda p, again=again: nn.functional_call(net, p, x, again))(given)
        for again in (False, True)
    )
    for name in given:
        np.testing.assert_allclose(got[name].numpy(), wanted[name].numpy(), rtol=1e-6)


def test_an_instance_with_methods_of_its_own_is_run_by_them() -> None:
    cell: Any = nn.LSTMCell(K, H)
    cell.output = lambda state: state[1]
    x = nn.randn((T, N, K))
    output, (_, c) = nn.rnn.unroll(cell, x)
    assert output[-1].tolist() == c.tolist()
