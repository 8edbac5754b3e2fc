"""Losses, as functions and as Modules made from them."""

import functools
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import (
    check_choice,
    check_equal_shapes,
    check_floating,
    check_range,
)
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.tensor import index_array

__all__ = [
    "CrossEntropyLoss",
    "L1Loss",
    "MSELoss",
    "cross_entropy",
    "l1_loss",
    "mse_loss",
]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": ops.mean,
    "sum": ops.sum,
    "none": lambda x: x,
}
_check_reduction = check_choice(*_REDUCTIONS)


def _reduced(terms: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Make a loss of the function of its terms, which are reduced then."""
    name = terms.__name__

    def loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        _check_reduction(name, "reduction", reduction)  # loss-05
        return _REDUCTIONS[reduction](terms(input, target))

    # Its own signature stands, of three parameters.
    functools.update_wrapper(
        loss, terms, assigned=("__name__", "__qualname__", "__doc__"), updated=()
    )
    del loss.__wrapped__  # type: ignore[attr-defined]
    return loss


class _Loss(Layer):
    """The Module of a loss, `_function`."""

    _function: ClassVar[Callable[..., Tensor]]
    _options: ClassVar[Options] = {"reduction": _check_reduction}
    reduction: str

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return type(self)._function(input, target, self.reduction)


@_reduced
def mse_loss(input: Tensor, target: Tensor) -> Tensor:
    """Return `(input - target)**2`, reduced.

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
    """
    check_equal_shapes("mse_loss", input, target)
    return ops.square(ops.subtract(input, target))


class MSELoss(_Loss):
    """`mse_loss` as a Module."""

    _function = staticmethod(mse_loss)


@_reduced
def l1_loss(input: Tensor, target: Tensor) -> Tensor:
    """Return `abs(input - target)`, reduced; the gradient is 0 where they are equal.

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
    check_equal_shapes("l1_loss", input, target)
    return ops.abs(ops.subtract(input, target))  # loss-07


class L1Loss(_Loss):
    """`l1_loss` as a Module."""

    _function = staticmethod(l1_loss)


@_reduced
def cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    """Return `-log_softmax(input)[target]`, reduced.

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
        A scalar, or with "none" of the shape of `target`.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is outside `0 <= t < C`, or `reduction` is none of the
        three.
    TypeError
        If `target` is no integer Tensor.
    """
    check_floating("cross_entropy", input, "input")
    classes = input.shape[min(1, input.ndim - 1)] if input.ndim else 0
    target = index_array("cross_entropy", "target", target, classes)  # tensor-36
    axis = _check_classes(input, target)
    logarithms = ops.log_softmax(input, axis=axis)
    chosen = torch.gather(logarithms, axis, target.to(torch.int64).unsqueeze(axis))
    return -chosen.squeeze(axis)


class CrossEntropyLoss(_Loss):
    """`cross_entropy` as a Module."""

    _function = staticmethod(cross_entropy)


def _check_classes(input: Tensor, target: Tensor) -> int:
    """Return the axis of the classes, or raise if `input` and `target` do not fit."""
    if input.ndim == 0:
        msg = (
            "cross_entropy: input must have shape (N, C), (C,) or (N, C, d1, ...), got () and "
            f"target {tuple(target.shape)}"
        )
        raise ValueError(msg)
    axis = 1 if input.ndim > 1 else 0
    wanted = (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.shape != wanted:  # loss-02
        msg = (
            f"cross_entropy: target must have shape {wanted} for input of shape "
            f"{tuple(input.shape)}, got {tuple(target.shape)}"
        )
        raise ValueError(msg)
    text = "class indices must be in 0 <= t < C"
    check_range("cross_entropy", target, input.shape[axis], text, ValueError)
    return axis


def __dir__() -> list[str]:
    return __all__
