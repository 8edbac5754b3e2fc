"""Reductions over axes, with their gradients."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.ops.families import reduce


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
