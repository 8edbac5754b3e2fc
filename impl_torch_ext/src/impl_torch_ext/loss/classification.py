"""Losses of probabilities and their logarithms."""

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import check_choice, check_flag, check_int
from impl_torch_ext.checks import check_probability as check_share
from impl_torch_ext.loss.reduction import (
    Loss,
    alike,
    check_reduction,
    check_weight,
    class_axis,
    class_weight,
    classes,
    reduced,
    spread_weight,
)
from impl_torch_ext.ops.transcendental import derived
from impl_torch_ext.tracing import anywhere, assert_later, readable

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "KLDivLoss", "NLLLoss"]
__all__ += ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy"]
__all__ += ["kl_div", "nll_loss"]

_check_divergence = check_choice("mean", "sum", "none", "batchmean")


def _log(x: Tensor) -> Tensor:
    return torch.log(x).clamp_min(-100)  # loss-13


def _log_rest(x: Tensor) -> Tensor:
    return torch.log1p(-x).clamp_min(-100)


_binary = derived(
    "binary_cross_entropy",
    lambda x, t: -(t * _log(x) + (1 - t) * _log_rest(x)),
    lambda x, t: (x - t) / (x * (1 - x)).clamp_min(1e-12),
    lambda x, _t: _log_rest(x) - _log(x),
)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Return `-weight (target log(input) + (1 - target) log(1 - input))`, reduced.

    Both logarithms are at least -100. Source: the page of `torch.nn.BCELoss`.

    Parameters
    ----------
    input : Tensor
        Probabilities.
    target : Tensor, the shape of `input`
    weight : Tensor, optional
        Broadcasts to the shape of `input`.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        If the shapes do not fit, a probability is outside 0 to 1, or `reduction` is none of the
        three.
    TypeError
        If `input` or `weight` is not floating.
    """
    name = "binary_cross_entropy"
    check_reduction(name, "reduction", reduction)
    x, t = alike(name, input, target)
    weight = spread_weight(name, "weight", weight, x)
    known = readable(x)
    if known is None:
        assert_later(~(x < 0) & ~(x > 1), f"{name}: input must be in [0, 1]")
    elif known.numel():
        known = known.detach()
        low, high = torch.aminmax(known)
        if not (low >= 0 and high <= 1):  # NaN is in both.
            outside = known[(known < 0) | (known > 1)]
            if outside.numel():
                msg = f"{name}: input must be in [0, 1], got {float(outside[0])}"
                raise ValueError(msg)
    values = _binary(x, t)
    return reduced(values if weight is None else values * weight, reduction)


class BCELoss(Loss, function=binary_cross_entropy, weight=check_weight):
    """`binary_cross_entropy` as a Module; its options are those of the function."""


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return `weight (pos_weight target softplus(-input) + (1 - target) softplus(input))`.

    Source: the page of `torch.nn.BCEWithLogitsLoss`.

    Parameters
    ----------
    input : Tensor
        Logits.
    target : Tensor, the shape of `input`
    weight, pos_weight : Tensor, optional
        Broadcast to the shape of `input`.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        If the shapes do not fit, or `reduction` is none of the three.
    TypeError
        If `input` or a weight is not floating.
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, "reduction", reduction)
    x, t = alike(name, input, target)
    weight = spread_weight(name, "weight", weight, x)
    positive = spread_weight(name, "pos_weight", pos_weight, x)
    # -log(sigmoid(-x)) is softplus(x) without torch's threshold.
    yes = t if positive is None else t * positive
    values = -(yes * torch.nn.functional.logsigmoid(x))
    values = values - (1 - t) * torch.nn.functional.logsigmoid(-x)  # loss-14
    return reduced(values if weight is None else values * weight, reduction)


class BCEWithLogitsLoss(
    Loss,
    function=binary_cross_entropy_with_logits,
    weight=check_weight,
    pos_weight=check_weight,
):
    """`binary_cross_entropy_with_logits` as a Module; its options are those of the function."""


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return `-weight[t] input[t]` for the class `t` of each row, reduced.

    Source: the page of `torch.nn.NLLLoss`.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
        Logarithms of probabilities.
    target : integer Tensor, shape (N,), () or (N, d1, ...)
    weight : Tensor, shape (C,), optional
    ignore_index : int
        Rows of this target count for nothing.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of `weight[t]`.

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `target`.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is outside `0 <= t < C`, or `reduction` is none of the
        three.
    TypeError
        If `target` is not of integers, or `input` or `weight` not floating.
    """
    check_reduction("nll_loss", "reduction", reduction)
    axis = class_axis("nll_loss", input)
    ignored = check_int("nll_loss", "ignore_index", ignore_index)
    weight = class_weight("nll_loss", weight, input, axis)
    indices = classes("nll_loss", input, target, axis, ignored)
    return torch.nn.functional.nll_loss(  # loss-15
        input, indices, weight, ignore_index=ignored, reduction=reduction
    )


class NLLLoss(Loss, function=nll_loss, weight=check_weight, ignore_index=check_int):
    """`nll_loss` as a Module; its options are those of the function."""


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return `-sum(weight q log_softmax(input))` over the classes, reduced.

    `q` is the smoothed target: `(1 - label_smoothing) target + label_smoothing / C`. Source: the
    page of `torch.nn.CrossEntropyLoss`.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
        Logits; the classes lie along axis 1, of (C,) along axis 0.
    target : integer Tensor, shape (N,), () or (N, d1, ...); or floating, the shape of `input`
        Classes, or their probabilities.
    weight : Tensor, shape (C,), optional
    ignore_index : int
        Rows of this class count for nothing.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of `weight[t]`; of probabilities by the number of rows.
    label_smoothing : float in [0, 1]

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input` without the classes.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is outside `0 <= t < C`, an option is out of range, or
        `reduction` is none of the three.
    TypeError
        If `target` is floating and of another shape, or `input` or `weight` not floating.
    """
    name = "cross_entropy"
    check_reduction(name, "reduction", reduction)
    axis = class_axis(name, input)
    ignored = check_int(name, "ignore_index", ignore_index)
    smoothing = check_share(name, "label_smoothing", label_smoothing)  # loss-16
    weight = class_weight(name, weight, input, axis)
    if isinstance(target, Tensor) and target.is_floating_point() and target.shape == input.shape:
        if ignored >= 0:
            msg = f"{name}: ignore_index must be negative for probabilities, got {ignored}"
            raise ValueError(msg)
        return reduced(_of_shares(input, target, weight, axis, smoothing), reduction)
    indices = classes(name, input, target, axis, ignored)
    away = indices == ignored
    if anywhere(away):  # loss-15: NaN in an ignored row reaches no gradient.
        input = input.masked_fill(away.unsqueeze(axis), 0)
    logarithms = ops.log_softmax(input, axis=axis)
    loss = torch.nn.functional.nll_loss(
        logarithms, indices, weight, ignore_index=ignored, reduction=reduction
    )
    if smoothing == 0:
        return loss
    every = -_along_classes(logarithms, weight, axis).sum(axis) * (
        smoothing / max(input.shape[axis], 1)
    )
    every = every.masked_fill(away, 0)
    if reduction == "mean":
        here = ~away
        # Not indexed by a mask: how many there are may not be known.
        counted = here if weight is None else weight[indices.where(here, 0)].where(here, 0)
        count = counted.sum()
        return (1 - smoothing) * loss + ops.sum(every) / count
    return (1 - smoothing) * loss + reduced(every, reduction)


class CrossEntropyLoss(
    Loss,
    function=cross_entropy,
    weight=check_weight,
    ignore_index=check_int,
    label_smoothing=check_share,
):
    """`cross_entropy` as a Module; its options are those of the function."""


def _along_classes(x: Tensor, weight: Tensor | None, axis: int) -> Tensor:
    """Return `x` times the weights of the classes."""
    if weight is None:
        return x
    return x * weight.reshape([-1 if place == axis else 1 for place in range(x.ndim)])


def _of_shares(
    input: Tensor, target: Tensor, weight: Tensor | None, axis: int, smoothing: float
) -> Tensor:
    """Return the loss of each row whose classes have the probabilities `target`."""
    if smoothing:
        target = (1 - smoothing) * target + smoothing / max(input.shape[axis], 1)
    return -(_along_classes(ops.log_softmax(input, axis=axis), weight, axis) * target).sum(axis)


def kl_div(
    input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Return `target (log(target) - input)`, 0 where `target` is 0, reduced.

    Source: the page of `torch.nn.KLDivLoss`.

    Parameters
    ----------
    input : Tensor
        Logarithms of probabilities.
    target : Tensor, the shape of `input`
        Probabilities, or with `log_target` their logarithms.
    reduction : {"mean", "sum", "none", "batchmean"}
        "batchmean" divides the sum by the length of the first axis.
    log_target : bool

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        If the shapes differ, or `reduction` is none of the four.
    TypeError
        If `input` is not floating.
    """
    _check_divergence("kl_div", "reduction", reduction)
    logarithms = check_flag("kl_div", "log_target", log_target)
    x, t = alike("kl_div", input, target)
    values = torch.exp(t) * (t - x) if logarithms else torch.xlogy(t, t) - t * x  # loss-17
    if reduction != "batchmean":
        return reduced(values, reduction)
    return ops.sum(values) / torch.full((), x.shape[0] if x.ndim else 1, dtype=x.dtype)


class KLDivLoss(Loss, function=kl_div, reduction=_check_divergence, log_target=check_flag):
    """`kl_div` as a Module; its options are those of the function."""
