"""Clipping: the gradients of all Parameters are bounded together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from impl_numpy.checks import check_flag, check_items, check_no_bool, check_not_negative, shown
from impl_numpy.dtypes import Array, float32
from impl_numpy.parameter import overwrite
from impl_numpy.recording import quiet
from impl_numpy.tensor import Tensor, wrap


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Multiply every `grad` by min(1, max_norm / (norm + 1e-6)), the norm of all together.

    Pascanu et al. 2013, algorithm 1; torch.nn.utils.clip_grad_norm_.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
    norm_type : float
        The norm is (sum abs(g)**norm_type)**(1 / norm_type), the largest abs(g) for infinity.
    error_if_nonfinite : bool

    Returns
    -------
    Tensor, shape ()
        The norm before.

    Raises
    ------
    ValueError
        If max_norm is negative, or norm_type not above 0.
    TypeError
        If parameters holds something else, or a bound is no number.
    RuntimeError
        If the norm is not finite and `error_if_nonfinite` says so; nothing has changed then.
    """
    name = "clip_grad_norm_"
    grads = _gradients(name, parameters)
    most = _bound(name, "max_norm", max_norm)
    power = _bound(name, "norm_type", norm_type)
    if not power > 0:
        msg = f"{name}: norm_type must be above 0, got {norm_type}"
        raise ValueError(msg)
    strict = check_flag(name, "error_if_nonfinite", error_if_nonfinite)
    norm = _norm([grad._data for grad in grads], power)
    if strict and not np.isfinite(norm):
        msg = f"{name}: the norm must be finite, got {norm}"
        raise RuntimeError(msg)
    _scale(grads, norm, most)
    return wrap(norm, None)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Bound every element of every `grad` by -clip_value and clip_value.

    torch.nn.utils.clip_grad_value_.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float

    Raises
    ------
    ValueError
        If clip_value is negative.
    TypeError
        If parameters holds something else, or clip_value is no number.
    """
    name = "clip_grad_value_"
    grads = _gradients(name, parameters)
    bound = _bound(name, "clip_value", clip_value)
    for grad in grads:
        overwrite(grad, np.clip(grad._data, -bound, bound))


def _gradients(name: str, parameters: Any) -> list[Tensor]:
    """Return the gradients of Tensors, those that there are."""
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    if isinstance(several, (str, Mapping)) or not isinstance(several, Iterable):
        msg = f"{name}: parameters must be a Tensor or an iterable of them, got {shown(parameters)}"
        raise TypeError(msg)
    members = check_items(name, "parameters", several, "an iterable of Tensors")
    for member in members:
        if not isinstance(member, Tensor):
            msg = f"{name}: parameters must be Tensors, got {shown(member)}"
            raise TypeError(msg)
    # One that comes twice is clipped once.
    found = {id(p): p.grad for p in members}
    return [grad for grad in found.values() if grad is not None]


def _bound(name: str, argument: str, value: Any) -> float:
    check_no_bool(name, argument, value)
    check_not_negative(name, argument, value)
    return float(value)


@quiet
def _norm(grads: list[Array], power: float) -> Array:
    """Return the norm of all elements together, in the widest dtype of the gradients."""
    dtype = np.result_type(*[g.dtype for g in grads]) if grads else np.dtype(float32)
    flats = [g.reshape(-1) for g in grads]
    if power == math.inf:
        norm = max([np.max(np.abs(x), initial=0) for x in flats], default=0.0, key=_nan_first)
    elif power == 2:
        # A sum of products in the wider dtype neither overflows nor loses digits.
        norm = np.sqrt(sum([np.einsum("i,i", x, x, dtype=np.float64) for x in flats], 0.0))
    else:
        parts = [np.sum(np.abs(x) ** np.float64(power), dtype=np.float64) for x in flats]
        norm = np.float64(sum(parts, 0.0)) ** (1 / power)
    return np.array(norm, dtype)


def _nan_first(x: Any) -> float:
    return math.inf if np.isnan(x) else float(x)


@quiet
def _scale(grads: list[Tensor], norm: Array, most: float) -> None:
    factor = np.asarray(most / (norm + norm.dtype.type(1e-6)))
    if factor >= 1:
        return
    for grad in {id(grad): grad for grad in grads}.values():
        overwrite(grad, grad._data * factor.astype(grad.dtype))
