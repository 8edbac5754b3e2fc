"""Functions that bound the gradients of all parameters together."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_flag, shown
from impl_torch_ext.ops.transcendental import as_float
from impl_torch_ext.optim.optimizer import check_not_negative

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Multiply each gradient by `min(1, max_norm / (norm + 1e-6))`, and return the norm before.

    Source: the page of `torch.nn.utils.clip_grad_norm_`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
    norm_type : float
        The exponent, or inf for the largest element.
    error_if_nonfinite : bool
        Whether a norm that is inf or nan is an error.

    Returns
    -------
    Tensor, shape ()
        The norm of all elements of all gradients.

    Raises
    ------
    RuntimeError
        If the norm is inf or nan and that is an error; nothing has changed then.
    ValueError, TypeError
        If `parameters` are no Tensors, or a number is out of range.
    """
    name = "clip_grad_norm_"
    grads = _gradients(name, parameters)
    most = as_float(name, "max_norm", check_not_negative(name, "max_norm", max_norm))
    power = as_float(name, "norm_type", norm_type)
    if not power > 0:  # optim-26
        msg = f"{name}: norm_type must be above 0, got {norm_type}"
        raise ValueError(msg)
    strict = check_flag(name, "error_if_nonfinite", error_if_nonfinite)
    if not grads:
        return torch.zeros(())
    with torch.no_grad():
        # torch has no largest element of none.
        filled = [grad for grad in grads if grad.numel()] or [grads[0].new_zeros(1)]
        norms = torch._foreach_norm(filled, power)
        norm = torch.linalg.vector_norm(torch.stack([*norms]), power)
        number = norm.item()
        if strict and not math.isfinite(number):
            msg = f"{name}: the norm of the gradients must be finite, got {number}"
            raise RuntimeError(msg)
        factor = most / (number + 1e-6)
        if not factor >= 1:
            torch._foreach_mul_(grads, factor)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bound each element of each gradient by `-clip_value` and `clip_value`; nan stays nan.

    Source: the page of `torch.nn.utils.clip_grad_value_`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float

    Raises
    ------
    ValueError, TypeError
        If `parameters` are no Tensors, or `clip_value` is no number of 0 or more.
    """
    name = "clip_grad_value_"
    grads = _gradients(name, parameters)
    bound = as_float(name, "clip_value", check_not_negative(name, "clip_value", clip_value))
    if grads:  # optim-27
        with torch.no_grad():
            torch._foreach_clamp_min_(grads, -bound)
            torch._foreach_clamp_max_(grads, bound)


def _gradients(name: str, parameters: Any) -> list[Tensor]:
    """Return the gradients that there are, or raise if `parameters` are no Tensors."""
    items: Any = [parameters] if isinstance(parameters, Tensor) else None
    if items is None and not isinstance(parameters, str):
        try:
            items = [*parameters]
        except TypeError:
            items = None
    if items is None or not all(isinstance(item, Tensor) for item in items):
        msg = f"{name}: parameters must be a Tensor or several, got {shown(parameters)}"
        raise TypeError(msg)
    # torch warns of the gradient of a result, which has none unless it is kept.
    items = [item for item in items if item.is_leaf or item.retains_grad]
    return [item.grad for item in items if item.grad is not None]
