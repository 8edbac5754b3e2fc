"""Chapter autograd: several threads at one leaf, one graph, one context."""

import threading
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, tensor, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.threads import together

pytestmark = pytest.mark.sampled(6)

THREADS = 4
# The sums stay below 2^24, so that no order of additions rounds.
TIMES = 300
VALUES = np.array([1.0, 2.0, 3.0], "float32")


def square(nn: Any) -> Any:
    class Square(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            ctx.factor = 2
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad_output * x * ctx.factor

    return Square.apply


def square_of_instance(nn: Any) -> Any:
    class Square(nn.Function):
        def forward(self, x: Any) -> Any:
            self.save_for_backward(x)
            return x * x, x + 1

        def backward(self, grad_output: Any, grad_other: Any) -> Any:
            (x,) = self.saved_tensors
            return grad_output * x * 2 + 0 * grad_other

    return lambda x: Square()(x)[0]


SQUARES: dict[str, Callable[[Any], Any]] = {
    "operators": lambda nn: lambda x: x * x,
    "functions": lambda nn: nn.ops.square,
    "Function": square,
    "instance": square_of_instance,
}


@pytest.mark.parametrize("name", SQUARES)
@clause("autograd-28")
def test_backward_passes_that_end_in_one_leaf(nn: Any, name: str) -> None:
    apply = SQUARES[name](nn)
    for make in (lambda x: x, nn.Parameter):
        x = make(tensor(nn, VALUES))

        def work(number: int, x: Any = x) -> None:
            for _ in range(TIMES):
                nn.ops.sum(apply(x)).backward()

        together(work, THREADS)
        exactly(nn, x.grad, 2 * THREADS * TIMES * VALUES, call=f"{name}: passes into one leaf")


@clause("autograd-28")
def test_a_large_leaf(nn: Any) -> None:
    """Large enough that another thread runs while two arrays are added."""
    x = tensor(nn, np.ones(200_000, "float32"))

    def work(number: int) -> None:
        for _ in range(10):
            nn.ops.sum(x * 2).backward()

    together(work, THREADS)
    exactly(nn, x.grad, np.full(200_000, 2.0 * THREADS * 10, "float32"))


@clause("autograd-28")
def test_a_leaf_that_takes_gradients_of_many_kinds(nn: Any) -> None:
    """The leaf itself, a view of it, and what is broadcast, each from a thread of its own."""
    x = tensor(nn, VALUES)
    other = tensor(nn, VALUES)
    losses: list[Callable[[], Any]] = [
        lambda: nn.ops.sum(x),
        lambda: nn.ops.sum(x[1:] * 1),
        lambda: nn.ops.sum(nn.ops.broadcast_to(x, (2, 3)) + other),
        lambda: nn.ops.sum(x[[0, 0, 2]] * other.detach()),
    ]

    def work(number: int) -> None:
        for _ in range(TIMES):
            losses[number]().backward()

    together(work, len(losses))
    exactly(nn, x.grad, np.array([6, 4, 7], "float32") * TIMES)
    exactly(nn, other.grad, np.full(3, 2.0 * TIMES, "float32"))


@clause("autograd-28")
def test_one_module_in_several_threads(nn: Any) -> None:
    module = nn.Linear(3, 2)
    x = nn.tensor(np.ones((4, 3), "float32"))

    def work(number: int) -> None:
        for _ in range(TIMES):
            nn.ops.sum(module(x)).backward()

    together(work, THREADS)
    exactly(nn, module.weight.grad, np.full((2, 3), 4.0 * THREADS * TIMES, "float32"))
    exactly(nn, module.bias.grad, np.full(2, 4.0 * THREADS * TIMES, "float32"))


@clause("autograd-28", "autograd-19")
def test_functional_call_in_several_threads(nn: Any) -> None:
    inner = nn.Linear(3, 2)

    class Twice(nn.Module):
        """Calls a part of itself with other parameters, as a call inside a call."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            twice = {"weight": self.inner.weight * 2, "bias": self.inner.bias * 2}
            return nn.functional_call(self.inner, twice, x) - self.inner(x)

    module = Twice()
    before = {name: np.array(to_numpy(nn, p)) for name, p in module.named_parameters()}
    x = nn.tensor(np.ones((4, 3), "float32"))

    def work(number: int) -> None:
        own = nn.tensor(np.full((2, 3), number, "float32"), requires_grad=True)
        bias = nn.tensor(np.zeros(2, "float32"))
        for k in range(TIMES):
            if k % 2:
                y = nn.functional_call(module, {"inner.weight": own, "inner.bias": bias}, x)
            else:
                y = nn.functional_call(inner, {"weight": own, "bias": bias}, x)
            exactly(nn, y.detach(), np.full((4, 2), 3.0 * number, "float32"))
            nn.ops.sum(y).backward()
        exactly(nn, own.grad, np.full((2, 3), 4.0 * TIMES, "float32"))

    together(work, THREADS)
    for name, parameter in module.named_parameters():
        exactly(nn, parameter.detach(), before[name], call=f"{name} afterwards")


@pytest.mark.parametrize("name", SQUARES)
@clause("autograd-28")
def test_a_kept_graph_runs_backward_in_several_threads(nn: Any, name: str) -> None:
    apply = SQUARES[name](nn)
    x, seen = tensor(nn, VALUES), []
    y = apply(x)
    y.register_hook(lambda grad: seen.append(1))
    y = nn.ops.sum(apply(y + 1))
    want = 4 * (VALUES**2 + 1) * VALUES

    def work(number: int) -> None:
        for _ in range(TIMES):
            y.backward(retain_graph=True)

    together(work, THREADS)
    exactly(nn, x.grad, THREADS * TIMES * want, call=f"{name}: one graph in several threads")
    assert len(seen) == THREADS * TIMES
    y.backward()
    exactly(nn, x.grad, (THREADS * TIMES + 1) * want, call=f"{name}: afterwards")


@clause("autograd-28")
def test_a_kept_graph_whose_backward_waits(nn: Any) -> None:
    """One thread is inside the `backward` of a Function when another goes through it."""
    entered = threading.Barrier(2)

    class Waiting(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, x * 2)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (first, _) = ctx.saved_tensors
            entered.wait(60)
            (x, doubled) = ctx.saved_tensors
            entered.wait(60)
            return grad_output * doubled + 0 * (first - x)

    x = tensor(nn, VALUES)
    y = nn.ops.sum(Waiting.apply(x))
    together(lambda number: y.backward(retain_graph=True), 2)
    exactly(nn, x.grad, 4 * VALUES)


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
@clause("autograd-28")
def test_a_kept_graph_of_a_layer(nn: Any, layer: str) -> None:
    module = getattr(nn, layer)(3, 2)
    x = nn.tensor(normal((4, 2, 3), "float32"))
    y = nn.ops.sum(module(x)[0])
    y.backward(retain_graph=True)
    want = {name: to_numpy(nn, p.grad).copy() for name, p in module.named_parameters()}
    times = 8
    for name, parameter in module.named_parameters():
        parameter.grad = None
        want[name] = want[name] * (times * THREADS)

    def work(number: int) -> None:
        for _ in range(times):
            y.backward(retain_graph=True)

    together(work, THREADS)
    for name, parameter in module.named_parameters():
        got = to_numpy(nn, parameter.grad)
        np.testing.assert_allclose(got, want[name], rtol=1e-5, err_msg=f"{layer}: {name}")


@clause("autograd-28", needs="double_backward")
def test_a_kept_graph_under_create_graph(nn: Any) -> None:
    for name, make in SQUARES.items():
        apply = make(nn)
        x = tensor(nn, VALUES)
        y = nn.ops.sum(apply(x) * x)
        slopes: list[Any] = []

        def work(number: int, y: Any = y, x: Any = x, slopes: list[Any] = slopes) -> None:
            for _ in range(10):
                slopes.append(nn.grad(lambda z: nn.ops.sum(z * z * z))(x))
                y.backward(retain_graph=True, create_graph=number % 2 == 0)

        together(work, THREADS)
        exactly(nn, x.grad, THREADS * 10 * 3 * VALUES**2, call=name)
        for slope in slopes:
            exactly(nn, slope, 3 * VALUES**2, call=name)


@clause("autograd-28")
def test_one_pull_in_several_threads(nn: Any) -> None:
    apply = square(nn)
    _, pull = nn.vjp(lambda x: apply(x) * x, nn.tensor(VALUES))
    cotangents = [nn.tensor(np.full(3, float(k), "float32")) for k in range(THREADS)]

    def work(number: int) -> None:
        for _ in range(TIMES // 3):
            exactly(nn, pull(cotangents[number])[0], number * 3 * VALUES**2)

    together(work, THREADS)


MODES: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "no_grad": (lambda nn: nn.no_grad(), False),
    "enable_grad": (lambda nn: nn.enable_grad(), True),
    "set_grad_enabled": (lambda nn: nn.set_grad_enabled(False), False),
}


def made(nn: Any, name: str) -> tuple[Any, bool]:
    """Return one context, and the mode inside; recording is on in this thread afterwards."""
    make, inside = MODES[name]
    context = make(nn)
    nn.set_grad_enabled(True)
    return context, inside


@pytest.mark.parametrize("name", MODES)
@clause("autograd-28")
def test_one_context_that_two_threads_enter_in_turn(nn: Any, name: str) -> None:
    """Each thread leaves while the other is inside, and finds its own mode again."""
    context, inside = made(nn, name)
    steps = [threading.Event() for _ in range(4)]
    found: dict[str, bool] = {}

    def first() -> None:
        nn.set_grad_enabled(True)
        with context:
            found["first inside"] = nn.is_grad_enabled()
            steps[0].set()
            steps[1].wait(60)
        found["first after"] = nn.is_grad_enabled()
        steps[2].set()

    def second() -> None:
        nn.set_grad_enabled(False)
        steps[0].wait(60)
        with context:
            found["second inside"] = nn.is_grad_enabled()
            steps[1].set()
            steps[2].wait(60)
            found["second still inside"] = nn.is_grad_enabled()
        found["second after"] = nn.is_grad_enabled()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {
        "first inside": inside,
        "first after": True,
        "second inside": inside,
        "second still inside": inside,
        "second after": False,
    }


@pytest.mark.parametrize("name", MODES)
@clause("autograd-28")
def test_one_context_in_several_threads(nn: Any, name: str) -> None:
    context, inside = made(nn, name)

    def work(number: int) -> None:
        mode = bool(number % 2)
        nn.set_grad_enabled(mode)
        for _ in range(1000):
            with context:
                assert nn.is_grad_enabled() is inside
                with context:
                    assert nn.is_grad_enabled() is inside
                assert nn.is_grad_enabled() is inside
            assert nn.is_grad_enabled() is mode, "the mode of another thread came back"

    together(work, THREADS)
    assert nn.is_grad_enabled() is True


@pytest.mark.parametrize("name", MODES)
@clause("autograd-28")
def test_one_decorated_function_in_several_threads(nn: Any, name: str) -> None:
    context, inside = made(nn, name)

    @context
    def mode_inside(depth: int) -> bool:
        deeper = mode_inside(depth - 1) if depth else inside
        return bool(nn.is_grad_enabled()) is deeper is inside

    @context
    def steps() -> Generator[bool, None, None]:
        for _ in range(3):
            yield bool(nn.is_grad_enabled()) is inside

    # As a statement and as a decorator it had its effect in this thread.
    nn.set_grad_enabled(True)

    def work(number: int) -> None:
        mode = bool(number % 2)
        nn.set_grad_enabled(mode)
        for _ in range(300):
            mode_inside(2)
            assert nn.is_grad_enabled() is mode, "the mode of another thread came back"
            for right in steps():
                assert right, "a generator's body has another mode"
                assert nn.is_grad_enabled() is mode

    together(work, THREADS)


@clause("autograd-28", "autograd-24")
def test_models_of_their_own_in_several_threads(nn: Any) -> None:
    """Optimizers that step in other threads refuse nothing here, and change nothing."""

    def train(seed: int) -> list[np.ndarray]:
        layers = [nn.Linear(3, 4), nn.Linear(4, 1)]
        for place, layer in enumerate(layers):
            shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
            layer.load_state_dict(
                {name: normal(s, "float32", seed=seed + place) for name, s in shapes.items()}
            )
        model = nn.Sequential(layers[0], nn.Tanh(), layers[1])
        optimizer = nn.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        x = nn.tensor(normal((5, 3), "float32", seed=seed))
        for _ in range(15):
            optimizer.zero_grad()
            nn.ops.mean(model(x) ** 2).backward()
            optimizer.step()
        return [to_numpy(nn, parameter).copy() for parameter in model.parameters()]

    wants = [train(seed) for seed in range(THREADS)]

    def work(number: int) -> None:
        for got, want in zip(train(number), wants[number], strict=True):
            np.testing.assert_array_equal(got, want, err_msg=f"the model of thread {number}")

    together(work, THREADS)
