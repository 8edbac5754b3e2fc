"""Reductions over axes, with their gradients."""

from __future__ import annotations

import functools
import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.launch import pointwise
from impl_cupy.ops.families import reduce, scan
from impl_cupy.sums import cut, total


def _mean(node: Any, grad: Any) -> Any:
    shape, _, axes = node.config
    count = math.prod(shape[place] for place in axes)
    return grad / count if count else grad  # ops-24


def _share(node: Any, grad: Any) -> Any:
    """Share the gradient equally among the elements that tie (tensor-26)."""
    _, kept, axes = node.config
    xp = node.xp
    if isinstance(grad, cp.ndarray):
        result = node.output.reshape(kept)
        count = pointwise("one_if_chosen")(node.x, result)
        if axes:
            # Ones, whose sums are whole numbers and exact.
            count = cp.sum(count, axis=axes, keepdims=True)
        return pointwise("share_backward")(node.x, result, count, grad)
    # Where NaN are among the elements, these are the ones that are chosen (ops-27).
    chosen = xp.logical_or(node.x == xp.reshape(node.output, kept), node.x != node.x)
    count = xp.astype(chosen, grad.dtype)
    if axes:
        count = xp.sum(count, axis=axes, keepdims=True)
    return xp.where(chosen, grad / count, xp.zeros_like(grad))


sum = reduce("sum", total, lambda _, grad: grad, "Add up over `axis`.", adds=True)
mean = reduce("mean", functools.partial(total, mean=True), _mean, "Average over `axis`.", real=True)
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


def _running_slope(node: Any, grad: Any) -> Any:
    """Return ``(x_0 ... x_{i-1}) s_i`` with ``s_i = g_i + x_{i+1} s_{i+1}``: no division (ops-22).

    The recurrence is solved in log2(n) rounds: each lets every s_i reach twice as far ahead.
    """
    axis, xp = node.config, node.xp
    length = node.x.shape[axis]

    def ahead(array: Any, count: int) -> Any:
        nothing = xp.zeros_like(cut(array, axis, 0, count))
        return xp.concat([cut(array, axis, count), nothing], axis=axis)

    before = cut(xp.cumulative_prod(node.x, axis=axis, include_initial=True), axis, 0, length)
    total, factor, reach = grad, ahead(node.x, 1), 1
    while reach < length:
        total = total + factor * ahead(total, reach)
        factor = factor * ahead(factor, reach)
        reach *= 2
    return before * total


cumulative_prod = scan(
    "cumulative_prod", cp.cumprod, _running_slope, "Return the running product.", initial=1
)
