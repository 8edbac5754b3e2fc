"""`vmap`: what runs for all slices at once, and what the specification leaves open."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy import ops, slices

_TOLERANCE = 1e-4
_LAYER = nn.Conv1d(4, 1, 2)


def drawn(*shape: int, seed: int = 0, requires_grad: bool = False) -> Any:
    array = np.random.default_rng(seed).normal(size=shape).astype("float32")
    return nn.tensor(array, requires_grad=requires_grad)


def looped(fn: Callable[..., Any], axes: tuple[int | None, ...] = (0, 0)) -> Callable[..., Any]:
    """Call a function on every slice and stack."""

    def call(*args: Any) -> Any:
        own = axes[: len(args)]
        count = next(x.shape[axis] for x, axis in zip(args, own, strict=True) if axis is not None)

        def cut(x: Any, axis: int | None, place: int) -> Any:
            return x if axis is None else x[(slice(None),) * axis + (place,)]

        pairs = list(zip(args, own, strict=True))
        return ops.stack([fn(*[cut(*pair, place) for pair in pairs]) for place in range(count)])

    return call


def same(got: Any, want: Any) -> None:
    got, want = got.detach().numpy(), want.detach().numpy()
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=_TOLERANCE, atol=_TOLERANCE)


AT_ONCE: dict[str, Callable[[Any], Any]] = {
    "elements": lambda x: ops.where(x > 0, x * 2, ops.tanh(x) + x[0]),
    "sum": lambda x: ops.sum(x, axis=(0, -1)),
    "max": lambda x: ops.max(x, axis=0, keepdims=True),
    "argmax": lambda x: ops.argmax(x, axis=1),
    "softmax": lambda x: ops.softmax(x, 0),
    "logsumexp": lambda x: ops.logsumexp(x, axis=(0, 1)),
    "sort": lambda x: ops.sort(x, axis=0),
    "running": lambda x: ops.cumulative_sum(x, axis=1),
    "reshape": lambda x: ops.reshape(x, (-1, 2)),
    "transpose": lambda x: ops.permute_dims(x, (1, 0)),
    "moveaxis": lambda x: ops.moveaxis(x, 0, -1),
    "tile": lambda x: ops.tile(x, (2, 1, 2)),
    "roll": lambda x: ops.roll(x, (1, 2), axis=(0, 1)),
    "joins": lambda x: ops.concat([x, ops.stack([x[0], x[1]])], axis=0),
    "products": lambda x: x @ x.T @ x[:, 0],
    "einsum": lambda x: ops.einsum("ij,kj->ik", x, x),
    "outer": lambda x: ops.linalg.outer(x[0], x[1]),
    "det": lambda x: ops.linalg.det(x @ x.T),
    "keys": lambda x: x[None, ..., 1:],
    "arrays": lambda x: x[nn.tensor([0, 1]), None, nn.tensor([1, 0])],
    "take": lambda x: ops.take(x, ops.argsort(x[0]), axis=1),
    "along": lambda x: ops.take_along_axis(x, ops.argsort(x, axis=1), axis=1),
    "put": lambda x: ops.put(x, (0, slice(1, 3)), x[1, :2]),
    "pool": lambda x: nn.MaxPool1d(2)(x),
    "convolution": lambda x: _LAYER(x),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_nothing_runs_slice_by_slice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        msg = "ran once for each slice"
        raise AssertionError(msg)

    fn = AT_ONCE[name]
    x = drawn(3, 4, 4)
    want = looped(fn)(x)
    monkeypatch.setattr(slices, "by_slices", refused)
    same(nn.vmap(fn)(x), want)


@pytest.mark.parametrize("name", AT_ONCE)
def test_two_levels(name: str) -> None:
    fn = AT_ONCE[name]
    x = drawn(2, 3, 4, 4)
    same(nn.vmap(nn.vmap(fn), in_axes=1)(x), looped(looped(fn), (1,))(x))


KEYS: dict[str, Callable[[Any, Any], Any]] = {
    "first": lambda x, i: x[i],
    "second": lambda x, i: x[:, i],
    "apart": lambda x, i: x[i, None, i],
    "behind an ellipsis": lambda x, i: x[..., i],
    "an integer beside": lambda x, i: x[1, ..., i],
    "a new axis before": lambda x, i: x[None, i, 0],
    "another array": lambda x, i: x[nn.tensor([0, 1]), i[0]],
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)], ids=str)
def test_index_arrays(name: str, axes: tuple[int | None, int | None]) -> None:
    fn = KEYS[name]
    x = drawn(3, 4, 4, 4)
    i = nn.tensor(np.random.default_rng(1).integers(-4, 4, (3, 2, 2)))
    given = [value[0] if axis is None else value for value, axis in zip((x, i), axes, strict=True)]
    same(nn.vmap(fn, axes)(*given), looped(fn, axes)(*given))
    slope = nn.grad(lambda x, i: ops.sum(fn(x, i) ** 2))
    same(nn.vmap(slope, axes)(*given), looped(slope, axes)(*given))


class Aliased(nn.Function):
    """Writes into an array that the ctx has too."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 1
        ctx.y = y
        y *= 3
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * ctx.y


def test_what_is_written_in_place_is_seen_by_all() -> None:
    x = drawn(3, 2)
    with pytest.warns(UserWarning, match=r"Aliased.*vmap"):
        got = nn.vmap(nn.grad(lambda x: ops.sum(Aliased.apply(x))))(x)
    same(got, x * 3)


class Reads(nn.Function):
    """Reads a value each way."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any) -> Any:
        ctx.factor = 2.0 if float(ctx.xp.sum(x)) > 0 else -1.0
        ctx.save_for_backward(x, w)
        return x * x * w * ctx.factor

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, w = ctx.saved_tensors
        return 2 * x * w * grad * ctx.factor, x * x * grad * ctx.factor


def test_a_function_that_reads_under_two_levels() -> None:
    x, w = drawn(3, 2, 4), drawn(4, seed=1, requires_grad=True)

    def fn(x: Any) -> Any:
        return Reads.apply(x, w)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        got, want = nn.vmap(nn.vmap(fn))(x), looped(looped(fn))(x)
        same(got, want)
        slopes = [nn.grad(ops.sum(y * y), [w])[0] for y in (got, want)]
    same(*slopes)
    assert [warning.category for warning in said] == [UserWarning]
    with pytest.raises(ValueError, match=r"Reads.*vmap"):
        nn.vmap(fn)(nn.zeros((0, 4)))


class Late(nn.Function):
    """Reads a value of what it saved, in backward alone."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 3

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad * (3 if float(ctx.xp.max(x)) > 0.5 else 5)


def test_a_backward_that_reads_what_forward_saved_for_all() -> None:
    x = drawn(3, 2, 4)
    slope = nn.grad(lambda x: ops.sum(Late.apply(x) ** 2))
    with pytest.warns(UserWarning, match="Late: under vmap backward"):
        got = nn.vmap(nn.vmap(slope))(x)
    same(got, looped(looped(slope))(x))


def test_a_checkpoint_runs_again_when_vmap_is_over() -> None:
    x, w = drawn(3, 2, 4, requires_grad=True), drawn(4, seed=1, requires_grad=True)

    def fn(x: Any) -> Any:
        return nn.checkpoint(lambda x: ops.tanh(x * w) * ops.sum(x), x)

    found = []
    for call in (nn.vmap(nn.vmap(fn)), looped(looped(fn))):
        y = call(x)
        found.append(nn.grad(ops.sum(y * y), [x, w]))
    same(found[0][0], found[1][0])
    same(found[0][1], found[1][1])


def test_what_was_written_before_a_refusal_is_taken_back() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.register_buffer("count", nn.tensor(0))

        def forward(self, x: Any) -> Any:
            self.count = self.count + 1
            return self.norm(x)

    module = Counting()
    with pytest.raises(RuntimeError, match="vmap"):
        nn.vmap(module)(drawn(2, 4, 3))
    assert int(module.count) == 0
    assert int(module.norm.num_batches_tracked) == 0


SHAPES: dict[str, Callable[[Any], Any]] = {
    "in": lambda x: 1.0 in x,
    "zeros": lambda x: ops.zeros(ops.astype(x, nn.int64)),
    "pack": lambda x: nn.rnn.pack(x[:, None], ops.astype(x[:1], nn.int64)),
    "data": lambda x: x.data,
    "an index of a list": lambda x: [1, 2, 3][ops.astype(x[0], nn.int64)],
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_values_that_are_not_known(name: str) -> None:
    with pytest.raises(RuntimeError, match="vmap"):
        nn.vmap(lambda x: (SHAPES[name](x), x)[1])(nn.tensor([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.parametrize("padding", [None, 1])
@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)], ids=str)
def test_embeddings(padding: int | None, axes: tuple[int | None, int | None]) -> None:
    layer = nn.Embedding(4, 3, padding_idx=padding)
    table, places = drawn(2, 4, 3), nn.tensor([[0, 1, 3], [1, 1, 2]])
    given = [v[0] if axis is None else v for v, axis in zip((table, places), axes, strict=True)]

    def loss(weight: Any, i: Any) -> Any:
        return ops.sum(nn.functional_call(layer, {"weight": weight}, i) ** 2)

    slope = nn.grad(loss)
    same(nn.vmap(slope, axes)(*given), looped(slope, axes)(*given))
    with pytest.raises(IndexError, match="Embedding: index 4"):
        nn.vmap(layer)(nn.tensor([[0], [4]]))


def test_an_embedding_shortens_the_rows_of_every_slice() -> None:
    layers = [nn.Embedding(4, 3, max_norm=0.1) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    places = nn.tensor([[0], [1]])
    same(nn.vmap(layers[0])(places), layers[1](places))
    same(layers[0].weight, layers[1].weight)


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"])
def test_losses_of_differences_run_at_once(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fn = nn.grad(getattr(nn.loss, loss))
    x, t = drawn(3, 4), drawn(3, 4, seed=1)
    want = looped(fn)(x, t)
    monkeypatch.delattr(slices, "by_slices")
    same(nn.vmap(fn)(x, t), want)


def test_memory_that_is_written_after_a_function_kept_it() -> None:
    class Square(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * grad

    x = drawn(3, 2, requires_grad=True)
    want = (x * 2).detach().tolist()
    raw = x.data
    y = nn.vmap(Square.apply)(x)
    raw[...] = 7
    ops.sum(y).backward()
    assert x.grad.tolist() == want
