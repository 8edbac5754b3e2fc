"""What losses share: reductions, the checks of what comes in, and the Modules of functions."""

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import (
    Option,
    check_choice,
    check_equal_shapes,
    check_floating,
    check_range,
)
from impl_torch_ext.nn.layer import Layer
from impl_torch_ext.ops.transcendental import as_float
from impl_torch_ext.tensor import index_array
from impl_torch_ext.tracing import assert_later, is_sliced, readable

__all__ = [
    "Loss",
    "alike",
    "check_above_zero",
    "check_exponent",
    "check_finite_or_infinite",
    "check_reduction",
    "check_weight",
    "class_axis",
    "class_weight",
    "classes",
    "reduced",
    "spread_weight",
]

check_reduction = check_choice("mean", "sum", "none")


def reduced(values: Tensor, reduction: str) -> Tensor:
    """Return the mean or the sum of a loss, or for "none" the loss as it is."""
    if reduction == "mean":
        return ops.mean(values)  # loss-22
    return ops.sum(values) if reduction == "sum" else values


def alike(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Return two Tensors of one shape in the dtype of both, or raise."""
    check_equal_shapes(name, input, target)
    if is_sliced(input, target):
        # Some of torch's rules take one that is cut and one that is not for two shapes.
        input, target = input + torch.zeros_like(target), target + torch.zeros_like(input)
    if input.dtype is target.dtype:
        return input, target
    dtype = torch.promote_types(input.dtype, target.dtype)
    return input.to(dtype), target.to(dtype)


def check_finite_or_infinite(name: str, option: str, value: Any) -> float:
    """Return `value` as a float, or raise if it is no number or NaN."""
    number = as_float(name, option, value)
    if math.isnan(number):
        msg = f"{name}: {option} must be a number, got {number}"
        raise ValueError(msg)
    return number


def check_above_zero(name: str, option: str, value: Any) -> float:
    """Return `value` as a float, or raise if it is no number above 0."""
    number = as_float(name, option, value)
    if not number > 0:  # loss-11, loss-20
        msg = f"{name}: {option} must be positive, got {number}"
        raise ValueError(msg)
    return number


def check_exponent(name: str, option: str, value: Any) -> float:
    """Return `value` as a float, or raise if it is not positive and finite."""
    number = as_float(name, option, value)
    if not 0 < number < math.inf:  # loss-20
        msg = f"{name}: {option} must be positive and finite, got {number}"
        raise ValueError(msg)
    return number


def check_weight(name: str, option: str, value: Any) -> Tensor | None:
    """Return a weight, or raise if it is neither None nor a floating Tensor."""
    return None if value is None else check_floating(name, value, option)  # loss-19


def spread_weight(name: str, argument: str, weight: Any, input: Tensor) -> Tensor | None:
    """Return a weight that broadcasts to the shape of `input`, in its dtype, or raise."""
    checked = check_weight(name, argument, weight)
    if checked is None:
        return None
    try:
        fits = torch.broadcast_shapes(checked.shape, input.shape) == input.shape
    except RuntimeError:
        fits = False
    if not fits:  # loss-19
        msg = (
            f"{name}: {argument} must broadcast to the shape of input, {tuple(input.shape)}, got "
            f"{tuple(checked.shape)}"
        )
        raise ValueError(msg)
    return checked.to(input.dtype)


def class_axis(name: str, input: Any) -> int:
    """Return the axis of the classes, or raise if `input` has none."""
    check_floating(name, input, "input")
    if input.ndim == 0:
        msg = f"{name}: input must have shape (N, C), (C,) or (N, C, d1, ...), got ()"
        raise ValueError(msg)
    return 1 if input.ndim > 1 else 0


def class_weight(name: str, weight: Any, input: Tensor, axis: int) -> Tensor | None:
    """Return a weight of shape (C,) in the dtype of `input`, or raise."""
    checked = check_weight(name, "weight", weight)
    if checked is None:
        return None
    count = input.shape[axis]
    if checked.shape != (count,):  # loss-19
        msg = f"{name}: weight must have shape (C,) = ({count},), got {tuple(checked.shape)}"
        raise ValueError(msg)
    return checked.to(input.dtype)


def classes(name: str, input: Tensor, target: Any, axis: int, ignored: int) -> Tensor:
    """Return the indices of classes as int64, or raise if they do not fit `input`."""
    count = input.shape[axis]
    indices = index_array(name, "target", target, count)  # tensor-36
    wanted = (*input.shape[:axis], *input.shape[axis + 1 :])
    if indices.shape != wanted:  # loss-02
        msg = (
            f"{name}: target must have shape {wanted} for input of shape {tuple(input.shape)}, "
            f"got {tuple(indices.shape)}"
        )
        raise ValueError(msg)
    known, text = readable(indices), "class indices must be in 0 <= t < C"
    if known is None:
        fits = (indices >= 0) & (indices < count) | (indices == ignored)
        assert_later(fits, f"{name}: {text} = {count}")
    elif known.numel():
        low, high = torch.aminmax(known)
        if not 0 <= int(low) <= int(high) < count:
            check_range(name, known[known != ignored], count, text, ValueError)  # loss-05
    return indices.to(torch.int64)


class Loss(Layer):
    """The Module of a function: its options are those of the function.

    A subclass names the function, and the checks of its options other than `reduction`. The
    constructor takes the function's parameters that have a default, `forward` the others. Weights
    become buffers.
    """

    _function: ClassVar[Callable[..., Tensor]]
    _weights: ClassVar[dict[str, Option]] = {}

    def __init_subclass__(cls, function: Callable[..., Tensor], **checks: Option) -> None:
        """Make the constructor and `forward` from the signature of `function`."""
        cls._function = staticmethod(function)
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = [*inspect.signature(function).parameters.values()]
        options = [p for p in parameters if p.default is not p.empty]
        checked = {p.name: checks.get(p.name, check_reduction) for p in options}
        cls._options = {name: c for name, c in checked.items() if c is not check_weight}
        cls._weights = {name: c for name, c in checked.items() if c is check_weight}
        constructor = inspect.Signature(options)

        def init(self: Loss, *values: Any, **named: Any) -> None:
            try:
                bound = constructor.bind(*values, **named)
            except TypeError as error:
                msg = f"{cls.__name__}: {error}"
                raise TypeError(msg) from None
            bound.apply_defaults()
            self._keep(bound.arguments)

        def forward(self: Loss, *inputs: Any, **named: Any) -> Tensor:
            options = {name: getattr(self, name) for name in checked}
            return function(*inputs, **named, **options)

        forward.__doc__ = "Return the loss."
        given = [p for p in parameters if p.default is p.empty]
        made: tuple[tuple[Any, list[inspect.Parameter]], ...] = ((init, options), (forward, given))
        for method, rest in made:
            method.__signature__ = inspect.Signature([own, *rest])
        cls.__init__ = init  # type: ignore[method-assign]
        cls.forward = forward

    def _keep(self, values: dict[str, Any]) -> None:
        """Check the options and keep them, weights as buffers."""
        super().__init__(*(values[name] for name in self._options))
        for name, check in self._weights.items():  # loss-19
            self.register_buffer(name, check(type(self).__name__, name, values[name]))
