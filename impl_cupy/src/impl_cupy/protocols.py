"""What Python and the array API ask of a Tensor: operators, containment, its namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import shown
from impl_cupy.memory import lend_data
from impl_cupy.slices import is_mapped, refuse_value
from impl_cupy.tape import Recorded, handles, state

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
_NUMBERS = (bool, int, float, complex)
_OPERANDS = (Recorded, cp.ndarray, np.ndarray, np.generic, *_NUMBERS)


class Protocols(Recorded):
    """A Tensor as an operand and a container; each operator is a function of `ops`."""

    __slots__ = ()

    # NumPy's and CuPy's operators leave the operation to Tensor's reflected one.
    __array_ufunc__ = None
    __array_priority__ = 1000

    __hash__ = object.__hash__

    numpy: Callable[[], Any]
    _refuse_cut: Callable[[str], None]

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        """Return `ops`, which has the functions of the standard.

        Raises
        ------
        ValueError
            If `api_version` is no version of the standard up to 2025.12.
        """
        is_text = isinstance(api_version, str)
        if api_version is not None and not (is_text and api_version in _VERSIONS):
            versions = ", ".join(_VERSIONS)
            msg = f"__array_namespace__: api_version must be one of {versions}, got {api_version!r}"
            raise ValueError(msg)
        return handles.namespace

    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule of the values, which CuPy makes; see the standard.

        Raises
        ------
        RuntimeError
            While the Tensor requires grad.
        BufferError
            If only a copy would do, or a device cannot be reached.
        """
        self._refuse_cut("__dlpack__")
        if self._requires_grad:
            msg = "__dlpack__: a Tensor that requires grad is not handed out; use detach()"
            raise RuntimeError(msg)
        raw = self._data.copy() if copy else lend_data(self)
        return raw.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the type of the device in DLPack, and its number."""
        kind, number = self._data.__dlpack_device__()
        return int(kind), int(number)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if copy is False:
            msg = "numpy: a Tensor on the device has no NumPy form without a copy; leave copy out"
            raise ValueError(msg)
        return self.numpy().astype(dtype or self._data.dtype, copy=False)

    def __len__(self) -> int:
        if self._data.ndim == 0:
            msg = "len: a 0-d Tensor has no length"
            raise TypeError(msg)
        return self._data.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (handles.getitem(self, index) for index in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        kind = "f"
        if isinstance(value, (np.generic, Recorded)):
            kind = (value._data if isinstance(value, Recorded) else value).dtype.kind
        is_number = (
            isinstance(value, (bool, int, float, complex)) or getattr(value, "shape", None) == ()
        )
        if not is_number or isinstance(value, (np.ndarray, np.dtype)) or kind not in "biufc":
            msg = f"in: only a number can be in a Tensor, got {shown(value)}"
            raise TypeError(msg)
        found = handles.equal(self, value)
        if is_mapped(found):
            refuse_value("in")
        return bool(cp.any(found._data))

    def __add__(self, other: Any) -> Any:
        return handles.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return handles.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return handles.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return handles.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return handles.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return handles.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return handles.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return handles.divide(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return handles.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return handles.floor_divide(other, self)

    def __mod__(self, other: Any) -> Any:
        return handles.remainder(self, other)

    def __rmod__(self, other: Any) -> Any:
        return handles.remainder(other, self)

    def __pow__(self, other: Any) -> Any:
        return handles.pow(self, other)

    def __rpow__(self, other: Any) -> Any:
        return handles.pow(other, self)

    def __matmul__(self, other: Any) -> Any:
        return handles.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return handles.matmul(other, self)

    def __and__(self, other: Any) -> Any:
        return handles.bitwise_and(self, other)

    def __rand__(self, other: Any) -> Any:
        return handles.bitwise_and(other, self)

    def __or__(self, other: Any) -> Any:
        return handles.bitwise_or(self, other)

    def __ror__(self, other: Any) -> Any:
        return handles.bitwise_or(other, self)

    def __xor__(self, other: Any) -> Any:
        return handles.bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Any:
        return handles.bitwise_xor(other, self)

    def __lshift__(self, other: Any) -> Any:
        return handles.bitwise_left_shift(self, other)

    def __rlshift__(self, other: Any) -> Any:
        return handles.bitwise_left_shift(other, self)

    def __rshift__(self, other: Any) -> Any:
        return handles.bitwise_right_shift(self, other)

    def __rrshift__(self, other: Any) -> Any:
        return handles.bitwise_right_shift(other, self)

    def __neg__(self) -> Any:
        return handles.negative(self)

    def __pos__(self) -> Any:
        return handles.positive(self)

    def __abs__(self) -> Any:
        return handles.abs(self)

    def __invert__(self) -> Any:
        return handles.bitwise_invert(self)

    def __lt__(self, other: Any) -> Any:
        return handles.less(self, other)

    def __le__(self, other: Any) -> Any:
        return handles.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return handles.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return handles.greater_equal(self, other)

    def __eq__(self, other: object) -> Any:
        return handles.equal(self, other) if _is_comparable(other) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return handles.not_equal(self, other) if _is_comparable(other) else NotImplemented


def _writing(operator: Callable[..., Any], sign: str) -> Callable[..., Any]:
    """Make ``x += y`` of an operator: another Tensor, for Tensors take no writes."""

    def written(self: Any, other: Any) -> Any:
        if state.at_once:
            # On an array of a slice it would be seen by all who hold the array.
            msg = f"{sign}=: under vmap a Function does not write into what depends on a slice"
            raise RuntimeError(msg)
        return operator(self, other)

    return written


for _name, _sign in (
    ("add", "+"),
    ("sub", "-"),
    ("mul", "*"),
    ("truediv", "/"),
    ("floordiv", "//"),
    ("mod", "%"),
    ("pow", "**"),
    ("matmul", "@"),
    ("and", "&"),
    ("or", "|"),
    ("xor", "^"),
    ("lshift", "<<"),
    ("rshift", ">>"),
):
    setattr(Protocols, f"__i{_name}__", _writing(getattr(Protocols, f"__{_name}__"), _sign))


def _is_comparable(other: object) -> bool:
    """Tell whether == is asked element by element, and not whether two objects are the same."""
    return isinstance(other, _OPERANDS)
