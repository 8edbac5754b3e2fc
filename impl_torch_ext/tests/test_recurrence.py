"""The linear recurrence: lanes in blocks, on any number of threads."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tolerances import agree
from torch import Tensor

import impl_torch_ext as nn

# Lanes that fill a block, that do not, that lie apart, and rows that end within a block of lanes.
SHAPES = [(9, 64), (9, 131), (5, 3, 7), (3, 5, 8), (4, 6, 9), (70, 4), (1, 1), (17, 33, 2)]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def loop(a: Tensor, b: Tensor, h: Tensor | None, axis: int, reverse: bool) -> Tensor:
    steps = [*zip(a.unbind(axis), b.unbind(axis), strict=True)]
    rows = []
    for factor, term in reversed(steps) if reverse else steps:
        h = term if h is None else factor * h + term
        rows.append(h)
    return torch.stack(rows[::-1] if reverse else rows, axis)


def drawn(
    shape: tuple[int, ...], axis: int, first: bool, dtype: torch.dtype
) -> tuple[Any, list[Tensor]]:
    state = (*shape[:axis], *shape[axis + 1 :])
    shapes = [shape, shape, state] if first else [shape, shape]
    leaves = [nn.randn(s, dtype=dtype).requires_grad_() for s in shapes]
    return (leaves if first else [*leaves, None]), leaves


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_axis_equals_the_loop(
    shape: tuple[int, ...], reverse: bool, first: bool, dtype: torch.dtype
) -> None:
    for axis in range(len(shape)):
        given, leaves = drawn(shape, axis, first, dtype)
        g = nn.randn(shape, dtype=dtype)
        h = nn.ops.linear_recurrence(*given, axis=axis, reverse=reverse)
        wide = [None if x is None else x.double() for x in given]
        wanted = loop(*wide, axis, reverse)
        got_grads = torch.autograd.grad(h, leaves, g, allow_unused=True)
        grads = torch.autograd.grad(wanted, leaves, g.double(), allow_unused=True)
        agree(h, wanted.to(dtype), "rnn")
        for got, x, grad in zip(got_grads, leaves, grads, strict=True):
            agree(got, torch.zeros_like(x) if grad is None else grad.to(dtype), "rnn")


@pytest.mark.parametrize("shape", [(5000, 3, 70), (300, 400), (3, 70, 1000)], ids=str)
def test_threads_change_no_bit(shape: tuple[int, ...]) -> None:
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        nn.manual_seed(0)
        found = []
        for axis in range(len(shape)):
            given, leaves = drawn(shape, axis, True, torch.float32)
            h = nn.ops.linear_recurrence(*given, axis=axis)
            found += [h, *torch.autograd.grad(h, leaves, h.detach())]
        results.append(found)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("places", [(0,), (1,), (2,), (0, 2)])
def test_only_the_gradients_that_are_wanted(places: tuple[int, ...]) -> None:
    given, leaves = drawn((5, 9), 0, True, torch.float64)
    h = nn.ops.linear_recurrence(*given)
    wanted = torch.autograd.grad(h.square().sum(), leaves)
    frozen = [x if i in places else x.detach() for i, x in enumerate(leaves)]
    some = [leaves[i] for i in places]
    got = torch.autograd.grad(nn.ops.linear_recurrence(*frozen).square().sum(), some)
    for grad, i in zip(got, places, strict=True):
        assert torch.equal(grad, wanted[i])
