"""What a checkpoint keeps, sees and repeats, beside what its clause asks."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import impl_torch_ext as nn
from impl_torch_ext import ops


def leaf(*shape: int) -> Tensor:
    return nn.randn(shape, dtype=torch.float64).requires_grad_()


CHANGES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Any]]] = {
    "no operation keeps it": (lambda x, b: ops.relu(x + b), lambda b: b.add_(1)),
    "a view": (lambda x, b: x * b.view(1, 3), lambda b: b.add_(1)),
    "without its history": (lambda x, b: x * b.detach(), lambda b: b.add_(1)),
    "a detached view of a view": (lambda x, b: x * b[1:].detach()[0], lambda b: b[1:].add_(1)),
    "assigned": (lambda x, b: x * b, lambda b: setattr(b, "data", b.detach() + 1)),
    "inside another": (
        lambda x, b: nn.checkpoint(lambda y: ops.relu(y + b), x * 2),
        lambda b: b.add_(1),
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_a_call_used_from_elsewhere_is_guarded(case: str) -> None:
    fn, change = CHANGES[case]
    x, b = leaf(2, 3), leaf(3)
    y = nn.checkpoint(lambda x: fn(x, b), x)
    with torch.no_grad():
        change(b)
    with pytest.raises(RuntimeError, match="checkpoint: backward needs the Tensor of shape"):
        y.sum().backward()
    assert x.grad is None


def test_what_a_call_made_itself_is_not() -> None:
    x, w = leaf(2, 3), leaf(3, 4)

    def fn(x: Tensor) -> Tensor:
        total = torch.zeros(2, 4, dtype=torch.float64)
        total += x @ w
        return total.reshape(-1).view(2, 4)

    y = nn.checkpoint(fn, x)
    y += 1
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones(2, 4, dtype=torch.float64) @ w.detach().mT)


def test_nothing_of_the_call_stays() -> None:
    x, seen = leaf(3), []

    def fn(x: Tensor) -> Tensor:
        middle = x.exp()
        seen.append(weakref.ref(middle))
        return middle.tanh().sin()

    gc.disable()
    try:
        y = nn.checkpoint(fn, x)
        assert seen[0]() is None
        y.sum().backward()
        assert seen[1]() is None
    finally:
        gc.enable()


def test_rows_of_a_leaf_are_shared_with_no_call() -> None:
    x, grads = leaf(5, 2), []
    for fn in (lambda call, *args: call(*args), nn.checkpoint):
        around = x[0].sum()
        inside = fn(lambda c: sum((x[t] * c * x[t]).sum() for t in range(5)), around)
        grads += torch.autograd.grad(inside + around + x[3].sum(), [x])
    torch.testing.assert_close(*grads)


def test_a_module_called_with_other_values_is_so_again() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return nn.checkpoint(lambda x: ops.tanh(self.linear(x)), x)

    net, x = Net(), leaf(2, 3)
    values = {name: p.detach() * 3 for name, p in net.named_parameters()}
    got = nn.grad(lambda p: ops.sum(nn.functional_call(net, p, x)))(values)
    weight, bias = values.values()
    wanted = nn.grad(lambda w, b: ops.sum(ops.tanh(x @ w.mT + b)), (0, 1))(weight, bias)
    for one, other in zip(got.values(), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_other_draws_are_refused() -> None:
    x, dropout = leaf(4), nn.Dropout(0.5)
    refused = "checkpoint: the same numbers must be drawn again"
    for now, later in ((True, False), (False, True)):
        dropout.train(now)
        y = nn.checkpoint(lambda x: dropout(x) * 2, x)
        dropout.train(later)
        with pytest.raises(RuntimeError, match=refused):
            y.sum().backward()


def test_draws_of_other_threads_between() -> None:
    x, dropout, go, done = leaf(1000), nn.Dropout(0.5), threading.Event(), threading.Event()

    def other() -> None:
        go.wait()
        nn.rand((7,))
        done.set()

    def fn(x: Tensor) -> Tensor:
        first = dropout(x)
        go.set()
        done.wait()
        return dropout(first)

    thread = threading.Thread(target=other)
    thread.start()
    y = nn.checkpoint(fn, x)
    thread.join()
    (grad,) = torch.autograd.grad(y.sum(), [x])
    assert torch.equal(grad != 0, y != 0)


def test_torchs_own_numbers_are_drawn_again() -> None:
    x = leaf(1000)
    y = nn.checkpoint(lambda x: torch.nn.functional.dropout(x, 0.5), x)
    state = torch.get_rng_state()
    (grad,) = torch.autograd.grad(y.sum(), [x])
    assert torch.equal(grad != 0, y != 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_long_chains_run_and_are_freed() -> None:
    x = leaf(2)
    y = x
    for _ in range(20000):
        y = nn.checkpoint(lambda x: x * 1.0, y)
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones(2, dtype=torch.float64))


def test_a_graph_that_is_kept_serves_threads() -> None:
    x, w, found = leaf(4, 3), leaf(3, 3), []
    y = nn.checkpoint(lambda x: nn.Dropout(0.5)(ops.tanh(x @ w)), x).square().sum()
    wanted = torch.autograd.grad(y, [x, w], retain_graph=True)

    def run() -> None:
        for _ in range(20):
            found.append(torch.autograd.grad(y, [x, w], retain_graph=True))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all(torch.equal(a, b) for grads in found for a, b in zip(grads, wanted, strict=True))
