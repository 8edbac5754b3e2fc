"""What a Module keeps by name, and reading a state dict into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, type_name
from impl_cupy.dtypes import THE_FIVE, check_five, native
from impl_cupy.memory import note_change
from impl_cupy.parameter import Parameter
from impl_cupy.slices import is_mapped, refuse_write
from impl_cupy.tape import state, vmapped
from impl_cupy.tensor import Tensor


class Registry:
    """Keeps Parameters, buffers and Modules apart from other attributes, in order.

    Attribute access finds them by name. Every check comes before any change, so that an
    assignment that fails leaves everything as it was.
    """

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _transient: set[str]

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_transient", set())

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a Parameter, or None for one that is not there.

        Raises
        ------
        KeyError
            If `name` is empty, holds a dot or is taken.
        TypeError
            If `param` is no Parameter.
        """
        self._check_name("register_parameter", name, self._parameters)
        self._check_entry("register_parameter", name, param, Parameter, "Parameter")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a Tensor that is state but no Parameter.

        Parameters
        ----------
        name : str
        tensor : Tensor or None
        persistent : bool
            Whether it is in `state_dict`.

        Raises
        ------
        KeyError
            If `name` is empty, holds a dot or is taken.
        TypeError
            If `tensor` is no Tensor.
        """
        self._check_name("register_buffer", name, self._buffers)
        self._check_entry("register_buffer", name, tensor, Tensor, "Tensor")
        if tensor is not None:
            check_five("register_buffer", tensor.dtype)
        persistent = check_flag(f"{type(self).__name__}.register_buffer", "persistent", persistent)
        self._buffers[name] = tensor
        if persistent:
            self._transient.discard(name)
        else:
            self._transient.add(name)

    def register_module(self, name: str, module: Any) -> None:
        """Register a Module as a child, or None for one that is not there.

        Raises
        ------
        KeyError
            If `name` is empty, holds a dot or is taken.
        TypeError
            If `module` is no Module.
        """
        self._check_name("register_module", name, self._modules)
        self._check_entry("register_module", name, module, Registry, "Module")
        self._modules[name] = module

    add_module = register_module

    def _check_initialized(self, action: str) -> None:
        if "_parameters" not in self.__dict__:
            msg = (
                f"{type(self).__name__}: super().__init__() must be called before the Module can "
                f"{action}"
            )
            raise AttributeError(msg)

    def _check_entry(
        self, operation: str, name: str, value: Any, wanted: type, called: str
    ) -> None:
        if value is not None and not isinstance(value, wanted):
            msg = (
                f"{type(self).__name__}.{operation}: {name} must be a {called} or None, "
                f"got {type_name(value)}"
            )
            raise TypeError(msg)

    def _check_name(self, operation: str, name: str, own: dict[str, Any]) -> None:
        self._check_initialized("register anything")
        where = f"{type(self).__name__}.{operation}"
        if not isinstance(name, str):
            msg = f"{where}: a name must be a str, got {type(name).__name__}"
            raise TypeError(msg)
        if not name:
            msg = f"{where}: a name must not be empty"
            raise KeyError(msg)
        if "." in name:
            msg = f"{where}: a name must not hold a dot, got {name!r}"
            raise KeyError(msg)
        if name not in own and hasattr(self, name):
            msg = f"{where}: the name {name!r} is taken by another attribute"
            raise KeyError(msg)

    def __getattr__(self, name: str) -> Any:
        # Called only for what is no plain attribute.
        for registry in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(registry)
            if entries is not None and name in entries:
                return entries[name]
        msg = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(msg)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Parameter, Registry)):
            self._check_initialized(f"take {name!r}")
            registry = "_parameters" if isinstance(value, Parameter) else "_modules"
            self._move(name, registry)
            getattr(self, registry)[name] = value
            return
        entries = self.__dict__
        if name in entries.get("_parameters", ()):
            if value is not None:
                msg = (
                    f"{type(self).__name__}: {name} is a registered Parameter and takes a "
                    f"Parameter or None, got {type_name(value)}"
                )
                raise TypeError(msg)
            self._parameters[name] = None
        elif name in entries.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                msg = (
                    f"{type(self).__name__}: {name} is a registered buffer and takes a Tensor or "
                    f"None, got {type_name(value)}"
                )
                raise TypeError(msg)
            if vmapped:
                self._note_write(name, value)
            self._buffers[name] = value
        elif name in entries.get("_modules", ()):
            if value is not None:
                msg = (
                    f"{type(self).__name__}: {name} is a registered Module and takes a Module or "
                    f"None, got {type_name(value)}"
                )
                raise TypeError(msg)
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    def _note_write(self, name: str, value: Any) -> None:
        """Refuse a value of a slice, and let others be taken back (autograd-56)."""
        if is_mapped(value):
            refuse_write(f"{type(self).__name__}: {name}")
        if state.writes is not None:
            state.writes.append((self._buffers, name, self._buffers[name], value))

    def _move(self, name: str, registry: str) -> None:
        """Make room for `name` in one of the registries."""
        self.__dict__.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != registry:
                self.__dict__[other].pop(name, None)
        self._transient.discard(name)

    def __delattr__(self, name: str) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(registry, ()):
                del self.__dict__[registry][name]
                self._transient.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = set(super().__dir__())
        return sorted(names.union(self._parameters, self._buffers, self._modules))


class LoadResult(NamedTuple):
    """The keys that `Module.load_state_dict` passed over with ``strict=False``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_into(
    owner: str, entries: Iterable[tuple[str, Tensor]], state_dict: Mapping[str, Any], strict: bool
) -> LoadResult:
    """Copy values into the entries of a Module by name, as `Module.load_state_dict` says."""
    name = f"{owner}.load_state_dict"
    if not isinstance(state_dict, Mapping):
        msg = f"{name}: must be a mapping from names to arrays, got {type(state_dict).__name__}"
        raise TypeError(msg)
    own = dict(entries)
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    faults = [f"missing {key}" for key in missing] if strict else []
    faults += [f"unexpected {key}" for key in unexpected] if strict else []
    arrays = {}
    for key, target in own.items():
        if key in state_dict:
            fault, arrays[key] = _array_of(state_dict[key], target)
            faults += [f"{key} {fault}"] if fault else []
    if faults:
        msg = f"{name}: nothing was loaded: {'; '.join(faults)}"
        raise RuntimeError(msg)
    # Two entries may be views of one array, so every value is read before one is written.
    fresh = {key: cp.array(raw, dtype=own[key].dtype, copy=True) for key, raw in arrays.items()}
    for key, raw in fresh.items():
        note_change(own[key])
        own[key]._data[...] = raw
    return LoadResult(missing, unexpected)


def _array_of(value: Any, target: Tensor) -> tuple[str, Any]:
    """Return what keeps a value from being loaded, if anything does, and its array."""
    array = value._data if isinstance(value, Tensor) else value
    if not isinstance(array, (cp.ndarray, np.ndarray)):
        return f"must be a Tensor or an array, got {type_name(value)}", None
    if isinstance(array, np.ndarray):
        array = native(array)
    if array.dtype not in THE_FIVE:
        names = ", ".join(dtype.name for dtype in THE_FIVE)
        return f"must have one of the dtypes {names}, got {array.dtype.name}", None
    if array.shape != target.shape:
        return f"has shape {array.shape}, should have {target.shape}", None
    wanted = target.dtype
    if wanted.kind != "f" and array.dtype != wanted:
        if array.dtype.kind == "f":
            return f"must have integers or booleans for {wanted.name}, got {array.dtype.name}", None
        least, most = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        if array.size and (int(array.min()) < least or int(array.max()) > most):
            return f"holds a number that {wanted.name} does not, from {array.dtype.name}", None
    return "", array
