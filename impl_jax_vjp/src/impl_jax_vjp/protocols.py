"""What Python and the array API standard ask of a Tensor beside operators: numbers, DLPack."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from .checks import (
    as_number,
    check_broadcast,
    check_integers,
    check_number,
    check_one_value,
    check_real,
    refuse,
    refuse_type,
    shown,
)
from .dtypes import is_inexact, make_array
from .recording import is_array
from .tape import Traced, unwrap

# Filled by `ops` with its functions, which stand above this room and are reached from here.
OPS: Any = SimpleNamespace()

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


class Protocols(Traced):
    """What a Tensor gives to whoever asks for its numbers."""

    __slots__ = ()
    __hash__ = object.__hash__

    def item(self) -> Any:
        """Return the Python number of a one-element Tensor."""
        return self._one("item")

    def _one(self, name: str) -> Any:
        data = unwrap(self)
        check_one_value(name, data)
        if data.size != 1:
            refuse(name, "the Tensor", "of one element", f"shape {data.shape}")
        if isinstance(data, jax.core.Tracer) and is_inexact(data.dtype):
            # JAX's own `item` takes the number out of a derivative without a word. # function-28
            data = np.asarray(data)
        return data.item()

    def tolist(self) -> Any:
        """Return nested lists, or a number for a Tensor without axes."""
        data = unwrap(self)
        check_one_value("tolist", data)
        return np.asarray(data).tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return a NumPy array with a copy of the values.

        Raises
        ------
        RuntimeError
            If this Tensor requires grad.
        """
        check_one_value("numpy", unwrap(self))
        if self._requires_grad:
            msg = "numpy: this Tensor requires grad; use t.detach().numpy()"
            raise RuntimeError(msg)
        return np.array(unwrap(self))

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule of DLPack with the values, for `from_dlpack` of another library.

        Raises
        ------
        RuntimeError
            If this Tensor requires grad.
        BufferError
            If another device is asked for, or ``copy=False`` where memory cannot be shared.
        """
        check_one_value("__dlpack__", unwrap(self))
        if self._requires_grad:
            msg = "__dlpack__: this Tensor requires grad; use t.detach().__dlpack__()"
            raise RuntimeError(msg)
        data = unwrap(self)
        own = tuple(map(int, data.__dlpack_device__()))
        if dl_device is not None and tuple(map(int, dl_device)) != own:  # tensor-44
            msg = f"__dlpack__: dl_device must be {own}, where the values are, got {dl_device}"
            raise BufferError(msg)
        if copy:
            data = make_array(data)
        return data.__dlpack__(stream=stream, max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the type and the number of the device, as DLPack has them."""
        kind, number = unwrap(self).__dlpack_device__()
        return int(kind), int(number)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """Return `ops`; raise `ValueError` for a version of the standard that there is not."""
        known = api_version is None or isinstance(api_version, str)
        if not known or api_version not in (None, *_VERSIONS):
            versions = f"None or one of {', '.join(_VERSIONS)}"
            refuse("__array_namespace__", "api_version", versions, shown(api_version))
        return OPS.namespace

    @property
    def device(self) -> Any:
        """The device that the values are on; in a trace, where they will be by default."""
        data = unwrap(self)
        traced = isinstance(data, jax.core.Tracer)
        return OPS.default_device() if traced else next(iter(data.devices()))

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """Return the Tensor on a device; gradients come back from there."""
        del stream  # JAX orders what devices do itself.
        if device is None:
            refuse_type("to_device", "device", "a device of JAX", device)
        return OPS.on_device("to_device", self, device)

    def __len__(self) -> int:
        if not self._data.shape:
            msg = "len: a Tensor without axes has no length"
            raise TypeError(msg)
        return int(self._data.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return iter([OPS.getitem(self, i) for i in range(len(self))])

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(self)[::-1])

    def __contains__(self, value: Any) -> bool:
        if not is_array(value):
            number = as_number(value)
            if not isinstance(number, complex):
                check_number("in", "the value", number)
        check_broadcast("in", self._data.shape, np.shape(unwrap(value)))
        equal = unwrap(OPS.equal(self, value))
        check_one_value("in", equal)
        return bool(np.asarray(equal).any())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        values = self.numpy()  # tensor-41
        return values if dtype is None else values.astype(dtype)

    def __float__(self) -> float:
        check_real("float", self._data.dtype)
        return float(self._one("float"))

    def __complex__(self) -> complex:
        return complex(self._one("complex"))

    def __int__(self) -> int:
        check_real("int", self._data.dtype)
        number = self._one("int")
        if number != number or number in (math.inf, -math.inf):
            refuse("int", "the element", "finite", number)
        return int(number)

    def __index__(self) -> int:
        check_integers("index", "the elements", self._data.dtype)
        return int(self._one("index"))

    def __format__(self, spec: str) -> str:
        if not isinstance(spec, str):
            refuse_type("format", "spec", "a string", spec)
        number = self._one("format") if spec else self
        try:
            return format(number, spec) if spec else str(self)
        except ValueError:
            refuse("format", "spec", f"a format of {type(number).__name__}", repr(spec))

    def __bool__(self) -> bool:
        return bool(self._one("bool"))
