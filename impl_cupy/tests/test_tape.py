"""What the tape holds, shares and lets go of."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

import impl_cupy as nn
from impl_cupy import memory
from impl_cupy.backend import cp

LINKS = 100_000


class Pass(nn.Function):
    """Gives its input back, and saves it."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        return grad_output


def in_a_small_thread(job: Callable[[], None]) -> None:
    """Run with 256 KiB of stack, where a destructor that recurses would end the process."""
    before = threading.stack_size(256 * 1024)
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    try:
        thread = threading.Thread(target=guarded)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if failures:
        raise failures[0]


@pytest.mark.parametrize("link", [lambda y: y + 1.0, Pass.apply], ids=["operator", "Function"])
@pytest.mark.parametrize("differentiate", [False, True])
def test_a_long_chain_is_freed_without_recursion(link: Any, differentiate: bool) -> None:
    def job() -> None:
        x = nn.ones((1,), requires_grad=True)
        y = x
        for _ in range(LINKS):
            y = link(y)
        if differentiate:
            y.backward()
            assert x.grad is not None
            assert x.grad.item() == 1

    in_a_small_thread(job)


def test_a_graph_goes_away_without_the_cycle_collector() -> None:
    def used() -> int:
        return int(cp.get_default_memory_pool().used_bytes())

    layer = nn.LSTM(3, 5)
    x = nn.ones((7, 2, 3), requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        before = used()
        output, _ = layer(x)
        total = nn.ops.sum(nn.ops.tanh(output) * output)
        assert used() > before
        del output, total, _
        assert used() == before
    finally:
        gc.enable()


def test_saved_arrays_go_as_the_way_back_goes_on() -> None:
    x = nn.ones((1000,), requires_grad=True)
    y = nn.ops.exp(nn.ops.exp(nn.ops.sin(x)))
    total = nn.ops.sum(y)
    del y
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    total.backward()
    # Two saved results went, one gradient came.
    assert pool.used_bytes() < before


def test_leaves_do_not_share_their_gradients() -> None:
    x, y = nn.ones((3,), requires_grad=True), nn.ones((3,), requires_grad=True)
    seed = nn.ones((3,))
    (x + y).backward(seed)
    assert x.grad is not None
    assert y.grad is not None
    x.grad.data *= 7
    assert y.grad.tolist() == seed.tolist() == [1.0, 1.0, 1.0]


def test_a_fused_gradient_is_not_another_s() -> None:
    layer = nn.RNN(3, 5)
    output, _ = layer(nn.ones((4, 2, 3)))
    nn.ops.sum(output).backward()
    assert layer.bias_ih_l0.grad is not None
    assert layer.bias_hh_l0.grad is not None
    before = layer.bias_hh_l0.grad.tolist()
    layer.bias_ih_l0.grad.data *= 7
    assert layer.bias_hh_l0.grad.tolist() == before


def test_a_hook_s_answer_is_not_shared_with_the_leaf() -> None:
    weight = nn.ones((2, 2), requires_grad=True)
    answer = nn.zeros((2, 2))
    weight.register_hook(lambda grad: answer)
    layer = nn.Linear(2, 2)
    output = nn.functional_call(layer, {"weight": weight}, nn.ones((1, 2)))
    nn.ops.sum(output).backward()
    assert weight.grad is not None
    weight.grad.data += 1
    assert answer.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_hook_that_raises_leaves_gradients_alone() -> None:
    x, y = nn.ones((2,), requires_grad=True), nn.ones((2,), requires_grad=True)

    def refuse(grad: nn.Tensor) -> None:
        msg = "refused"
        raise LookupError(msg)

    y.register_hook(refuse)
    with pytest.raises(LookupError, match="refused"):
        nn.ops.sum(x * y).backward()
    assert x.grad is None
    assert y.grad is None
    assert nn.is_grad_enabled()


def copies(job: Callable[[], object]) -> int:
    """Return how many bytes a job holds on to beside its result's."""
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    kept = job()
    held = int(pool.used_bytes() - before)
    del kept
    return held


def test_an_array_that_somebody_holds_is_copied_and_one_that_was_shown_is_not() -> None:
    array = cp.ones(1024, dtype="float32")
    x = nn.from_array(array, requires_grad=True)
    size = copies(lambda: x.detach() + 1.0)
    # The result, and a copy of x, which the caller may write at any time.
    assert copies(lambda: nn.ops.square(x)) == 2 * size
    del array
    assert copies(lambda: nn.ops.square(x)) == size
    assert float(x.data[0]) == 1.0
    assert copies(lambda: nn.ops.square(x)) == size


def test_what_was_lent_is_forgotten_with_its_array() -> None:
    before = len(memory.lent), len(memory._watched)
    x = nn.ones((3,), requires_grad=True)
    y = x * x
    x.data[...] = 5.0
    assert len(memory.lent) > before[0]
    assert len(memory._watched) > before[1]
    del x, y
    assert (len(memory.lent), len(memory._watched)) == before


def test_steps_between_graphs_leave_nothing_to_check() -> None:
    layer = nn.Linear(2, 2)
    optimizer = nn.optim.SGD(layer.parameters(), lr=0.1)
    before = memory.clock.now
    for _ in range(3):
        nn.ops.sum(layer(nn.ones((1, 2)))).backward()
        optimizer.step()
    # Nothing but the Parameters had their arrays, so no node can ever have to look.
    assert memory.clock.now == before
