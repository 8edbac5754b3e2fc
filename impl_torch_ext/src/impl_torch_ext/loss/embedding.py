"""Losses of rows that should be near each other, or apart."""

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import check_flag, check_floating, check_tensor, shapes_of
from impl_torch_ext.loss.reduction import (
    Loss,
    check_above_zero,
    check_exponent,
    check_finite_or_infinite,
    check_reduction,
    reduced,
)

__all__ = ["CosineEmbeddingLoss", "TripletMarginLoss"]
__all__ += ["cosine_embedding_loss", "triplet_margin_loss"]


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return `1 - c` where the target is 1, `max(0, c - margin)` where it is -1; 0 for others.

    `c` is the cosine of the rows, whose squares have 1e-12 added. Source: the page of
    `torch.nn.CosineEmbeddingLoss`.

    Parameters
    ----------
    input1, input2 : Tensor, shape (N, D) or (D,)
    target : Tensor, shape (N,) or ()
        Integers or floating.
    margin : float
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `target`.

    Raises
    ------
    ValueError
        If the shapes do not fit, or `reduction` is none of the three.
    TypeError
        If an input is not floating, or `margin` no number.
    """
    name = "cosine_embedding_loss"
    check_reduction(name, "reduction", reduction)
    margin = check_finite_or_infinite(name, "margin", margin)
    check_floating(name, input1, "input1")
    check_floating(name, input2, "input2")
    check_tensor(name, target, "target")
    if input1.shape != input2.shape:  # loss-18
        msg = f"{name}: input1 and input2 must have one shape, got {shapes_of(input1, input2)}"
        raise ValueError(msg)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        msg = (
            f"{name}: input1 and target must have shapes (N, D) and (N,), or (D,) and (), got "
            f"{shapes_of(input1, target)}"
        )
        raise ValueError(msg)
    squares = [(x * x).sum(-1) + 1e-12 for x in (input1, input2)]
    cosine = (input1 * input2).sum(-1) / (squares[0] * squares[1]).sqrt()
    apart = torch.where(target == -1, (cosine - margin).clamp_min(0), 0)
    return reduced(torch.where(target == 1, 1 - cosine, apart), reduction)


class CosineEmbeddingLoss(Loss, function=cosine_embedding_loss, margin=check_finite_or_infinite):
    """`cosine_embedding_loss` as a Module; its options are those of the function."""


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-06,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return `max(0, margin + d(anchor, positive) - d(anchor, negative))`, reduced.

    `d(a, b)` is the `p`-norm of `a - b + eps`. Source: the page of `torch.nn.TripletMarginLoss`.

    Parameters
    ----------
    anchor, positive, negative : Tensor, shape (N, D) or (D,)
    margin : float
        Positive.
    p : float
        Positive and finite.
    eps : float
    swap : bool
        Whether `d(positive, negative)` takes the place of `d(anchor, negative)` where it is less.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of shape (N,) or ().

    Raises
    ------
    ValueError
        If the shapes differ, an option is out of range, or `reduction` is none of the three.
    TypeError
        If an input is not floating, or an option no number.
    """
    name = "triplet_margin_loss"
    check_reduction(name, "reduction", reduction)
    margin = check_above_zero(name, "margin", margin)
    p = check_exponent(name, "p", p)
    eps = check_finite_or_infinite(name, "eps", eps)
    swap = check_flag(name, "swap", swap)
    rows = {"anchor": anchor, "positive": positive, "negative": negative}
    for argument, x in rows.items():
        check_floating(name, x, argument)
    if anchor.ndim not in (1, 2) or not anchor.shape == positive.shape == negative.shape:
        msg = (  # loss-20
            f"{name}: anchor, positive and negative must have one shape (N, D) or (D,), got "
            f"{shapes_of(anchor, positive, negative)}"
        )
        raise ValueError(msg)
    near, far = _norm(anchor - positive + eps, p), _norm(anchor - negative + eps, p)
    if swap:
        far = torch.minimum(far, _norm(positive - negative + eps, p))
    return reduced((margin + near - far).clamp_min(0), reduction)


class TripletMarginLoss(
    Loss,
    function=triplet_margin_loss,
    margin=check_above_zero,
    p=check_exponent,
    eps=check_finite_or_infinite,
    swap=check_flag,
):
    """`triplet_margin_loss` as a Module; its options are those of the function."""


def _norm(x: Tensor, p: float) -> Tensor:
    """Return the `p`-norm of each row; torch's for 1 has no second derivative that is an array."""
    return ops.abs(x).sum(-1) if p == 1 else torch.linalg.vector_norm(x, p, -1)
