"""Losses of probabilities and classes."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, check_fraction
from impl_cupy.function import Function
from impl_cupy.launch import launch, pointwise
from impl_cupy.loss.reduction import (
    REDUCTIONS,
    WEIGHTS,
    Elements,
    Options,
    as_module,
    check_index,
    floating_input,
    floating_inputs,
    spread_weight,
    weight_of,
)
from impl_cupy.memory import RawArray
from impl_cupy.ops.activation import log_softmax, log_softmax_raw
from impl_cupy.ops.elementwise import where
from impl_cupy.ops.manipulation import reshape
from impl_cupy.ops.reduction import sum
from impl_cupy.recording import as_indices, find_outside
from impl_cupy.slices import one_by_one
from impl_cupy.sums import total
from impl_cupy.tape import handles, wrap
from impl_cupy.tensor import Tensor


def _softplus(x: Any) -> Any:
    return handles.softplus(x)


def _sigmoid(x: Any) -> Any:
    return handles.sigmoid(x)


_entropy = Elements(
    "binary_cross_entropy",
    "binary_entropy",
    lambda xp, x, t: (x - t) / xp.clip(x * (1 - x), 1e-12),
    lambda xp, x, _: xp.clip(xp.log1p(-x), -100.0) - xp.clip(xp.log(x), -100.0),
)
_logit_entropy = Elements(
    "binary_cross_entropy_with_logits",
    "logit_entropy",
    lambda _, x, t, heavy: (1 - t) * _sigmoid(x) - heavy * t * _sigmoid(-x),
    lambda _, x, _t, heavy: heavy * _softplus(-x) - _softplus(x),
)
_divergence = Elements(
    "kl_div", "divergence", lambda _, _x, t: -t, lambda xp, x, t: xp.log(t) + 1 - x
)
_log_divergence = Elements(
    "kl_div",
    "log_divergence",
    lambda xp, _, t: -xp.exp(t),
    lambda xp, x, t: xp.exp(t) * (t - x + 1),
)


def _check_nothing(*_: Any) -> None:
    """Leave a weight to be checked beside the input."""


_UNCHECKED = dict.fromkeys(WEIGHTS, _check_nothing)
_BCE = Options("binary_cross_entropy", **_UNCHECKED)
_LOGITS = Options("binary_cross_entropy_with_logits", **_UNCHECKED)
_NLL = Options("nll_loss", ignore_index=check_index)
_CROSS = Options("cross_entropy", ignore_index=check_index, label_smoothing=check_fraction)
_KL = Options("kl_div", "batchmean", log_target=check_flag)


@one_by_one
def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return ``-weight * (target * log(input) + (1 - target) * log(1 - input))``, reduced.

    Both logarithms are at least -100.

    Parameters
    ----------
    input : Tensor
        Probabilities, 0 to 1.
    target : Tensor, shape of `input`
    weight : Tensor, optional
        Broadcasts to the shape of `input`.
    reduction : "mean", "sum" or "none"
        "mean" divides by the number of elements, whatever the weight.

    Returns
    -------
    Tensor, shape () or that of `input`

    Raises
    ------
    TypeError
        If one is no array, or `input` or `weight` is not floating.
    ValueError
        If the shapes do not fit, an input is outside 0 to 1, or `reduction` is another name.

    Source: the page of torch.nn.BCELoss.
    """
    name = "binary_cross_entropy"
    _BCE.check(reduction)
    x, t = floating_inputs(name, "input, target", input, target)
    weight = spread_weight(name, "weight", weight, x)
    wrong = pointwise("is_no_probability")(x._data)  # loss-13
    if bool(cp.any(wrong)):
        worst = x._data[wrong].reshape(-1)[0]
        msg = f"{name}: input must be between 0 and 1, got {float(worst)}"
        raise ValueError(msg)
    losses = _entropy(x, t)
    return REDUCTIONS[reduction](losses if weight is None else losses * weight)


@one_by_one
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Return the binary cross entropy of ``sigmoid(input)``, right for large logits, reduced.

    ``weight * (pos_weight * target * softplus(-input) + (1 - target) * softplus(input))``

    Parameters
    ----------
    input : Tensor
        Logits.
    target : Tensor, shape of `input`
    weight, pos_weight : Tensor, optional
        Broadcast to the shape of `input`; 1 without.
    reduction : "mean", "sum" or "none"
        "mean" divides by the number of elements, whatever the weight.

    Returns
    -------
    Tensor, shape () or that of `input`

    Raises
    ------
    TypeError
        If one is no array, or `input` or a weight is not floating.
    ValueError
        If the shapes do not fit, or `reduction` is another name.

    Source: the page of torch.nn.BCEWithLogitsLoss.
    """
    name = "binary_cross_entropy_with_logits"
    _LOGITS.check(reduction)
    x, t = floating_inputs(name, "input, target", input, target)
    weight = spread_weight(name, "weight", weight, x)
    heavy = spread_weight(name, "pos_weight", pos_weight, x)
    losses = _logit_entropy(x, t, 1.0 if heavy is None else heavy._data)
    return REDUCTIONS[reduction](losses if weight is None else losses * weight)


@one_by_one
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return ``target * (log(target) - input)``, 0 where `target` is 0, reduced.

    Parameters
    ----------
    input : Tensor
        Logarithms of probabilities.
    target : Tensor, shape of `input`
        Probabilities, or their logarithms with `log_target`.
    reduction : "mean", "sum", "none" or "batchmean"
        "batchmean" divides the sum by the length of the first axis.
    log_target : bool
        Whether the loss is ``exp(target) * (target - input)``.

    Returns
    -------
    Tensor, shape () or that of `input`

    Raises
    ------
    TypeError
        If one is no array, or `input` is not floating.
    ValueError
        If the shapes differ, or `reduction` is another name.

    Source: the page of torch.nn.KLDivLoss.
    """
    _KL.check(reduction, log_target=log_target)
    x, t = floating_inputs("kl_div", "input, target", input, target)
    return REDUCTIONS[reduction]((_log_divergence if log_target else _divergence)(x, t))


@one_by_one
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return ``-weight[target] * input[target]`` over the class axis, reduced.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
        Logarithms of probabilities.
    target : Tensor of integers, shape (N,), () or (N, d1, ...)
        Classes, ``0 <= t < C``, or `ignore_index`.
    weight : Tensor, optional, shape (C,)
    ignore_index : int
        A target that counts for nothing.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the targets' weights.

    Returns
    -------
    Tensor, shape () or that of `target`

    Raises
    ------
    TypeError
        If `target` is no Tensor of integers, or `input` or `weight` is not floating.
    ValueError
        If the shapes do not fit, a class is out of range, or `reduction` is another name.

    Source: the page of torch.nn.NLLLoss.
    """
    _NLL.check(reduction, ignore_index=ignore_index)
    x = floating_input("nll_loss", input)
    target_of = as_indices("nll_loss", target)
    return _of_classes("nll_loss", x, target_of, target, weight, int(ignore_index), reduction, None)


@one_by_one
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return ``-weight[target] * log_softmax(input)[target]`` over the class axis, reduced.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
        Logits.
    target : Tensor of integers, shape (N,), () or (N, d1, ...), or floating, shape of `input`
        Classes, ``0 <= t < C``, or `ignore_index`; or the probabilities q of all classes, of which
        the loss is ``-sum(weight * q * log_softmax(input))``.
    weight : Tensor, optional, shape (C,)
    ignore_index : int
        A target that counts for nothing.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the targets' weights; with probabilities by the number of rows.
    label_smoothing : float
        In [0, 1]: the share of the target that is spread evenly over all classes.

    Returns
    -------
    Tensor, shape () or that of the rows

    Raises
    ------
    TypeError
        If `target` is floating and of another shape, or `input` or `weight` is not floating.
    ValueError
        If the shapes do not fit, a class is out of range, an option is, or `reduction` is another
        name.

    Source: the page of torch.nn.CrossEntropyLoss.
    """
    _CROSS.check(reduction, ignore_index=ignore_index, label_smoothing=label_smoothing)
    x, smoothing = floating_input("cross_entropy", input), float(label_smoothing)
    given = as_indices("cross_entropy", target)
    if given.dtype.kind == "f" and given.shape == x.shape and x.ndim:
        if ignore_index >= 0:
            msg = (
                "cross_entropy: ignore_index must be negative beside probabilities, got "
                f"{ignore_index}"
            )
            raise ValueError(msg)  # loss-16
        return REDUCTIONS[reduction](_of_probabilities(x, given, weight, smoothing))
    return _of_classes(
        "cross_entropy", x, given, target, weight, int(ignore_index), reduction, smoothing
    )


def _of_probabilities(logits: Any, target: Any, weight: Any, smoothing: float) -> Any:
    axis = 0 if logits.ndim == 1 else 1
    x, q = floating_inputs("cross_entropy", "input, target", logits, target)
    weight, count = _class_weight("cross_entropy", weight, x, axis), x.shape[axis]
    if smoothing:
        q = q * (1 - smoothing) + smoothing / max(count, 1)
    if weight is not None:
        q = q * weight.reshape((count, *[1] * (x.ndim - axis - 1)))
    return -sum(q * log_softmax(x, axis=axis), axis=axis)


def _of_classes(
    name: str,
    x: Any,
    classes: Any,
    given: Any,
    weight: Any,
    ignore: int,
    reduction: str,
    smoothing: float | None,
) -> Tensor:
    """Return the loss of class indices; without `smoothing` the input holds logarithms already."""
    axis = 0 if x.ndim == 1 else 1
    _check_rows(name, x, classes, axis)
    shape, count = classes.shape, x.shape[axis]
    weight = _class_weight(name, weight, x, axis)
    is_some_ignored = _check_classes(name, given, classes._data, count, ignore)
    samples, rest = math.prod(shape[:axis]), math.prod(shape[axis:])
    rows = reshape(classes, (samples, rest))
    losses = NLLFunction.apply(
        reshape(x, (samples, count, rest)), rows, weight, ignore=ignore, smoothing=smoothing
    )
    if reduction == "none":
        return reshape(losses, shape)
    if reduction == "mean" and (is_some_ignored or weight is not None):
        return sum(losses) / wrap(_total_weight(rows._data, weight, ignore, x.dtype))
    return REDUCTIONS[reduction](losses)


def _total_weight(classes: RawArray, weight: Any, ignore: int, dtype: Any) -> RawArray:
    """Return the sum of the weights of the targets that count."""
    counts = classes != ignore
    if weight is None:
        return total(counts.astype(dtype))
    taken = weight._data[cp.where(counts, classes, 0)] if weight.size else counts.astype(dtype)
    return total(cp.where(counts, taken, cp.zeros_like(taken)))


def _check_rows(name: str, logits: Any, classes: Any, axis: int) -> None:
    """Check dtypes and shapes (loss-05)."""
    if classes.dtype.kind != "i":
        msg = f"{name}: target must be class indices, got dtype {classes.dtype.name}"
        raise TypeError(msg)
    if logits.ndim == 0:
        msg = f"{name}: input must have a class axis, got shape ()"
        raise ValueError(msg)
    wanted = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if classes.shape != wanted:
        msg = (
            f"{name}: target must have shape {wanted} for input of shape {logits.shape}, "
            f"got {classes.shape}"
        )
        raise ValueError(msg)


def _class_weight(name: str, weight: Any, logits: Any, axis: int) -> Any:
    held, count = weight_of(name, "weight", weight, logits.dtype), logits.shape[axis]
    if held is not None and held.shape != (count,):
        msg = f"{name}: weight must have shape (C,) = ({count},), got {held.shape}"
        raise ValueError(msg)  # loss-19
    return held


def _check_classes(name: str, given: Any, classes: RawArray, count: int, ignore: int) -> bool:
    """Refuse what is no class, and tell whether one may be ignored."""
    worst = find_outside(given, classes, 0, count)
    if worst is None:
        return 0 <= ignore < count
    counting = classes[classes != ignore]
    another = find_outside(counting, counting, 0, count)
    if another is not None:
        # Where nothing is ignored, the number as it was given: int64 may not hold it.
        worst = worst if counting.size == classes.size else another
        msg = f"{name}: target {worst} is outside 0 <= t < C = {count}"
        raise ValueError(msg)
    return True


class NLLFunction(Function):
    """The losses of the samples, shape (N, D), for logits (N, C, D) and classes (N, D).

    Without a smoothing the logits are logarithms of probabilities already.
    """

    _by_slices = True
    _is_ours = True
    _called = "cross_entropy"

    @staticmethod
    def forward(
        ctx: Any,
        logits: RawArray,
        target: RawArray,
        weight: RawArray | None,
        *,
        ignore: int,
        smoothing: float | None,
    ) -> RawArray:
        """Form ``-(1 - e) w[t] log_p[t] - e / C sum(w log_p)`` (loss-02)."""
        log_p = logits if smoothing is None else log_softmax_raw(logits, (1,))
        log_p = cp.ascontiguousarray(log_p)
        classes = cp.ascontiguousarray(target.astype("int64", copy=False))
        held = log_p if weight is None else cp.ascontiguousarray(weight)
        losses = cp.empty(classes.shape, dtype=log_p.dtype)
        numbers = (smoothing or 0.0, ignore, *log_p.shape[1:])
        flags = (weight is not None, *numbers)
        launch(
            "loss", "nll_forward", log_p.dtype, losses.size, log_p, classes, held, losses, *flags
        )
        ctx.save_for_backward(log_p if smoothing is not None else None, classes, weight)
        ctx.numbers, ctx.shape, ctx.is_soft = numbers, log_p.shape, smoothing is not None
        return losses

    @staticmethod
    def backward(ctx: Any, grad: RawArray) -> tuple[RawArray, None, None]:
        """Form ``(softmax sum(q) - q) grad``, or ``-q grad``, in one kernel."""
        log_p, classes, weight = ctx.saved_tensors
        out = cp.empty(ctx.shape, dtype=grad.dtype)
        held = whole = out
        if weight is not None:
            held, whole = cp.ascontiguousarray(weight), total(weight)
        arrays = (out if log_p is None else log_p, classes, held, whole, cp.ascontiguousarray(grad))
        flags = (weight is not None, ctx.is_soft, *ctx.numbers)
        launch("loss", "nll_backward", out.dtype, out.size, *arrays, out, *flags)
        return out, None, None

    @staticmethod
    def composite(
        logits: Tensor, target: Tensor, weight: Any, *, ignore: int, smoothing: float | None
    ) -> Tensor:
        """Do the same with `ops`."""
        share, classes = smoothing or 0.0, target._data
        counts = cp.expand_dims(classes != ignore, 1)
        hot = cp.expand_dims(classes, 1) == cp.arange(logits.shape[1]).reshape(1, -1, 1)
        q = hot.astype(logits.dtype) * (1 - share) + share / max(logits.shape[1], 1)
        if weight is not None:
            each = weight._data
            own = cp.sum(cp.where(hot, each.reshape(1, -1, 1), 0), axis=1, keepdims=True)
            even = share / max(logits.shape[1], 1) * each.reshape(1, -1, 1)
            q = hot.astype(logits.dtype) * (1 - share) * own + even
        zeros = handles.namespace.zeros_like(logits)
        # What is not asked of an ignored row must not be seen: it may hold NaN (loss-15).
        log_p = where(wrap(cp.broadcast_to(counts, logits.shape)), logits, zeros)
        log_p = log_p if smoothing is None else log_softmax(log_p, axis=1)
        taken = wrap(cp.logical_and(counts, q != 0))
        return -sum(where(taken, log_p * wrap(q.astype(logits.dtype)), zeros), axis=1)


BCELoss = as_module("BCELoss", binary_cross_entropy, _BCE)
BCEWithLogitsLoss = as_module("BCEWithLogitsLoss", binary_cross_entropy_with_logits, _LOGITS)
NLLLoss = as_module("NLLLoss", nll_loss, _NLL)
CrossEntropyLoss = as_module("CrossEntropyLoss", cross_entropy, _CROSS)
KLDivLoss = as_module("KLDivLoss", kl_div, _KL)
