"""What Python's operators and built-in functions ask of a Tensor, beside arithmetic (tensor-41)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.checks import as_number, check_string, shown
from impl_numpy.dtypes import Array
from impl_numpy.memory import follow
from impl_numpy.recording import Traced, compare
from impl_numpy.tape import check_uncut


class Protocols(Traced):
    """Comparisons, conversions, `len`, `in`, `format`, iteration, copies and pickling."""

    __slots__ = ()

    def item(self) -> float | int | bool:
        """Return the Python number of a one-element Tensor."""
        return self._element("item")

    def __lt__(self, other: Any) -> Any:
        return compare(np.less, self, other)

    def __le__(self, other: Any) -> Any:
        return compare(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Any:
        return compare(np.greater, self, other)

    def __ge__(self, other: Any) -> Any:
        return compare(np.greater_equal, self, other)

    def __eq__(self, other: object) -> Any:
        return compare(np.equal, self, other)

    def __ne__(self, other: object) -> Any:
        return compare(np.not_equal, self, other)

    __hash__ = object.__hash__

    def __len__(self) -> int:
        if not self._data.shape:
            msg = "len: a Tensor without axes has no length"
            raise TypeError(msg)
        return self._data.shape[0]

    def __contains__(self, value: Any) -> bool:
        number = value.item() if getattr(value, "size", None) == 1 else as_number(value)
        if not isinstance(number, (bool, int, float)):
            msg = f"in: a Tensor holds numbers, got {shown(value)}"
            raise TypeError(msg)
        return bool(compare(np.equal, self, number)._data.any())

    def __bool__(self) -> bool:
        return bool(self._element("bool"))

    def __float__(self) -> float:
        return float(self._element("float"))

    def __int__(self) -> int:
        element = self._element("int")
        if not math.isfinite(element):
            msg = f"int: {element} is no integer"
            raise ValueError(msg)
        return int(element)

    def __index__(self) -> int:
        if self._data.dtype.kind != "i":
            msg = f"index: only integers can be an index, got {self._data.dtype}"
            raise TypeError(msg)
        return int(self._element("index"))

    def _element(self, operation: str) -> float | int | bool:
        """Return the Python number of a one-element Tensor (tensor-41)."""
        if self._data.size != 1:
            msg = f"{operation}: wants one element, got shape {self._data.shape}"
            raise ValueError(msg)
        if self._node is not None:
            check_uncut(operation)
        return self._data.item()

    def __format__(self, spec: str) -> str:
        check_string("format", "the spec", spec)
        if not spec:
            return str(self)
        element = self._element("format")
        try:
            return format(element, spec)
        except ValueError as error:
            msg = f"format: {shown(spec)} does not fit {self._data.dtype}: {error}"
            raise ValueError(msg) from None

    def tolist(self) -> Any:
        """Return the values as nested lists; a number where there is no axis."""
        if self._node is not None:
            check_uncut("tolist")
        return self._data.tolist()

    def __iter__(self: Any) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __array__(self: Any, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self: Any, **options: Any) -> Any:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __reduce__(self: Any) -> tuple[Any, ...]:
        # A file outlives the graph: what an operation made comes back as a leaf (tensor-42).
        plain = getattr(self, "__dict__", None)
        return _rebuild, (type(self), self._data, self.requires_grad), plain or None

    def __copy__(self: Any) -> Any:
        result = self._copied(self._data, self._grad, getattr(self, "__dict__", {}))
        return follow(result)

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        grad = self._grad
        copied = None if grad is None else self._wrap(grad._data.copy(), None)
        result = self._copied(self._data.copy(), copied, {})
        memo[id(self)] = result
        if hasattr(self, "__dict__"):
            result.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return result

    def _copied(self: Any, array: Array, grad: Any, attributes: dict[str, Any]) -> Any:
        if not self.is_leaf:
            msg = f"copy: {self._node} made this Tensor, and history cannot be copied; use detach()"
            raise RuntimeError(msg)
        result = _rebuild(type(self), array, self.requires_grad)
        result._grad = grad
        if attributes:
            result.__dict__.update(attributes)
        return result


def _rebuild(cls: type[Any], array: Array, requires_grad: bool) -> Any:
    # Not by the class, whose subclass may be made from other things.
    tensor = object.__new__(cls)
    tensor._data, tensor._node, tensor._grad, tensor._lent = array, None, None, False
    if requires_grad:
        tensor.requires_grad_()
    return tensor
