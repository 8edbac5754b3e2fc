"""Chapter autograd: hooks, leaves that are frozen, and decorated generators."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.changes import own_class
from spec_tests.support.inputs import normal

# What a hook returns in place of a gradient (3,) of float32, and what the message says of it.
WRONG: dict[str, tuple[Callable[[Any, Any], Any], tuple[str, ...]]] = {
    "a number": (lambda nn, grad: 2.0, ("float",)),
    "an int": (lambda nn, grad: 0, ("int",)),
    "a bool": (lambda nn, grad: True, ("bool",)),
    "a string": (lambda nn, grad: "gradient", ("str",)),
    "a list": (lambda nn, grad: [1.0, 2.0, 3.0], ("list",)),
    "a tuple": (lambda nn, grad: (grad,), ("tuple",)),
    "a NumPy array": (lambda nn, grad: np.ones(3, "float32"), ("ndarray", "array")),
    "a NumPy scalar": (lambda nn, grad: np.float32(1), ("float32", "number")),
    "a function": (lambda nn, grad: abs, ("builtin", "function")),
    "another shape": (lambda nn, grad: nn.ones((4,)), ("(4,)",)),
    "a shape that broadcasts": (lambda nn, grad: nn.ones((1, 3)), ("(1, 3)",)),
    "one element": (lambda nn, grad: nn.ones((1,)), ("(1,)",)),
    "no axes": (lambda nn, grad: nn.tensor(1.0), ("()",)),
    "integers": (lambda nn, grad: nn.tensor([1, 2, 3]), ("int64",)),
    "booleans": (lambda nn, grad: nn.tensor([True, False, True]), ("bool",)),
}


def hooked(nn: Any, place: str, hook: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
    """Return a loss, its leaf (3,), and the Tensor that has the hook."""
    x = tensor(nn, normal(3, "float32"))
    y = x * 2
    target = x if place == "leaf" else y
    target.register_hook(hook)
    return nn.ops.sum(y * y), x, target


@pytest.mark.parametrize("place", ["leaf", "intermediate"])
@pytest.mark.parametrize("name", WRONG)
@clause("autograd-26")
def test_what_a_hook_may_not_return(nn: Any, name: str, place: str) -> None:
    make, said = WRONG[name]
    loss, x, _ = hooked(nn, place, lambda grad: make(nn, grad))
    # The messages of a class of the backend's own are that class's.
    fragments = () if own_class(nn) else (said,)
    with refuses((TypeError, ValueError, RuntimeError), "hook", *fragments):
        loss.backward()
    assert x.grad is None


@clause("autograd-26", needs="float64")
def test_a_hook_may_not_return_another_dtype(nn: Any) -> None:
    for place in ("leaf", "intermediate"):
        loss, x, _ = hooked(nn, place, lambda grad: nn.ops.astype(grad, nn.float64))
        fragments = () if own_class(nn) else ("float64",)
        with refuses((TypeError, ValueError, RuntimeError), "hook", *fragments):
            loss.backward()
        assert x.grad is None


@clause("autograd-26")
def test_a_raw_array_is_no_tensor(nn: Any) -> None:
    if own_class(nn):
        return
    for place in ("leaf", "intermediate"):
        loss, x, _ = hooked(nn, place, lambda grad: raw(nn, np.ones(3, "float32")))
        with refuses((TypeError, ValueError, RuntimeError), "hook"):
            loss.backward()
        assert x.grad is None


@pytest.mark.parametrize("place", ["x", "y", "z"])
@clause("autograd-26")
def test_a_hook_that_writes(nn: Any, place: str) -> None:
    """It changes the gradient of its own Tensor, or is kept from it, and no other one."""

    def overwrite(grad: Any) -> None:
        with suppress(TypeError, ValueError, RuntimeError):
            grad.data[...] = 7

    x, sibling = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32"))
    seed = nn.tensor(np.full(3, 2.0, "float32"))
    y = x * 1
    z = y * 2 + sibling * 2
    {"x": x, "y": y, "z": z}[place].register_hook(overwrite)
    z.backward(seed)
    written = 14.0 if place == "z" else 7.0
    assert to_numpy(nn, x.grad).tolist() in ([4.0] * 3, [written] * 3)
    alone = [[4.0] * 3] if place != "z" else [to_numpy(nn, x.grad).tolist()]
    assert to_numpy(nn, sibling.grad).tolist() in alone, "the gradient of a sibling changed"
    if not own_class(nn):
        exactly(nn, seed, np.full(3, 2.0, "float32"), call="what backward was given")


@clause("autograd-26")
def test_the_second_of_two_hooks_is_checked(nn: Any) -> None:
    loss, x, target = hooked(nn, "leaf", lambda grad: grad * 2)
    handle = target.register_hook(lambda grad: nn.ones((4,)))
    with refuses((TypeError, ValueError, RuntimeError), "hook"):
        loss.backward(retain_graph=True)
    assert x.grad is None
    handle.remove()
    nn.ops.sum(x * 3).backward()
    exactly(nn, x.grad, np.full(3, 6.0, "float32"))


@clause("autograd-26")
def test_a_grad_that_was_there_is_kept(nn: Any) -> None:
    x, other = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32"))
    nn.ops.sum(x * 2 + other).backward()
    handle = x.register_hook(lambda grad: nn.ones((2,)))
    with refuses((TypeError, ValueError, RuntimeError), "hook"):
        nn.ops.sum(x * other).backward()
    handle.remove()
    exactly(nn, x.grad, np.full(3, 2.0, "float32"))
    if not own_class(nn):
        # A class of the backend's own fills leaves in the order of its own.
        exactly(nn, other.grad, np.ones(3, "float32"))


@clause("autograd-26", needs="double_backward")
def test_hooks_are_checked_under_create_graph(nn: Any) -> None:
    for place in ("leaf", "intermediate"):
        loss, x, _ = hooked(nn, place, lambda grad: nn.ones((1,)))
        with refuses((TypeError, ValueError, RuntimeError), "hook"):
            loss.backward(create_graph=True)
        assert x.grad is None


@clause("autograd-26")
def test_hooks_outlive_a_freeze(nn: Any, dtype: str) -> None:
    for make in (lambda x: x, nn.Parameter):
        x = make(tensor(nn, normal(3, dtype)))
        handle = x.register_hook(lambda grad: grad * 10)
        for _ in range(2):
            assert x.requires_grad_(False) is x
            assert x.requires_grad_(True) is x
        nn.ops.sum(x * 3).backward()
        exactly(nn, x.grad, np.full(3, 30.0))
        x.requires_grad_(False)
        handle.remove()
        x.requires_grad_(True)
        nn.ops.sum(x * 3).backward()
        exactly(nn, x.grad, np.full(3, 33.0), call="removed while frozen")


@clause("autograd-26")
def test_hooks_outlive_a_freeze_of_a_module(nn: Any) -> None:
    module = nn.Linear(3, 1, bias=False)
    module.weight.register_hook(lambda grad: grad * 10)
    module.requires_grad_(False)
    module.requires_grad_(True)
    nn.ops.sum(module(nn.ones((1, 3)))).backward()
    exactly(nn, module.weight.grad, np.full((1, 3), 10.0, "float32"))


def twice(nn: Any) -> Any:
    class Twice(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 2

    return Twice.apply


@pytest.mark.parametrize("use", ["operators", "Function", "the leaf itself"])
@clause("autograd-27")
def test_a_leaf_that_is_frozen_after_its_use(nn: Any, dtype: str, use: str) -> None:
    for earlier in (False, True):
        seen: list[Any] = []
        x, other = tensor(nn, np.full(3, 5.0, dtype)), tensor(nn, np.full(3, 7.0, dtype))
        if earlier:
            nn.ops.sum(x * 11 + other * 13).backward()
        x.register_hook(seen.append)
        y = {"operators": lambda x: x * 2, "Function": twice(nn)}.get(use, lambda x: x)(x)
        loss = nn.ops.sum(y * other)
        x.requires_grad_(False)
        loss.backward()
        if earlier:
            exactly(nn, x.grad, np.full(3, 11.0), call="the grad that was there")
        else:
            assert x.grad is None
        factor = 1.0 if use == "the leaf itself" else 2.0
        exactly(nn, other.grad, np.full(3, 5 * factor + 13 * earlier))
        assert len(seen) == 1, "the hook should be called"
        exactly(nn, seen[0], np.full(3, 7 * factor), call="what the hook sees")
        assert not x.requires_grad


@clause("autograd-27")
def test_frozen_between_two_backwards_and_thawed(nn: Any, dtype: str) -> None:
    x, other = tensor(nn, np.full(3, 5.0, dtype)), tensor(nn, np.full(3, 7.0, dtype))
    loss = nn.ops.sum(x * other)
    loss.backward(retain_graph=True)
    x.requires_grad_(False)
    loss.backward(retain_graph=True)
    exactly(nn, x.grad, np.full(3, 7.0), call="frozen")
    exactly(nn, other.grad, np.full(3, 10.0))
    x.requires_grad_(True)
    loss.backward()
    exactly(nn, x.grad, np.full(3, 14.0), call="thawed")


@clause("autograd-27")
def test_a_module_that_is_frozen_after_its_use(nn: Any) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    x = tensor(nn, normal((4, 3), "float32"))
    wants = []
    for freeze in (False, True):
        module.zero_grad()
        x.grad = None
        loss = nn.ops.sum(module(x))
        if freeze:
            module[2].requires_grad_(False)
        loss.backward()
        wants.append(x.grad.numpy().copy())
    exactly(nn, wants[1], wants[0])
    assert [p.grad is None for p in module.parameters()] == [False, False, True, True]


@clause("autograd-27")
def test_a_frozen_leaf_of_a_layer(nn: Any) -> None:
    layer = nn.LSTM(3, 2)
    x = tensor(nn, normal((4, 2, 3), "float32"))
    loss = nn.ops.sum(layer(x)[0])
    layer.weight_hh_l0.requires_grad_(False)
    loss.backward()
    assert layer.weight_hh_l0.grad is None
    assert layer.weight_ih_l0.grad is not None
    assert x.grad is not None


@clause("autograd-27", needs="double_backward")
def test_a_frozen_leaf_under_create_graph(nn: Any, dtype: str) -> None:
    x, other = tensor(nn, np.full(3, 5.0, dtype)), tensor(nn, np.full(3, 7.0, dtype))
    loss = nn.ops.sum(x * x * other)
    x.requires_grad_(False)
    loss.backward(create_graph=True)
    assert x.grad is None
    exactly(nn, other.grad, np.full(3, 25.0))


def decorated(nn: Any, name: str, function: Any) -> Any:
    """Decorate a function so that its body is not recorded."""
    if name == "no_grad":
        return nn.no_grad()(function)
    return nn.set_grad_enabled(False)(function)


@pytest.mark.parametrize("name", ["no_grad", "set_grad_enabled"])
@clause("autograd-29")
def test_a_generator_is_not_recorded_inside(nn: Any, name: str) -> None:
    x = tensor(nn, normal(3, "float32"))

    def numbers(count: int) -> Generator[Any, None, str]:
        """Yields."""
        for _ in range(count):
            yield nn.is_grad_enabled(), (x * 2).requires_grad
        return "the end"

    made = decorated(nn, name, numbers)
    assert nn.is_grad_enabled()
    assert made.__name__ == "numbers"
    assert made.__doc__ == "Yields."
    generator = made(2)
    assert nn.is_grad_enabled()
    for _ in range(2):
        assert next(generator) == (False, False)
        assert nn.is_grad_enabled(), "the mode holds in the caller between two steps"
        assert (x * 2).requires_grad
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "the end"
    assert nn.is_grad_enabled()
    assert [inside for inside, _ in made(3)] == [False] * 3
    assert nn.is_grad_enabled()


@clause("autograd-29")
def test_enable_grad_of_a_generator(nn: Any) -> None:
    @nn.enable_grad()
    def numbers() -> Generator[bool, None, None]:
        yield nn.is_grad_enabled()
        yield nn.is_grad_enabled()

    with nn.no_grad():
        generator = numbers()
        assert next(generator) is True
        assert nn.is_grad_enabled() is False
        assert next(generator) is True
        assert nn.is_grad_enabled() is False
        assert list(generator) == []
        assert nn.is_grad_enabled() is False
    assert nn.is_grad_enabled() is True


@clause("autograd-29")
def test_send_throw_and_close_of_a_generator(nn: Any) -> None:
    seen: list[Any] = []

    @nn.no_grad()
    def listener(first: Any) -> Generator[Any, Any, Any]:
        answer = first
        try:
            while answer != "stop":
                try:
                    answer = yield answer, nn.is_grad_enabled()
                except KeyError as error:
                    seen.append((str(error), nn.is_grad_enabled()))
                    answer = "caught"
        finally:
            seen.append(("closed", nn.is_grad_enabled()))
        return seen

    generator = listener("first")
    assert next(generator) == ("first", False)
    assert generator.send(5) == (5, False)
    assert nn.is_grad_enabled()
    assert generator.throw(KeyError("thrown")) == ("caught", False)
    assert seen == [("'thrown'", False)]
    assert nn.is_grad_enabled()
    with pytest.raises(StopIteration) as stop:
        generator.send("stop")
    assert stop.value.value is seen
    assert nn.is_grad_enabled()

    generator = listener("again")
    next(generator)
    generator.close()
    assert seen[-1] == ("closed", False)
    assert nn.is_grad_enabled()
    fresh = listener(1)
    next(fresh)
    with pytest.raises(OSError, match="not caught"):
        fresh.throw(OSError("not caught"))
    assert seen[-1] == ("closed", False)
    assert nn.is_grad_enabled()


@clause("autograd-29")
def test_generators_in_turn_and_nested(nn: Any) -> None:
    @nn.no_grad()
    def quiet(depth: int) -> Generator[bool, None, None]:
        yield nn.is_grad_enabled()
        if depth:
            yield from quiet(depth - 1)
        with nn.enable_grad():
            yield nn.is_grad_enabled()
        yield nn.is_grad_enabled()

    def loud() -> Generator[bool, None, None]:
        for _ in range(8):
            yield nn.is_grad_enabled()

    for inside, outside in zip(quiet(1), loud(), strict=False):
        assert outside is True
        assert nn.is_grad_enabled() is True
        assert isinstance(inside, bool)
    assert list(quiet(1)) == [False, False, True, False, True, False]
    assert nn.is_grad_enabled() is True


@clause("autograd-29")
def test_a_method_that_is_a_generator(nn: Any) -> None:
    class Reader:
        @nn.no_grad()
        def read(self, count: int, *, step: int = 1) -> Generator[tuple[int, bool], None, None]:
            for place in range(0, count, step):
                yield place, nn.is_grad_enabled()

    assert list(Reader().read(4, step=2)) == [(0, False), (2, False)]
    assert nn.is_grad_enabled()


@clause("autograd-08", "autograd-29")
def test_a_decorator_without_parentheses(nn: Any) -> None:
    class Reader:
        @nn.no_grad
        def read(self, count: int, *, step: int = 1) -> tuple[int, bool]:
            """Counts."""
            return count * step, nn.is_grad_enabled()

        @nn.no_grad
        def walk(self) -> Generator[bool, None, None]:
            yield nn.is_grad_enabled()

    @nn.enable_grad
    def recorded(x: Any) -> Any:
        return x * 2

    assert Reader().read(4, step=2) == (8, False)
    assert Reader.read.__doc__ == "Counts."
    assert list(Reader().walk()) == [False]
    assert nn.is_grad_enabled()
    with nn.no_grad():
        assert recorded(tensor(nn, normal(3, "float32"))).requires_grad
        assert not nn.is_grad_enabled()
    for wrong in (3, "reader"):
        with refuses(TypeError, ("no_grad", "function")):
            nn.no_grad(wrong)


@clause("autograd-29")
def test_coroutines_are_refused(nn: Any) -> None:
    async def waiting() -> bool:
        await asyncio.sleep(0)
        return bool(nn.is_grad_enabled())

    async def stepping() -> Any:
        yield nn.is_grad_enabled()

    for name in ("no_grad", "enable_grad"):
        for function in (waiting, stepping):
            with refuses(TypeError, function.__name__):
                getattr(nn, name)()(function)
            assert nn.is_grad_enabled()
    for function in (waiting, stepping):
        try:
            with refuses(TypeError, function.__name__):
                nn.set_grad_enabled(False)(function)
        finally:
            nn.set_grad_enabled(True)


@clause("autograd-29")
def test_classes_are_refused(nn: Any) -> None:
    class Reader:
        pass

    for decorate in (nn.no_grad(), nn.enable_grad(), nn.no_grad, nn.enable_grad):
        with refuses(TypeError, "Reader"):
            decorate(Reader)
        assert nn.is_grad_enabled()
