"""Chapter autograd: gradients through `vmap`, of slices, and `vmap` among the transformations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.mapping import every, looped
from spec_tests.support.user_cells import plain_cell

pytestmark = pytest.mark.sampled(6)

BATCH, STEPS, WIDTH = 3, 4, 2


@clause("autograd-51")
def test_backward_to_everything(nn: Any, dtype: str) -> None:
    """To what is cut, what is not, a leaf from elsewhere and a result from elsewhere."""
    arrays = [normal((3, 2), dtype), normal(2, dtype, 1), normal(2, dtype, 2), normal(2, dtype, 3)]
    x, w, leaf, other = (tensor(nn, array) for array in arrays)
    result = other * other
    unused = tensor(nn, arrays[0])

    def fn(x: Any, w: Any, unused: Any) -> Any:
        return nn.ops.tanh(x * w) * leaf + result

    y = nn.vmap(fn, (0, None, 0))(x, w, unused)
    assert y.requires_grad
    nn.ops.sum(y * y).backward()
    a, b, c, d = (in_double(array) for array in arrays)
    t = np.tanh(a * b)
    g = 2 * (t * c + d * d)
    agrees(nn, x.grad, g * c * (1 - t * t) * b, "gradient")
    agrees(nn, w.grad, (g * c * (1 - t * t) * a).sum(0), "gradient")
    agrees(nn, leaf.grad, (g * t).sum(0), "gradient")
    agrees(nn, other.grad, (g * 2 * d).sum(0), "gradient")
    assert unused.grad is None or not np.any(to_numpy(nn, unused.grad))


@pytest.mark.parametrize("within", [False, True])
@clause("autograd-51")
def test_what_is_cut_and_taken_from_elsewhere(nn: Any, dtype: str, within: bool) -> None:
    """One Tensor is an argument that is cut, and is used whole: its gradients are added."""
    a = normal((2, 3), dtype) if within else normal(3, dtype)

    def total(x: Any) -> Any:
        return nn.ops.sum(nn.vmap(lambda part: part * nn.ops.sum(x))(x))

    slope = nn.vmap(nn.grad(total)) if within else nn.grad(total)
    want = 2 * in_double(a).sum(-1, keepdims=True) * np.ones(3)
    agrees(nn, slope(nn.tensor(a)), want, "gradient")
    leaf = tensor(nn, a)
    nn.ops.sum(nn.vmap(total)(leaf) if within else total(leaf)).backward()
    agrees(nn, leaf.grad, want, "gradient")


@clause("autograd-51", "autograd-08")
def test_what_is_recorded(nn: Any, dtype: str) -> None:
    x, w = nn.tensor(normal((3, 2), dtype)), tensor(nn, normal(2, dtype, seed=1))
    assert not nn.vmap(lambda x: x * x)(x).requires_grad
    with nn.no_grad():
        assert not nn.vmap(lambda x: x * w)(x).requires_grad

    def half(x: Any) -> Any:
        with nn.no_grad():
            still = x * w
        assert nn.is_grad_enabled()
        return still, still * w

    still, moving = nn.vmap(half)(x)
    assert not still.requires_grad
    nn.ops.sum(moving).backward()
    agrees(nn, w.grad, to_numpy(nn, still).sum(axis=0, dtype=np.float64), "gradient")
    detached = nn.vmap(lambda x: (x * w).detach())(x)
    assert not detached.requires_grad


@clause("autograd-51", "autograd-24")
def test_values_changed_after_vmap(nn: Any) -> None:
    a, b = normal((3, 2), "float32"), normal(2, "float32", seed=1)
    x, w = tensor(nn, a), tensor(nn, b)
    y = nn.vmap(lambda x: x * w)(x)
    w.data = raw(nn, b * 7)
    try:
        nn.ops.sum(y).backward()
    except RuntimeError:
        assert x.grad is None
    else:
        exactly(nn, x.grad, np.stack([b] * 3))


@clause("autograd-51", needs="double_backward")
def test_gradients_of_samples(nn: Any, dtype: str) -> None:
    a, b, t = normal((4, 2), dtype), normal((4, 3), dtype, 1), normal((3, 2), dtype, 2)
    params = {"w": nn.tensor(a[:3]), "b": [nn.tensor(a[3])]}
    x, y = nn.tensor(b), nn.tensor(t[[0, 1, 2, 0]])

    def loss(params: Any, x: Any, y: Any) -> Any:
        return nn.ops.sum((x @ params["w"] + params["b"][0] - y) ** 2)

    got = nn.vmap(nn.grad(loss), (None, 0, 0))(params, x, y)
    wide = in_double(b)
    error = 2 * (wide @ in_double(a[:3]) + in_double(a[3]) - in_double(t[[0, 1, 2, 0]]))
    agrees(nn, got["w"], np.einsum("si,sj->sij", wide, error), "gradient")
    agrees(nn, got["b"][0], error, "gradient")
    assert not got["w"].requires_grad
    values, slopes = nn.vmap(nn.value_and_grad(loss, argnums=(1, 2)), (None, 0, 0))(params, x, y)
    agrees(nn, values, (error**2).sum(axis=1) / 4, "gradient")
    agrees(nn, slopes[0], error @ in_double(a[:3]).T, "gradient")
    agrees(nn, slopes[1], -error, "gradient")


def model_of(nn: Any, name: str) -> tuple[Any, Callable[..., Any], tuple[int, ...]]:
    """Return a Module, what it gives for one sample of a batch, and a sample's shape."""
    nn.manual_seed(5)
    if name == "Linear":
        return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), first_of, (WIDTH,)
    if name == "Conv1d":
        return nn.Sequential(nn.Conv1d(2, 3, 2), nn.ReLU(), nn.MaxPool1d(2)), first_of, (2, 5)
    if name == "Conv2d":
        return nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(0)), first_of, (1, 3, 3)
    if name == "MultiheadAttention":
        return nn.MultiheadAttention(4, 2), attended, (3, 4)
    if name == "LayerNorm":
        return nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.GELU()), first_of, (WIDTH,)
    kind, _, options = name.partition(" ")
    more: dict[str, Any] = {"num_layers": 2, "bidirectional": True} if options else {}
    return getattr(nn, kind)(WIDTH, 3, **more), first_of, (STEPS, WIDTH)


def first_of(call: Any, x: Any) -> Any:
    value = call(x)
    return value[0] if isinstance(value, tuple) else value


def attended(call: Any, x: Any) -> Any:
    return call(x, x, x)[0]


MODELS = ("Linear", "Conv1d", "Conv2d", "MultiheadAttention", "LayerNorm", "RNN", "GRU", "LSTM")
DEEP = ("LSTM of two layers and directions", "GRU of two layers and directions")


def same_trees(nn: Any, got: Any, want: Any, tolerance: str, call: str) -> None:
    """Compare two structures of Tensors of one form."""
    __tracebackhide__ = True
    pairs = list(zip(every(got), every(want), strict=True))
    assert pairs
    for x, r in pairs:
        reference = to_numpy(nn, r)
        agrees(nn, x, reference, tolerance, call=call, dtype=reference.dtype.name)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", [*MODELS, *DEEP])
@clause("autograd-51", "autograd-52", "autograd-19")
def test_gradients_of_the_samples_of_layers(nn: Any, name: str) -> None:
    model, run, shape = model_of(nn, name)
    params = {key: p.detach() for key, p in model.named_parameters()}
    x = nn.tensor(normal((BATCH, *shape), "float32"))

    def loss(params: Any, x: Any) -> Any:
        y = run(lambda *args: nn.functional_call(model, params, *args), x)
        return nn.ops.sum(y * y)

    got = nn.vmap(nn.grad(loss), (None, 0))(params, x)
    want = looped(nn, nn.grad(loss), (None, 0))(params, x)
    same_trees(nn, got, want, "rnn", f"gradients of the samples of {name}")
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@clause("autograd-51", "autograd-52", "rnn-33")
def test_gradients_of_the_samples_with_lengths(nn: Any, name: str) -> None:
    """The lengths are cut too, and what stands past the end counts for nothing."""
    model, _, shape = model_of(nn, name)
    params = {key: p.detach() for key, p in model.named_parameters()}
    array = normal((BATCH, *shape), "float32")
    lengths = np.array([4, 2, 3])
    array[np.arange(STEPS) >= lengths[:, None]] = np.nan
    x, ends = nn.tensor(array), nn.tensor(lengths)

    def loss(params: Any, x: Any, end: Any) -> Any:
        y = nn.functional_call(model, params, x[:, None], lengths=end[None])[0]
        return nn.ops.sum(y * y)

    got = nn.vmap(nn.grad(loss, argnums=(0, 1)), (None, 0, 0))(params, x, ends)
    want = looped(nn, nn.grad(loss, argnums=(0, 1)), (None, 0, 0))(params, x, ends)
    same_trees(nn, got, want, "rnn", f"gradients of the samples of {name} with lengths")


@clause("autograd-51", "autograd-52", "autograd-19", "rnn-40")
def test_gradients_of_the_samples_of_a_cell(nn: Any) -> None:
    cell = plain_cell(nn, WIDTH, 3, "float32")
    params = {key: p.detach() for key, p in cell.named_parameters()}
    x = nn.tensor(normal((BATCH, STEPS, 1, WIDTH), "float32"))

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Any) -> Any:
            h = nn.zeros((1, 3))
            return nn.rnn.unroll(self.cell, x, h)[0]

    whole = Whole()

    def loss(params: Any, x: Any) -> Any:
        named = {f"cell.{key}": value for key, value in params.items()}
        y = nn.functional_call(whole, named, x)
        return nn.ops.sum(y * y)

    got = nn.vmap(nn.grad(loss), (None, 0))(params, x)
    want = looped(nn, nn.grad(loss), (None, 0))(params, x)
    same_trees(nn, got, want, "rnn", "gradients of the samples of a cell")


@clause("autograd-51", "autograd-19")
def test_many_networks_at_once(nn: Any) -> None:
    models = []
    for seed in range(3):
        nn.manual_seed(seed)
        models.append(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    names = [name for name, _ in models[0].named_parameters()]
    params = {
        name: nn.ops.stack([dict(model.named_parameters())[name].detach() for model in models])
        for name in names
    }
    x = nn.tensor(normal((5, 2), "float32"))
    before = [to_numpy(nn, p) for p in models[0].parameters()]
    got = nn.vmap(lambda p, x: nn.functional_call(models[0], p, x), (0, None))(params, x)
    want = np.stack([to_numpy(nn, model(x)) for model in models])
    agrees(nn, got, want, "matmul")
    for p, array in zip(models[0].parameters(), before, strict=True):
        exactly(nn, p.detach(), array)


@clause("autograd-51", needs="double_backward")
def test_jacobian_by_rows(nn: Any, dtype: str) -> None:
    x = nn.tensor(normal(3, dtype))

    def fn(x: Any) -> Any:
        return nn.ops.tanh(x) * nn.ops.sum(x * x)

    want = to_numpy(nn, nn.jacobian(fn)(x))
    _, pull = nn.vjp(fn, x)
    eye = nn.eye(3, dtype=getattr(nn, dtype))
    agrees(nn, nn.vmap(pull)(eye)[0], want, "gradient", call="vmap of pull")
    _, push = nn.linearize(fn, x)
    agrees(nn, nn.vmap(push, out_axes=1)(eye), want, "gradient", call="vmap of push")
    columns = nn.vmap(lambda u: nn.jvp(fn, (x,), (u,))[1], out_axes=-1)(eye)
    agrees(nn, columns, want, "gradient", call="vmap of jvp")


def cube(nn: Any, x: Any) -> Any:
    return nn.ops.sum(x * x * x)


INSIDE: dict[str, Callable[[Any, Any], Any]] = {
    "grad": lambda nn, x: nn.grad(lambda x: cube(nn, x))(x),
    "value_and_grad": lambda nn, x: nn.value_and_grad(lambda x: cube(nn, x))(x),
    "grad of grad": lambda nn, x: nn.grad(
        lambda x: nn.ops.sum(nn.grad(lambda x: cube(nn, x))(x) ** 2)
    )(x),
    "vjp": lambda nn, x: nn.vjp(nn.ops.tanh, x)[1](x)[0],
    "jvp": lambda nn, x: nn.jvp(nn.ops.tanh, (x,), (x * 2,)),
    "linearize": lambda nn, x: nn.linearize(nn.ops.tanh, x)[1](x),
    "jacrev": lambda nn, x: nn.jacrev(lambda x: x * nn.ops.sum(x))(x),
    "jacfwd": lambda nn, x: nn.jacfwd(lambda x: x * nn.ops.sum(x))(x),
    "hessian": lambda nn, x: nn.hessian(lambda x: cube(nn, x) * nn.ops.sum(x))(x),
    "hvp": lambda nn, x: nn.hvp(lambda x: cube(nn, x), (x,), (x,))[0],
    "jit": lambda nn, x: nn.jit(nn.ops.tanh)(x),
    "checkpoint": lambda nn, x: nn.checkpoint(lambda x: nn.ops.tanh(x) * x, x),
    "grad of checkpoint": lambda nn, x: nn.grad(
        lambda x: nn.checkpoint(lambda x: cube(nn, nn.ops.tanh(x)), x)
    )(x),
    "grad of jit": lambda nn, x: nn.grad(nn.jit(lambda x: cube(nn, nn.ops.tanh(x))))(x),
    "vmap": lambda nn, x: nn.vmap(lambda a: a * nn.ops.sum(x))(x),
    "grad of vmap": lambda nn, x: nn.grad(
        lambda x: nn.ops.sum(nn.vmap(lambda a: a * a * a * nn.ops.sum(x))(x))
    )(x),
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", INSIDE)
@clause("autograd-51", needs="double_backward")
def test_transformations_within(nn: Any, name: str) -> None:
    """Their values, and where they are recorded the gradients through them."""
    x = nn.tensor(normal((3, 2), "float32"))

    def fn(x: Any) -> Any:
        return INSIDE[name](nn, x)

    same_trees(nn, nn.vmap(fn)(x), looped(nn, fn)(x), "gradient", f"vmap of {name}")

    def total(transform: Any) -> Any:
        def summed(x: Any) -> Any:
            return sum((nn.ops.sum(y * y) for y in every(transform(fn)(x))), nn.zeros(()))

        return nn.grad(summed)(x)

    got, want = total(nn.vmap), total(lambda fn: looped(nn, fn))
    agrees(nn, got, to_numpy(nn, want), "gradient", call=f"grad of vmap of {name}")


OUTSIDE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "grad": lambda nn, f, x: nn.grad(lambda x: nn.ops.sum(f(x) ** 2))(x),
    "grad of grad": lambda nn, f, x: nn.grad(
        lambda x: nn.ops.sum(nn.grad(lambda x: nn.ops.sum(f(x) ** 2))(x) ** 2)
    )(x),
    "vjp": lambda nn, f, x: nn.vjp(f, x)[1](x)[0],
    "jvp": lambda nn, f, x: nn.jvp(f, (x,), (x * 2,)),
    "linearize": lambda nn, f, x: nn.linearize(f, x)[1](x),
    "jacrev": lambda nn, f, x: nn.jacrev(f)(x),
    "jacfwd": lambda nn, f, x: nn.jacfwd(f)(x),
    "hessian": lambda nn, f, x: nn.hessian(lambda x: nn.ops.sum(f(x) ** 2))(x),
    "hvp": lambda nn, f, x: nn.hvp(lambda x: nn.ops.sum(f(x) ** 2), (x,), (x,))[0],
    "jit": lambda nn, f, x: nn.jit(f)(x),
    "jit of grad": lambda nn, f, x: nn.jit(nn.grad(lambda x: nn.ops.sum(f(x) ** 2)))(x),
    "checkpoint": lambda nn, f, x: nn.checkpoint(f, x),
    "grad of checkpoint": lambda nn, f, x: nn.grad(lambda x: nn.ops.sum(nn.checkpoint(f, x) ** 2))(
        x
    ),
}


@pytest.mark.parametrize("name", OUTSIDE)
@clause("autograd-51", needs="double_backward")
def test_transformations_around(nn: Any, name: str) -> None:
    x, w = nn.tensor(normal((3, 2), "float32")), nn.tensor(normal((2, 2), "float32", seed=1))

    def fn(x: Any) -> Any:
        return nn.ops.tanh(w @ x) * x

    got = OUTSIDE[name](nn, nn.vmap(fn, 0, 0), x)
    want = OUTSIDE[name](nn, looped(nn, fn), x)
    same_trees(nn, got, want, "gradient", f"{name} of vmap")


@clause("autograd-51", needs="double_backward")
def test_backward_with_create_graph(nn: Any, dtype: str) -> None:
    a, b = normal((3, 2), dtype), normal(2, dtype, seed=1)
    x, w = tensor(nn, a), tensor(nn, b)
    y = nn.vmap(lambda x: nn.ops.sum(x * x * w * w))(x)
    (first,) = nn.grad(nn.ops.sum(y), [w], create_graph=True)
    agrees(nn, first.detach(), 2 * in_double(b) * (in_double(a) ** 2).sum(0), "gradient")
    nn.ops.sum(first * first).backward()
    squares = (in_double(a) ** 2).sum(0)
    agrees(nn, w.grad, 8 * in_double(b) * squares**2, "gradient")
    agrees(nn, x.grad, 16 * in_double(a) * in_double(b) ** 2 * squares, "gradient")
    inner = nn.vmap(nn.grad(lambda x: nn.ops.sum(x * x * w), create_graph=True))(x.detach())
    w.grad = None
    nn.ops.sum(inner).backward()
    agrees(nn, w.grad, 2 * in_double(a).sum(0), "gradient")
