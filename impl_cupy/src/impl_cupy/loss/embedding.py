"""Losses of distances between rows."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, check_number
from impl_cupy.launch import pointwise
from impl_cupy.loss.reduction import (
    REDUCTIONS,
    Options,
    as_module,
    check_positive,
    check_positive_finite,
    floating_inputs,
)
from impl_cupy.memory import RawArray
from impl_cupy.ops.elementwise import clip, minimum, sqrt, square, where
from impl_cupy.ops.reduction import sum
from impl_cupy.recording import as_input, record
from impl_cupy.slices import one_by_one
from impl_cupy.sums import total
from impl_cupy.tape import handles
from impl_cupy.tensor import Tensor

_COSINE = Options("cosine_embedding_loss", margin=check_number)
_TRIPLET = Options(
    "triplet_margin_loss",
    margin=check_positive,
    p=check_positive_finite,
    eps=check_number,
    swap=check_flag,
)


@one_by_one
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return ``1 - c`` or ``max(0, c - margin)``, with c the cosine of two rows, reduced.

    ``c = sum(a * b) / sqrt((sum(a ** 2) + 1e-12) * (sum(b ** 2) + 1e-12))``

    Parameters
    ----------
    input1, input2 : Tensor, shape (N, D) or (D,)
    target : Tensor, shape (N,) or ()
        1 for the first, -1 for the second; the loss is 0 for any other number.
    margin : float
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Tensor, shape () or that of `target`

    Raises
    ------
    TypeError
        If one is no array, the inputs are not floating, or `margin` is no number.
    ValueError
        If the shapes do not fit, or `reduction` is another name.

    Source: the page of torch.nn.CosineEmbeddingLoss.
    """
    name = "cosine_embedding_loss"
    _COSINE.check(reduction, margin=margin)
    a, b = floating_inputs(name, "input1, input2", input1, input2)
    kind = as_input(name, target)
    if a.ndim not in (1, 2) or kind.shape != a.shape[:-1]:
        msg = (
            f"{name}: input1 must have shape (N, D) or (D,) and target (N,) or (), got {a.shape} "
            f"and {kind.shape}"
        )
        raise ValueError(msg)
    lengths = (sum(square(a), axis=-1) + 1e-12) * (sum(square(b), axis=-1) + 1e-12)
    c = sum(a * b, axis=-1) / sqrt(lengths)
    apart = where(kind == -1, clip(c - float(margin), 0.0), handles.namespace.zeros_like(c))
    return REDUCTIONS[reduction](where(kind == 1, 1 - c, apart))


def _lengths(raw: RawArray, p: float) -> RawArray:
    if p == 2:
        return cp.sqrt(total(raw * raw, axis=-1, keepdims=True))
    if p == 1:
        return total(cp.abs(raw), axis=-1, keepdims=True)
    return cp.power(total(cp.power(cp.abs(raw), p), axis=-1, keepdims=True), 1 / p)


def _lengths_back(node: Any, grad: Any) -> tuple[Any]:
    d, length, p, xp = node.x, node.output, node.config, node.xp
    if isinstance(grad, cp.ndarray):
        return (pointwise("distance_backward")(d, length, p, grad),)
    safe = xp.where(length == 0, xp.ones_like(length), length)
    if p == 2:
        return (grad * (d / safe),)
    share = xp.abs(d) / safe
    return (grad * xp.sign(d) * (share ** (p - 1) if p != 1 else xp.ones_like(share)),)


def _distance(a: Any, b: Any, p: float, eps: float) -> Any:
    """Return ``sum(|a - b + eps| ** p) ** (1 / p)`` over the last axis."""
    lengths = record(
        "triplet_margin_loss",
        lambda raw: _lengths(raw, p),
        _lengths_back,
        (a - b + eps,),
        keep_inputs=True,
        keep_output=True,
        config=p,
    )
    return handles.reshape(lengths, a.shape[:-1])


@one_by_one
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(0, margin + d(anchor, positive) - d(anchor, negative))``, reduced.

    ``d(a, b) = sum(abs(a - b + eps) ** p) ** (1 / p)``

    Parameters
    ----------
    anchor, positive, negative : Tensor, shape (N, D) or (D,)
    margin : float
        Above 0.
    p : float
        Above 0, and finite.
    eps : float
    swap : bool
        Whether the smaller of ``d(anchor, negative)`` and ``d(positive, negative)`` is taken away.
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Tensor, shape (N,) or ()

    Raises
    ------
    TypeError
        If one is no array, `anchor` is not floating, or an option is no number.
    ValueError
        If the shapes do not fit, an option is out of range, or `reduction` is another name.

    Source: the page of torch.nn.TripletMarginLoss.
    """
    name = "triplet_margin_loss"
    _TRIPLET.check(reduction, margin=margin, p=p, eps=eps, swap=swap)
    a, near, far = floating_inputs(name, "anchor, positive, negative", anchor, positive, negative)
    if a.ndim not in (1, 2):
        msg = f"{name}: anchor, positive, negative must be (N, D) or (D,), got {a.shape} each"
        raise ValueError(msg)
    p, eps = float(p), float(eps)
    away = _distance(a, far, p, eps)
    if swap:
        away = minimum(away, _distance(near, far, p, eps))
    return REDUCTIONS[reduction](clip(_distance(a, near, p, eps) - away + float(margin), 0.0))


CosineEmbeddingLoss = as_module("CosineEmbeddingLoss", cosine_embedding_loss, _COSINE)
TripletMarginLoss = as_module("TripletMarginLoss", triplet_margin_loss, _TRIPLET)
