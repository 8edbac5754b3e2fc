"""The chapter ``errors``: what bad calls say, and what they leave alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.support import bare_calls
from spec_tests.support.assertions import exactly, own, refuses
from spec_tests.support.bad_calls import CALLS, SEED, Bad, World


@clause("errors-01", "errors-02", "errors-03")
@pytest.mark.parametrize(
    "bad",
    [pytest.param(bad, id=bad.name, marks=[clause("errors-02", needs=bad.needs)]) for bad in CALLS],
)
def test_a_bad_call(nn: Any, tmp_path: Path, bad: Bad) -> None:
    world = World(nn, tmp_path)
    before = world.frozen()
    with refuses(bad.types, *bad.fragments):
        bad.call(world)
    after = world.frozen()
    changed = [key for key in before | after if before.get(key) != after.get(key)]
    assert changed == []
    exactly(nn, nn.rand((3,)), Draws(SEED).uniform((3,), 0.0, 1.0, "float32"))


@clause("errors-04")
@pytest.mark.parametrize(
    ("data", "error", "fragment"),
    [
        ([[1.0, 2.0], [3.0]], ValueError, ""),
        ([1, [2]], ValueError, ""),
        ("text", TypeError, "str"),
        (["a", "b"], TypeError, ("str", "<U")),
        (None, TypeError, "None"),
        ({"a": 1}, TypeError, "dict"),
        ([object()], TypeError, "object"),
    ],
)
def test_what_cannot_become_a_tensor(nn: Any, data: Any, error: Any, fragment: Any) -> None:
    with refuses(error, "tensor", fragment):
        nn.tensor(data)


@clause("errors-05")
@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ("Linear", ("in_features", "out_features")),
        ("Embedding", ("num_embeddings", "embedding_dim")),
        ("RNN", ("input_size", "hidden_size")),
        ("LSTM", ("input_size", "hidden_size")),
        ("GRU", ("input_size", "hidden_size")),
        ("RNNCell", ("input_size", "hidden_size")),
        ("LSTMCell", ("input_size", "hidden_size")),
        ("GRUCell", ("input_size", "hidden_size")),
    ],
)
def test_sizes_that_are_refused(nn: Any, layer: str, names: tuple[str, str]) -> None:
    make = getattr(nn, layer)
    nn.manual_seed(SEED)
    for wrong, error in ((0, ValueError), (-3, ValueError), (2.5, TypeError), ("3", TypeError)):
        for position, name in enumerate(names):
            sizes: list[Any] = [4, 4]
            sizes[position] = wrong
            with refuses(error, layer, name, str(wrong)):
                make(*sizes)
    exactly(nn, nn.rand((2,)), Draws(SEED).uniform((2,), 0.0, 1.0, "float32"))


ARGUMENTS = ("of the user", 3)


class Mishap(Exception):
    """What the user's own code raises."""


def fail(*arguments: Any) -> Any:
    """Raise the user's own exception, whatever the arguments."""
    raise Mishap(*ARGUMENTS)


def failing_function(nn: Any, where: str) -> Any:
    """Return a Function whose ``forward`` or ``backward`` raises."""

    class Fragile(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return fail() if where == "forward" else x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return fail()

    return Fragile


def hooked(w: World, register: str) -> Any:
    """Call a Module with a hook that raises."""
    handle = getattr(w.linear, register)(fail)
    try:
        w.linear(w.zeros(1, 3))
    finally:
        handle.remove()


def hooked_gradient(w: World) -> Any:
    """Run backward through a Tensor with a hook that raises."""
    y = w.weight * 2
    y.register_hook(fail)
    w.nn.ops.sum(y).backward()


def failing_module(w: World) -> Any:
    """Run ``functional_call`` of a Module that raises."""
    nn: Any = w.nn

    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = w.linear

        def forward(self, x: Any) -> Any:
            return fail()

    w.nn.functional_call(Fragile(), {"inner.weight": w.zeros(2, 3)}, w.zeros(1, 3))


@clause("errors-06")
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda w: failing_function(w.nn, "forward").apply(w.weight), id="forward"),
        pytest.param(
            lambda w: w.nn.ops.sum(failing_function(w.nn, "backward").apply(w.weight)).backward(),
            id="backward",
        ),
        pytest.param(lambda w: hooked(w, "register_forward_pre_hook"), id="pre-hook"),
        pytest.param(lambda w: hooked(w, "register_forward_hook"), id="forward-hook"),
        pytest.param(hooked_gradient, id="gradient-hook"),
        pytest.param(lambda w: w.nn.grad(fail)(w.weight), id="grad"),
        pytest.param(lambda w: w.nn.value_and_grad(fail)(w.weight), id="value-and-grad"),
        pytest.param(lambda w: w.nn.vjp(fail, w.weight), id="vjp"),
        pytest.param(lambda w: w.nn.jvp(fail, (w.weight,), (w.weight,)), id="jvp"),
        pytest.param(lambda w: w.nn.linearize(fail, w.weight), id="linearize"),
        pytest.param(lambda w: w.nn.jacrev(fail)(w.weight), id="jacrev"),
        pytest.param(lambda w: w.nn.jacfwd(fail)(w.weight), id="jacfwd"),
        pytest.param(lambda w: w.nn.hessian(fail)(w.weight), id="hessian"),
        pytest.param(lambda w: w.nn.hvp(fail, (w.weight,), (w.weight,)), id="hvp"),
        pytest.param(failing_module, id="functional-call"),
    ],
)
def test_exceptions_of_the_user_pass_through(
    nn: Any, tmp_path: Path, call: Callable[[World], Any]
) -> None:
    world = World(nn, tmp_path)
    before = world.frozen()
    with pytest.raises(Mishap) as caught:
        call(world)
    assert caught.value.args == ARGUMENTS
    assert world.frozen() == before
    assert nn.is_grad_enabled()
    assert (world.weight * 2).requires_grad
    exactly(nn, nn.rand((3,)), Draws(SEED).uniform((3,), 0.0, 1.0, "float32"))


@clause("errors-06", needs="jit")
def test_exceptions_pass_through_jit(nn: Any, tmp_path: Path) -> None:
    world = World(nn, tmp_path)
    before = world.frozen()
    with pytest.raises(Mishap):
        nn.jit(fail)(world.weight)
    assert world.frozen() == before


DOCUMENTED = (
    ValueError,
    TypeError,
    RuntimeError,
    IndexError,
    KeyError,
    AttributeError,
    NotImplementedError,
    OSError,
)


@clause("errors-07")
@pytest.mark.parametrize(("table", "place"), bare_calls.CALLS)
def test_errors_name_the_operation(nn: Any, tmp_path: Path, table: str, place: int) -> None:
    if table == "methods" and not own(nn):
        return
    words, call = bare_calls.TABLES[table][place]
    world = World(nn, tmp_path)
    before = world.frozen()
    with refuses(DOCUMENTED, words):
        call(world)
    assert world.frozen() == before
