"""How a Module's attributes become its Parameters, buffers and children."""

from __future__ import annotations

from typing import Any

from impl_cupy.errors import kind_of
from impl_cupy.parameter import Parameter
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
        if param is not None and not isinstance(param, Parameter):
            msg = (
                f"{type(self).__name__}.register_parameter: {name} must be a Parameter or None, "
                f"got {kind_of(param)}"
            )
            raise TypeError(msg)
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
        if tensor is not None and not isinstance(tensor, Tensor):
            msg = (
                f"{type(self).__name__}.register_buffer: {name} must be a Tensor or None, "
                f"got {kind_of(tensor)}"
            )
            raise TypeError(msg)
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
        if module is not None and not isinstance(module, Registry):
            msg = (
                f"{type(self).__name__}.register_module: {name} must be a Module or None, "
                f"got {type(module).__name__}"
            )
            raise TypeError(msg)
        self._modules[name] = module

    add_module = register_module

    def _check_initialized(self, action: str) -> None:
        if "_parameters" not in self.__dict__:
            msg = (
                f"{type(self).__name__}: super().__init__() must be called before the Module can "
                f"{action}"
            )
            raise AttributeError(msg)

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
        for kind in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(kind)
            if entries is not None and name in entries:
                return entries[name]
        msg = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(msg)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Parameter, Registry)):
            self._check_initialized(f"take {name!r}")
            kind = "_parameters" if isinstance(value, Parameter) else "_modules"
            self._move(name, kind)
            getattr(self, kind)[name] = value
            return
        entries = self.__dict__
        if name in entries.get("_parameters", ()):
            if value is not None:
                msg = (
                    f"{type(self).__name__}: {name} is a registered Parameter and takes a "
                    f"Parameter or None, got {kind_of(value)}"
                )
                raise TypeError(msg)
            self._parameters[name] = None
        elif name in entries.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                msg = (
                    f"{type(self).__name__}: {name} is a registered buffer and takes a Tensor or "
                    f"None, got {kind_of(value)}"
                )
                raise TypeError(msg)
            self._buffers[name] = value
        elif name in entries.get("_modules", ()):
            if value is not None:
                msg = (
                    f"{type(self).__name__}: {name} is a registered Module and takes a Module or "
                    f"None, got {kind_of(value)}"
                )
                raise TypeError(msg)
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    def _move(self, name: str, kind: str) -> None:
        """Make room for `name` among the entries of a kind."""
        self.__dict__.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != kind:
                self.__dict__[other].pop(name, None)
        self._transient.discard(name)

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(kind, ()):
                del self.__dict__[kind][name]
                self._transient.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = set(super().__dir__())
        return sorted(names.union(self._parameters, self._buffers, self._modules))
