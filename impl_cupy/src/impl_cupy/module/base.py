"""Module: a callable that owns Parameters, buffers and other Modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from impl_cupy.checks import (
    check_callable,
    check_flag,
    check_floating_dtype,
    check_text,
    type_name,
)
from impl_cupy.dtypes import DTypeLike, float32, float64
from impl_cupy.module.state import LoadResult, load_into
from impl_cupy.parameter import Parameter
from impl_cupy.random import RestoredOnError
from impl_cupy.tape import RemovableHandle, handles, wrap
from impl_cupy.tensor import Tensor


class _Registry:
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
        self._check_entry("register_module", name, module, _Registry, "Module")
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
        if isinstance(value, (Parameter, _Registry)):
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


class Module(_Registry):
    """A callable that owns Parameters, buffers and other Modules.

    A subclass calls ``super().__init__()``, assigns Parameters and Modules to attributes and
    defines ``forward``.

    Attributes
    ----------
    training : bool
        Whether layers such as Dropout behave as in training.
    """

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "training", True)
        object.__setattr__(self, "_forward_pre_hooks", {})
        object.__setattr__(self, "_forward_hooks", {})

    training: bool
    _forward_pre_hooks: dict[int, Callable[..., Any]]
    _forward_hooks: dict[int, Callable[..., Any]]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every Module defines its own.

        Raises
        ------
        NotImplementedError
            If the Module does not.
        """
        msg = f"{type(self).__name__}: this Module has no forward; define forward(self, ...)"
        raise NotImplementedError(msg)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` with the hooks around it."""
        self._check_initialized("be called")
        if not self._forward_pre_hooks and not self._forward_hooks:
            return self.forward(*args, **kwargs)
        with RestoredOnError():
            for pre_hook in tuple(self._forward_pre_hooks.values()):
                changed = pre_hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            output = self.forward(*args, **kwargs)
            for hook in tuple(self._forward_hooks.values()):
                changed = hook(self, args, output)
                if changed is not None:
                    output = changed
            return output

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, args)`` before `forward`; what it returns replaces the args."""
        check_callable(f"{type(self).__name__}.register_forward_pre_hook", "hook", hook)
        return RemovableHandle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns is the output."""
        check_callable(f"{type(self).__name__}.register_forward_hook", "hook", hook)
        return RemovableHandle(self._forward_hooks, hook)

    def modules(self) -> Iterator[Module]:
        """Iterate over this Module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Iterate over dotted names and Modules, this one first, each once."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over names and Modules directly inside, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """Iterate over Modules directly inside."""
        return (child for _, child in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Iterate over dotted names and Parameters in order of registration, each once."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Iterate over Parameters in order of registration, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Iterate over dotted names and buffers in order of registration, each once."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Iterate over buffers in order of registration, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(self, registry: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in getattr(module, registry).items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def state_dict(self) -> dict[str, Tensor]:
        """Give every Parameter and persistent buffer by dotted name.

        Returns
        -------
        dict of str to Tensor
            Detached; they share the Module's memory. A shared Parameter is there by every name.
        """
        return {name: value.detach() for name, value in self._entries()}

    def _entries(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self._walk(""):
            for name, value in (*module._parameters.items(), *module._buffers.items()):
                if value is not None and name not in module._transient:
                    yield (f"{path}.{name}" if path else name), value

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values into the present Parameters and buffers, whose dtypes stay.

        Parameters
        ----------
        state_dict : mapping of str to Tensor, cupy.ndarray or numpy.ndarray
        strict : bool
            Whether missing and unexpected keys are errors; wrong shapes always are.

        Returns
        -------
        LoadResult
            The keys that were passed over, ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        RuntimeError
            That lists every fault, such as a value that is no array; nothing is changed then.
        TypeError
            If it is no mapping.
        """
        strict = check_flag(f"{type(self).__name__}.load_state_dict", "strict", strict)
        return load_into(type(self).__name__, self._entries(), state_dict, strict)

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in all Modules inside; return the Module."""
        mode = check_flag(f"{type(self).__name__}.train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set `training` to False here and in all Modules inside; return the Module."""
        return self.train(False)

    def requires_grad_(self, flag: bool = True) -> Self:
        """Set `requires_grad` of all Parameters; return the Module."""
        flag = check_flag(f"{type(self).__name__}.requires_grad_", "flag", flag)
        for parameter in self.parameters():
            parameter.requires_grad_(flag)
        return self

    def zero_grad(self) -> None:
        """Make the `grad` of all Parameters None."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every Module inside, children first, then on this one; return it."""
        check_callable(f"{type(self).__name__}.apply", "fn", fn)
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, dtype: DTypeLike) -> Self:
        """Convert floating Parameters and buffers; the objects stay. Return the Module.

        Raises
        ------
        TypeError
            If `dtype` is not floating.
        """
        name = f"{type(self).__name__}.to"
        if dtype is None:
            msg = f"{name}: dtype must be float32 or float64, got None"
            raise TypeError(msg)
        wanted = check_floating_dtype(name, dtype)
        others = [
            value
            for value in (*self.parameters(), *self.buffers())
            if value.dtype.kind == "f" and value.dtype != wanted
        ]
        # All are made before one is put in its place: there may not be memory for all (module-19).
        made = [(value, value._data.astype(wanted), value.grad) for value in others]
        grads = [grad if grad is None else wrap(grad._data.astype(wanted)) for _, _, grad in made]
        for (value, raw, _), grad in zip(made, grads, strict=True):
            value._data = raw
            value.grad = grad
        return self

    def double(self) -> Self:
        """Convert to float64; see `to`."""
        return self.to(float64)

    def float(self) -> Self:
        """Convert to float32; see `to`."""
        return self.to(float32)

    def get_submodule(self, target: str) -> Module:
        """Find a Module by dotted name; the empty name is this one.

        Raises
        ------
        AttributeError
            That names the part that is missing.
        """
        check_text(f"{type(self).__name__}.get_submodule", "target", target)
        module: Module = self
        for part in target.split(".") if target else ():
            child = module._modules.get(part)
            if child is None:
                msg = f"{type(module).__name__} has no submodule {part!r} (looking for {target!r})"
                raise AttributeError(msg)
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Find a Parameter by dotted name.

        Raises
        ------
        AttributeError
            That names the part that is missing.
        """
        check_text(f"{type(self).__name__}.get_parameter", "target", target)
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        parameter = module._parameters.get(name)
        if parameter is None:
            msg = f"{type(module).__name__} has no parameter {name!r} (looking for {target!r})"
            raise AttributeError(msg)
        return parameter

    def extra_repr(self) -> str:
        """Give what `repr` shows between the brackets, the constructor's arguments as a rule."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        if not self._modules:
            return f"{type(self).__name__}({extra})"
        lines = extra.split("\n") if extra else []
        for name, child in self._modules.items():
            lines.append(f"({name}): {child!r}".replace("\n", "\n  "))
        inner = "".join(f"  {line}\n" for line in lines)
        return f"{type(self).__name__}(\n{inner})"


handles.Module = Module
