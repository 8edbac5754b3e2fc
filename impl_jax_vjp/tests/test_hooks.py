"""Hooks of Modules: the tape that calls those of backward, what is compiled, and the order."""

import gc
import pickle
import threading
import weakref
from typing import Any

import jax
import numpy as np
import pytest

import impl_jax_vjp as nn
from impl_jax_vjp import random


def hooked() -> tuple[Any, list[Any]]:
    """Return a Module whose backward hook notes the gradients of its inputs, and the list."""
    module, seen = nn.Linear(2, 3), []
    module.register_full_backward_hook(lambda owner, grads, _: seen.append(grads[0]))
    return module, seen


def test_a_compiled_function_refuses_backward_hooks() -> None:
    module, x = nn.Linear(2, 3), nn.ones((4, 2), requires_grad=True)
    call = nn.jit(lambda x: module(x))
    want = call(x).tolist()
    handle = module.register_full_backward_hook(lambda owner, grads, _: None)
    for of in (x, nn.ones((4, 2))):
        with pytest.raises(RuntimeError, match="Linear: a Module with backward hooks"):
            call(of)
    with nn.no_grad():
        assert call(x).tolist() == want
    handle.remove()
    assert call(x).tolist() == want


def test_a_compiled_function_keeps_no_hook_that_it_adds() -> None:
    module = nn.Linear(2, 3)

    def call(x: Any) -> Any:
        module.register_forward_hook(lambda *given: None)
        return module(x)

    with pytest.raises(RuntimeError, match="Linear"):
        nn.jit(call)(nn.ones((4, 2)))
    assert not module._module_hooks


def test_backward_hooks_run_in_the_mode_of_the_user() -> None:
    module = nn.Tanh()
    seen = []
    module.register_full_backward_hook(lambda *given: seen.append(jax.config.jax_enable_x64))
    with jax.enable_x64(False):
        x = nn.ones(2, dtype=nn.float64, requires_grad=True)
        module(x).sum().backward()
        nn.checkpoint(module, x).sum().backward()
        nn.grad(lambda x: module(x).sum())(x)
    assert seen == [False] * 3


def test_the_hook_of_an_output_comes_before_those_of_its_module() -> None:
    module, x = nn.Identity(), nn.zeros(1, requires_grad=True)
    module.register_full_backward_pre_hook(lambda owner, grads: (grads[0] * 2,))
    y = module(x)
    y.retain_grad()
    y.register_hook(lambda grad: grad + 3)
    y.sum().backward()
    assert y.grad is not None
    assert x.grad is not None
    assert (y.grad.item(), x.grad.item()) == (4, 8)


def test_threads_that_run_one_graph_are_each_seen() -> None:
    module, seen = hooked()
    loss = module(nn.ones((4, 2), requires_grad=True)).sum()
    threads = [threading.Thread(target=lambda: loss.backward(retain_graph=True)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 6
    assert len({str(grad.tolist()) for grad in seen}) == 1


def test_jax_takes_a_module_with_hooks() -> None:
    module, seen = hooked()
    x = nn.ones((4, 2))
    twin = jax.tree.map(lambda array: array * 2, module)
    assert twin._module_hooks == module._module_hooks
    grads = jax.jit(jax.grad(lambda module: module(x).sum().data))(module)
    assert np.array_equal(np.asarray(grads.bias.data), np.full(3, 4, np.float32))
    assert not seen


def test_a_hook_is_added_to_those_of_an_unpickled_module() -> None:
    module = nn.Tanh()
    module.register_forward_hook(print)
    twin = pickle.loads(pickle.dumps(module))
    for _ in range(2):
        twin.register_forward_hook(print)
    assert len(twin._module_hooks) == 3


def test_hooks_leave_no_circles() -> None:
    gc.disable()
    try:
        module, _ = hooked()
        module.register_forward_hook(lambda *given: None, always_call=True)
        for backward in (False, True):
            y = module(nn.ones((4, 2), requires_grad=True))
            if backward:
                y.sum().backward()
            node = weakref.ref(y)
            del y
            assert node() is None
        gone = weakref.ref(module)
        del module
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("count", range(10))
def test_a_position_counts_from_a_state_that_was_set(count: int) -> None:
    nn.rand(6)
    nn.set_rng_state(nn.get_rng_state())
    nn.rand(count)
    position, state = random.get_state(), nn.get_rng_state().tolist()
    nn.rand(9)
    random.set_state(position)
    assert nn.get_rng_state().tolist() == state


def test_a_compiled_function_refuses_the_state_of_the_generator() -> None:
    for call in (nn.get_rng_state, lambda: nn.set_rng_state(np.zeros(11, np.int64))):
        with pytest.raises(RuntimeError, match="et_rng_state"):
            nn.jit(call)()
