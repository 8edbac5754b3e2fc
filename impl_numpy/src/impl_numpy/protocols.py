"""What Python and the array API ask of a Tensor, beside arithmetic (tensor-41, tensor-43)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.batched import Batched, asarray, refuse
from impl_numpy.checks import as_scalar, check_device, check_raw, check_real, check_string, shown
from impl_numpy.dtypes import Array, promoted
from impl_numpy.memory import follow
from impl_numpy.recording import QUIET, RULES, Differentiable, Traced, binary, unary
from impl_numpy.tape import check_uncut

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


def compare(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """Compare element by element, without history; NotImplemented for what is no operand.

    Parameters
    ----------
    ufunc : numpy.ufunc
    a, b : Tensor, raw array or number
        One at least is a Tensor. Integers are compared exactly, also those that a dtype does not
        hold (tensor-38).
    """
    wrap = a._wrap if isinstance(a, Traced) else b._wrap
    name = ufunc.__name__
    x, y = _compared(a, name), _compared(b, name)
    if x is None or y is None:
        return NotImplemented
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.dtype != y.dtype:
        dtype = promoted(name, x.dtype, y.dtype)
        x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    if name in _ORDERS:
        check_real(name, *[asarray(k).dtype for k in (x, y)])
    try:
        return wrap(QUIET.run(ufunc, x, y), None)
    except (ValueError, OverflowError) as error:
        msg = f"{ufunc.__name__}: cannot take shapes {np.shape(x)} and {np.shape(y)}: {error}"
        raise ValueError(msg) from None


def _compared(x: Any, operation: str) -> Any:
    """Return an operand of a comparison as a raw array or a number; None for what is neither."""
    if isinstance(x, Traced):
        return x._data
    return check_raw(x, operation) if isinstance(x, np.ndarray) else as_scalar(x)


_ORDERS = frozenset(("less", "less_equal", "greater", "greater_equal"))


class Protocols(Traced):
    """Whole division, bits, comparisons, conversions, copies, and the array API's protocols."""

    __slots__ = ()

    def item(self) -> complex | float | int | bool:
        """Return the Python number of a one-element Tensor."""
        return self._element("item")

    def __pos__(self) -> Any:
        return unary(RULES["positive"], self)

    def __invert__(self) -> Any:
        return unary(RULES["bitwise_invert"], self)

    def __floordiv__(self, other: Any) -> Any:
        return binary(RULES["floor_divide"], self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return binary(RULES["floor_divide"], other, self)

    def __mod__(self, other: Any) -> Any:
        return binary(RULES["remainder"], self, other)

    def __rmod__(self, other: Any) -> Any:
        return binary(RULES["remainder"], other, self)

    def __and__(self, other: Any) -> Any:
        return binary(RULES["bitwise_and"], self, other)

    def __rand__(self, other: Any) -> Any:
        return binary(RULES["bitwise_and"], other, self)

    def __or__(self, other: Any) -> Any:
        return binary(RULES["bitwise_or"], self, other)

    def __ror__(self, other: Any) -> Any:
        return binary(RULES["bitwise_or"], other, self)

    def __xor__(self, other: Any) -> Any:
        return binary(RULES["bitwise_xor"], self, other)

    def __rxor__(self, other: Any) -> Any:
        return binary(RULES["bitwise_xor"], other, self)

    def __lshift__(self, other: Any) -> Any:
        return binary(RULES["bitwise_left_shift"], self, other)

    def __rlshift__(self, other: Any) -> Any:
        return binary(RULES["bitwise_left_shift"], other, self)

    def __rshift__(self, other: Any) -> Any:
        return binary(RULES["bitwise_right_shift"], self, other)

    def __rrshift__(self, other: Any) -> Any:
        return binary(RULES["bitwise_right_shift"], other, self)

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        """Return `ops`, which is written to the standard of this version and those before."""
        known = isinstance(api_version, str) and api_version in _VERSIONS
        if api_version is not None and not known:
            wanted, got = ", ".join(_VERSIONS), shown(api_version)
            msg = f"__array_namespace__: the version must be one of {wanted}, got {got}"
            raise ValueError(msg)
        return Differentiable.ops

    @property
    def device(self) -> str:
        """Return where the values lie: always the processor."""
        return "cpu"

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """Return this Tensor, which is where it can be.

        Raises
        ------
        ValueError
            If the device is another than "cpu", or a stream is given.
        """
        if device is None or stream is not None:
            msg = f"to_device: wants 'cpu' and no stream, got {shown(device)} and {shown(stream)}"
            raise ValueError(msg)
        check_device("to_device", device)
        return self

    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        array = self.numpy()  # type: ignore[attr-defined]
        return array.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self, /) -> tuple[int, int]:
        return self._data.__dlpack_device__()

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
        number = value.item() if getattr(value, "size", None) == 1 else as_scalar(value)
        if not isinstance(number, (bool, int, float, complex)):
            msg = f"in: a Tensor holds numbers, got {shown(value)}"
            raise TypeError(msg)
        return bool(compare(np.equal, self, number)._data.any())

    def __bool__(self) -> bool:
        return bool(self._element("bool"))

    def __float__(self) -> float:
        return float(self._real_element("float"))

    def __complex__(self) -> complex:
        return complex(self._element("complex"))

    def __int__(self) -> int:
        element = self._real_element("int")
        if not math.isfinite(element):
            msg = f"int: {element} is no integer"
            raise ValueError(msg)
        return int(element)

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            msg = f"index: only integers can be an index, got {self._data.dtype}"
            raise TypeError(msg)
        return int(self._element("index"))

    def _real_element(self, operation: str) -> Any:
        element = self._element(operation)
        if isinstance(element, complex):
            msg = f"{operation}: {element} of {self._data.dtype} is no real number; take ops.real"
            raise TypeError(msg)
        return element

    def _element(self, operation: str) -> Any:
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
        if type(self._data) is Batched:
            refuse("the array")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

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
