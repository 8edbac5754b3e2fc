"""Losses, as functions; each has a Module made from it."""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from . import ops
from .checks import check_choice
from .dtypes import is_floating
from .module import Module
from .ops import formulas as F
from .recording import Primitive, as_indices, as_integers, as_operand, dtype_of, shape_of
from .tensor import Tensor

__all__ = ["CrossEntropyLoss", "L1Loss", "MSELoss", "cross_entropy", "l1_loss", "mse_loss"]

_REDUCTIONS = ("mean", "sum", "none")


def __dir__() -> list[str]:
    return __all__


class _Loss(Module):
    """A loss function as a Module, with its reduction as the option."""

    _function: Callable[..., Any]

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        check_choice(type(self).__name__, "reduction", reduction, _REDUCTIONS)
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Return what the function of the same name returns."""
        return type(self)._function(input, target, self.reduction)


def _module(name: str, function: Callable[..., Any]) -> type[_Loss]:
    doc = (inspect.getdoc(function) or "").replace("\n", "\n    ")
    namespace = {"_function": staticmethod(function), "__module__": __name__, "__doc__": doc}
    return type(name, (_Loss,), namespace)


def _input(name: str, input: Any, reduction: str) -> Any:
    """Return the input as an array, and check what every loss asks of it."""
    check_choice(name, "reduction", reduction, _REDUCTIONS)
    input = as_operand(name, input)
    if not is_floating(dtype_of(input)):  # loss-08
        msg = f"{name}: input must be float32 or float64, got dtype {dtype_of(input)}"
        raise TypeError(msg)
    return input


def _same_shape(name: str, input: Any, target: Any, reduction: str) -> tuple[Any, Any]:
    input, target = _input(name, input, reduction), as_operand(name, target)
    if shape_of(input) != shape_of(target):
        shapes = f"{shape_of(input)} and {shape_of(target)}"
        msg = f"{name}: input and target must have the same shape, got {shapes}"
        raise ValueError(msg)
    return input, target


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``(input - target)**2``, reduced.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes differ, or the reduction is none of these.
    TypeError
        If the input is not floating.
    """
    input, target = _same_shape("mse_loss", input, target, reduction)
    return _reduced(ops.square(ops.subtract(input, target)), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``abs(input - target)``, reduced; the gradient is 0 where they are equal.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes differ, or the reduction is none of these.
    TypeError
        If the input is not floating.
    """
    input, target = _same_shape("l1_loss", input, target, reduction)
    return _reduced(ops.abs(ops.subtract(input, target)), reduction)


def _minus_log_probability(axis: int, x: Any, target: Any) -> Any:
    chosen = jnp.expand_dims(target, axis)
    picked = jnp.take_along_axis(F.log_softmax(axis, x), chosen, axis=axis, mode="clip")
    return -jnp.squeeze(picked, axis=axis)


_cross_entropy = Primitive(_minus_log_probability, "cross_entropy")


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``-log_softmax(input)[target]`` over the class axis, reduced.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
    target : integer Tensor, shape (N,), () or (N, d1, ...)
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes do not fit, or the reduction is none of these.
    TypeError
        If the input is not floating, or the target not of integers.
    IndexError
        If a class is outside ``0 <= t < C``, where values are known.
    """
    input = _input("cross_entropy", input, reduction)
    shape, labels = shape_of(input), shape_of(as_integers("cross_entropy", "target", target))
    axis = 0 if len(shape) == 1 else 1
    if not shape or labels != (*shape[:axis], *shape[axis + 1 :]):
        wanted = f"input's shape {shape} less the class axis"
        msg = f"cross_entropy: target must have {wanted}, got {labels}"
        raise ValueError(msg)
    target = as_indices("cross_entropy", "target", target, 0, shape[axis], " = C")
    return _reduced(_cross_entropy((input, target), axis), reduction)


MSELoss = _module("MSELoss", mse_loss)
L1Loss = _module("L1Loss", l1_loss)
CrossEntropyLoss = _module("CrossEntropyLoss", cross_entropy)
