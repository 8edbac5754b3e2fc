"""Reductions, and scans along an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy.dtypes import Array, Shape, Value, int64
from impl_numpy.ops.elementwise import masked
from impl_numpy.ops.families import X, reduce, scan
from impl_numpy.recording import OUT, RULES, Grads, Primitive, raw, stretch
from impl_numpy.sums import total
from impl_numpy.tape import Parents


def _sum(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> Any:
    return total(x, axes, keepdims)


def _sum_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    _, _, kept, shape = config
    return (stretch(grad.reshape(kept), shape, grad.dtype),)


def _mean(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> Any:
    return total(x, axes, keepdims) / _terms(axes, shape)


def _mean_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    axes, _, kept, shape = config
    return (stretch((grad / _terms(axes, shape)).reshape(kept), shape, grad.dtype),)


def _terms(axes: Shape, shape: Shape) -> float:
    # The mean of nothing is NaN, and dividing by NaN says so without a warning.
    return math.prod(shape[k] for k in axes) or math.nan


def _extremum_vjp(grad: Value, needs: Parents, x: Value, out: Value, *config: Any) -> Grads:
    axes, _, kept, _ = config
    values, extremum, share = raw(x), raw(out).reshape(kept), grad.reshape(kept)
    chosen = values == extremum
    undefined = np.isnan(extremum)
    if np.count_nonzero(undefined):
        # A NaN is larger, and smaller, than any number (ops-27).
        chosen |= undefined & np.isnan(values)
    if np.count_nonzero(chosen) != extremum.size:
        count = np.add.reduce(chosen, axis=axes, dtype=int64, keepdims=True)
        share = share / count.astype(grad.dtype)
    return (masked(share, chosen),)


def _no_element(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> str | None:
    return None if math.prod(shape[k] for k in axes) else f"wants an element, got shape {shape}"


sum = reduce("sum", _sum, _sum_vjp, (), "Return the sum.", dtypes=True)  # ops-15
mean = reduce("mean", _mean, _mean_vjp, (), "Return the mean.", floats=True)  # ops-14
max = reduce(
    "max",
    lambda x, axes, keepdims, *_: x.max(axes, keepdims=keepdims),
    _extremum_vjp,
    (X, OUT),
    "Return the largest element; elements that tie share its gradient.",
    explain=_no_element,
)  # tensor-26, ops-24
min = reduce(
    "min",
    lambda x, axes, keepdims, *_: x.min(axes, keepdims=keepdims),
    _extremum_vjp,
    (X, OUT),
    "Return the smallest element; elements that tie share its gradient.",
    explain=_no_element,
)  # tensor-26, ops-24


def _recur(b: Array, a: Array, axis: int, backwards: bool) -> Array:
    """Return h_t = b_t + a_t h_{t-1}, or, backwards, h_t = b_t + a_{t+1} h_{t+1}."""
    h = np.array(np.moveaxis(b, axis, 0))
    factors = np.moveaxis(a, axis, 0)
    for t in range(len(h) - 2, -1, -1) if backwards else range(1, len(h)):
        h[t] += factors[t + 1] * h[t + 1] if backwards else factors[t] * h[t - 1]
    return np.moveaxis(h, 0, axis)


def _later(x: Value, axis: int) -> Value:
    """Return the elements before: x_{t-1} at t, and 0 first."""
    ahead = (slice(None),) * axis
    zero = np.zeros_like(raw(x)[(*ahead, slice(0, 1))])
    return _join(zero, x[(*ahead, slice(0, -1))], axis)


def _join(first: Value, second: Value, axis: int) -> Value:
    from_first = first.shape[axis]
    stops = [from_first, from_first + second.shape[axis]]
    return RULES["concat of two"](first, second, axis, stops)


def _recur_vjp(
    grad: Value, needs: Parents, b: None, a: Value, out: Value, axis: int, backwards: bool
) -> Grads:
    db = recurrence(grad, a, axis, not backwards)
    if needs[1] is None:
        return db, None
    return db, _later(db, axis) * out if backwards else db * _later(out, axis)


def _cumulative_prod_vjp(grad: Value, needs: Parents, x: Value, out: Value, axis: int) -> Grads:
    # prod_{k<i} x_k is the result before, so that nothing is divided by what may be 0 (ops-22).
    ahead = (slice(None),) * axis
    one = np.ones_like(raw(out)[(*ahead, slice(0, 1))])
    before = _join(one, out[(*ahead, slice(0, -1))], axis)
    return (before * recurrence(grad, x, axis, True),)


recurrence: Primitive = Primitive("linear_recurrence", _recur, _recur_vjp, ((1,), (1, OUT)))
cumulative_prod = scan(
    "cumulative_prod", np.cumprod, _cumulative_prod_vjp, (X, OUT), 1, "Return running products."
)  # ops-22
