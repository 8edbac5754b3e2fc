"""Losses, as functions and as Modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.module import Module
from impl_cupy.ops.activation import log_softmax, log_softmax_raw
from impl_cupy.ops.elementwise import square, subtract
from impl_cupy.ops.indexing import getitem
from impl_cupy.ops.manipulation import reshape
from impl_cupy.ops.primitive import as_tensor
from impl_cupy.ops.reduction import mean, sum
from impl_cupy.tensor import RawArray, Tensor

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean, "sum": sum, "none": lambda x: x}


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Give ``(input - target)**2``.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : "mean", "sum" or "none"

    Raises
    ------
    ValueError
        If the shapes differ, or `reduction` is another name.
    """
    _check_reduction("mse_loss", reduction)
    first, second = as_tensor("mse_loss", input), as_tensor("mse_loss", target)
    if first.shape != second.shape:
        msg = (
            f"mse_loss: input and target must have one shape, got {first.shape} and {second.shape}"
        )
        raise ValueError(msg)
    return _REDUCTIONS[reduction](square(subtract(first, second)))


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Give ``-log_softmax(input)[target]`` over the class axis.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
        Logits.
    target : Tensor of integers, shape (N,), () or (N, d1, ...)
        Classes, ``0 <= t < C``.
    reduction : "mean", "sum" or "none"
        "mean" divides by the number of targets.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is out of range, or `reduction` is another name.
    TypeError
        If `target` is no Tensor of integers, or `input` is not floating.
    """
    _check_reduction("cross_entropy", reduction)
    logits, classes = as_tensor("cross_entropy", input), as_tensor("cross_entropy", target)
    if logits.dtype.kind != "f":
        msg = f"cross_entropy: input must be floating, got dtype {logits.dtype.name}"
        raise TypeError(msg)
    if classes.dtype.kind != "i":
        msg = f"cross_entropy: target must be class indices, got dtype {classes.dtype.name}"
        raise TypeError(msg)
    if logits.ndim == 0:
        msg = "cross_entropy: input must have a class axis, got shape ()"
        raise ValueError(msg)
    axis = 0 if logits.ndim == 1 else 1
    wanted = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if classes.shape != wanted:
        msg = (
            f"cross_entropy: target must have shape {wanted} for input of shape {logits.shape}, "
            f"got {classes.shape}"
        )
        raise ValueError(msg)
    count = logits.shape[axis]
    _check_classes(classes._data, count)
    samples, rest = math.prod(wanted[:axis]), math.prod(wanted[axis:])
    losses = CrossEntropyFunction.apply(
        reshape(logits, (samples, count, rest)), reshape(classes, (samples, rest))
    )
    return _REDUCTIONS[reduction](reshape(losses, wanted))


def _check_reduction(name: str, reduction: Any) -> None:
    if reduction not in _REDUCTIONS:
        msg = f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}"
        raise ValueError(msg)


def _check_classes(classes: RawArray, count: int) -> None:
    outside = cp.logical_or(classes < 0, classes >= count)
    if bool(cp.any(outside)):
        worst = int(classes[outside].reshape(-1)[0])
        msg = f"cross_entropy: target {worst} is outside 0 <= t < C = {count}"
        raise ValueError(msg)


class CrossEntropyFunction(Function):
    """The losses of the samples, shape (N, D), for logits (N, C, D) and classes (N, D)."""

    _fresh_gradients = True

    @staticmethod
    def forward(ctx: Any, logits: RawArray, target: RawArray) -> RawArray:
        """Pick ``-log_softmax(logits)`` at the classes."""
        log_p = log_softmax_raw(logits, (1,))
        classes = cp.ascontiguousarray(target.astype("int64", copy=False))
        ctx.save_for_backward(log_p, classes)
        return -cp.take_along_axis(log_p, cp.expand_dims(classes, 1), axis=1)[:, 0, :]

    @staticmethod
    def backward(ctx: Any, grad: RawArray) -> tuple[RawArray, None]:
        """Form ``(softmax - [c == target]) grad`` in one kernel."""
        log_p, classes = ctx.saved_tensors
        out = cp.empty(log_p.shape, dtype=log_p.dtype)
        launch(
            "loss",
            "cross_entropy_backward",
            log_p.dtype,
            log_p.size,
            cp.ascontiguousarray(log_p),
            classes,
            cp.ascontiguousarray(grad),
            out,
            log_p.shape[1],
            log_p.shape[2],
        )
        return out, None

    @staticmethod
    def composite(logits: Tensor, target: Tensor) -> Tensor:
        """Do the same with `ops`."""
        samples, rest = target.shape
        rows = cp.arange(samples).reshape(samples, 1)
        columns = cp.arange(rest).reshape(1, rest)
        return -getitem(log_softmax(logits, axis=1), (rows, target, columns))


class _Loss(Module):
    """Holds the reduction of a loss."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        _check_reduction(type(self).__name__, reduction)
        self.reduction = reduction


class MSELoss(_Loss):
    """`mse_loss` as a Module.

    Parameters
    ----------
    reduction : "mean", "sum" or "none"
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compare two Tensors of one shape."""
        return mse_loss(input, target, self.reduction)


class CrossEntropyLoss(_Loss):
    """`cross_entropy` as a Module.

    Parameters
    ----------
    reduction : "mean", "sum" or "none"
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compare logits with class indices."""
        return cross_entropy(input, target, self.reduction)
