"""A plain cell under unroll is one Function; a subclass of it is a loop with the same results."""

from typing import Any

import pytest
import torch
from torch import Tensor

import impl_torch_ext as nn

CELLS = {
    "RNNCell": {},
    "RNNCell relu": {"nonlinearity": "relu", "bias": False},
    "LSTMCell": {},
    "GRUCell": {"bias": False},
}


def both(case: str) -> tuple[Any, Any]:
    """Return a cell and a subclass of it that has the same parameters."""
    kind = getattr(nn, case.split()[0])
    plain = kind(3, 5, **CELLS[case], dtype=torch.float64)
    own = type("Own", (kind,), {})(3, 5, **CELLS[case], dtype=torch.float64)
    own.load_state_dict(plain.state_dict())
    return plain, own


def results(cell: Any, x: Tensor, **options: Any) -> list[Tensor]:
    output, state = nn.rnn.unroll(cell, x, **options)
    states = state if isinstance(state, tuple) else (state,)
    leaves = [x, *cell.parameters()]
    grads = torch.autograd.grad(sum(y.square().sum() for y in (output, *states)), leaves)
    return [output, *states, *grads]


@pytest.mark.parametrize("shape", [(7, 2, 3), (7, 3), (1, 1, 3), (7, 0, 3)], ids=str)
@pytest.mark.parametrize("checkpoint", [None, 3, "sqrt"])
@pytest.mark.parametrize("case", CELLS)
def test_the_two_ways_agree(case: str, checkpoint: Any, shape: tuple[int, ...]) -> None:
    x = nn.randn(shape, dtype=torch.float64).requires_grad_()
    plain, own = (results(cell, x, checkpoint=checkpoint) for cell in both(case))
    for one, other in zip(plain, own, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("case", CELLS)
def test_a_plain_cell_is_one_function(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, count = case.split()[0].replace("Cell", "Function"), []
    apply = getattr(nn.rnn, name).apply

    def counted(*inputs: Any, **config: Any) -> Any:
        count.append(len(inputs[0]))
        return apply(*inputs, **config)

    monkeypatch.setattr(getattr(nn.rnn, name), "apply", counted)
    plain, own = both(case)
    for cell in (plain, own):
        nn.rnn.unroll(cell, nn.randn((7, 2, 3), dtype=torch.float64))
    assert count == [7]
