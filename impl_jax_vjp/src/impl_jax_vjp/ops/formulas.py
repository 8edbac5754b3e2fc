"""Functions of arrays that jax.numpy does not have, or not with the gradient that is asked for.

JAX's own differentiation of them gives the gradient of the specification, at kinks and ties too;
the tape and JAX's transformations share this one definition. Static arguments come first, arrays
after them. At the end stand the answers to what backward keeps: from the mask of differentiated
inputs to the mask of inputs whose values it needs.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..dtypes import is_floating

Array = Any
Axes = tuple[int, ...] | None


@jax.custom_jvp
def _pow(x: Array, y: Array) -> Array:
    return jnp.power(x, y)


@_pow.defjvp
def _pow_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # ops-09. Plain rules give 0 * inf = NaN at x = 0; there the derivative by y is 0 for y >= 0.
    # Elsewhere y stays a factor of the slope at y = 0 too, or the slope's own derivative by y would
    # be lost.
    x, y = primals
    dx, dy = tangents
    out = _pow(x, y)
    corner = (y == 0) & ~jnp.isfinite(1 / x)
    slope = y * _pow(jnp.where(corner, 0, x), jnp.where(corner, 1, y - 1))
    level = (x == 0) & (y >= 0)
    growth = jnp.where(level, 0, out * jnp.log(jnp.where(level, 1, x)))
    return out, slope * dx + growth * dy


def power(x: Array, y: Array) -> Array:
    """Return x to the power y; shapes broadcast, and y = 0 gives 1 with gradient 0."""
    x, y = jnp.broadcast_arrays(x, y)
    return _pow(x, y) if is_floating(x.dtype) else jnp.power(x, y)


def integer_power(exponent: int, x: Array) -> Array:
    """Return x, any shape, to a power that is known before anything is compiled."""
    return lax.integer_pow(x, exponent)


def where(dtype: Any, condition: Array, x: Array, y: Array) -> Array:
    """Return x where `condition`, else y; the three shapes broadcast."""
    return jnp.where(condition, x.astype(dtype), y.astype(dtype))


def clip(dtype: Any, has_min: bool, has_max: bool, x: Array, *bounds: Array) -> Array:
    """Return x within its bounds, the lower one first; shapes broadcast."""
    # ops-08. Selection, not minimum and maximum: the gradient passes whole where x is at a bound.
    x = x.astype(dtype)
    rest = [bound.astype(dtype) for bound in bounds]
    if has_min:
        low = rest.pop(0)
        x = jnp.where(x < low, low, x)
    if has_max:
        high = rest.pop(0)
        x = jnp.where(x > high, high, x)
    return x


@jax.custom_jvp
def absolute(x: Array) -> Array:
    """Return the absolute value of x, any shape, with gradient 0 at 0."""
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # JAX's own rule has slope 1 at 0; ops-07 wants 0.
    return absolute(primals[0]), jnp.sign(primals[0]) * tangents[0]


def relu(x: Array) -> Array:
    """Return max(x, 0), any shape, with gradient 0 at 0; a NaN stays."""
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


def cumulative_prod(axis: int, include_initial: bool, x: Array) -> Array:
    """Return the products of the elements up to each along `axis`, after a 1 if it is asked for."""
    return _products_from_one(axis, x) if include_initial else _products(axis, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _products(axis: int, x: Array) -> Array:
    return jnp.cumprod(x, axis=axis)


def _products_forward(axis: int, x: Array) -> tuple[Array, Array]:
    return _products(axis, x), x


def _products_backward(axis: int, x: Array, grad: Array) -> tuple[Array]:
    # ops-22: dL/dx_i = (product before i) * s_i with s_i = g_i + x_{i+1} s_{i+1}, no division. One
    # associative scan from the end composes the maps s -> g + x s.
    later = jnp.moveaxis(x, axis, 0)
    g = jnp.flip(jnp.moveaxis(grad, axis, 0), 0)
    factors = jnp.flip(jnp.concatenate([later[1:], jnp.zeros_like(later[:1])]), 0)

    def compose(first: Any, second: Any) -> Any:
        return first[0] * second[0], second[1] + second[0] * first[1]

    _, sums = lax.associative_scan(compose, (factors, g))
    before = _products(0, jnp.concatenate([jnp.ones_like(later[:1]), later[:-1]]))
    return (jnp.moveaxis(before * jnp.flip(sums, 0), 0, axis),)


_products.defvjp(_products_forward, _products_backward)


def _products_from_one(axis: int, x: Array) -> Array:
    first = jnp.ones((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
    return jnp.concatenate([first, _products(axis, x)], axis=axis)


def argmax(axis: int | None, keepdims: bool, x: Array) -> Array:
    """Return the int64 place of the first largest along `axis`, in C order for None."""
    return jnp.argmax(x, axis=axis, keepdims=keepdims).astype(jnp.int64)


def _shift(x: Array, axes: Axes) -> Array:
    largest = jnp.max(x, axis=axes, keepdims=True)
    return lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))


def softmax(axis: int, x: Array) -> Array:
    """Return exp(x) / sum(exp(x)) along `axis`, the shape of x."""
    if x.size == 0:
        return x
    raised = jnp.exp(x - _shift(x, (axis,)))
    return raised / jnp.sum(raised, axis=axis, keepdims=True)


def log_softmax(axis: int, x: Array) -> Array:
    """Return the logarithm of `softmax` along `axis`, the shape of x."""
    if x.size == 0:
        return x
    shifted = x - _shift(x, (axis,))
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))


def logsumexp(axes: Axes, keepdims: bool, x: Array) -> Array:
    """Return log(sum(exp(x))) over `axes`; their sizes become 1 or are dropped."""
    if x.size == 0:
        return jnp.log(jnp.sum(jnp.exp(x), axis=axes, keepdims=keepdims))
    shift = _shift(x, axes)
    total = jnp.log(jnp.sum(jnp.exp(x - shift), axis=axes, keepdims=True)) + shift
    return total if keepdims else jnp.squeeze(total, axis=axes)


def matmul(dtype: Any, x: Array, y: Array) -> Array:
    """Return the product (..., M, N) of x (..., M, K) and y (..., K, N), or of vectors."""
    # Without "highest" an accelerator would round the factors to fewer bits.
    return jnp.matmul(x.astype(dtype), y.astype(dtype), precision=lax.Precision.HIGHEST)


def take(axis: int, x: Array, indices: Array) -> Array:
    """Return the elements of x at `indices`, whose shape takes the place of `axis`."""
    # Indices were checked where they are known; a clipped one is never met there.
    wrapped = jnp.where(indices < 0, indices + x.shape[axis], indices)
    return jnp.take(x, wrapped, axis=axis, mode="clip")


def window(
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    backwards: tuple[int, ...],
    shape: tuple[int, ...],
    x: Array,
    starts: Array,
) -> Array:
    """Select a box that starts where `starts` says: basic indexing, compiled once per box size."""
    x = lax.dynamic_slice(x, [starts[axis] for axis in range(x.ndim)], sizes)
    x = lax.slice(x, (0,) * x.ndim, sizes, strides)
    return jnp.reshape(lax.rev(x, backwards) if backwards else x, shape)


def gather(template: tuple[Any, ...], x: Array, *indices: Array) -> Array:
    """Select by integer arrays; `template` says what each key is, and an array's place."""
    key: list[Any] = []
    for word, value in template:
        key.append(
            indices[value] if word == "array" else slice(*value) if word == "slice" else None
        )
    return x[tuple(key)]


def nothing(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the values of no input: the operation is linear."""
    return (False,) * len(mask)


def others(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the factor beside a differentiated one."""
    return mask[1], mask[0]


def divisor(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the divisor, and the dividend for the divisor's own gradient."""
    return mask[1], True


def all_but_first(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the indices, not the array that they select from."""
    return (False,) + (True,) * (len(mask) - 1)


def first_only(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the condition alone."""
    return (True,) + (False,) * (len(mask) - 1)
