"""Losses of numbers that should be near others."""

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import check_at_least_zero
from impl_torch_ext.loss.reduction import Loss, alike, check_above_zero, check_reduction, reduced
from impl_torch_ext.ops.transcendental import as_float

__all__ = ["HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss"]
__all__ += ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return `(input - target)**2`, reduced.

    Source: the page of `torch.nn.MSELoss`.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        If the shapes differ, or `reduction` is none of the three.
    TypeError
        If `input` is not floating.
    """
    check_reduction("mse_loss", "reduction", reduction)  # loss-05
    x, t = alike("mse_loss", input, target)
    return reduced(torch.nn.functional.mse_loss(x, t, reduction="none"), reduction)


class MSELoss(Loss, function=mse_loss):
    """`mse_loss` as a Module; its options are those of the function."""


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return `abs(input - target)`, reduced; the gradient is 0 where they are equal.

    Source: the page of `torch.nn.L1Loss`.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        If the shapes differ, or `reduction` is none of the three.
    TypeError
        If `input` is not floating.
    """
    check_reduction("l1_loss", "reduction", reduction)
    x, t = alike("l1_loss", input, target)
    return reduced(ops.abs(x - t), reduction)  # loss-07


class L1Loss(Loss, function=l1_loss):
    """`l1_loss` as a Module; its options are those of the function."""


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Return `d**2 / 2` where `d = |input - target| <= delta`, else `delta (d - delta / 2)`.

    Source: the page of `torch.nn.HuberLoss`.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : {"mean", "sum", "none"}
    delta : float
        Positive: where the parabola goes over into lines.

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        If the shapes differ, `delta` is not positive, or `reduction` is none of the three.
    TypeError
        If `input` is not floating, or `delta` no number.
    """
    check_reduction("huber_loss", "reduction", reduction)
    delta = check_above_zero("huber_loss", "delta", delta)
    x, t = alike("huber_loss", input, target)
    return reduced(torch.nn.functional.huber_loss(x, t, "none", delta), reduction)


class HuberLoss(Loss, function=huber_loss, delta=check_above_zero):
    """`huber_loss` as a Module; its options are those of the function."""


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Return `d**2 / 2 / beta` where `d = |input - target| < beta`, else `d - beta / 2`.

    Source: the page of `torch.nn.SmoothL1Loss`.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : {"mean", "sum", "none"}
    beta : float
        Not negative: where the parabola goes over into lines. With 0 it is `l1_loss`.

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ValueError
        If the shapes differ, `beta` is negative, or `reduction` is none of the three.
    TypeError
        If `input` is not floating, or `beta` no number.
    """
    check_reduction("smooth_l1_loss", "reduction", reduction)
    beta = check_at_least_zero("smooth_l1_loss", "beta", as_float("smooth_l1_loss", "beta", beta))
    x, t = alike("smooth_l1_loss", input, target)
    if beta == 0:  # loss-12
        return reduced(ops.abs(x - t), reduction)
    return reduced(torch.nn.functional.smooth_l1_loss(x, t, reduction="none", beta=beta), reduction)


class SmoothL1Loss(Loss, function=smooth_l1_loss, beta=check_at_least_zero):
    """`smooth_l1_loss` as a Module; its options are those of the function."""
