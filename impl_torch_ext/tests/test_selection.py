"""Gradients of functions that choose: one loop over contiguous arrays, else torch's operations.

The loops are not used where the gradient is recorded, which both are compared by.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

import impl_torch_ext as nn
from impl_torch_ext.native import native

NAN, INF = float("nan"), float("inf")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, INF, -INF, NAN)
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "abs": lambda a, _: native.absolute(a),
    "clamp": lambda a, _: native.clamp(a, -0.5, 1.0),
    "clamp, no high": lambda a, _: native.clamp(a, -0.5, None),
    "clamp, no low": lambda a, _: native.clamp(a, None, 0.5),
    "maximum": lambda a, b: native.extremum(a, b, True),
    "minimum": lambda a, b: native.extremum(a, b, False),
    "max of all": lambda a, _: native.extreme(a, [], False, True),
    "max of the first": lambda a, _: native.extreme(a, [0], False, True),
    "min of the last": lambda a, _: native.extreme(a, [-1], True, False),
    "min in the middle": lambda a, _: native.extreme(
        a.reshape(1, *a.shape, 1), [1, 2], True, False
    ),
    "max of two apart": lambda a, _: native.extreme(a.reshape(*a.shape, 1), [0, 2], False, True),
}


def pairs(dtype: torch.dtype, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return every pair of special numbers, and as many again as make `count` columns."""
    chosen = list(itertools.islice(itertools.cycle(itertools.product(SPECIAL, SPECIAL)), 3 * count))
    both = torch.tensor(chosen, dtype=dtype).reshape(3, count, 2)
    return both[..., 0].contiguous(), both[..., 1].contiguous()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 7, 16, 17, 41, 40_001])
def test_loops_give_what_the_operations_give(name: str, dtype: torch.dtype, count: int) -> None:
    a, b = (x.requires_grad_() for x in pairs(dtype, count))
    y = CALLS[name](a, b)
    arrives = torch.randn(y.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    options = {"retain_graph": True, "allow_unused": True}
    loops = torch.autograd.grad(y, (a, b), arrives, **options)
    composed = torch.autograd.grad(y, (a, b), arrives, create_graph=True, **options)
    apart = torch.stack([arrives, arrives], -1)[..., 0]
    strided = torch.autograd.grad(y, (a, b), apart, **options)
    for loop, other, third in zip(loops, composed, strided, strict=True):
        if loop is None:
            assert other is None
            continue
        assert loop.grad_fn is None
        assert torch.allclose(loop, other.detach(), rtol=0, atol=0, equal_nan=True)
        assert torch.allclose(loop, third, rtol=0, atol=0, equal_nan=True)


def test_operands_that_broadcast() -> None:
    a = torch.tensor([[1.0], [3.0]], requires_grad=True)
    b = torch.tensor([1.0, 2.0, NAN], requires_grad=True)
    native.extremum(a, b, True).backward(torch.tensor([[1.0, 10.0, 100.0], [1e3, 1e4, 1e5]]))
    assert a.grad.tolist() == [[0.5], [11_000.0]]
    assert b.grad.tolist() == [0.5, 10.0, 100_100.0]


@pytest.mark.parametrize("name", CALLS)
def test_derivatives_of_every_order(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = (
        torch.randn(3, 5, dtype=torch.float64, generator=generator).requires_grad_()
        for _ in range(2)
    )

    def cubed(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return CALLS[name](a**3, b * a) ** 2

    assert torch.autograd.gradcheck(cubed, (a, b))
    assert torch.autograd.gradgradcheck(cubed, (a, b))


@pytest.mark.parametrize("name", CALLS)
def test_a_change_in_place_is_noticed_and_the_graph_serves_once(name: str) -> None:
    start = nn.ones((3, 4), requires_grad=True)
    y = CALLS[name](start * 1, start * 2)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    x = start * 1
    y = CALLS[name](x, start * 2)
    with torch.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_change_of_the_result_of_max_is_noticed() -> None:
    x = nn.ones((3, 4), requires_grad=True)
    y = native.extreme(x, [0], False, True)
    with torch.no_grad():
        y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# What torch imports for forward-mode derivatives warns of itself.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("name", [*CALLS, "gather", "rows"])
def test_a_forward_derivative_is_that_of_two_backwards(name: str) -> None:
    forward = torch.autograd.forward_ad
    values = torch.arange(12.0).reshape(3, 4) - 5
    x = values.clone().requires_grad_()
    with forward.dual_level():
        dual = forward.make_dual(x, torch.ones(3, 4))
        if name == "rows":
            tangent = forward.unpack_dual(native.rows(dual, 1, None)).tangent
            assert torch.equal(tangent, torch.ones(4))
            return
        index = torch.zeros(20, dtype=torch.int64)
        call = CALLS.get(name, lambda a, _: native.gather(a, index, 0))
        tangent = forward.unpack_dual(call(dual, values)).tangent
    ones = torch.ones(3, 4)
    _, wanted = torch.autograd.functional.jvp(lambda a: call(a, values), values, ones)
    assert torch.equal(tangent, wanted)
