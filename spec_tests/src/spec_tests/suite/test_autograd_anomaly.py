"""Chapter autograd: NaN and infinities are found where they come up."""

import asyncio
import sys
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses, tensor, to_numpy
from spec_tests.support.changes import own_class
from spec_tests.support.inputs import normal, positive
from spec_tests.support.threads import together

WORDS = ("nan", "infinity")


def next_line() -> str:
    """Return the place of the line after the caller's, as an anomaly names it."""
    frame = sys._getframe(1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno + 1}"


class Anomaly(NamedTuple):
    """``call(nn, x)`` at `values`; one of `names` must be named."""

    call: Callable[[Any, Any], Any]
    values: list[float]
    names: tuple[str, ...]


def leaky(nn: Any, *, backward: bool) -> Any:
    """Return a Function whose forward, or backward, gives infinities."""

    class Leaky(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * (2.0 if backward else float("inf"))

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * float("inf")

    return Leaky


FORWARD = {
    "log of 0": Anomaly(lambda nn, x: nn.ops.log(x), [1.0, 0.0], ("log",)),
    "log of -1": Anomaly(lambda nn, x: nn.ops.log(x), [1.0, -1.0], ("log",)),
    "sqrt": Anomaly(lambda nn, x: nn.ops.sqrt(x), [-1.0, 4.0], ("sqrt",)),
    "overflow": Anomaly(lambda nn, x: nn.ops.exp(x), [1e4, 0.0], ("exp",)),
    "divide": Anomaly(lambda nn, x: nn.ops.divide(1.0, x), [1.0, 0.0], ("divide", "div")),
    "x / y": Anomaly(lambda nn, x: x / x, [1.0, 0.0], ("divide", "div")),
    "x ** -1": Anomaly(lambda nn, x: x**-1, [1.0, 0.0], ("pow",)),
    "sum": Anomaly(lambda nn, x: nn.ops.sum(x), [3e38, 3e38], ("sum",)),
    "x @ y": Anomaly(lambda nn, x: x @ x, [3e38, 3e38], ("matmul", "dot")),
    "Function": Anomaly(lambda nn, x: leaky(nn, backward=False).apply(x), [1.0, 2.0], ("Leaky",)),
}
BACKWARD = {
    "sqrt": Anomaly(lambda nn, x: nn.ops.sqrt(x), [1.0, 0.0], ("sqrt",)),
    "pow": Anomaly(lambda nn, x: x**0.5, [1.0, 0.0], ("pow", "sqrt")),
    "square": Anomaly(lambda nn, x: nn.ops.sqrt(x * x), [1.0, 0.0], ("sqrt",)),
    "Function": Anomaly(lambda nn, x: leaky(nn, backward=True).apply(x), [1.0, 2.0], ("Leaky",)),
}


def leaf(nn: Any, values: list[float]) -> Any:
    return tensor(nn, np.asarray(values, "float32"))


@pytest.mark.parametrize("name", FORWARD)
@clause("autograd-42")
def test_an_operation_that_gives_none_from_finite_numbers(nn: Any, name: str) -> None:
    case = FORWARD[name]
    for requires_grad in (True, False):
        x = leaf(nn, case.values).requires_grad_(requires_grad)
        refusal = refuses(RuntimeError, WORDS, case.names)
        with nn.detect_anomaly(), refusal:
            case.call(nn, x)
        assert f"{__file__}:" in refusal.message, refusal.message
        assert "backward" not in refusal.message
        with nn.no_grad(), nn.detect_anomaly(), refuses(RuntimeError, WORDS, case.names):
            case.call(nn, x)
        # Outside it is a result like any other.
        assert not np.all(np.isfinite(to_numpy(nn, case.call(nn, x))))


@clause("autograd-42")
def test_the_place_of_a_forward(nn: Any) -> None:
    x = leaf(nn, [1.0, 0.0])
    module = nn.Sequential(nn.Linear(2, 2), nn.Identity())

    def inner(x: Any) -> Any:
        places["inside a function"] = next_line()
        return nn.ops.log(x)

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            places["inside a Module"] = next_line()
            return 1 / x

    def at_once(x: Any) -> Any:
        places["a Function"] = next_line()
        return leaky(nn, backward=False).apply(x)

    def of_a_layer(x: Any) -> Any:
        places["a layer"] = next_line()
        return module(x)

    places: dict[str, str] = {}
    model = Model()
    nn.init.constant_(module[0].weight, 3e38)
    calls: dict[str, Callable[[], Any]] = {
        "inside a function": lambda: inner(x),
        "inside a Module": lambda: model(x),
        "a Function": lambda: at_once(x + 1),
        "a layer": lambda: of_a_layer(x + 5),
    }
    for name, call in calls.items():
        refusal = refuses(RuntimeError, WORDS)
        with nn.detect_anomaly(), refusal:
            call()
        assert refusal.message.rstrip(" .)").endswith(places[name]), (name, refusal.message)


@pytest.mark.parametrize("name", BACKWARD)
@clause("autograd-42")
def test_a_backward_that_gives_none_from_finite_numbers(nn: Any, name: str) -> None:
    case = BACKWARD[name]
    x, other = leaf(nn, case.values), leaf(nn, [1.0, 1.0])
    refusal = refuses(RuntimeError, WORDS, case.names, "backward")
    with nn.detect_anomaly():
        total = nn.ops.sum(case.call(nn, x * 1) * other)
        with refusal:
            total.backward()
    assert f"{__file__}:" in refusal.message, refusal.message
    assert x.grad is None
    if not own_class(nn):
        assert other.grad is None
    nn.ops.sum(x * 2).backward()
    exactly(nn, x.grad, np.full(2, 2.0, "float32"))


@clause("autograd-42")
def test_the_place_of_a_backward_is_that_of_its_forward(nn: Any) -> None:
    places: list[str] = []

    def through(call: Callable[[Any], Any], x: Any) -> Any:
        places.append(next_line())
        return call(x)

    for call in (nn.ops.sqrt, leaky(nn, backward=True).apply):
        for way in ("backward", "grad"):
            x = leaf(nn, [1.0, 0.0])
            refusal = refuses(RuntimeError, WORDS, "backward")
            with nn.detect_anomaly():
                total = nn.ops.sum(nn.ops.tanh(through(call, x * 3)) * 2)
                with refusal:
                    total.backward() if way == "backward" else nn.grad(total, x)
            assert refusal.message.rstrip(" .)").endswith(places[-1]), refusal.message
            assert x.grad is None


@clause("autograd-42")
def test_transformations_are_checked(nn: Any) -> None:
    x = nn.tensor(np.asarray([1.0, 0.0], "float32"))

    def root(x: Any) -> Any:
        places.append(next_line())
        return nn.ops.sqrt(x)

    places: list[str] = []
    calls: dict[str, Callable[[], Any]] = {
        "grad": lambda: nn.grad(lambda x: nn.ops.sum(root(x)))(x),
        "value_and_grad": lambda: nn.value_and_grad(lambda x: nn.ops.sum(root(x)))(x),
        "vjp": lambda: nn.vjp(root, x)[1](nn.ones((2,))),
        "jacrev": lambda: nn.jacrev(root)(x),
    }
    for name, call in calls.items():
        refusal = refuses(RuntimeError, WORDS, "sqrt", "backward")
        with nn.detect_anomaly(), refusal:
            call()
        assert refusal.message.rstrip(" .)").endswith(places[-1]), (name, refusal.message)


@clause("autograd-42")
def test_what_is_no_anomaly(nn: Any) -> None:
    nothing = np.asarray([np.nan, np.inf, -np.inf, 1.0], "float32")
    with nn.detect_anomaly():
        x = tensor(nn, nothing)
        finite = tensor(nn, positive(4, "float32"))
        # It was there before, in an input, a constant or a number.
        nn.ops.sum(nn.ops.log(x * finite) + x).backward()
        nn.full((2,), float("nan"))
        nn.ops.full((2,), float("inf"))
        nn.ops.sum(finite * float("inf"))
        masked = nn.ops.where(nn.tensor([True, False, True, True]), finite, float("-inf"))
        odds = nn.ops.softmax(masked)
        finite.grad = None
        nn.ops.sum(odds * odds).backward()
        # Integers and booleans.
        whole = nn.tensor([3, -1, 0])
        assert nn.ops.sum(whole * whole).item() == 10
        assert (whole > 0).tolist() == [True, False, False]
        places = nn.ops.argmax(finite)
        assert finite[whole].shape == (3,)
        assert places.dtype == nn.int64
    assert np.all(np.isfinite(to_numpy(nn, finite.grad)))
    assert to_numpy(nn, odds)[1] == 0


@clause("autograd-42")
def test_what_a_layer_makes_inside_is_no_anomaly(nn: Any) -> None:
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    x = tensor(nn, normal((2, 3, 4), "float32"))
    hidden = np.triu(np.ones((3, 3), bool), 1)
    with nn.detect_anomaly():
        y, _ = attention(x, x, x, attn_mask=nn.tensor(hidden))
        loss = nn.loss.cross_entropy(y[0], nn.tensor([0, 1, 3]))
        loss.backward()
        nn.ops.sum(nn.LSTM(4, 3)(x)[0]).backward()
    assert np.all(np.isfinite(to_numpy(nn, x.grad)))


@clause("autograd-42")
def test_nothing_is_checked_outside_or_different_inside(nn: Any, dtype: str) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(getattr(nn, dtype))
    x = tensor(nn, normal((2, 3), dtype))

    def slopes() -> list[np.ndarray]:
        net.zero_grad()
        x.grad = None
        nn.ops.sum(net(x)).backward()
        return [to_numpy(nn, t.grad).copy() for t in (x, *net.parameters())]

    want = slopes()
    with nn.detect_anomaly():
        got = slopes()
        zero = tensor(nn, np.zeros(2, dtype))
        y = nn.ops.sqrt(zero)
    for one, other in zip(got, want, strict=True):
        exactly(nn, one, other)
    nn.ops.sum(y).backward()
    assert np.all(np.isinf(to_numpy(nn, zero.grad))), "backward ran outside the block"
    # A forward from outside may be found, or not; nothing else comes of it.
    zero.grad = None
    y, said = nn.ops.sqrt(zero), "sqrt"
    with nn.detect_anomaly():
        try:
            nn.ops.sum(y).backward()
        except RuntimeError as error:
            said = str(error).lower()
    assert "sqrt" in said


def found(nn: Any) -> bool:
    """Return whether an anomaly is found now."""
    try:
        nn.ops.log(nn.zeros((1,)))
    except RuntimeError:
        return True
    return False


class Mishap(Exception):
    """What the user's own code raises."""


@clause("autograd-42", "autograd-08")
def test_blocks_nest_and_end(nn: Any) -> None:
    assert not found(nn)
    block = nn.detect_anomaly()
    with block:
        assert found(nn)
        with nn.detect_anomaly():
            assert found(nn)
        assert found(nn), "the outer block still holds"
        with nn.no_grad():
            assert found(nn)
    assert not found(nn)
    with pytest.raises(Mishap), nn.detect_anomaly():
        raise Mishap
    assert not found(nn)
    with block:
        assert found(nn)
    assert not found(nn)


@clause("autograd-42", "autograd-29")
def test_the_decorator(nn: Any) -> None:
    @nn.detect_anomaly()
    def checked() -> bool:
        """Tells."""
        return found(nn)

    @nn.detect_anomaly
    def bare(value: int) -> tuple[int, bool]:
        return value, found(nn)

    @nn.detect_anomaly()
    def steps() -> Generator[bool, None, None]:
        yield found(nn)
        yield found(nn)

    async def waiting() -> None:
        await asyncio.sleep(0)

    assert checked()
    assert checked.__doc__ == "Tells."
    assert bare(3) == (3, True)
    assert not found(nn)
    for inside in steps():
        assert inside
        assert not found(nn), "it holds in the caller between two steps"
    with refuses(TypeError, "waiting"):
        nn.detect_anomaly()(waiting)
    with refuses(TypeError, ("detect_anomaly", "function")):
        nn.detect_anomaly(3)


@clause("autograd-42", "autograd-09")
def test_it_is_a_matter_of_the_thread(nn: Any) -> None:
    seen: dict[int, set[bool]] = {0: set(), 1: set()}

    def work(number: int) -> None:
        for _ in range(30):
            if number % 2:
                with nn.detect_anomaly():
                    seen[1].add(found(nn))
            else:
                seen[0].add(found(nn))

    together(work)
    assert seen == {0: {False}, 1: {True}}


@clause("autograd-42", needs="jit")
def test_under_jit(nn: Any) -> None:
    def root(x: Any) -> Any:
        places.append(next_line())
        return nn.ops.sum(nn.ops.sqrt(x) * 2)

    places: list[str] = []
    compiled = nn.jit(root)
    compiled(leaf(nn, [1.0, 2.0]))
    x = leaf(nn, [1.0, 0.0])
    refusal = refuses(RuntimeError, WORDS, "sqrt", "backward")
    with nn.detect_anomaly():
        y = compiled(x)
        with refusal:
            y.backward()
    assert refusal.message.rstrip(" .)").endswith(places[-1]), refusal.message
    with nn.detect_anomaly(), refuses(RuntimeError, WORDS, "sqrt"):
        compiled(leaf(nn, [1.0, -1.0]))
    assert x.grad is None
    assert not found(nn)


@clause("autograd-42", needs="double_backward")
def test_a_second_derivative(nn: Any) -> None:
    x = tensor(nn, np.asarray([1.0, 0.0], "float32"))
    with nn.detect_anomaly():
        # x ** 1.5 has a first derivative at 0, and no second one.
        y = nn.ops.pow(x, 1.5)
        (slope,) = nn.grad(nn.ops.sum(y), x, create_graph=True)
        exactly(nn, slope, np.asarray([1.5, 0.0], "float32"))
        if not own_class(nn):
            with refuses(RuntimeError, WORDS, "backward"):
                nn.ops.sum(slope).backward()
    assert x.grad is None
