"""Losses, as functions and as Modules."""

from collections.abc import Callable

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.module import Module

__all__ = ["CrossEntropyLoss", "MSELoss", "cross_entropy", "mse_loss"]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": ops.mean,
    "sum": ops.sum,
    "none": lambda x: x,
}


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return ``(input - target)**2``, reduced.

    Parameters
    ----------
    input, target : Tensor, the same shape
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of ``input``.

    Raises
    ------
    ValueError
        If the shapes differ, or ``reduction`` is none of the three.
    """
    reduce = _reduction("mse_loss", reduction)
    _tensor("mse_loss", "input", input)
    _tensor("mse_loss", "target", target)
    if input.shape != target.shape:
        msg = (
            f"mse_loss: target must have the shape of input, {tuple(input.shape)}, got "
            f"{tuple(target.shape)}"
        )
        raise ValueError(msg)
    return reduce(ops.square(ops.subtract(input, target)))


def cross_entropy(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return ``-log_softmax(input)[target]``, reduced.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
        Logits; the classes lie along axis 1, of (C,) along axis 0.
    target : integer Tensor, shape (N,), () or (N, d1, ...)
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of targets.

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of ``target``.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is outside ``0 <= t < C``, or ``reduction`` is none of the
        three.
    TypeError
        If ``target`` is no integer Tensor.
    """
    reduce = _reduction("cross_entropy", reduction)
    _tensor("cross_entropy", "input", input)
    _tensor("cross_entropy", "target", target)
    if target.is_floating_point() or target.dtype == torch.bool:
        msg = (
            "cross_entropy: target must hold class indices of dtype int64 or int32, got "
            f"{target.dtype}"
        )
        raise TypeError(msg)
    if input.ndim == 0:
        msg = (
            "cross_entropy: input must have shape (N, C), (C,) or (N, C, d1, ...), got () and "
            f"target {tuple(target.shape)}"
        )
        raise ValueError(msg)
    axis = 1 if input.ndim > 1 else 0
    wanted = (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.shape != wanted:
        msg = (
            f"cross_entropy: target must have shape {wanted} for input of shape "
            f"{tuple(input.shape)}, got {tuple(target.shape)}"
        )
        raise ValueError(msg)
    classes = input.shape[axis]
    if target.numel():
        low, high = torch.aminmax(target)
        worst = int(low) if low < 0 else int(high)
        if not 0 <= worst < classes:
            msg = f"cross_entropy: class {worst} is outside 0 <= t < C = {classes}"
            raise ValueError(msg)
    chosen = torch.gather(
        ops.log_softmax(input, axis=axis), axis, target.to(torch.int64).unsqueeze(axis)
    )
    return reduce(-chosen.squeeze(axis))


class MSELoss(Module):
    """`mse_loss` as a Module."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        _reduction("MSELoss", reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return mse_loss(input, target, self.reduction)


class CrossEntropyLoss(Module):
    """`cross_entropy` as a Module."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        _reduction("CrossEntropyLoss", reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return cross_entropy(input, target, self.reduction)


def _reduction(name: str, reduction: str) -> Callable[[Tensor], Tensor]:
    if reduction not in _REDUCTIONS:
        msg = f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}"
        raise ValueError(msg)
    return _REDUCTIONS[reduction]


def _tensor(name: str, argument: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        msg = f"{name}: {argument} must be a Tensor, got {type(x).__name__}"
        raise TypeError(msg)
