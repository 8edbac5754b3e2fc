"""The loss of sequences whose alignment to the target is not known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, check_flag, check_int
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.loss.reduction import REDUCTIONS, Options, as_module, floating_input
from impl_cupy.memory import RawArray
from impl_cupy.ops.activation import logsumexp
from impl_cupy.ops.elementwise import clip, where
from impl_cupy.ops.indexing import getitem
from impl_cupy.recording import as_indices
from impl_cupy.slices import one_by_one
from impl_cupy.sums import product
from impl_cupy.tape import handles, wrap
from impl_cupy.tensor import Tensor

_NAME = "ctc_loss"
_WARP = 32
# The logarithm of what does not happen, where -inf would make NaN of a difference.
_NEVER = -1e30
_CTC = Options(_NAME, blank=check_int, zero_infinity=check_flag)

Host = np.ndarray[Any, np.dtype[Any]]


@one_by_one
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return ``-log`` of the probability of all paths that become the target, reduced.

    A path has one symbol a step; it becomes what is left when repeated symbols are merged and then
    blanks are removed.

    Parameters
    ----------
    log_probs : Tensor, shape (T, N, C) or (T, C)
        Logarithms of the symbols' probabilities.
    targets : Tensor of integers, shape (N, S), (sum(target_lengths),) or (S,)
        Labels, ``0 <= t < C``; numbers beyond a row's length are not looked at.
    input_lengths, target_lengths : Tensor of integers, or tuple or list of int, N of them
    blank : int
        The class of the blank.
    reduction : "mean", "sum" or "none"
        "mean" divides each loss by its target's length first.
    zero_infinity : bool
        Whether the loss of a sequence without a path is 0 instead of infinite.

    Returns
    -------
    Tensor, shape (), or (N,) with "none"

    Raises
    ------
    TypeError
        If one is no array, `log_probs` is not floating, or targets or lengths are no integers.
    ValueError
        If shapes, lengths, labels or `blank` do not fit, or `reduction` is another name.

    Source: Graves et al. 2006, equations 6 to 8; the page of torch.nn.CTCLoss.
    """
    _CTC.check(reduction, blank=blank, zero_infinity=zero_infinity)
    x = floating_input(_NAME, log_probs, "log_probs")
    if x.ndim not in (2, 3):
        msg = f"{_NAME}: log_probs must have shape (T, N, C) or (T, C), got {x.shape}"
        raise ValueError(msg)
    is_single = x.ndim == 2
    if is_single:
        x = handles.reshape(x, (x.shape[0], 1, x.shape[1]))
    states, steps, sizes = _plan(x.shape, targets, input_lengths, target_lengths, int(blank))
    device = tuple([cp.asarray(part) for part in (states, steps, sizes)])
    losses = CTCFunction.apply(x, *device)
    if zero_infinity:
        losses = where(losses == math.inf, handles.namespace.zeros_like(losses), losses)
    if reduction == "mean":
        losses = losses / wrap(cp.maximum(device[2], 1).astype(x.dtype))
    if is_single:
        losses = handles.reshape(losses, ())
    return REDUCTIONS[reduction](losses)


def _plan(
    shape: tuple[int, ...], targets: Any, input_lengths: Any, target_lengths: Any, blank: int
) -> tuple[Host, Host, Host]:
    """Check what is known of the sequences, on the host.

    Returns
    -------
    tuple of numpy.ndarray
        The classes of the states (N, 2 S + 1), blanks among the labels and around them; the
        lengths of the inputs and of the targets.
    """
    length, count, classes = shape
    if not 0 <= blank < classes:
        msg = f"{_NAME}: blank must be a class, 0 <= blank < C = {classes}, got {blank}"
        raise ValueError(msg)
    steps = _lengths("input_lengths", input_lengths, count)
    sizes = _lengths("target_lengths", target_lengths, count)
    labels = _integers("targets", targets)
    if count and steps.max() > length:
        msg = f"{_NAME}: input_lengths must be at most T = {length}, got {steps.max()}"
        raise ValueError(msg)
    if labels.ndim == 1 and len(shape) == 3:
        rows = _from_flat(labels, sizes, count)
    elif labels.ndim == 2 and labels.shape[0] == count:
        rows = labels
    else:
        msg = (
            f"{_NAME}: targets must have shape (N, S) or (S,) with N = {count}, got {labels.shape}"
        )
        raise ValueError(msg)
    if count and sizes.max() > rows.shape[1]:
        msg = f"{_NAME}: target_lengths must be at most S = {rows.shape[1]}, got {sizes.max()}"
        raise ValueError(msg)
    is_read = np.arange(rows.shape[1]) < sizes.reshape(-1, 1)
    wrong = rows[is_read & ((rows < 0) | (rows >= classes))]
    if wrong.size:
        msg = f"{_NAME}: target {wrong[0]} is outside 0 <= t < C = {classes}"
        raise ValueError(msg)
    longest = int(sizes.max()) if count else 0
    states = np.full((count, 2 * longest + 1), blank, np.int64)
    states[:, 1::2] = np.where(is_read, rows, blank)[:, :longest]
    return states, steps, sizes


def _from_flat(labels: Host, sizes: Host, count: int) -> Host:
    """Return the rows of targets that stand one after the other, or the one of one sequence."""
    wanted = int(sizes.sum())
    if count == 1 and labels.size >= wanted:
        return labels.reshape(1, -1)
    if labels.size != wanted:
        msg = f"{_NAME}: targets must hold sum(target_lengths) = {wanted} labels, got {labels.size}"
        raise ValueError(msg)
    rows = np.zeros((count, int(sizes.max()) if count else 0), np.int64)
    rows[np.arange(rows.shape[1]) < sizes.reshape(-1, 1)] = labels
    return rows


def _integers(argument: str, value: Any) -> Host:
    tensor = as_indices(_NAME, value)
    if tensor.dtype.kind != "i":
        msg = f"{_NAME}: {argument} must be integers, got dtype {tensor.dtype.name}"
        raise TypeError(msg)
    host: Host = cp.asnumpy(tensor._data).astype(np.int64)
    return host


def _lengths(argument: str, value: Any, count: int) -> Host:
    if isinstance(value, (tuple, list)):
        value = np.array(as_ints(_NAME, argument, value), np.int64)
    lengths = _integers(argument, value)
    if lengths.ndim > 1 or lengths.size != count or (lengths.ndim == 0 and count != 1):
        got = f"{lengths.size} of shape {lengths.shape}"
        msg = f"{_NAME}: {argument} must be N = {count} numbers, got {got}"
        raise ValueError(msg)
    if count and lengths.min() < 0:
        msg = f"{_NAME}: {argument} must not be negative, got {lengths.min()}"
        raise ValueError(msg)
    return lengths.reshape(-1)


class CTCFunction(Function):
    """The losses (N,) of log_probs (T, N, C); a warp goes along each sequence, once each way."""

    _by_slices = True
    _is_ours = True
    _called = _NAME

    @staticmethod
    def forward(ctx: Any, log_p: RawArray, states: RawArray, steps: RawArray, sizes: Any) -> Any:
        """Sum over the paths up to each step and state, in logarithms."""
        log_p = cp.ascontiguousarray(log_p)
        length, count, classes = log_p.shape
        alpha = cp.empty((count, length, states.shape[1]), dtype=log_p.dtype)
        losses = cp.empty((count,), dtype=log_p.dtype)
        numbers = (-math.inf, length, count, classes, states.shape[1])
        arrays = (log_p, states, steps, sizes, alpha, losses)
        launch("loss", "ctc_forward", log_p.dtype, _WARP * count, *arrays, *numbers)
        ctx.save_for_backward(*arrays)
        ctx.numbers = numbers
        return losses

    @staticmethod
    def backward(ctx: Any, grad: RawArray) -> tuple[Any, ...]:
        """Count the visits to each state, and add up those of one class."""
        arrays, (_, length, count, classes, most) = ctx.saved_tensors, ctx.numbers
        log_p, states = arrays[:2]
        beta = cp.empty((count, 2, most), dtype=log_p.dtype)
        shares = cp.zeros((count, length, most), dtype=log_p.dtype)
        arrays = (*arrays, cp.ascontiguousarray(grad), beta, shares)
        launch("loss", "ctc_backward", log_p.dtype, _WARP * count, *arrays, *ctx.numbers)
        hot = cp.expand_dims(states, 2) == cp.arange(classes)
        visits = product(shares, hot.astype(log_p.dtype))
        return cp.ascontiguousarray(cp.transpose(visits, (1, 0, 2))), None, None, None

    @staticmethod
    def composite(log_p: Tensor, states: Tensor, steps: Tensor, sizes: Tensor) -> Tensor:
        """Do the same on Tensors, step by step."""
        xp, (length, count, _) = handles.namespace, log_p.shape
        classes, lengths = _raw(states), _raw(steps)
        ends = cp.expand_dims(2 * _raw(sizes), 1)
        most = classes.shape[1]
        place = cp.arange(most).reshape(1, -1)
        rows = cp.arange(count).reshape(1, -1, 1)
        times = cp.arange(length).reshape(-1, 1, 1)
        emitted = getitem(clip(log_p, _NEVER), (times, rows, cp.expand_dims(classes, 0)))
        earlier = cp.concatenate([cp.full((count, 2), -1), classes[:, :-2]], axis=1)[:, :most]
        can_skip = wrap((place % 2 == 1) & (place > 1) & (classes != earlier))
        never = xp.full((count, most), _NEVER, dtype=log_p.dtype)
        sums = where(wrap(cp.broadcast_to(place < 2, never.shape)), xp.zeros_like(never), never)
        for t in range(length):
            comes = sums
            if t:
                wide = xp.concat([never[:, :1], never[:, :1], sums], axis=1)
                last = where(can_skip, wide[:, :most], never)
                comes = logsumexp(xp.stack([sums, wide[:, 1 : most + 1], last], axis=0), axis=0)
            is_there = wrap(cp.broadcast_to(cp.expand_dims(lengths > t, 1), never.shape))
            sums = where(is_there, comes + emitted[t], sums)
        is_end = wrap((place == ends) | (place == ends - 1))
        return -logsumexp(where(is_end, sums, never), axis=1)


def _raw(value: Any) -> RawArray:
    return value._data if isinstance(value, Tensor) else value


CTCLoss = as_module("CTCLoss", ctc_loss, _CTC)
