"""Arrays that others can write: how long they count as lent, and what that costs."""

import gc
import subprocess
import sys

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy import memory


@pytest.fixture(autouse=True)
def nothing_lent():
    gc.collect()
    memory.LENT.clear()
    memory.GIVEN.clear()


def saved(y: nn.Tensor) -> np.ndarray:
    """Return the first operand that a product saved for its second one."""
    return y.grad_fn.saved[0]


def leaf() -> nn.Tensor:
    return nn.tensor([1.0, 2.0], requires_grad=True)


def test_an_array_that_was_given_out_is_lent_while_it_or_a_view_lives() -> None:
    p = leaf()
    array = p.data
    assert np.shares_memory(saved(p * p), array) is False
    view = array[1:]
    del array
    assert len(memory.LENT) == 1
    del view
    assert not memory.LENT
    assert not memory.GIVEN
    assert saved(p * p) is p._data


def test_what_is_read_and_dropped_costs_no_copy_later() -> None:
    p = leaf()
    y = p * p
    assert p.data.sum() == p.detach().numpy().sum() == np.asarray(p.detach()).sum() == 3
    assert not memory.LENT
    assert saved(p * p) is p._data
    y.backward(nn.ones(2))


@pytest.mark.parametrize("make", [nn.from_array, nn.Parameter, nn.Tensor])
def test_an_array_that_was_brought_in_is_lent_until_its_owner_drops_it(make) -> None:
    array = np.ones(2, np.float32)
    p = make(array)
    p.requires_grad_()
    for _ in range(2):
        y = p * p
        assert not np.shares_memory(saved(y), array)
        y.backward(nn.ones(2))
        assert len(memory.LENT) == 1
    del array
    memory.CLOCK.settled = False
    (p * p).backward(nn.ones(2))
    assert not memory.LENT
    assert saved(p * p) is p._data


def test_a_view_of_what_was_brought_in_is_copied_too() -> None:
    array = np.ones((2, 3), np.float32)
    x = nn.from_array(array)
    w = nn.ones(3, 2, requires_grad=True)
    for view in (x.T, x.detach().T, x.reshape(3, 2), nn.ops.asarray(array).T):
        y = w * view
        assert not np.shares_memory(y.grad_fn.saved[1], array)


def test_other_tensors_are_saved_as_they_are() -> None:
    array = np.ones(2, np.float32)
    x = nn.from_array(array)
    p, k = leaf(), nn.ones(2)
    assert (p * k).grad_fn.saved[1] is k._data
    assert (p * x).grad_fn.saved[1] is not x._data


def test_an_array_that_comes_back_stays_one_memory() -> None:
    p = leaf()
    q = nn.from_array(p.data)
    assert q._data is p._data
    nn.init.constant_(q, 7)
    assert p.tolist() == [7.0, 7.0]


def test_a_loop_over_batches_keeps_no_books() -> None:
    data = np.ones((50, 2), np.float32)
    p = leaf()
    for start in range(0, 50, 5):
        (nn.from_array(data[start : start + 5]) * p).backward(nn.ones(5, 2))
    (entry,) = memory.LENT.values()
    assert sum(holder() is not None for holder in entry.holders) == 0
    del data, entry
    assert not memory.LENT


def test_training_notes_no_change_and_compares_nothing() -> None:
    model = nn.Linear(2, 1)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    before = memory.CLOCK.last
    for _ in range(3):
        nn.ops.sum(model(nn.ones(4, 2))).backward()
        optimizer.step()
    assert memory.CLOCK.last == before


def test_an_array_that_outlives_the_interpreter_says_nothing() -> None:
    program = """
import builtins
import impl_numpy as nn

p = nn.tensor([1.0, 2.0], requires_grad=True)
y = p * p
array = p.data
builtins.kept = [p, y, array]
"""
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert child.stdout == child.stderr == ""
