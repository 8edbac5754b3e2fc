"""What losses share: the reductions, the checks, losses of single elements, and the Modules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_choice, check_int, check_number, type_name
from impl_cupy.dtypes import check_five
from impl_cupy.launch import pointwise
from impl_cupy.nn.layer import Layer
from impl_cupy.ops.reduction import mean, sum
from impl_cupy.recording import as_tensor, cast, record
from impl_cupy.tape import keep, wrap
from impl_cupy.tensor import Tensor

Check: TypeAlias = "Callable[[str, str, Any], Any]"
"""Gets the operation, the argument and its value, and raises where that does not fit."""
Factor: TypeAlias = "Callable[..., Any]"
"""From a namespace, input, target and the loss's numbers to a factor of the gradient, on Tensors"""

WEIGHTS = ("weight", "pos_weight")


def _batchmean(losses: Any) -> Any:
    return sum(losses) / (losses.shape[0] if losses.ndim else 1)  # loss-17


REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "mean": mean,
    "sum": sum,
    "none": lambda losses: losses,
    "batchmean": _batchmean,
}


def check_positive(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no number above 0.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is 0, negative or NaN.
    """
    check_number(operation, argument, value)
    if not value > 0:
        msg = f"{operation}: {argument} must be positive, got {value}"
        raise ValueError(msg)


def check_positive_finite(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no number above 0, or infinite.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is 0, negative, infinite or NaN.
    """
    check_positive(operation, argument, value)
    if value == math.inf:
        msg = f"{operation}: {argument} must be finite, got {value}"
        raise ValueError(msg)


def check_index(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no int of 64 bits.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it has more bits.
    """
    if not -(2**63) <= check_int(operation, argument, value) < 2**63:
        msg = f"{operation}: {argument} must be an int of 64 bits, got {value}"
        raise ValueError(msg)


class Options:
    """The options of a loss, and how they are checked.

    Parameters
    ----------
    name : str
        The function's.
    *more : str
        Reductions beside "mean", "sum" and "none".
    **checks : callable
        By argument.
    """

    def __init__(self, name: str, *more: str, **checks: Check) -> None:
        self.name = name
        self.reductions = ("mean", "sum", "none", *more)
        self.checks = checks

    def check(self, reduction: Any, called: str | None = None, **values: Any) -> None:
        """Check options, in the name of the function or as who is `called`.

        Raises
        ------
        TypeError, ValueError
            That names the argument and its value.
        """
        name = self.name if called is None else called
        check_choice(name, "reduction", reduction, self.reductions)  # loss-05
        for argument, value in values.items():
            self.checks[argument](name, argument, value)


def floating_input(name: str, value: Any, argument: str = "input") -> Any:
    """Return an array as a Tensor.

    Raises
    ------
    TypeError
        If it is none, or is not floating.
    """
    tensor = as_tensor(name, value)
    if tensor.dtype.kind != "f":
        msg = f"{name}: {argument} must be floating, got dtype {tensor.dtype.name}"  # loss-08
        raise TypeError(msg)
    return tensor


def floating_inputs(name: str, words: str, *given: Any) -> tuple[Any, ...]:
    """Return arrays, of which the first is floating, as Tensors of one dtype.

    Raises
    ------
    TypeError
        If one is no array, or the first is not floating.
    ValueError
        That names all shapes, where they are not the same.
    """
    first = floating_input(name, given[0], words.partition(",")[0])
    values = [first, *(as_tensor(name, value) for value in given[1:])]
    for value in values[1:]:
        check_five(name, value.dtype)
    if any(value.shape != first.shape for value in values):
        shapes = " and ".join(str(value.shape) for value in values)
        msg = f"{name}: {words} must have one shape, got {shapes}"
        raise ValueError(msg)
    dtype = np.result_type(*{value.dtype for value in values if value.dtype.kind == "f"})
    return tuple([cast(value, dtype) for value in values])


def weight_of(name: str, argument: str, value: Any, dtype: Any) -> Any:
    """Return a weight as a Tensor of this dtype, or None for None.

    Raises
    ------
    TypeError
        If it is no array, or is not floating.
    """
    if value is None:
        return None
    if not isinstance(value, (Tensor, cp.ndarray, np.ndarray)):
        msg = f"{name}: {argument} must be a Tensor, got {type_name(value)}"  # loss-19
        raise TypeError(msg)
    weight = floating_input(name, value, argument)
    return wrap(keep(weight).astype(dtype, copy=False))


def spread_weight(name: str, argument: str, value: Any, like: Any) -> Any:
    """Return a weight that broadcasts to the shape of an input, or None for None.

    Raises
    ------
    TypeError
        As `weight_of`.
    ValueError
        That names both shapes.
    """
    weight = weight_of(name, argument, value, like.dtype)
    try:
        fits = weight is None or np.broadcast_shapes(weight.shape, like.shape) == like.shape
    except ValueError:
        fits = False
    if not fits:
        msg = f"{name}: {argument} must broadcast to {like.shape}, got shape {weight.shape}"
        raise ValueError(msg)  # loss-19
    return weight


class Elements:
    """A loss of single elements: one kernel each way and operand, of ``pointwise_loss.cu``.

    Parameters
    ----------
    name, kernel : str
        The loss, and the function in the file; its gradients end in ``_backward`` and
        ``_to_target``.
    to_input, to_target : callable
        What the gradient is multiplied with, on Tensors. Without `to_target` the loss is one of
        ``input - target``, and the target's gradient is the other with its sign changed.
    """

    def __init__(
        self, name: str, kernel: str, to_input: Factor, to_target: Factor | None = None
    ) -> None:
        self.name = name
        self.kernel = kernel
        self.to_input = to_input
        self.to_target = to_target

    def __call__(self, input: Any, target: Any, *numbers: Any) -> Any:
        """Return the losses of Tensors of one shape; `numbers` may be raw arrays."""
        return record(
            self.name,
            lambda x, t: pointwise(self.kernel)(x, t, *numbers),
            self._back,
            (input, target),
            keep_inputs=True,
            config=numbers,
        )

    def _back(self, node: Any, grad: Any) -> tuple[Any, Any]:
        wants_input, wants_target = node.edges
        slope: Any = None
        if wants_input or self.to_target is None:
            slope = self._slope(node, grad, "backward", self.to_input)
        if not wants_target:
            return slope, None
        if self.to_target is None:
            return (slope if wants_input else None), -slope
        return slope, self._slope(node, grad, "to_target", self.to_target)

    def _slope(self, node: Any, grad: Any, kernel: str, factor: Factor) -> Any:
        x, t = node.inputs
        if isinstance(grad, cp.ndarray):
            return pointwise(f"{self.kernel}_{kernel}")(x, t, *node.config, grad)
        numbers = [wrap(part) if isinstance(part, cp.ndarray) else part for part in node.config]
        return grad * factor(node.xp, x, t, *numbers)


class Loss(Layer):
    """A loss as a Module: holds the options, and weights as buffers."""

    reduction: str

    def __init__(self, options: Options, weights: dict[str, Any], values: dict[str, Any]) -> None:
        name = type(self).__name__
        options.check(called=name, **values)
        for argument, weight in weights.items():
            if weight is not None and not isinstance(weight, Tensor):
                msg = f"{name}: {argument} must be a Tensor, got {type_name(weight)}"
                raise TypeError(msg)
            weight_of(name, argument, weight, np.dtype("float64"))
        super().__init__(**values)
        for argument, weight in weights.items():
            self.register_buffer(argument, weight)

    def forward(self, *inputs: Any) -> Tensor:
        """Compare what the function of the loss takes without a default."""
        raise NotImplementedError


def as_module(name: str, function: Callable[..., Tensor], options: Options) -> type[Loss]:
    """Make the Module of a loss from its function.

    Parameters
    ----------
    name : str
        The Module's.
    function : callable
        What has a default is an option of the Module, and the rest goes to `forward`.
    options : Options
        How they are checked.
    """
    signature = inspect.signature(function)
    empty = inspect.Parameter.empty
    parameters = signature.parameters.values()
    given = [part for part in parameters if part.default is empty]
    chosen = [part for part in parameters if part.default is not empty]
    self_part = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    of_module = signature.replace(parameters=chosen, return_annotation=None)
    of_forward = signature.replace(parameters=given)

    def __init__(self: Loss, *args: Any, **kwargs: Any) -> None:
        try:
            bound = of_module.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"{name}: {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        weights = {key: bound.arguments.pop(key) for key in WEIGHTS if key in bound.arguments}
        Loss.__init__(self, options, weights, bound.arguments)

    def forward(self: Loss, *args: Any, **kwargs: Any) -> Tensor:
        held = {part.name: getattr(self, part.name) for part in chosen}
        try:
            bound = of_forward.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"{name}: {error}"
            raise TypeError(msg) from None
        return function(*bound.args, **held)

    __init__.__signature__ = of_module.replace(  # type: ignore[attr-defined]
        parameters=[self_part, *chosen]
    )
    forward.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[self_part, *given]
    )
    __init__.__doc__ = f"Keep the options of `{function.__name__}`."
    forward.__doc__ = f"Return the loss, as `{function.__name__}` does."
    doc = (
        f"`{function.__name__}` as a Module: the options are the constructor's, and weights are "
        "buffers.\n\nParameters, what is returned and errors are those of the function.\n"
    )
    members = {"__module__": function.__module__, "__doc__": doc}
    return type(name, (Loss,), {**members, "__init__": __init__, "forward": forward})
