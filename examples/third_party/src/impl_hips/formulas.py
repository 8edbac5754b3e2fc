"""Functions of arrays that HIPS autograd follows, where its own have other edges than ops.md."""

import math

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive


def chosen(value, rule):
    """Return a primitive of one array with value `value(x)` and derivative `rule(ans, x)`.

    What `rule` says is 0 lets nothing through, whatever arrives (ops-26).
    """
    function = primitive(value)

    def pull(ans, x):
        slope = rule(ans, x)
        return lambda g: anp.where(slope == 0, 0 * slope, g * slope)

    defvjp(function, pull)
    return function


def _like(x, value):
    return np.asarray(value, dtype=x.dtype)


def _sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


relu = chosen(lambda x: np.maximum(x, _like(x, 0)), lambda ans, x: _like(x, ~(x <= 0)))
absolute = chosen(np.abs, lambda ans, x: _like(x, np.sign(x)))
sigmoid = chosen(_sigmoid, lambda ans, x: ans * (1 - ans))
tanh = chosen(np.tanh, lambda ans, x: 1 - ans * ans)
exp = chosen(np.exp, lambda ans, x: ans)
expm1 = chosen(np.expm1, lambda ans, x: ans + 1)
sqrt = chosen(np.sqrt, lambda ans, x: 0.5 / ans)
log = chosen(np.log, lambda ans, x: 1 / x)
log1p = chosen(np.log1p, lambda ans, x: 1 / (1 + x))
log2 = chosen(np.log2, lambda ans, x: _like(x, 1 / math.log(2)) / x)
log10 = chosen(np.log10, lambda ans, x: _like(x, 1 / math.log(10)) / x)
reciprocal = chosen(lambda x: 1 / x, lambda ans, x: -ans * ans)
atan = chosen(np.arctan, lambda ans, x: 1 / (1 + x * x))
asinh = chosen(np.arcsinh, lambda ans, x: 1 / np.hypot(_like(x, 1), x))
softplus = chosen(
    lambda x: np.maximum(x, _like(x, 0)) + np.log1p(np.exp(-np.abs(x))), lambda ans, x: _sigmoid(x)
)
silu = chosen(
    lambda x: np.where(np.isneginf(x), _like(x, 0), x * _sigmoid(x)),
    lambda ans, x: np.where(
        np.isinf(x), _like(x, x > 0), _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))
    ),
)


def stepped(value):
    """Return a primitive of one array whose derivative is 0 everywhere (ops-33)."""
    return chosen(value, lambda ans, x: np.zeros_like(x))


def where(condition, x, y):
    """Broadcast first: HIPS's own `where` does not sum gradients back (tensor-18)."""
    shape = np.broadcast_shapes(condition.shape, np.shape(_value(x)), np.shape(_value(y)))
    return anp.where(condition, broadcast(x, shape), broadcast(y, shape))


def broadcast(x, shape):
    """Broadcast by an operation whose gradient HIPS sums back."""
    if np.shape(_value(x)) == shape:
        return x
    # The gradient of HIPS's `broadcast_to` knows no new axes.
    kind = _value(x).dtype
    return x * np.ones(shape, kind) if kind.kind == "f" else np.broadcast_to(_value(x), shape)


def clip(x, low, high):
    """Let gradients pass where low <= x <= high (ops-08)."""
    value = x
    if low is not None:
        value = where(~(_value(x) >= low) & ~np.isnan(_value(x)), low, value)
    if high is not None:
        value = where(~(_value(value) <= high) & ~np.isnan(_value(x)), high, value)
    return value


def larger(x, y):
    """Share the gradient at ties (ops-08)."""
    one, other = _value(x), _value(y)
    if one.dtype.kind != "f":
        return np.maximum(one, other)
    first = (one > other) | np.isnan(one) & ~np.isnan(other)
    tie = (one == other) | np.isnan(one) & np.isnan(other)
    half = where(tie, x, one * 0) / 2 + where(tie, y, other * 0) / 2
    return where(tie, half, where(first, x, y))


def smaller(x, y):
    """Share the gradient at ties (ops-08)."""
    if _value(x).dtype.kind != "f":
        return np.minimum(_value(x), _value(y))
    return -larger(-x, -y)


def top(x, axis):
    """Return the maximum, which needs no gradient, also of nothing."""
    return np.max(_value(x), axis=axis, keepdims=True, initial=-np.inf)


def softmax(x, axis):
    """Shift by the maximum, which needs no gradient."""
    e = anp.exp(x - top(x, axis))
    return e / anp.sum(e, axis=axis, keepdims=True)


def logsumexp(x, axis, keepdims):
    """Shift by the maximum, where that is a number."""
    shift = top(x, axis)
    shift = np.where(np.isfinite(shift), shift, 0).astype(_value(x).dtype)
    found = anp.log(anp.sum(anp.exp(x - shift), axis=axis, keepdims=True)) + shift
    return found if keepdims else anp.reshape(found, np.sum(_value(x), axis=axis).shape)


def variance(x, axis, correction, keepdims):
    """Take the mean first (ops-39)."""
    count = _count(_value(x).shape, axis)
    away = x - anp.mean(x, axis=axis, keepdims=True) if count else x
    return anp.sum(away * away, axis=axis, keepdims=keepdims) / _like(
        _value(x), max(count - correction, 0)
    )


def _count(shape, axis):
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return math.prod(shape[a] for a in axes)


def _value(x):
    return getattr(x, "_value", x)


_erf = np.vectorize(math.erf, otypes=[float])
erf = chosen(
    lambda x: _like(x, _erf(x)), lambda ans, x: _like(x, 2 / math.sqrt(math.pi)) * np.exp(-x * x)
)
