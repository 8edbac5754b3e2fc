"""Values put or added at places that are not known: under JAX's transformations and `nn.jit`."""

import jax
import jax.numpy as jnp
import numpy as np

import impl_jax_vjp as nn

RNG = np.random.default_rng(0)


def test_nothing_is_written_out_of_range() -> None:
    x = RNG.standard_normal((3, 4))
    rows, places = np.array([3, 0, -1, -4]), np.array([[4, 1, -5, -4]])
    values = RNG.standard_normal((4, 4))
    put = nn.jit(nn.ops.put)(nn.tensor(x), nn.tensor(rows), nn.tensor(values))
    np.testing.assert_array_equal(put.numpy(), np.stack([values[1], x[1], values[2]]))
    added = nn.jit(nn.ops.scatter_add)(nn.tensor(x), nn.tensor(places), nn.tensor(values[:1]))
    want = x.copy()
    want[:, [1, 0]] += values[0, [1, 3]]
    np.testing.assert_array_equal(added.numpy(), want)
    summed = nn.jit(lambda x, ids: nn.ops.segment_sum(x, ids, 3))
    got = summed(nn.tensor(values), nn.tensor(rows)).numpy()
    np.testing.assert_array_equal(got, np.stack([values[1], np.zeros(4), np.zeros(4)]))


def test_what_is_not_written_has_no_gradient() -> None:
    def call(x: jax.Array, at: jax.Array, values: jax.Array) -> jax.Array:
        put = nn.ops.put(nn.from_array(x), nn.from_array(at), nn.from_array(values))
        return (put * nn.from_array(jnp.arange(1.0, 4.0))).sum().data

    at = jnp.array([0, 3, 0, -4])
    arrays = (jnp.zeros(3), at, jnp.ones(4))
    to_x, to_values = jax.jit(jax.grad(call, argnums=(0, 2)))(*arrays)
    np.testing.assert_array_equal(to_x, [0, 2, 3])
    np.testing.assert_array_equal(to_values, [0, 0, 1, 0])


def test_slices_beside_places_are_put_back() -> None:
    x, values = RNG.standard_normal((3, 4, 5)), RNG.standard_normal((2, 1, 4, 3))
    at = np.array([1, 0, 1, 1])
    want = x.copy()
    want[::-2, None, at, 4:1:-1] = values
    before, after = slice(None, None, -2), slice(4, 1, -1)
    put = nn.jit(lambda x, at, values: nn.ops.put(x, (before, None, at, after), values))
    np.testing.assert_array_equal(put(nn.tensor(x), nn.tensor(at), nn.tensor(values)).numpy(), want)


def test_sums_of_each_of_a_batch() -> None:
    x = RNG.integers(-9, 9, (2, 60)).astype("float64")
    # The first of the batch meets one id often, the second none.
    ids = np.stack([np.ones(60, int), np.arange(60) % 3])

    def cubes(x: jax.Array, ids: jax.Array) -> jax.Array:
        return (nn.ops.segment_sum(nn.from_array(x), nn.from_array(ids), 3) ** 3).sum().data

    with jax.enable_x64(True):
        got = jax.vmap(jax.grad(cubes))(jnp.asarray(x), jnp.asarray(ids))
    sums = np.stack([np.bincount(i, row, minlength=3) for i, row in zip(ids, x, strict=True)])
    np.testing.assert_array_equal(got, 3 * np.take_along_axis(sums, ids, 1) ** 2)
