"""Losses of distances and angles between rows."""

import math
from typing import Any

import jax.numpy as jnp

from ..checks import refuse
from ..ops import formulas as F
from ..recording import shape_of
from ..tensor import Tensor
from .reduction import (
    Array,
    common,
    compiled,
    flag,
    floating_input,
    module,
    number,
    operand_of_five,
    positive,
)


def _cosine_formula(margin: float, x: Array, y: Array, target: Array) -> Array:
    lengths = [jnp.sqrt(F.total(row * row, (row.ndim - 1,)) + 1e-12) for row in (x, y)]
    cosine = F.total(x * y, (x.ndim - 1,)) / (lengths[0] * lengths[1])
    # loss-18: zero for other targets, beside NaN too.
    apart = jnp.where(target == -1, F.relu(cosine - margin), 0)
    return jnp.where(target == 1, 1 - cosine, apart)


def _distance(p: float, eps: float, x: Array, y: Array) -> Array:
    """Return the p-norm of the rows of x - y + eps, with the gradient 0 where it is 0."""
    apart, axis = x - y + eps, (x.ndim - 1,)
    if p == 1:
        return F.total(F.absolute(apart), axis)
    if p == 2:
        powers = apart * apart
    else:
        none = apart == 0
        powers = jnp.where(none, 0, F.absolute(jnp.where(none, 1, apart)) ** p)
    sums = F.total(powers, axis)
    none = sums == 0  # loss-20
    kept = jnp.where(none, 1, sums)
    return jnp.where(none, 0, jnp.sqrt(kept) if p == 2 else kept ** (1 / p))


def _triplet_formula(
    margin: float, p: float, eps: float, swap: bool, anchor: Array, near: Array, far: Array
) -> Array:
    away = _distance(p, eps, anchor, far)
    if swap:
        away = F.minimum(away, _distance(p, eps, near, far))
    return F.relu(margin + _distance(p, eps, anchor, near) - away)


_cosine = compiled("cosine_embedding_loss", _cosine_formula)
_triplet = compiled("triplet_margin_loss", _triplet_formula)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return ``1 - cos`` of rows whose target is 1, ``max(0, cos - margin)`` where it is -1.

    The page of ``torch.nn.CosineEmbeddingLoss``.

    Parameters
    ----------
    input1, input2 : Tensor or raw array, shape (N, D) or (D,)
    target : Tensor or raw array, shape (N,) or ()
    margin : float
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If shapes do not fit, or the reduction is none of these.
    TypeError
        If `input1` is not floating.
    """
    name = "cosine_embedding_loss"
    input1 = floating_input(name, input1, reduction, argument="input1")
    input2, target = operand_of_five(name, input2), operand_of_five(name, target)
    first, second, labels = shape_of(input1), shape_of(input2), shape_of(target)
    if first != second:  # loss-18
        refuse(name, "input1 and input2", "of the same shape", f"{first} and {second}")
    if len(first) not in (1, 2) or labels != first[:-1]:
        wanted = "of shapes (N, D) and (N,), or (D,) and ()"
        refuse(name, "input1 and target", wanted, f"{first} and {labels}")
    margin = number(name, "margin", margin)
    operands = (input1, input2, target)
    return _cosine(operands, reduction, common(input1, input2), (margin,))


def power(name: str, argument: str, value: Any) -> float:
    """Return the power of a norm, which is positive and finite, or raise an error."""
    p = positive(name, argument, value)
    if math.isinf(p):
        refuse(name, argument, "positive and finite", value)
    return p


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-06,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(0, margin + d(anchor, positive) - d(anchor, negative))``, reduced.

    ``d(a, b) = sum(|a - b + eps| ** p) ** (1 / p)`` of rows; the page of
    ``torch.nn.TripletMarginLoss``.

    Parameters
    ----------
    anchor, positive, negative : Tensor or raw array, shape (N, D) or (D,)
    margin, p : float, positive
    eps : float
    swap : bool
        Whether the smaller one of d(anchor, negative) and d(positive, negative) is subtracted.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes differ, or an option is out of its range.
    TypeError
        If `anchor` is not floating.
    """
    name = "triplet_margin_loss"
    anchor = floating_input(name, anchor, reduction, argument="anchor")
    rows = (anchor, operand_of_five(name, positive), operand_of_five(name, negative))
    shapes = [shape_of(row) for row in rows]
    if len({*shapes}) != 1 or len(shapes[0]) not in (1, 2):  # loss-20
        shown = ", ".join(map(str, shapes))
        refuse(name, "anchor, positive and negative", "each (N, D) or each (D,)", shown)
    options = (
        _margin(name, "margin", margin),
        power(name, "p", p),
        number(name, "eps", eps),
        flag(name, "swap", swap),
    )
    return _triplet(rows, reduction, common(*rows), options)


_margin = positive

CosineEmbeddingLoss = module("CosineEmbeddingLoss", cosine_embedding_loss, margin=number)
TripletMarginLoss = module(
    "TripletMarginLoss", triplet_margin_loss, margin=positive, p=power, eps=number, swap=flag
)
