"""Cases at the edges of the specification where torch's own answer is another one."""

from typing import Any

import numpy as np
import pytest
import torch

import impl_torch_ext as nn


class Shared(nn.Module):
    """One Linear under two names, and a buffer that each call replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.a = self.b = nn.Linear(2, 2, bias=False)
        self.register_buffer("n", nn.zeros(1))

    def forward(self, x: nn.Tensor, fail: bool = False) -> nn.Tensor:
        self.n = self.n + 1
        if fail:
            msg = "asked to fail"
            raise ArithmeticError(msg)
        return self.b(self.a(x))


def test_functional_call_restores_a_shared_module() -> None:
    net, x = Shared(), nn.ones((1, 2))
    weight, count = net.a.weight, net.n
    twice = {"a.weight": nn.eye(2) * 2}
    assert torch.equal(nn.functional_call(net, twice, x), x * 4)
    with pytest.raises(ArithmeticError):
        nn.functional_call(net, twice, x, fail=True)
    assert net.a.weight is net.b.weight is weight
    assert net.n is count
    assert [name for name, _ in net.named_parameters()] == ["a.weight"]


def test_functional_call_takes_every_name_of_a_tied_parameter() -> None:
    net, x = Shared(), nn.ones((1, 2))
    net.c = nn.Linear(2, 2, bias=False)
    net.c.weight = weight = net.a.weight
    state = {name: value * 2 for name, value in net.state_dict().items()}
    assert {"a.weight", "b.weight", "c.weight"} <= set(state)
    expected = x @ (weight * 2).mT @ (weight * 2).mT
    assert torch.allclose(nn.functional_call(net, state, x), expected)
    assert torch.allclose(nn.functional_call(net, {"c.weight": weight * 2}, x), expected)
    assert net.a.weight is net.c.weight is weight


@pytest.mark.parametrize("value", [[1.0], None, "1", 1.0])
@pytest.mark.parametrize("strict", [True, False])
def test_load_state_dict_refuses_what_is_no_array(value: Any, strict: bool) -> None:
    net = nn.Linear(1, 1)
    before = net.weight.item()
    with pytest.raises(TypeError, match=f"'bias'.*{type(value).__name__}"):
        net.load_state_dict({"weight": np.full((1, 1), before + 1), "bias": value}, strict=strict)
    assert net.weight.item() == before


def test_load_state_dict_ignores_an_int_key_unless_strict() -> None:
    net = nn.Linear(1, 1)
    state = {3: 1, "more": None, "weight": np.full((1, 1), 7.0)}
    with pytest.raises(RuntimeError, match="unexpected 3"):
        net.load_state_dict(state)
    net.load_state_dict(state, strict=False)
    assert net.weight.item() == 7
