"""Losses, as functions and as Modules."""

from typing import Any

from . import arithmetic as A
from . import kernels, ops
from .module import Module
from .ops import check_indices
from .tape import Primitive
from .tensor import Tensor

_cross_entropy = Primitive(kernels.cross_entropy, "cross_entropy")
_REDUCTIONS = ("mean", "sum", "none")


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        msg = f"{name}: reduction must be one of {', '.join(_REDUCTIONS)}, got {reduction!r}"
        raise ValueError(msg)


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return A.mean(losses) if reduction == "mean" else A.sum(losses)


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
    """
    _check_reduction("mse_loss", reduction)
    input, target = A.operand("mse_loss", input), A.operand("mse_loss", target)
    if A.shape_of(input) != A.shape_of(target):
        msg = (
            f"mse_loss: input and target must have the same shape, got {A.shape_of(input)} "
            f"and {A.shape_of(target)}"
        )
        raise ValueError(msg)
    return _reduced(ops.square(A.subtract(input, target)), reduction)


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
        If the target is not of integers.
    IndexError
        If a class is outside ``0 <= t < C``, where values are known.
    """
    _check_reduction("cross_entropy", reduction)
    input, target = A.operand("cross_entropy", input), A.operand("cross_entropy", target)
    if A.dtype_of(target).kind not in "iu":
        msg = f"cross_entropy: the target must be integers, got dtype {A.dtype_of(target)}"
        raise TypeError(msg)
    shape, given = A.shape_of(input), A.shape_of(target)
    axis = 0 if len(shape) == 1 else 1
    if not shape or given != (*shape[:axis], *shape[axis + 1 :]):
        msg = f"cross_entropy: input of shape {shape} and target of shape {given} do not fit"
        raise ValueError(msg)
    check_indices("cross_entropy", target, 0, shape[axis], " = C")
    losses = _cross_entropy((input, target), axis, A.floating(A.dtype_of(input)))
    return _reduced(losses, reduction)


class _Loss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        _check_reduction(type(self).__name__, reduction)
        self.reduction = reduction


class MSELoss(_Loss):
    """`mse_loss` as a Module."""

    def forward(self, input: Any, target: Any) -> Tensor:
        """Return the loss of input and target, which have the same shape."""
        return mse_loss(input, target, self.reduction)


class CrossEntropyLoss(_Loss):
    """`cross_entropy` as a Module."""

    def forward(self, input: Any, target: Any) -> Tensor:
        """Return the loss of input, shape (N, C, ...), and integer target, shape (N, ...)."""
        return cross_entropy(input, target, self.reduction)
