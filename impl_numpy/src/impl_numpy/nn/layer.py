"""The base of layers: options, parameters, what `repr` shows, and the checks of an input."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import init
from impl_numpy.checks import check_five, check_parameter_dtype, check_positive, check_same_dtype
from impl_numpy.creation import empty, full
from impl_numpy.dtypes import FIVE, Shape
from impl_numpy.module import Module
from impl_numpy.parameter import Parameter
from impl_numpy.tensor import Tensor, as_tensor


class Layer(Module):
    """A Module that is its options, its parameters and a line of computation.

    A subclass passes its options to `__init__`, which keeps them as attributes, and names in
    `_sizes` those that must be positive ints. `_shown` are the options in `repr`: a name alone
    shows the value, ``name=`` shows both.
    """

    _fixed = True
    _sizes: ClassVar[tuple[str, ...]] = ()
    _shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__()
        check_positive(type(self).__name__, **{name: options[name] for name in self._sizes})
        for name, value in options.items():
            setattr(self, name, int(value) if name in self._sizes else value)

    def _dtype(self, dtype: DTypeLike | None) -> np.dtype[Any]:
        """Return the dtype of the parameters, checked (nn-09)."""
        return check_parameter_dtype(type(self).__name__, dtype)

    def _uniform(
        self, name: str, shape: Shape | None, bound: float, dtype: DTypeLike | None
    ) -> None:
        """Draw and register a Parameter within a bound; no shape, no Parameter."""
        checked = self._dtype(dtype)
        drawn = None if shape is None else Parameter(empty(shape, dtype=checked))
        if drawn is not None:
            init.uniform_(drawn, -bound, bound)
        self.register_parameter(name, drawn)

    def _constant(
        self, name: str, shape: Shape | None, value: float, dtype: DTypeLike | None
    ) -> None:
        """Register a Parameter of one value; no shape, no Parameter."""
        checked = self._dtype(dtype)
        filled = None if shape is None else Parameter(full(shape, value, dtype=checked))
        self.register_parameter(name, filled)

    def _input(self, x: Any, dtype: np.dtype[Any] | None = None, name: str = "input") -> Tensor:
        """Return an input as a Tensor, of the parameters' dtype where there are any."""
        owner = type(self).__name__
        x = as_tensor(owner, x, name)
        if dtype is not None:
            check_same_dtype(owner, name, x.dtype, dtype)
        elif x._data.dtype not in FIVE:
            check_five(owner, x.dtype, name)
        return x

    def _last_axes(self, x: Tensor, sizes: Shape, names: str, name: str = "input") -> None:
        """Raise ValueError for an input whose last axes are not these."""
        if x.shape[x.ndim - len(sizes) :] != sizes or x.ndim < len(sizes):
            wanted = ", ".join(map(str, sizes))
            msg = (
                f"{type(self).__name__}: {name} must have shape (*, {names}) = (*, {wanted}), "
                f"got {x.shape}"
            )
            raise ValueError(msg)

    def extra_repr(self) -> str:
        """Return the options that `repr` shows; of a bias, whether there is one (nn-09)."""
        return ", ".join(
            f"{name}{self._text(name[:-1])}" if name.endswith("=") else self._text(name)
            for name in self._shown
        )

    def _text(self, name: str) -> str:
        value = getattr(self, name)
        if name == "bias":
            value = value is not None
        return repr(value) if isinstance(value, str) else str(value)
