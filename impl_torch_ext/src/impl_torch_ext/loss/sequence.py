"""The loss of sequences whose places in time are unknown."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_flag, check_floating, check_int, check_range, shown
from impl_torch_ext.dtypes import float32, float64
from impl_torch_ext.function import Function
from impl_torch_ext.loss.reduction import Loss, check_reduction, reduced
from impl_torch_ext.tensor import index_array
from impl_torch_ext.tracing import (
    each_slice,
    is_sliced,
    known_only_later,
    pushes_forward,
    transforms_are_active,
)

__all__ = ["CTCLoss", "ctc_loss"]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return `-log` of the probability that a path of symbols becomes the target.

    A path becomes a target when repeated symbols are merged and then blanks removed. Source: Graves
    et al. 2006, equations 6 to 8; the page of `torch.nn.CTCLoss`.

    Parameters
    ----------
    log_probs : Tensor, shape (T, N, C) or (T, C)
        Logarithms of probabilities; the gradient takes them for independent.
    targets : integer Tensor, shape (N, S), (sum(target_lengths),) or (S,)
        Of rows, the first `target_lengths[n]` count.
    input_lengths, target_lengths : integer Tensor (N,), or tuple or list of N ints
    blank : int
    reduction : {"mean", "sum", "none"}
        "mean" divides each loss by the target's length first.
    zero_infinity : bool
        Whether a sequence without a path has loss 0, not inf.

    Returns
    -------
    Tensor
        A scalar, or with "none" of shape (N,) or ().

    Raises
    ------
    ValueError
        If shapes, lengths or labels do not fit, or `reduction` is none of the three.
    TypeError
        If `log_probs` is not floating, or targets or lengths are not integers.
    """
    check_reduction("ctc_loss", "reduction", reduction)
    check_floating("ctc_loss", log_probs, "log_probs")
    zeroed = check_flag("ctc_loss", "zero_infinity", zero_infinity)
    if log_probs.ndim not in (2, 3):  # loss-21
        msg = (
            f"ctc_loss: log_probs must have shape (T, N, C) or (T, C), got {tuple(log_probs.shape)}"
        )
        raise ValueError(msg)
    single = log_probs.ndim == 2
    batch = log_probs.unsqueeze(1) if single else log_probs
    read = targets, input_lengths, target_lengths
    if is_sliced(*read):
        one = partial(ctc_loss, blank=blank, reduction=reduction, zero_infinity=zeroed)
        found: Tensor = each_slice(one, log_probs, *read)
        return found
    steps, count, symbols = batch.shape
    blank = check_int("ctc_loss", "blank", blank)
    if not 0 <= blank < symbols:
        msg = f"ctc_loss: blank must be in 0 <= blank < C = {symbols}, got {blank}"
        raise ValueError(msg)
    inputs = _lengths("input_lengths", input_lengths, count, steps, "T")
    labels, sizes = _labels(targets, target_lengths, count, symbols, blank, single)
    values = _values(batch, labels, torch.tensor(inputs, dtype=torch.int64), sizes, blank)
    if zeroed:
        values = torch.where(values == math.inf, 0, values)
    if reduction == "mean":
        values = values / sizes.clamp_min(1)
    if single:
        values = values.squeeze(0)
    return reduced(values, reduction)


class CTCLoss(Loss, function=ctc_loss, blank=check_int, zero_infinity=check_flag):
    """`ctc_loss` as a Module; its options are those of the function."""


def _lengths(argument: str, given: Any, count: int, most: int, bound: str) -> list[int]:
    """Return lengths as ints, or raise if they are not `count` from 0 to `most`."""
    if isinstance(given, tuple | list):
        found = [check_int("ctc_loss", f"each of {argument}", length) for length in given]
    else:
        found = index_array("ctc_loss", argument, given, most + 1).reshape(-1).tolist()
    if len(found) != count or (isinstance(given, Tensor) and given.ndim > 1):
        came = tuple(given.shape) if isinstance(given, Tensor) else shown(given)
        msg = f"ctc_loss: {argument} must be {count} lengths, got {len(found)}: {came}"
        raise ValueError(msg)
    for length in found:
        if not 0 <= length <= most:
            msg = f"ctc_loss: {argument} must be from 0 to {bound} = {most}, got {length}"
            raise ValueError(msg)
    return found


def _labels(
    targets: Any, target_lengths: Any, count: int, symbols: int, blank: int, single: bool
) -> tuple[Tensor, Tensor]:
    """Return the targets as rows that blanks fill up, and their lengths, or raise."""
    labels = index_array("ctc_loss", "targets", targets, symbols).to(torch.int64)
    flat = labels.ndim == 1 and not single
    if single and labels.ndim == 1:
        labels = labels.unsqueeze(0)
    if not flat and (labels.ndim != 2 or len(labels) != count):
        wanted = f"({count}, S) or (sum(target_lengths),)"
        msg = f"ctc_loss: targets must have shape {wanted}, got {tuple(labels.shape)}"
        raise ValueError(msg)
    most = labels.shape[-1]
    sizes = _lengths("target_lengths", target_lengths, count, most, "S")
    total = sum(sizes)
    if flat and most != total:
        msg = f"ctc_loss: targets must have sum(target_lengths) = {total} labels, got {most}"
        raise ValueError(msg)
    longest = max(sizes, default=0)
    lengths = torch.tensor(sizes, dtype=torch.int64)
    counted = torch.arange(longest) < lengths.unsqueeze(1)
    chosen = labels if flat else labels[:, :longest][counted]
    text = "labels must be in 0 <= t < C"
    check_range("ctc_loss", chosen, symbols, text, ValueError)
    rows = torch.full((count, longest), blank)
    rows[counted] = chosen
    return rows, lengths


def _values(log_probs: Tensor, labels: Tensor, inputs: Tensor, sizes: Tensor, blank: int) -> Tensor:
    """Return the loss of each sequence."""
    # torch's kernels have no rules for transforms and take neither these dtypes nor nothing.
    special = transforms_are_active() or pushes_forward() or known_only_later()
    if special or log_probs.dtype not in (float32, float64) or not log_probs.numel():
        return -_forward(log_probs, labels, inputs, sizes, blank)
    values: Tensor = _CTC.apply(log_probs, labels, inputs, sizes, blank=blank)
    return values


class _CTC(Function):
    """The loss of each sequence, by torch's kernel of the forward variables.

    torch's own gradient has `exp(log_probs)` added, which to take away again would cost digits.
    Here it is made of the forward variables of a sequence and of its reverse (equations 8 to 15).
    """

    _pure = True

    @staticmethod
    def composite(
        log_probs: Tensor, labels: Tensor, inputs: Tensor, sizes: Tensor, *, blank: int
    ) -> Tensor:
        """Return the same of differentiable functions."""
        return -_forward(log_probs, labels, inputs, sizes, blank)

    @staticmethod
    def forward(
        ctx: Any, log_probs: Tensor, labels: Tensor, inputs: Tensor, sizes: Tensor, *, blank: int
    ) -> Tensor:
        """Return the losses."""
        values, alpha = _alpha(log_probs, labels, inputs, sizes, blank)
        ctx.blank = blank
        ctx.save_for_backward(log_probs, labels, inputs, sizes, values, alpha)
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return minus the expected number of times that a path passes each element."""
        log_probs, labels, inputs, sizes, values, alpha = ctx.saved_tensors
        steps, _, symbols = log_probs.shape
        time, place = torch.arange(steps), torch.arange(alpha.shape[2])
        places = labels.new_full((len(labels), len(place)), ctx.blank)
        places[:, 1::2] = labels
        # Where each step and each place is in the reverse of its sequence; beyond the end the same.
        ends, last = inputs.unsqueeze(1), 2 * sizes.unsqueeze(1)
        back = torch.where(time < ends, ends - 1 - time, time)
        turned = torch.where(place <= last, last - place, place)
        _, beta = _alpha(
            log_probs.gather(0, back.T.unsqueeze(2).expand(log_probs.shape)),
            places.gather(1, turned)[:, 1::2],
            inputs,
            sizes,
            ctx.blank,
        )
        beta = beta.gather(1, back.unsqueeze(2).expand(beta.shape))
        beta = beta.gather(2, turned.unsqueeze(1).expand(beta.shape))
        every = places.unsqueeze(1).expand(alpha.shape)
        # Both have the probability at their step. What lies beyond an end is not set.
        chosen = log_probs.transpose(0, 1).gather(2, every)
        there = (time < ends).unsqueeze(2) & (place <= last).unsqueeze(1)
        there &= (alpha != -math.inf) & (beta != -math.inf)
        passed = torch.exp(alpha + beta - chosen + values.reshape(-1, 1, 1))
        passed = torch.where(there, passed * -grad.reshape(-1, 1, 1), 0)
        slope = passed.new_zeros((len(labels), steps, symbols)).scatter_add_(2, every, passed)
        return slope.transpose(0, 1), None, None, None


def _alpha(
    log_probs: Tensor, labels: Tensor, inputs: Tensor, sizes: Tensor, blank: int
) -> tuple[Tensor, Tensor]:
    """Return the losses and the logarithms of the forward variables, (N, T, 2 S + 1)."""
    lengths = inputs.tolist(), sizes.tolist()
    values, alpha = torch._ctc_loss(log_probs, labels, *lengths, blank)
    return values, alpha


def _forward(
    log_probs: Tensor, labels: Tensor, inputs: Tensor, sizes: Tensor, blank: int
) -> Tensor:
    """Return the logarithm of the probability of each row of labels (equations 6 and 7)."""
    count, longest = labels.shape
    places = torch.full((count, 2 * longest + 1), blank)
    places[:, 1::2] = labels
    # A label may follow another one without a blank between them if it differs.
    skips = torch.zeros((count, 2 * longest + 1), dtype=torch.bool)
    skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    chosen = log_probs.gather(2, places.expand(len(log_probs), *places.shape))
    state = chosen.new_full(places.shape, -math.inf)
    state[:, 0] = 0
    whole = int(inputs.min()) if count else 0
    for step, now in enumerate(chosen.unbind()):
        before = torch.nn.functional.pad(state, (2, 0), value=-math.inf)
        skipped = torch.where(skips, before[:, :-2], -math.inf)
        arrived = _log_of_sum(state, before[:, 1:-1], skipped) + now
        if step < whole:
            state = arrived
        else:
            state = torch.where((step < inputs).unsqueeze(1), arrived, state)
    last = (2 * sizes).unsqueeze(1)
    ends = state.gather(1, torch.cat([last, (last - 1).clamp_min(0)], 1))
    label = torch.where(sizes > 0, ends[:, 1], -math.inf)
    return _log_of_sum(ends[:, 0], label)


def _log_of_sum(*xs: Tensor) -> Tensor:
    """Return `log(sum(exp(x)))`, of gradient 0 where nothing is possible."""
    with torch.no_grad():
        most = xs[0]
        for x in xs[1:]:
            most = torch.maximum(most, x)
        never = most == -math.inf
        most = most.masked_fill(never, 0)
    total = torch.exp(xs[0] - most)
    for x in xs[1:]:
        total = total + torch.exp(x - most)
    logarithm = torch.log(total.masked_fill(never, 1)) + most
    return logarithm.masked_fill(never, -math.inf)
