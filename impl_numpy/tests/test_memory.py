"""Small objects, and nothing kept longer than needed. No test here waits for the collector."""

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.tape import Leaf, Node


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    """Cycles would live on: their absence is what these tests are about."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def nodes() -> int:
    return sum(isinstance(x, Node) and not isinstance(x, Leaf) for x in gc.get_objects())


@pytest.mark.parametrize("thing", [nn.ones(2), (nn.ones(2, requires_grad=True) * 2).grad_fn])
def test_tensors_and_nodes_have_slots(thing) -> None:
    assert not hasattr(thing, "__dict__")
    with pytest.raises(AttributeError):
        thing.anything = 1


def test_every_kind_of_node_has_slots() -> None:
    kinds = [Node]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert "__slots__" in vars(kind)
    assert len(kinds) > 3


def test_a_dropped_result_takes_its_graph_along() -> None:
    x = nn.ones(3, requires_grad=True)
    before = nodes()
    y = nn.ops.exp(x)
    saved = weakref.ref(y._data)
    z = nn.ops.sum(y * y)
    del y
    assert nodes() == before + 3
    assert saved() is not None
    del z
    assert nodes() == before
    assert saved() is None


def test_backward_lets_go_while_the_result_lives() -> None:
    x = nn.ones(3, requires_grad=True)
    before = nodes()
    y = nn.ops.exp(x)
    saved = weakref.ref(y._data)
    z = nn.ops.sum(y)
    del y
    z.backward()
    assert saved() is None
    # The nodes stay, empty: later passes to named Tensors ask what leads where.
    assert nodes() == before + 2
    assert z.grad_fn is not None
    del z
    assert nodes() == before


def test_buffers_go_as_backward_passes_them() -> None:
    x = nn.ones(3, requires_grad=True)
    first = nn.ops.exp(x)
    second = nn.ops.exp(first)
    saved = weakref.ref(second._data)
    seen = []
    first.register_hook(lambda grad: seen.append(saved()))
    z = nn.ops.sum(second)
    del second
    z.backward()
    assert seen == [None]


def test_nothing_is_recorded_without_need() -> None:
    before = nodes()
    x = nn.ones(3)
    y = nn.ops.exp(x * 2) + x
    with nn.no_grad():
        z = nn.ones(3, requires_grad=True) * y
    assert nodes() == before
    assert z.grad_fn is None


def test_only_what_a_gradient_needs_is_kept() -> None:
    x, constant = nn.ones(3, requires_grad=True), nn.ones(3)
    y = x * constant
    a, b, out = y.grad_fn.saved
    assert a is None
    assert b is constant._data
    assert out is None


def test_an_instance_keeps_nothing_for_a_dropped_result() -> None:
    class Twice(nn.Function):
        def forward(self, x):
            self.save_for_backward(2 * x)
            return 2 * x

        def backward(self, grad):
            return 2 * grad

    function = Twice()
    y = function(nn.ones(3, requires_grad=True))
    saved = weakref.ref(y.grad_fn.saved[0])
    del y
    assert saved() is None
    assert function.saved_tensors == ()


def test_a_leaf_is_not_kept_by_the_graph() -> None:
    x = nn.ones(3, requires_grad=True)
    gone = weakref.ref(x)
    y = x * 2
    del x
    assert gone() is None
    y.backward(nn.ones(3))


@pytest.mark.parametrize("backward", [False, True])
def test_a_long_chain_is_freed_without_recursion(backward: bool) -> None:
    y = nn.ones(1, requires_grad=True)
    before = nodes()
    for _ in range(200_000):
        y = y * 1.0
    if backward:
        y.backward()
    del y
    assert nodes() == before


def test_a_second_derivative_leaves_no_cycle() -> None:
    x = nn.ones(3, requires_grad=True)
    before = nodes()
    nn.ops.sum(nn.ops.exp(x)).backward(create_graph=True)
    assert nodes() > before
    x.grad = None
    assert nodes() == before


def test_a_gradient_that_nobody_else_holds_is_not_copied() -> None:
    made = []

    def forward(ctx, x):
        return x * 1

    def backward(ctx, grad):
        result = grad * 2
        made.append(result.__array_interface__["data"])
        return result

    function = type("F", (nn.Function,), {"forward": staticmethod(forward)})
    function.backward = staticmethod(backward)
    x = nn.ones(300, requires_grad=True)
    function.apply(x).backward(nn.ones(300))
    assert x.grad._data.__array_interface__["data"] == made[0]


HELD = {
    "by two leaves": lambda x, y, kept: x + y,
    "by the caller": lambda x, y, kept: x + 0,
    "as a view": lambda x, y, kept: x.T + nn.zeros(3, 3),
    "by a Function": lambda x, y, kept: Kept.apply(x),
    "by a hook": lambda x, y, kept: hooked(x, kept),
    "by retain_grad": lambda x, y, kept: retained(x, kept),
}


class Kept(nn.Function):
    """Keeps the gradient that it returns."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        kept_outside.append(grad * 2)
        return kept_outside[-1]


kept_outside: list = []


def hooked(x, kept):
    x.register_hook(lambda grad: kept.append(grad))
    return x * 2


def retained(x, kept):
    y = x * 2
    z = y.reshape(3, 3)
    y.retain_grad()
    kept.append(y)
    return z


@pytest.mark.parametrize("holder", HELD)
def test_a_gradient_that_others_hold_is_copied(holder: str) -> None:
    x, y = nn.ones(3, 3, requires_grad=True), nn.ones(3, 3, requires_grad=True)
    seed, kept = nn.ones(3, 3), []
    kept_outside.clear()
    HELD[holder](x, y, kept).backward(seed)
    others = [seed, y.grad, *kept, *[t.grad for t in kept if t.grad is not None]]
    arrays = [t._data for t in others if t is not None] + kept_outside
    assert not any(np.shares_memory(x.grad._data, array) for array in arrays)
    assert x.grad._data.flags.c_contiguous
    before = [array.copy() for array in arrays]
    x.grad.data[...] = 7
    for array, values in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, values)
