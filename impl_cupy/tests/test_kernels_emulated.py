"""Every kernel as the implementation calls it, at sizes that fill no block.

`test_kernels_sanitized` runs this file again with AddressSanitizer watching the arrays' ends.

T, N, I, H: steps, batch, input size, hidden size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cupy_emulation
import impl_cupy as nn
from cupy_emulation.compiler import expanded
from cupy_emulation.sourcetext import kernel_names
from impl_cupy import launch
from impl_cupy.backend import EMULATED, cp

pytestmark = pytest.mark.skipif(not EMULATED, reason="counts launches of the emulation")

FOLDER = Path(nn.__file__).parent / "kernels"
# Those of losses and optimizers are run in `test_kernels_of_training`.
KERNELS = sorted(
    set(FOLDER.glob("*.cu")) - {FOLDER / f"{n}.cu" for n in ("loss", "optim", "pointwise_loss")}
)
# One element, fewer than a warp, one more than a block of 256 or 512 threads, no multiple of 32.
SIZES = [(1, 1, 1, 1), (3, 5, 7, 11), (2, 3, 1, 171), (2, 1, 4, 257), (4, 2, 3, 33)]
LAYERS: dict[str, Callable[..., Any]] = {
    "RNN-tanh": lambda i, h, **kw: nn.RNN(i, h, nonlinearity="tanh", **kw),
    "RNN-relu": lambda i, h, **kw: nn.RNN(i, h, nonlinearity="relu", **kw),
    "LSTM": lambda i, h, **kw: nn.LSTM(i, h, **kw),
    "GRU": lambda i, h, **kw: nn.GRU(i, h, **kw),
}
seen: set[str] = set()


@pytest.fixture(autouse=True)
def note_kernels() -> Any:
    cupy_emulation.reset_launches()
    yield
    seen.update(cupy_emulation.kernel_launches())


def draw(rng: np.random.Generator, *shape: int, dtype: Any = np.float64) -> Any:
    return rng.uniform(-1, 1, shape).astype(dtype)


def weighted(outputs: list[Any], weights: list[Any]) -> Any:
    total = nn.ops.sum(outputs[0] * weights[0])
    for output, weight in zip(outputs[1:], weights[1:], strict=True):
        total = total + nn.ops.sum(output * weight)
    return total


def flat(result: Any) -> list[Any]:
    if isinstance(result, tuple):
        return [leaf for part in result for leaf in flat(part)]
    return [result]


def check_gradient(function: Callable[[], Any], leaves: list[Any], rng: Any) -> None:
    """Compare the gradient along a random direction with a central difference."""
    for leaf in leaves:
        leaf.grad = None
    function().backward()
    directions = [cp.asarray(draw(rng, *leaf.shape)) for leaf in leaves]
    slope = sum(
        float((leaf.grad.data * d).sum()) for leaf, d in zip(leaves, directions, strict=True)
    )
    start, step, ends = [leaf.data for leaf in leaves], 1e-6, []
    for sign in (1, -1):
        for leaf, value, d in zip(leaves, start, directions, strict=True):
            leaf.data = value + sign * step * d
        ends.append(float(function().data))
    for leaf, value in zip(leaves, start, strict=True):
        leaf.data = value
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-7)


def state_for(kind: str, rng: Any, n: int, h: int, dtype: Any) -> tuple[Any, list[Any]]:
    leaves = [
        nn.tensor(draw(rng, 1, n, h, dtype=dtype), requires_grad=True)
        for _ in range(2 if kind == "LSTM" else 1)
    ]
    return (tuple(leaves) if kind == "LSTM" else leaves[0]), leaves


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_layers(kind: str, bias: bool, sizes: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(1)
    T, N, I, H = sizes  # noqa: E741
    layer = LAYERS[kind](I, H, bias=bias, dtype=nn.float64)
    x = nn.tensor(draw(rng, T, N, I), requires_grad=True)
    state, states = state_for(kind, rng, N, H, np.float64)
    weights = [cp.asarray(draw(rng, *out.shape)) for out in flat(layer(x, state))]
    leaves = [x, *states, *layer.parameters()]
    check_gradient(lambda: weighted(flat(layer(x, state)), weights), leaves, rng)


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {"bidirectional": True}) for kind in LAYERS),
    *((kind, {"num_layers": 2}) for kind in LAYERS),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 1}),
    ("LSTM", {"proj_size": 10, "bias": False}),
]


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_gradients_of_options(
    kind: str, options: dict[str, Any], sizes: tuple[int, int, int, int], is_cut: bool
) -> None:
    rng = np.random.default_rng(12)
    T, N, I, H = sizes  # noqa: E741
    P = min(options.get("proj_size", 0), H - 1)
    if "proj_size" in options:
        options = options | {"proj_size": P}
    layer = LAYERS[kind](I, H, dtype=nn.float64, **options)
    count = layer.num_layers * (1 + layer.bidirectional)
    x = nn.tensor(draw(rng, T, N, I), requires_grad=True)
    lengths = np.arange(N) % (T + 1) if is_cut else None
    sizes_of_states = (P or H, H) if kind == "LSTM" else (H,)
    states = [nn.tensor(draw(rng, count, N, size), requires_grad=True) for size in sizes_of_states]

    def run() -> list[Any]:
        return flat(layer(x, tuple(states) if kind == "LSTM" else states[0], lengths=lengths))

    weights = [cp.asarray(draw(rng, *out.shape)) for out in run()]
    check_gradient(lambda: weighted(run(), weights), [x, *states, *layer.parameters()], rng)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_float32_agrees_with_float64(kind: str, sizes: tuple[int, int, int, int]) -> None:
    T, N, I, H = sizes  # noqa: E741
    gradients: list[list[Any]] = []
    for dtype in (np.float32, np.float64):
        rng = np.random.default_rng(2)
        layer = LAYERS[kind](I, H, dtype=getattr(nn, np.dtype(dtype).name))
        for parameter in layer.parameters():
            parameter.data = cp.asarray(draw(rng, *parameter.shape, dtype=np.float32).astype(dtype))
        x = nn.tensor(draw(rng, T, N, I, dtype=np.float32).astype(dtype), requires_grad=True)
        state, states = state_for(kind, rng, N, H, np.float32)
        if dtype is np.float64:
            states = [nn.tensor(s.data.astype(dtype), requires_grad=True) for s in states]
            state = tuple(states) if kind == "LSTM" else states[0]
        outputs = flat(layer(x, state))
        weighted(outputs, [1.0] * len(outputs)).backward()
        arrays = [*outputs, *[leaf.grad for leaf in (x, *states, *layer.parameters())]]
        assert all(array.data.dtype == dtype for array in arrays)
        gradients.append([array.data.get() for array in arrays])
    for single, double in zip(*gradients, strict=True):
        scale = np.abs(double).max() + 1e-30
        assert np.abs(single - double).max() <= 64 * 2**-23 * 2 * scale


@pytest.mark.parametrize("needed", ["x", "state", "weight_ih_l0", "bias_hh_l0"])
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_one_leaf_alone(kind: str, needed: str) -> None:
    rng = np.random.default_rng(3)
    layer = LAYERS[kind](3, 5, dtype=nn.float64)
    layer.requires_grad_(False)
    x = nn.tensor(draw(rng, 4, 2, 3), requires_grad=needed == "x")
    state, states = state_for(kind, rng, 2, 5, np.float64)
    leaves = {"x": [x], "state": states}.get(needed) or [getattr(layer, needed)]
    for leaf in (x, *states, *layer.parameters()):
        leaf.requires_grad_(any(leaf is each for each in leaves))
    check_gradient(lambda: nn.ops.sum(layer(x, state)[0]), leaves, rng)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("T", [1, 7, 20])
def test_launches_of_a_layer(kind: str, T: int) -> None:
    layer = LAYERS[kind](3, 5)
    x = nn.tensor(draw(np.random.default_rng(4), T, 2, 3, dtype=np.float32), requires_grad=True)
    total = nn.ops.sum(layer(x)[0])
    total.backward()
    cupy_emulation.reset_launches()
    output = layer(x)[0]
    forward = cupy_emulation.launches()
    assert forward <= 2 * T + 10
    total = nn.ops.sum(output)
    cupy_emulation.reset_launches()
    total.backward()
    assert cupy_emulation.launches() <= 2 * T + 15


@pytest.mark.parametrize("kind", LAYERS)
def test_the_order_of_threads_does_not_matter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for value in ("", "reverse"):
        monkeypatch.setenv("CUPY_EMULATION_ORDER", value)
        nn.manual_seed(0)
        layer = LAYERS[kind](3, 171)
        x = nn.rand((2, 3, 3), requires_grad=True)
        output = layer(x)[0]
        nn.ops.sum(output * output).backward()
        results.append([output.data.get(), x.grad.data.get(), layer.weight_hh_l0.grad.data.get()])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


POINTWISE: dict[str, Callable[[Any, Any], Any]] = {
    "abs": lambda x, y: abs(x) * y,
    "divide": lambda x, y: x / (y * y + 1),
    "roots and squares": lambda x, y: nn.ops.sqrt(nn.ops.square(x) + 1) * y,
    "maximum": lambda x, y: nn.ops.maximum(x, y),
    "minimum of a number": lambda x, y: nn.ops.minimum(x, 0.25) + y,
    "max": lambda x, y: nn.ops.max(x, axis=0) * y,
    "min": lambda x, y: nn.ops.min(x) * y,
    "clip": lambda x, y: nn.ops.clip(x, -0.5, None) + nn.ops.clip(y, None, 0.25),
    "where": lambda x, y: nn.ops.where(y > 0, x, y),
    "reciprocal": lambda x, y: nn.ops.reciprocal(x * x + 1) * y,
    "log1p": lambda x, y: nn.ops.log1p(x * 0.5) * y,
    "arcs": lambda x, y: nn.ops.asin(x * 0.5) + nn.ops.acos(y * 0.5),
    "atanh": lambda x, y: nn.ops.atanh(x * 0.5) * y,
    "acosh": lambda x, y: nn.ops.acosh(x * x + 1.5) * y,
    "logarithms": lambda x, y: nn.ops.log2(x * x + 1) + nn.ops.log10(y * y + 1),
    "atan2": lambda x, y: nn.ops.atan2(x, y),
    "hypot": lambda x, y: nn.ops.hypot(x, y),
    "logaddexp": lambda x, y: nn.ops.logaddexp(x, y),
    "copysign": lambda x, y: nn.ops.copysign(x, y),
    "remainder": lambda x, y: nn.ops.remainder(x, y * y + 3),
    "var": lambda x, y: nn.ops.var(x, axis=0) * y,
    "std": lambda x, y: nn.ops.std(x, correction=-1) * y,
    "running": lambda x, y: nn.ops.cumulative_logsumexp(x, axis=0) * y,
    "norm": lambda x, y: nn.ops.norm(x, axis=-1, keepdims=True) * y,
}


PAIRS = [((3, 7), (3, 7)), ((2, 257), (257,)), ((5, 1), (1, 4))]


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("name", POINTWISE)
def test_gradients_of_one_kernel(
    name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    rng = np.random.default_rng(9)
    x, y = (nn.tensor(draw(rng, *shape), requires_grad=True) for shape in shapes)
    weights = cp.asarray(draw(rng, *POINTWISE[name](x, y).shape))
    check_gradient(lambda: nn.ops.sum(POINTWISE[name](x, y) * weights), [x, y], rng)


ACTIVATIONS = (
    "relu sigmoid tanh softmax log_softmax logsumexp expm1 tan atan sinh cosh asinh erf silu "
    "softplus leaky_relu elu gelu"
).split()


@pytest.mark.parametrize("shape", [(1,), (3, 7), (2, 257), (5, 1), (1, 513)], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    function = getattr(nn.ops, name)
    x = nn.tensor(draw(rng, *shape), requires_grad=True)
    weights = cp.asarray(draw(rng, *function(x).shape))
    check_gradient(lambda: nn.ops.sum(function(x) * weights), [x], rng)
    single = nn.tensor(x.data.astype(cp.float32), requires_grad=True)
    nn.ops.sum(function(single)).backward()
    assert single.grad.data.dtype == cp.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (3, 7), (2, 257)], ids=str)
def test_the_other_form_of_gelu(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(10)
    x = nn.tensor(draw(rng, *shape, dtype=np.dtype(dtype)), requires_grad=True)
    output = nn.ops.gelu(x, "tanh")
    assert output.data.dtype == dtype
    if dtype == "float64":
        check_gradient(lambda: nn.ops.sum(nn.ops.gelu(x, "tanh")), [x], rng)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("shape", [(1,), (3, 7), (2, 257)], ids=str)
def test_functions_of_integers(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(11)
    x, y = (rng.integers(-9, 9, shape).astype(dtype) for _ in range(2))
    least = np.full(shape, np.iinfo(dtype).min, dtype)
    with np.errstate(all="ignore"):
        for first, second in ((x, y), (least, np.full_like(y, -1)), (least, y)):
            for name in ("floor_divide", "remainder"):
                got = getattr(nn.ops, name)(nn.tensor(first), nn.tensor(second))
                assert np.array_equal(got.numpy(), getattr(np, name)(first, second))
    count = np.abs(y)
    left = nn.ops.bitwise_left_shift(nn.tensor(x), nn.tensor(count))
    right = nn.ops.bitwise_right_shift(nn.tensor(x), nn.tensor(count))
    assert np.array_equal(left.numpy(), x << count)
    assert np.array_equal(right.numpy(), x >> count)


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32", "float64"])
def test_keys_sort_as_numbers_do(dtype: str) -> None:
    limits = np.iinfo(dtype) if dtype.startswith("int") else None
    ends = [limits.min, limits.max] if limits else [np.nan, -np.inf, np.inf, -0.0, 5e-39]
    array = np.array([*ends, 0, 1, -1, 1, 0], dtype)
    got = nn.ops.argsort(nn.tensor(array)).numpy()
    assert np.array_equal(got, np.argsort(array, kind="stable"))
    assert np.array_equal(nn.ops.sort(nn.tensor(array)).numpy(), np.sort(array), equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 3, 33])
def test_gradients_of_lookups(width: int, dtype: str) -> None:
    rng = np.random.default_rng(8)
    places = rng.integers(0, 5, (7, 3))
    embedding = nn.Embedding(5, width, dtype=getattr(nn, dtype))
    nn.ops.sum(embedding(nn.tensor(places))).backward()
    counts = np.bincount(places.ravel(), minlength=5)
    assert np.array_equal(embedding.weight.grad.data.get(), np.repeat(counts[:, None], width, 1))
    x = nn.tensor(draw(rng, 5, width, dtype=np.dtype(dtype)), requires_grad=True)
    nn.ops.sum(x[nn.tensor(places)]).backward()
    assert np.array_equal(x.grad.data.get(), np.repeat(counts[:, None], width, 1))
    x.grad = None
    nn.ops.sum(nn.ops.take(x, nn.tensor(places.ravel()), axis=0)).backward()
    assert np.array_equal(x.grad.data.get(), np.repeat(counts[:, None], width, 1))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("has_first", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 257), (33, 1, 2)], ids=str)
def test_recurrences(shape: tuple[int, ...], axis: int, has_first: bool, reverse: bool) -> None:
    rng = np.random.default_rng(13)
    first = shape[:axis] + shape[axis + 1 :]
    leaves = [
        nn.tensor(draw(rng, *sizes), requires_grad=True)
        for sizes in (shape, shape, *([first] if has_first else []))
    ]
    weights = cp.asarray(draw(rng, *shape))

    def function() -> Any:
        made = nn.ops.linear_recurrence(*leaves, axis=axis, reverse=reverse)
        return nn.ops.sum(made * weights)

    check_gradient(function, leaves, rng)
    single = [nn.tensor(leaf.data.astype(cp.float32), requires_grad=True) for leaf in leaves]
    nn.ops.sum(nn.ops.linear_recurrence(*single, axis=axis, reverse=reverse)).backward()
    assert all(leaf.grad.data.dtype == cp.float32 for leaf in single)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_steps(kind: str, sizes: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(14)
    _, N, I, H = sizes  # noqa: E741
    name, _, nonlinearity = kind.partition("-")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    cell = getattr(nn, f"{name}Cell")(I, H, dtype=nn.float64, **options)
    x = nn.tensor(draw(rng, N, I), requires_grad=True)
    states = [nn.tensor(draw(rng, N, H), requires_grad=True) for _ in flat(cell.state_size)]
    recurrent = nn.tensor(draw(rng, N, H), requires_grad=True)

    def run() -> list[Any]:
        hx = tuple(states) if kind == "LSTM" else states[0]
        projected = cell.project(x)
        seen = cell.step(projected, hx, recurrent=recurrent)
        return [*flat(cell.step(projected, hx)), *flat(seen)]

    weights = [cp.asarray(draw(rng, *out.shape)) for out in run()]
    leaves = [x, *states, recurrent, *cell.parameters()]
    check_gradient(lambda: weighted(run(), weights), leaves, rng)


VARIANTS: dict[str, Callable[..., Any]] = {
    "LayerNormLSTM": nn.LayerNormLSTMCell,
    "LayerNormGRU": nn.LayerNormGRUCell,
    "PeepholeLSTM": nn.PeepholeLSTMCell,
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", VARIANTS)
def test_gradients_of_variants(kind: str, sizes: tuple[int, int, int, int], bias: bool) -> None:
    rng = np.random.default_rng(15)
    _, N, I, H = sizes  # noqa: E741
    for dtype in (nn.float32, nn.float64):
        cell = VARIANTS[kind](I, H, bias, dtype=dtype)
        for parameter in cell.parameters():
            parameter.data = cp.asarray(draw(rng, *parameter.shape, dtype=dtype))
        x = nn.tensor(draw(rng, N, I, dtype=dtype), requires_grad=True)
        count = len(flat(cell.state_size))
        states = [nn.tensor(draw(rng, N, H, dtype=dtype), requires_grad=True) for _ in range(count)]
        hx = tuple(states) if count == 2 else states[0]
        weights = [cp.asarray(draw(rng, *out.shape, dtype=dtype)) for out in flat(cell(x, hx))]
        leaves = [x, *states, *cell.parameters()]
        if dtype == nn.float64:
            # A row of one element is constant, and steep where eps is small.
            for module in cell.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eps = 0.5
            check_gradient(
                lambda c=cell, x=x, hx=hx, w=weights: weighted(flat(c(x, hx)), w), leaves, rng
            )
        else:
            weighted(flat(cell(x, hx)), weights).backward()
            assert all(leaf.grad.data.dtype == dtype for leaf in leaves)


@pytest.mark.parametrize("affine", [(True, True), (True, False), (False, False)], ids=str)
@pytest.mark.parametrize("shape", [(1, 2), (3, 33), (2, 2, 257), (9, 1, 5)], ids=str)
def test_gradients_of_norms(shape: tuple[int, ...], affine: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(16)
    for dtype in (nn.float32, nn.float64):
        layer = nn.LayerNorm(shape[1:], 0.1, *affine, dtype=dtype)
        x = nn.tensor(draw(rng, *shape, dtype=dtype), requires_grad=True)
        weights = cp.asarray(draw(rng, *shape, dtype=dtype))
        leaves = [x, *layer.parameters()]
        if dtype == nn.float64:
            check_gradient(lambda f=layer, x=x, w=weights: nn.ops.sum(f(x) * w), leaves, rng)
        else:
            nn.ops.sum(layer(x) * weights).backward()
            assert all(leaf.grad.data.dtype == dtype for leaf in leaves)


def attention(dtype: Any) -> Any:
    layer = nn.MultiheadAttention(4, 2, dtype=dtype)
    shut = nn.tensor(np.triu(np.ones((3, 3), bool), 1))
    layer.register_forward_pre_hook(lambda _, args: (args[0],) * 3 + (None, True, shut))
    layer.register_forward_hook(lambda *args: args[2][0])
    return layer


MODULES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "Conv2d": (lambda d: nn.Conv2d(2, 3, (3, 2), 2, 1, dtype=d), (2, 2, 7, 9)),
    "ConvTranspose2d": (lambda d: nn.ConvTranspose2d(2, 3, 3, 2, 1, dtype=d), (2, 2, 5, 17)),
    "MaxPool2d": (lambda _: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 2, 7, 33)),
    "AvgPool2d": (lambda _: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 2, 7, 33)),
    "AdaptiveAvgPool2d": (lambda _: nn.AdaptiveAvgPool2d((3, 40)), (2, 2, 7, 33)),
    "RMSNorm": (lambda d: nn.RMSNorm(35, 0.1, dtype=d), (3, 35)),
    "GroupNorm": (lambda d: nn.GroupNorm(2, 4, 0.1, dtype=d), (3, 4, 33)),
    "BatchNorm1d": (lambda d: nn.BatchNorm1d(5, 0.1, None, dtype=d), (7, 5, 3)),
    "PReLU": (lambda d: nn.PReLU(5, dtype=d), (7, 5, 3)),
    "Mish": (lambda _: nn.Mish(), (3, 171)),
    "SELU": (lambda _: nn.SELU(), (3, 171)),
    "Softplus": (lambda _: nn.Softplus(2.0, 0.5), (3, 171)),
    "MultiheadAttention": (attention, (3, 2, 4)),
}


@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_modules(name: str) -> None:
    rng, (make, shape) = np.random.default_rng(17), MODULES[name]
    for dtype in (nn.float32, nn.float64):
        layer = make(dtype)
        x = nn.tensor(draw(rng, *shape, dtype=dtype), requires_grad=True)
        weights = cp.asarray(draw(rng, *layer(x).shape, dtype=dtype))
        leaves = [x, *layer.parameters()]
        if dtype == nn.float64:
            check_gradient(lambda f=layer, x=x, w=weights: nn.ops.sum(f(x) * w), leaves, rng)
        else:
            nn.ops.sum(layer(x) * weights).backward()
            assert all(leaf.grad.data.dtype == dtype for leaf in leaves)


def kernels_of(paths: list[Path]) -> set[str]:
    """Return the kernels of some files, and those that are made of their pointwise functions."""
    texts = [path.read_text(encoding="utf-8") for path in paths]
    functions = re.compile(launch._TEMPLATE.format(name=r"(\w+)"))
    found = {name for text in texts for name in kernel_names(expanded(text))}
    return found | {f"pointwise_{each[2]}" for text in texts for each in functions.findall(text)}


def test_every_kernel_has_run() -> None:
    """Must stay the last test of the file."""
    all_of_them = kernels_of(KERNELS)
    assert len(all_of_them) > 10
    assert all_of_them - seen == set()
