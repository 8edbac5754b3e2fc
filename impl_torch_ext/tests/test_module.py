"""Modules where torch expects its own."""

from collections import OrderedDict

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


def test_hooks_of_all_modules_and_of_one_meet() -> None:
    seen: list[str] = []
    layer = nn.Linear(2, 1)
    layer.register_forward_hook(lambda *_: seen.append("own"))
    handles = [
        torch.nn.modules.module.register_module_forward_hook(lambda *_: seen.append("all")),
        torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: seen.append("before")),
    ]
    try:
        layer(nn.ones((1, 2)))
        nn.Identity()(nn.ones((1,)))
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["before", "all", "own", "before", "all"]


def test_a_new_hook_takes_no_number_of_one_that_was_pickled() -> None:
    layer = nn.Tanh()
    layer.register_forward_hook(print)
    state = layer.__getstate__()
    number = torch.utils.hooks.RemovableHandle.next_id + 5
    state["_forward_hooks"] = OrderedDict({number: max})
    twin = nn.Tanh.__new__(nn.Tanh)
    twin.__setstate__(state)
    assert twin.register_forward_hook(min).id > number
    assert list(twin._forward_hooks.values()) == [max, min]


def test_backward_hooks_of_torch_and_ours_nest() -> None:
    seen: list[object] = []
    net = torch.nn.Sequential(nn.Linear(3, 2), torch.nn.Sequential(nn.Tanh()))
    for part in net.modules():
        part.register_full_backward_hook(lambda part, *_: seen.append(part))
    net(nn.rand((4, 3), requires_grad=True)).sum().backward()
    assert seen == [net[1][0], net[1], net[0], net]


def test_torch_walks_over_our_modules() -> None:
    net = torch.nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), nn.ModuleDict({"a": nn.Tanh()})])
    assert [name for name, _ in net.named_modules()] == ["", "0", "0.0", "1", "1.a"]
    assert [name for name, _ in net[0].named_modules(None, "x", False)] == ["x", "x.0"]
    assert isinstance(net[1], torch.nn.ModuleDict)


def test_a_compiled_module_calls_its_hooks() -> None:
    layer = nn.Sequential(nn.Tanh())
    layer[0].register_forward_hook(lambda part, args, output: output * 2)
    x = nn.rand((3,))
    compiled = torch.compile(layer, backend="eager")
    agree(compiled(x), 2 * x.tanh(), "elementwise")
