"""Chapter autograd: hooks after accumulation, and what a backward pass lets go as it runs."""

import gc
import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.changes import own_class
from spec_tests.support.inputs import normal
from spec_tests.support.memory import peaks_of, unmeasurable

pytestmark = pytest.mark.sampled(6)

Hook = Callable[[Any], None]


class Mishap(Exception):
    """What the user's own code raises."""


@clause("autograd-45")
def test_a_hook_sees_the_leaf_and_its_gradient(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    seen: list[Any] = []
    handle = x.register_post_accumulate_grad_hook(
        lambda leaf: seen.append((leaf is x, to_numpy(nn, leaf.grad).copy()))
    )
    # Used three times, and called once, when everything has arrived.
    loss = nn.ops.sum(x * 2 + nn.ops.tanh(x * 0) + x)
    loss.backward(retain_graph=True)
    assert len(seen) == 1
    assert seen[0][0]
    exactly(nn, seen[0][1], np.full(3, 3.0))
    loss.backward(retain_graph=True)
    exactly(nn, seen[1][1], np.full(3, 6.0), call="the sum, not what was added")
    handle.remove()
    loss.backward()
    assert len(seen) == 2
    exactly(nn, x.grad, np.full(3, 9.0))


@clause("autograd-45")
def test_several_hooks_and_other_hooks(nn: Any) -> None:
    x = nn.Parameter(nn.tensor(normal(3, "float32")))
    seen: list[str] = []
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append("first"))
    middle = x.register_post_accumulate_grad_hook(lambda leaf: seen.append("middle"))
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append("last"))

    def tenfold(grad: Any) -> Any:
        seen.append("hook")
        return grad * 10

    x.register_hook(tenfold)
    nn.ops.sum(x * 2).backward()
    assert seen == ["hook", "first", "middle", "last"]
    exactly(nn, x.grad, np.full(3, 20.0, "float32"))
    middle.remove()
    middle.remove()
    x.requires_grad_(False)
    x.requires_grad_(True)
    nn.ops.sum(x * 2).backward()
    assert seen[4:] == ["hook", "first", "last"]


@clause("autograd-45")
def test_what_does_not_call_it(nn: Any) -> None:
    x, other = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32", seed=1))
    seen: list[Any] = []
    x.register_post_accumulate_grad_hook(seen.append)
    y = x * other

    def backward_of_another(**options: Any) -> None:
        nn.ops.sum(y * 1).backward(retain_graph=True, **options)

    nn.grad(nn.ops.sum(y * 1), x, retain_graph=True)
    nn.grad(lambda x: nn.ops.sum(x * other))(x)
    nn.vjp(lambda x: x * other, x)[1](nn.ones((3,)))
    backward_of_another(inputs=[other])
    backward_of_another(inputs=[y])
    nn.ops.sum(other * 2).backward()
    assert seen == []
    x.requires_grad_(False)
    backward_of_another()
    assert x.grad is None
    assert own_class(nn) or seen == [], "the leaf was frozen"
    x.requires_grad_(True)
    seen.clear()
    backward_of_another(inputs=[x])
    assert len(seen) == 1
    backward_of_another()
    assert len(seen) == 2


@clause("autograd-45")
def test_a_hook_comes_before_what_is_earlier_in_the_graph(nn: Any) -> None:
    events: list[str] = []
    first, last, both = (tensor(nn, normal(3, "float32", seed=s)) for s in range(3))
    for name, leaf in {"first": first, "last": last, "both": both}.items():
        leaf.register_post_accumulate_grad_hook(lambda leaf, name=name: events.append(name))
    h = nn.ops.tanh(nn.tensor(normal(3, "float32")) * first * both)
    h.register_hook(lambda grad: events.append("h"))
    k = nn.ops.tanh(h * 2)
    k.register_hook(lambda grad: events.append("k"))
    nn.ops.sum(k * last * both).backward()
    assert sorted(events) == ["both", "first", "h", "k", "last"]
    # `k * last` needed `last` for the last time; h comes before it in the graph.
    assert events.index("last") < events.index("h"), events
    assert events.index("h") < events.index("both"), "a user of the leaf had still to run"
    assert events.index("h") < events.index("first")


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@clause("autograd-45")
def test_an_optimizer_that_steps_in_backward(nn: Any, name: str) -> None:
    def train(*, inside: bool) -> tuple[list[Any], int]:
        nn.manual_seed(3)
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))
        leaves = list(net.parameters())
        own = [getattr(nn.optim, name)([p], lr=0.1) for p in leaves]
        held = [0]

        def step(leaf: Any) -> None:
            held[0] = max(held[0], sum(p.grad is not None for p in leaves))
            place = next(k for k, p in enumerate(leaves) if p is leaf)
            own[place].step()
            leaf.grad = None

        if inside:
            for p in leaves:
                p.register_post_accumulate_grad_hook(step)
        for _ in range(3):
            y = net(nn.tensor(normal((6, 4), "float32")))
            nn.ops.mean(y * y).backward()
            if not inside:
                for p in leaves:
                    step(p)
        return [to_numpy(nn, p).copy() for p in leaves], held[0]

    want, _ = train(inside=False)
    got, held = train(inside=True)
    for place, (one, other) in enumerate(zip(got, want, strict=True)):
        exactly(nn, one, other, call=f"parameter {place}")
    assert held == 1, f"{held} gradients were there at once, but each was let go in its hook"


@clause("autograd-45", "autograd-24")
def test_a_step_and_what_saved_the_same_memory(nn: Any) -> None:
    p, q = (nn.Parameter(nn.tensor(np.array([1.0, 2.0]))) for _ in range(2))
    optimizer = nn.optim.SGD([p], lr=1.0)
    p.register_post_accumulate_grad_hook(lambda leaf: optimizer.step())
    # What runs last has saved the leaf's memory, and does not lead to the leaf.
    loss = nn.ops.sum((q * 1.0) * p.detach() + p * 1.0)
    try:
        loss.backward()
    except RuntimeError:
        assert own_class(nn), "the pass goes on with the values that operations saw"
        return
    exactly(nn, q.grad, np.array([1.0, 2.0]))
    exactly(nn, p, np.array([0.0, 1.0]))


@clause("autograd-45", "errors-06")
def test_what_a_hook_raises(nn: Any) -> None:
    first, last = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32"))

    def fail(leaf: Any) -> None:
        raise Mishap

    handle = first.register_post_accumulate_grad_hook(fail)
    seen: list[Any] = []
    last.register_post_accumulate_grad_hook(seen.append)
    with pytest.raises(Mishap):
        nn.ops.sum(nn.ops.tanh(first * 2) * last).backward()
    assert len(seen) == 1
    assert last.grad is not None, "it had its gradient before the pass failed"
    handle.remove()
    first.grad = last.grad = None
    assert nn.is_grad_enabled()
    nn.ops.sum(first * 2).backward()
    exactly(nn, first.grad, np.full(3, 2.0, "float32"))


@clause("autograd-45")
def test_where_there_is_no_such_hook(nn: Any) -> None:
    x = tensor(nn, normal(3, "float32"))
    with refuses(RuntimeError, "leaf") as of_a_result:
        (x * 2).register_post_accumulate_grad_hook(lambda leaf: None)
    with refuses(RuntimeError, "grad") as of_a_constant:
        nn.ones((3,)).register_post_accumulate_grad_hook(lambda leaf: None)
    # Each says what is the matter with its Tensor, and not what would be with the other.
    said = [re.search("n[o']t require", each.message) for each in (of_a_result, of_a_constant)]
    assert [bool(each) for each in said] == [False, True]
    if not own_class(nn):
        with refuses(TypeError, "register_post_accumulate_grad_hook", "int"):
            x.register_post_accumulate_grad_hook(3)
    nn.ops.sum(x * 2).backward()
    exactly(nn, x.grad, np.full(3, 2.0, "float32"))


@clause("autograd-45", needs="double_backward")
def test_a_hook_under_create_graph(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    seen: list[Any] = []
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad))
    nn.ops.sum(x * x * x).backward(create_graph=True)
    assert len(seen) == 1
    x.grad = None
    (second,) = nn.grad(nn.ops.sum(seen.pop()), x)
    agrees(nn, second, 6 * to_numpy(nn, x), "gradient")
    assert seen == []


class Box:
    """What stands in the place of an array that was kept, and can be watched."""

    def __init__(self, held: Any) -> None:
        self.held = held


def boxed(nn: Any, kept: list[Any]) -> Any:
    """Return the hooks that put what is kept into boxes, and note weak references to these."""

    def pack(t: Any) -> Box:
        box = Box(t)
        kept.append(weakref.ref(box))
        return box

    return nn.saved_tensors_hooks(pack, lambda box: box.held)


def stages(nn: Any, apply: Callable[[Any], Any], count: int) -> tuple[Any, Any, list[Any], Any]:
    """Return a leaf, the end of a chain, its Tensors, and the boxes of each stage."""
    x = tensor(nn, normal((4, 3), "float32"))
    parts, boxes = [x], []
    for _ in range(count):
        own: list[Any] = []
        with boxed(nn, own):
            parts.append(apply(parts[-1]))
        boxes.append(own)
    return x, parts[-1], parts, boxes


def bending(nn: Any) -> Callable[[Any], Any]:
    class Bending(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = ctx.xp.tanh(x)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (y,) = ctx.saved_tensors
            return grad_output * (1 - y * y)

    apply: Callable[[Any], Any] = Bending.apply
    return apply


LINKS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "tanh": lambda nn: nn.ops.tanh,
    "product": lambda nn: lambda x: nn.ops.multiply(x, x),
    "matmul": lambda nn: lambda x: nn.ops.matmul(x, nn.ones((3, 3))),
    "softmax": lambda nn: nn.ops.softmax,
    "Function": bending,
}


@pytest.mark.parametrize("link", LINKS)
@clause("autograd-46", "autograd-44")
def test_what_was_saved_is_gone_when_earlier_tensors_are_reached(nn: Any, link: str) -> None:
    for keep in (False, True):
        _, y, parts, boxes = stages(nn, LINKS[link](nn), 5)
        assert all(own for own in boxes), "every stage keeps something"
        alive: dict[int, list[bool]] = {}

        def look(
            place: int, boxes: list[Any] = boxes, alive: dict[int, list[bool]] = alive
        ) -> Hook:
            def hook(grad: Any) -> None:
                alive[place] = [any(box() is not None for box in own) for own in boxes]

            return hook

        for place, part in enumerate(parts):
            part.register_hook(look(place))
        del part
        parts.clear()
        total = nn.ops.sum(y)
        gc.disable()
        try:
            total.backward(retain_graph=keep)
        finally:
            gc.enable()
        # The hook of Tensor k comes after stages k, k + 1, ... ran, and before those below.
        for place in range(5):
            want = [True] * 5 if keep else [True] * place + [False] * (5 - place)
            if place == 0 and not keep:
                # A leaf's hook may come when all is over.
                assert not any(alive[0][1:]), alive
            else:
                assert alive[place] == want, f"{link}, kept {keep}, at Tensor {place}"


@clause("autograd-46")
def test_a_function_lets_go_without_hooks_too(nn: Any) -> None:
    saved: list[Any] = []
    seen: list[int] = []

    class Keeping(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            between = ctx.xp.tanh(x)
            ctx.save_for_backward(between)
            saved.append(weakref.ref(between))
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * (2 + 0 * ctx.saved_tensors[0])

    try:
        weakref.ref(nn.ones((2,)).data)
    except TypeError:
        pytest.skip("the backend's arrays cannot be referred to weakly")
    x = tensor(nn, normal(3, "float32"))
    y = x
    for _ in range(4):
        y = Keeping.apply(y)
        y.register_hook(lambda grad: seen.append(sum(ref() is not None for ref in saved)))
    nn.ops.sum(y).backward()
    assert len(saved) == 4
    assert [alive <= most for alive, most in zip(seen, (4, 3, 2, 1), strict=True)] == [True] * 4
    exactly(nn, x.grad, np.full(3, 16.0, "float32"))


CHAIN = """
def run(steps):
    x = nn.tensor(np.full((256, 256), 0.5, np.float32), requires_grad=True)
    y = x
    for _ in range(steps):
        y = {link}(y)
    nn.ops.sum(y).backward()
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("link", ["nn.ops.tanh", "nn.ops.sigmoid", "nn.ops.sin"])
@clause("autograd-46")
def test_memory_of_a_long_chain(nn: Any, implementation: str, link: str) -> None:
    reason = unmeasurable(nn)
    if reason:
        pytest.skip(reason)
    short, long = peaks_of(implementation, CHAIN.format(link=link), 10, 50)
    grown = (long - short) / 40 / (256 * 256 * 4)
    # With every gradient held there would be two arrays for each operation.
    assert grown <= 1.4, f"got {grown:.2f} arrays for each operation but should be 1"
