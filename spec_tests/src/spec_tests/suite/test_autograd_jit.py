"""Chapter autograd: `jit` follows the state of the Modules that a function calls."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, tensor, to_numpy
from spec_tests.support.changes import can_write
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(6)


def network(nn: Any) -> Any:
    """Return a Module with parameters, a buffer, children, Dropout, and plain attributes."""

    class Network(nn.Module):
        factor: Any

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(1.0))
            self.weight = nn.Parameter(nn.tensor(normal((4, 2), "float32", seed=5)))
            self.register_buffer("factor", nn.tensor(np.array([1.5, -0.5], "float32")))
            self.scale = 2.0
            self.mode = "plain"
            self.shifts = [1.0]
            self.extra = nn.tensor(np.array([0.25, 0.5], "float32"))
            self.table = np.array([1.0, 2.0], "float32")
            self.nested = {"power": [1]}
            self.act = nn.ops.tanh

        def forward(self, x: Any) -> Any:
            y = self.act(self.body(x) @ self.weight) * self.factor * self.scale
            if self.mode == "bent":
                y = nn.ops.sin(y)
            for shift in self.shifts:
                y = y + shift
            y = y + self.extra * nn.tensor(self.table) ** self.nested["power"][0]
            return y * 2 if self.training else y

    nn.manual_seed(6)
    return Network()


def array(*shape: int, seed: int = 9) -> np.ndarray:
    return normal(shape, "float32", seed=seed)


def replace_child(nn: Any, model: Any) -> None:
    nn.manual_seed(11)
    model.body = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))


def replace_deep_child(nn: Any, model: Any) -> None:
    model.body[1].forward = nn.ops.sin


def step(nn: Any, model: Any) -> None:
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    nn.ops.sum(model(nn.ones((2, 3)))).backward()
    optimizer.step()
    optimizer.zero_grad()


def write(nn: Any, model: Any) -> None:
    if can_write(nn):
        model.weight.data[...] = raw(nn, array(4, 2, seed=21))
        model.factor.data[...] = raw(nn, array(2, seed=22))


def load(nn: Any, model: Any) -> None:
    state = {key: to_numpy(nn, value) * 0.5 + 0.25 for key, value in model.state_dict().items()}
    model.load_state_dict(state)


def assign(target: str, value: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    """Return what assigns to an attribute, also of a child."""

    def change(nn: Any, model: Any) -> None:
        *path, name = target.split(".")
        for part in path:
            model = getattr(model, part)
        setattr(model, name, value(nn))

    return change


def hook_forward(nn: Any, model: Any) -> None:
    model.register_forward_hook(lambda module, args, output: output * 3)


def hook_child(nn: Any, model: Any) -> None:
    model.body[0].register_forward_hook(lambda module, args, output: output + 1)


def hook_before(nn: Any, model: Any) -> None:
    model.body.register_forward_pre_hook(lambda module, args: (args[0] * 2,))


def add_and_remove(nn: Any, model: Any) -> None:
    handle = model.register_forward_hook(lambda module, args, output: output * 100)
    model(nn.ones((1, 3)))
    handle.remove()


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "a step": step,
    "data": lambda nn, model: assign_data(nn, model.weight, array(4, 2)),
    "data of a buffer": lambda nn, model: assign_data(nn, model.factor, array(2)),
    "a write": write,
    "init": lambda nn, model: nn.init.constant_(model.body[0].weight, 0.5),
    "load_state_dict": load,
    "a parameter replaced": assign("weight", lambda nn: nn.Parameter(nn.tensor(array(4, 2)))),
    "a parameter of another shape": assign(
        "weight", lambda nn: nn.Parameter(nn.tensor(array(4, 1)))
    ),
    "a buffer replaced": assign("factor", lambda nn: nn.tensor(array(2))),
    "a child replaced": replace_child,
    "a child's method replaced": replace_deep_child,
    "a child taken away": lambda nn, model: setattr(model, "body", nn.Linear(3, 4)),
    "a child appended": lambda nn, model: model.body.append(nn.Tanh()),
    "eval": lambda nn, model: model.eval(),
    "eval of a child": lambda nn, model: model.body[2].eval(),
    "train": lambda nn, model: model.train(),
    "a hook": hook_forward,
    "a hook of a child": hook_child,
    "a hook before": hook_before,
    "a hook added and removed": add_and_remove,
    "a number": assign("scale", lambda nn: -3.0),
    "a number of the same hash": assign("scale", lambda nn: 2),
    "a string": assign("mode", lambda nn: "bent"),
    "a list": lambda nn, model: model.shifts.append(2.5),
    "an element of a list": lambda nn, model: model.shifts.__setitem__(0, -2.0),
    "a Tensor": assign("extra", lambda nn: nn.tensor(array(2, seed=30))),
    "data of a Tensor": lambda nn, model: assign_data(nn, model.extra, array(2)),
    "a NumPy array": lambda nn, model: model.table.__setitem__(0, 5.0),
    "a dict": lambda nn, model: model.nested["power"].__setitem__(0, 3),
    "a function": assign("act", lambda nn: nn.ops.sin),
    "a child's option": lambda nn, model: setattr(model.body[2], "p", 0.0),
}


IN_TURN = (
    "a step",
    "data",
    "eval",
    "a number",
    "a hook",
    "a string",
    "train",
    "a list",
    "load_state_dict",
    "a hook added and removed",
    "eval",
    "a child replaced",
    "data of a buffer",
    "a dict",
    "a step",
)


def assign_data(nn: Any, t: Any, values: np.ndarray) -> None:
    t.data = raw(nn, values)


@pytest.mark.parametrize("name", CHANGES)
@clause("autograd-30")
def test_jit_follows(nn: Any, name: str) -> None:
    model = network(nn)
    compiled = nn.jit(lambda x: {"y": model(x)})
    x = nn.tensor(array(2, 3))
    for training in (True, False):
        # What is compiled of the one mode must not come back in the other.
        model.train(training)
        for time in ("before", "after", "later"):
            if time == "after":
                CHANGES[name](nn, model)
            got, want = compiled(x)["y"], model(x)
            assert got.requires_grad is want.requires_grad
            agrees(nn, got, to_numpy(nn, want), "gradient", call=f"{time} {name}, {training}")


@clause("autograd-30")
def test_jit_follows_one_change_after_another(nn: Any) -> None:
    model = network(nn)
    compiled = nn.jit(model)
    x = nn.tensor(array(2, 3))
    for name in IN_TURN:
        CHANGES[name](nn, model)
        agrees(nn, compiled(x), to_numpy(nn, model(x)), "gradient", call=f"after {name}")


@clause("autograd-30")
def test_jit_follows_what_requires_grad(nn: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    compiled = nn.jit(lambda x: nn.ops.sum(model(x) ** 2))
    x = tensor(nn, array(2, 3))
    for frozen in ((), (0,), (0, 2), (2,), ()):
        for place in (0, 2):
            model[place].requires_grad_(place not in frozen)
        for leaf in (x, x.detach()):
            slopes = []
            for call in (lambda x: nn.ops.sum(model(x) ** 2), compiled):
                model.zero_grad()
                x.grad = None
                y = call(leaf)
                slopes.append([y.requires_grad])
                if y.requires_grad:
                    y.backward()
                    grads = [x.grad, *(p.grad for p in model.parameters())]
                    slopes[-1] += [None if g is None else to_numpy(nn, g).copy() for g in grads]
            for got, want in zip(slopes[1], slopes[0], strict=True):
                if isinstance(want, np.ndarray):
                    agrees(nn, got, want, "gradient", call=f"frozen {frozen}")
                else:
                    assert got is want, f"frozen {frozen}: got {got}, not {want}"


@clause("autograd-30")
def test_jit_of_transformations_follows(nn: Any) -> None:
    model = network(nn)
    slope = nn.grad(lambda x: nn.ops.sum(model(x)))
    value = nn.value_and_grad(lambda x: nn.ops.sum(model(x)))
    compiled, valued = nn.jit(slope), nn.jit(value)
    x = nn.tensor(array(2, 3))
    for name in ("eval", "a step", "a number", "a hook", "a parameter replaced", "train"):
        agrees(nn, compiled(x), to_numpy(nn, slope(x)), "gradient", call=f"before {name}")
        CHANGES[name](nn, model)
        agrees(nn, compiled(x), to_numpy(nn, slope(x)), "gradient", call=f"after {name}")
        agrees(nn, valued(x)[1], to_numpy(nn, value(x)[1]), "gradient", call=f"after {name}")


@pytest.mark.parametrize(
    "way", ["list", "dict", "attribute", "default", "partial", "method", "two"]
)
@clause("autograd-30")
def test_wherever_the_module_is_found(nn: Any, way: str) -> None:
    model = network(nn).eval()
    held = type("Held", (), {"model": model, "call": lambda self, x: self.model(x)})()
    functions: dict[str, Any] = {
        "list": lambda x, models=[model]: models[0](x),
        "dict": lambda x: {"m": [model]}["m"][0](x),
        "attribute": lambda x: held.model(x),
        "default": lambda x, model=model: model(x),
        "partial": partial(lambda m, x: m(x), model),
        "method": held.call,
        "two": lambda x: nn.jit(lambda x: model(x))(x),
    }
    compiled = nn.jit(functions[way])
    x = nn.tensor(array(2, 3))
    for name in ("train", "a number", "a parameter replaced", "eval", "a hook", "a list", "a step"):
        agrees(nn, compiled(x), to_numpy(nn, model(x)), "gradient", call=f"{way}, before {name}")
        CHANGES[name](nn, model)
        agrees(nn, compiled(x), to_numpy(nn, model(x)), "gradient", call=f"{way}, after {name}")


@clause("autograd-30")
def test_dropout_draws_anew(nn: Any) -> None:
    layer = nn.Dropout(0.5)
    compiled = nn.jit(lambda x: layer(x))
    x = nn.ones((50,))
    for seed in (1, 2, 1):
        nn.manual_seed(seed)
        got = [compiled(x) for _ in range(2)]
        nn.manual_seed(seed)
        for value in got:
            exactly(nn, value, to_numpy(nn, layer(x)), call=f"seed {seed}")
    layer.eval()
    exactly(nn, compiled(x), np.ones(50, "float32"), call="after eval()")
    layer.train()
    nn.manual_seed(1)
    assert set(to_numpy(nn, compiled(x)).tolist()) == {0.0, 2.0}


def count_in_an_object(model: Any) -> None:
    model.held.count = model.held.count + 1


# What a call changes on the Module, in a plain attribute, and how it counts the calls.
COUNTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "calls": (lambda m: setattr(m, "calls", m.calls + 1), lambda m: m.calls),
    "count": (lambda m: setattr(m, "count", m.count + 1), lambda m: m.count),
    "seen": (lambda m: m.seen.append(None), lambda m: len(m.seen)),
    "table": (lambda m: m.table.__setitem__("n", m.table["n"] + 1), lambda m: m.table["n"]),
    "deep": (lambda m: m.deep["x"][0].append(1), lambda m: len(m.deep["x"][0])),
    "names": (lambda m: m.names.add(len(m.names)), lambda m: len(m.names)),
    "array": (lambda m: m.array.__iadd__(1), lambda m: float(m.array[0])),
    "held": (count_in_an_object, lambda m: m.held.count),
    "added": (lambda m: setattr(m, "added", getattr(m, "added", 0) + 1), lambda m: m.added),
}


def counting(nn: Any, what: str) -> Any:
    change, count = COUNTS[what]

    class Counting(nn.Module):
        calls: Any

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", nn.tensor(0.0))
            self.count = 0
            self.seen: list[Any] = []
            self.table = {"n": 0}
            self.deep: dict[str, Any] = {"x": ([],)}
            self.names: set[int] = set()
            self.array = np.zeros(2)
            self.held = SimpleNamespace(count=0)

        def forward(self, x: Any) -> Any:
            change(self)
            return x * count(self)

    return Counting()


@pytest.mark.parametrize("what", COUNTS)
@clause("autograd-30")
def test_what_the_function_changes_on_a_module(nn: Any, what: str) -> None:
    plain, model = counting(nn, what), counting(nn, what)
    compiled = nn.jit(lambda x: model(x))
    x = nn.tensor(array(3))
    for time in range(4):
        try:
            got = compiled(x)
        except (RuntimeError, TypeError) as error:
            assert_refused(nn, str(error), what, model)
            return
        agrees(nn, got, to_numpy(nn, plain(x)), "elementwise", call=f"{what}, call {time}")


def assert_refused(nn: Any, message: str, what: str, model: Any) -> None:
    """The message says what was changed, and the Module is as it was."""
    assert "Counting" in message, f"got {message!r} but should name Counting"
    assert what in message, f"got {message!r} but should name {what}"
    exactly(nn, model.calls, np.array(0, "float32"))
    assert not hasattr(model, "added")
    numbers = [model.count, len(model.seen), model.table["n"], len(model.deep["x"][0])]
    numbers += [len(model.names), float(model.array.sum()), model.held.count]
    assert numbers == [0] * 7


@clause("autograd-20")
@pytest.mark.parametrize("what", ["data", "grad"])
def test_a_tensor_that_the_function_changes(nn: Any, what: str) -> None:
    kept = tensor(nn, normal((3,), "float32"))

    def function(x: Any) -> Any:
        if what == "data":
            kept.data = (x * 2).data
        else:
            kept.grad = x.detach() * 2
        return x * 3

    x = nn.tensor(array(3))
    try:
        got = nn.jit(function)(x)
    except (RuntimeError, TypeError) as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert what in message
        exactly(nn, kept.detach(), normal((3,), "float32"), call="the Tensor after a refusal")
        assert kept.grad is None
        return
    agrees(nn, got, 3 * array(3), "elementwise", call="the result")
    agrees(nn, (kept if what == "data" else kept.grad).detach(), 2 * array(3), "elementwise")


@clause("autograd-20", "autograd-08", needs="jit")
def test_no_grad_in_a_compiled_function(nn: Any) -> None:
    def function(x: Any) -> Any:
        with nn.no_grad():
            square = x * x
        return x * square

    x = nn.tensor([1.0, -3.0], requires_grad=True)
    nn.ops.sum(nn.jit(function)(x)).backward()
    exactly(nn, x.grad, np.array([1.0, 9.0], "float32"))
