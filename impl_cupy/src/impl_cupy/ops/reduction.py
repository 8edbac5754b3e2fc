"""Reductions over axes, with their gradients."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.ops.families import reduce, scan
from impl_cupy.tensor import Tensor


def _mean(node: Any, grad: Any) -> Any:
    shape, _, axes = node.config
    count = math.prod(shape[place] for place in axes)
    return grad / count if count else grad  # ops-24


def _share(node: Any, grad: Any) -> Any:
    """Share the gradient equally among the elements that tie (tensor-26)."""
    _, kept, axes = node.config
    xp = node.xp
    chosen = xp.astype(node.x == xp.reshape(node.output, kept), grad.dtype)
    count = xp.sum(chosen, axis=axes, keepdims=True) if axes else chosen
    return chosen * (grad / count)


sum = reduce("sum", cp.sum, lambda _, grad: grad, "Add up over `axis`.", adds=True)
mean = reduce("mean", cp.mean, _mean, "Average over `axis`.", real=True)
max = reduce(
    "max",
    cp.max,
    _share,
    "Return the largest over `axis`; elements that tie share the gradient equally.",
    uses="x output",
    chooses=True,
)
min = reduce(
    "min",
    cp.min,
    _share,
    "Return the smallest over `axis`; elements that tie share the gradient equally.",
    uses="x output",
    chooses=True,
)


def _running_product(raw: Any, axis: int, include_initial: bool) -> Any:
    products = cp.cumprod(raw, axis=axis)
    if not include_initial:
        return products
    one = cp.ones((*raw.shape[:axis], 1, *raw.shape[axis + 1 :]), dtype=raw.dtype)
    return cp.concatenate([one, products], axis=axis)


def _running_slope(node: Any, grad: Any) -> Any:
    """Return ``(x_0 ... x_{i-1}) s_i`` with ``s_i = g_i + x_{i+1} s_{i+1}``: no division (ops-22).

    The recurrence is solved in log2(n) rounds: each lets every s_i reach twice as far ahead.
    """
    axis, include_initial = node.config
    x, concat = node.x, node.xp.concat
    length = x.shape[axis]

    def cut(array: Any, start: int, stop: int | None = None) -> Any:
        return array[(slice(None),) * axis + (slice(start, stop),)]

    def ahead(array: Any, count: int) -> Any:
        nothing = node.xp.zeros_like(cut(array, 0, count))
        return concat([cut(array, count), nothing], axis=axis)

    if isinstance(x, Tensor):
        before = cumulative_prod(x, axis=axis, include_initial=True)
    else:
        before = _running_product(x, axis, True)
    total, factor, reach = cut(grad, 1) if include_initial else grad, ahead(x, 1), 1
    while reach < length:
        total = total + factor * ahead(total, reach)
        factor = factor * ahead(factor, reach)
        reach *= 2
    return cut(before, 0, length) * total


cumulative_prod = scan(
    "cumulative_prod", _running_product, _running_slope, "Return the running product along `axis`."
)
