"""What all losses share: reductions, the checks of arguments, and the base of the Modules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from impl_numpy.checks import (
    check_choice,
    check_finite,
    check_five,
    check_flag,
    check_int,
    check_no_bool,
    check_not_negative,
    check_probability,
    shown,
)
from impl_numpy.dtypes import Array, Shape, Value, is_raw
from impl_numpy.memory import own
from impl_numpy.module import Module
from impl_numpy.ops.families import reshaped
from impl_numpy.recording import Grads, Primitive, binary
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor

REDUCTIONS = ("mean", "sum", "none")
WEIGHTS = ("weight", "pos_weight")

Slopes = Callable[..., Grads]


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """Return the mean or sum of a loss, or the loss itself; "mean" of nothing is NaN (loss-22)."""
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def divisor_of(reduction: str, shape: Shape) -> int | None:
    """Return what the sum is divided by; None asks for no sum."""
    if reduction == "mean":
        return math.prod(shape)
    if reduction == "batchmean":  # loss-17
        return shape[0] if shape else 1
    return 1 if reduction == "sum" else None


def summed(loss: Array, divisor: float | None) -> Any:
    """Return the sum of an unreduced loss over a divisor, or the loss itself."""
    if divisor is None:
        return loss
    whole = total(loss, tuple(range(loss.ndim)))
    return whole if divisor == 1 else whole / whole.dtype.type(divisor)


def shared(grad: Value, divisor: float | None) -> Value:
    """Return what arrives at each element: a mean's gradient over the divisor, 0/0 as 0."""
    return grad if divisor is None or divisor == 1 else grad * (1 / divisor if divisor else 1)


def pointwise(name: str, value: Callable[..., Array], slopes: Slopes) -> Primitive:
    """Make a loss of pairs of elements, with its reduction, one operation.

    Parameters
    ----------
    name : str
    value : callable
        `value(x, t, *config)` is the unreduced loss, in memory of its own.
    slopes : callable
        `slopes(needs, x, t, *config)` are the derivatives by x and t, of raw arrays in memory of
        their own, or None where none is needed; written as a `vjp` is.

    Returns
    -------
    Primitive
        Of two operands of one shape; its configuration is the divisor and `config`.
    """

    def forward(x: Array, t: Array, divisor: int | None, *config: Any) -> Any:
        return summed(value(x, t, *config), divisor)

    def vjp(
        grad: Value,
        needs: Parents,
        x: Value,
        t: Value,
        out: None,
        divisor: int | None,
        *config: Any,
    ) -> Grads:
        each = shared(grad, divisor)
        return tuple([_scaled(s, each) for s in slopes(needs, x, t, *config)])

    return Primitive(name, forward, vjp, ((0, 1), (0, 1)), floats=True)


def opposite(slope: Value, needs: Parents) -> Grads:
    """Return the derivatives of a function of x - t, of which `slope` is that by x."""
    # The first is scaled in its own memory, so the second has to have another.
    return None if needs[0] is None else slope, None if needs[1] is None else -slope


def _scaled(slope: Value | None, each: Value) -> Value | None:
    if type(slope) is np.ndarray and not isinstance(each, Tensor):
        return np.multiply(slope, each, out=slope)
    return None if slope is None else slope * each


def apply_pointwise(
    rule: Primitive, x: Tensor, t: Tensor, reduction: str, *config: Any, weight: Array | None = None
) -> Tensor:
    """Return a loss of pairs, reduced; a weight comes before the reduction (loss-19)."""
    if weight is None:
        result: Tensor = binary(rule, x, t, (divisor_of(reduction, x.shape), *config))
        return result
    unreduced: Tensor = binary(rule, x, t, (None, *config))
    return reduced(unreduced * weight, reduction)


def floating(name: str, x: Any, argument: str = "input") -> Tensor:
    """Return an input, checked to be floating (loss-08)."""
    x = as_tensor(name, x, argument)
    if x.dtype.kind != "f":
        msg = f"{name}: {argument} must be float32 or float64, got {x.dtype}; cast with astype"
        raise TypeError(msg)
    return x


def pair(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Return an input and a target of the same shape (loss-01)."""
    x, t = floating(name, input), as_tensor(name, target, "target")
    check_five(name, t.dtype, "target")
    if x.shape != t.shape:
        msg = f"{name}: target must have the shape of input, {x.shape}, got {t.shape}"
        raise ValueError(msg)
    return x, t


def weight_of(name: str, argument: str, weight: Any, dtype: np.dtype[Any]) -> Array | None:
    """Return a weight as a constant of this dtype, checked to be floating (loss-19)."""
    if weight is None:
        return None
    if not isinstance(weight, Tensor) and not is_raw(weight):
        msg = f"{name}: {argument} must be a floating Tensor, got {type(weight).__name__}"
        raise TypeError(msg)
    w = floating(name, weight, argument)._data
    # Saved for backward, so nobody else may be able to write it.
    return w.astype(dtype) if w.dtype != dtype or is_raw(weight) else own(w)


def classes_weight(name: str, weight: Any, classes: int, dtype: np.dtype[Any]) -> Array | None:
    """Return a weight of classes, checked to have shape (C,)."""
    w = weight_of(name, "weight", weight, dtype)
    if w is not None and w.shape != (classes,):
        msg = f"{name}: weight must have shape (C,) = ({classes},), got {w.shape}"
        raise ValueError(msg)
    return w


def element_weight(
    name: str, argument: str, weight: Any, shape: Shape, dtype: np.dtype[Any]
) -> Array | None:
    """Return a weight of elements, checked to broadcast to the shape of the input."""
    w = weight_of(name, argument, weight, dtype)
    try:
        fits = w is None or np.broadcast_shapes(w.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits and w is not None:
        msg = f"{name}: {argument} must broadcast to the shape of input, {shape}, got {w.shape}"
        raise ValueError(msg)
    return w


def as_one(x: Tensor, shape: Shape) -> Tensor:
    """Return a Tensor of this many elements in this shape."""
    return x if x.shape == shape else reshaped(x, shape)


def _reduction(owner: str, name: str, value: Any) -> str:
    check_choice(owner, name, value, REDUCTIONS)
    return str(value)


def _divergence(owner: str, name: str, value: Any) -> str:
    check_choice(owner, name, value, (*REDUCTIONS, "batchmean"))
    return str(value)


def _number(owner: str, name: str, value: Any) -> float:
    check_no_bool(owner, name, value)
    return check_finite(owner, **{name: value})[0]


def _positive(owner: str, name: str, value: Any) -> float:
    number = _number(owner, name, value)
    if not number > 0:
        msg = f"{owner}: {name} must be positive, got {value}"
        raise ValueError(msg)
    return number


def _least_zero(owner: str, name: str, value: Any) -> float:
    check_not_negative(owner, name, value)
    return _number(owner, name, value)


def _share(owner: str, name: str, value: Any) -> float:
    check_no_bool(owner, name, value)
    return check_probability(owner, name, value)


# What an option must be, by its name; with the loss before it where that differs.
_OPTIONS: dict[str, Callable[[str, str, Any], Any]] = {
    "reduction": _reduction,
    "kl_div.reduction": _divergence,
    "delta": _positive,
    "beta": _least_zero,
    "ignore_index": check_int,
    "label_smoothing": _share,
    "log_target": check_flag,
    "margin": _number,
    "triplet_margin_loss.margin": _positive,
    "p": _positive,
    "eps": _number,
    "swap": check_flag,
    "blank": check_int,
    "zero_infinity": check_flag,
}


def option(loss: str, name: str, value: Any, owner: str | None = None) -> Any:
    """Return an option of a loss as a plain value, checked.

    Raises
    ------
    ValueError, TypeError
        If it is not what the option can be; the message names `owner`, or else the loss.
    """
    check = _OPTIONS.get(f"{loss}.{name}") or _OPTIONS[name]
    return check(owner or loss, name, value)


class Loss(Module):
    """A loss as a Module, made from its function: ``class MSELoss(Loss, of=mse_loss)``.

    The constructor takes the function's options, in their order, `forward` the rest (loss-09).
    Options are attributes, weights persistent buffers (loss-19).

    Raises
    ------
    ValueError, TypeError
        If an option is not what the function takes.
    """

    _function: ClassVar[Callable[..., Tensor]]
    _takes: ClassVar[inspect.Signature]

    def __init__(self, *options: Any, **named: Any) -> None:
        super().__init__()
        owner, loss = type(self).__name__, type(self)._function.__name__
        try:
            given = self._takes.bind(*options, **named)
        except TypeError as error:
            msg = f"{owner}: {error}"
            raise TypeError(msg) from None
        given.apply_defaults()
        for name, value in given.arguments.items():
            if name not in WEIGHTS:
                setattr(self, name, option(loss, name, value, owner))
                continue
            if value is not None and not isinstance(value, Tensor):
                msg = f"{owner}: {name} must be a floating Tensor, got {shown(value)}"
                msg += f" ({type(value).__name__})"
                raise TypeError(msg)
            self.register_buffer(name, None if value is None else floating(owner, value, name))

    def __init_subclass__(cls, of: Callable[..., Tensor] | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if of is None:
            return
        cls._function = staticmethod(of)
        every = inspect.signature(of)
        chosen = [p for p in every.parameters.values() if p.default is not p.empty]
        inputs = [p for p in every.parameters.values() if p.default is p.empty]
        names = ", ".join([p.name for p in chosen])
        cls.__doc__ = f"{cls.__doc__}\n\n    Parameters\n    ----------\n    {names}\n"
        cls.__doc__ += f"        As `{of.__name__}` takes them.\n    "
        cls._takes = every.replace(parameters=chosen, return_annotation=None)
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)

        def __init__(self: Loss, *options: Any, **named: Any) -> None:
            Loss.__init__(self, *options, **named)

        def forward(self: Loss, *inputs: Any, **named: Any) -> Tensor:
            """Return the loss of the inputs, as the function does, with the Module's options."""
            kept = {name: getattr(self, name) for name in self._takes.parameters}
            return of(*inputs, **named, **kept)

        for method, rest, returned in (
            (__init__, chosen, None),
            (forward, inputs, every.return_annotation),
        ):
            method.__qualname__ = f"{cls.__qualname__}.{method.__name__}"
            signature = every.replace(parameters=[own, *rest], return_annotation=returned)
            method.__dict__["__signature__"] = signature
            setattr(cls, method.__name__, method)
