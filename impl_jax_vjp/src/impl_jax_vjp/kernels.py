"""Pure functions of arrays behind every operation.

Each is written in jax.numpy so that JAX's own differentiation gives the gradient the specification
asks for, at kinks and ties too; the tape and JAX's transformations share this one definition.
Static arguments come first, arrays after them. `dtype` is that in which the operation is computed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = Any
Axes = tuple[int, ...] | None


def identity(x: Array) -> Array:
    """Return x, any shape, as it is."""
    return x


def astype(dtype: Any, x: Array) -> Array:
    """Return x, any shape, in another dtype."""
    return x.astype(dtype)


def add(dtype: Any, x: Array, y: Array) -> Array:
    """Return x + y; shapes broadcast."""
    return x.astype(dtype) + y.astype(dtype)


def subtract(dtype: Any, x: Array, y: Array) -> Array:
    """Return x - y; shapes broadcast."""
    return x.astype(dtype) - y.astype(dtype)


def multiply(dtype: Any, x: Array, y: Array) -> Array:
    """Return x * y; shapes broadcast."""
    return x.astype(dtype) * y.astype(dtype)


def divide(dtype: Any, x: Array, y: Array) -> Array:
    """Return x / y; shapes broadcast."""
    return x.astype(dtype) / y.astype(dtype)


@jax.custom_jvp
def _pow(x: Array, y: Array) -> Array:
    return jnp.power(x, y)


@_pow.defjvp
def _pow_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # Plain rules give 0 * inf = NaN at x = 0; there the derivative by y is 0 for y >= 0. Elsewhere
    # y stays a factor of the slope at y = 0 too, or the slope's own derivative by y would be lost.
    x, y = primals
    dx, dy = tangents
    out = _pow(x, y)
    corner = (y == 0) & ~jnp.isfinite(1 / x)
    slope = y * _pow(jnp.where(corner, 0, x), jnp.where(corner, 1, y - 1))
    level = (x == 0) & (y >= 0)
    growth = jnp.where(level, 0, out * jnp.log(jnp.where(level, 1, x)))
    return out, slope * dx + growth * dy


def power(dtype: Any, x: Array, y: Array) -> Array:
    """Return x to the power y; shapes broadcast, and y = 0 gives 1 with gradient 0."""
    x, y = jnp.broadcast_arrays(x.astype(dtype), y.astype(dtype))
    return _pow(x, y) if jnp.issubdtype(dtype, jnp.floating) else jnp.power(x, y)


def integer_power(exponent: int, x: Array) -> Array:
    """Return x, any shape, to a power that is known before anything is compiled."""
    return lax.integer_pow(x, exponent)


def maximum(dtype: Any, x: Array, y: Array) -> Array:
    """Return the larger of x and y; shapes broadcast."""
    return jnp.maximum(x.astype(dtype), y.astype(dtype))


def minimum(dtype: Any, x: Array, y: Array) -> Array:
    """Return the smaller of x and y; shapes broadcast."""
    return jnp.minimum(x.astype(dtype), y.astype(dtype))


def compare(relation: str, dtype: Any, x: Array, y: Array) -> Array:
    """Return, as booleans, what the function of jax.numpy named `relation` says of x and y."""
    return getattr(jnp, relation)(x.astype(dtype), y.astype(dtype))


def where(dtype: Any, condition: Array, x: Array, y: Array) -> Array:
    """Return x where `condition`, else y; the three shapes broadcast."""
    return jnp.where(condition, x.astype(dtype), y.astype(dtype))


def clip(dtype: Any, has_min: bool, has_max: bool, x: Array, *bounds: Array) -> Array:
    """Return x within its bounds, the lower one first; shapes broadcast."""
    # Selection, not minimum and maximum, so that the gradient passes whole where x is at a bound.
    x = x.astype(dtype)
    rest = [bound.astype(dtype) for bound in bounds]
    if has_min:
        low = rest.pop(0)
        x = jnp.where(x < low, low, x)
    if has_max:
        high = rest.pop(0)
        x = jnp.where(x > high, high, x)
    return x


def negative(x: Array) -> Array:
    """Return -x, any shape."""
    return -x


@jax.custom_jvp
def absolute(x: Array) -> Array:
    """Return the absolute value of x, any shape, with gradient 0 at 0."""
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # JAX's own rule has slope 1 at 0.
    return absolute(primals[0]), jnp.sign(primals[0]) * tangents[0]


def elementwise(name: str, dtype: Any, x: Array) -> Array:
    """Return what the function of jax.numpy called `name` makes of x, any shape."""
    return getattr(jnp, name)(x.astype(dtype))


def relu(x: Array) -> Array:
    """Return max(x, 0), any shape, with gradient 0 at 0; a NaN stays."""
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


def sigmoid(dtype: Any, x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), any shape."""
    return jax.nn.sigmoid(x.astype(dtype))


def sum_(axes: Axes, keepdims: bool, dtype: Any, x: Array) -> Array:
    """Return the sum over `axes`, None for all; their sizes become 1 or are dropped."""
    return jnp.sum(x.astype(dtype), axis=axes, keepdims=keepdims)


def mean(axes: Axes, keepdims: bool, dtype: Any, x: Array) -> Array:
    """Return the mean over `axes`, None for all; their sizes become 1 or are dropped."""
    return jnp.mean(x.astype(dtype), axis=axes, keepdims=keepdims)


def max_(axes: Axes, keepdims: bool, x: Array) -> Array:
    """Return the largest over `axes`; equal ones share the gradient."""
    return jnp.max(x, axis=axes, keepdims=keepdims)


def min_(axes: Axes, keepdims: bool, x: Array) -> Array:
    """Return the smallest over `axes`; equal ones share the gradient."""
    return jnp.min(x, axis=axes, keepdims=keepdims)


def argmax(axis: int | None, keepdims: bool, x: Array) -> Array:
    """Return the int64 place of the first largest along `axis`, in C order for None."""
    return jnp.argmax(x, axis=axis, keepdims=keepdims).astype(jnp.int64)


def _shift(x: Array, axes: Axes) -> Array:
    largest = jnp.max(x, axis=axes, keepdims=True)
    return lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))


def softmax(axis: int, dtype: Any, x: Array) -> Array:
    """Return exp(x) / sum(exp(x)) along `axis`, the shape of x."""
    x = x.astype(dtype)
    if x.size == 0:
        return x
    raised = jnp.exp(x - _shift(x, (axis,)))
    return raised / jnp.sum(raised, axis=axis, keepdims=True)


def log_softmax(axis: int, dtype: Any, x: Array) -> Array:
    """Return the logarithm of `softmax` along `axis`, the shape of x."""
    x = x.astype(dtype)
    if x.size == 0:
        return x
    shifted = x - _shift(x, (axis,))
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))


def logsumexp(axes: Axes, keepdims: bool, dtype: Any, x: Array) -> Array:
    """Return log(sum(exp(x))) over `axes`; their sizes become 1 or are dropped."""
    x = x.astype(dtype)
    if x.size == 0:
        return jnp.log(jnp.sum(jnp.exp(x), axis=axes, keepdims=keepdims))
    shift = _shift(x, axes)
    total = jnp.log(jnp.sum(jnp.exp(x - shift), axis=axes, keepdims=True)) + shift
    return total if keepdims else jnp.squeeze(total, axis=axes)


def matmul(dtype: Any, x: Array, y: Array) -> Array:
    """Return the product (..., M, N) of x (..., M, K) and y (..., K, N), or of vectors."""
    # Without "highest" an accelerator would round the factors to fewer bits.
    return jnp.matmul(x.astype(dtype), y.astype(dtype), precision=lax.Precision.HIGHEST)


def matrix_transpose(x: Array) -> Array:
    """Return x, (..., M, N), as (..., N, M)."""
    return jnp.swapaxes(x, -1, -2)


def reshape(shape: tuple[int, ...], x: Array) -> Array:
    """Return the elements of x in C order in another shape."""
    return jnp.reshape(x, shape)


def permute_dims(axes: tuple[int, ...], x: Array) -> Array:
    """Return x with its axes in the order `axes`."""
    return jnp.transpose(x, axes)


def broadcast_to(shape: tuple[int, ...], x: Array) -> Array:
    """Return x stretched to `shape`."""
    return jnp.broadcast_to(x, shape)


def concat(axis: int, dtype: Any, *arrays: Array) -> Array:
    """Return the arrays, equal in all sizes but that of `axis`, joined along it."""
    return jnp.concatenate([array.astype(dtype) for array in arrays], axis=axis)


def stack(axis: int, dtype: Any, *arrays: Array) -> Array:
    """Return the arrays, of one shape, along a new axis."""
    return jnp.stack([array.astype(dtype) for array in arrays], axis=axis)


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
    for kind, value in template:
        key.append(
            indices[value] if kind == "array" else slice(*value) if kind == "slice" else None
        )
    return x[tuple(key)]


def linear(x: Array, weight: Array, *bias: Array) -> Array:
    """Return x W^T + b, (..., O), of x (..., I), W (O, I) and b (O,) if there is one."""
    y = jnp.matmul(x, weight.T, precision=lax.Precision.HIGHEST)
    return y + bias[0] if bias else y


def linear_keeps(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs each factor for the other's gradient, and never the bias."""
    return mask[1], mask[0], *[False] * (len(mask) - 2)


def embedding(padding: int | None, weight: Array, indices: Array) -> Array:
    """Return rows (..., D) of `weight` (V, D); the row `padding` gets no gradient."""
    rows = jnp.take(weight, indices, axis=0, mode="clip")
    if padding is None:
        return rows
    return jnp.where((indices == padding)[..., None], lax.stop_gradient(rows), rows)


def dropout(p: float, x: Array, keep: Array) -> Array:
    """Return x / (1 - p) where `keep`, of x's shape, is true, else 0."""
    return jnp.where(keep, x / (1.0 - p), 0) if p < 1 else jnp.zeros_like(x)


def cross_entropy(axis: int, dtype: Any, x: Array, target: Array) -> Array:
    """Return minus the log-probability of each target, the class axis gone."""
    chosen = jnp.expand_dims(target, axis)
    picked = jnp.take_along_axis(log_softmax(axis, dtype, x), chosen, axis=axis, mode="clip")
    return -jnp.squeeze(picked, axis=axis)


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


Keeps = Callable[[tuple[bool, ...]], tuple[bool, ...]]
