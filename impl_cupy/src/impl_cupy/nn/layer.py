"""What layers share: options, parameters, checks of the input, and what `repr` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from impl_cupy import random
from impl_cupy.checks import check_floating_dtype, check_same_dtype, check_sizes
from impl_cupy.creation import rounded
from impl_cupy.dtypes import DTypeLike
from impl_cupy.module import Module
from impl_cupy.parameter import Parameter
from impl_cupy.recording import as_tensor

Draw = Callable[[tuple[int, ...]], "np.ndarray[Any, np.dtype[Any]]"]


class Layer(Module):
    """A Module with options.

    Parameters
    ----------
    dtype : dtype, optional
        float32 or float64, that of the parameters; float32 unless given.
    **options : object
        The constructor's other arguments, checked. They become attributes, and `repr` shows them.

    Raises
    ------
    TypeError
        If `dtype` is no floating dtype; nothing is drawn then.
    """

    _bare: ClassVar[tuple[str, ...]] = ()
    """The options that `repr` shows without their names."""

    _usual: ClassVar[dict[str, Any]] = {}
    """The options that `repr` leaves out where they have these values."""

    def __init__(self, dtype: DTypeLike = None, **options: Any) -> None:
        super().__init__()
        self._dtype = check_floating_dtype(type(self).__name__, dtype)
        self._options = options
        self._shapes: dict[str, tuple[int, ...]] = {}
        for name, value in options.items():
            setattr(self, name, value)

    def _parameter(
        self, name: str, shape: tuple[int, ...], draw: Draw, present: bool = True
    ) -> None:
        """Register a Parameter drawn on the host, or None if it is not `present`."""
        # An option that says whether a parameter is there gives way to it.
        check_sizes(type(self).__name__, shape)
        self._shapes[name] = shape
        self.__dict__.pop(name, None)
        drawn = Parameter(rounded(draw(shape), self._dtype)) if present else None
        self.register_parameter(name, drawn)

    def _input(self, input: Any, axes: str, sizes: tuple[int, ...], argument: str = "input") -> Any:
        """Check an input whose last axes have these sizes and the parameters' dtype.

        Raises
        ------
        TypeError
            If it is no array, or of another dtype.
        ValueError
            If its last axes have other sizes.
        """
        name = type(self).__name__
        value = as_tensor(name, input)
        if value.ndim < len(sizes) or value.shape[value.ndim - len(sizes) :] != sizes:
            wanted = ", ".join(map(str, sizes))
            msg = (
                f"{name}: {argument} must have shape (*, {axes}) = (*, {wanted}), got {value.shape}"
            )
            raise ValueError(msg)
        self._check_parameters(value.dtype, argument)
        return value

    def _check_parameters(self, dtype: np.dtype[Any], argument: str = "input") -> None:
        """Refuse an input of another dtype than the parameters' (nn-03).

        Parameters may have been replaced, and kernels read as many elements as they should have.

        Raises
        ------
        TypeError
            If a dtype is another one.
        ValueError
            If a parameter has another shape than it was made with.
        """
        shapes = self._shapes
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            raw = parameter._data
            if raw.dtype != dtype:
                check_same_dtype(type(self).__name__, argument, dtype, raw.dtype)
            if name in shapes and raw.shape != shapes[name]:
                msg = (
                    f"{type(self).__name__}: {name} must have shape {shapes[name]}, got {raw.shape}"
                )
                raise ValueError(msg)

    def extra_repr(self) -> str:
        """Show the options."""
        shown = []
        for name, value in self._options.items():
            now = value if name in self._parameters else getattr(self, name)
            if name in self._bare:
                shown.append(f"{now}")
            elif name not in self._usual or self._usual[name] != now:
                shown.append(f"{name}={now}")
        return ", ".join(shown)


def uniform(bound: float) -> Draw:
    """Draw from ``[-bound, bound)``."""
    return lambda shape: random.uniform(shape, -bound, bound)


def constant(value: float) -> Draw:
    """Draw nothing: every element is `value`."""
    return lambda shape: np.full(shape, float(value))


def normal(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[Any]]:
    """Draw from the standard normal distribution."""
    return random.normal(shape)
