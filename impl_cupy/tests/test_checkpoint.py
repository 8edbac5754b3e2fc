"""What a checkpoint keeps and what it notes: the particulars of this tape."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy import memory, random


def values(*shape: int) -> Any:
    return nn.rand(shape, dtype=nn.float64)


def test_what_lies_between_is_forgotten() -> None:
    made: list[Any] = []

    def function(x: Any) -> Any:
        h = nn.ops.tanh(x)
        made.append(ref(h.data))
        return h * x

    x = nn.rand((3,), requires_grad=True)
    y = nn.checkpoint(function, x)
    assert made[0]() is None
    nn.ops.sum(y).backward()
    assert len(made) == 2
    assert made[1]() is None


def test_nothing_is_noted_outside() -> None:
    x = nn.rand((3,), requires_grad=True)
    with pytest.raises(ZeroDivisionError):
        nn.checkpoint(lambda x: nn.checkpoint(lambda x: x / (1 // 0), x), x)
    assert not memory.readers


def test_a_hook_elsewhere_sees_the_whole_gradient_once() -> None:
    w = nn.tensor([2.0], requires_grad=True)
    inner = w * 1.0
    seen: list[float] = []
    for tensor in (w, inner):
        tensor.register_hook(lambda grad: seen.append(grad.item()))
    y = nn.checkpoint(lambda x: x * inner * w, nn.tensor([3.0])) + inner + w
    y.backward()
    assert seen == [7.0, 14.0]


def test_an_array_that_a_cache_made_need_not_be_made_again() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cache = None

        def forward(self, x: Any) -> Any:
            if self.cache is None:
                self.cache = nn.full((3,), 2.0)
            return nn.ops.exp(x * self.cache)

    x = nn.zeros((3,), requires_grad=True)
    nn.ops.sum(nn.checkpoint(Caching(), x)).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_another_result_the_second_time_is_refused() -> None:
    sizes = iter([2, 3])
    x = nn.ones((1,), requires_grad=True)
    y = nn.checkpoint(lambda x: x * nn.ones((next(sizes),)), x)
    with pytest.raises(RuntimeError, match="checkpoint: fn must return what it returned"):
        nn.ops.sum(y).backward()
    assert x.grad is None


def test_the_common_generator_is_left_alone() -> None:
    nn.manual_seed(1)
    x = values(3).requires_grad_()
    y = nn.checkpoint(nn.Dropout(0.5), x)
    before = random.mark()
    masked = x.detach() * 2 * (y.detach() != 0)
    nn.ops.sum(y).backward()
    assert random.mark() == before
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), 2.0 * (masked.numpy() != 0))


def test_a_transformation_inside_is_recorded_as_it_was() -> None:
    def function(x: Any) -> Any:
        return nn.ops.sum(nn.grad(lambda z: nn.ops.sum(z * z * z))(x) ** 2)

    x = values(3)
    np.testing.assert_allclose(
        nn.grad(lambda x: nn.checkpoint(function, x))(x).numpy(), nn.grad(function)(x).numpy()
    )


def test_a_state_that_a_module_carries_on_keeps_no_graph() -> None:
    class Carrying(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.state = nn.zeros((3,))

        def forward(self, x: Any) -> Any:
            self.state = nn.checkpoint(self.step, x)
            return self.state

        def step(self, x: Any) -> Any:
            return nn.ops.tanh(self.linear(x) + self.state.detach())

    module, x = Carrying(), nn.rand((3,))
    first = ref(module(x))
    for _ in range(2):
        module(x)
    assert first() is None


def test_modules_are_run_again_in_the_mode_that_they_were_in() -> None:
    module, x = nn.Dropout(0.5), nn.ones((64,), requires_grad=True)
    y = nn.checkpoint(module, x)
    module.eval()
    nn.ops.sum(y).backward()
    assert not module.training
    assert x.grad is not None
    assert x.grad.tolist() == y.detach().tolist()


def test_results_may_be_read_by_the_function_that_made_them() -> None:
    def function(x: Any) -> Any:
        h = nn.checkpoint(nn.ops.exp, x)
        zeros = nn.zeros((3,))
        return h, zeros, h * h + zeros

    x = nn.zeros((3,), requires_grad=True)
    h, zeros, y = nn.checkpoint(function, x)
    nn.ops.sum(h + y + zeros).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("kind", ["raw", "index", "lengths"])
def test_a_constant_from_elsewhere_is_guarded(kind: str) -> None:
    layer, places = nn.GRU(2, 3), nn.tensor([1, 2])
    raw = nn.ones((2,)).data
    x = nn.rand((4, 2, 2), requires_grad=True)
    function = {
        "raw": lambda x: nn.ops.tanh(x * raw),
        "index": lambda x: nn.ops.tanh(x[places]),
        "lengths": lambda x: layer(x, lengths=places)[0],
    }[kind]
    y = nn.checkpoint(function, x)
    raw[...] = 3
    nn.init.zeros_(places)
    with pytest.raises(RuntimeError, match=r"checkpoint needs a Tensor of shape \(2,\)"):
        nn.ops.sum(y).backward()


def test_an_argument_without_arrays_is_passed_on_itself() -> None:
    log: list[str] = []

    def function(x: Any, log: list[str], nothing: None) -> Any:
        assert nothing is None
        log.append("called")
        return nn.ops.exp(x)

    x = nn.zeros((3,), requires_grad=True)
    y = nn.checkpoint(function, x, log, None)
    assert log == ["called"]
    nn.ops.sum(y).backward()
    assert log == ["called", "called"]
