"""Gradients of indices that repeat: their error, their own derivatives, and their order."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import impl_torch_ext as nn
from impl_torch_ext.native import native

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "x[i]": lambda x, i: x[i],
    "x[i, j]": lambda x, i: x[i[:, None], nn.tensor([[0, 1, 2]])],
    "x[i, 0:3]": lambda x, i: x[i, 0:3],
    "x[i][j]": lambda x, i: x[i[: i.shape[0] // 2, None], [[1, 2]]],
    "take": lambda x, i: nn.ops.take(x, i, axis=0),
    "take of a result": lambda x, i: nn.ops.take(x * 1.0, i, axis=0),
    "take along the last": lambda x, i: nn.ops.take(x.mT, i - 3, axis=1),
    "take of many axes": lambda x, i: nn.ops.take(x, i[:16].reshape(2, 8), axis=1),
    "Embedding": lambda x, i: nn.functional_call(nn.Embedding(3, 3), {"weight": x}, i),
    "rows": lambda x, i: nn.ops.stack([x[1] for _ in range(i.shape[0])]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("count", [16, 17, 1023, 70_000])
@pytest.mark.parametrize("dtype", [nn.float32, nn.float64])
def test_the_error_is_that_of_adding_by_pairs(name: str, count: int, dtype: Any) -> None:
    x = nn.ones((3, 3), dtype=dtype, requires_grad=True)
    ones = nn.ones((count,), dtype=nn.int64)
    # What arrives is seen from x by a derivative that is exact: of one number, many times.
    y = CALLS[name](x, ones)
    y.backward(torch.full(y.shape, 0.1, dtype=dtype))
    exact = torch.zeros((3, 3), dtype=torch.float64, requires_grad=True)
    y = CALLS[name](exact * 1, ones) if name == "rows" else CALLS[name](exact, ones)
    y.backward(torch.ones(y.shape, dtype=torch.float64))  # How often each element was chosen.
    want = exact.grad * torch.tensor(0.1, dtype=dtype).double()
    allowed = 2 * (2 + math.log2(count)) * torch.finfo(dtype).eps * want
    assert (want > 0).any()
    assert ((x.grad.double() - want).abs() <= allowed).all()
    assert x.grad.dtype == dtype


def test_indices_are_read_as_torch_reads_them() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 5, 3, generator=generator, dtype=torch.float64)
    many = torch.randint(-4, 4, (6, 7), generator=generator)
    mask = values[:, :, 0] > 0
    k = int(mask.sum())
    cases: list[Any] = [
        many,
        many.int(),
        (many, 1),
        (slice(1, 3), many),
        (Ellipsis, many.abs() % 3),
        (None, many),
        (many, slice(None), many.abs() % 3),
        (mask, torch.arange(k) % 3),
        (many[:, :0],),
    ]
    for index in cases:
        x = nn.tensor(values, requires_grad=True)
        plain = values.clone().requires_grad_()
        y, want = x[index], plain[index]
        assert torch.equal(y, want)
        arrives = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        y.backward(arrives)
        want.backward(arrives)
        torch.testing.assert_close(x.grad, plain.grad)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("index", [[0, 2, 2, -1, 0], [[1, 1], [-3, 2]], []])
def test_derivatives_of_every_order(axis: int, index: Any) -> None:
    x = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    i = torch.tensor(index, dtype=torch.int64)

    def cubed(x: torch.Tensor) -> torch.Tensor:
        return native.gather(x**3, i, axis) ** 2

    if index:
        assert torch.autograd.gradcheck(cubed, x)
        assert torch.autograd.gradgradcheck(cubed, x)
    torch.library.opcheck(native.gather.default, (x, i, axis))
    grad = native.gather(x, i, axis).detach().requires_grad_()
    torch.library.opcheck(native.gather_backward.default, (grad, i, axis, 3))


def test_the_order_of_additions_does_not_depend_on_the_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(200_000, 3, generator=generator)
    index = torch.randint(0, 50, (200_000,), generator=generator)
    threads = torch.get_num_threads()
    try:
        sums = []
        for number in (1, 2):
            torch.set_num_threads(number)
            sums.append(native.gather_backward(grad, index, 0, 50))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*sums)


def test_an_index_out_of_range_is_refused() -> None:
    x = nn.ones((3, 2), requires_grad=True)
    for wrong in (3, -4):
        index = torch.full((20,), wrong)
        with pytest.raises(IndexError):
            x[index]
        with pytest.raises(IndexError, match=rf"gather_backward: .*\[-3, 3\), got {wrong}"):
            native.gather_backward(torch.ones(20, 2), index, 0, 3)
