"""Losses of numbers: each compares elements of two arrays of one shape."""

from __future__ import annotations

from typing import Any

from impl_cupy.checks import check_at_least_zero
from impl_cupy.loss.reduction import (
    REDUCTIONS,
    Elements,
    Options,
    as_module,
    check_positive,
    floating_inputs,
)
from impl_cupy.tensor import Tensor


def _smooth_factor(xp: Any, x: Any, t: Any, beta: float) -> Any:
    return xp.sign(x - t) if beta == 0 else xp.clip((x - t) / beta, -1.0, 1.0)  # loss-12


_squared = Elements("mse_loss", "squared_error", lambda _, x, t: 2 * (x - t))
_absolute = Elements("l1_loss", "smooth_error", _smooth_factor)
_smooth = Elements("smooth_l1_loss", "smooth_error", _smooth_factor)
_huber = Elements("huber_loss", "huber", lambda xp, x, t, delta: xp.clip(x - t, -delta, delta))
_MSE, _L1 = Options("mse_loss"), Options("l1_loss")
_HUBER = Options("huber_loss", delta=check_positive)
_SMOOTH = Options("smooth_l1_loss", beta=check_at_least_zero)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``(input - target) ** 2``, reduced.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Tensor, shape () or that of `input`

    Raises
    ------
    TypeError
        If one is no array, or `input` is not floating.
    ValueError
        If the shapes differ, or `reduction` is another name.

    Source: the page of torch.nn.MSELoss.
    """
    _MSE.check(reduction)
    x, t = floating_inputs("mse_loss", "input, target", input, target)
    return REDUCTIONS[reduction](_squared(x, t))


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``abs(input - target)``, reduced; the gradient is 0 where they are equal.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Tensor, shape () or that of `input`

    Raises
    ------
    TypeError
        If one is no array, or `input` is not floating.
    ValueError
        If the shapes differ, or `reduction` is another name.

    Source: the page of torch.nn.L1Loss.
    """
    _L1.check(reduction)
    x, t = floating_inputs("l1_loss", "input, target", input, target)
    return REDUCTIONS[reduction](_absolute(x, t, 0.0))


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Return ``d ** 2 / 2`` where ``d = abs(input - target) <= delta``, else a line, reduced.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : "mean", "sum" or "none"
    delta : float
        Above 0. Beyond it the loss is ``delta * (d - delta / 2)``.

    Returns
    -------
    Tensor, shape () or that of `input`

    Raises
    ------
    TypeError
        If one is no array, `input` is not floating, or `delta` is no number.
    ValueError
        If the shapes differ, `delta` is not positive, or `reduction` is another name.

    Source: the page of torch.nn.HuberLoss.
    """
    _HUBER.check(reduction, delta=delta)
    x, t = floating_inputs("huber_loss", "input, target", input, target)
    return REDUCTIONS[reduction](_huber(x, t, float(delta)))


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return ``d ** 2 / 2 / beta`` where ``d = abs(input - target) < beta``, else a line, reduced.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : "mean", "sum" or "none"
    beta : float
        At least 0. Beyond it the loss is ``d - beta / 2``; with 0 it is `l1_loss`.

    Returns
    -------
    Tensor, shape () or that of `input`

    Raises
    ------
    TypeError
        If one is no array, `input` is not floating, or `beta` is no number.
    ValueError
        If the shapes differ, `beta` is negative, or `reduction` is another name.

    Source: the page of torch.nn.SmoothL1Loss.
    """
    _SMOOTH.check(reduction, beta=beta)
    x, t = floating_inputs("smooth_l1_loss", "input, target", input, target)
    return REDUCTIONS[reduction](_smooth(x, t, float(beta)))


MSELoss = as_module("MSELoss", mse_loss, _MSE)
L1Loss = as_module("L1Loss", l1_loss, _L1)
HuberLoss = as_module("HuberLoss", huber_loss, _HUBER)
SmoothL1Loss = as_module("SmoothL1Loss", smooth_l1_loss, _SMOOTH)
