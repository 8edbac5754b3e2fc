"""Bounds for the gradients of all Parameters together."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import as_list, check_at_least_zero, check_flag, check_number, type_name
from impl_cupy.memory import RawArray
from impl_cupy.sums import total
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Multiply every gradient with ``min(1, max_norm / (norm + 1e-6))``; nothing is recorded.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        At least 0.
    norm_type : float
        Above 0: the norm is ``(sum |g| ** norm_type) ** (1 / norm_type)`` over all elements of all
        gradients, or the largest ``|g|`` for inf.
    error_if_nonfinite : bool
        Whether a norm that is infinite or NaN is an error.

    Returns
    -------
    Tensor, shape ()
        The norm as it was.

    Raises
    ------
    TypeError
        If `parameters` holds no Tensors, or a number is none.
    ValueError
        If a number is out of range.
    RuntimeError
        If the norm is not finite and must be; nothing is changed then.

    Source: the page of torch.nn.utils.clip_grad_norm_.
    """
    name = "clip_grad_norm_"
    params = _with_gradients(name, parameters)
    check_at_least_zero(name, "max_norm", max_norm)
    check_number(name, "norm_type", norm_type)
    if not norm_type > 0:
        msg = f"{name}: norm_type must be above 0, got {norm_type}"
        raise ValueError(msg)
    must_be_finite = check_flag(name, "error_if_nonfinite", error_if_nonfinite)
    grads = [param.grad._data for param in params]
    norm = _norm(grads, float(norm_type))
    if must_be_finite and not math.isfinite(float(norm)):
        msg = f"{name}: the norm of the gradients must be finite, got {float(norm)}"
        raise RuntimeError(msg)
    # Without waiting for the device: where nothing is too long the factor is 1.
    factor = cp.minimum(norm.dtype.type(max_norm) / (norm + 1e-6), 1)
    for param, grad in zip(params, grads, strict=True):
        param.grad = wrap(grad * factor.astype(grad.dtype))
    return wrap(norm)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Bound every element of every gradient to ``-clip_value <= g <= clip_value``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float
        At least 0.

    Raises
    ------
    TypeError
        If `parameters` holds no Tensors, or `clip_value` is no number.
    ValueError
        If `clip_value` is negative or NaN.

    Source: the page of torch.nn.utils.clip_grad_value_.
    """
    params = _with_gradients("clip_grad_value_", parameters)
    check_at_least_zero("clip_grad_value_", "clip_value", clip_value)
    bound = float(clip_value)
    for param in params:
        param.grad = wrap(cp.clip(param.grad._data, -bound, bound))


def _with_gradients(name: str, parameters: Any) -> list[Any]:
    """Return those of some Parameters that have a gradient, each once."""
    if not isinstance(parameters, (Tensor, Iterable)):
        msg = f"{name}: parameters must be a Tensor or Tensors, got {type_name(parameters)}"
        raise TypeError(msg)
    is_one = isinstance(parameters, Tensor)
    listed: list[Any] = [parameters] if is_one else as_list(name, "parameters", parameters)
    for param in listed:
        if not isinstance(param, Tensor):
            msg = f"{name}: parameters must hold Tensors, got {type_name(param)}"
            raise TypeError(msg)
    unique = {id(param): param for param in listed}
    return [param for param in unique.values() if param.grad is not None]


def _norm(grads: list[RawArray], power: float) -> RawArray:
    grads = [grad for grad in grads if grad.size] or [grad.sum() for grad in grads[:1]]
    if not grads:
        return cp.zeros((), dtype="float32")
    dtype = np.result_type(*{grad.dtype for grad in grads})
    if power == math.inf:
        return functools.reduce(cp.maximum, [cp.max(cp.abs(grad)).astype(dtype) for grad in grads])
    if power == 2:
        parts = [total(grad * grad) for grad in grads]
    else:
        parts = [total(cp.power(cp.abs(grad), power)) for grad in grads]
    whole = total(cp.stack([part.astype(dtype) for part in parts]))
    return cp.sqrt(whole) if power == 2 else cp.power(whole, 1 / power)
