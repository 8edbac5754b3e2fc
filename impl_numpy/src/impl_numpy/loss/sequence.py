"""Connectionist temporal classification: the loss of a sequence of labels without places."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from impl_numpy import ops
from impl_numpy.by_slice import sliceable
from impl_numpy.checks import check_indices, check_int, shown
from impl_numpy.dtypes import Array, int64, is_raw
from impl_numpy.function import Function
from impl_numpy.loss.reduction import Loss, as_one, floating, option, reduced
from impl_numpy.recording import quiet
from impl_numpy.tensor import Tensor, wrap

_NAME = "ctc_loss"
# A logarithm of 0 with which differences can be taken.
_NEVER = -1e30


class Paths(NamedTuple):
    """What the paths of N sequences can be: constants.

    Attributes
    ----------
    labels : numpy.ndarray, shape (N, L)
        The symbols of a target with blanks around them; L = 2 S + 1.
    skips : numpy.ndarray of bool, shape (N, L)
        Where a path may come from two symbols before.
    steps, ends : numpy.ndarray, shape (N,)
        The length of each input, and the last symbol's place in `labels`: a blank.
    """

    labels: Array
    skips: Array
    steps: Array
    ends: Array

    def emitted(self, x: Any) -> Any:
        """Return the number of each symbol at each step, (T, N, L), of (T, N, C)."""
        times, rows = np.arange(x.shape[0])[:, None, None], np.arange(x.shape[1])[:, None]
        return x[times, rows, self.labels]

    def last(self) -> Array:
        """Return where a path may end, (N, L)."""
        places = np.arange(self.labels.shape[1])
        ends = self.ends[:, None]
        return (places == ends) | ((places == ends - 1) & (places >= 0))


def _before(a: Array, k: int) -> Array:
    """Return what stands k symbols before, -inf where nothing does."""
    moved = np.full_like(a, -np.inf)
    moved[:, k:] = a[:, :-k]
    return moved


def _after(a: Array, k: int) -> Array:
    """Return what stands k symbols after, -inf where nothing does."""
    moved = np.full_like(a, -np.inf)
    moved[:, :-k] = a[:, k:]
    return moved


@quiet
def _forward(emitted: Array, paths: Paths) -> tuple[Array, Array]:
    """Return the logarithms of the paths to each symbol, and of all (equations 6 to 8)."""
    steps, rows = len(emitted), np.arange(len(paths.labels))
    alphas = np.full(emitted.shape, -np.inf)
    barred = np.where(paths.skips, 0.0, -np.inf)
    alphas[:1, :, :2] = emitted[:1, :, :2]
    for t in range(1, steps):
        a = alphas[t - 1]
        come = np.logaddexp(np.logaddexp(a, _before(a, 1)), _before(a, 2) + barred)
        np.add(come, emitted[t], out=alphas[t])
    if not steps:
        return alphas, np.where(paths.ends == 0, 0.0, -np.inf)
    final = alphas[np.maximum(paths.steps - 1, 0), rows]
    whole = np.logaddexp.reduce(np.where(paths.last(), final, -np.inf), axis=1)
    empty = np.where(paths.ends == 0, 0.0, -np.inf)
    return alphas, np.where(paths.steps == 0, empty, whole)


@quiet
def _expected(emitted: Array, alphas: Array, whole: Array, paths: Paths) -> Array:
    """Return how often paths pass each symbol at each step, (T, N, L)."""
    counts = np.zeros(emitted.shape)
    possible = np.where(np.isneginf(whole), np.inf, whole)[:, None]
    barred = np.where(paths.skips, 0.0, -np.inf)
    last = np.where(paths.last(), 0.0, -np.inf)
    beta = np.full_like(last, -np.inf)
    for t in range(len(emitted) - 1, -1, -1):
        if t + 1 < len(emitted):
            ahead = beta + emitted[t + 1]
            go = np.logaddexp(ahead, _after(ahead, 1))
            beta = np.logaddexp(go, _after(ahead + barred, 2))
        left = (paths.steps - 1 - t)[:, None]
        beta = np.where(left > 0, beta, np.where(left == 0, last, -np.inf))
        counts[t] = np.where(left >= 0, np.exp(alphas[t] + beta - possible), 0)
    return counts


class CTCFunction(Function):
    """The losses of N sequences; the gradient is the expected number of passes (loss-21)."""

    _title = "ctc_loss"
    _trusted = True

    @staticmethod
    def forward(ctx: Any, x: Array, *, paths: Paths, zero: bool) -> Array:
        """Return minus the logarithm of the sum of all paths, (N,)."""
        emitted = paths.emitted(x).astype(np.float64)
        alphas, whole = _forward(emitted, paths)
        ctx.parts = (emitted, alphas, whole, paths, x.shape, x.dtype)
        loss = -whole
        if zero:
            loss[np.isposinf(loss)] = 0
        return loss.astype(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Array) -> Array:
        """Return minus the expected number of passes, by class, times the gradient."""
        emitted, alphas, whole, paths, shape, dtype = ctx.parts
        counts = _expected(emitted, alphas, whole, paths)
        counts *= -np.asarray(grad)[:, None]
        steps, rows, classes = shape
        cells = np.arange(steps * rows).reshape(steps, rows, 1) * classes + paths.labels
        summed = np.bincount(cells.ravel(), counts.ravel(), steps * rows * classes)
        return summed.reshape(shape).astype(dtype)

    @staticmethod
    def composite(x: Tensor, *, paths: Paths, zero: bool) -> Tensor:
        """Return the same losses, made from operations, for second derivatives."""
        never = wrap(np.array(_NEVER, x.dtype), None)
        emitted = paths.emitted(ops.where(~np.isneginf(x._data), x, never))
        rows, length = paths.labels.shape
        start = np.broadcast_to(np.arange(length) < 2, (rows, length))
        alpha = ops.where(start, emitted[0], never)
        pad = wrap(np.full((rows, 2), _NEVER, x.dtype), None)
        for t in range(1, emitted.shape[0]):
            shifted = ops.concat([pad, alpha], axis=1)
            skipped = ops.where(paths.skips, shifted[:, :length], never)
            come = ops.logsumexp(ops.stack([alpha, shifted[:, 1:-1], skipped]), axis=0)
            alpha = ops.where((paths.steps > t)[:, None], come + emitted[t], alpha)
        loss = -ops.logsumexp(ops.where(paths.last(), alpha, never), axis=1)
        zeros = wrap(np.zeros((), x.dtype), None)
        possible = loss._data < -_NEVER / 2
        return ops.where(possible | np.isnan(loss._data), loss, zeros) if zero else loss


@sliceable
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return -log of the probability of all paths that become the target, reduced.

    Graves et al. 2006, equations 6 to 8; torch.nn.CTCLoss. The gradient is that of this function
    of independent `log_probs`.

    Parameters
    ----------
    log_probs : floating Tensor, shape (T, N, C) or (T, C)
    targets : Tensor of integers, shape (N, S), or (sum(target_lengths),); (S,) for one sequence
    input_lengths, target_lengths : Tensor of integers or sequence of int, shape (N,)
        (1,) or () for one sequence.
    blank : int
    reduction : {"mean", "sum", "none"}
        "mean" divides each loss by the target's length, and their sum by N.
    zero_infinity : bool
        Give 0 instead of inf, with the gradient 0, where there is no path.

    Raises
    ------
    ValueError
        If a shape, a length, a label or blank does not fit, or the reduction is another.
    TypeError
        If log_probs is not floating, or targets or lengths are not of integers.
    """
    option(_NAME, "reduction", reduction)
    x = floating(_NAME, log_probs, "log_probs")
    if x.ndim not in (2, 3):
        msg = f"{_NAME}: log_probs must have shape (T, N, C) or (T, C), got {x.shape}"
        raise ValueError(msg)
    single = x.ndim == 2
    steps, rows, classes = (x.shape[0], 1, x.shape[1]) if single else x.shape
    blank, zero = option(_NAME, "blank", blank), option(_NAME, "zero_infinity", zero_infinity)
    if not 0 <= blank < classes:
        msg = f"{_NAME}: blank must be at least 0 and less than C = {classes}, got {blank}"
        raise ValueError(msg)
    inputs = _lengths("input_lengths", input_lengths, rows, single, steps, "T")
    labels, sizes = _labels(targets, target_lengths, rows, single)
    counted = np.arange(labels.shape[1]) < sizes[:, None]
    outside = labels[counted & ((labels < 0) | (labels >= classes))]
    if outside.size:
        msg = f"{_NAME}: a target must be at least 0 and less than C = {classes}, got {outside[0]}"
        raise ValueError(msg)
    paths = _paths(np.where(counted, labels, blank), inputs, sizes, blank)
    loss = CTCFunction.apply(as_one(x, (steps, rows, classes)), paths=paths, zero=zero)
    if reduction == "mean":
        loss = loss / np.maximum(sizes, 1).astype(x.dtype)
    return reduced(as_one(loss, ()) if single else loss, reduction)


def _paths(labels: Array, steps: Array, sizes: Array, blank: int) -> Paths:
    """Return what the paths of labels can be, with blanks around each."""
    rows, length = labels.shape
    padded = np.full((rows, 2 * length + 1), blank, int64)
    padded[:, 1::2] = labels
    skips = np.zeros(padded.shape, bool)
    skips[:, 2:] = (padded[:, 2:] != blank) & (padded[:, 2:] != padded[:, :-2])
    return Paths(padded, skips, steps, 2 * sizes)


def _integers(name: str, values: Any) -> Array:
    """Return integers of a Tensor, raw array or sequence of ints."""
    if isinstance(values, Tensor) or is_raw(values):
        return check_indices(_NAME, name, values)
    if not isinstance(values, (tuple, list)):
        msg = f"{_NAME}: {name} must be a Tensor of integers or a list of ints, got {shown(values)}"
        raise TypeError(msg)
    return np.array([check_int(_NAME, f"{name}[{k}]", n) for k, n in enumerate(values)], int64)


def _lengths(
    name: str, values: Any, rows: int, single: bool, largest: int | None, bound: str
) -> Array:
    """Return one length for each sequence, checked."""
    lengths = _integers(name, values)
    if lengths.shape != (rows,) and not (single and lengths.shape == ()):
        msg = f"{_NAME}: {name} must have shape ({rows},), one for each of N = {rows}, got "
        raise ValueError(msg + f"{lengths.shape}")
    lengths = lengths.reshape(rows)
    for outside in lengths[lengths < 0]:
        msg = f"{_NAME}: {name} must not be negative, got {outside}"
        raise ValueError(msg)
    if largest is not None and (lengths > largest).any():
        msg = f"{_NAME}: {name} must be at most {bound} = {largest}, got {lengths.max()}"
        raise ValueError(msg)
    return lengths


def _labels(targets: Any, lengths: Any, rows: int, single: bool) -> tuple[Array, Array]:
    """Return labels as (N, S), S being the longest target, and the targets' lengths."""
    name = "target_lengths"
    labels = check_indices(_NAME, "targets", targets)
    if single and labels.ndim == 1:
        labels = labels[None]
    if labels.ndim == 2 and len(labels) == rows:
        sizes = _lengths(name, lengths, rows, single, labels.shape[1], "S")
        return labels[:, : sizes.max(initial=0)], sizes
    if labels.ndim != 1 or single:
        msg = (
            f"{_NAME}: targets must have shape (N, S) or (sum(target_lengths),), for N = {rows}, "
            f"got {labels.shape}"
        )
        raise ValueError(msg)
    sizes = _lengths(name, lengths, rows, single, None, "S")
    if labels.size != sizes.sum():
        msg = f"{_NAME}: targets must hold sum(target_lengths) = {sizes.sum()}, got {labels.size}"
        raise ValueError(msg)
    table = np.zeros((rows, sizes.max(initial=0)), int64)
    table[np.arange(table.shape[1]) < sizes[:, None]] = labels
    return table, sizes


class CTCLoss(Loss, of=ctc_loss):
    """Compute `loss.ctc_loss`, with its options named once."""
