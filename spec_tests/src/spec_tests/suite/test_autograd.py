"""Chapter autograd: backward, recording, hooks, and graphs of every shape."""

import gc
import math
import threading
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, refuses, tensor
from spec_tests.support.cases import FUNCTIONS, OPERATORS
from spec_tests.support.changes import own_class
from spec_tests.support.inputs import in_double, normal

pytestmark = pytest.mark.sampled(4)


def doubling(nn: Any, steps: list[int], limit: int) -> Any:
    """Return a Function ``x + y`` that refuses to run backward more than `limit` times."""

    class Doubling(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            steps.append(1)
            if len(steps) > limit:
                msg = f"backward ran more than {limit} times"
                raise AssertionError(msg)
            return grad_output, grad_output

    return Doubling


@clause("autograd-01")
def test_backward_of_a_scalar(nn: Any, dtype: str) -> None:
    a, b = normal((2, 3), dtype), normal(3, dtype, seed=1)
    x, y, other = tensor(nn, a), tensor(nn, b), tensor(nn, b)
    nn.ops.sum(x * y).backward()
    agrees(nn, x.grad, np.broadcast_to(in_double(b), (2, 3)), "gradient")
    agrees(nn, y.grad, in_double(a).sum(axis=0), "gradient")
    assert other.grad is None
    assert isinstance(x.grad, nn.Tensor)
    assert not x.grad.requires_grad


@clause("autograd-01")
def test_backward_of_one_element_and_with_a_gradient(nn: Any, dtype: str) -> None:
    for shape in ((), (1,), (1, 1)):
        x = tensor(nn, np.full(shape, 3.0, dtype))
        (x * x).backward()
        exactly(nn, x.grad, np.full(shape, 6.0), call=f"shape {shape}")
        x = tensor(nn, np.full(shape, 3.0, dtype))
        (x * x).backward(nn.tensor(np.full(shape, 0.5, dtype)))
        exactly(nn, x.grad, np.full(shape, 3.0), call=f"shape {shape}, gradient 0.5")


@clause("autograd-01")
def test_backward_of_a_leaf(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array(3.0, dtype))
    x.backward()
    exactly(nn, x.grad, np.array(1.0))


@clause("autograd-02")
def test_a_non_scalar_needs_a_gradient(nn: Any, dtype: str) -> None:
    a, g = normal((2, 3), dtype), normal((2, 3), dtype, seed=1)
    x = tensor(nn, a)
    y = x * x
    with refuses(RuntimeError, "scalar"):
        y.backward()
    assert x.grad is None
    with refuses(RuntimeError, "7", "3"):
        y.backward(nn.tensor(normal((2, 7), dtype)))
    assert x.grad is None
    y.backward(nn.tensor(g))
    agrees(nn, x.grad, 2 * in_double(a) * in_double(g), "gradient")


@clause("autograd-02")
@pytest.mark.parametrize("other", ["float32", "float64", "int32", "int64", "bool"])
def test_a_gradient_of_another_dtype(nn: Any, dtype: str, other: str) -> None:
    x = tensor(nn, normal((2, 3), dtype))
    g = np.array([[1, 0, 1], [0, 0, 1]], other)
    (x * 2).backward(nn.tensor(g))
    exactly(nn, x.grad, 2.0 * g, call=f"a gradient of {other}")


@clause("autograd-03")
def test_gradients_accumulate(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    x = tensor(nn, a)
    nn.ops.sum(x * x).backward()
    nn.ops.sum(3 * x).backward()
    agrees(nn, x.grad, 2 * in_double(a) + 3, "gradient", call="two graphs")
    y = nn.ops.sum(x * 2)
    y.backward(retain_graph=True)
    y.backward()
    agrees(nn, x.grad, 2 * in_double(a) + 7, "gradient", call="one graph twice")


@clause("autograd-04")
def test_a_freed_graph(nn: Any, dtype: str) -> None:
    class Cube(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 3 * x * x * grad_output

    a = normal(3, dtype)
    for name, call in (("x * x * x", lambda x: x * x * x), ("a Function", Cube.apply)):
        x = tensor(nn, a)
        y = nn.ops.sum(call(x))
        y.backward()
        before = x.grad.numpy().copy()
        with refuses(RuntimeError, "retain_graph"):
            y.backward()
        exactly(nn, x.grad, before, call=f"{name}: gradient after the refusal")
        x = tensor(nn, a)
        y = nn.ops.sum(call(x))
        y.backward(retain_graph=True)
        y.backward()
        agrees(nn, x.grad, 6 * in_double(a) ** 2, "gradient", call=f"{name}: retained")


@clause("autograd-05")
def test_a_tensor_without_history(nn: Any, dtype: str) -> None:
    x = nn.tensor(np.array(2.0, dtype))
    with nn.no_grad():
        unrecorded = tensor(nn, np.array(2.0, dtype)) * 2
    for plain in (x, x * 2, unrecorded):
        with refuses(RuntimeError, "require", "grad"):
            plain.backward()


@clause("autograd-06")
def test_only_leaves_keep_gradients(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    x = tensor(nn, a)
    y = x * 2
    z = y * y
    z.retain_grad()
    nn.ops.sum(z * 3).backward()
    assert y.grad is None
    exactly(nn, z.grad, np.full(3, 3.0))
    agrees(nn, x.grad, 24 * in_double(a), "gradient")


@clause("autograd-06")
def test_what_can_be_assigned_to_grad(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    other = {"float32": "float64", "float64": "float32"}[dtype]
    wrong: list[Any] = [1.0, "x", [1.0, 2.0, 3.0], np.ones(3, dtype)]
    wrong += [nn.tensor(np.ones(n, dtype)) for n in (1, 4)]
    wrong += [nn.tensor(np.ones(3, kind)) for kind in (other, "int64", "bool")]
    for before in (None, nn.tensor(normal(3, dtype, seed=1))):
        x.grad = before
        for value in wrong:
            with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
                x.grad = value
            assert own_class(nn) or not isinstance(caught.value, RuntimeError)
        assert x.grad is before
    nn.ops.sum(x * 2).backward()
    exactly(nn, x.grad, normal(3, dtype, seed=1) + 2)


@clause("autograd-07")
def test_hooks_see_and_replace_gradients(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    seen: list[Any] = []

    def watch(grad: Any) -> None:
        seen.append(grad)

    x = tensor(nn, a)
    y = x * 2
    y.register_hook(watch)
    # y has two uses: the hook gets their sum, once.
    nn.ops.sum(y * 3 + y * 4).backward()
    assert len(seen) == 1
    assert isinstance(seen[0], nn.Tensor)
    exactly(nn, seen[0], np.full(3, 7.0))
    exactly(nn, x.grad, np.full(3, 14.0), call="a hook that returns None")

    x = tensor(nn, a)
    y = x * 2
    y.register_hook(lambda grad: grad * 10)
    nn.ops.sum(y * 3).backward()
    exactly(nn, x.grad, np.full(3, 60.0), call="a hook on an intermediate")

    x = tensor(nn, a)
    handle = x.register_hook(lambda grad: grad * 10)
    nn.ops.sum(x * 3).backward()
    exactly(nn, x.grad, np.full(3, 30.0), call="a hook on a leaf")
    handle.remove()
    nn.ops.sum(x * 3).backward()
    exactly(nn, x.grad, np.full(3, 33.0), call="after remove()")


@clause("autograd-07")
def test_hooks_run_in_turn(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    y = x * 1
    first = y.register_hook(lambda grad: grad + 1)
    y.register_hook(lambda grad: grad * 2)
    nn.ops.sum(y).backward(retain_graph=True)
    exactly(nn, x.grad, np.full(3, 4.0), call="two hooks")
    first.remove()
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.full(3, 6.0), call="the first hook removed")


@clause("autograd-08")
def test_recording_is_switched(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    assert nn.is_grad_enabled() is True
    with nn.no_grad():
        assert nn.is_grad_enabled() is False
        y = x * 2
        assert not y.requires_grad
        assert y.is_leaf
        with nn.enable_grad():
            assert nn.is_grad_enabled() is True
            assert (x * 2).requires_grad
            with nn.set_grad_enabled(False):
                assert nn.is_grad_enabled() is False
                assert not (x * 2).requires_grad
            assert nn.is_grad_enabled() is True
        assert nn.is_grad_enabled() is False
    assert nn.is_grad_enabled() is True
    with nn.set_grad_enabled(True):
        assert (x * 2).requires_grad


@clause("autograd-08")
def test_recording_is_restored_after_exceptions(nn: Any) -> None:
    with pytest.raises(KeyError), nn.no_grad():
        raise KeyError
    assert nn.is_grad_enabled() is True
    with pytest.raises(KeyError), nn.set_grad_enabled(False):
        raise KeyError
    assert nn.is_grad_enabled() is True


@clause("autograd-08")
def test_contexts_decorate(nn: Any, dtype: str) -> None:
    @nn.no_grad()
    def unrecorded(x: Any, depth: int) -> Any:
        """Doubles."""
        if depth:
            unrecorded(x, depth - 1)
        return x * 2, nn.is_grad_enabled()

    @nn.enable_grad()
    def recorded(x: Any) -> Any:
        return x * 2

    x = tensor(nn, normal(3, dtype))
    for _ in range(2):
        y, enabled = unrecorded(x, 2)
        assert not y.requires_grad
        assert enabled is False
        assert nn.is_grad_enabled() is True
    assert unrecorded.__name__ == "unrecorded"
    with nn.no_grad():
        assert recorded(x).requires_grad


@clause("autograd-09")
def test_recording_is_a_matter_of_the_thread(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    entered, looked = threading.Event(), threading.Event()
    inside: list[bool] = []

    def elsewhere() -> None:
        with nn.no_grad():
            entered.set()
            looked.wait(60)
            inside.append((x * 2).requires_grad)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    entered.wait(60)
    here = (nn.is_grad_enabled(), (x * 2).requires_grad)
    with nn.no_grad():
        fresh: list[bool] = []
        other = threading.Thread(target=lambda: fresh.append(nn.is_grad_enabled()))
        other.start()
        other.join()
    looked.set()
    thread.join()
    assert here == (True, True), "no_grad in another thread reached this one"
    assert inside == [False], "no_grad does not hold in its own thread"
    assert fresh == [True], "no_grad in this thread reached a new one"


@clause("autograd-10")
def test_long_chains(nn: Any) -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    y = x
    for _ in range(50_000):
        y = (y + 1.0) * 1.0
    y = nn.ops.sum(y)
    y.backward(retain_graph=True)
    exactly(nn, x.grad, np.ones(2, "float32"))
    exactly(nn, y, np.array(100_003.0, "float32"))
    del y
    gc.collect()


@clause("autograd-11")
def test_diamonds(nn: Any, dtype: str) -> None:
    steps: list[int] = []
    double = doubling(nn, steps, 60)
    x = tensor(nn, np.array(1.0, dtype))
    y = x
    for _ in range(60):
        y = double.apply(y, y)
    y.backward()
    exactly(nn, x.grad, np.array(2.0**60))
    assert len(steps) == 60
    x = tensor(nn, np.array(1.0, dtype))
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    exactly(nn, x.grad, np.array(2.0**60))


@clause("autograd-11")
def test_paths_of_unequal_length(nn: Any, dtype: str) -> None:
    steps: list[int] = []
    double = doubling(nn, steps, 20)
    x = tensor(nn, np.array(1.0, dtype))
    # Each stage reads the two before it: a node that ran before its last user would run again.
    before, y = x, double.apply(x, x)
    for _ in range(19):
        before, y = y, double.apply(y, before)
    y.backward()
    exactly(nn, x.grad, y.detach())
    assert len(steps) == 20


@clause("autograd-12")
def test_the_same_graph_gives_the_same_gradient(nn: Any, dtype: str) -> None:
    a, b = normal((4, 5), dtype), normal((5, 4), dtype, seed=1)
    index = np.array([0, 3, 0, 0, 2])

    def build(x: Any, y: Any) -> Any:
        h = nn.ops.tanh(x @ y) + x.sum(axis=1, keepdims=True) * 0.3
        return nn.ops.sum(nn.ops.softmax(h[nn.tensor(index)]) * h[0]) + nn.ops.sum(h * h)

    gradients = []
    for _ in range(3):
        x, y = tensor(nn, a), tensor(nn, b)
        build(x, y).backward()
        gradients.append((x.grad.numpy().copy(), y.grad.numpy().copy()))
    for first, second in gradients[1:]:
        exactly(nn, first, gradients[0][0])
        exactly(nn, second, gradients[0][1])


@pytest.mark.parametrize("name", OPERATORS)
@clause("autograd-13", needs="float64")
def test_second_derivatives_of_operators(nn: Any, name: str) -> None:
    call, inputs = OPERATORS[name]
    check_gradients(nn, lambda *xs: call(nn, *xs), inputs, second_order=True, call=name)


@pytest.mark.parametrize("name", FUNCTIONS)
@clause("autograd-13", needs="float64")
def test_second_derivatives_of_functions(nn: Any, name: str) -> None:
    call, inputs = FUNCTIONS[name]

    def cube(*tensors: Any) -> Any:
        # The third power gives linear functions, and sqrt, a second derivative too.
        y = call(nn, *tensors)
        return y * y * y

    check_gradients(nn, cube, inputs, second_order=True, call=name)


@clause("autograd-13")
def test_create_graph(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    wide = in_double(a)
    x = tensor(nn, a)
    nn.ops.sum(x * x * x).backward()
    assert not x.grad.requires_grad
    x = tensor(nn, a)
    nn.ops.sum(x * x * x).backward(create_graph=True)
    first = x.grad
    assert first.requires_grad
    agrees(nn, first, 3 * wide**2, "gradient")
    nn.ops.sum(first).backward()
    agrees(nn, x.grad, 3 * wide**2 + 6 * wide, "gradient", call="second derivative of x ** 3")


@clause("autograd-13")
def test_create_graph_follows_the_incoming_gradient(nn: Any, dtype: str) -> None:
    a, g = normal(3, dtype), normal(3, dtype, seed=1)
    x, cotangent = tensor(nn, a), tensor(nn, g)
    (x * x).backward(cotangent, create_graph=True)
    nn.ops.sum(x.grad).backward()
    agrees(nn, cotangent.grad, 2 * in_double(a), "gradient")


@clause("autograd-21")
def test_branches_that_need_no_gradient(nn: Any, dtype: str) -> None:
    visited: list[str] = []

    class Branch(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *, name: str) -> Any:
            ctx.name = name
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            visited.append(ctx.name)
            return grad_output * 2

    x, c = tensor(nn, normal(3, dtype)), nn.tensor(normal(3, dtype, seed=1))
    product = Branch.apply(x, name="x") * Branch.apply(c, name="c")
    nn.ops.sum(product).backward()
    assert c.grad is None
    assert visited == ["x"]
    agrees(nn, x.grad, 4 * in_double(normal(3, dtype, seed=1)), "gradient")


@clause("autograd-22")
def test_indices_and_integers_are_constants(nn: Any, dtype: str) -> None:
    a = normal((3, 2), dtype)
    whole = nn.tensor(np.array([[1, 2], [3, 4], [5, 6]]))
    index = nn.tensor(np.array([2, 0]))
    mask = nn.tensor(np.array([[True, False], [False, True], [True, True]]))
    x = tensor(nn, a)
    y = nn.ops.where(mask, x * whole, x)
    total = nn.ops.sum(y) + nn.ops.sum(x[index]) + nn.ops.sum(nn.ops.take(x, index, axis=0))
    total = total + nn.ops.sum(x * mask) + nn.ops.sum(whole) + nn.ops.sum(x**whole * 0)
    total.backward()
    factor = np.where(mask.numpy(), whole.numpy(), 1) + mask.numpy() + [[2.0], [0.0], [2.0]]
    agrees(nn, x.grad, factor, "gradient")
    for operand in (whole, index, mask):
        assert operand.grad is None
        assert not operand.requires_grad
    assert not (whole * 2).requires_grad


@clause("autograd-08")
def test_one_context_entered_twice(nn: Any) -> None:
    for make in (nn.no_grad, nn.enable_grad):
        context = make()
        with context, context:
            inside = nn.is_grad_enabled()
        assert inside is (make is nn.enable_grad)
        assert nn.is_grad_enabled() is True


@pytest.mark.parametrize("point", [(2.0, 0.0), (0.0, 2.0), (0.0, 3.0)])
@clause("autograd-13", "ops-09", needs="float64")
def test_second_derivatives_of_pow_at_its_edges(nn: Any, point: tuple[float, float]) -> None:
    a, b = point
    x, y = (nn.tensor(number, dtype=nn.float64) for number in point)
    slope = nn.grad(nn.ops.pow, argnums=(0, 1), create_graph=True)
    by_base = nn.grad(lambda x, y: slope(x, y)[0], argnums=(0, 1))(x, y)
    # d/da and d/db of b a^(b-1); a^(b-1) ln a goes to 0 with a.
    mixed = a ** (b - 1) * (1 + b * math.log(a)) if a else 0.0
    agrees(nn, by_base[0], np.array(b * (b - 1) * a ** (b - 2)), "gradient", dtype="float64")
    agrees(nn, by_base[1], np.array(mixed), "gradient", dtype="float64")
