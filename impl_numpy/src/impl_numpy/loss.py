"""Losses: functions, and Modules made from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from impl_numpy import ops
from impl_numpy.checks import check_choice, check_indices
from impl_numpy.module import Module
from impl_numpy.tensor import Tensor, as_tensor

__all__ = [
    "CrossEntropyLoss",
    "L1Loss",
    "MSELoss",
    "cross_entropy",
    "l1_loss",
    "mse_loss",
]

REDUCTIONS = ("mean", "sum", "none")

_largest: Any = np.maximum.reduce


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return (input - target)**2, reduced (torch.nn.MSELoss).

    Parameters
    ----------
    input, target : floating Tensor, both of one shape
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes differ or the reduction is another.
    TypeError
        If the input is not floating.
    """
    x, t = _pair("mse_loss", input, target, reduction)
    return _reduced(ops.square(x - t), reduction)  # loss-01


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return abs(input - target), reduced (torch.nn.L1Loss).

    Parameters
    ----------
    input, target : floating Tensor, both of one shape
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes differ or the reduction is another.
    TypeError
        If the input is not floating.
    """
    x, t = _pair("l1_loss", input, target, reduction)
    return _reduced(ops.abs(x - t), reduction)  # loss-07


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return -log_softmax(input)[target], reduced (torch.nn.CrossEntropyLoss).

    Parameters
    ----------
    input : floating Tensor, shape (C,), (N, C) or (N, C, d1, ...)
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
        If target is not of integers, or input not floating.
    """
    x = _floating("cross_entropy", input, reduction)
    if not x.shape:
        msg = f"cross_entropy: input must have an axis of classes, got shape {x.shape}"
        raise ValueError(msg)
    axis = min(1, x.ndim - 1)
    classes = x.shape[axis]
    t = check_indices("cross_entropy", "target", target, length=f"C = {classes}")
    wanted = x.shape[:axis] + x.shape[axis + 1 :]
    if t.shape != wanted:
        msg = f"cross_entropy: target must have shape {wanted} for input {x.shape}, got {t.shape}"
        raise ValueError(msg)
    # As unsigned numbers those below 0 are the largest.
    if t.size and _largest(t.view(np.uint64), None) >= classes:  # loss-05
        outside = t[(t < 0) | (t >= classes)]
        wanted_range = f"at least 0 and less than C = {classes}"
        msg = f"cross_entropy: a target must be {wanted_range}, got {outside[0]}"
        raise ValueError(msg)
    if x.ndim != 2:
        order = (*range(axis), *range(axis + 1, x.ndim), axis)
        x = ops.permute_dims(x, order).reshape((math.prod(wanted), classes))
    picked = -ops.indexing.pick(ops.log_softmax(x), t.reshape(-1))
    return _reduced(picked if len(wanted) == 1 else picked.reshape(wanted), reduction)


class _Loss(Module):
    """A loss as a Module.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    """

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        check_choice(type(self).__name__, "reduction", reduction, REDUCTIONS)
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Return the loss of the input against the target, reduced."""
        return type(self)._function(input, target, self.reduction)


class MSELoss(_Loss):
    """Compute `loss.mse_loss`, with the reduction named once.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    """

    _function = staticmethod(mse_loss)


class L1Loss(_Loss):
    """Compute `loss.l1_loss`, with the reduction named once.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    """

    _function = staticmethod(l1_loss)


class CrossEntropyLoss(_Loss):
    """Compute `loss.cross_entropy`, with the reduction named once.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    """

    _function = staticmethod(cross_entropy)


def _floating(name: str, input: Any, reduction: str) -> Tensor:
    """Return the input, checked to be floating (loss-08), after the reduction."""
    check_choice(name, "reduction", reduction, REDUCTIONS)
    x = as_tensor(name, input, "input")
    if x.dtype.kind != "f":
        msg = f"{name}: input must be float32 or float64, got {x.dtype}; cast with astype"
        raise TypeError(msg)
    return x


def _pair(name: str, input: Any, target: Any, reduction: str) -> tuple[Tensor, Tensor]:
    """Return an input and a target of the same shape."""
    x, t = _floating(name, input, reduction), as_tensor(name, target, "target")
    if x.shape != t.shape:
        msg = f"{name}: target must have the shape of input, {x.shape}, got {t.shape}"
        raise ValueError(msg)
    return x, t


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def __dir__() -> list[str]:
    return __all__
