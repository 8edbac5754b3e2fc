"""Losses of numbers: how far an input is from its target, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.dtypes import Array, Value
from impl_numpy.loss.reduction import Loss, apply_pointwise, opposite, option, pair, pointwise
from impl_numpy.ops.elementwise import between
from impl_numpy.recording import RULES, Grads
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor


def _square(x: Array, t: Array) -> Array:
    d = np.subtract(x, t)
    return np.square(d)


def _linear_slopes(needs: Parents, x: Value, t: Value) -> Grads:
    return opposite(RULES["sign"](x - t), needs)  # loss-07


def _huber(x: Array, t: Array, delta: float) -> Array:
    d = np.abs(x - t)
    return np.where(d <= delta, d * d * 0.5, delta * (d - 0.5 * delta))


def _huber_slopes(needs: Parents, x: Value, t: Value, delta: float) -> Grads:
    return opposite(between(x - t, -delta, delta), needs)


def _smooth(x: Array, t: Array, beta: float) -> Array:
    d = np.abs(x - t)
    return np.where(d < beta, d * d * 0.5 / beta, d - 0.5 * beta)


def _smooth_slopes(needs: Parents, x: Value, t: Value, beta: float) -> Grads:
    return opposite(between((x - t) / beta, -1.0, 1.0), needs)


_mse = pointwise("mse_loss", _square, lambda needs, x, t: opposite((x - t) * 2, needs))
_l1 = pointwise("l1_loss", lambda x, t: np.abs(x - t), _linear_slopes)
_huber_rule = pointwise("huber_loss", _huber, _huber_slopes)
_smooth_rule = pointwise("smooth_l1_loss", _smooth, _smooth_slopes)


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
    option("mse_loss", "reduction", reduction)
    return apply_pointwise(_mse, *pair("mse_loss", input, target), reduction)  # loss-01


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
    option("l1_loss", "reduction", reduction)
    return apply_pointwise(_l1, *pair("l1_loss", input, target), reduction)  # loss-07


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Return d**2 / 2 where d = abs(input - target) <= delta, else delta * (d - delta / 2).

    Huber 1964; torch.nn.HuberLoss.

    Parameters
    ----------
    input, target : floating Tensor, both of one shape
    reduction : {"mean", "sum", "none"}
    delta : float
        Where the square ends; positive.

    Raises
    ------
    ValueError
        If the shapes differ, the reduction is another, or delta is not positive.
    TypeError
        If the input is not floating.
    """
    option("huber_loss", "reduction", reduction)
    delta = option("huber_loss", "delta", delta)  # loss-11
    return apply_pointwise(_huber_rule, *pair("huber_loss", input, target), reduction, delta)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return d**2 / 2 / beta where d = abs(input - target) < beta, else d - beta / 2.

    Girshick 2015, equation 3; torch.nn.SmoothL1Loss.

    Parameters
    ----------
    input, target : floating Tensor, both of one shape
    reduction : {"mean", "sum", "none"}
    beta : float
        Where the square ends; not negative. With 0 it is `l1_loss`.

    Raises
    ------
    ValueError
        If the shapes differ, the reduction is another, or beta is negative.
    TypeError
        If the input is not floating.
    """
    option("smooth_l1_loss", "reduction", reduction)
    beta = option("smooth_l1_loss", "beta", beta)
    x, t = pair("smooth_l1_loss", input, target)
    if not x.dtype.type(beta):  # loss-12
        return apply_pointwise(_l1, x, t, reduction)
    return apply_pointwise(_smooth_rule, x, t, reduction, beta)


class MSELoss(Loss, of=mse_loss):
    """Compute `loss.mse_loss`, with its options named once."""


class L1Loss(Loss, of=l1_loss):
    """Compute `loss.l1_loss`, with its options named once."""


class HuberLoss(Loss, of=huber_loss):
    """Compute `loss.huber_loss`, with its options named once."""


class SmoothL1Loss(Loss, of=smooth_l1_loss):
    """Compute `loss.smooth_l1_loss`, with its options named once."""
