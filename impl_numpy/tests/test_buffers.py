"""Memory that is used again is nobody else's."""

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy import buffers
from impl_numpy.dtypes import float32, float64

SHAPE = (100, 8, 16)


@pytest.fixture(autouse=True)
def nothing_free():
    gc.collect()
    buffers._FREE.clear()


def place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("shape", [(3,), (0, 5), SHAPE, (1, 1 << 14), (33, 1000)])
def test_an_array_is_as_asked_for(shape, dtype) -> None:
    array = buffers.empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.carray
    array[...] = 7
    np.testing.assert_array_equal(array, np.full(shape, 7, dtype))


def test_what_nobody_holds_is_used_again() -> None:
    array = buffers.empty(SHAPE, float32)
    first = place(array)
    del array
    assert place(buffers.empty(SHAPE, float32)) == first


@pytest.mark.parametrize("kept", [lambda x: x, lambda x: x[3:, ::2].T, lambda x: x.view(np.int32)])
def test_what_a_view_shows_is_not_used_again(kept) -> None:
    array = buffers.empty(SHAPE, float32)
    array[...] = 5
    view = kept(array)
    wanted = view.copy()
    del array
    other = buffers.empty(SHAPE, float32)
    other[...] = 9
    assert not np.shares_memory(view, other)
    np.testing.assert_array_equal(view, wanted)


def test_two_at_once_are_apart() -> None:
    arrays = [buffers.empty(SHAPE, float32) for _ in range(4)]
    assert len({place(array) for array in arrays}) == 4


def test_little_is_kept() -> None:
    size = buffers.MOST // 4
    arrays = [buffers.empty((size,), float32) for _ in range(buffers.KEPT // buffers.MOST + 3)]
    del arrays
    assert 0 < sum(memory.size for memory in buffers._FREE) <= buffers.KEPT
    arrays = [buffers.empty((buffers.LEAST + 64 * k,), float32) for k in range(100)]
    del arrays
    assert len(buffers._FREE) <= buffers.COUNT


def test_sizes_that_vary_meet_again() -> None:
    sizes = {buffers._rounded(n) for n in range(1 << 20, 1 << 21, 997)}
    assert len(sizes) <= 9
    assert all(n <= buffers._rounded(n) <= n * 9 / 8 for n in range(1 << 14, 1 << 16, 61))


def test_threads_do_not_share() -> None:
    wrong = []

    def work(number: int) -> None:
        for _ in range(300):
            array = buffers.empty(SHAPE, float32)
            array[...] = number
            if not (array == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_results_outlive_what_is_used_again(name) -> None:
    layer = getattr(nn, name)(16, 32)
    rng = np.random.default_rng(0)
    inputs = [nn.tensor(rng.standard_normal((20, 8, 16), np.float32)) for _ in range(3)]
    held = []
    for x in inputs:
        x.requires_grad_()
        output, state = layer(x)
        nn.ops.sum(output * output).backward()
        held.append((output, state, x.grad, x))
    layer.zero_grad()
    for output, state, grad, x in held:
        fresh = nn.tensor(x.detach().numpy().copy(), requires_grad=True)
        again, state_again = layer(fresh)
        nn.ops.sum(again * again).backward()
        pairs = [(output, again), (grad, fresh.grad)]
        pairs += zip(
            state if isinstance(state, tuple) else (state,),
            state_again if isinstance(state_again, tuple) else (state_again,),
            strict=True,
        )
        for a, b in pairs:
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_memory_that_outlives_the_interpreter_says_nothing() -> None:
    program = """
import builtins
from impl_numpy import buffers
from impl_numpy.dtypes import float32

builtins.kept = buffers.empty((100, 100), float32)
"""
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert child.stdout == child.stderr == ""
