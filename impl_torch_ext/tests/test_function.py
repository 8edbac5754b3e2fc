"""Functions among torch's own machinery, and in the legacy spelling as articles have it."""

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import impl_torch_ext as nn


class ReLUF(nn.Function):
    def forward(self, x: Tensor) -> Tensor:
        self.save_for_backward(x)
        return x.clamp(min=0)

    def backward(self, grad_output: Tensor) -> Tensor:
        (x,) = self.saved_tensors
        grad_input = grad_output.clone()
        grad_input[x < 0] = 0
        return grad_input


class LinearF(nn.Function):
    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        self.save_for_backward(x, weight, bias)
        output = x.mm(weight.t())
        if bias is not None:
            output += bias.unsqueeze(0).expand_as(output)
        return output

    def backward(self, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = self.saved_tensors
        grad_x = grad_weight = grad_bias = None
        if self.needs_input_grad[0]:
            grad_x = grad_output.mm(weight)
        if self.needs_input_grad[1]:
            grad_weight = grad_output.t().mm(x)
        if bias is not None and self.needs_input_grad[2]:
            grad_bias = grad_output.sum(0).squeeze(0)
            return grad_x, grad_weight, grad_bias
        return grad_x, grad_weight


class Tanh(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grad_output * (1 - y * y)


class SquareOfExp(nn.Function):
    """Saves an intermediate, which is neither input nor output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        e = torch.exp(x)
        ctx.save_for_backward(e)
        return e * e

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (e,) = ctx.saved_tensors
        return grad_output * 2 * e * e


def inputs() -> list[Tensor]:
    nn.manual_seed(1)
    return [
        nn.randn(shape, dtype=nn.float64, requires_grad=True) for shape in ((4, 3), (2, 3), (2,))
    ]


def test_the_article_runs_as_written() -> None:
    x, weight, bias = inputs()
    y = ReLUF()(LinearF()(x, weight, bias))
    wanted = torch.relu(torch.addmm(bias, x, weight.t()))
    torch.testing.assert_close(y, wanted)
    cotangent = torch.ones_like(y)
    got = torch.autograd.grad(y, (x, weight, bias), cotangent)
    for g, w in zip(got, torch.autograd.grad(wanted, (x, weight, bias), cotangent), strict=True):
        torch.testing.assert_close(g, w)
    LinearF()(x, weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    "fn",
    [lambda x, w, b: LinearF()(x, w, b), lambda x, *_: ReLUF()(x), lambda x, *_: Tanh.apply(x)],
    ids=["LinearF", "ReLUF", "Tanh"],
)
def test_gradgradcheck(fn: Any) -> None:
    # Of torch's own class: the checks write into `data` between an operation and its backward.
    values = tuple(x.detach().as_subclass(torch.Tensor).requires_grad_() for x in inputs())
    assert torch.autograd.gradcheck(fn, values)
    assert torch.autograd.gradgradcheck(fn, values)


def test_third_derivative_of_an_intermediate() -> None:
    x = inputs()[0]
    y = SquareOfExp.apply(x).sum()
    for _ in range(3):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    torch.testing.assert_close(y, 8 * torch.exp(2 * x))


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint(use_reentrant: bool) -> None:
    x, weight, bias = inputs()

    def block(x: Tensor) -> Tensor:
        return SquareOfExp.apply(Tanh.apply(ReLUF()(LinearF()(x, weight, bias))))

    wanted = torch.autograd.grad(block(x).sum(), (x, weight, bias))
    checkpoint(block, x, use_reentrant=use_reentrant).sum().backward()
    for p, w in zip((x, weight, bias), wanted, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, w, rtol=0, atol=0)


def test_checkpoint_of_a_layer() -> None:
    layer, x = nn.LSTM(3, 5), nn.randn((4, 2, 3), requires_grad=True)
    (wanted,) = torch.autograd.grad(layer(x)[0].sum(), x)
    (got,) = torch.autograd.grad(checkpoint(layer, x, use_reentrant=False)[0].sum(), x)
    assert torch.equal(got, wanted)


def test_hooks() -> None:
    x = inputs()[0]
    y = Tanh.apply(x)
    seen = []
    y.register_hook(lambda g: seen.append(g) or 2 * g)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, 2 * (1 - torch.tanh(x) ** 2))
    assert len(seen) == 1
    assert type(y.grad_fn).__name__ == "TanhBackward"


def test_saved_tensors_hooks() -> None:
    x = inputs()[0]
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        y = SquareOfExp.apply(x)
    assert len(packed) == 2
    y.sum().backward()


def test_change_in_place_is_noticed() -> None:
    x = inputs()[0]
    y = x * 1
    z = SquareOfExp.apply(y).sum()
    y.data.zero_()
    z.backward()
    y = x * 1
    z = Tanh.apply(y)
    with torch.no_grad():
        z.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_no_grad_keeps_nothing() -> None:
    x = inputs()[0]
    with torch.no_grad():
        y = SquareOfExp.apply(x)
    assert y.grad_fn is None
    assert not y.requires_grad


def test_saved_arrays_are_released_without_the_collector() -> None:
    x = inputs()[0]
    kept = []

    class Spy(nn.Function):
        def forward(self, x: Tensor) -> Tensor:
            middle = x * 2
            kept.append(weakref.ref(middle))
            self.save_for_backward(middle)
            return middle.sum()

        def backward(self, grad_output: Tensor) -> Tensor:
            (middle,) = self.saved_tensors
            return grad_output * torch.ones_like(middle)

    gc.disable()
    try:
        result = Spy()(x)
        assert kept[0]() is not None
        result.backward()
        assert kept[0]() is None
        result = Spy()(x)
        del result
        assert kept[1]() is None
    finally:
        gc.enable()


def test_threads_share_a_function() -> None:
    results: dict[int, Tensor] = {}

    def work(i: int) -> None:
        x = torch.full((50,), float(i) / 10, dtype=torch.float64, requires_grad=True)
        (results[i],) = torch.autograd.grad(Tanh.apply(x).sum(), x)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, grad in results.items():
        torch.testing.assert_close(
            grad, torch.full_like(grad, float(i) / 10).tanh().square().neg().add(1)
        )


def test_composite_treats_dependent_inputs_apart() -> None:
    nn.manual_seed(2)
    layer = nn.GRU(4, 4, dtype=nn.float64)
    x = torch.randn((3, 2, 4), dtype=nn.float64, requires_grad=True)

    def run(x: Tensor) -> Tensor:
        # h0 is a function of x: each gradient has to be with respect to its own place alone.
        return layer(x, torch.tanh(x[:1]))[0]

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)
