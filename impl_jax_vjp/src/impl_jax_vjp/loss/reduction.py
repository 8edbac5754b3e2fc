"""What losses share: reductions, checks, one program for each loss, and the Modules.

A loss is a formula of arrays. It and its reduction are one `Primitive`, so the forward is one
compiled function and so is the backward. `module` makes the Module of a loss from its function:
the arguments that have defaults are its constructor's, the others those of `forward`.
"""

import inspect
from collections.abc import Callable
from typing import Any

from ..checks import check_choice, check_five, check_flag, check_number, refuse
from ..dtypes import DType, is_floating, promote
from ..module import Module
from ..ops import formulas as F
from ..recording import Primitive, as_operand, dtype_of, is_array, shape_of
from ..tape import Traced

Array = Any
Check = Callable[[str, str, Any], Any]

REDUCTIONS = ("mean", "sum", "none")

SAME = """Parameters
----------
input, target : Tensor or raw array, the same shape{options}
reduction : {{"mean", "sum", "none"}}

Returns
-------
Tensor, of no axes, or with "none" of the inputs' shape

Raises
------
ValueError
    If the shapes differ, the reduction is none of these, or {or_}.
TypeError
    If `input` is not floating, or an argument is of the wrong kind."""


def reduced(reduction: str, losses: Array) -> Array:
    """Return losses, their sum or their mean."""
    if reduction == "none":
        return losses
    return F.mean(losses) if reduction == "mean" else F.total(losses)


def compiled(name: str, formula: Callable[..., Array]) -> Primitive:
    """Return a loss as one program: the formula in a dtype, reduced.

    The formula takes options and then arrays; the Primitive arrays, and then as static arguments
    the reduction, the dtype and the tuple of options.
    """

    def run(reduction: str, dtype: DType, options: tuple[Any, ...], *arrays: Array) -> Array:
        return reduced(reduction, formula(*options, *[a.astype(dtype) for a in arrays]))

    return Primitive(run, name)


def common(*operands: Any) -> DType:
    """Return the dtype in which a loss of these is computed."""
    dtype = dtype_of(operands[0])
    for operand in operands[1:]:
        dtype = promote("loss", dtype, dtype_of(operand))
    return dtype


def floating_input(
    name: str,
    value: Any,
    reduction: str,
    choices: tuple[str, ...] = REDUCTIONS,
    argument: str = "input",
) -> Any:
    """Return a loss's first argument as an operand, and check what every loss asks of it."""
    check_choice(name, "reduction", reduction, choices)  # loss-05
    value = as_operand(name, value)
    if not is_floating(dtype_of(value)):  # loss-08
        msg = f"{name}: {argument} must be float32 or float64, got dtype {dtype_of(value)}"
        raise TypeError(msg)
    return value


def operand_of_five(name: str, value: Any) -> Any:
    """Return an operand; raise `TypeError` if its dtype is none that losses take."""
    value = as_operand(name, value)
    check_five(name, dtype_of(value))  # tensor-37
    return value


def same_shape(
    name: str, input: Any, target: Any, reduction: str, choices: tuple[str, ...] = REDUCTIONS
) -> tuple[Any, Any]:
    """Return input and target as operands; raise `ValueError` if their shapes differ."""
    input = floating_input(name, input, reduction, choices)
    target = operand_of_five(name, target)
    if shape_of(input) != shape_of(target):
        shapes = f"{shape_of(input)} and {shape_of(target)}"
        msg = f"{name}: input and target must have the same shape, got {shapes}"
        raise ValueError(msg)
    return input, target


def as_weight(name: str, argument: str, value: Any) -> Any:
    """Return a weight as an operand; raise `TypeError` if it is no floating array."""  # loss-19
    if not is_array(value):
        msg = f"{name}: {argument} must be a floating Tensor, got {type(value).__name__}"
        raise TypeError(msg)
    value = as_operand(name, value)
    if not is_floating(dtype_of(value)):
        msg = f"{name}: {argument} must be float32 or float64, got dtype {dtype_of(value)}"
        raise TypeError(msg)
    return value


def number(name: str, argument: str, value: Any) -> float:
    """Return a number as a float."""
    return float(check_number(name, argument, value))


def positive(name: str, argument: str, value: Any) -> float:
    """Return a number above 0, or raise an error that names the loss, the option and the value."""
    checked = number(name, argument, value)
    if not checked > 0:
        refuse(name, argument, "positive", value)
    return checked


def not_negative(name: str, argument: str, value: Any) -> float:
    """Return a number of 0 or more, or raise an error that names it."""
    checked = number(name, argument, value)
    if not checked >= 0:
        refuse(name, argument, "at least 0", value)
    return checked


flag: Check = check_flag


class Loss(Module):
    """A loss function as a Module, whose options are the arguments that have defaults.

    Attributes
    ----------
    weight, pos_weight : Tensor or None
        Persistent buffers, where the loss has such arguments; other options are attributes.
    """

    _function: Callable[..., Any]
    _checks: dict[str, Check]

    def _take(self, options: dict[str, Any]) -> None:
        name = type(self).__name__
        for argument, value in options.items():
            if argument in ("weight", "pos_weight"):
                self._take_weight(argument, value)
            else:
                check = type(self)._checks.get(argument)
                setattr(self, argument, check(name, argument, value) if check else value)

    def _take_weight(self, argument: str, value: Any) -> None:
        if value is None:
            # No buffer: it is in no iteration. # loss-19
            object.__setattr__(self, argument, None)
            return
        name = type(self).__name__
        if not isinstance(value, Traced):
            msg = f"{name}: {argument} must be a floating Tensor, got {type(value).__name__}"
            raise TypeError(msg)
        self.register_buffer(argument, as_weight(name, argument, value))

    def _apply(self, inputs: dict[str, Any]) -> Any:
        options = {argument: getattr(self, argument) for argument in self._arguments}
        return type(self)._function(**inputs, **options)

    _arguments: tuple[str, ...]


def module(
    name: str, function: Callable[..., Any], choices: tuple[str, ...] = REDUCTIONS, **checks: Check
) -> type[Any]:
    """Return the Module of a loss; `checks` of its options are made when it is made."""
    signature = inspect.signature(function)
    given = list(signature.parameters.values())
    owner = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    options = signature.replace(parameters=[p for p in given if p.default is not p.empty])
    inputs = signature.replace(parameters=[p for p in given if p.default is p.empty])

    def __init__(self: Loss, *args: Any, **kwargs: Any) -> None:
        Loss.__init__(self)
        bound = _bound(name, options, args, kwargs)
        check_choice(name, "reduction", bound["reduction"], choices)  # loss-05
        self._take(bound)

    def forward(self: Loss, *args: Any, **kwargs: Any) -> Any:
        return self._apply(_bound(name, inputs, args, kwargs))

    for method, arguments in ((__init__, options), (forward, inputs)):
        shown = [owner, *arguments.parameters.values()]
        made: Any = method
        made.__signature__ = arguments.replace(parameters=shown)
        made.__qualname__ = f"{name}.{made.__name__}"
    forward.__doc__ = f"Return what `{function.__name__}` returns for these and the options."
    __init__.__doc__ = f"Take the options of `{function.__name__}`."
    names = {"__module__": function.__module__.rpartition(".")[0], "__qualname__": name}
    return type(
        name,
        (Loss,),
        names
        | {"__init__": __init__, "forward": forward, "__doc__": inspect.getdoc(function)}
        | {"_function": staticmethod(function), "_checks": checks}
        | {"_arguments": tuple(options.parameters)},
    )


def _bound(
    name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        msg = f"{name}: {error}"
        raise TypeError(msg) from None
    bound.apply_defaults()
    return dict(bound.arguments)
