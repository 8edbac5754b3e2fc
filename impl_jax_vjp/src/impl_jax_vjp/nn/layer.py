"""The base of layers: options, parameters and the checks of inputs, each in one place."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..checks import Shape, check_same_dtype, fits, floating_dtype, positive_int
from ..creation import host
from ..dtypes import is_floating
from ..init import uniform_values
from ..module import Module
from ..parameter import Parameter
from ..recording import as_operand, dtype_of, shape_of
from ..tape import MODE, change


class Layer(Module):
    """A Module whose class names its options.

    Attributes
    ----------
    _options : tuple of str
        What `repr` shows: ``"size"`` the value alone, ``"size="`` with its name, ``"size?"`` with
        its name where it is not the default, or a tuple of it. A Parameter is shown as whether
        there is one.
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
        return self._of_dtype(argument, value)

    def _of_dtype(self, argument: str, value: Any) -> Any:
        """Return an array of the parameters' dtype, or raise `TypeError` that names both.

        Where there are none, buffers stand for them; without either any floating dtype will do.
        """
        name, dtype = type(self).__name__, dtype_of(value)
        # Not `_dtype`: a Module can be converted after it was made.
        for held in (*self._parameters.values(), *self._buffers.values()):
            if held is not None:
                check_same_dtype(name, argument, dtype, dtype_of(held))
                return value
        if not is_floating(dtype):
            msg = f"{name}: {argument} must be float32 or float64, got dtype {dtype}"
            raise TypeError(msg)
        return value

    def _live(self, name: str) -> Any:
        """Return the array of a Tensor that the call may give other values, as it is now."""
        held = getattr(self, name)
        return held._data if MODE.capture is None else MODE.capture.live(held)

    def _become(self, **arrays: Any) -> None:
        """Give Tensors other values; nothing is recorded, and the objects stay."""
        for name, array in arrays.items():
            change(f"{type(self).__name__}: {name}", getattr(self, name), array)

    def extra_repr(self) -> str:
        """Return the options that the class names."""
        shown = []
        for option in self._options:
            name = option.rstrip("=?")
            value = getattr(self, name)
            if name in self._parameters:
                value = value is not None
            default = _default(type(self), name) if option.endswith("?") else _NONE
            if value == default or (isinstance(value, tuple) and set(value) == {default}):
                continue
            shown.append(f"{name}={value}" if name != option else str(value))
        return ", ".join(shown)


# No option has this value.
_NONE = object()


def _default(cls: type[Any], name: str) -> Any:
    return inspect.signature(cls).parameters[name].default


def _known(symbols: str, wanted: Sequence[int | None]) -> str:
    """Return the shape in letters with the sizes that are known in their place."""
    if symbols.startswith("(*"):
        return f"(*, {', '.join(map(str, wanted))})"
    letters = symbols.strip("()").rstrip(",").split(", ")
    known = [v if s is None else str(s) for v, s in zip(letters, wanted, strict=True)]
    return f"({', '.join(known)}{',' if len(known) == 1 else ''})"
