"""Chapter autograd: values that change between an operation and its backward."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, raw, tensor, to_numpy
from spec_tests.support.calls import Call, calls, evaluate, filled, module_calls, results
from spec_tests.support.cases import OPERATORS
from spec_tests.support.changes import (
    ASSIGNMENTS,
    CALLS,
    STEPS,
    WRITES,
    Refusal,
    Scene,
    anything,
    can_write,
    examine,
    gives_old_or_refuses,
    scene,
    ways,
)
from spec_tests.support.inputs import normal, positive

pytestmark = pytest.mark.sampled(4)

SQUARES = {
    "x.T": lambda nn, x: x.T,
    "x.mT": lambda nn, x: x.mT,
    "x.reshape": lambda nn, x: x.reshape((6,)),
    "x[1:]": lambda nn, x: x[1:],
    "x[0]": lambda nn, x: x[0],
    "x[:, ::2]": lambda nn, x: x[:, ::2],
    "x[:, None]": lambda nn, x: x[:, None],
    "x[[1, 0]]": lambda nn, x: x[[1, 0]],
    "expand_dims": lambda nn, x: nn.ops.expand_dims(x, 0),
    "squeeze": lambda nn, x: nn.ops.squeeze(nn.ops.expand_dims(x, 0), 0),
    "permute_dims": lambda nn, x: nn.ops.permute_dims(x, (1, 0)),
    "broadcast_to": lambda nn, x: nn.ops.broadcast_to(x, (2, 2, 3)),
    "astype": lambda nn, x: nn.ops.astype(x, x.dtype, copy=False),
    "reshape twice": lambda nn, x: x.reshape((3, 2)).T.reshape((6,))[1:],
    "iteration": lambda nn, x: next(iter(x)),
}
MADE_OF_OTHERS = (
    "var std norm diff tensordot vecdot sort linear_recurrence einsum put scatter_add segment_sum"
).split()
LAYERS = ("RNN", "GRU", "LSTM")


def differentiable(row: Row) -> bool:
    return row.gradient == "yes"


def has_gradient(call: Call, row: Row) -> bool:
    """Whether a call has a floating result of floating arrays, all float32."""
    floating = call.floating() and evaluate(row, call).dtype.kind == "f"
    return bool(floating) and call.dtype("float32") == "float32"


def of_floats(nn: Any, function: Any, call: Call) -> Any:
    """Return the call as a function of its floating arrays alone."""

    def apply(*tensors: Any) -> Any:
        positional, options = filled(nn, call, iter(tensors))
        values = results(function(*positional, **options))
        if len(values) == 1:
            return values[0]
        return nn.ops.concat([nn.ops.reshape(y, (-1,)) for y in values])

    return apply


@pytest.mark.sampled(32)
@clause("autograd-24", "ops-53")
@rows("ops", where=differentiable)
def test_functions_keep_the_values_that_they_saw(nn: Any, row: Row) -> None:
    for call in calls(row, "float32"):
        if has_gradient(call, row):
            apply = of_floats(nn, getattr(nn.ops, row.name), call)
            names = anything() if row.name in MADE_OF_OTHERS else (row.name,)
            examine(nn, scene(nn, apply, call.floating()), names, call.text)


@pytest.mark.parametrize("name", OPERATORS)
@clause("autograd-24")
def test_operators_keep_the_values_that_they_saw(nn: Any, name: str) -> None:
    call, inputs = OPERATORS[name]
    arrays = [array.astype("float32") for array in inputs]
    examine(nn, scene(nn, lambda *xs: call(nn, *xs), arrays), anything(), name)


@pytest.mark.parametrize("name", SQUARES)
@clause("autograd-24")
def test_views_keep_the_values_that_they_saw(nn: Any, name: str) -> None:
    def square(x: Any) -> Any:
        view = SQUARES[name](nn, x)
        return view * view

    examine(nn, scene(nn, square, [normal((2, 3), "float32")]), anything(), name)


@pytest.mark.parametrize("name", SQUARES)
@clause("autograd-24")
def test_views_of_results_keep_the_values(nn: Any, name: str) -> None:
    """A view shares memory with what the derivative of tanh keeps."""

    def view(x: Any) -> Any:
        return SQUARES[name](nn, nn.ops.tanh(x))

    build = scene(nn, view, [normal((2, 3), "float32")])
    examine(nn, build, anything(), f"{name} of tanh", ("result",))


@clause("autograd-24")
@rows("loss")
def test_losses_keep_the_values_that_they_saw(nn: Any, row: Row) -> None:
    call = calls(row, "float32")[0]
    for function in (getattr(nn.loss, row.name), getattr(nn, str(row.module))()):
        build = scene(nn, of_floats(nn, function, call), call.floating())
        examine(nn, build, anything(str(row.module)), call.text)


@pytest.mark.sampled(16)
@clause("autograd-24")
@rows("nn", where=lambda row: bool(row.inputs))
def test_modules_keep_the_values_that_they_saw(nn: Any, row: Row) -> None:
    constructor, call = next(iter(module_calls(row, "float32")))

    def build() -> Scene:
        nn.manual_seed(3)
        module = getattr(nn, row.name)(*constructor.arguments, **constructor.options)
        floats = [tensor(nn, array) for array in call.floating()]
        apply = of_floats(nn, module, call)
        return Scene([*floats, *module.parameters()], lambda *xs: apply(*xs[: len(floats)]))

    if build().leaves:
        examine(nn, build, anything(), f"{constructor.text}: {call.text}", ("leaf", "constant"))
        examine(nn, build, anything(), f"{constructor.text}: {call.text}", ("result",))


@pytest.mark.sampled(6)
@pytest.mark.parametrize("steps", [4, 70])
@pytest.mark.parametrize("layer", LAYERS)
@clause("autograd-24")
def test_layers_keep_the_values_that_they_saw(nn: Any, layer: str, steps: int) -> None:
    def build() -> Scene:
        nn.manual_seed(3)
        module = getattr(nn, layer)(3, 4)
        states = [tensor(nn, normal((1, 2, 4), "float32", seed=i)) for i in (1, 2)]
        states = states if layer == "LSTM" else states[:1]
        leaves = [tensor(nn, normal((steps, 2, 3), "float32")), *states, *module.parameters()]

        def call(x: Any, *rest: Any) -> Any:
            state = rest[:2] if layer == "LSTM" else rest[0]
            output, last = module(x, state)
            last = last[0] + last[1] if layer == "LSTM" else last
            return nn.ops.concat([output, last], axis=0)

        return Scene(leaves, call)

    examine(nn, build, anything(), f"{layer}, {steps} steps", ("leaf", "constant", "result"))


@pytest.mark.parametrize("layer", LAYERS)
@clause("autograd-24")
def test_cells_keep_the_values_that_they_saw(nn: Any, layer: str) -> None:
    def build() -> Scene:
        nn.manual_seed(3)
        module = getattr(nn, f"{layer}Cell")(3, 4)
        states = [tensor(nn, normal((2, 4), "float32", seed=i)) for i in (1, 2)]
        states = states if layer == "LSTM" else states[:1]
        leaves = [tensor(nn, normal((2, 3), "float32")), *states, *module.parameters()]

        def call(x: Any, *rest: Any) -> Any:
            state = rest[:2] if layer == "LSTM" else rest[0]
            last = module(x, state)
            return last[0] + last[1] if layer == "LSTM" else last

        return Scene(leaves, call)

    examine(nn, build, anything(), f"{layer}Cell", ("leaf", "constant"))


@clause("autograd-24")
def test_an_optimizer_steps_between_forward_and_backward(nn: Any, dtype: str) -> None:
    for make in ("SGD", "Adam"):
        p = nn.Parameter(nn.tensor(np.array([1, 2], dtype)))
        optimizer = getattr(nn.optim, make)([p], lr=1.0)
        nn.ops.sum(p).backward()
        y = nn.ops.sum(p * p)
        optimizer.step()
        optimizer.zero_grad()

        def backward(y: Any = y, p: Any = p) -> Any:
            y.backward()
            return p.grad

        want = np.array([2, 4], dtype)
        gives_old_or_refuses(nn, backward, want, Refusal(("multiply",), ((2,),)), make)


@clause("autograd-24")
def test_what_was_changed_before_the_operation_is_what_it_saw(nn: Any) -> None:
    """A training loop that writes before each forward pass is refused nothing."""
    for name, way in ways(nn, WRITES, ASSIGNMENTS, CALLS, STEPS).items():
        x = tensor(nn, positive((2, 3), "float32"))
        change = way(nn, x)
        for repetition in range(3):
            change(np.full((2, 3), 2.0 + repetition, "float32"))
            now = to_numpy(nn, x).copy()
            x.grad = None
            nn.ops.sum(nn.ops.tanh(x) + x * x).backward()
            want = 1 - np.tanh(now.astype("float64")) ** 2 + 2 * now
            agrees(nn, x.grad, want, "gradient", call=f"{name}, time {repetition}", dtype="float32")


@clause("autograd-24")
def test_what_was_changed_has_no_part_in_the_graph(nn: Any) -> None:
    """A change of one Tensor is no reason to refuse the gradient of another."""
    for name, way in ways(nn, WRITES, ASSIGNMENTS, CALLS, STEPS).items():
        x, other = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32", seed=1))
        change = way(nn, other)
        nn.ops.sum(other * other).backward(retain_graph=True)
        y = nn.ops.sum(nn.ops.tanh(x) * x + x.detach())
        added = nn.ops.sum((x + other) - 2 * other)
        change(np.full(3, 9.0, "float32"))
        other.grad = None
        y.backward()
        t = np.tanh(normal(3, "float32").astype("float64"))
        want = t + (1 - t * t) * normal(3, "float32")
        agrees(nn, x.grad, want, "gradient", call=name, dtype="float32")
        added.backward()
        exactly(nn, other.grad, np.full(3, -1.0, "float32"), call=f"{name}: nothing was kept")


@clause("autograd-24")
def test_a_leaf_may_be_written_into(nn: Any, dtype: str) -> None:
    if can_write(nn):
        for leaf in (tensor(nn, np.ones(2, dtype)), nn.Parameter(nn.tensor(np.ones(2, dtype)))):
            leaf.data[...] = raw(nn, np.array([3, 4], dtype))
            nn.ops.sum(leaf * leaf).backward()
            exactly(nn, leaf.grad, np.array([6, 8], dtype))
