"""What a Function reads of values that JAX differentiates: an error, or right (function-28)."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import agree

import impl_jax_vjp as nn

Read = Callable[[Any], Any]
X = jnp.asarray([1.0, 2.0, 4.0])
CUTS: dict[str, Read] = {
    "item": lambda x: jnp.sum(x).item(),
    "item of a place": lambda x: x.item(1),
    "int": lambda x: int(jnp.sum(x)),
    "float": lambda x: float(jnp.sum(x)),
    "complex": lambda x: complex(jnp.sum(x)).real,
    "tolist": lambda x: jnp.asarray(x.tolist(), x.dtype),
    "np.asarray": lambda x: jnp.asarray(np.asarray(x)),
    "a bound": lambda x: jnp.arange(jnp.sum(x), jnp.sum(x) + 2)[0],
    "in a compiled part": lambda x: jax.jit(jnp.sum)(x).item(),
}
FOLLOWED: dict[str, Read] = {
    "a condition": lambda x: jnp.sum(x) if jnp.sum(x) > 0 else -jnp.sum(x),
    "__index__": lambda x: x[operator.index(jnp.argmax(x))],
    "item of an integer": lambda x: x[jnp.argmax(x).item()],
    "device_get": lambda x: jnp.sum(jax.device_get(x)),
    "a mask": lambda x: jnp.sum(x[x > 1.5]),
    "compiled": lambda x: jax.jit(lambda a: jnp.sum(a * a))(x),
    "custom_jvp": lambda x: jnp.sum(jax.nn.relu(x) + jax.nn.silu(x)),
    "scan": lambda x: jax.lax.scan(lambda total, a: (total + a * a, total), 0 * x[0], x)[0],
    "cond": lambda x: jax.lax.cond(x[0] > 0, lambda a: jnp.sum(a) ** 2, jnp.sum, x),
    "vmap": lambda x: jnp.sum(jax.vmap(lambda a: a * a)(x)),
    "grad": lambda x: jnp.sum(jax.grad(lambda a: jnp.sum(a**3))(x)),
    "a Function": lambda x: Cube.apply(nn.from_array(x)).data,
}


class Cube(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return jnp.sum(x**3)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad * 3 * x**2


def reading(read: Read, place: str, compiled: bool) -> Any:
    """Return a Function whose backward is ``grad x read(x)``."""

    class Reading(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            ctx.kept = read(x) if place == "forward" else None
            return jnp.sum(x * x)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * x * (ctx.kept if place == "forward" else read(x))

    Reading.compiled = compiled
    return Reading


def by_jax(function: Any, x: Any) -> Any:
    """Return a second derivative by JAX's transformations alone."""
    slope = jax.grad(lambda x: function.apply(nn.from_array(x)).data)
    return jax.grad(lambda x: jnp.sum(slope(x)))(x)


def by_the_tape(function: Any, x: Any) -> Any:
    slope = nn.grad(function.apply, create_graph=True)
    return nn.grad(lambda x: slope(x).sum())(nn.from_array(x)).data


def mixed(function: Any, x: Any) -> Any:
    """Return one whose inner derivative is the tape's, in a trace of JAX's."""
    slope = nn.grad(function.apply, create_graph=True)
    return jax.grad(lambda x: slope(nn.from_array(x)).sum().data)(x)


WAYS = [by_jax, by_the_tape, mixed]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_value_that_is_read_is_no_constant(cut: str, place: str, way: Any) -> None:
    function = reading(CUTS[cut], place, compiled=False)
    agree(function.apply(nn.from_array(X)).data, jnp.sum(X * X), "gradient")
    with pytest.raises(RuntimeError, match=r"Reading.*ctx\.xp.*composite.*once_differentiable"):
        way(function, X)


@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("cut", CUTS)
def test_nor_is_it_where_the_function_is_compiled(cut: str, place: str) -> None:
    function = reading(CUTS[cut], place, compiled=True)
    for way in WAYS:
        with pytest.raises((RuntimeError, jax.errors.JAXTypeError)):
            way(function, X)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("name", FOLLOWED)
def test_what_is_not_read_is_followed(name: str, place: str, way: Any) -> None:
    read = FOLLOWED[name]
    want = jax.grad(lambda x: jnp.sum(x * read(x)))(X)
    agree(way(reading(read, place, compiled=False), X), want, "gradient")


def test_a_third_derivative_follows_too() -> None:
    def slope(fn: Any) -> Any:
        return lambda x: jnp.sum(jax.grad(fn)(x))

    function = reading(FOLLOWED["a Function"], "backward", compiled=False)
    got = jax.grad(slope(slope(lambda x: function.apply(nn.from_array(x)).data)))(X)
    want = jax.grad(slope(lambda x: jnp.sum(x * jnp.sum(x**3))))(X)
    agree(got, want, "rnn")
    with pytest.raises(RuntimeError, match="Reading"):
        jax.grad(slope(slope(lambda x: reading(CUTS["item"], "backward", False).apply(x).data)))(X)
