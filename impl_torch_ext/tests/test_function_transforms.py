"""What a Function does under torch's transforms beside giving the right values."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, vjp, vmap
from transform_cases import Written

import impl_torch_ext as nn
from impl_torch_ext import tracing

D = torch.float64


class Counted(nn.Function):
    """Counts how often its methods run."""

    calls: list[str] = []  # noqa: RUF012 - the test empties it.

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Counted.calls.append("forward")
        middle = torch.exp(x)
        ctx.save_for_backward(middle)
        return middle * middle

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        Counted.calls.append("backward")
        (middle,) = ctx.saved_tensors
        return 2 * grad_output * middle * middle


def total(x: Tensor) -> Tensor:
    return Counted.apply(x).sum()


@pytest.mark.parametrize(
    "transform", [grad, lambda f: vmap(grad(f)), lambda f: grad(lambda x: vmap(f)(x).sum())]
)
def test_forward_runs_once_for_a_first_derivative(transform: Any) -> None:
    Counted.calls.clear()
    x = torch.randn(3, 2, dtype=D)
    torch.testing.assert_close(transform(total)(x), 2 * torch.exp(2 * x))
    assert Counted.calls == ["forward", "backward"]


def test_what_was_saved_is_freed_without_the_collector() -> None:
    kept: list[Any] = []

    class Spy(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            middle = x * 2
            kept.append(weakref.ref(middle))
            ctx.save_for_backward(middle)
            return middle.sum()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (middle,) = ctx.saved_tensors
            return grad_output * torch.ones_like(middle)

    def pulled() -> None:
        _, pull = vjp(Spy.apply, torch.ones(3))
        assert kept[-1]() is not None
        pull(torch.ones(()))
        assert kept[-1]() is not None

    # What the first backward pass of a transform imports in torch keeps it for the collector.
    pulled()
    gc.disable()
    try:
        pulled()
        assert kept[-1]() is None
    finally:
        gc.enable()


def test_a_pull_runs_outside_of_its_transform_and_inside_of_another() -> None:
    x, seed = torch.randn(3, dtype=D), torch.randn(3, dtype=D)
    _, pull = vjp(Counted.apply, x)
    wanted = 2 * torch.exp(2 * x)
    for _ in range(2):
        torch.testing.assert_close(pull(seed)[0], seed * wanted)
    found = grad(lambda s: (pull(s)[0] ** 2).sum())(seed)
    torch.testing.assert_close(found, 2 * seed * wanted**2)

    def of_both(x: Tensor, seed: Tensor) -> Tensor:
        _, pull = vjp(Counted.apply, x)
        return pull(seed)[0].sum()

    by_x, by_seed = grad(of_both, (0, 1))(x, seed)
    torch.testing.assert_close(by_x, seed * 2 * wanted)
    torch.testing.assert_close(by_seed, wanted)


class Masked(nn.Function):
    """Has a Tensor in its configuration."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *, mask: Tensor) -> Tensor:
        ctx.mask = mask
        return torch.where(mask, x * x, 0.0)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return torch.where(ctx.mask, grad_output, 0.0)


def test_configuration_has_samples_too() -> None:
    x = torch.randn(4, 3, dtype=D)
    mask = torch.rand(4, 3) < 0.5
    one = grad(lambda x, mask: Masked.apply(x, mask=mask).sum())
    torch.testing.assert_close(vmap(one)(x, mask), mask.to(D))
    torch.testing.assert_close(vmap(one, (None, 0))(x[0], mask), mask.to(D))


def test_random_numbers_are_as_vmap_was_told() -> None:
    class Noisy(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output

    x = torch.zeros(3, 2)
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(Noisy.apply)(x)
    assert len({*vmap(Noisy.apply, randomness="different")(x)[:, 0].tolist()}) == 3
    assert len({*vmap(Noisy.apply, randomness="same")(x)[:, 0].tolist()}) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_mask_is_written_through_for_each_sample_but_not_in_second_derivatives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It is said once for each Function, whoever applied it first.
    monkeypatch.setattr(tracing, "_told", set())
    x = torch.randn(3, 2, dtype=D)

    def loss(x: Tensor) -> Tensor:
        return Written.apply(x).sum()

    with pytest.warns(UserWarning, match="Written: under vmap it runs slice by slice"):
        slopes = vmap(grad(loss))(x)
    torch.testing.assert_close(slopes, 2 * x.clamp(min=0))
    with pytest.raises(RuntimeError, match="boolean mask"):
        vmap(hessian(loss))(x)


def test_messages_are_the_same_under_a_transform() -> None:
    class Wrong(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output[:1]

    x = torch.ones(3, 2)
    for transform in (grad, lambda f: vmap(grad(f))):
        with pytest.raises(ValueError, match="Wrong: backward must return a gradient of shape"):
            transform(lambda x: Wrong.apply(x).sum())(x)


def test_hooks_of_modules_see_the_gradients_of_transforms() -> None:
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)
    seen: list[Any] = []
    layer.register_full_backward_hook(lambda _module, into, _out: seen.append(into[0].shape))
    values = {key: p.detach() for key, p in layer.named_parameters()}

    def loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, values, (x,)).sum()

    torch.testing.assert_close(
        vmap(grad(loss, 1), (None, 0))(values, x)[0], values["weight"].sum(0)
    )
    assert seen == [(3,)]


def test_checkpoint_under_a_transform_has_the_same_gradients() -> None:
    x = torch.randn(4, 3, dtype=D)

    def loss(x: Tensor) -> Tensor:
        return nn.checkpoint(lambda x: torch.tanh(x * x).sum(), x)

    (wanted,) = torch.autograd.grad(loss(own := x.clone().requires_grad_()), own)
    torch.testing.assert_close(grad(loss)(x), wanted)
    torch.testing.assert_close(vmap(grad(loss))(x), wanted)


def test_dropout_draws_for_samples_as_vmap_was_told() -> None:
    layer, x = nn.Dropout(0.5), torch.ones(8, 5, 4)
    with pytest.raises(RuntimeError, match=r"dropout: torch\.vmap must be told"):
        vmap(layer)(x)
    same = vmap(layer, randomness="same")(x)
    assert torch.equal(same, same[:1].expand_as(same))
    different = vmap(vmap(layer, randomness="different"), randomness="different")(x)
    assert len({tuple(row.tolist()) for row in different.reshape(-1, 4)}) > 8
    nn.manual_seed(3)
    wanted = layer(x)
    nn.manual_seed(3)
    assert torch.equal(vmap(layer, randomness="different")(x), wanted)


@pytest.mark.filterwarnings("ignore")
def test_dropout_in_a_compiled_program_draws_anew_in_each_call() -> None:
    layer, x = nn.Dropout(0.5), torch.ones(64)
    torch._dynamo.reset()
    program = torch.compile(lambda x: (layer(x), layer(x)), backend="aot_eager", fullgraph=True)
    nn.manual_seed(3)
    wanted = layer(x), layer(x)
    nn.manual_seed(3)
    found = program(x)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(program(x)[0], found[0])
