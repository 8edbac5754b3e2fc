"""Clipping: gradients of all parameters together are bounded."""

import functools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_flag, check_number, refuse, refuse_type, shown
from ..dtypes import in_x64, make_array, promote
from ..ops import formulas as F
from ..tape import Traced, constant, wrap
from ..tensor import Tensor

Array = Any


def _with_gradients(name: str, parameters: Any) -> list[Any]:
    """Return the Tensors that have a gradient."""
    wanted = "a Tensor or an iterable of Tensors"
    if isinstance(parameters, Traced):
        listed = [parameters]
    elif isinstance(parameters, Iterable) and getattr(parameters, "shape", None) != ():
        listed = list(parameters)
    else:
        refuse_type(name, "parameters", wanted, parameters)
    for parameter in listed:
        if not isinstance(parameter, Tensor):
            refuse_type(name, "parameters", wanted, parameter)
    return [parameter for parameter in listed if parameter._grad is not None]


def _bound(name: str, argument: str, value: Any, above: bool = False) -> float:
    """Return a number of 0 or more, or `above` 0."""
    if isinstance(value, bool):
        msg = f"{name}: {argument} must be a number, got {shown(value)}"
        raise TypeError(msg)
    number = float(check_number(name, argument, value))
    if not (number > 0 if above else number >= 0):
        refuse(name, argument, "above 0" if above else "at least 0", number)
    return number


@functools.partial(jax.jit, static_argnums=(0, 1))
def _norm(norm_type: float, dtype: Any, grads: list[Array]) -> Array:
    sizes = [jnp.abs(grad.astype(dtype)) for grad in grads]
    if norm_type == math.inf:
        largest = [jnp.max(size, initial=0) for size in sizes]
        return functools.reduce(jnp.maximum, largest)
    if norm_type == 2:
        return jnp.sqrt(sum([F.total(size * size) for size in sizes[1:]], F.total(sizes[0] ** 2)))
    powers = [F.total(size if norm_type == 1 else size**norm_type) for size in sizes]
    return functools.reduce(jnp.add, powers) ** (1 / norm_type)


@jax.jit
def _scaled(grads: list[Array], norm: Array, most: Array) -> list[Array]:
    factor = jnp.minimum(1, most.astype(norm.dtype) / (norm + 1e-6))
    return [grad * factor.astype(grad.dtype) for grad in grads]


@jax.jit
def _within(grads: list[Array], bound: Array) -> list[Array]:
    return [jnp.clip(g, -bound.astype(g.dtype), bound.astype(g.dtype)) for g in grads]


@in_x64
def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Multiply all gradients by ``min(1, max_norm / (norm + 1e-6))``.

    The norm is ``(sum |g|^norm_type)^(1 / norm_type)`` over all elements of all gradients; the page
    of ``torch.nn.utils.clip_grad_norm_``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float, 0 or more
    norm_type : float, above 0
        inf for the largest absolute value.
    error_if_nonfinite : bool
        Whether a norm that is infinite or NaN is an error.

    Returns
    -------
    Tensor, shape ()
        The norm before, in the gradients' dtype.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If `parameters` holds something else than Tensors, or a number is none.
    RuntimeError
        If the norm is not finite and that is an error; nothing is changed then.
    """
    name = "clip_grad_norm_"
    held = _with_gradients(name, parameters)
    most = _bound(name, "max_norm", max_norm)
    kind = _bound(name, "norm_type", norm_type, above=True)
    strict = check_flag(name, "error_if_nonfinite", error_if_nonfinite)
    if not held:
        return wrap(make_array(np.zeros((), np.float32)))
    grads = [constant(parameter._grad._data) for parameter in held]
    dtype = functools.reduce(functools.partial(promote, name), [grad.dtype for grad in grads])
    norm = _norm(kind, dtype, grads)
    if strict and not math.isfinite(norm):  # optim-26
        msg = f"{name}: the norm of the gradients must be finite, got {float(norm)}"
        raise RuntimeError(msg)
    for parameter, grad in zip(held, _scaled(grads, norm, np.float64(most)), strict=True):
        parameter._grad = wrap(grad)
    return wrap(norm)


@in_x64
def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Bound every element of every gradient to ``[-clip_value, clip_value]``; NaN stays.

    The page of ``torch.nn.utils.clip_grad_value_``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float, 0 or more

    Raises
    ------
    ValueError
        If `clip_value` is negative or NaN.
    TypeError
        If `parameters` holds something else than Tensors, or `clip_value` is no number.
    """
    held = _with_gradients("clip_grad_value_", parameters)
    bound = _bound("clip_grad_value_", "clip_value", clip_value)
    grads = _within([constant(p._grad._data) for p in held], np.float64(bound)) if held else []
    for parameter, grad in zip(held, grads, strict=True):
        parameter._grad = wrap(grad)
