"""Losses of classes and of probabilities."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from impl_numpy import ops
from impl_numpy.batched import every
from impl_numpy.by_slice import sliceable
from impl_numpy.checks import check_indices, check_real
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.loss.reduction import (
    Loss,
    apply_pointwise,
    as_one,
    classes_weight,
    element_weight,
    floating,
    option,
    pair,
    pointwise,
    reduced,
    shared,
    summed,
)
from impl_numpy.ops.elementwise import between
from impl_numpy.recording import RULES, Grads, Primitive, unary
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor, wrap

# The least logarithm of `binary_cross_entropy`, and the least denominator of its gradient.
_LEAST, _NARROW = -100.0, 1e-12

_largest: Any = np.maximum.reduce
_smallest: Any = np.minimum.reduce


class Targets(NamedTuple):
    """The classes of the rows, and what each counts: all of them constants.

    Attributes
    ----------
    classes : numpy.ndarray, shape (N,)
    counts : numpy.ndarray, shape (N,)
        What the target's own number is multiplied by; 0 in a row that is ignored.
    spread, live : numpy.ndarray, shape (C,) and (N,), or None
        What each number of a row is multiplied by, and 0 for the rows that are ignored.
    """

    classes: Array
    counts: Array
    spread: Array | None = None
    live: Array | None = None

    def shares(self, shape: Shape) -> Array:
        """Return what each number of each row is multiplied by, (N, C)."""
        every = np.zeros(shape, self.counts.dtype)
        if self.spread is not None and self.live is not None:
            np.multiply(self.live[:, None], self.spread, out=every)
        every[np.arange(len(every)), self.classes] += self.counts
        return every

    def of(self, x: Array) -> Array:
        """Return the negative sum of each row, (N,), so multiplied."""
        loss = x[np.arange(len(x)), self.classes] * -self.counts
        if self.spread is not None:
            loss -= self.live * (x @ self.spread)
        return loss


def _picked(x: Array, targets: Targets, divisor: float | None) -> Any:
    return summed(targets.of(x), divisor)


def _picked_vjp(
    grad: Value, needs: Parents, x: Value, out: None, targets: Targets, divisor: float | None
) -> Grads:
    each = shared(grad, divisor)
    return (_rows(each) * -targets.shares(x.shape),)


def _entropy(x: Array, targets: Targets, divisor: float | None, kept: list[Array]) -> Any:
    logs = x - x.max(axis=1, keepdims=True, initial=-np.inf)
    odds = np.exp(logs)
    sums = total(odds, (1,))
    kept[:] = odds, sums
    if targets.spread is None:
        # A row's logarithm of the sum is enough: the others are not looked at.
        own = logs[np.arange(len(x)), targets.classes]
        return summed((np.log(sums) - own) * targets.counts, divisor)
    logs -= np.log(sums)[:, None]
    return summed(targets.of(logs), divisor)


def _entropy_vjp(
    grad: Value,
    needs: Parents,
    x: Value,
    out: None,
    targets: Targets,
    divisor: float | None,
    kept: list[Array],
) -> Grads:
    each = shared(grad, divisor)
    weights = targets.counts
    if targets.spread is not None:
        weights = weights + targets.live * total(targets.spread, (0,))
    if isinstance(x, Tensor) or isinstance(each, Tensor):
        slope = RULES["softmax"](x, 1) * weights[:, None] - targets.shares(x.shape)
        return (slope * _rows(each),)
    if not kept:
        # It ran for each slice of a `vmap`, and left nothing here.
        odds = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
        kept[:] = odds, total(odds, (1,))
    odds, sums = kept
    slope = odds * (weights * each / sums)[:, None]
    slope[np.arange(len(slope)), targets.classes] -= targets.counts * each
    if targets.spread is not None:
        slope -= (targets.live * each)[:, None] * targets.spread
    return (slope,)


def _rows(each: Value) -> Value:
    """Return what arrives at rows, for each of their elements; a number as it is."""
    return each[:, None] if each.ndim else each


_picked_rule = Primitive("nll_loss", _picked, _picked_vjp, ((0,),))
_entropy_rule = Primitive("cross_entropy", _entropy, _entropy_vjp, ((0,),))


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Return -weight[target] * input[target], reduced (torch.nn.NLLLoss).

    Parameters
    ----------
    input : floating Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logarithms of the probabilities of C classes.
    target : Tensor of integers, shape (), (N,) or (N, d1, ...)
    weight : floating Tensor, shape (C,), optional
    ignore_index : int
        A target whose row counts for nothing.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the targets' weights.

    Raises
    ------
    ValueError
        If a shape does not fit, a class is not in 0 <= t < C, or the reduction is another.
    TypeError
        If target is not of integers, or input or weight not floating.
    """
    option("nll_loss", "reduction", reduction)
    x, axis, classes = _of_classes("nll_loss", input)
    ignored = option("nll_loss", "ignore_index", ignore_index)
    w = classes_weight("nll_loss", weight, classes, x.dtype)
    return _by_index(_picked_rule, x, axis, target, w, ignored, reduction)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return -sum(weight * q * log_softmax(input)) over the classes (torch.nn.CrossEntropyLoss).

    q is 1 at the target, or the target's probabilities, mixed with 1 / C by `label_smoothing`
    (Szegedy et al. 2016, section 7).

    Parameters
    ----------
    input : floating Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logits of C classes.
    target : Tensor of integers, shape (), (N,) or (N, d1, ...); or floating, the shape of input
        Classes or probabilities.
    weight : floating Tensor, shape (C,), optional
    ignore_index : int
        A target whose row counts for nothing.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the targets' weights; of probabilities by the number of rows.
    label_smoothing : float
        From 0 to 1.

    Raises
    ------
    ValueError
        If a shape does not fit, a class is not in 0 <= t < C, label_smoothing is out of range, the
        reduction is another, or an ignore_index stands beside probabilities.
    TypeError
        If target is neither, or input or weight not floating.
    """
    name = "cross_entropy"
    option(name, "reduction", reduction)
    x, axis, classes = _of_classes(name, input)
    ignored = option(name, "ignore_index", ignore_index)
    smooth = option(name, "label_smoothing", label_smoothing)
    w = classes_weight(name, weight, classes, x.dtype)
    t = _probabilities(name, target, x.shape)
    if t is None:
        return _by_index(_entropy_rule, x, axis, target, w, ignored, reduction, smooth)
    if ignored >= 0:  # loss-16
        msg = f"{name}: ignore_index must be negative beside probabilities, got {ignored}"
        raise ValueError(msg)
    logs, shares = ops.log_softmax(x, axis), t * (1 - smooth) + smooth / max(classes, 1)
    if w is not None:
        shares = shares * w.reshape(-1, *(1,) * (x.ndim - 1 - axis))
    loss = -ops.sum(shares * logs, axis=axis)
    return reduced(loss, reduction)


def _probabilities(name: str, target: Any, shape: Shape) -> Tensor | None:
    """Return a floating target of the input's shape, None for another."""
    if isinstance(target, np.ndarray | np.generic) and target.dtype.kind in "iu":
        return None  # Of any width (tensor-36).
    t = as_tensor(name, target, "target")
    check_real(name, t.dtype)
    return t if t.dtype.kind == "f" and t.shape == shape else None


def _of_classes(name: str, input: Any) -> tuple[Tensor, int, int]:
    """Return logits, their axis of classes and its length."""
    x = floating(name, input)
    if not x.shape:
        msg = f"{name}: input must have an axis of classes, got shape {x.shape}"
        raise ValueError(msg)
    axis = min(1, x.ndim - 1)
    return x, axis, x.shape[axis]


@sliceable
def _by_index(
    rule: Primitive,
    x: Tensor,
    axis: int,
    target: Any,
    weight: Array | None,
    ignored: int,
    reduction: str,
    smooth: float = 0.0,
) -> Tensor:
    """Return a loss by the numbers of classes: one operation, its reduction too (loss-02)."""
    classes = x.shape[axis]
    wanted = x.shape[:axis] + x.shape[axis + 1 :]
    t, kept = _classes(rule.name, target, x.shape, wanted, classes, ignored)
    if x.ndim != 2:
        order = (*range(axis), *range(axis + 1, x.ndim), axis)
        x = as_one(ops.permute_dims(x, order), (math.prod(wanted), classes))
    if kept is not None:  # loss-15
        x = ops.where(kept[:, None], x, wrap(np.zeros((), x.dtype), None))
    counts = np.ones(len(t), x.dtype) if weight is None else weight[t]
    if kept is not None:
        counts = counts * kept
    divisor: float | None = None if reduction == "none" else 1
    if reduction == "mean":
        divisor = len(t) if weight is None and kept is None else float(counts.sum(dtype=float))
    targets = Targets(t, counts)
    if smooth:
        spread = np.full(classes, smooth / classes, x.dtype)
        live = np.ones(len(t), x.dtype) if kept is None else kept.astype(x.dtype)
        spread = spread if weight is None else spread * weight
        targets = Targets(t, counts * x.dtype.type(1 - smooth), spread, live)
    # The last is what `forward` leaves for its `vjp`.
    config: tuple[Any, ...] = (targets, divisor)
    if rule is _entropy_rule:
        config = (*config, [])
    loss: Tensor = unary(rule, x, config)
    return loss if divisor is not None else as_one(loss, wanted)


def _classes(
    name: str, target: Any, shape: Shape, wanted: Shape, classes: int, ignored: int
) -> tuple[Array, Array | None]:
    """Return the classes of the rows, checked, and which rows count where not all do."""
    t = check_indices(name, "target", target, length=f"C = {classes}")
    if t.shape != wanted:
        msg = f"{name}: target must have shape {wanted} for input {shape}, got {t.shape}"
        raise ValueError(msg)
    t, kept = t.reshape(-1), None
    if (0 <= ignored < classes or (every(t).size and _smallest(every(t).ravel()) < 0)) or (
        every(t).size and _largest(every(t).ravel()) >= classes
    ):
        counted = t != ignored
        outside = every(t)[every(counted & ((t < 0) | (t >= classes)))]
        if outside.size:  # loss-05
            wanted_range = f"at least 0 and less than C = {classes}"
            msg = f"{name}: a target must be {wanted_range}, got {outside[0]}"
            raise ValueError(msg)
        if not every(counted).all():
            t, kept = np.where(counted, t, 0), counted
    return t, kept


def _binary(x: Array, t: Array) -> Array:
    log, other = np.maximum(np.log(x), _LEAST), np.maximum(np.log1p(-x), _LEAST)
    # t log + (1 - t) other, negative.
    return (t - 1) * other - t * log


def _binary_slopes(needs: Parents, x: Value, t: Value) -> Grads:
    dx = dt = None
    if needs[0] is not None:
        dx = (x - t) / between(x * (1 - x), _NARROW, None)
    if needs[1] is not None:
        dt = between(RULES["log1p"](-x), _LEAST, None) - between(RULES["log"](x), _LEAST, None)
    return dx, dt


def _logits(x: Array, t: Array, heavy: Array | None) -> Array:
    # softplus(x) = max(x, 0) + near, softplus(-x) = max(-x, 0) + near.
    near = np.log1p(np.exp(-np.abs(x)))
    below = t * (near - np.minimum(x, 0))
    if heavy is not None:
        below = below * heavy
    return below + (1 - t) * (near + np.maximum(x, 0))


def _logits_slopes(needs: Parents, x: Value, t: Value, heavy: Array | None) -> Grads:
    dx = dt = None
    share = t if heavy is None else t * heavy
    if needs[0] is not None:
        dx = (1 - t) * RULES["sigmoid"](x) - share * RULES["sigmoid"](-x)
    if needs[1] is not None:
        below = RULES["softplus"](-x)
        dt = (below if heavy is None else below * heavy) - RULES["softplus"](x)
    return dx, dt


def _divergence(x: Array, t: Array) -> Array:
    return t * (np.log(np.where(t == 0, 1, t)) - x)  # loss-17


def _divergence_slopes(needs: Parents, x: Value, t: Value) -> Grads:
    return (
        None if needs[0] is None else -t,
        None if needs[1] is None else RULES["log"](t) - x + 1,
    )


def _log_divergence_slopes(needs: Parents, x: Value, t: Value) -> Grads:
    share = RULES["exp"](t)
    return (
        None if needs[0] is None else -share,
        None if needs[1] is None else share * (t - x + 1),
    )


_binary_rule = pointwise("binary_cross_entropy", _binary, _binary_slopes)
_logits_rule = pointwise("binary_cross_entropy_with_logits", _logits, _logits_slopes)
_divergence_rule = pointwise("kl_div", _divergence, _divergence_slopes)
_log_divergence = pointwise("kl_div", lambda x, t: np.exp(t) * (t - x), _log_divergence_slopes)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return -weight * (target * log(input) + (1 - target) * log(1 - input)), reduced.

    torch.nn.BCELoss; the logarithms are at least -100.

    Parameters
    ----------
    input : floating Tensor
        Probabilities, from 0 to 1.
    target : Tensor of the same shape
    weight : floating Tensor that broadcasts to the shape, optional
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes do not fit, an input is outside 0 to 1, or the reduction is another.
    TypeError
        If input or weight is not floating.
    """
    name = "binary_cross_entropy"
    option(name, "reduction", reduction)
    x, t = pair(name, input, target)
    outside = (x._data < 0) | (x._data > 1)
    if every(outside).any():  # loss-13
        msg = f"{name}: input must be within 0 and 1, got {every(x._data)[every(outside)].flat[0]}"
        raise ValueError(msg)
    w = element_weight(name, "weight", weight, x.shape, x.dtype)
    return apply_pointwise(_binary_rule, x, t, reduction, weight=w)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Return `binary_cross_entropy` of sigmoid(input), without overflow, reduced.

    weight * (pos_weight * target * softplus(-input) + (1 - target) * softplus(input));
    torch.nn.BCEWithLogitsLoss.

    Parameters
    ----------
    input : floating Tensor
        Logits.
    target : Tensor of the same shape
    weight, pos_weight : floating Tensor that broadcasts to the shape, optional
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes do not fit or the reduction is another.
    TypeError
        If input or a weight is not floating.
    """
    name = "binary_cross_entropy_with_logits"
    option(name, "reduction", reduction)
    x, t = pair(name, input, target)
    w = element_weight(name, "weight", weight, x.shape, x.dtype)
    heavy = element_weight(name, "pos_weight", pos_weight, x.shape, x.dtype)
    return apply_pointwise(_logits_rule, x, t, reduction, heavy, weight=w)  # loss-14


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return target * (log(target) - input), reduced.

    Kullback and Leibler 1951; torch.nn.KLDivLoss.

    Parameters
    ----------
    input : floating Tensor
        Logarithms of probabilities.
    target : Tensor of the same shape
        Probabilities, or their logarithms.
    reduction : {"mean", "sum", "none", "batchmean"}
        "batchmean" divides the sum by the length of the first axis.
    log_target : bool
        Whether target holds logarithms.

    Raises
    ------
    ValueError
        If the shapes differ or the reduction is another.
    TypeError
        If the input is not floating.
    """
    option("kl_div", "reduction", reduction)
    logs = option("kl_div", "log_target", log_target)
    rule = _log_divergence if logs else _divergence_rule
    return apply_pointwise(rule, *pair("kl_div", input, target), reduction)


class NLLLoss(Loss, of=nll_loss):
    """Compute `loss.nll_loss`, with its options named once; `weight` is a buffer."""


class CrossEntropyLoss(Loss, of=cross_entropy):
    """Compute `loss.cross_entropy`, with its options named once; `weight` is a buffer."""


class BCELoss(Loss, of=binary_cross_entropy):
    """Compute `loss.binary_cross_entropy`, with its options named once; `weight` is a buffer."""


class BCEWithLogitsLoss(Loss, of=binary_cross_entropy_with_logits):
    """Compute `loss.binary_cross_entropy_with_logits`; both weights are buffers."""


class KLDivLoss(Loss, of=kl_div):
    """Compute `loss.kl_div`, with its options named once."""
