"""Hooks of Modules: what they keep alive, and keys that come from elsewhere."""

import gc
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import impl_numpy as nn

PICKLED = """
import pickle, sys
import impl_numpy as nn
module = nn.Tanh()
for hook in (max, min):
    module.register_forward_hook(hook)
sys.stdout.buffer.write(pickle.dumps(module))
"""


@pytest.fixture(autouse=True)
def no_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("end", ["dropped", "backward", "twice", "raised"])
def test_reference_counts_free_a_call_with_hooks(end):
    def hook(module, grad_input, grad_output):
        if end == "raised":
            raise LookupError

    layer, x = nn.Linear(2, 3), nn.ones((4, 2), requires_grad=True)
    layer.register_full_backward_hook(hook)
    layer.register_full_backward_pre_hook(lambda module, grad_output: None)
    y = (layer(x) * 2).sum()
    if end == "raised":
        with pytest.raises(LookupError):
            y.backward()
    elif end != "dropped":
        y.backward(retain_graph=end == "twice")
    if end == "twice":
        y.backward()
    gone = [weakref.ref(layer), weakref.ref(y)]
    del layer, y, hook
    assert [reference() for reference in gone] == [None, None]


def test_a_hook_beside_those_that_another_process_pickled():
    pickled = subprocess.run([sys.executable, "-c", PICKLED], capture_output=True, check=True)
    module = pickle.loads(pickled.stdout)
    (kind,) = module._hooks
    taken = set(module._hooks[kind])
    for _ in range(3):
        module.register_forward_hook(abs)
    assert taken < set(module._hooks[kind])
    assert len(module._hooks[kind]) == 5


def test_several_threads_go_backward_through_one_call():
    layer, seen = nn.Tanh(), []
    layer.register_full_backward_hook(lambda owner, gi, go: seen.append((gi[0], go[0])))
    x = nn.ones((3,), requires_grad=True)
    y = layer(x)

    def work(scale):
        for _ in range(50):
            (y * scale).sum().backward(retain_graph=True)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slope = 1 - np.tanh(np.float32(1)) ** 2
    assert len(seen) == 150
    for grad_input, grad_output in seen:
        np.testing.assert_allclose(grad_input.numpy(), slope * grad_output.numpy(), rtol=1e-5)


def test_a_summary_leaves_no_hook_behind():
    layer = nn.Linear(2, 3)
    nn.summary(layer, nn.ones((4, 2)))
    assert layer._hooks == {}


class Turn(nn.Module):
    def forward(self, z):
        return z * nn.tensor(np.array([1j, 2 + 1j]))


def test_hooks_see_complex_gradients_as_programs_do() -> None:
    seen, turn = [], Turn()
    turn.register_full_backward_hook(lambda module, before, after: seen.append((before, after)))
    a = nn.tensor(np.array([1.0, 2.0]), requires_grad=True)
    z = a + 1j * a
    y = turn(z)
    for value in (z, y):
        value.retain_grad()
    nn.ops.sum(nn.ops.square(nn.ops.abs(y)) + nn.ops.imag(y)).backward()
    (before, after) = seen[0]
    assert np.array_equal(before[0].numpy(), z.grad.numpy())
    assert np.array_equal(after[0].numpy(), y.grad.numpy())
    assert np.allclose(y.grad.numpy(), 2 * y.detach().numpy() + 1j)


def test_hooks_replace_complex_gradients_as_programs_do() -> None:
    turn = Turn()
    turn.register_full_backward_hook(lambda module, before, after: (before[0] * 1j,))
    a = nn.tensor(np.array([1.0, 2.0]), requires_grad=True)
    nn.ops.sum(nn.ops.imag(turn(a + 1j * nn.ones(2)))).backward()
    assert np.allclose(a.grad.numpy(), np.real(1j * 1j * np.conj([1j, 2 + 1j])))
