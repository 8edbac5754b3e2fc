"""Losses of the difference of two arrays."""

from typing import Any

import jax.numpy as jnp

from ..ops import formulas as F
from ..ops.transcendental import sloped
from ..tensor import Tensor
from .reduction import SAME, Array, common, compiled, module, not_negative, positive, same_shape

_mse = compiled("mse_loss", lambda x, t: (x - t) * (x - t))
_l1 = compiled("l1_loss", lambda x, t: F.absolute(x - t))


def _huber_formula(delta: float, x: Array, t: Array) -> Array:
    # The slope is given: one of two branches would make infinite differences NaN. # loss-10
    def value(d: Array) -> Array:
        size = jnp.abs(d)
        return jnp.where(size <= delta, d * d / 2, delta * (size - delta / 2))

    def slope(d: Array) -> Array:
        return jnp.where(jnp.abs(d) <= delta, d, delta * jnp.sign(d))

    return sloped(value, slope)(x - t)


def _smooth_formula(beta: float, x: Array, t: Array) -> Array:
    if beta == 0:  # loss-12
        return F.absolute(x - t)

    def value(d: Array) -> Array:
        size = jnp.abs(d)
        return jnp.where(size < beta, d * d / 2 / beta, size - beta / 2)

    def slope(d: Array) -> Array:
        return jnp.where(jnp.abs(d) < beta, d / beta, jnp.sign(d))

    return sloped(value, slope)(x - t)


_huber = compiled("huber_loss", _huber_formula)
_smooth = compiled("smooth_l1_loss", _smooth_formula)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``(input - target)**2``, reduced (the page of ``torch.nn.MSELoss``)."""
    input, target = same_shape("mse_loss", input, target, reduction)
    return _mse((input, target), reduction, common(input, target), ())


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``abs(input - target)``, reduced (the page of ``torch.nn.L1Loss``).

    The gradient is 0 where they are equal.
    """
    input, target = same_shape("l1_loss", input, target, reduction)
    return _l1((input, target), reduction, common(input, target), ())


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Return ``d**2 / 2`` of ``d = |input - target| <= delta``, else ``delta * (d - delta / 2)``.

    The page of ``torch.nn.HuberLoss``.
    """
    input, target = same_shape("huber_loss", input, target, reduction)
    delta = positive("huber_loss", "delta", delta)  # loss-11
    return _huber((input, target), reduction, common(input, target), (delta,))


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return ``d**2 / 2 / beta`` of ``d = |input - target| < beta``, else ``d - beta / 2``.

    The page of ``torch.nn.SmoothL1Loss``.
    """
    input, target = same_shape("smooth_l1_loss", input, target, reduction)
    beta = not_negative("smooth_l1_loss", "beta", beta)
    return _smooth((input, target), reduction, common(input, target), (beta,))


for _function, _option, _fault in (
    (mse_loss, "", "an array does not fit"),
    (l1_loss, "", "an array does not fit"),
    (huber_loss, "\ndelta : float, positive", "`delta` is not positive"),
    (smooth_l1_loss, "\nbeta : float, 0 or more", "`beta` is negative"),
):
    _function.__doc__ = f"{_function.__doc__}\n\n{SAME.format(options=_option, or_=_fault)}\n"

MSELoss = module("MSELoss", mse_loss)
L1Loss = module("L1Loss", l1_loss)
HuberLoss = module("HuberLoss", huber_loss, delta=positive)
SmoothL1Loss = module("SmoothL1Loss", smooth_l1_loss, beta=not_negative)
