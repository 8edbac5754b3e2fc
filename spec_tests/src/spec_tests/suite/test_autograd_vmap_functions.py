"""Chapter autograd: Functions, draws, values and Modules under `vmap`."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, own, refuses, tensor, to_numpy
from spec_tests.support.changes import can_write
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.mapping import looped
from spec_tests.support.threads import together

pytestmark = pytest.mark.sampled(4)

# What a Function raises that does what arrays that cannot change do not allow.
TRACED = (RuntimeError, TypeError)


class Gate:
    """A portable class: tanh(x w) * scale; it notes the shapes that it sees."""

    seen: list[tuple[str, tuple[int, ...]]]

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, *, scale: float = 1.0) -> Any:
        Gate.seen.append(("forward", tuple(x.shape)))
        y = ctx.xp.tanh(x @ w)
        ctx.save_for_backward(x, w, y)
        ctx.scale = scale
        return y * scale

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        Gate.seen.append(("backward", tuple(grad_output.shape)))
        x, w, y = ctx.saved_tensors
        inner = grad_output * ctx.scale * (1 - y * y)
        return inner @ w.T, x[:, None] * inner[None, :]


def reading(nn: Any) -> Any:
    """Return a Function that reads a value, so that it can only run slice by slice."""

    class Reading(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.factor = 2.0 if float(ctx.xp.sum(x)) > 0 else -3.0
            ctx.save_for_backward(x)
            return x * x * ctx.factor

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * grad_output * ctx.factor

    return Reading


def writing(nn: Any) -> Any:
    """Return a Function that writes into arrays."""

    class Writing(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x * 2
            y[0] = x[1]
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            g = grad_output * 2
            g[0] = 0
            g[1] += grad_output[0]
            return g

    return Writing


def late(nn: Any) -> Any:
    """Return a Function whose backward alone reads a value."""

    class Late(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 3

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * (3 if float(ctx.xp.max(grad_output)) > 0.5 else 5)

    return Late


def double(nn: Any) -> Any:
    """Return a Function of the instance spelling, with an option, two outputs and an integer."""

    class Double(nn.Function):
        def __init__(self, power: int) -> None:
            self.power = power

        def forward(self, x: Any, nothing: Any, y: Any) -> Any:
            assert nothing is None
            self.save_for_backward(x, y)
            self.wanted = self.needs_input_grad
            places = self.xp.argmax(x)
            return x**self.power, x * y, places

        def backward(self, first: Any, second: Any, _: Any) -> Any:
            x, y = self.saved_tensors
            assert self.wanted == self.needs_input_grad == (True, False, False)
            return first * self.power * x ** (self.power - 1) + second * y, None, None

    return Double


def plain_and_mapped(nn: Any, fn: Any, array: np.ndarray) -> list[list[np.ndarray]]:
    """Return value, gradient and gradients of the slices, from a loop and from `vmap`."""
    found = []
    for transform in (lambda fn: looped(nn, fn), nn.vmap):
        leaf = tensor(nn, array)
        value = transform(fn)(leaf)
        nn.ops.sum(value * value).backward()
        slopes = transform(nn.grad(lambda x: nn.ops.sum(fn(x) ** 2)))(leaf.detach())
        found.append([to_numpy(nn, t) for t in (value, leaf.grad, slopes)])
    return found


@clause("autograd-53", "function-19")
def test_a_portable_function_runs_for_all_slices_at_once(nn: Any, dtype: str) -> None:
    a, b = normal((9, 2), dtype), normal((2, 3), dtype, seed=1)
    apply = nn.as_function(Gate).apply
    counts = []
    for size in (5, 9):
        x, w = tensor(nn, a[:size]), tensor(nn, b)
        Gate.seen = []
        y = nn.vmap(lambda x, w: apply(x, w, scale=2.0), (0, None))(x, w)
        t = np.tanh(in_double(a[:size]) @ in_double(b))
        agrees(nn, y.detach(), 2 * t, "matmul")
        nn.ops.sum(y * y).backward()
        g = 8 * t * (1 - t * t)
        agrees(nn, x.grad, g @ in_double(b).T, "gradient")
        agrees(nn, w.grad, in_double(a[:size]).T @ g, "gradient")
        each = nn.vmap(nn.grad(lambda w, x: nn.ops.sum(apply(x, w) ** 2)), (None, 0))
        slope = each(w.detach(), x.detach())
        want = np.einsum("si,sj->sij", in_double(a[:size]), 2 * t * (1 - t * t))
        agrees(nn, slope, want, "gradient")
        counts.append(len(Gate.seen))
        assert set(Gate.seen) == {("forward", (2,)), ("backward", (3,))}
    assert counts[0] == counts[1], f"called {counts[0]} times for 5 slices, {counts[1]} for 9"


@clause("autograd-53", "function-17", needs="double_backward")
def test_derivatives_of_functions(nn: Any, dtype: str) -> None:
    x, w = nn.tensor(normal((3, 2), dtype)), nn.tensor(normal((2, 2), dtype, seed=1))
    Gate.seen = []
    apply = nn.as_function(Gate).apply

    def by_ops(x: Any, w: Any) -> Any:
        return nn.ops.tanh(x @ w)

    outcomes = []
    for fn in (apply, by_ops):

        def loss(x: Any, w: Any, fn: Any = fn) -> Any:
            return nn.ops.sum(fn(x, w) ** 3)

        slices = nn.vmap(fn, (0, None))
        tangent = nn.jvp(lambda x, slices=slices: slices(x, w), (x,), (x,))[1]
        hessian = nn.vmap(nn.hessian(loss, 1), (0, None))(x, w)
        penalty = nn.grad(
            lambda w, slices=slices: nn.ops.sum(
                nn.grad(lambda w: nn.ops.sum(slices(x, w) ** 3))(w) ** 2
            )
        )(w)
        outcomes.append([to_numpy(nn, t) for t in (tangent, hessian, penalty)])
    for got, want in zip(*outcomes, strict=True):
        agrees(nn, got, want, "gradient")


@pytest.mark.parametrize("make", [reading, writing, late])
@clause("autograd-53")
def test_a_function_that_cannot_run_at_once(nn: Any, make: Callable[[Any], Any]) -> None:
    array = np.array([[0.5, 1.0], [-1.5, 0.25], [2.0, -1.0]], "float32")
    function = make(nn)
    refused: Exception | None = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            want, got = plain_and_mapped(nn, function.apply, array)
        except TRACED as error:
            refused = error
    if refused is not None and not can_write(nn):
        # A loop cannot run what writes either.
        assert make is writing or function.__name__ in str(refused)
        return
    assert refused is None, refused
    for name, x, r in zip(("value", "gradient", "slices"), got, want, strict=True):
        agrees(nn, x, r, "gradient", call=name, dtype="float32")
    texts = [str(warning.message) for warning in said if warning.category is UserWarning]
    assert len(texts) == len(said) <= 1
    assert all(function.__name__ in text and "vmap" in text for text in texts)
    if make is not writing:
        assert texts, f"{function.__name__} reads values, and nothing was said"


@clause("autograd-53", "function-07")
def test_what_forward_saves_is_of_its_time(nn: Any) -> None:
    """What it was made of is another number by then."""
    factor = [2.0]

    class Kept(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            slope = x * factor[0]
            ctx.save_for_backward(slope)
            return x * slope

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * ctx.saved_tensors[0] * 2

    array = normal((3, 2), "float32")
    x = tensor(nn, array)
    y = nn.vmap(Kept.apply)(x)
    factor[0] = 5.0
    nn.ops.sum(y).backward()
    agrees(nn, x.grad, 4 * in_double(array), "gradient", dtype="float32")


@clause("autograd-53")
def test_instances_several_outputs_and_other_inputs(nn: Any, dtype: str) -> None:
    a, b = normal((3, 2), dtype), normal((3, 2), dtype, seed=1)
    x, y = tensor(nn, a), nn.tensor(b)
    function = double(nn)
    got = nn.vmap(lambda x, y: function(3)(x, None, y))(x, y)
    agrees(nn, got[0].detach(), in_double(a) ** 3, "elementwise")
    agrees(nn, got[1].detach(), in_double(a) * in_double(b), "elementwise")
    exactly(nn, got[2], np.argmax(a, axis=1))
    assert not got[2].requires_grad
    (nn.ops.sum(got[0]) + nn.ops.sum(got[1])).backward()
    agrees(nn, x.grad, 3 * in_double(a) ** 2 + in_double(b), "gradient")


@clause("autograd-53", "function-12")
def test_gradients_that_do_not_fit(nn: Any) -> None:
    class Short(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output[:1]

    with refuses(ValueError, "Short", "0", "(4,)", "(1,)"):
        nn.ops.sum(nn.vmap(Short.apply)(tensor(nn, normal((3, 4), "float32")))).backward()


DRAWS: dict[str, Callable[[Any], Any]] = {
    "rand": lambda nn: lambda x: x + nn.rand(3) * nn.randn(3),
    "rand alone": lambda nn: lambda x: nn.rand(2),
    "Dropout": lambda nn: nn.Dropout(0.5),
    "layers": lambda nn: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh()),
    "LSTM": lambda nn: recurrent(nn.LSTM(3, 4, 2, dropout=0.5)),
    "attention": lambda nn: attending(nn.MultiheadAttention(3, 1, dropout=0.5)),
}


def recurrent(layer: Any) -> Any:
    return lambda x: layer(x[None])[0]


def attending(layer: Any) -> Any:
    return lambda x: layer(x[None], x[None], x[None])[0]


@pytest.mark.parametrize("name", DRAWS)
@clause("autograd-54")
def test_draws_are_those_of_one_slice(nn: Any, name: str) -> None:
    nn.manual_seed(1)
    fn = DRAWS[name](nn)
    x = nn.tensor(normal((3, 3), "float32"))
    want, after = [], []
    for place in range(3):
        nn.manual_seed(8)
        want.append(to_numpy(nn, fn(x[place])))
        after = nn.rand(2).tolist()
    nn.manual_seed(8)
    got = nn.vmap(fn)(x)
    assert nn.rand(2).tolist() == after
    agrees(nn, got.detach(), np.stack(want), "rnn", call=name)


READS: dict[str, Callable[[Any, Any], Any]] = {
    "bool": lambda nn, x: bool(x[0]),
    "if": lambda nn, x: 1 if x[0] > 0 else 2,
    "float": lambda nn, x: float(x[0]),
    "int": lambda nn, x: int(x[0]),
    "item": lambda nn, x: x[0].item(),
    "tolist": lambda nn, x: x.tolist(),
    "numpy": lambda nn, x: x.numpy(),
    "asarray": lambda nn, x: np.asarray(x),
    "a mask": lambda nn, x: x[x > 0],
    "nonzero": lambda nn, x: nn.ops.nonzero(x),
    "unique_values": lambda nn, x: nn.ops.unique_values(x),
    "unique_all": lambda nn, x: nn.ops.unique_all(x),
    "repeat": lambda nn, x: nn.ops.repeat(nn.ones(3), nn.ops.astype(x, nn.int64)),
}


@pytest.mark.parametrize("name", READS)
@clause("autograd-55")
def test_values_that_are_not_known(nn: Any, name: str) -> None:
    x = nn.tensor(np.array([[1.0, 0.0, 2.0], [0.0, 2.0, 2.0]], "float32"))

    def fn(x: Any) -> Any:
        READS[name](nn, x * 1)
        return x

    for wrapped in (nn.vmap(fn), nn.vmap(nn.grad(lambda x: nn.ops.sum(fn(x)))), nn.vmap(fn, 1)):
        if own(nn):
            with refuses(RuntimeError, "vmap"):
                wrapped(x)
        else:
            with pytest.raises(RuntimeError):
                wrapped(x)
    exactly(nn, nn.vmap(lambda x: x * 2)(x), to_numpy(nn, x) * 2)


@clause("autograd-55")
def test_backward_within(nn: Any) -> None:
    x, w = nn.ones((2, 3)), tensor(nn, np.ones(3, "float32"))
    with pytest.raises(RuntimeError):
        nn.vmap(lambda x: nn.ops.sum(x * w).backward())(x)
    with pytest.raises(RuntimeError):
        nn.vmap(lambda x: nn.grad(nn.ops.sum(x * w), [w])[0])(x)
    assert w.grad is None


@clause("autograd-55", "rnn-58")
def test_sizes_of_a_batch_that_are_not_known(nn: Any) -> None:
    packed, sizes = nn.rnn.pack(nn.ones((3, 1, 2)), [3]), nn.tensor([[1, 1, 1], [1, 2, 0]])
    with refuses(RuntimeError, "vmap"):
        nn.vmap(lambda x: nn.rnn.unpack(packed._replace(batch_sizes=x)))(sizes)


@clause("autograd-55")
def test_what_depends_on_no_slice_is_read(nn: Any) -> None:
    scale, mask = nn.tensor(3.0), nn.tensor([True, False, True])

    def fn(x: Any, w: Any) -> Any:
        assert nn.ones(2).tolist() == [1.0, 1.0]
        factor = float(scale) + w.item() + (1.0 if scale > 2 else 0.0)
        return x[mask] * factor, nn.ops.nonzero(w + scale)[0] if w.ndim else w

    x = normal((2, 3), "float32")
    got = nn.vmap(fn, (0, None))(nn.tensor(x), nn.tensor(4.0))
    exactly(nn, got[0], x[:, [0, 2]] * np.float32(8))


@clause("autograd-56", "nn-26")
def test_running_statistics(nn: Any) -> None:
    for layer, shape in ((nn.BatchNorm1d(3), (4, 5, 3)), (nn.BatchNorm2d(3), (4, 5, 3, 2, 2))):
        x = nn.tensor(normal(shape, "float32"))
        before = {key: to_numpy(nn, value) for key, value in layer.state_dict().items()}
        with refuses(RuntimeError, "vmap"):
            nn.vmap(layer)(x)
        with refuses(RuntimeError, "vmap"):
            nn.vmap(nn.grad(lambda x, layer=layer: nn.ops.sum(layer(x) ** 2)))(x)
        after = layer.state_dict()
        assert list(after) == list(before)
        for key, value in before.items():
            exactly(nn, after[key], value, call=key)
        want = to_numpy(nn, looped(nn, layer.eval())(x))
        agrees(nn, nn.vmap(layer)(x).detach(), want, "reduction")
    free = nn.BatchNorm1d(3, track_running_stats=False)
    x = nn.tensor(normal((4, 5, 3), "float32"))
    want = to_numpy(nn, looped(nn, free)(x))
    agrees(nn, nn.vmap(free)(x).detach(), want, "reduction")


def keeper(nn: Any) -> Any:
    class Keeper(nn.Module):
        count: Any

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(nn.ones(3))
            self.register_buffer("last", nn.zeros((3,)))
            self.register_buffer("count", nn.tensor(0))
            self.write: Any = None

        def forward(self, x: Any) -> Any:
            self.count = self.count + 1
            if self.write is not None:
                self.write(self, x)
            return x * self.weight

    return Keeper()


@pytest.mark.parametrize("way", ["buffer", "data of a buffer", "data of a parameter", "grad"])
@clause("autograd-56")
def test_what_would_be_written(nn: Any, way: str) -> None:
    writes: dict[str, Callable[[Any, Any], None]] = {
        "buffer": lambda module, x: setattr(module, "last", x * 2),
        "data of a buffer": lambda module, x: setattr(module.last, "data", (x * 2).data),
        "data of a parameter": lambda module, x: setattr(module.weight, "data", (x * 2).data),
        "grad": lambda module, x: setattr(module.weight, "grad", x * 2),
    }
    module = keeper(nn)
    x = nn.tensor(normal((2, 3), "float32"))
    nn.vmap(module)(x)
    exactly(nn, module.count, np.array(1))
    module.write = writes[way]
    if own(nn) or way == "buffer":
        with refuses(RuntimeError, "vmap"):
            nn.vmap(module)(x)
    elif way != "grad":
        with pytest.raises(RuntimeError):
            nn.vmap(module)(x)
    exactly(nn, module.last, np.zeros(3, "float32"))
    exactly(nn, module.weight.detach(), np.ones(3, "float32"))
    if own(nn):
        assert module.weight.grad is None


@clause("autograd-57", "autograd-09")
def test_threads_with_vmap(nn: Any) -> None:
    x = nn.tensor(normal((4, 3), "float32"))
    w = nn.tensor(normal((3, 3), "float32", seed=1))

    def fn(x: Any) -> Any:
        return nn.ops.tanh(x @ w)

    outcomes: dict[int, Any] = {}

    def work(place: int) -> None:
        for _ in range(5):
            if place % 3 == 2:
                outcomes[place] = fn(x)
            else:
                outcomes[place] = nn.vmap(nn.jacrev(fn), place % 3)(x[:3])

    together(work, 6)
    agrees(nn, outcomes[2], to_numpy(nn, fn(x)), "matmul", dtype="float32")
    for place in (0, 1, 3, 4):
        want = to_numpy(nn, looped(nn, nn.jacrev(fn), place % 3)(x[:3]))
        agrees(nn, outcomes[place], want, "gradient")


@clause("autograd-58", "autograd-53")
def test_no_slices_for_functions(nn: Any) -> None:
    Gate.seen = []
    apply = nn.as_function(Gate).apply
    got = nn.vmap(lambda x: apply(x, nn.ones((2, 3))))(nn.zeros((0, 2)))
    exactly(nn, got, np.zeros((0, 3), "float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with refuses(ValueError if can_write(nn) else (ValueError, *TRACED), "Reading"):
            nn.vmap(reading(nn).apply)(nn.zeros((0, 2)))
