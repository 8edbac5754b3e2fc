"""Chapter autograd: what is kept for backward goes through the program's hands."""

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.changes import Refusal, gives_old_or_refuses, own_class
from spec_tests.support.inputs import normal, positive
from spec_tests.support.kept import Store, compare, slopes
from spec_tests.support.memory import peaks_of, unmeasurable
from spec_tests.support.threads import together

pytestmark = pytest.mark.sampled(4)

Calls = dict[str, Callable[[Any, Any], Any]]
OPERATIONS: Calls = {
    "multiply": lambda nn, x: nn.ops.multiply(x, x + 1),
    "x * y": lambda nn, x: x * (x + 1),
    "divide": lambda nn, x: nn.ops.divide(x, x * x + 1),
    "pow": lambda nn, x: x**3,
    "matmul": lambda nn, x: x @ x.T,
    "exp": lambda nn, x: nn.ops.exp(x),
    "tanh": lambda nn, x: nn.ops.tanh(x),
    "softmax": lambda nn, x: nn.ops.softmax(x),
    "logsumexp": lambda nn, x: nn.ops.logsumexp(x, axis=0),
    "max": lambda nn, x: nn.ops.max(x * x, axis=1),
    "where": lambda nn, x: nn.ops.where(x > 0, x * x, x),
    "prod": lambda nn, x: nn.ops.prod(x, axis=1),
    "index": lambda nn, x: x[[0, 2, 0]] * x[1],
}
LAYERS: Calls = {
    "Linear": lambda nn, x: nn.Linear(4, 3),
    "LayerNorm": lambda nn, x: nn.LayerNorm(4),
    "BatchNorm1d": lambda nn, x: nn.BatchNorm1d(4),
    "GELU": lambda nn, x: nn.GELU(),
    "Conv1d": lambda nn, x: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3)),
    "RNN": lambda nn, x: nn.RNN(4, 3),
    "LSTM": lambda nn, x: nn.LSTM(4, 3, 2),
    "GRU": lambda nn, x: nn.GRU(4, 3),
    "GRUCell": lambda nn, x: nn.GRUCell(4, 3),
    "attention": lambda nn, x: Attending(nn),
}
LOSSES: Calls = {
    "mse_loss": lambda nn, x: nn.loss.mse_loss(x, nn.ones((5, 4))),
    "cross_entropy": lambda nn, x: nn.loss.cross_entropy(x, nn.tensor([0, 3, 1, 1, 2])),
    "huber_loss": lambda nn, x: nn.loss.huber_loss(x, nn.zeros((5, 4))),
}


class Attending:
    """Attention of a sequence to itself, as a call of one argument."""

    def __init__(self, nn: Any) -> None:
        self.layer = nn.MultiheadAttention(4, 2)
        self.parameters = self.layer.parameters

    def __call__(self, x: Any) -> Any:
        return self.layer(x, x, x)[0]


@pytest.mark.parametrize("name", [*OPERATIONS, *LOSSES])
@clause("autograd-44")
def test_operations_and_losses_with_hooks(nn: Any, name: str) -> None:
    case = {**OPERATIONS, **LOSSES}[name]
    x = tensor(nn, positive((5, 4), "float32") - 0.75 * (name != "prod"))
    store = compare(nn, lambda x: case(nn, x), [x], name)
    assert store.shapes, "something is kept, and nothing was packed"
    assert store.fetched


@pytest.mark.parametrize("name", LAYERS)
@clause("autograd-44")
def test_layers_with_hooks(nn: Any, name: str) -> None:
    nn.manual_seed(0)
    layer = LAYERS[name](nn, None)
    x = tensor(nn, normal((5, 4), "float32"))
    store = compare(nn, layer, [x, *layer.parameters()], name)
    assert store.elements() >= 20, f"{name} keeps its input, or as much, but packed {store.shapes}"
    assert store.fetched


@clause("autograd-44")
def test_what_unpack_returns_is_used(nn: Any, dtype: str) -> None:
    class Product(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x, None, y)
            return x * y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            x, nothing, y = ctx.saved_tensors
            assert nothing is None
            assert not isinstance(x, nn.Tensor) or own_class(nn)
            return grad_output * y, grad_output * x

    for call in (nn.ops.multiply, lambda x, y: x * y, Product.apply):
        for as_raw in (False, True):
            x, y = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
            seen: list[tuple[int, ...]] = []

            def pack(t: Any, seen: list[Any] = seen) -> Any:
                seen.append(tuple(t.shape))
                return {"half": to_numpy(nn, t) / 2}

            def unpack(held: Any, as_raw: bool = as_raw) -> Any:
                made = 2 * 5 * held["half"]
                return raw(nn, made) if as_raw else nn.tensor(made)

            with nn.saved_tensors_hooks(pack, unpack):
                z = call(x, y)
            exactly(nn, z, normal(3, dtype) * normal(3, dtype, seed=1))
            assert seen == [(3,), (3,)], seen
            # Outside the block, as a Function's own backward is too.
            nn.ops.sum(z).backward()
            agrees(nn, x.grad, 5 * normal(3, dtype, seed=1), "gradient")
            agrees(nn, y.grad, 5 * normal(3, dtype), "gradient")


@clause("autograd-44")
def test_frozen_leaves_and_constants_go_through_too(nn: Any) -> None:
    store = Store(nn)
    x, frozen = tensor(nn, normal((3, 4), "float32")), nn.tensor(normal((4, 5), "float32"))
    with store.hooks():
        y = x @ frozen
        nn.ops.sum(x * normal((4,), "float32").item(0) + x)
    assert (4, 5) in store.shapes
    nn.ops.sum(y).backward()
    agrees(
        nn,
        x.grad,
        np.broadcast_to(to_numpy(nn, frozen).astype(np.float64).sum(1), (3, 4)),
        "matmul",
        dtype="float32",
    )


@clause("autograd-44")
def test_what_is_not_packed(nn: Any) -> None:
    store = Store(nn)
    x, plain = tensor(nn, normal((3, 4), "float32")), nn.tensor(normal((3, 4), "float32"))

    class Noting(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.kept = ctx.xp.reshape(x, (2, 6))
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 2

    with store.hooks():
        with nn.no_grad():
            nn.ops.tanh(x) * x
        nn.ops.tanh(plain) * plain
        x + plain
    assert store.shapes == []
    nn.ops.tanh(x) * x
    assert store.shapes == [], "the block is over"
    with store.hooks():
        Noting.apply(x)
    assert set(store.shapes) <= {(3, 4)}, "an attribute of the ctx was packed"


@clause("autograd-44")
def test_blocks_nest_and_end(nn: Any) -> None:
    x = tensor(nn, normal((3,), "float32"))
    outer, inner = Store(nn), Store(nn)
    with outer.hooks():
        with inner.hooks():
            y = nn.ops.tanh(x)
        assert not outer.shapes
        assert inner.shapes
        kept = len(inner.shapes)
        with suppress(ZeroDivisionError), inner.hooks():
            raise ZeroDivisionError
        z = nn.ops.exp(y)
        assert outer.shapes
        assert len(inner.shapes) == kept
    nn.ops.sum(z).backward()
    assert inner.fetched
    assert outer.fetched
    want = np.exp(np.tanh(normal(3, "float32").astype(np.float64)))
    agrees(nn, x.grad, want / np.cosh(normal(3, "float32")) ** 2.0, "gradient", dtype="float32")


@clause("autograd-44", "autograd-28")
def test_hooks_are_a_matter_of_the_thread(nn: Any) -> None:
    stores = [Store(nn) for _ in range(4)]
    x = nn.tensor(normal((3,), "float32"))

    def work(number: int) -> None:
        own = tensor(nn, normal((number + 1,), "float32"))
        for _ in range(20):
            if number % 2:
                with stores[number].hooks():
                    y = nn.ops.tanh(own)
            else:
                y = nn.ops.tanh(own)
            nn.ops.sum(y).backward()

    together(work)
    assert x.shape == (3,)
    for number, store in enumerate(stores):
        assert set(store.shapes) == ({(number + 1,)} if number % 2 else set())


@clause("autograd-44")
def test_nothing_that_hooks_compute_is_recorded_or_packed(nn: Any) -> None:
    x = tensor(nn, normal((3,), "float32"))
    seen: list[bool] = []

    def pack(t: Any) -> Any:
        y = nn.ops.tanh(x) * t
        seen.append(y.requires_grad)
        return t * 2 * x.detach() / x.detach()

    def unpack(t: Any) -> Any:
        y = nn.ops.tanh(x) * t
        seen.append(y.requires_grad)
        return t / 2

    with nn.saved_tensors_hooks(pack, unpack):
        y = nn.ops.multiply(x, x)
        assert nn.is_grad_enabled()
    nn.ops.sum(y).backward()
    assert len(seen) >= 2
    assert not any(seen)
    agrees(nn, x.grad, 2 * normal(3, "float32"), "gradient", dtype="float32")


@clause("autograd-44", "autograd-04")
def test_a_kept_graph_is_unpacked_again(nn: Any) -> None:
    store = Store(nn)
    x = tensor(nn, normal((3,), "float32"))
    with store.hooks():
        y = nn.ops.tanh(x)
    total = nn.ops.sum(y)
    total.backward(retain_graph=True)
    once = store.fetched
    assert once >= 1
    first = to_numpy(nn, x.grad).copy()
    total.backward()
    assert store.fetched == 2 * once
    exactly(nn, x.grad, 2 * first, dtype="float32")
    with refuses(RuntimeError, "retain_graph"):
        total.backward()
    assert store.fetched == 2 * once


class Held:
    """What stands for an array, and can be watched."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing


@pytest.mark.parametrize("end", ["dropped", "backward", "failed"])
@clause("autograd-44", "autograd-31")
def test_what_pack_returned_is_let_go(nn: Any, end: str) -> None:
    watched: list[Any] = []

    def pack(t: Any) -> Held:
        held = Held(t)
        watched.append(weakref.ref(held))
        return held

    x = tensor(nn, normal((3, 3), "float32"))
    with nn.saved_tensors_hooks(pack, lambda held: held.thing):
        y = nn.ops.softmax(nn.ops.tanh(x) @ x)
    total = nn.ops.sum(y * y)
    assert len(watched) >= 3
    assert all(ref() is not None for ref in watched)
    if end == "backward":
        total.backward()
        assert all(ref() is None for ref in watched), "the graph was not kept"
    elif end == "failed":
        with refuses(RuntimeError):
            y.backward()
    del y, total
    assert all(ref() is None for ref in watched)


class Mishap(Exception):
    """What the user's own code raises."""


@clause("autograd-44", "errors-06")
def test_what_hooks_raise(nn: Any) -> None:
    x = tensor(nn, normal((3,), "float32"))

    def fail(thing: Any) -> Any:
        raise Mishap

    with pytest.raises(Mishap), nn.saved_tensors_hooks(fail, lambda t: t):
        nn.ops.tanh(x)
    with nn.saved_tensors_hooks(lambda t: t, fail):
        y = nn.ops.tanh(x)
    with pytest.raises(Mishap):
        nn.ops.sum(y).backward()
    assert x.grad is None
    assert nn.is_grad_enabled()
    nn.ops.sum(nn.ops.multiply(x, x)).backward()
    exactly(nn, x.grad, 2 * normal(3, "float32"), dtype="float32")


@clause("autograd-44")
def test_what_unpack_may_not_return(nn: Any) -> None:
    wrong: list[tuple[Any, type[Exception], tuple[Any, ...]]] = [
        (nn.ones((4,)), ValueError, ("(4,)", "(3,)")),
        (nn.ones((1,)), ValueError, ("(1,)", "(3,)")),
        (nn.tensor([1, 2, 3]), TypeError, ("int64", "float32")),
        (5, TypeError, ("int",)),
        (None, TypeError, ("None",)),
    ]
    for bad, error, said in wrong:
        x = tensor(nn, normal((3,), "float32"))
        with nn.saved_tensors_hooks(lambda t: t, lambda t, bad=bad: bad):
            y = nn.ops.tanh(x)
        with refuses(error, "saved_tensors_hooks", *said):
            nn.ops.sum(y).backward()
        assert x.grad is None
    for pair in ((3, abs), (abs, "unpack"), (None, None)):
        with refuses(TypeError, "saved_tensors_hooks"), nn.saved_tensors_hooks(*pair):
            pass


@clause("autograd-44")
def test_a_pack_that_writes(nn: Any) -> None:
    def pack(t: Any) -> Any:
        if own_class(nn):
            t.mul_(7)
        else:
            with suppress(TypeError, ValueError, RuntimeError):
                t.data[...] = 7
        return t

    for call, want in ((nn.ops.exp, np.exp), (lambda x: nn.ops.multiply(x, x), np.square)):
        x = tensor(nn, normal((3,), "float32"))
        try:
            with nn.saved_tensors_hooks(pack, lambda t: t):
                y = call(x)
            nn.ops.sum(y).backward()
        except RuntimeError:
            assert x.grad is None
            continue
        before = normal((3,), "float32").astype(np.float64)
        exactly(nn, x, before, dtype="float32")
        agrees(nn, y, want(before), "elementwise", dtype="float32")
        slope = np.exp(before) if want is np.exp else 2 * before
        agrees(nn, x.grad, slope, "gradient", dtype="float32")


@pytest.mark.parametrize("kept", ["the Tensor", "a copy", "its data"])
@clause("autograd-44", "autograd-24")
def test_values_that_change_in_between(nn: Any, kept: str) -> None:
    packs: dict[str, tuple[Any, Any]] = {
        "the Tensor": (lambda t: t, lambda t: t),
        "a copy": (lambda t: to_numpy(nn, t).copy(), nn.tensor),
        "its data": (lambda t: t.data, lambda held: held),
    }
    for change in (
        lambda x: nn.init.constant_(x, 7.0),
        lambda x: setattr(x, "data", raw(nn, np.full(3, 7, "float32"))),
    ):
        x, w = tensor(nn, normal((3,), "float32")), tensor(nn, normal((3,), "float32", seed=1))
        with nn.saved_tensors_hooks(*packs[kept]):
            y = nn.ops.multiply(x, w)
        if kept == "its data" and own_class(nn):
            # That class's data is not tied to the Tensor.
            continue
        change(x)
        total = nn.ops.sum(y)

        def backward(total: Any = total, w: Any = w) -> Any:
            total.backward()
            return w.grad

        refusal = Refusal(("multiply", "mul", "saved_tensors_hooks"), ((3,),))
        gives_old_or_refuses(nn, backward, normal(3, "float32"), refusal, f"{kept} was kept")


@clause("autograd-44", needs="double_backward")
def test_second_derivatives(nn: Any, dtype: str) -> None:
    class Cube(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, x * x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return 3 * ctx.saved_tensors[1] * grad_output

    for call in (lambda x: nn.ops.multiply(nn.ops.multiply(x, x), x), Cube.apply, lambda x: x**3):
        x = tensor(nn, positive((3,), dtype))
        store = Store(nn)
        with store.hooks():
            (slope,) = nn.grad(nn.ops.sum(call(x)), x, create_graph=True)
            (second,) = nn.grad(nn.ops.sum(slope), x, create_graph=True)
            (third,) = nn.grad(nn.ops.sum(second), x)
        assert store.shapes
        wide = positive((3,), dtype).astype(np.float64)
        agrees(nn, slope, 3 * wide**2, "gradient")
        agrees(nn, second, 6 * wide, "gradient")
        agrees(nn, third, np.full(3, 6.0), "gradient")


@clause("autograd-44", needs="jit")
def test_a_function_under_jit(nn: Any) -> None:
    compiled = nn.jit(lambda x: nn.ops.tanh(x) * x)
    x = tensor(nn, normal((3, 4), "float32"))
    want = slopes(nn, compiled, [x], nn.enable_grad())
    store = Store(nn)
    got = slopes(nn, compiled, [x], store.hooks())
    assert store.elements() >= 12, store.shapes
    assert store.fetched
    for one, other in zip(got, want, strict=True):
        agrees(nn, one, other, "gradient", dtype="float32")


@clause("autograd-44", "autograd-39")
def test_with_checkpoints(nn: Any) -> None:
    x = tensor(nn, normal((3, 4), "float32"))

    def call(x: Any) -> Any:
        return nn.ops.tanh(nn.checkpoint(lambda x: nn.ops.exp(nn.ops.tanh(x)), x))

    compare(nn, call, [x], "checkpoint")


FORGETTING = """
def run(steps):
    x = nn.tensor(np.full((256, 256), 0.5, np.float32), requires_grad=True)
    class Bent(nn.Function):
        @staticmethod
        def forward(ctx, x):
            y = ctx.xp.tanh(x)
            ctx.save_for_backward(x, y)
            return y
        @staticmethod
        def backward(ctx, grad):
            x, y = ctx.saved_tensors
            return grad * (1 - y * y)
    norm = nn.LayerNorm(256)
    y = x
    with nn.saved_tensors_hooks(lambda t: tuple(t.shape), lambda shape: nn.zeros(shape)):
        for _ in range(steps):
            y = {link}
    nn.ops.sum(y).backward()
"""
LINKS = {
    "tanh": "nn.ops.tanh(y)",
    "y * y": "y * y",
    "Function": "Bent.apply(y)",
    "softmax": "nn.ops.softmax(y)",
    "LayerNorm": "norm(y)",
    "sin": "nn.ops.sin(y)",
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("link", LINKS)
@clause("autograd-44")
def test_nothing_is_kept_beside_what_pack_returned(nn: Any, implementation: str, link: str) -> None:
    """Where the hooks forget the values, memory does not grow with the chain."""
    reason = unmeasurable(nn)
    if reason:
        pytest.skip(reason)
    short, long = peaks_of(implementation, FORGETTING.format(link=LINKS[link]), 10, 50)
    grown = (long - short) / 40 / (256 * 256 * 4)
    assert grown <= 0.25, f"got {grown:.2f} arrays for each operation but should be none"
