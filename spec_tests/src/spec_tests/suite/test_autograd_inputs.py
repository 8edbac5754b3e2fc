"""Chapter autograd: gradients of named Tensors, by `backward` and by `grad`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.changes import own_class
from spec_tests.support.inputs import normal


def chain(nn: Any, dtype: str = "float32") -> tuple[Any, Any, Any, Any]:
    """Return leaves x and w (3,), y = 2x, and z, the sum of y * y * w."""
    x, w = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
    y = x * 2
    return x, w, y, nn.ops.sum(y * y * w)


def slopes(x: Any, w: Any) -> dict[str, np.ndarray]:
    """Return the gradients of z of `chain` by name, from the values of x and w."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    return {"x": 8 * x * w, "y": 4 * x * w, "w": 4 * x * x}


def values(nn: Any, *tensors: Any) -> list[np.ndarray]:
    return [to_numpy(nn, t) for t in tensors]


def counting(nn: Any, seen: list[str], name: str) -> Callable[..., Any]:
    """Return a Function that doubles, and notes when its backward runs."""

    class Doubling(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            seen.append(name)
            return grad_output * 2

    apply: Callable[..., Any] = Doubling.apply
    return apply


SOME = {"x": "x", "w": "w", "y": "y", "y and x": "yx", "w, y and x": "wyx", "x twice": "xx"}


@pytest.mark.parametrize("names", SOME)
@clause("autograd-40")
def test_named_tensors_alone_get_gradients(nn: Any, dtype: str, names: str) -> None:
    x, w, y, z = chain(nn, dtype)
    every = {"x": x, "w": w, "y": y}
    want = slopes(*values(nn, x, w))
    z.backward(inputs=[every[name] for name in SOME[names]])
    for name, t in every.items():
        if name in SOME[names]:
            agrees(nn, t.grad, want[name], "gradient", call=f"inputs {names}: {name}")
        else:
            assert t.grad is None, f"{name} was not named, but its grad was filled"


@clause("autograd-40")
def test_forms_of_inputs(nn: Any, dtype: str) -> None:
    for form in (lambda t: t, lambda t: [t], lambda t: (t,)):
        x, w, _, z = chain(nn, dtype)
        z.backward(None, False, False, form(x))
        agrees(nn, x.grad, slopes(*values(nn, x, w))["x"], "gradient")
        assert w.grad is None
    x, w, _, z = chain(nn, dtype)
    z.backward(inputs=None)
    assert x.grad is not None
    assert w.grad is not None


@clause("autograd-40", "autograd-03")
def test_named_gradients_accumulate(nn: Any, dtype: str) -> None:
    x, w, y, z = chain(nn, dtype)
    want = slopes(*values(nn, x, w))
    z.backward(retain_graph=True, inputs=[x, y])
    z.backward(retain_graph=True, inputs=[x, y])
    agrees(nn, x.grad, 2 * want["x"], "gradient", call="x twice")
    agrees(nn, y.grad, 2 * want["y"], "gradient", call="y twice")
    z.backward(inputs=[w])
    agrees(nn, w.grad, want["w"], "gradient", call="w")
    agrees(nn, x.grad, 2 * want["x"], "gradient", call="x, when w alone was named")


@clause("autograd-40")
def test_what_leads_to_no_named_tensor_does_not_run(nn: Any) -> None:
    seen: list[str] = []
    x, other = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32", seed=1))
    y = counting(nn, seen, "before y")(x)
    side = counting(nn, seen, "side")(other)
    z = nn.ops.sum(counting(nn, seen, "after y")(y) * side)
    x.register_hook(lambda grad: seen.append("hook of x"))
    other.register_hook(lambda grad: seen.append("hook of other"))
    side.register_hook(lambda grad: seen.append("hook of side"))
    y.register_hook(lambda grad: seen.append("hook of y"))
    z.backward(inputs=[y])
    if own_class(nn):
        assert set(seen) <= {"after y", "hook of y", "before y"}, seen
        return
    assert seen == ["after y", "hook of y"]
    # The rest stands as it was, and the pass goes on there.
    y.backward(y.grad, inputs=[x])
    assert seen[2:] == ["before y", "hook of x"]
    agrees(nn, x.grad, 8 * normal(3, "float32", seed=1), "gradient")


@clause("autograd-40")
def test_a_named_tensor_that_is_not_reached(nn: Any, dtype: str) -> None:
    x, w, _, z = chain(nn, dtype)
    apart, had = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype))
    nn.ops.sum(had * 5).backward()
    z.backward(inputs=[apart, had, x])
    assert apart.grad is None
    exactly(nn, had.grad, np.full(3, 5.0))
    agrees(nn, x.grad, slopes(*values(nn, x, w))["x"], "gradient")


@clause("autograd-40")
def test_inputs_that_are_refused(nn: Any) -> None:
    x, w, y, z = chain(nn)
    constant = nn.tensor(normal(3, "float32"))
    own = own_class(nn)
    cases: list[tuple[Any, type[Exception], tuple[Any, ...]]] = [
        ([], ValueError, ()),
        ((), ValueError, ()),
        ([x, constant], RuntimeError, ("grad", "1")),
        (constant, RuntimeError, ("grad",)),
        (3, TypeError, ("int",)),
        ("x", TypeError, ("str",)),
        ([x, 3], TypeError, ("int",)),
        ([x, None], TypeError, ("None",)),
    ]
    for bad, error, said in cases:
        errors = (error, TypeError, RuntimeError) if own else (error,)
        with refuses(errors, *(() if own else ("inputs", *said))):
            z.backward(inputs=bad)
        assert [t.grad for t in (x, w, y, constant)] == [None] * 4, bad
    z.backward()
    agrees(nn, x.grad, slopes(*values(nn, x, w))["x"], "gradient", dtype="float32")


@clause("autograd-40", needs="double_backward")
def test_named_tensors_under_create_graph(nn: Any, dtype: str) -> None:
    x, w, _, z = chain(nn, dtype)
    z.backward(create_graph=True, inputs=[x])
    assert w.grad is None
    slope, x.grad = x.grad, None
    nn.ops.sum(slope).backward(inputs=[w])
    agrees(nn, w.grad, 8 * to_numpy(nn, x), "gradient")
    assert x.grad is None


@clause("autograd-41")
def test_grad_of_tensors(nn: Any, dtype: str) -> None:
    x, w, y, z = chain(nn, dtype)
    want = slopes(*values(nn, x, w))
    got = nn.grad(z, [x, y, w, x])
    assert isinstance(got, tuple)
    assert len(got) == 4
    for slope, name in zip(got, "xywx", strict=True):
        assert isinstance(slope, nn.Tensor)
        assert not slope.requires_grad
        agrees(nn, slope, want[name], "gradient", call=f"gradient to {name}")
    assert [t.grad for t in (x, w, y)] == [None] * 3
    for inputs in (lambda x: x, lambda x: (x,)):
        x, w, _, z = chain(nn, dtype)
        got = nn.grad((z,), inputs(x))
        assert isinstance(got, tuple)
        agrees(nn, got[0], want["x"], "gradient")


@clause("autograd-41")
def test_several_outputs_and_their_weights(nn: Any, dtype: str) -> None:
    x, w, y, z = chain(nn, dtype)
    g = normal(3, dtype, seed=5)
    want = slopes(*values(nn, x, w))["x"]
    (got,) = nn.grad([z, y], [x], [None, nn.tensor(g)])
    agrees(nn, got, want + 2 * g.astype(np.float64), "gradient", call="None and a Tensor")
    x, w, y, z = chain(nn, dtype)
    (got,) = nn.grad([z, y], x, grad_outputs=(nn.tensor(np.asarray(3.0, dtype)), nn.tensor(g)))
    agrees(nn, got, 3 * want + 2 * g.astype(np.float64), "gradient", call="two Tensors")
    x, _, y, _ = chain(nn, dtype)
    (got,) = nn.grad(y, x, nn.tensor(g))
    agrees(nn, got, 2 * g.astype(np.float64), "gradient", call="one Tensor")


@clause("autograd-41")
def test_inputs_that_are_outputs(nn: Any, dtype: str) -> None:
    x, w, y, z = chain(nn, dtype)
    g = normal(3, dtype, seed=5)
    got = nn.grad([z, y], [y, x, z], [None, nn.tensor(g)])
    want = slopes(*values(nn, x, w))
    agrees(nn, got[0], want["y"] + g, "gradient", call="to y, which is an output too")
    agrees(nn, got[1], want["x"] + 2 * g, "gradient", call="to x")
    exactly(nn, got[2], np.asarray(1.0), call="to z itself")
    (got_x,) = nn.grad(x, x, nn.tensor(g))
    exactly(nn, got_x, g, call="of a leaf to itself")


@clause("autograd-41")
def test_grad_fills_nothing_and_runs_what_it_needs(nn: Any) -> None:
    seen: list[str] = []
    x, other = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32", seed=1))
    nn.ops.sum(x * 7).backward()
    y = counting(nn, seen, "before y")(x)
    side = counting(nn, seen, "side")(other)
    y.register_hook(lambda grad: grad * 10)
    z = nn.ops.sum(counting(nn, seen, "after y")(y) * side)
    (got,) = nn.grad(z, y)
    assert seen == ["after y"]
    agrees(nn, got, 40 * normal(3, "float32", seed=1), "gradient", call="the hook's")
    exactly(nn, x.grad, np.full(3, 7.0, "float32"))
    assert other.grad is None
    if not own_class(nn):
        y = x * 3
        y.retain_grad()
        nn.grad(nn.ops.sum(y * y), x)
        assert y.grad is None


@clause("autograd-41")
def test_hooks_of_leaves_see_what_grad_returns(nn: Any) -> None:
    x, w, _, z = chain(nn)
    want = slopes(*values(nn, x, w))["x"]
    x.register_hook(lambda grad: grad * 10)
    (got,) = nn.grad(z, x)
    agrees(nn, got, 10 * want, "gradient", dtype="float32")
    assert x.grad is None


@clause("autograd-41")
def test_inputs_that_nothing_depends_on(nn: Any, dtype: str) -> None:
    x, w, _, z = chain(nn, dtype)
    apart = tensor(nn, normal(3, dtype))
    with refuses(RuntimeError, "grad", "1", "allow_unused"):
        nn.grad(z, [x, apart], retain_graph=True)
    for later in (x * 2, apart * 2):
        with refuses(RuntimeError, "0", "allow_unused"):
            nn.grad(z, later, retain_graph=True)
    got = nn.grad(z, [apart, x, apart], allow_unused=True)
    assert got[0] is None
    assert got[2] is None
    agrees(nn, got[1], slopes(*values(nn, x, w))["x"], "gradient")


@clause("autograd-41", "autograd-04")
def test_keeping_the_graph_of_grad(nn: Any) -> None:
    x, _, _, z = chain(nn)
    first = to_numpy(nn, nn.grad(z, x, retain_graph=True)[0])
    exactly(nn, nn.grad(z, x)[0], first, dtype="float32")
    with refuses(RuntimeError, "retain_graph"):
        nn.grad(z, x)
    assert x.grad is None


@clause("autograd-41", needs="double_backward")
def test_grad_of_tensors_recorded(nn: Any, dtype: str) -> None:
    x, w, y, z = chain(nn, dtype)
    (slope,) = nn.grad(z, x, create_graph=True)
    assert slope.requires_grad
    assert x.grad is None
    (to_w,) = nn.grad(nn.ops.sum(slope), w, retain_graph=True)
    agrees(nn, to_w, 8 * to_numpy(nn, x), "gradient", call="second derivative")
    # The graph of z was kept, as retain_graph was not said.
    (by_y,) = nn.grad(z, y, create_graph=True)
    (to_w,) = nn.grad(by_y, w, nn.ones((3,), dtype=by_y.dtype))
    agrees(nn, to_w, 4 * to_numpy(nn, x), "gradient", call="by the intermediate")


def refusals(nn: Any, x: Any, y: Any, z: Any) -> list[tuple[Any, type[Exception], tuple[Any, ...]]]:
    """Return calls of `grad` that raise, with what they raise and say."""
    constant, grad = nn.tensor(normal(3, "float32")), nn.grad
    four = nn.ones((4,))
    return [
        (lambda: grad(constant, x), RuntimeError, ("output", "0")),
        (lambda: grad([z, constant], x, [None, four]), RuntimeError, ("output", "1")),
        (lambda: grad(z, [x, constant]), RuntimeError, ("input", "1")),
        (lambda: grad(z, [x, constant], allow_unused=True), RuntimeError, ("input", "1")),
        (lambda: grad([], x), ValueError, ("output",)),
        (lambda: grad(z, []), ValueError, ("input",)),
        (lambda: grad([z, y], x, [None]), ValueError, ("1", "2")),
        (lambda: grad(z, x, [None, None]), ValueError, ("1", "2")),
        (lambda: grad(y, x), RuntimeError, ("scalar",)),
        (lambda: grad([z, y], x), RuntimeError, ("scalar",)),
        (lambda: grad(y, x, four), RuntimeError, ("(3,)", "(4,)")),
        (lambda: grad(z, 3), TypeError, ("int",)),
        (lambda: grad(z, [x, "y"]), TypeError, ("str",)),
        (lambda: grad([z, 3], x), TypeError, ("int",)),
        (lambda: grad(z, x, "g"), TypeError, ("str",)),
        (lambda: grad(z), TypeError, ("inputs",)),
        (lambda: grad(3), TypeError, ("int",)),
    ]


@clause("autograd-41")
def test_calls_of_grad_that_are_refused(nn: Any) -> None:
    x, w, y, z = chain(nn)
    for call, error, said in refusals(nn, x, y, z):
        with refuses(error, *(() if said == ("scalar",) else ("grad",)), *said):
            call()
        assert x.grad is None
    if not own_class(nn):
        with refuses(TypeError, "grad"):
            nn.grad(z, raw(nn, normal(3, "float32")))
    agrees(
        nn,
        nn.grad(z, x)[0],
        slopes(*values(nn, x, w))["x"],
        "gradient",
        call="after every refusal",
        dtype="float32",
    )


@clause("autograd-41", "autograd-14")
def test_a_function_stays_a_function(nn: Any) -> None:
    x = tensor(nn, normal(3, "float32"))
    module = nn.Linear(3, 1)
    got = nn.grad(lambda x: nn.ops.sum(x * x))(x)
    exactly(nn, got, 2 * normal(3, "float32"), dtype="float32")
    exactly(nn, nn.grad(module)(x), to_numpy(nn, module.weight)[0], dtype="float32")


@clause("autograd-41")
def test_grad_of_the_output_of_a_module(nn: Any, dtype: str) -> None:
    """A penalty on activations: gradients at an intermediate Tensor of a network."""
    first = nn.Linear(3, 4, dtype=getattr(nn, dtype))
    last = nn.Linear(4, 1, dtype=getattr(nn, dtype))
    hidden = nn.ops.tanh(first(nn.tensor(normal((2, 3), dtype))))
    (slope,) = nn.grad(nn.ops.sum(last(hidden)), hidden)
    want = np.broadcast_to(to_numpy(nn, last.weight), (2, 4))
    agrees(nn, slope, want, "gradient")
    assert all(p.grad is None for p in (*first.parameters(), *last.parameters()))
