"""Chapter autograd: the recorded graph as text."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support import dot
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.changes import own_class
from spec_tests.support.inputs import normal

# What the backend's own class may call an operation.
NAMES = {
    "matmul": ("matmul", "mm", "mv"),
    "tanh": ("tanh",),
    "multiply": ("multiply", "mul"),
    "sum": ("sum",),
    "add": ("add",),
    "index": ("index", "item", "select", "slice"),
}


def names(nn: Any, operation: str) -> tuple[str, ...]:
    return NAMES[operation] if own_class(nn) or operation == "index" else (operation,)


def picture(nn: Any, t: Any, *params: Any, **named: Any) -> dot.Graph:
    """Return what `graph` shows; the text is read as DOT."""
    text = nn.graph(t, *params, **named)
    assert type(text) is str
    return dot.read(text)


def the_one(graph: dot.Graph, *words: str) -> str:
    """Return the only node with one of the words in its label."""
    found = graph.named(*words)
    assert len(found) == 1, f"{words}: {[graph.labels[node] for node in found]}"
    return found[0]


@clause("autograd-43")
def test_operations_leaves_and_edges(nn: Any) -> None:
    w, x, b = (
        tensor(nn, normal((4, 3), "float32")),
        tensor(nn, normal((3, 2), "float32")),
        tensor(nn, normal((4, 1), "float32")),
    )
    frozen = nn.tensor(normal((4, 2), "float32"))
    h = nn.ops.tanh(nn.ops.add(nn.ops.matmul(w, x), b))
    loss = nn.ops.sum(nn.ops.multiply(h, frozen))
    graph = picture(nn, loss)
    leaves = [the_one(graph, shape) for shape in ("(4, 3)", "(3, 2)", "(4, 1)")]
    assert sorted(graph.starts()) == sorted(leaves), "ways begin at leaves that require grad alone"
    steps = [graph.named(*names(nn, name)) for name in ("matmul", "add", "tanh", "multiply", "sum")]
    assert all(steps), graph.labels
    product, total, bent, weighed, summed = (found[-1] for found in steps)
    ways = [(leaves[0], product), (leaves[1], product), (product, total), (leaves[2], total)]
    ways += [(total, bent), (bent, weighed), (weighed, summed)]
    for start, end in ways:
        assert graph.leads(start, end), f"no way from {graph.labels[start]} to {graph.labels[end]}"
        assert not graph.leads(end, start)
    assert not graph.leads(leaves[2], product)
    (end,) = graph.ends()
    assert end in steps[-1]
    assert len(graph.labels) <= 20


@clause("autograd-43")
def test_operators_are_named_by_their_functions(nn: Any) -> None:
    x, y = tensor(nn, normal((3, 3), "float32")), tensor(nn, normal((3, 3), "float32", seed=1))
    calls = {
        "matmul": x @ y,
        "multiply": x * y,
        "add": x + y,
        "sum": x.sum(),
        "index": x[0],
    }
    for name, result in calls.items():
        assert picture(nn, result).named(*names(nn, name)), nn.graph(result)


@clause("autograd-43")
def test_functions_are_named_by_their_class(nn: Any) -> None:
    class BetweenUs(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> tuple[Any, Any]:
            return x * 2, y * 3

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> tuple[Any, Any]:
            return g * 2, h * 3

    class AfterAll(nn.Function):
        def forward(self, x: Any) -> Any:
            return x + 1

        def backward(self, grad_output: Any) -> Any:
            return grad_output

    x, y = tensor(nn, normal((3,), "float32")), tensor(nn, normal((3,), "float32", seed=1))
    first, second = BetweenUs.apply(x, y)
    graph = picture(nn, AfterAll()(nn.ops.multiply(first, second)))
    both, last = the_one(graph, "BetweenUs"), the_one(graph, "AfterAll")
    assert graph.ends() == [last]
    starts = graph.starts()
    assert len(starts) == 2, "two leaves of one shape are two nodes"
    assert all(graph.labels[start].count("(3,)") == 1 for start in starts)
    assert all(graph.leads(start, both) for start in starts)
    assert graph.leads(both, last)


@clause("autograd-43")
def test_names_of_leaves(nn: Any) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = tensor(nn, normal((5, 3), "float32"))
    loss = nn.ops.sum(net(x))
    graph = picture(nn, loss, net)
    for name, parameter in net.named_parameters():
        label = graph.labels[the_one(graph, name)]
        shape = str(tuple(parameter.shape))
        assert label.index(name) < label.index(shape), label
    assert "(5, 3)" in graph.labels[the_one(graph, "(5, 3)")]
    assert len(graph.starts()) == 5
    named = picture(nn, loss, params={"the input": x, "unused": nn.ones((7,))})
    assert "(5, 3)" in named.labels[the_one(named, "the input")]
    assert not named.named("unused", "(7,)", "weight")


STRANGE = ['a"b', "a\\", 'end\\"', "two\nlines", "a -> b; c", "{x} [y]", "größe", "", '"]; x [']


@pytest.mark.parametrize("name", STRANGE)
@clause("autograd-43")
def test_names_that_need_quotes(nn: Any, name: str) -> None:
    x = tensor(nn, normal((3, 2), "float32"))
    graph = picture(nn, nn.ops.sum(x), {name: x})
    label = graph.labels[the_one(graph, "(3, 2)")]
    assert name in label
    assert len(graph.starts()) == 1
    assert "two\nlines" not in nn.graph(nn.ops.sum(x), {name: x})


@clause("autograd-43")
def test_the_same_text_each_time(nn: Any) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def build() -> Any:
        x = tensor(nn, normal((5, 3), "float32"))
        h = net(x)
        return nn.ops.sum(nn.ops.softmax(h) * h + h)

    first, between, second = build(), [build() for _ in range(3)], build()
    text = nn.graph(first, net)
    assert nn.graph(first, net) == text
    assert nn.graph(second, net) == text
    assert {nn.graph(other, net) for other in between} == {text}
    changed = nn.graph(nn.ops.tanh(first), net)
    assert changed != text


@clause("autograd-43", "autograd-11")
def test_what_is_used_often_stands_there_once(nn: Any) -> None:
    x = leaf = tensor(nn, normal((3,), "float32"))
    for _ in range(60):
        x = nn.ops.add(x, x)
    graph = picture(nn, x)
    assert len(graph.starts()) == 1
    assert 61 <= len(graph.labels) <= 130
    loss = nn.ops.sum(nn.ops.multiply(leaf, nn.ops.tanh(leaf)) + leaf)
    again = picture(nn, loss, {"leaf": leaf})
    one = the_one(again, "leaf")
    users = [end for start, end in again.edges if start == one]
    assert len(set(users)) >= 3, "each operation that uses the leaf has its edge"


@clause("autograd-43", "autograd-10")
def test_a_graph_of_a_hundred_thousand_operations(nn: Any) -> None:
    x = tensor(nn, np.ones(1, "float32"))
    y = x
    for _ in range(100_000):
        y = y * 1
    text = nn.graph(y)
    assert text.count("->") >= 100_000
    assert text.startswith("digraph")
    y.backward()
    exactly(nn, x.grad, np.ones(1, "float32"))


@clause("autograd-43")
def test_it_changes_nothing_and_keeps_nothing(nn: Any) -> None:
    x = tensor(nn, normal((3,), "float32"))
    h = nn.ops.tanh(x)
    loss = nn.ops.sum(h * h)
    text = nn.graph(loss)
    assert x.grad is None
    loss.backward(retain_graph=True)
    want = to_numpy(nn, x.grad).copy()
    assert nn.graph(loss) == text
    x.grad = None
    loss.backward()
    exactly(nn, x.grad, want, dtype="float32")
    # Freed, it is shown as before or refused.
    try:
        again = nn.graph(loss)
    except RuntimeError as error:
        again = str(error)
    assert again == text or "retain_graph" in again
    loss = nn.ops.sum(nn.ops.tanh(x))
    watched = weakref.ref(loss)
    gc.disable()
    try:
        nn.graph(loss)
        del loss
        assert watched() is None
    finally:
        gc.enable()


@clause("autograd-43")
def test_a_leaf_and_what_has_no_graph(nn: Any) -> None:
    x = tensor(nn, normal((3, 2), "float32"))
    graph = picture(nn, x, {"alone": x})
    assert len(graph.labels) == 1
    assert graph.edges == []
    assert "(3, 2)" in graph.labels[the_one(graph, "alone")]
    with refuses(RuntimeError, "grad"):
        nn.graph(nn.ones((3,)))
    with nn.no_grad(), refuses(RuntimeError, "grad"):
        nn.graph(x * 2)
    for bad in (3, "x", None, [x]):
        with refuses(TypeError, "graph", (type(bad).__name__, "None")):
            nn.graph(bad)
    if not own_class(nn):
        with refuses(TypeError, "graph"):
            nn.graph(raw(nn, normal((3,), "float32")))
    for params in (3, "x", [x], {"x": 3}):
        with refuses(TypeError, "graph", "params"):
            nn.graph(x, params)


@clause("autograd-43", "tensor-08")
def test_a_leaf_that_was_given_another_shape(nn: Any) -> None:
    x = tensor(nn, normal((2,), "float32"))
    nn.ops.sum(x * x).backward()
    x.grad = None
    x.data = raw(nn, normal((3,), "float32"))
    y = x * x
    assert x.is_leaf
    graph = picture(nn, y)
    assert graph.leads(the_one(graph, "(3,)"), the_one(graph, *NAMES["multiply"]))
    nn.ops.sum(y).backward()
    agrees(nn, x.grad, 2 * normal((3,), "float32"), "gradient", dtype="float32")


@clause("autograd-43", "autograd-14")
def test_the_graph_within_a_transformation(nn: Any) -> None:
    graphs = []

    def fn(x: Any) -> Any:
        y = nn.ops.tanh(x) * 2
        graphs.append(picture(nn, y))
        return nn.ops.sum(y)

    slope = nn.grad(fn)(nn.zeros((2,)))
    exactly(nn, slope, np.array([2, 2], "float32"))
    (graph,) = graphs
    (end,) = graph.ends()
    assert graph.leads(the_one(graph, "tanh"), end)


@clause("autograd-43", needs="jit")
def test_the_graph_of_a_function_under_jit(nn: Any) -> None:
    x = tensor(nn, normal((3, 2), "float32"))

    def scaled(x: Any) -> Any:
        return nn.ops.tanh(x) * 2

    graph = picture(nn, nn.ops.sum(nn.jit(scaled)(x)))
    start = the_one(graph, "(3, 2)")
    (end,) = graph.ends()
    assert graph.leads(start, end)
    assert graph.named("sum")
