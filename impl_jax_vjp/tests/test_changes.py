"""What a call changes: running statistics and renormalized rows, wherever the call stands."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import compilations

import impl_jax_vjp as nn

X = np.linspace(-1, 2, 18, dtype="float32").reshape(6, 3)


def state(layer: Any) -> list[np.ndarray]:
    """Return copies of all parameters and buffers."""
    return [np.array(tensor.data) for tensor in layer.state_dict().values()]


def agree(one: Any, other: Any) -> None:
    for got, want in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


WAYS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "jit": nn.jit,
    "jit of jit": lambda call: nn.jit(nn.jit(call)),
    "checkpoint in jit": lambda call: nn.jit(lambda x: nn.checkpoint(call, x)),
    "grad in jit": lambda call: nn.jit(nn.value_and_grad(lambda x: call(x).sum())),
    "jvp in jit": lambda call: nn.jit(lambda x: nn.jvp(call, (x,), (x,))),
    "an argument of jit": lambda call: lambda x: nn.jit(lambda m, x: m(m(x)))(call.layer, x),  # type: ignore[attr-defined]
}


class Twice:
    """A layer that is called twice: the second call begins where the first one left."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, x: Any) -> Any:
        return self.layer(self.layer(x))


@pytest.mark.parametrize("momentum", [0.25, None])
@pytest.mark.parametrize("way", WAYS)
def test_running_statistics(way: str, momentum: float | None) -> None:
    layer, plain = nn.BatchNorm1d(3, momentum=momentum), nn.BatchNorm1d(3, momentum=momentum)
    held = list(layer.buffers())
    compiled = WAYS[way](Twice(layer))
    for time in range(3):
        x = nn.tensor(X * (time + 1), requires_grad=True)
        compiled(x)
        plain(plain(x))
        agree(layer, plain)
    assert [*map(id, layer.buffers())] == [*map(id, held)]
    layer.eval()
    before = state(layer)
    compiled(nn.tensor(X))
    for old, new in zip(before, state(layer), strict=True):
        assert np.array_equal(old, new)


def test_gradients_through_jit() -> None:
    layer, plain = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    x, y = nn.tensor(X, requires_grad=True), nn.tensor(X, requires_grad=True)
    (nn.jit(layer)(x) ** 3).sum().backward()
    (plain(y) ** 3).sum().backward()
    np.testing.assert_allclose(x.grad.data, y.grad.data, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.weight.grad.data, plain.weight.grad.data, rtol=1e-5)


def test_a_checkpoint_changes_at_each_run() -> None:
    layer = nn.BatchNorm1d(3)
    out = nn.checkpoint(layer, nn.tensor(X, requires_grad=True))
    assert int(layer.num_batches_tracked) == 1
    (out * out).sum().backward()
    assert int(layer.num_batches_tracked) == 2


def test_a_function_that_raises_changes_nothing() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="reshape"):
        nn.jit(lambda x: nn.ops.reshape(layer(x), (5,)))(nn.tensor(X))
    agree(layer, nn.BatchNorm1d(3))


def test_traces_of_jax() -> None:
    layer = nn.BatchNorm1d(3)

    def call(array: Any, layer: Any = layer) -> Any:
        return layer(nn.from_array(array)).data

    x = jnp.asarray(X)
    for function, array in ((jax.jit(call), x), (jax.vmap(call), x.reshape(3, 2, 3))):
        with pytest.raises(RuntimeError, match="BatchNorm1d: running_mean must not be changed"):
            function(array)
    agree(layer, nn.BatchNorm1d(3))

    @jax.jit
    def step(layer: Any, array: Any) -> Any:
        call(array, layer)
        return layer

    assert int(step(layer, jnp.asarray(X)).num_batches_tracked) == 1
    assert int(layer.num_batches_tracked) == 0


def test_a_loop_that_is_compiled() -> None:
    layer = nn.BatchNorm1d(3)

    def cell(x: Any, state: Any) -> Any:
        return layer(x + state)

    sequence = nn.ones((4, 6, 3))
    with pytest.raises(RuntimeError, match="BatchNorm1d: running_mean"):
        nn.rnn.unroll(cell, sequence, nn.zeros((6, 3)))
    agree(layer, nn.BatchNorm1d(3))
    layer.eval()
    nn.rnn.unroll(cell, sequence, nn.zeros((6, 3)))


def test_renormalized_rows_under_jit() -> None:
    layer, plain = nn.Embedding(5, 3, max_norm=0.5), nn.Embedding(5, 3, max_norm=0.5)
    plain.load_state_dict(layer.state_dict())
    compiled = nn.jit(lambda i: layer(i))
    for indices in ([1, 2, 1], [0, 4, 2]):
        i = nn.tensor(indices)
        results = [compiled(i), plain(i)]
        agree(layer, plain)
        for out, owner in zip(results, (layer, plain), strict=True):
            owner.zero_grad()
            (out * out).sum().backward()
        np.testing.assert_allclose(layer.weight.grad.data, plain.weight.grad.data, rtol=1e-6)


class Alike:
    """A layer of several inputs, called on one for all."""

    def __init__(self, layer: Any, count: int) -> None:
        self.layer, self.count = layer, count

    def __call__(self, x: Any) -> Any:
        return self.layer(*[x] * self.count)


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "Bilinear": (lambda: Alike(nn.Bilinear(6, 6, 2), 2), (3, 6)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 2, padding=1, padding_mode="reflect"), (2, 3, 6)),
    "Conv2d": (lambda: nn.Conv2d(3, 4, 2, padding="same"), (2, 3, 6, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 2, stride=2), (2, 3, 6, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2, return_indices=True), (2, 3, 6, 5)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2, ceil_mode=True), (2, 3, 6, 5)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(4), (2, 3, 6, 5)),
    "RMSNorm": (lambda: nn.RMSNorm(6), (5, 6)),
    "GroupNorm": (lambda: nn.GroupNorm(3, 6), (5, 6)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (2, 3, 6, 5)),
    "PReLU": (lambda: nn.PReLU(6), (5, 6)),
    "GLU": (nn.GLU, (5, 6)),
    "Mish": (nn.Mish, (5, 6)),
    "MultiheadAttention": (lambda: Alike(nn.MultiheadAttention(6, 2), 3), (4, 2, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_one_program(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = make(), nn.tensor(np.ones(shape, "float32"))
    jax.clear_caches()
    with compilations() as events:
        layer(x)
    assert len(events) == 1


@pytest.mark.parametrize("kernel", [15, 40])
def test_long_windows(kernel: int) -> None:
    """Their places are written out in the program, or are a loop in it."""
    values = np.random.default_rng(1).permutation(200).astype("float32").reshape(2, 100)
    x = nn.tensor(values, requires_grad=True)
    out, places = nn.MaxPool1d(kernel, stride=3, padding=4, return_indices=True)(x)
    starts = np.arange(out.shape[1]) * 3 - 4
    for start, column in zip(starts, np.array(places.data).T, strict=True):
        first = max(start, 0)
        assert (column == first + values[:, first : start + kernel].argmax(1)).all()
    want = np.take_along_axis(values, np.array(places.data), 1)
    assert np.array_equal(out.data, want)
    out.sum().backward()
    count = [np.bincount(row, minlength=100) for row in np.array(places.data)]
    assert np.array_equal(x.grad.data, np.stack(count))


def test_a_window_without_a_place_of_the_input() -> None:
    x = nn.tensor(np.ones((1, 1), "float32"), requires_grad=True)
    out = nn.MaxPool1d(2, stride=1, padding=1, dilation=2)(x)
    assert np.array_equal(out.data, [[-np.inf]])
    out.sum().backward()
    assert np.array_equal(x.grad.data, [[0]])


@pytest.mark.parametrize("sizes", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_attention_of_nothing(sizes: tuple[int, int, int]) -> None:
    batch, queries, keys = sizes
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x, y = nn.zeros((batch, queries, 4), requires_grad=True), nn.zeros((batch, keys, 4))
    out, weights = layer(x, y, y, attn_mask=nn.zeros((queries, keys)))
    out.sum().backward()
    assert (out.shape, weights.shape) == ((batch, queries, 4), (batch, queries, keys))
    assert not np.array(x.grad.data).any()


def test_a_largest_of_no_batch() -> None:
    x = nn.zeros((0, 2, 5), requires_grad=True)
    nn.MaxPool1d(2)(x).sum().backward()
    assert x.grad.shape == (0, 2, 5)
