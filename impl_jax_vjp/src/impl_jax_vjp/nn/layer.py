"""The base of layers: options, parameters and the checks of inputs, each in one place."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..checks import Shape, check_same_dtype, fits, floating_dtype, positive_int
from ..creation import host
from ..init import uniform_values
from ..module import Module
from ..parameter import Parameter
from ..recording import as_operand, dtype_of, shape_of


class Layer(Module):
    """A Module whose class names its options.

    Attributes
    ----------
    _options : tuple of str
        What `repr` shows: ``"size"`` the value alone, ``"size="`` with its name, ``"size?"`` with
        its name where it is not the default. A Parameter is shown as whether there is one.
    """

    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, dtype: Any = None) -> None:
        super().__init__()
        self._dtype = floating_dtype(type(self).__name__, dtype)

    def _take_sizes(self, **sizes: Any) -> None:
        """Check options that are sizes, and keep them under their names."""
        for argument, value in sizes.items():
            setattr(self, argument, positive_int(type(self).__name__, argument, value))

    def _parameter(self, name: str, values: np.ndarray[Any, Any] | None) -> None:
        """Register a Parameter of values computed in float64, or None."""
        made = None if values is None else Parameter(host(type(self).__name__, values, self._dtype))
        self.register_parameter(name, made)

    def _uniform(self, name: str, shape: Shape, bound: float, present: bool = True) -> None:
        """Register a Parameter uniform in [-bound, bound), or None if it is not `present`."""
        self._parameter(name, uniform_values(shape, -bound, bound) if present else None)

    def _check(self, argument: str, value: Any, wanted: Sequence[int | None], symbols: str) -> Any:
        """Return an input of the wanted shape and of the parameters' dtype, or raise.

        Parameters
        ----------
        wanted : sequence of int or None
            The shape, in which None is free; where `symbols` begins with a star, of the last axes.
        symbols : str
            The shape in letters, for the message.
        """
        name = type(self).__name__
        value = as_operand(name, value)
        shape = shape_of(value)
        if not fits(shape[-len(wanted) :] if symbols.startswith("(*") else shape, wanted):
            known = _known(symbols, wanted)
            msg = f"{name}: {argument} must have shape {symbols} = {known}, got {shape}"
            raise ValueError(msg)
        # The parameters', not `_dtype`: a Module can be converted after it was made.
        for parameter in self._parameters.values():
            if parameter is not None:
                check_same_dtype(name, argument, dtype_of(value), dtype_of(parameter))
                break
        return value

    def extra_repr(self) -> str:
        """Return the options that the class names."""
        shown = []
        for option in self._options:
            name = option.rstrip("=?")
            value = getattr(self, name)
            if name in self._parameters:
                value = value is not None
            if option.endswith("?") and value == _default(type(self), name):
                continue
            shown.append(f"{name}={value}" if name != option else str(value))
        return ", ".join(shown)


def _default(cls: type[Any], name: str) -> Any:
    return inspect.signature(cls).parameters[name].default


def _known(symbols: str, wanted: Sequence[int | None]) -> str:
    """Return the shape in letters with the sizes that are known in their place."""
    if symbols.startswith("(*"):
        return f"(*, {', '.join(map(str, wanted))})"
    letters = symbols.strip("()").rstrip(",").split(", ")
    known = [v if s is None else str(s) for v, s in zip(letters, wanted, strict=True)]
    return f"({', '.join(known)}{',' if len(known) == 1 else ''})"
