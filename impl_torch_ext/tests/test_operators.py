"""The operators `torch.ops.impl_torch_ext.*` by torch's own checks, and their rules of vmap."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

import impl_torch_ext as nn
from impl_torch_ext.native import native

D = torch.float64
T, N, F, H, P = 3, 2, 2, 3, 2
GATES = {"rnn": 1, "lstm": 4, "projected_lstm": 4, "gru": 3}


def drawn(*shape: int, requires_grad: bool = False) -> Tensor:
    return torch.randn(shape, dtype=D).requires_grad_(requires_grad)


def simple(requires_grad: bool) -> dict[str, tuple[Any, ...]]:
    """Return arguments of the operators that have a gradient of their own."""

    def own(*shape: int) -> Tensor:
        return drawn(*shape, requires_grad=requires_grad)

    index = torch.arange(20) % 3
    return {
        "relu": (own(2, 3),),
        "relu_backward": (own(2, 3), drawn(2, 3)),
        "absolute": (own(2, 3),),
        "clamp": (own(2, 3), -0.5, None),
        "extremum": (own(2, 3), own(2, 3), True),
        "extreme": (own(2, 3), [0], False, True),
        "gather": (own(3, 3), index, 0),
        "gather_backward": (own(20, 3), index, 0, 3),
        "rows": (own(3, 3), 1, None),
    }


def others() -> dict[str, tuple[Any, ...]]:
    """Return arguments of the operators whose gradients are the business of Functions."""
    a, b, h0 = drawn(2, 3), drawn(2, 3), drawn(2)
    h = native.linear_recurrence(a, b, h0, 1, False)
    step = drawn(N, F), drawn(N, H), drawn(H, F), drawn(H, H)
    biases = drawn(H), drawn(H)
    return {
        "linear_recurrence": (a, b, h0, 1, False),
        "linear_recurrence_backward": (drawn(2, 3), a, h, h0, 1, False, [True] * 3),
        "rnn_step": (*step, *biases, True),
        "rnn_step_backward": (
            drawn(N, H),
            *step,
            native.rnn_step(*step, *biases, True),
            True,
            [True] * 5,
        ),
        "packing": (torch.tensor([3, 1]), None, 4, 1),
    }


def recurrent(cell: str, packed: bool) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return arguments of the operator of a sequence, and of its backward."""
    gates, size = GATES[cell], P if cell == "projected_lstm" else H
    sizes = torch.tensor([2, 2, 1]) if packed else None
    x = drawn(5, F) if packed else drawn(T, N, F)
    states = (drawn(N, size), drawn(N, H)) if "lstm" in cell else (drawn(N, size),)
    weights = drawn(gates * H, F), drawn(gates * H, size)
    projection = (drawn(P, H),) if cell == "projected_lstm" else ()
    biases, way = (drawn(gates * H), drawn(gates * H)), (sizes, False)
    option = (False,) if cell == "rnn" else (True,)
    forward = (x, *states, *weights, *biases, *projection, *option, *way)
    output, *last = getattr(native, f"{cell}_forward")(*forward)
    grads = [torch.randn_like(y) for y in (output, *last[: len(states)])]
    kept = (output, *last[len(states) :])
    option = (False,) if cell == "rnn" else ()
    wanted = [True] * (5 if cell == "rnn" else 6 + len(projection))
    backward = (*grads, x, *states, *weights, *projection, *kept, *option, wanted, *way)
    return forward, backward


def check(name: str, arguments: tuple[Any, ...]) -> None:
    found = torch.library.opcheck(getattr(native, name).default, arguments)
    assert set(found.values()) == {"SUCCESS"}


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", simple(False))
def test_opcheck(name: str, requires_grad: bool) -> None:
    check(name, simple(requires_grad)[name])


@pytest.mark.parametrize("name", others())
def test_opcheck_of_what_functions_call(name: str) -> None:
    check(name, others()[name])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cell", GATES)
def test_opcheck_of_sequences(cell: str, packed: bool) -> None:
    forward, backward = recurrent(cell, packed)
    check(f"{cell}_forward", forward)
    check(f"{cell}_backward", backward)


def same(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "RNN": lambda **options: nn.RNN(F, H, dtype=D, **options),
    "LSTM": lambda **options: nn.LSTM(F, H, dtype=D, **options),
    "LSTM with projection": lambda **options: nn.LSTM(F, H, proj_size=P, dtype=D, **options),
    "GRU": lambda **options: nn.GRU(F, H, dtype=D, **options),
}
WAYS: dict[str, dict[str, Any]] = {
    "": {},
    "lengths": {"lengths": [3, 1]},
    "resets": {"reset_mask": torch.tensor([[0, 0], [0, 1], [1, 0]], dtype=torch.bool)},
}


# Warnings are errors: torch has one where an operator has no rule.
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LAYERS)
def test_samples_of_a_recurrent_layer(name: str, way: str) -> None:
    layer, options = LAYERS[name](bidirectional=True), WAYS[way]
    parameters = {key: p.detach() for key, p in layer.named_parameters()}
    x = drawn(4, T, N, F)

    def loss(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        return functional_call(layer, parameters, (x,), options)[0].square().sum()

    for argnums in (0, (0, 1)):
        one = grad(loss, argnums)
        wanted = [one(sample, parameters) for sample in x]
        for axis in (0, -1):
            found = vmap(one, (axis, None))(x.movedim(0, axis), parameters)
            if argnums == 0:
                same(found, torch.stack(wanted))
            else:
                same(found[0], torch.stack([w[0] for w in wanted]))
                for key, value in found[1].items():
                    same(value, torch.stack([w[1][key] for w in wanted]))


@pytest.mark.parametrize("axis", [0, 1])
def test_samples_of_sums_at_places(axis: int) -> None:
    index = torch.randint(-7, 7, (4, 20))
    x = drawn(4, 20, 2) if axis == 0 else drawn(4, 3, 20, 2)

    def summed(x: Tensor, index: Tensor) -> Tensor:
        return native.gather_backward(x, index, axis, 7)

    same(vmap(summed)(x, index), torch.stack([*map(summed, x, index)]))
    same(vmap(summed, (0, None))(x, index[0]), torch.stack([summed(y, index[0]) for y in x]))
    same(vmap(summed, (None, 0))(x[0], index), torch.stack([summed(x[0], i) for i in index]))


# The compiler warns of what it sees in torch itself.
@pytest.mark.filterwarnings("ignore")
def test_a_program_compiled_by_inductor() -> None:
    layer = nn.GRU(F, H)
    x = torch.randn(T, N, F)
    torch._dynamo.reset()
    program = torch.compile(layer, fullgraph=True)
    results = []
    for call in (layer, program):
        layer.zero_grad()
        output, _ = call(x, lengths=torch.tensor([3, 1]))
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad for p in layer.parameters())])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.filterwarnings("ignore")
def test_an_index_out_of_range_is_found_when_the_program_runs() -> None:
    table = nn.Embedding(3, 2)
    torch._dynamo.reset()
    program = torch.compile(table, backend="aot_eager", fullgraph=True)
    assert torch.equal(program(torch.tensor([0, 2])), table(torch.tensor([0, 2])))
    with pytest.raises(RuntimeError, match="Embedding: indices must be in"):
        program(torch.tensor([0, -1]))
