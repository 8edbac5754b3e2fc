"""Module: an owner of Parameters, buffers and other Modules that is called.

A Module is a pytree whose leaves are its parameters and buffers, so ``jax.jit``, ``jax.grad``,
``jax.tree.map`` and optax take it; hooks, `training` and all other attributes are its structure.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from .. import pytree
from ..checks import (
    MAPPING,
    check_callable,
    check_five,
    check_flag,
    check_written,
    floating_dtype,
    refuse_type,
)
from ..dtypes import cast_array, float32, float64, is_floating
from ..parameter import Parameter
from ..tape import MODE, Traced, wrap
from ..tensor import Tensor
from .hooks import HookMethods, call_hooked, of_kind
from .state import LoadResult, load_into


def _no_forward(module: "Module", *_args: Any, **_kwargs: Any) -> Any:
    """Refuse: a subclass defines what a call does."""
    msg = f"{type(module).__name__}: forward is not defined"
    raise NotImplementedError(msg)


class Module(HookMethods):
    """Base of all layers; names and behaviour follow ``torch.nn.Module``.

    A subclass calls ``super().__init__()``, assigns Parameters and Modules to attributes, which
    registers them, and defines ``forward``.
    """

    training: bool
    forward: ClassVar[Callable[..., Any]] = _no_forward

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make every class of Modules known to JAX."""
        super().__init_subclass__(**kwargs)
        pytree.register(cls)

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_module_hooks", {})
        object.__setattr__(self, "_not_persistent", set())
        object.__setattr__(self, "training", True)
        if MODE.capture is not None:
            MODE.capture.made(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`, with the hooks around it."""
        if MODE.capture is not None:
            MODE.capture.note(self)
            if MODE.capture.calls is not None:
                return MODE.capture.calls.call(self, args, kwargs)
        if not self._module_hooks:
            return self.forward(*args, **kwargs)
        return call_hooked(self, self.forward, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        table = "_parameters" if isinstance(value, Parameter) else "_modules"
        if isinstance(value, Parameter | Module):
            if table not in self.__dict__:
                msg = (
                    f"{type(self).__name__}: call super().__init__() before assigning {name!r}, "
                    f"a {type(value).__name__}"
                )
                raise AttributeError(msg)
            if MAPPING.tracer is not None:
                self._note_written(self.__dict__[table], name, value)
            self._forget(name, but=table)
            self.__dict__[table][name] = value
            return
        for owner, cls in (("_parameters", Parameter), ("_modules", Module), ("_buffers", Tensor)):
            held = self.__dict__.get(owner)
            if held is not None and name in held:
                if value is not None and not (owner == "_buffers" and isinstance(value, Traced)):
                    msg = (
                        f"{type(self).__name__}: {name!r} must be a {cls.__name__} or None, "
                        f"as which it is registered, got {type(value).__name__}"
                    )
                    raise TypeError(msg)
                if MAPPING.tracer is not None:
                    self._note_written(held, name, value)
                held[name] = value
                return
        object.__setattr__(self, name, value)

    def _note_written(self, table: dict[str, Any], name: str, value: Any) -> None:
        """Check, within `vmap`, what is about to be written, so that it can be undone."""
        if name not in table:
            return
        old = table[name]
        if isinstance(old, Traced) and isinstance(value, Traced):
            check_written(f"{type(self).__name__}: {name}", old._data, value._data)
        if MAPPING.journal is not None:
            MAPPING.journal.append(lambda: table.__setitem__(name, old))

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            held = self.__dict__.get(table)
            if held is not None and name in held:
                if MODE.capture is not None:
                    MODE.capture.note(self)
                return held[name]
        msg = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        if not any(
            name in self.__dict__.get(t, ()) for t in ("_parameters", "_buffers", "_modules")
        ):
            object.__delattr__(self, name)
            return
        self._forget(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _forget(self, name: str, but: str = "") -> None:
        self.__dict__.pop(name, None)
        for table in ("_parameters", "_buffers", "_modules"):
            if table != but:
                self.__dict__[table].pop(name, None)
        self._not_persistent.discard(name)

    def _check_name(self, method: str, name: str, table: str) -> None:
        if table not in self.__dict__:
            msg = f"{type(self).__name__}: call super().__init__() before {method}"
            raise AttributeError(msg)
        if not isinstance(name, str):
            refuse_type(method, "the name", "a string", name)
        fault = ""
        if not name:
            fault = "is empty"
        elif "." in name:
            fault = "holds a dot"
        elif name not in self.__dict__[table] and hasattr(self, name):
            fault = f"is taken by another attribute of {type(self).__name__}"
        if fault:
            msg = f"{method}: the name {name!r} {fault}"
            raise KeyError(msg)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a Parameter, or None for one that is absent.

        Raises
        ------
        KeyError
            If the name is empty, holds a dot or is taken.
        TypeError
            If `param` is no Parameter.
        """
        self._check_name("register_parameter", name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            refuse_type("register_parameter", repr(name), "a Parameter or None", param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Register a Tensor that is state but no Parameter; only persistent ones are saved."""
        self._check_name("register_buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Traced):
            refuse_type("register_buffer", repr(name), "a Tensor or None", tensor)
        if tensor is not None:
            check_five("register_buffer", tensor._data.dtype)
        kept = check_flag("register_buffer", "persistent", persistent)
        self._buffers[name] = tensor
        if kept:
            self._not_persistent.discard(name)
        else:
            self._not_persistent.add(name)

    def register_module(self, name: str, module: "Module | None") -> None:
        """Register a Module under a name."""
        self._check_name("register_module", name, "_modules")
        if module is not None and not isinstance(module, Module):
            refuse_type("register_module", repr(name), "a Module or None", module)
        self._modules[name] = module

    def add_module(self, name: str, module: "Module | None") -> None:
        """Register a Module: another name for `register_module`."""
        self.register_module(name, module)

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> "Iterator[tuple[str, Module]]":
        """Yield this Module and all below it with dotted names behind `prefix`.

        Each comes once, under its first name, or with ``remove_duplicate=False`` for every name.
        """
        once = check_flag("named_modules", "remove_duplicate", remove_duplicate)
        return self._walk(_check_prefix("named_modules", prefix), once)

    def _walk(self, prefix: str, once: bool) -> "Iterator[tuple[str, Module]]":
        if MODE.capture is not None:
            MODE.capture.note(self)
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if once and id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            below = [(f"{name}.{key}" if name else key, m) for key, m in module._modules.items()]
            stack += [(key, m) for key, m in reversed(below) if m is not None]

    def modules(self) -> "Iterator[Module]":
        """Yield this Module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> "Iterator[tuple[str, Module]]":
        """Yield the Modules right below with their names, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> "Iterator[Module]":
        """Yield the Modules right below."""
        return (module for _, module in self.named_children())

    def _named(
        self, method: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        """Yield what `method`, ``named_parameters`` or ``named_buffers``, yields."""  # module-20
        prefix, below = _check_prefix(method, prefix), check_flag(method, "recurse", recurse)
        once = check_flag(method, "remove_duplicate", remove_duplicate)
        return self._entries(method.removeprefix("named"), prefix, below, once)

    def _entries(
        self, table: str, prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self._walk(prefix, once) if recurse else iter([(prefix, self)])
        for path, module in owners:
            for name, tensor in getattr(module, table).items():
                if tensor is not None and not (once and id(tensor) in seen):
                    seen.add(id(tensor))
                    yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield parameters with dotted names in order of registration.

        Parameters
        ----------
        prefix : str
            What the names begin with, with a dot behind it.
        recurse : bool
            Whether those of the Modules below come too.
        remove_duplicate : bool
            Whether a shared one comes once, under its first name, or under every name.
        """
        return self._named("named_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters in order of registration, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield buffers with dotted names; the arguments are those of `named_parameters`."""
        return self._named("named_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield buffers in order of registration, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _paths(self, prefix: str = "") -> "Iterator[tuple[str, Module]]":
        # Unlike named_modules: every path to a Module, also where it is shared.
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._paths(f"{prefix}{name}.")

    def state_dict(self) -> "OrderedDict[str, Tensor]":
        """Return dotted names with detached Tensors, shared ones under each name."""
        state: OrderedDict[str, Tensor] = OrderedDict()
        for prefix, module in self._paths():
            for entry in of_kind(module._module_hooks, "state_dict_pre"):
                entry.hook(module, prefix, False)
            for name, tensor in itertools.chain(
                module._parameters.items(), module._buffers.items()
            ):
                if tensor is not None and name not in module._not_persistent:
                    state[prefix + name] = tensor.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values into the present parameters and buffers, whose objects and dtypes stay.

        Parameters
        ----------
        state_dict : mapping from str to Tensor, jax.Array or numpy.ndarray
        strict : bool
            Whether missing and unexpected keys are faults.

        Raises
        ------
        RuntimeError
            If there is any fault; it lists all, and nothing was changed.
        """
        own = {}
        for prefix, module in self._paths():
            for name, tensor in itertools.chain(
                module._parameters.items(), module._buffers.items()
            ):
                if tensor is not None and name not in module._not_persistent:
                    own[prefix + name] = tensor
        result = load_into(type(self).__name__, own, state_dict, strict)
        for module in self._upwards():
            for entry in of_kind(module._module_hooks, "load_state_dict_post"):
                entry.hook(module, result)
        return result

    def _upwards(self) -> "list[Module]":
        """Return this Module and those below, each once, children before parents."""
        found: dict[int, Module] = {}

        def visit(module: Module) -> None:
            for child in module.children():
                if id(child) not in found:
                    visit(child)
            found[id(module)] = module

        visit(self)
        return list(found.values())

    def train(self, mode: bool = True) -> "Module":
        """Set `training` on this Module and all below, and return it."""
        training = check_flag("train", "mode", mode)
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> "Module":
        """Set `training` to False everywhere, and return the Module."""
        return self.train(False)

    def requires_grad_(self, flag: bool = True) -> "Module":
        """Set whether the parameters require grad, and return the Module."""
        wanted = check_flag("requires_grad_", "flag", flag)
        for parameter in self.parameters():
            parameter.requires_grad_(wanted)
        return self

    def zero_grad(self) -> None:
        """Make `grad` of every parameter None."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, fn: "Callable[[Module], Any]") -> "Module":
        """Call `fn` on every Module below, children first, then on this one, and return it."""
        check_callable("apply", "fn", fn)
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, dtype: Any) -> "Module":
        """Convert floating parameters and buffers, whose objects stay, and return the Module."""
        if dtype is None:
            refuse_type("to", "dtype", "float32 or float64", dtype)
        wanted = floating_dtype("to", dtype)
        # All are converted before one is replaced. # module-19
        converted = []
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            if is_floating(tensor._data.dtype):
                grad = tensor._grad
                new = None if grad is None else wrap(cast_array(grad._data, wanted))
                converted.append((tensor, cast_array(tensor._data, wanted), new))
        for tensor, data, grad in converted:
            tensor._data, tensor._grad = data, grad
        return self

    def double(self) -> "Module":
        """Convert to float64."""
        return self.to(float64)

    def float(self) -> "Module":
        """Convert to float32."""
        return self.to(float32)

    def get_submodule(self, target: str) -> "Module":
        """Return a Module by its dotted name; the empty name is this one.

        Raises
        ------
        AttributeError
            If a part is missing; it names the part.
        """
        if not isinstance(target, str):
            refuse_type("get_submodule", "target", "a string", target)
        module = self
        for part in target.split(".") if target else ():
            below = module._modules.get(part)
            if below is None:
                msg = (
                    f"get_submodule: {type(module).__name__} has no Module {part!r} (in {target!r})"
                )
                raise AttributeError(msg)
            module = below
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return a Parameter by its dotted name."""
        parameter: Parameter = self._find("get_parameter", "_parameters", "Parameter", target)
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """Return a buffer by its dotted name."""
        buffer: Tensor = self._find("get_buffer", "_buffers", "buffer", target)
        return buffer

    def _find(self, method: str, table: str, what: str, target: str) -> Any:
        if not isinstance(target, str):
            refuse_type(method, "target", "a string", target)
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = getattr(module, table).get(name)
        if found is None:
            msg = f"{method}: {type(module).__name__} has no {what} {name!r} (in {target!r})"
            raise AttributeError(msg)
        return found

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses."""
        return ""

    def _shown_entries(self) -> "Iterator[tuple[str, str]]":
        """Yield the names and texts of what `repr` shows in lines of their own."""
        return ((name, repr(module)) for name, module in self._modules.items())

    def __repr__(self) -> str:
        options = [line for line in self.extra_repr().split("\n") if line]
        entries = [f"({name}): {text}" for name, text in self._shown_entries()]
        lines = options + [line.replace("\n", "\n  ") for line in entries]
        if len(lines) == 1 and not entries:
            return f"{type(self).__name__}({lines[0]})"
        body = "".join(f"\n  {line}" for line in lines)
        return f"{type(self).__name__}({body}\n)" if lines else f"{type(self).__name__}()"


def _check_prefix(method: str, prefix: Any) -> str:
    if not isinstance(prefix, str):
        refuse_type(method, "prefix", "a string", prefix)
    return prefix


pytree.register(Module)
