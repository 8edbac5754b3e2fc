"""`einsum`: in which order the operands are multiplied."""

import jax

import impl_jax_vjp as nn


def test_the_order_of_a_product_is_the_cheapest() -> None:
    # From the left there would be an array of 1000 by 1000.
    x, y, z = (nn.ones(shape) for shape in ((1000, 1), (1, 1000), (1000, 1)))

    def sizes(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
        return nn.ops.einsum("ij,jk,kl->il", *map(nn.from_array, (x, y, z))).data

    program = jax.make_jaxpr(sizes)(x.data, y.data, z.data)
    assert "1000,1000" not in str(program)
