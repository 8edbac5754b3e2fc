"""Lookups of indices that repeat: how their gradients are added, in every form of a key."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import agree

import impl_jax_vjp as nn

SHAPE = (3, 4, 5)
# More than may be added in a row, and enough for blocks of groups (of 25 equal ones at least).
COUNT = 1600
RNG = np.random.default_rng(0)
# Keys in which every index is met often; i, j are index arrays of one shape.
KEYS: dict[str, tuple[tuple[int, ...], Callable[[Any, Any, Any], Any]]] = {
    "x[i]": ((0,), lambda x, i, _: x[i]),
    "x[1:, i, ::2]": ((1,), lambda x, i, _: x[1:, i, ::2]),
    "x[i, j]": ((0, 1), lambda x, i, j: x[i, j]),
    "x[:, i, j]": ((1, 2), lambda x, i, j: x[:, i, j]),
    "x[i, :, j]": ((0, 2), lambda x, i, j: x[i, :, j]),
    "x[i, None, j]": ((0, 1), lambda x, i, j: x[i, None, j]),
    "x[None, i, 1:3]": ((0,), lambda x, i, _: x[None, i, 1:3]),
}


def drawn(axes: tuple[int, ...]) -> list[np.ndarray]:
    """Return index arrays of two axes, negative ones among them, for the first axis and another."""
    sizes = [SHAPE[axis] for axis in (*axes, axes[-1])[:2]]
    return [RNG.integers(-size, size, (COUNT // 2, 2)) for size in sizes]


def gradient(call: Callable[..., Any], i: Any, j: Any, arrives: np.ndarray) -> np.ndarray:
    """Return the gradient that NumPy adds up in the order of the indices, exact for integers."""
    places = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    result = np.zeros(np.prod(SHAPE))
    np.add.at(result, call(places, i, j), arrives)
    return result.reshape(SHAPE)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_that_repeats_adds_up(key: str) -> None:
    axes, call = KEYS[key]
    i, j = drawn(axes)
    array = RNG.standard_normal(SHAPE)
    want = call(array, i, j)
    arrives = RNG.integers(-9, 9, want.shape).astype("float64")
    expected = gradient(call, i, j, arrives)
    x = nn.tensor(array, requires_grad=True)
    y = call(x, i, j)
    np.testing.assert_array_equal(y.detach().numpy(), want)
    y.backward(nn.tensor(arrives))
    np.testing.assert_array_equal(x.grad.numpy(), expected)

    # Where the indices are not known, and in JAX's own modes, forward and back.
    def under_jax(x: Any, i: Any, j: Any) -> Any:
        return call(nn.from_array(x), nn.from_array(i), nn.from_array(j)).data

    arrays = [jnp.asarray(a) for a in (array, i, j)]
    found, pull = jax.vjp(jax.jit(under_jax), *arrays)
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(pull(jnp.asarray(arrives))[0], expected)
    tangent = jax.jvp(lambda x: under_jax(x, *arrays[1:]), arrays[:1], arrays[:1])[1]
    np.testing.assert_array_equal(tangent, want)


def test_what_repeats_is_differentiated_twice() -> None:
    array = RNG.standard_normal(3)
    i = RNG.integers(0, 3, COUNT)
    met = np.bincount(i)

    def cubes(x: Any, i: Any) -> Any:
        return (nn.ops.take(x, i) ** 3).sum()

    x = nn.tensor(array, requires_grad=True)
    cubes(x, nn.tensor(i)).backward(create_graph=True)
    first, x.grad = x.grad, None
    agree(first.detach().numpy(), 3 * met * array**2, "gradient")
    (first * first).sum().backward()
    agree(x.grad.numpy(), 36 * met**2 * array**3, "gradient")
    hessian = jax.jit(jax.hessian(lambda x, i: cubes(nn.from_array(x), nn.from_array(i)).data))
    agree(hessian(jnp.asarray(array), jnp.asarray(i)), np.diag(6 * met * array), "gradient")


def test_each_of_a_batch_adds_its_own() -> None:
    arrays = jnp.asarray(RNG.standard_normal((2, 3, 2)))
    # The first of the batch meets one index often, the second none.
    i = jnp.asarray(np.stack([np.ones(60, int), np.arange(60) % 3]))

    def total(x: Any, i: Any) -> Any:
        return nn.ops.take(nn.from_array(x), nn.from_array(i), axis=0).sum().data

    got = jax.vmap(jax.grad(total))(arrays, i)
    want = np.array([[0, 60, 0], [20, 20, 20]])[..., None]
    np.testing.assert_array_equal(got, np.broadcast_to(want, (2, 3, 2)))


@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(what: float) -> None:
    x = nn.zeros((3, 2), requires_grad=True)
    i = np.repeat([0, 1, 2], 300)
    arrives = np.ones((900, 2), "float32")
    arrives[450, 1] = what
    x[i].backward(nn.tensor(arrives))
    np.testing.assert_array_equal(x.grad.numpy(), [[300, 300], [300, what], [300, 300]])


@pytest.mark.parametrize("order", ["in turn", "in runs", "drawn"])
def test_no_order_of_the_indices_adds_many_in_a_row(order: str) -> None:
    count, size = 2**17, 64
    i = {
        "in turn": np.arange(count) % size,
        "in runs": np.arange(count) // (count // size),
        "drawn": RNG.integers(0, size, count),
    }[order]
    tenth = float(np.float32(0.1))
    x = nn.zeros(size, requires_grad=True)
    x[i].backward(nn.full(count, 0.1))
    met = np.bincount(i)
    # A chain of as many additions would be wrong by some hundred epsilons.
    bound = 2 * (2 + np.log2(met)) * np.finfo("float32").eps * met * tenth
    assert (np.abs(x.grad.numpy() - met * tenth) <= bound).all()
