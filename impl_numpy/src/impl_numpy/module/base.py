"""Module: a callable that owns Parameters, buffers and other Modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Self

from numpy.typing import DTypeLike

from impl_numpy.batched import USED, Batched, NotKnown, noted
from impl_numpy.checks import (
    check_callable,
    check_dtype,
    check_five,
    check_flag,
    check_string,
    shown,
)
from impl_numpy.dtypes import float32, float64
from impl_numpy.module.hooks import Hooked
from impl_numpy.module.state import LoadResult, load_into
from impl_numpy.parameter import Parameter
from impl_numpy.tensor import Tensor, wrap


class Module(Hooked):
    """Base class: assign Parameters and Modules in `__init__`, compute in `forward`."""

    # Whether it computes with parameters of their own shapes alone.
    _fixed: ClassVar[bool] = False
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = {}
        own["_buffers"] = {}
        own["_modules"] = {}
        own["_transient"] = set()
        own["_hooks"] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        for place, registered in (("_parameters", Parameter), ("_modules", Module)):
            if isinstance(value, registered):
                if place not in self.__dict__:
                    msg = (
                        f"{type(self).__name__}: cannot assign {name} before Module.__init__; "
                        "call super().__init__() first"
                    )
                    raise AttributeError(msg)
                if USED:
                    self._note_write(name, place, value)
                self._forget(name, but=place)
                self.__dict__[place][name] = value
                return
        for place in ("_parameters", "_modules", "_buffers"):
            if name in self.__dict__.get(place, ()):
                allowed = value is None or (place == "_buffers" and isinstance(value, Tensor))
                if not allowed:
                    entry = {"_parameters": "Parameter", "_modules": "Module"}.get(place, "buffer")
                    msg = (
                        f"{type(self).__name__}: cannot assign a {type(value).__name__} to {name}, "
                        f"which is a registered {entry}"
                    )
                    raise TypeError(msg)
                if place == "_buffers" and value is not None:
                    check_five(type(self).__name__, value.dtype, name)
                if USED:
                    self._note_write(name, place, value)
                self.__dict__[place][name] = value
                return
        super().__setattr__(name, value)

    def _note_write(self, name: str, place: str, value: Any) -> None:
        """Note what undoes a write under `vmap`; refuse what depends on a slice (autograd-56)."""
        entries = self.__dict__[place]
        if name not in entries:
            return
        before = entries[name]
        cut = type(getattr(value, "_data", None)) is Batched
        if cut and type(getattr(before, "_data", None)) is not Batched:
            msg = (
                f"vmap: what depends on a slice cannot be written to {name} of "
                f"{type(self).__name__}, which is from outside"
            )
            raise NotKnown(msg)
        noted(partial(entries.__setitem__, name, before))

    def __getattr__(self, name: str) -> Any:
        for place in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(place, {})
            if name in entries:
                return entries[name]
        msg = f"{type(self).__name__} has no attribute {name}"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def _forget(self, name: str, but: str = "") -> bool:
        """Take a name out of wherever it is registered, or out of the plain attributes."""
        known = False
        for place in ("_parameters", "_buffers", "_modules"):
            if place != but and self.__dict__[place].pop(name, self) is not self:
                known = True
        self._transient.discard(name)
        if but:
            self.__dict__.pop(name, None)
        return known

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a Parameter, or None for an attribute that is there but empty.

        Raises
        ------
        KeyError
            If the name is empty, holds a dot or is taken.
        TypeError
            If it is no Parameter.
        """
        self._check_name("register_parameter", name, self._parameters)
        _check_kind("register_parameter", name, param, Parameter)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a Tensor that is no Parameter; if persistent, it is in the state dict."""
        persistent = check_flag("register_buffer", "persistent", persistent)
        self._check_name("register_buffer", name, self._buffers)
        _check_kind("register_buffer", name, tensor, Tensor)
        if tensor is not None:
            check_five("register_buffer", tensor.dtype, name)
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a Module under a name."""
        self._check_name("add_module", name, self._modules)
        _check_kind("add_module", name, module, Module)
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, operation: str, name: str, entries: Mapping[str, Any]) -> None:
        owner = type(self).__name__
        if "_parameters" not in self.__dict__:
            msg = f"{operation}: call super().__init__() of {owner} first"
            raise AttributeError(msg)
        if not isinstance(name, str):
            msg = f"{operation}: the name must be a string, got {type(name).__name__}"
            raise TypeError(msg)
        reason = None
        if not name:
            reason = "must not be empty"
        elif "." in name:
            reason = "must not hold a dot"
        elif name not in entries and hasattr(self, name):
            reason = f"is taken by another attribute of {owner}"
        if reason is not None:
            msg = f"{operation}: the name {shown(name)} {reason}"
            raise KeyError(msg)

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Return this Module and all below it, with dotted names; parents first.

        Parameters
        ----------
        prefix : str
            What the names begin with; this Module's own name.
        remove_duplicate : bool
            Give each Module once, under its first name.
        """
        prefix = check_string("named_modules", "prefix", prefix)
        once = check_flag("named_modules", "remove_duplicate", remove_duplicate)
        return self._every_module(prefix, {} if once else None)

    def _every_module(
        self, prefix: str, seen: dict[int, Module] | None
    ) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if id(self) in seen:
                return
            seen[id(self)] = self
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._every_module(dotted(prefix, name), seen)

    def modules(self) -> Iterator[Module]:
        """Return this Module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the Modules registered here, each once."""
        seen: list[Module] = []
        for name, module in self._modules.items():
            if module is not None and not any(module is other for other in seen):
                seen.append(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """Return the Modules registered here."""
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Return Parameters with dotted names; parents' own first.

        Parameters
        ----------
        prefix : str
            What the names begin with.
        recurse : bool
            Those of the Modules below too.
        remove_duplicate : bool
            Give a shared one once, under its first name.
        """
        return self._named("named_parameters", "_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Return Parameters, each once."""
        return (param for _, param in self._named("parameters", "_parameters", "", recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Return buffers with dotted names; parents' own first.

        Parameters
        ----------
        prefix : str
            What the names begin with.
        recurse : bool
            Those of the Modules below too.
        remove_duplicate : bool
            Give a shared one once, under its first name.
        """
        return self._named("named_buffers", "_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Return buffers, each once."""
        return (buffer for _, buffer in self._named("buffers", "_buffers", "", recurse))

    def _named(
        self, operation: str, place: str, prefix: str, recurse: bool, once: bool = True
    ) -> Iterator[tuple[str, Any]]:
        prefix = check_string(operation, "prefix", prefix)
        recurse = check_flag(operation, "recurse", recurse)
        once = check_flag(operation, "remove_duplicate", once)
        return self._entries(place, prefix, recurse, once)

    def _entries(
        self, place: str, prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        every = self._every_module(prefix, {} if once else None) if recurse else ((prefix, self),)
        for path, module in every:
            for name, tensor in module.__dict__[place].items():
                if tensor is not None and id(tensor) not in seen:
                    if once:
                        seen.add(id(tensor))
                    yield dotted(path, name), tensor

    def _named_state(self, hooked: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield every name of every Parameter and persistent buffer, shared ones too."""
        for path, module in self._every_module("", None):
            if hooked:
                for _, hook in module._hooks_of("register_state_dict_pre_hook"):
                    hook.function(module, f"{path}." if path else "", False)  # module-24
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and name not in module._transient:
                    yield dotted(path, name), tensor

    def state_dict(self) -> OrderedDict[str, Tensor]:
        """Return detached Tensors by dotted name, which share the Module's memory."""
        return OrderedDict((name, tensor.detach()) for name, tensor in self._named_state(True))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values into the present parameters and buffers.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
        strict : bool
            Missing and unexpected keys are errors; misshapen ones always are.

        Returns
        -------
        LoadResult
            The named tuple (missing_keys, unexpected_keys).

        Raises
        ------
        RuntimeError
            One for all faults; nothing has changed then.
        TypeError
            If `state_dict` is no mapping.
        """
        owner = type(self).__name__
        strict = check_flag(f"{owner}.load_state_dict", "strict", strict)
        result = load_into(owner, self._named_state(), state_dict, strict)
        for module in self._upward(set()):
            for _, hook in module._hooks_of("register_load_state_dict_post_hook"):
                hook.function(module, result)
        return result

    def _upward(self, seen: set[int]) -> Iterator[Module]:
        """Yield the Modules below this one and then it, each once."""
        seen.add(id(self))
        for child in self._modules.values():
            if child is not None and id(child) not in seen:
                yield from child._upward(seen)
        yield self

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below."""
        mode = check_flag("train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set `training` to False here and below."""
        return self.train(False)

    def requires_grad_(self, flag: bool = True) -> Self:
        """Set `requires_grad` of every Parameter."""
        flag = check_flag("requires_grad_", "flag", flag)
        for param in self.parameters():
            param.requires_grad_(flag)
        return self

    def zero_grad(self) -> None:
        """Make the `grad` of every Parameter None."""
        for param in self.parameters():
            param.grad = None

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call a function on every Module below, children first, then on this one."""
        check_callable("apply", "fn", fn)
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, dtype: DTypeLike) -> Self:
        """Convert all floating parameters and buffers; the objects stay the same."""
        wanted = check_dtype(dtype, "to")
        if wanted.kind != "f":  # module-19
            msg = f"to: the dtype must be float32 or float64, got {wanted}"
            raise TypeError(msg)
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f":
                tensor._replace(tensor._data.astype(wanted, copy=False))
                if tensor.grad is not None:
                    tensor.grad = wrap(tensor.grad._data.astype(wanted), None)
        return self

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(float64)

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(float32)

    def get_submodule(self, target: str) -> Module:
        """Return the Module of a dotted name; the empty name is this one.

        Raises
        ------
        AttributeError
            If a part of the name is no Module.
        """
        return self._descend("get_submodule", target, target)

    def get_parameter(self, target: str) -> Parameter:
        """Return the Parameter of a dotted name.

        Raises
        ------
        AttributeError
            If a part of the name is no Module, or the last no Parameter.
        """
        parameter: Parameter = self._entry("get_parameter", "parameter", target)
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name.

        Raises
        ------
        AttributeError
            If a part of the name is no Module, or the last no buffer.
        """
        buffer: Tensor = self._entry("get_buffer", "buffer", target)
        return buffer

    def _entry(self, operation: str, kind: str, target: str) -> Any:
        path, _, name = check_string(operation, "the name", target).rpartition(".")
        module = self._descend(operation, path, target)
        entry = module.__dict__[f"_{kind}s"].get(name)
        if entry is None:
            msg = f"{operation}: {type(module).__name__} has no {kind} {name} (of {target})"
            raise AttributeError(msg)
        return entry

    def _descend(self, operation: str, path: str, target: str) -> Module:
        module = self
        check_string(operation, "the name", path)
        for part in path.split(".") if path else ():
            child = module._modules.get(part)
            if child is None:
                msg = f"{operation}: {type(module).__name__} has no module {part} (of {target})"
                raise AttributeError(msg)
            module = child
        return module

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets."""
        return ""

    def _shown_entries(self) -> Iterator[tuple[str, str]]:
        """Yield what `repr` shows in lines of their own: names, and texts."""
        return ((name, repr(module)) for name, module in self._modules.items())

    def __repr__(self) -> str:
        name, extra = type(self).__name__, self.extra_repr()
        lines = [f"({key}): {text}".replace("\n", "\n  ") for key, text in self._shown_entries()]
        if not lines:
            return f"{name}({extra})"
        body = "".join(f"  {line}\n" for line in ([extra] if extra else []) + lines)
        return f"{name}(\n{body})"


def _check_kind(operation: str, name: str, value: Any, wanted: type) -> None:
    if value is not None and not isinstance(value, wanted):
        msg = f"{operation}: {name} must be a {wanted.__name__} or None, got {type(value).__name__}"
        raise TypeError(msg)


def dotted(prefix: str, name: str) -> str:
    """Return a name below a prefix."""
    return f"{prefix}.{name}" if prefix else name
