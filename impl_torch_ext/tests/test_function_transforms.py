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

    gc.disable()
    try:
        _, pull = vjp(Spy.apply, torch.ones(3))
        assert kept[0]() is not None
        pull(torch.ones(()))
        assert kept[0]() is not None
        del pull, _
        assert kept[0]() is None
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
def test_a_mask_is_written_through_for_each_sample_but_not_in_second_derivatives() -> None:
    x = torch.randn(3, 2, dtype=D)

    def loss(x: Tensor) -> Tensor:
        return Written.apply(x).sum()

    torch.testing.assert_close(vmap(grad(loss))(x), 2 * x.clamp(min=0))
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
