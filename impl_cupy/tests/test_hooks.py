"""The gates of backward hooks in the graph: threads, memory, and what a hook may write into."""

from __future__ import annotations

import gc
import threading
from typing import Any
from weakref import ref

import numpy as np

import impl_cupy as nn


def hooked(hook: Any) -> Any:
    module = nn.Tanh()
    module.register_full_backward_hook(hook)
    return module


def test_each_thread_has_the_gradients_of_its_own_pass() -> None:
    seen: list[float] = []
    module = hooked(lambda owner, grad_input, grad_output: seen.append(grad_output[0].item()))
    y = module(nn.ones((1,), requires_grad=True))

    def run(number: int) -> None:
        y.backward(nn.full((1,), float(number)), retain_graph=True)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(8))


def test_the_gates_make_no_circle() -> None:
    module = hooked(lambda owner, grad_input, grad_output: None)
    gc.disable()
    try:
        y = module(nn.ones((2,), requires_grad=True))
        raw = ref(y)
        del y
        assert raw() is None
    finally:
        gc.enable()


def test_a_hook_writes_into_its_own_gradient_alone() -> None:
    def write(owner: Any, grad_input: Any, grad_output: Any) -> None:
        grad_output[0].data[...] = 9

    x, seed = nn.ones((2,), requires_grad=True), nn.ones((2,))
    (hooked(write)(x) + x).backward(seed)
    np.testing.assert_array_equal(seed.numpy(), [1, 1])
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 2 - np.tanh(1) ** 2, rtol=1e-6)


def test_a_copy_in_another_process_keeps_its_hooks() -> None:
    module = nn.Tanh()
    handle = module.register_forward_hook(lambda owner, args, output: output + 1)
    # As after a pickle, the next key to be given is taken already.
    module._forward_hooks[handle._key + 1] = module._forward_hooks[handle._key]
    module.register_forward_hook(lambda owner, args, output: output + 1)
    assert module(nn.zeros((1,))).item() == 3
