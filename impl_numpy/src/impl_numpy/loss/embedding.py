"""Losses of rows: how near two points lie to each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy import ops
from impl_numpy.checks import check_five
from impl_numpy.dtypes import Array, Value
from impl_numpy.loss.reduction import Loss, floating, option, reduced
from impl_numpy.recording import OUT, RULES, Grads, Primitive, binary, raw
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor, wrap


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return 1 - cos where the target is 1, max(0, cos - margin) where it is -1, else 0.

    torch.nn.CosineEmbeddingLoss; cos is the cosine of the angle between two rows.

    Parameters
    ----------
    input1, input2 : floating Tensor, shape (N, D) or (D,)
    target : Tensor of 1 and -1, shape (N,) or ()
    margin : float
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes do not fit or the reduction is another.
    TypeError
        If an input is not floating.
    """
    name = "cosine_embedding_loss"
    option(name, "reduction", reduction)
    margin = option(name, "margin", margin)
    a, b = floating(name, input1, "input1"), floating(name, input2, "input2")
    signs = as_tensor(name, target, "target")._data
    check_five(name, signs.dtype, "target")
    if a.shape != b.shape:
        msg = f"{name}: input1 and input2 must have one shape, got {a.shape} and {b.shape}"
        raise ValueError(msg)
    if a.ndim not in (1, 2) or signs.shape != a.shape[:-1]:  # loss-18
        msg = (
            f"{name}: input1 must have shape (N, D) or (D,) and target (N,) or (), "
            f"got {a.shape} and {signs.shape}"
        )
        raise ValueError(msg)
    norms = [ops.sum(ops.square(x), axis=-1) + 1e-12 for x in (a, b)]
    cosine = ops.sum(a * b, axis=-1) / ops.sqrt(norms[0] * norms[1])
    zeros = wrap(np.zeros((), cosine.dtype), None)
    apart = ops.where(signs == -1, ops.clip(cosine - margin, min=0.0), zeros)
    return reduced(ops.where(signs == 1, 1 - cosine, apart), reduction)


def _distance(a: Array, b: Array, p: float, eps: float) -> Any:
    d = np.abs(a - b + eps)
    if p == 2:
        return np.sqrt(total(d * d, (d.ndim - 1,)))
    return total(d if p == 1 else d**p, (d.ndim - 1,)) ** (1 / p)


def _distance_vjp(
    grad: Value, needs: Parents, a: Value, b: Value, out: Value, p: float, eps: float
) -> Grads:
    d = a - b + eps
    # The slope of a distance of 0 is 0 (loss-20).
    far = RULES["where"](out, np.ones((), out.dtype), raw(out) != 0)
    if p == 2:
        slope = d * (grad / far)[..., None]
    elif p == 1:
        slope = RULES["sign"](d) * grad[..., None]
    else:
        # Where the difference is 0 the power may be infinite, and its sign is 0.
        size = RULES["where"](RULES["abs"](d), np.ones((), out.dtype), raw(d) != 0)
        power = RULES["pow by a number"](size, p - 1)
        slope = RULES["sign"](d) * power * (grad * far ** (1 - p))[..., None]
    return None if needs[0] is None else slope, None if needs[1] is None else -slope


_apart = Primitive(
    "triplet_margin_loss", _distance, _distance_vjp, ((0, 1, OUT), (0, 1, OUT)), floats=True
)


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
    """Return max(0, margin + d(anchor, positive) - d(anchor, negative)), reduced.

    Balntas et al. 2016; torch.nn.TripletMarginLoss. d(a, b) = sum(abs(a - b + eps)**p)**(1 / p).

    Parameters
    ----------
    anchor, positive, negative : floating Tensor, shape (N, D) or (D,)
    margin, p, eps : float
        The first two positive.
    swap : bool
        Take the smaller one of d(anchor, negative) and d(positive, negative).
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes do not fit, margin or p is not positive, or the reduction is another.
    TypeError
        If an input is not floating.
    """
    name = "triplet_margin_loss"
    option(name, "reduction", reduction)
    margin, p, eps, swap = [
        option(name, key, value)
        for key, value in (("margin", margin), ("p", p), ("eps", eps), ("swap", swap))
    ]
    given = {"anchor": anchor, "positive": positive, "negative": negative}
    a, b, c = [floating(name, x, key) for key, x in given.items()]
    if not a.shape == b.shape == c.shape or a.ndim not in (1, 2):
        msg = (
            f"{name}: anchor, positive and negative must have one shape, (N, D) or (D,), "
            f"got {a.shape}, {b.shape} and {c.shape}"
        )
        raise ValueError(msg)
    near, far = binary(_apart, a, b, (p, eps)), binary(_apart, a, c, (p, eps))
    if swap:
        far = ops.minimum(far, binary(_apart, b, c, (p, eps)))
    return reduced(ops.clip(near - far + margin, min=0.0), reduction)


class CosineEmbeddingLoss(Loss, of=cosine_embedding_loss):
    """Compute `loss.cosine_embedding_loss`, with its options named once."""


class TripletMarginLoss(Loss, of=triplet_margin_loss):
    """Compute `loss.triplet_margin_loss`, with its options named once."""
