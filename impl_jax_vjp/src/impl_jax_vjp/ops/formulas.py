"""Functions of arrays that jax.numpy does not have, or not with the gradient that is asked for.

JAX's own differentiation of them gives the gradient of the specification, at kinks and ties too;
the tape and JAX's transformations share this one definition. Static arguments come first, arrays
after them. At the end stand the answers to what backward keeps: from the mask of differentiated
inputs to the mask of inputs whose values it needs.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..dtypes import bool_, is_floating, is_inexact
from .lookups import counter

Array = Any
Axes = tuple[int, ...] | None


def cast(x: Array, dtype: Any) -> Array:
    """Return x in another dtype; of a complex one booleans say what is not 0."""
    return x != 0 if dtype == bool_ and x.dtype.kind == "c" else x.astype(dtype)


def _runs(axes: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the axes longer than 1 in groups of neighbours, the last group first."""
    runs: list[list[int]] = []
    beside = False
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if axis in axes:
            if beside:
                runs[-1].append(axis)
            else:
                runs.append([axis])
        beside = axis in axes
    return [tuple(run) for run in reversed(runs)]


def total(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Return the sum over axes; their sizes become 1 or are dropped."""
    # ops-25. XLA adds up pairwise, but not over axes that another one parts, and it makes one sum
    # of two in a row where no barrier stands between them.
    axes = tuple(range(x.ndim)) if axis is None else axis
    runs = _runs(axes, x.shape)
    if len(runs) > 1 and is_inexact(x.dtype):
        for run in runs[:-1]:
            x = lax.optimization_barrier(jnp.sum(x, axis=run, keepdims=True))
    if x.dtype == bool_:
        return jnp.any(x, axis=axis, keepdims=keepdims)
    return jnp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def mean(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Return the mean over axes; their sizes become 1 or are dropped."""
    out = total(x, axis, keepdims)
    return out / (x.size / out.size) if out.size else out


def stretch(x: Array, shape: tuple[int, ...]) -> Array:
    """Return x, whose axes may be of length 1 or missing, in a shape."""
    # Its gradient is a sum over the axes that are stretched: what `total` says goes for it.
    if x.shape == shape:
        return x
    x = jnp.reshape(x, (1,) * (len(shape) - x.ndim) + x.shape)
    stretched = tuple([a for a, size in enumerate(shape) if x.shape[a] != size])
    runs = _runs(stretched, shape)
    if len(runs) > 1 and is_inexact(x.dtype):
        for run in runs[:-1]:
            sizes = [shape[a] if a in run else size for a, size in enumerate(x.shape)]
            x = lax.optimization_barrier(jnp.broadcast_to(x, sizes))
    return jnp.broadcast_to(x, shape)


def stretched(*arrays: Array) -> list[Array]:
    """Return arrays in their common shape."""
    shape = np.broadcast_shapes(*[array.shape for array in arrays])
    return [stretch(array, shape) for array in arrays]


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
    x, y = stretched(x, y)
    return _pow(x, y) if is_floating(x.dtype) else jnp.power(x, y)


def integer_power(exponent: int, x: Array) -> Array:
    """Return x, any shape, to a power that is known before anything is compiled."""
    return lax.integer_pow(x, exponent)


def where(dtype: Any, condition: Array, x: Array, y: Array) -> Array:
    """Return x where `condition`, else y; the three shapes broadcast."""
    condition, x, y = stretched(condition, x, y)
    return jnp.where(condition, x.astype(dtype), y.astype(dtype))


def clip(dtype: Any, has_min: bool, has_max: bool, x: Array, *bounds: Array) -> Array:
    """Return x within its bounds, the lower one first; shapes broadcast."""
    # ops-08. Selection, not minimum and maximum: the gradient passes whole where x is at a bound.
    # A bound that is NaN is chosen. # ops-27
    x, *rest = [array.astype(dtype) for array in stretched(x, *bounds)]
    if has_min:
        low = rest.pop(0)
        x = jnp.where((x < low) | (low != low), low, x)
    if has_max:
        high = rest.pop(0)
        x = jnp.where((x > high) | (high != high), high, x)
    return x


@jax.custom_jvp
def absolute(x: Array) -> Array:
    """Return the absolute value of x, any shape, with gradient 0 at 0."""
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # JAX's own rule has slope 1 at 0; ops-07 wants 0, and ops-26 whatever it is multiplied by.
    (x,), (dx,) = primals, tangents
    return absolute(x), jnp.where(x == 0, 0, jnp.sign(x) * dx)


def maximum(x: Array, y: Array) -> Array:
    """Return the larger; shapes broadcast, and a tie gives half the gradient to each."""
    x, y = stretched(x, y)
    return _larger(x, y) if is_floating(x.dtype) else jnp.maximum(x, y)


def minimum(x: Array, y: Array) -> Array:
    """Return the smaller; shapes broadcast, and a tie gives half the gradient to each."""
    x, y = stretched(x, y)
    return _smaller(x, y) if is_floating(x.dtype) else jnp.minimum(x, y)


@jax.custom_jvp
def _larger(x: Array, y: Array) -> Array:
    return jnp.maximum(x, y)


@jax.custom_jvp
def _smaller(x: Array, y: Array) -> Array:
    return jnp.minimum(x, y)


@_larger.defjvp
def _larger_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    x, y = primals
    return _larger(x, y), _chosen(x > y, y > x, x, y, tangents)


@_smaller.defjvp
def _smaller_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    x, y = primals
    return _smaller(x, y), _chosen(x < y, y < x, x, y, tangents)


def _chosen(first: Array, second: Array, x: Array, y: Array, tangents: Any) -> Array:
    """Return the tangent of what was chosen, half of both at a tie; a NaN wins over a number."""
    # JAX's own rules multiply by a mask, and 0 times infinity is NaN. # ops-26
    dx, dy = tangents
    x_nan, y_nan = x != x, y != y
    first, second = first | (x_nan & ~y_nan), second | (y_nan & ~x_nan)
    return jnp.where(first, dx, jnp.where(second, dy, dx / 2 + dy / 2))


def largest(x: Array, axis: Axes, keepdims: bool) -> Array:
    """Return the largest over axes; those that attain it, or are NaN, share the gradient."""
    floating = is_floating(x.dtype)
    return _largest(axis, keepdims, x) if floating else jnp.max(x, axis=axis, keepdims=keepdims)


def smallest(x: Array, axis: Axes, keepdims: bool) -> Array:
    """Return the smallest over axes; those that attain it, or are NaN, share the gradient."""
    return (
        -largest(-x, axis, keepdims) if is_floating(x.dtype) else jnp.min(x, axis, None, keepdims)
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _largest(axis: Axes, keepdims: bool, x: Array) -> Array:
    return jnp.max(x, axis=axis, keepdims=keepdims)


@_largest.defjvp
def _largest_jvp(axis: Axes, keepdims: bool, primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    out = _largest(axis, True, x)
    chosen = (x == out) | (x != x)  # tensor-26, ops-27
    count = jnp.sum(chosen, axis=axis, keepdims=True, dtype=x.dtype)
    tangent = total(jnp.where(chosen, dx / count, 0), axis, keepdims)
    return (out if keepdims else jnp.squeeze(out, axis)), tangent


@jax.custom_jvp
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), any shape, whose gradient keeps its digits at both ends."""
    return jax.nn.sigmoid(x)


@sigmoid.defjvp
def _sigmoid_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    value, rest = sigmoid_and_rest(primals[0])
    return sigmoid(primals[0]), value * rest * tangents[0]


@jax.custom_jvp
def sigmoid_and_rest(x: Array) -> tuple[Array, Array]:
    """Return `sigmoid` and 1 less it, without the difference that would lose its digits."""
    raised = jnp.exp(-jnp.abs(x))
    smaller = raised / (1 + raised)
    return jnp.where(x < 0, smaller, 1 - smaller), jnp.where(x < 0, 1 - smaller, smaller)


@sigmoid_and_rest.defjvp
def _sigmoid_and_rest_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    value, rest = sigmoid_and_rest(primals[0])
    slope = value * rest * tangents[0]
    return (value, rest), (slope, -slope)


def relu(x: Array) -> Array:
    """Return max(x, 0), any shape, with gradient 0 at 0; a NaN stays."""
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


def cumulative_prod(axis: int, include_initial: bool, x: Array) -> Array:
    """Return the products of the elements up to each along `axis`, after a 1 if it is asked for."""
    return _products_from_one(axis, x) if include_initial else _products(axis, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _products(axis: int, x: Array) -> Array:
    return jnp.cumprod(x, axis=axis, dtype=x.dtype)


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
    flat, at = (jnp.reshape(x, (-1,)), 0) if axis is None else (x, axis)
    if flat.dtype.itemsize > 4:
        # Searched as booleans: code that a user compiles without x64 has no wider argmax.
        flat = (flat == jnp.max(flat, axis=at, keepdims=True)) | (flat != flat)
    place = lax.argmax(flat, at, counter(flat.shape[at])).astype(jnp.int64)
    if not keepdims:
        return place
    return jnp.reshape(place, (1,) * x.ndim) if axis is None else jnp.expand_dims(place, axis)


def softmax(axis: int, x: Array) -> Array:
    """Return exp(x) / sum(exp(x)) along `axis`, the shape of x."""
    return _softmax((axis,), x) if x.size else x


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _softmax(axes: Axes, x: Array) -> Array:
    # Where the largest is infinite or NaN, so are all of them. # ops-27
    raised = jnp.exp(x - jnp.max(x, axis=axes, keepdims=True))
    return raised / total(raised, axes, True)


@_softmax.defjvp
def _softmax_jvp(axes: Axes, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    y = _softmax(axes, x)
    return y, y * (dx - total(y * dx, axes, True))


def log_softmax(axis: int, x: Array) -> Array:
    """Return the logarithm of `softmax` along `axis`, the shape of x."""
    if x.size == 0:
        return x
    shifted = x - lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    return shifted - jnp.log(total(jnp.exp(shifted), (axis,), True))


def logsumexp(axes: Axes, keepdims: bool, x: Array) -> Array:
    """Return log(sum(exp(x))) over `axes`; their sizes become 1 or are dropped."""
    if x.size == 0:
        return jnp.log(total(jnp.exp(x), axes, keepdims))
    return _logsumexp(axes, keepdims, x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _logsumexp(axes: Axes, keepdims: bool, x: Array) -> Array:
    shift = jnp.max(x, axis=axes, keepdims=True)
    shift = jnp.where(jnp.isfinite(shift), shift, 0)
    out = jnp.log(total(jnp.exp(x - shift), axes, True)) + shift
    return out if keepdims else jnp.squeeze(out, axis=axes)


@_logsumexp.defjvp
def _logsumexp_jvp(
    axes: Axes, keepdims: bool, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    # The softmax itself, which is NaN along the axes where the sum is infinite or 0. # ops-27
    (x,), (dx,) = primals, tangents
    slope = total(_softmax(axes, x) * dx, axes, keepdims)
    return _logsumexp(axes, keepdims, x), slope


def matmul(dtype: Any, x: Array, y: Array) -> Array:
    """Return the product (..., M, N) of x (..., M, K) and y (..., K, N), or of vectors."""
    return product(x.astype(dtype), y.astype(dtype))


# Where few elements result XLA may add a long inner sum one term after the other. It is cut into
# blocks then, in a product or in its gradients. # ops-25
_LONG = 1 << 13
_BLOCK = 1 << 11
_FEW = 64


def product(x: Array, y: Array) -> Array:
    """Return the product of two arrays of one dtype; see `matmul`."""
    if y.ndim > 2 and x.ndim > 1 and is_inexact(x.dtype):
        lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        short, middle, long = sorted((*x.shape[-2:], y.shape[-1]))
        if long > _LONG and 0 < math.prod(lead) * short * middle <= _FEW:
            lefts, rights = (jnp.broadcast_to(a, lead + a.shape[-2:]) for a in (x, y))
            places = np.ndindex(*lead)
            made = jnp.stack([_blocked(lefts[place], rights[place]) for place in places])
            return made.reshape(*lead, *made.shape[1:])
    if max(x.size, y.size) <= _LONG or y.ndim > 2 or not is_inexact(x.dtype):
        # Without "highest" an accelerator would round the factors to fewer bits.
        return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
    if y.ndim == 1:
        return product(x, y[:, None])[..., 0]
    rows = x.reshape(-1, x.shape[-1])
    made = _blocked(rows, y)
    return made.reshape(*x.shape[:-1], y.shape[1])


def _blocked(x: Array, y: Array) -> Array:
    (m, k), n = x.shape, y.shape[1]
    multiply = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    if k > _LONG and m * n <= _FEW:
        whole = k - k % _BLOCK
        left = x[:, :whole].reshape(m, -1, _BLOCK).swapaxes(0, 1)
        right = y[:whole].reshape(-1, _BLOCK, n)
        # XLA would make one product of a stack that is added up.
        parts = lax.optimization_barrier(multiply(left, right))
        return total(parts, (0,)) + multiply(x[:, whole:], y[whole:])
    if m > _LONG and k * n <= _FEW:
        # The gradient of y is a long inner sum: one factor for each block.
        whole = m - m % _BLOCK
        head = x[:whole].reshape(-1, _BLOCK, k)
        factors = lax.optimization_barrier(jnp.broadcast_to(y, (len(head), k, n)))
        made = multiply(head, factors).reshape(whole, n)
        return jnp.concatenate([made, multiply(x[whole:], y)])
    if n > _LONG and m * k <= _FEW:
        return _blocked(y.T, x.T).T
    return multiply(x, y)


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


def window_into(
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    backwards: tuple[int, ...],
    _: tuple[int, ...],
    array: Array,
    starts: Array,
    grad: Array,
) -> Array:
    """Return an array with the gradient of a `window` of it added in its place."""
    steps = tuple([slice(None, None, stride) for stride in strides])
    places = [starts[axis] for axis in range(array.ndim)]
    box = lax.dynamic_slice(array, places, sizes)
    part = jnp.reshape(grad, box[steps].shape)
    box = box.at[steps].add(lax.rev(part, backwards) if backwards else part)
    return lax.dynamic_update_slice(array, box, places)


def window_put(
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    backwards: tuple[int, ...],
    shape: tuple[int, ...],
    x: Array,
    values: Array,
    starts: Array,
) -> Array:
    """Return x with values, which are stretched to `shape`, in place of a `window` of it."""
    places = [starts[axis] for axis in range(x.ndim)]
    counts = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    part = jnp.reshape(stretch(values.astype(x.dtype), shape), counts)
    part = lax.rev(part, backwards) if backwards else part
    if any([stride > 1 for stride in strides]) and part.size:
        gaps = [
            (0, (size - 1) % stride, stride - 1)
            for size, stride in zip(sizes, strides, strict=True)
        ]
        chosen = lax.pad(jnp.ones(counts, bool), np.False_, gaps)
        spread = lax.pad(part, np.zeros((), x.dtype), gaps)
        part = jnp.where(chosen, spread, lax.dynamic_slice(x, places, sizes))
    return lax.dynamic_update_slice(x, part, places)


def nothing(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the values of no input: the operation is linear."""
    return (False,) * len(mask)


def others(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the factor beside a differentiated one, and nothing that is added."""
    return mask[1], mask[0], *[False] * (len(mask) - 2)


def divisor(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the divisor, and the dividend for the divisor's own gradient."""
    return mask[1], True


def all_but_first(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the indices, not the array that they select from."""
    return (False,) + (True,) * (len(mask) - 1)


def all_but_two(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the indices, not the array and the values that meet there."""
    return (False, False) + (True,) * (len(mask) - 2)


def first_only(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    """Say that backward needs the condition alone."""
    return (True,) + (False,) * (len(mask) - 1)
