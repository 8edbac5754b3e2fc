"""Modules where torch expects its own."""

import pytest
import torch
from tolerances import agree

import impl_torch_ext as nn


def network() -> nn.Module:
    nn.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def test_is_a_torch_module() -> None:
    net = network()
    assert isinstance(net, torch.nn.Module)
    assert all(isinstance(p, torch.nn.Parameter) for p in net.parameters())
    flat = torch.nn.utils.parameters_to_vector(net.parameters())
    assert flat.shape == (4 * 8 + 8 + 8 * 2 + 2,)
    torch.nn.utils.vector_to_parameters(torch.zeros_like(flat), net.parameters())
    assert not net[0].weight.any()


def test_torch_optimizers_take_its_parameters() -> None:
    ours, theirs = network(), network()
    x, target = nn.rand((16, 4)), nn.rand((16, 2))
    mine, other = nn.optim.Adam(ours.parameters()), torch.optim.Adam(theirs.parameters())
    for _ in range(3):
        for net, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            nn.loss.mse_loss(net(x), target).backward()
            optimizer.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        agree(p, q, "elementwise")


def test_torch_layers_and_ours_nest() -> None:
    nn.manual_seed(4)
    net = torch.nn.Sequential(
        nn.Linear(3, 4), torch.nn.Tanh(), nn.Sequential(torch.nn.Linear(4, 2))
    )
    assert [name for name, _ in net.named_parameters()] == [
        "0.weight",
        "0.bias",
        "2.0.weight",
        "2.0.bias",
    ]
    net(nn.rand((5, 3))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_state_dicts_cross() -> None:
    for name in ("RNN", "LSTM", "GRU"):
        ours, theirs = getattr(nn, name)(3, 4), getattr(torch.nn, name)(3, 4)
        theirs.load_state_dict(ours.state_dict())
        ours.load_state_dict(theirs.state_dict())
        x = nn.randn((5, 2, 3))
        agree(ours(x)[0], theirs(x)[0], "reduction")


def test_compiled_graphs_see_the_kernels() -> None:
    layer, x = nn.GRU(3, 4), nn.randn((5, 2, 3))
    with torch.no_grad():
        weights = [p.detach() for p in layer.parameters()]
        exported = torch.fx.experimental.proxy_tensor.make_fx(
            lambda x, h, *ws: torch.ops.impl_torch_ext.gru_forward(x, h, *ws, False)[0],
            tracing_mode="fake",
        )(x, x.new_zeros((2, 4)), *weights)
        assert torch.equal(exported(x, x.new_zeros((2, 4)), *weights), layer(x)[0])


@pytest.mark.parametrize("fill", ["uniform_", "normal_", "xavier_uniform_", "kaiming_normal_"])
def test_random_values_want_a_floating_tensor(fill: str) -> None:
    whole = nn.zeros((2, 2), dtype=nn.int64)
    with pytest.raises(TypeError, match=rf"{fill}: .* floating dtype, got torch.int64"):
        getattr(nn.init, fill)(whole)
    assert not whole.any()
