"""`vmap`: what the specification leaves to this implementation."""

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import agree

import impl_jax_vjp as nn

X = np.linspace(-1.0, 1.0, 6, dtype=np.float32).reshape(3, 2)


class Reading(nn.Function):
    """A Function whose forward reads a value."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * (2.0 if float(x.sum()) > 0 else 3.0)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad


class LateReading(nn.Function):
    """A Function whose backward reads a value."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * (2.0 if float(grad.sum()) > 0 else 3.0)


def test_what_was_recorded_is_one_node() -> None:
    x = nn.tensor(X, requires_grad=True)
    y = nn.vmap(lambda row: nn.ops.tanh(row) * row)(x)
    assert repr(y.grad_fn) == "<vmap backward>"
    assert nn.graph(y).count("vmap") == 1


def test_the_graph_of_a_call_is_kept_and_freed_like_any_other() -> None:
    x = nn.tensor(X, requires_grad=True)
    y = nn.ops.sum(nn.vmap(lambda row: row * row)(x))
    y.backward(retain_graph=True)
    y.backward()
    agree(x.grad.numpy(), 4 * X, "gradient")
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_nothing_is_alive_behind_the_last_reference() -> None:
    held: list[Any] = []

    def fn(row: Any) -> Any:
        inner = row * 3
        held.append(weakref.ref(inner))
        return nn.ops.exp(inner)

    gc.disable()
    try:
        y = nn.vmap(fn)(nn.tensor(X, requires_grad=True))
        node = weakref.ref(y._node.rule) if hasattr(y._node.rule, "__weakref__") else held[0]
        del y
        assert held[0]() is None
        assert node() is None
    finally:
        gc.enable()


def test_hooks_within_see_the_gradient_of_a_slice() -> None:
    seen: list[tuple[int, ...]] = []

    def fn(row: Any) -> Any:
        inner = row * 2

        def hook(grad: Any) -> Any:
            seen.append(grad.shape)
            return grad * 10

        inner.register_hook(hook)
        return inner

    x = nn.tensor(X, requires_grad=True)
    nn.ops.sum(nn.vmap(fn)(x)).backward()
    assert seen == [(2,)]
    agree(x.grad.numpy(), np.full_like(X, 20), "gradient")


def test_a_result_without_the_axis_has_its_gradient_once() -> None:
    w = nn.tensor([1.0, 2.0], requires_grad=True)
    step = nn.jit(lambda row, w: (row * w, w * w))
    y, alone = nn.vmap(lambda row: step(row, w), out_axes=(0, None))(nn.tensor(X))
    assert alone.shape == (2,)
    (nn.ops.sum(y) + nn.ops.sum(alone)).backward()
    agree(w.grad.numpy(), X.sum(axis=0) + 2 * np.array([1, 2], np.float32), "gradient")


@pytest.mark.parametrize("function", [Reading, LateReading])
def test_a_function_that_reads_a_value_is_refused_by_name(function: Any) -> None:
    x = nn.tensor(X, requires_grad=True)
    with pytest.raises(RuntimeError, match=f"{function.__name__}: within vmap"):
        nn.ops.sum(nn.vmap(function.apply)(x)).backward()
    assert x.grad is None


def test_under_the_transformations_of_jax() -> None:
    w = jnp.asarray([1.0, -2.0], jnp.float32)

    def total(w: Any) -> Any:
        rows = nn.vmap(lambda row: nn.ops.tanh(row * nn.from_array(w)))(nn.tensor(X))
        return nn.ops.sum(rows).data

    want = ((1 - np.tanh(X * np.asarray(w)) ** 2) * X).sum(axis=0)
    agree(np.asarray(jax.grad(total)(w)), want, "gradient")
    agree(np.asarray(jax.jit(jax.grad(total))(w)), want, "gradient")
    rows = jax.vmap(total)(jnp.stack([w, 2 * w]))
    scales = np.array([[[1, -2]], [[2, -4]]], np.float32)
    agree(np.asarray(rows), np.tanh(X * scales).sum(axis=(1, 2)), "gradient")


def test_a_refused_write_takes_back_what_was_written_before() -> None:
    class Counting(nn.Module):
        last: Any
        count: Any

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", nn.zeros((2,)))
            self.register_buffer("count", nn.tensor(0))

        def forward(self, row: Any) -> Any:
            self.count = self.count + 1
            self.last.data = jnp.ones(2, jnp.float32)
            self.last = row
            return row

    module = Counting()
    count = module.count
    with pytest.raises(RuntimeError, match="vmap"):
        nn.vmap(nn.vmap(module))(nn.tensor(np.stack([X, X])))
    assert module.count is count
    assert module.last.tolist() == [0.0, 0.0]


def test_the_absolute_value_of_an_infinite_number_with_a_nan() -> None:
    for name in ("complex64", "complex128"):
        numbers = np.array([complex(np.inf, np.nan), complex(np.nan, -np.inf), 3 + 4j], name)
        got = nn.ops.abs(nn.tensor(numbers))
        assert got.tolist() == [np.inf, np.inf, 5.0]
        assert got.dtype == numbers.real.dtype


def test_an_embedding_renews_the_rows_that_any_slice_uses() -> None:
    layer = nn.Embedding(4, 2, max_norm=0.5)
    layer.weight.data = np.full((4, 2), 3, np.float32)
    rows = nn.vmap(layer)(nn.tensor([[0, 2], [2, 2]]))
    norms = np.linalg.norm(layer.weight.detach().numpy(), axis=1)
    agree(norms[[0, 2]], np.full(2, 0.5, np.float32), "rnn")
    assert (norms[[1, 3]] > 4).all()
    agree(rows.detach().numpy(), layer.weight.detach().numpy()[[[0, 2], [2, 2]]], "elementwise")
