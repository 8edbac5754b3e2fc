"""Chapter autograd: what reference counts free, and what iteration costs."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.assertions import tensor
from spec_tests.support.inputs import normal
from spec_tests.support.processes import seconds_of


class Mishap(Exception):
    """What the user's own code raises."""


class Mark:
    """Something to hold that can be watched."""


@contextmanager
def counting_alone() -> Iterator[None]:
    """Run a block with the cyclic collector off."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Watch:
    """Weak references to what must be gone."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def __call__(self, name: str, thing: Any) -> Any:
        """Watch a thing, if it can be watched, and return it."""
        with suppress(TypeError):
            self.held[f"{name} {len(self.held)}"] = weakref.ref(thing)
        return thing

    def alive(self) -> list[str]:
        """Return the names of the things that are still there."""
        return [name for name, reference in self.held.items() if reference() is not None]


def left(ctx: Any, kept: str, x: Any, between: Any, y: Any) -> dict[str, Any]:
    """Return what is left on the ctx, by the name of the attribute."""
    table: dict[str, dict[str, Any]] = {
        "output": {"y": y},
        "input": {"x": x},
        "both": {"x": x, "y": y},
        "list": {"things": (x, (y, between))},
    }
    return table.get(kept, {})


def leaving(nn: Any, watch: Watch, kept: str, fail: str = "") -> Any:
    """Return a Function that leaves things on its ctx, and may raise."""

    class Leaving(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            watch("ctx", ctx)
            ctx.mark = watch("mark", Mark())
            between = ctx.xp.tanh(x)
            watch("intermediate", between)
            y = between * 2
            ctx.save_for_backward(between)
            for name, thing in left(ctx, kept, x, between, y).items():
                setattr(ctx, name, thing)
            if kept == "saved output":
                ctx.save_for_backward(between, y)
            if fail == "forward":
                raise Mishap
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            between = ctx.saved_tensors[0]
            ctx.late = watch("late mark", Mark())
            if fail == "backward":
                raise Mishap
            return 2 * grad_output * (1 - between * between)

    return Leaving


def leaving_instance(nn: Any, watch: Watch, kept: str, fail: str = "") -> Any:
    plain = leaving(nn, watch, kept, fail)

    class Instance(nn.Function):
        def forward(self, x: Any) -> Any:
            return plain.forward(self, x)

        def backward(self, grad_output: Any) -> Any:
            return plain.backward(self, grad_output)

    return lambda x: Instance()(x)


SPELLINGS: dict[str, Callable[..., Any]] = {
    "static": lambda nn, watch, kept, fail="": leaving(nn, watch, kept, fail).apply,
    "instance": leaving_instance,
}
KEPT = ("nothing", "output", "input", "both", "list", "saved output")


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kept", KEPT)
@clause("autograd-31", "function-26")
def test_a_function_dies_with_its_result(nn: Any, kept: str, spelling: str) -> None:
    for end in ("dropped", "backward", "kept graph", "not recorded", "twice"):
        watch = Watch()
        with counting_alone():
            apply = SPELLINGS[spelling](nn, watch, kept)
            x = tensor(nn, normal(3, "float32"))
            if end == "not recorded":
                with nn.no_grad():
                    y = apply(x)
            else:
                y = apply(x)
            if end == "twice":
                y = apply(y)
            if end in ("backward", "kept graph", "twice"):
                nn.ops.sum(y).backward(retain_graph=end == "kept graph")
            watch("result", y)
            watch("leaf", x)
            del y, x
            assert watch.alive() == [], f"{kept} on the ctx, {spelling}, {end}"
        assert len(watch.held) >= 4


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("fail", ["forward", "backward"])
@clause("autograd-31")
def test_a_function_that_raised_leaves_nothing(nn: Any, fail: str, spelling: str) -> None:
    for kept in KEPT:
        watch = Watch()

        def attempt(watch: Watch = watch, kept: str = kept) -> None:
            apply = SPELLINGS[spelling](nn, watch, kept, fail)
            x = watch("leaf", tensor(nn, normal(3, "float32")))
            # The exception, and with it the frames, is gone before the return.
            with pytest.raises(Mishap):
                nn.ops.sum(apply(x * 1)).backward()

        with counting_alone():
            attempt()
            assert watch.alive() == [], f"{kept} on the ctx, {spelling}, after {fail}"


@clause("autograd-31", needs="double_backward")
def test_nothing_is_left_after_create_graph(nn: Any) -> None:
    for kept in KEPT:
        watch = Watch()
        with counting_alone():
            apply = leaving(nn, watch, kept).apply
            x = tensor(nn, normal(3, "float32"))
            # A leaf whose grad is a result of itself is a cycle that the program made.
            slope = nn.grad(lambda x, apply=apply: nn.ops.sum(apply(x)), create_graph=True)(x)
            nn.ops.sum(slope * slope).backward()
            watch("slope", slope)
            watch("leaf", x)
            del slope, x
            assert watch.alive() == [], f"{kept} on the ctx"


@clause("autograd-31")
def test_a_graph_of_operations_dies_with_its_result(nn: Any) -> None:
    def build(x: Any, y: Any) -> list[Any]:
        h = nn.ops.tanh(x @ y)
        parts = [h, h.T, h[0], h[[0, 0]], nn.ops.softmax(h), nn.ops.max(h, axis=0), h.reshape((4,))]
        parts += [nn.ops.where(h > 0, h, 0 * h), nn.ops.concat([h, h]), nn.ops.exp(h) / 2, *h]
        total = parts[0].sum()
        for part in parts[1:]:
            total = total + nn.ops.sum(part)
        return [*parts, total]

    for end in ("dropped", "backward", "kept graph", "failed"):
        watch = Watch()
        with counting_alone():
            x, y = (watch("leaf", tensor(nn, normal((2, 2), "float32", seed=s))) for s in (0, 1))
            parts = build(x, y)
            for part in parts:
                watch("part", part)
            if end == "failed":
                with pytest.raises(RuntimeError):
                    parts[0].backward()
            elif end != "dropped":
                parts[-1].backward(retain_graph=end == "kept graph")
            del x, y, parts, part
            assert watch.alive() == [], end


@clause("autograd-31")
def test_hooks_and_their_handles(nn: Any) -> None:
    for removed in (False, True):
        watch = Watch()

        class Hook:
            def __call__(self, grad: Any) -> Any:
                return grad * 2

        with counting_alone():
            x = watch("leaf", tensor(nn, normal(3, "float32")))
            y = watch("result", x * 2)
            handles = [t.register_hook(watch("hook", Hook())) for t in (x, y)]
            nn.ops.sum(y).backward()
            for handle in handles:
                watch("handle", handle)
                if removed:
                    handle.remove()
            del x, y, handles, handle
            assert watch.alive() == [], f"removed: {removed}"


@clause("autograd-31")
def test_modules_optimizers_and_their_graphs(nn: Any) -> None:
    for name in ("SGD", "Adam"):
        watch = Watch()
        with counting_alone():
            layers = [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.LayerNorm(3)]
            model = watch("model", nn.Sequential(*layers))
            recurrent = [watch(kind, getattr(nn, kind)(3, 2)) for kind in ("RNN", "GRU", "LSTM")]
            handle = model.register_forward_hook(lambda module, args, output: output * 1)
            parameters = [*model.parameters(), *(p for m in recurrent for p in m.parameters())]
            for parameter in parameters:
                watch("parameter", parameter)
            optimizer = watch("optimizer", getattr(nn.optim, name)(parameters, lr=0.1))
            output = watch("output", model(nn.tensor(normal((2, 2, 3), "float32"))))
            loss = sum((nn.ops.sum(m(output)[0]) for m in recurrent), nn.ops.sum(output))
            loss.backward()
            optimizer.step()
            watch("handle", handle)
            watch("state", model.state_dict()["0.weight"])
            optimizer.state_dict()
            del layers, model, recurrent, handle, parameters, parameter, optimizer, output, loss
            assert watch.alive() == [], name


@clause("autograd-31")
def test_transformations_leave_nothing(nn: Any) -> None:
    watch = Watch()
    with counting_alone():
        apply = leaving(nn, watch, "both").apply
        x = watch("argument", nn.tensor(normal(3, "float32")))
        value, slope = nn.value_and_grad(lambda x: nn.ops.sum(apply(x)))(x)
        output, pull = nn.vjp(apply, x)
        pulled = pull(nn.ones((3,)))[0]
        for thing in (value, slope, output, pulled, pull):
            watch("result", thing)
        del x, value, slope, output, pull, pulled, thing
        assert watch.alive() == []
        model = watch("module", nn.Linear(3, 2))
        weight = watch("weight", nn.ones((2, 3)))
        result = watch("result", nn.functional_call(model, {"weight": weight}, nn.ones((1, 3))))
        del model, weight, result
        assert watch.alive() == []


@clause("autograd-31", needs="jit")
def test_what_jit_keeps_holds_no_array_of_a_call(nn: Any) -> None:
    watch = Watch()
    with counting_alone():
        compiled = nn.jit(lambda x: {"y": nn.ops.tanh(x) * 2})
        for _ in range(2):
            x = watch("argument", nn.tensor(normal(3, "float32")))
            result = watch("result", compiled(x)["y"])
            del x, result
            assert watch.alive() == []


@clause("autograd-31")
def test_many_applications_leave_no_garbage(nn: Any) -> None:
    """The collector, asked afterwards, finds nothing that came of a hundred training steps."""

    class Keeping(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.y = ctx.xp.tanh(x)
            return ctx.y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * (1 - ctx.y * ctx.y)

    def step() -> None:
        nn.ops.sum(Keeping.apply(layer(x))).backward()
        layer.zero_grad()

    layer, x = nn.Linear(3, 2), nn.tensor(normal((4, 3), "float32"))
    for _ in range(5):
        step()
    gc.collect()
    with counting_alone():
        for _ in range(100):
            step()
        found = gc.collect()
    assert found < 100, f"the collector found {found} objects after 100 steps"


STEPS, WIDTH, LIMIT = 8000, 8000, 20
LEAF = """
x = nn.tensor(np.ones((STEPS, WIDTH), "float32"), requires_grad=True)
"""
BACKWARD = """
total.backward()
assert x.grad.shape == (STEPS, WIDTH)
"""

ITERATIONS = {
    "for": "total = sum((nn.ops.sum(part) for part in x), nn.tensor(0.0))",
    "index": "total = sum((nn.ops.sum(x[t]) for t in range(STEPS)), nn.tensor(0.0))",
    "negative": "total = sum((nn.ops.sum(x[-1 - t]) for t in range(STEPS)), nn.tensor(0.0))",
    "slices": "total = sum((nn.ops.sum(x[t : t + 1]) for t in range(STEPS)), nn.tensor(0.0))",
    "unpacking": "*parts, last = x; total = sum(map(nn.ops.sum, parts), nn.ops.sum(last))",
    "state": """
h = nn.tensor(np.zeros(WIDTH, "float32"))
for part in x:
    h = h * 0.5 + part
total = nn.ops.sum(h)
""",
}


@pytest.mark.sampled(6, first=3)
@pytest.mark.parametrize("name", ITERATIONS)
@clause("autograd-32")
def test_iteration_is_linear(implementation: str, name: str) -> None:
    """Linear work needs a quarter of a second to two seconds.

    Where each step costs the size of the whole sequence, backward was not done after 70 s: so were
    impl_numpy and impl_jax_vjp, and impl_torch_ext in `x[t]`, before there was this clause.
    """
    sizes = f"STEPS, WIDTH = {STEPS}, {WIDTH}\n"
    took = seconds_of(implementation, sizes + LEAF + ITERATIONS[name] + BACKWARD, LIMIT)
    assert took is not None, f"{name} over {STEPS} steps is not done in {LIMIT} s of CPU time"
