"""Chapter autograd: programs that change values between forward and backward."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, tensor, to_numpy
from spec_tests.support.changes import (
    ASSIGNMENTS,
    CALLS,
    STEPS,
    WRITES,
    Refusal,
    Scene,
    anything,
    can_write,
    detached,
    examine,
    gives_old_or_refuses,
    own_class,
    ways,
    write,
)
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(4)

NEW = np.array([[-3.0, 0.5, 2.0], [4.0, -0.25, -1.0]], "float32")


class Product:
    """Saves both inputs."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad_output * y, grad_output * x


class Noted(Product):
    """Keeps both inputs as attributes."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.first, ctx.second = x, y
        return x * y

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        return grad_output * ctx.second, grad_output * ctx.first


class Between(Product):
    """Saves views of the inputs, and what it returns."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        t = ctx.xp.tanh(x * y)
        ctx.save_for_backward(ctx.xp.matrix_transpose(x), ctx.xp.matrix_transpose(y), t)
        return t

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        x, y, t = ctx.saved_tensors
        inner = grad_output * (1 - t * t)
        swap = ctx.xp.matrix_transpose
        return inner * swap(y), inner * swap(x)


PLAIN = {"Product": Product, "Noted": Noted, "Between": Between}


def instance_of(nn: Any, plain: Any) -> Any:
    class Instance(nn.Function):
        def forward(self, *inputs: Any) -> Any:
            return plain.forward(self, *inputs)

        def backward(self, *grads: Any) -> Any:
            return plain.backward(self, *grads)

    return lambda *inputs: Instance()(*inputs)


@pytest.mark.parametrize("spelling", ["static", "instance"])
@pytest.mark.parametrize("name", PLAIN)
@clause("autograd-24")
def test_functions_of_the_user(nn: Any, name: str, spelling: str) -> None:
    plain = PLAIN[name]
    call = nn.as_function(plain).apply if spelling == "static" else instance_of(nn, plain)

    def build() -> Scene:
        return Scene([tensor(nn, normal((2, 3), "float32", seed=seed)) for seed in (0, 1)], call)

    examine(nn, build, anything(name, "Instance"), name)


def taken(nn: Any, make: str, array: Any) -> Any:
    """Return a leaf over a raw array that somebody else holds too."""
    if make == "Parameter":
        return nn.Parameter(array)
    return getattr(nn, make)(array, requires_grad=True)


USES: dict[str, Callable[..., Any]] = {
    "x * x": lambda nn, x: x * x,
    "x.T @ x": lambda nn, x: x.T @ x,
    "tanh(x) * x": lambda nn, x: nn.ops.tanh(x) * x,
    "x * x.detach()": lambda nn, x: x * x.detach(),
    "x[0] * x[1]": lambda nn, x: x[0] * x[1],
    "max(x)": lambda nn, x: nn.ops.max(x, axis=0),
    "sum of pow": lambda nn, x: nn.ops.sum(x**3),
}


@pytest.mark.parametrize("earlier", [0, 2])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("make", ["from_array", "Variable", "Parameter"])
@clause("autograd-24")
def test_the_raw_array_that_a_leaf_was_made_of(nn: Any, make: str, use: str, earlier: int) -> None:
    """It is held, and written, after so many earlier backward passes."""
    if not can_write(nn):
        return
    for part in ("whole", "view", "of a Tensor"):
        slopes = []
        for change in (False, True):
            base = raw(nn, normal((2, 3), "float32"))
            if part != "of a Tensor":
                # An array that no Tensor has seen.
                base = base + 0
            x = taken(nn, make, base[:, :] if part == "view" else base)
            walk(nn, x, use, earlier)
            # What data gave is dropped again, and the array is held all the same.
            assert tuple(x.data.shape) == (2, 3)
            y = nn.ops.sum(USES[use](nn, x))
            if change:
                base[...] = raw(nn, NEW)

            def backward(x: Any = x, y: Any = y) -> Any:
                y.backward()
                return x.grad

            if not change:
                slopes.append(to_numpy(nn, backward()))
        gives_old_or_refuses(nn, backward, slopes[0], Refusal(anything(), ((2, 3), (3,))), use)


@pytest.mark.parametrize("way", ["a write into what data gave", "a write into what detach gave"])
@pytest.mark.parametrize("use", USES)
@clause("autograd-24")
def test_a_raw_array_that_is_held_over_several_passes(nn: Any, use: str, way: str) -> None:
    if not can_write(nn):
        return
    slopes = []
    for change in (None, WRITES[way]):
        x = tensor(nn, normal((2, 3), "float32"))
        made = change and change(nn, x)
        walk(nn, x, use, 3)
        y = nn.ops.sum(USES[use](nn, x))
        if made:
            made(NEW)

        def backward(x: Any = x, y: Any = y) -> Any:
            y.backward()
            return x.grad

        if not made:
            slopes.append(to_numpy(nn, backward()))
    gives_old_or_refuses(nn, backward, slopes[0], Refusal(anything(), ((2, 3), (3,))), use)


def walk(nn: Any, x: Any, use: str, passes: int) -> None:
    """Run so many passes forward and backward, and clear the gradient."""
    for _ in range(passes):
        nn.ops.sum(USES[use](nn, x)).backward()
        x.grad = None


@pytest.mark.parametrize("use", USES)
@clause("autograd-24")
def test_another_tensor_of_the_same_memory(nn: Any, use: str) -> None:
    """What shares memory by `tensor-05` and `tensor-10` is changed in its place."""
    others: dict[str, Callable[[Any], Any]] = {
        "detach": lambda x: x.detach(),
        "from_array": lambda x: nn.from_array(x.data),
        "Parameter": lambda x: nn.Parameter(x.data),
        "detach of a view": lambda x: nn.from_array(detached(nn, x.T).T),
    }
    want = None
    for name, other_of in {"": None, **others}.items():
        for way in ways(nn, WRITES, ASSIGNMENTS, CALLS, STEPS).values():
            x = tensor(nn, normal((2, 3), "float32"))
            # An optimizer takes leaves alone; whichever it is, x is not told of its step.
            other = other_of(x).requires_grad_(True) if other_of else None
            change = way(nn, other) if other is not None else None
            y = nn.ops.sum(USES[use](nn, x))
            if change is not None:
                change(NEW)

            def backward(x: Any = x, y: Any = y) -> Any:
                y.backward()
                return x.grad

            if want is None:
                want = to_numpy(nn, backward())
            else:
                refusal = Refusal(anything(), ((2, 3), (3, 2), (3,)))
                said = f"{use}, {way.__name__} of {name}"
                gives_old_or_refuses(nn, backward, want, refusal, said)


@clause("autograd-24")
def test_what_numpy_gave(nn: Any) -> None:
    """Where raw arrays are NumPy's, `numpy()` gives one."""
    if not isinstance(raw(nn, NEW), np.ndarray):
        return
    for before in (True, False):
        x = tensor(nn, normal((2, 3), "float32"))
        array = x.detach().numpy() if before else None
        y = nn.ops.sum(x * x)
        write(nn, array if before else x.detach().numpy(), NEW)

        def backward(x: Any = x, y: Any = y) -> Any:
            y.backward()
            return x.grad

        want = 2 * normal((2, 3), "float32")
        gives_old_or_refuses(nn, backward, want, Refusal(("multiply",), ((2, 3),)), "numpy()")


def second(nn: Any, name: str, x: Any) -> Any:
    """Return a scalar with a second derivative."""
    if name == "operators":
        return nn.ops.sum(x * x * x)
    if name == "tanh":
        return nn.ops.sum(nn.ops.tanh(x) * x)
    if name == "softmax":
        return nn.ops.sum(nn.ops.softmax(x) * x)
    if name == "matmul":
        return nn.ops.sum(nn.ops.square(x @ x.T))
    return nn.ops.sum(nn.as_function(Between).apply(x, x * 1))


@pytest.mark.parametrize("name", ["operators", "tanh", "softmax", "matmul", "Function"])
@clause("autograd-24", needs="double_backward")
def test_under_create_graph(nn: Any, name: str) -> None:
    """Values change before the first backward, or between the first and the second."""
    refusal = Refusal(anything("Between"), ((2, 3), (3, 2), (2, 2), (2, 1), (2,)))
    want: list[np.ndarray] = []
    for early in (False, True):
        for way_name, way in {"": None, **ways(nn, WRITES, ASSIGNMENTS, CALLS)}.items():
            x = tensor(nn, normal((2, 3), "float32"))
            change = way(nn, x) if way else None
            y = second(nn, name, x)
            if change and early:
                change(NEW)

            def first(x: Any = x, y: Any = y) -> Any:
                y.backward(create_graph=True)
                return x.grad

            said = f"{name}, {way_name}, before the first: {early}"
            if not want:
                want.append(to_numpy(nn, first()).copy())
            elif not gives_old_or_refuses(nn, first, want[0], refusal, said):
                continue
            slope = x.grad
            before = to_numpy(nn, slope).copy()
            penalty = nn.ops.sum(slope * slope)
            if change and not early:
                change(NEW)

            def again(x: Any = x, penalty: Any = penalty, before: Any = before) -> Any:
                penalty.backward()
                return to_numpy(nn, x.grad) - before

            if len(want) == 1:
                want.append(again())
            else:
                gives_old_or_refuses(nn, again, want[1], refusal, f"{said}, second")


@clause("autograd-24")
def test_between_two_backwards_of_a_kept_graph(nn: Any) -> None:
    for name, way in ways(nn, WRITES, ASSIGNMENTS, CALLS, STEPS).items():
        x, c = (tensor(nn, normal((2, 3), "float32", seed=seed)) for seed in (0, 1))
        change = way(nn, c)
        y = nn.ops.sum(x * c)
        y.backward(retain_graph=True)
        first = to_numpy(nn, x.grad).copy()
        change(NEW)

        def backward(x: Any = x, y: Any = y) -> Any:
            y.backward()
            return x.grad

        gives_old_or_refuses(nn, backward, 2 * first, Refusal(("multiply",), ((2, 3),)), name)


@clause("autograd-24", "autograd-16")
def test_between_vjp_and_its_pull(nn: Any) -> None:
    a, b = (normal((2, 3), "float32", seed=seed) for seed in (0, 1))
    ones = nn.tensor(np.ones((2, 3), "float32"))
    for name, way in ways(nn, WRITES, ASSIGNMENTS, CALLS).items():
        for place in (0, 1):
            x, c = tensor(nn, a), tensor(nn, b)
            change = way(nn, (x, c)[place])
            _, pull = nn.vjp(lambda x, c=c: nn.ops.multiply(x, x) * c, x)
            change(NEW)

            def backward(pull: Any = pull) -> Any:
                return pull(ones)[0]

            refusal = Refusal(("multiply",), ((2, 3),))
            gives_old_or_refuses(nn, backward, 2 * a * b, refusal, f"{name}, {place}")


def sides(nn: Any) -> Any:
    """Return a generator and a discriminator, and an optimizer of each."""
    nn.manual_seed(2)
    generator = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
    discriminator = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 1))
    optimizers = [nn.optim.SGD(side.parameters(), lr=0.5) for side in (generator, discriminator)]
    return generator, discriminator, optimizers


@pytest.mark.parametrize("stepped", [0, 1])
@clause("autograd-24")
def test_two_sides_of_which_one_steps(nn: Any, stepped: int) -> None:
    """A GAN whose losses are both computed before the first step."""
    wants: list[np.ndarray] = []
    for step in (False, True):
        generator, discriminator, optimizers = sides(nn)
        fake = generator(nn.tensor(normal((5, 2), "float32")))
        losses = [nn.ops.mean(discriminator(fake)), nn.ops.mean(discriminator(fake.detach()) ** 2)]
        losses[stepped].backward(retain_graph=True)
        if step:
            optimizers[stepped].step()
        generator.zero_grad()
        discriminator.zero_grad()
        other = losses[1 - stepped]
        side = (generator, discriminator)[1 - stepped]

        def backward(other: Any = other, side: Any = side) -> Any:
            other.backward()
            return [parameter.grad for parameter in side.parameters()]

        if not step:
            wants = [to_numpy(nn, slope) for slope in backward()]
            continue
        shapes = [tuple(p.shape) for one in (generator, discriminator) for p in one.parameters()]
        transposed = [shape[::-1] for shape in shapes]
        refusal = Refusal(anything(), (*shapes, *transposed))
        gives_old_or_refuses(nn, backward, wants, refusal, "GAN")


@clause("autograd-24")
def test_two_sides_in_the_usual_order(nn: Any) -> None:
    """The discriminator steps before it judges again: nothing is refused."""
    wants: list[np.ndarray] = []
    for attempt in range(2):
        generator, discriminator, optimizers = sides(nn)
        for _ in range(3):
            fake = generator(nn.tensor(normal((5, 2), "float32")))
            nn.ops.mean(discriminator(fake.detach()) ** 2).backward()
            optimizers[1].step()
            optimizers[1].zero_grad()
            again = fake if attempt == 0 else generator(nn.tensor(normal((5, 2), "float32")))
            nn.ops.mean(discriminator(again)).backward()
            slopes = [to_numpy(nn, p.grad).copy() for p in generator.parameters()]
            optimizers[0].step()
            optimizers[0].zero_grad()
            optimizers[1].zero_grad()
        if attempt == 0:
            wants = slopes
    for got, want in zip(slopes, wants, strict=True):
        agrees(nn, got, want, "gradient", call="GAN, the usual order", dtype="float32")


@pytest.mark.parametrize("layer", ["RNN", "GRU", "LSTM"])
@clause("autograd-24")
def test_a_state_that_is_carried_over_steps(nn: Any, layer: str) -> None:
    """Two chunks with one state; a step is taken, or the state written over, before backward."""
    wants: dict[int, Any] = {}
    changes = ("", "step", "state assigned", *(["state written"] if can_write(nn) else []))
    for change in changes:
        nn.manual_seed(4)
        module = getattr(nn, layer)(3, 4)
        optimizer = nn.optim.SGD(module.parameters(), lr=0.5)
        chunks = [nn.tensor(normal((3, 2, 3), "float32", seed=seed)) for seed in (1, 2)]
        first, state = module(chunks[0])
        carried = tuple(part.detach() for part in state) if layer == "LSTM" else state.detach()
        losses = [nn.ops.sum(first * first), nn.ops.sum(module(chunks[1], state)[0] ** 2)]
        losses.append(nn.ops.sum(module(chunks[1], carried)[0] ** 2))
        losses[0].backward(retain_graph=True)
        if change == "step":
            optimizer.step()
        for part in (*state, *carried) if layer == "LSTM" else (state, carried):
            if change == "state assigned":
                part.data = raw(nn, np.zeros((1, 2, 4), "float32"))
            elif change == "state written":
                write(nn, detached(nn, part), np.zeros((1, 2, 4), "float32"))
        for place in (1, 2):
            module.zero_grad()

            def backward(loss: Any = losses[place], module: Any = module) -> Any:
                loss.backward(retain_graph=True)
                return [parameter.grad for parameter in module.parameters()]

            if not change:
                wants[place] = [to_numpy(nn, slope).copy() for slope in backward()]
                continue
            shapes = [tuple(p.shape) for p in module.parameters()]
            shapes += [(1, 2, 4), (2, 4), (3, 2, 4), *(shape[::-1] for shape in shapes)]
            refusal = Refusal(anything(), tuple(shapes))
            gives_old_or_refuses(nn, backward, wants[place], refusal, f"{layer}, {change}")


@clause("autograd-24")
@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("when", ["between", "before"])
def test_a_leaf_of_another_shape(nn: Any, when: str, length: int) -> None:
    x = tensor(nn, normal((length,), "float32"))
    y = nn.ops.sum(x + 1)
    if when == "before":
        y.backward()
    x.data = raw(nn, normal((3,), "float32"))
    if when == "before":
        y = nn.ops.sum(x + 1)
    # What is one number may go to all where Tensor is the backend's own class.
    if length > 1 or not own_class(nn):
        with pytest.raises(RuntimeError):
            y.backward()
    del y
    x.grad = None
    nn.ops.sum(x * 2).backward()
    exactly(nn, x.grad, np.full(3, 2, np.float32))


@clause("autograd-24", needs="float64")
def test_a_module_that_is_converted(nn: Any) -> None:
    """The gradient may come in either dtype, as long as it is that of the old values."""
    for name in ("double", "to"):
        module = nn.Linear(3, 2)
        x = tensor(nn, normal((4, 3), "float32"))
        weight = to_numpy(nn, module.weight).copy()
        y = nn.ops.sum(module(x) ** 2)
        want = 2 * (to_numpy(nn, module(x)).astype("float64") @ weight)
        if name == "double":
            module.double()
        else:
            module.to(nn.float64)
        module.load_state_dict({"weight": np.zeros((2, 3)), "bias": np.zeros(2)})

        def backward(x: Any = x, y: Any = y) -> Any:
            y.backward()
            return x.grad

        if own_class(nn):
            # Its own words for a weight of another dtype are about the dtype.
            with suppress(RuntimeError):
                agrees(nn, backward(), want, "gradient", call=name, dtype="float32")
        else:
            want = want.astype("float32")
            gives_old_or_refuses(nn, backward, want, Refusal(anything(), ((2, 3), (3, 2))), name)
