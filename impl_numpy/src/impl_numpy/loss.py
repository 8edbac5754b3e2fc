"""Losses, as functions and as Modules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy import ops
from impl_numpy.module import Module
from impl_numpy.nn.checks import as_tensor
from impl_numpy.tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)**2, reduced.

    Parameters
    ----------
    input, target : Tensor of one shape
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes differ or the reduction is another.
    """
    _check_reduction("mse_loss", reduction)
    x, t = as_tensor("mse_loss", "input", input), as_tensor("mse_loss", "target", target)
    if x.shape != t.shape:
        msg = f"mse_loss: target must have the shape of input, {x.shape}, got {t.shape}"
        raise ValueError(msg)
    return _reduced(ops.square(x - t), reduction)


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """-log_softmax(input)[target], reduced.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logits of C classes.
    target : Tensor of integers, shape (), (N,) or (N, d1, ...)
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of targets.

    Raises
    ------
    ValueError
        If the shape of target does not fit, a class is not in 0 <= t < C, or the reduction is
        another.
    TypeError
        If target is not of integers.
    """
    _check_reduction("cross_entropy", reduction)
    x = as_tensor("cross_entropy", "input", input)
    t = as_tensor("cross_entropy", "target", target).data
    if not x.shape:
        msg = f"cross_entropy: input must have an axis of classes, got shape {x.shape}"
        raise ValueError(msg)
    if t.dtype.kind != "i":
        msg = f"cross_entropy: target must hold integers, got {t.dtype}"
        raise TypeError(msg)
    axis = min(1, x.ndim - 1)
    wanted = x.shape[:axis] + x.shape[axis + 1 :]
    if t.shape != wanted:
        msg = f"cross_entropy: target must have shape {wanted} for input {x.shape}, got {t.shape}"
        raise ValueError(msg)
    classes = x.shape[axis]
    outside = t[(t < 0) | (t >= classes)]
    if outside.size:
        wanted_range = f"at least 0 and less than C = {classes}"
        msg = f"cross_entropy: a target must be {wanted_range}, got {outside[0]}"
        raise ValueError(msg)
    order = (*range(axis), *range(axis + 1, x.ndim), axis)
    rows = ops.permute_dims(x, order).reshape((math.prod(wanted), classes))
    picked = ops.log_softmax(rows)[np.arange(t.size), t.ravel()]
    return _reduced(-picked.reshape(wanted), reduction)


class _Loss(Module):
    """A loss with a reduction."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        _check_reduction(type(self).__name__, reduction)
        self.reduction = reduction


class MSELoss(_Loss):
    """`mse_loss` as a Module.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """(input - target)**2, reduced."""
        return mse_loss(input, target, self.reduction)


class CrossEntropyLoss(_Loss):
    """`cross_entropy` as a Module.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """-log_softmax(input)[target], reduced."""
        return cross_entropy(input, target, self.reduction)


def _check_reduction(operation: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        msg = f"{operation}: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}"
        raise ValueError(msg)


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss
