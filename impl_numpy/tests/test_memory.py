"""Small objects, and nothing kept longer than needed. No test here waits for the collector."""

import gc
import weakref
from collections.abc import Iterator

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
    assert nodes() == before + 1
    assert z.grad_fn is not None


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
