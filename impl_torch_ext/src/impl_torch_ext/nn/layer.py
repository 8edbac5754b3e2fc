"""The base of layers: options, parameters and the check of what comes in, in one place."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from impl_torch_ext.checks import Option, check_floating, check_floating_dtype
from impl_torch_ext.creation import empty
from impl_torch_ext.module import Module
from impl_torch_ext.parameter import Parameter

__all__ = ["Layer", "Options", "check_input", "over_channels"]

Options: TypeAlias = Mapping[str, Option]


class Layer(Module):
    """A Module that is its options, its parameters and an equation.

    Parameters
    ----------
    *values
        The options, in the order of the class's `_options`, a mapping from the names of the
        constructor's arguments to their checks. Each becomes an attribute, and `repr` shows it.
    """

    _options: ClassVar[Options] = {}
    # So many options stand in `repr` without their names; those of `_unsaid` stand there only with
    # another value than the one given, those with `...` never.
    _bare: ClassVar[int] = 0
    _unsaid: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *values: Any) -> None:
        super().__init__()
        name = type(self).__name__
        for (option, check), value in zip(self._options.items(), values, strict=True):
            setattr(self, option, check(name, option, value))

    def _draw(
        self,
        fill: Callable[[Tensor], Tensor],
        dtype: torch.dtype | None,
        **shapes: tuple[int, ...] | None,
    ) -> None:
        """Register a Parameter of each shape, filled in order; None for None."""
        dtype = check_floating_dtype(type(self).__name__, dtype)
        for name, shape in shapes.items():
            # A parameter takes the place of the option that asks for it.
            self.__dict__.pop(name, None)
            value = None if shape is None else Parameter(fill(empty(shape, dtype=dtype)))
            self.register_parameter(name, value)

    def _check(
        self, argument: str, x: Any, shape: tuple[Any, ...], text: str, like: Tensor | None
    ) -> Tensor:
        """Return `x`, or raise if it has another shape, or dtype than `like`."""
        dtype = None if like is None else like.dtype
        return check_input(type(self).__name__, argument, x, shape, text, dtype)

    def extra_repr(self) -> str:
        """Return the options, as torch shows them."""
        values = {option: self._shown(option) for option in self._options}
        return ", ".join(
            repr(value) if place < self._bare else f"{option}={value!r}"
            for place, (option, value) in enumerate(values.items())
            if option not in self._unsaid or self._unsaid[option] not in (..., value)
        )

    def _shown(self, option: str) -> Any:
        if option in self._parameters:
            return self._parameters[option] is not None
        return getattr(self, option)


def over_channels(parameter: Tensor, x: Tensor, channels: int = 1) -> Tensor:
    """Return (C,) as a view of the shape of `x`, whose axis of channels is given, from there on.

    Gradients are summed over what precedes the channels first and then over what follows: over all
    of it at once torch does not sum by pairs (ops-25).
    """
    shape = x.shape[channels:]
    return parameter.reshape(-1, *(1,) * (len(shape) - 1)).expand(shape)


def check_input(
    name: str,
    argument: str,
    x: Any,
    shape: tuple[Any, ...],
    text: str,
    dtype: torch.dtype | None,
) -> Tensor:
    """Return `x`, or raise if it is not what a layer takes.

    Parameters
    ----------
    name, argument : str
        The layer and the argument, for the message.
    x : object
        What came.
    shape : tuple
        The sizes that are wanted, of which None is any; or `...` for any leading axes, and sizes.
    text : str
        The names of the sizes, as in "(*, in_features)".
    dtype : dtype or None
        That of the layer's parameters; None is any floating one.
    """
    if not isinstance(x, Tensor):
        msg = f"{name}: {argument} must be a Tensor of shape {text}, got {type(x).__name__}"
        raise TypeError(msg)
    if not _fits(x.shape, shape):
        names = text.strip("()").rstrip(",").split(", ")
        names += [""] * len(shape)  # One name may stand for several sizes.
        sizes = (
            name if size is None or size is ... else str(size)
            for name, size in zip(names, shape, strict=False)
        )
        numbers = ", ".join(sizes) + ("," if len(shape) == 1 else "")
        msg = f"{name}: {argument} must have shape {text} = ({numbers}), got {tuple(x.shape)}"
        raise ValueError(msg)
    if dtype is None:
        return check_floating(name, x, argument)
    if x.dtype != dtype:
        msg = f"{name}: {argument} must have the dtype of the parameters, {dtype}, got {x.dtype}"
        raise TypeError(msg)
    return x


def _fits(shape: tuple[int, ...], wanted: tuple[Any, ...]) -> bool:
    if wanted and wanted[0] is ...:
        return shape[-len(wanted) + 1 :] == wanted[1:]
    if len(shape) != len(wanted):
        return False
    for want, size in zip(wanted, shape, strict=True):
        if want is not None and want != size:
            return False
    return True
