"""Losses, as functions and as Modules made from these."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_choice
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.nn.layer import Layer
from impl_cupy.ops.activation import log_softmax, log_softmax_raw
from impl_cupy.ops.elementwise import square
from impl_cupy.ops.indexing import getitem
from impl_cupy.ops.manipulation import reshape
from impl_cupy.ops.reduction import mean, sum
from impl_cupy.recording import as_indices, as_tensor, find_outside
from impl_cupy.tape import RawArray
from impl_cupy.tensor import Tensor

__all__ = ["CrossEntropyLoss", "L1Loss", "MSELoss", "cross_entropy", "l1_loss", "mse_loss"]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean, "sum": sum, "none": lambda x: x}


def __dir__() -> list[str]:
    return __all__


def _elementwise(
    name: str, function: Callable[[Tensor, Tensor], Tensor], formula: str, source: str
) -> Callable[..., Tensor]:
    """Make a loss of two Tensors of one shape."""

    def loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
        check_choice(name, "reduction", reduction, tuple(_REDUCTIONS))
        first, second = as_tensor(name, input), as_tensor(name, target)
        _check_floating(name, first)
        if first.shape != second.shape:
            shapes = f"{first.shape} and {second.shape}"
            msg = f"{name}: input and target must have one shape, got {shapes}"
            raise ValueError(msg)
        return _REDUCTIONS[reduction](function(first, second))

    loss.__name__ = loss.__qualname__ = name
    loss.__doc__ = _FRAME.format(formula=formula, source=source)
    return loss


_FRAME = """Return ``{formula}``, reduced.

Parameters
----------
input, target : Tensor, the same shape
reduction : "mean", "sum" or "none"

Returns
-------
Tensor, shape () or that of `input`

Raises
------
TypeError
    If one is no array, or `input` is not floating.
ValueError
    If the shapes differ, or `reduction` is another name.

Source: {source}.
"""

mse_loss = _elementwise(
    "mse_loss", lambda a, b: square(a - b), "(input - target) ** 2", "the page of torch.nn.MSELoss"
)
l1_loss = _elementwise(
    "l1_loss", lambda a, b: abs(a - b), "abs(input - target)", "the page of torch.nn.L1Loss"
)


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return ``-log_softmax(input)[target]`` over the class axis.

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, d1, ...)
        Logits.
    target : Tensor of integers, shape (N,), () or (N, d1, ...)
        Classes, ``0 <= t < C``.
    reduction : "mean", "sum" or "none"
        "mean" divides by the number of targets.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is out of range, or `reduction` is another name.
    TypeError
        If `target` is no Tensor of integers, or `input` is not floating.
    """
    check_choice("cross_entropy", "reduction", reduction, tuple(_REDUCTIONS))
    logits, classes = as_tensor("cross_entropy", input), as_indices("cross_entropy", target)
    axis = 0 if logits.ndim == 1 else 1
    _check_logits(logits, classes, axis)
    wanted, count = classes.shape, logits.shape[axis]
    _check_classes(target, classes._data, count)
    samples, rest = math.prod(wanted[:axis]), math.prod(wanted[axis:])
    losses = CrossEntropyFunction.apply(
        reshape(logits, (samples, count, rest)), reshape(classes, (samples, rest))
    )
    return _REDUCTIONS[reduction](reshape(losses, wanted))


def _check_floating(name: str, value: Tensor) -> None:
    if value.dtype.kind != "f":
        msg = f"{name}: input must be floating, got dtype {value.dtype.name}"  # loss-08
        raise TypeError(msg)


def _check_logits(logits: Tensor, classes: Tensor, axis: int) -> None:
    """Check dtypes and shapes (loss-05)."""
    _check_floating("cross_entropy", logits)
    if classes.dtype.kind != "i":
        msg = f"cross_entropy: target must be class indices, got dtype {classes.dtype.name}"
        raise TypeError(msg)
    if logits.ndim == 0:
        msg = "cross_entropy: input must have a class axis, got shape ()"
        raise ValueError(msg)
    wanted = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if classes.shape != wanted:
        msg = (
            f"cross_entropy: target must have shape {wanted} for input of shape {logits.shape}, "
            f"got {classes.shape}"
        )
        raise ValueError(msg)


def _check_classes(target: Any, classes: RawArray, count: int) -> None:
    worst = find_outside(target, classes, 0, count)
    if worst is not None:
        msg = f"cross_entropy: target {worst} is outside 0 <= t < C = {count}"
        raise ValueError(msg)


class CrossEntropyFunction(Function):
    """The losses of the samples, shape (N, D), for logits (N, C, D) and classes (N, D)."""

    _is_ours = True
    _called = "cross_entropy"

    @staticmethod
    def forward(ctx: Any, logits: RawArray, target: RawArray) -> RawArray:
        """Pick ``-log_softmax(logits)`` at the classes."""
        log_p = log_softmax_raw(logits, (1,))
        classes = cp.ascontiguousarray(target.astype("int64", copy=False))
        ctx.save_for_backward(log_p, classes)
        return -cp.take_along_axis(log_p, cp.expand_dims(classes, 1), axis=1)[:, 0, :]

    @staticmethod
    def backward(ctx: Any, grad: RawArray) -> tuple[RawArray, None]:
        """Form ``(softmax - [c == target]) grad`` in one kernel."""
        log_p, classes = ctx.saved_tensors
        out = cp.empty(log_p.shape, dtype=log_p.dtype)
        launch(
            "loss",
            "cross_entropy_backward",
            log_p.dtype,
            log_p.size,
            cp.ascontiguousarray(log_p),
            classes,
            cp.ascontiguousarray(grad),
            out,
            log_p.shape[1],
            log_p.shape[2],
        )
        return out, None

    @staticmethod
    def composite(logits: Tensor, target: Tensor) -> Tensor:
        """Do the same with `ops`."""
        samples, rest = target.shape
        rows = cp.arange(samples).reshape(samples, 1)
        columns = cp.arange(rest).reshape(1, rest)
        return -getitem(log_softmax(logits, axis=1), (rows, target, columns))


class _Loss(Layer):
    """Holds the reduction of a loss."""

    reduction: str

    def __init__(self, reduction: str = "mean") -> None:
        name = type(self).__name__
        check_choice(name, "reduction", reduction, tuple(_REDUCTIONS))
        super().__init__(reduction=reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compare `input` with `target`; see the function of the loss."""
        raise NotImplementedError


def _as_module(name: str, function: Callable[..., Tensor]) -> type[_Loss]:
    """Make the Module of a loss."""

    def forward(self: _Loss, input: Any, target: Any) -> Tensor:
        return function(input, target, self.reduction)

    forward.__doc__ = _Loss.forward.__doc__
    frame = 'Parameters\n----------\nreduction : "mean", "sum" or "none"\n'
    doc = f"`{function.__name__}` as a Module.\n\n{frame}"
    members = {"__module__": __name__, "__doc__": doc, "forward": forward}
    return type(name, (_Loss,), members)


MSELoss = _as_module("MSELoss", mse_loss)
L1Loss = _as_module("L1Loss", l1_loss)
CrossEntropyLoss = _as_module("CrossEntropyLoss", cross_entropy)
