"""Module: a callable that owns Parameters, buffers and other Modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from impl_cupy.dtypes import DTypeLike, as_floating, float32, float64
from impl_cupy.parameter import Parameter, as_raw
from impl_cupy.random import restored_on_error
from impl_cupy.registry import Registry
from impl_cupy.tape import RemovableHandle
from impl_cupy.tensor import RawArray, Tensor, wrap


class LoadResult(NamedTuple):
    """The keys that `Module.load_state_dict` passed over with ``strict=False``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Registry):
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
        with restored_on_error():
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
        return RemovableHandle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns is the output."""
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
        return (each for _, each in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Iterate over dotted names and buffers in order of registration, each once."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Iterate over buffers in order of registration, each once."""
        return (each for _, each in self.named_buffers(recurse=recurse))

    def _named(self, kind: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, each in getattr(module, kind).items():
                if each is not None and id(each) not in seen:
                    seen.add(id(each))
                    yield (f"{path}.{name}" if path else name), each

    def state_dict(self) -> dict[str, Tensor]:
        """Give every Parameter and persistent buffer by dotted name.

        Returns
        -------
        dict of str to Tensor
            Detached; they share the Module's memory. A shared Parameter is there by every name.
        """
        return {name: each.detach() for name, each in self._entries()}

    def _entries(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self._walk(""):
            for name, each in (*module._parameters.items(), *module._buffers.items()):
                if each is not None and name not in module._transient:
                    yield (f"{path}.{name}" if path else name), each

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values into the present Parameters and buffers, whose dtypes stay.

        Parameters
        ----------
        state_dict : mapping of str to Tensor, cupy.ndarray or numpy.ndarray
        strict : bool
            Whether missing and unexpected keys are errors; wrong shapes always are.

        Raises
        ------
        RuntimeError
            That lists every fault; nothing is changed then.
        TypeError
            If it is no mapping, or a value is no array.
        """
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            msg = (
                f"{name}: a mapping from names to arrays is needed, got {type(state_dict).__name__}"
            )
            raise TypeError(msg)
        own = dict(self._entries())
        missing = [key for key in own if key not in state_dict]
        unexpected = [key for key in state_dict if key not in own]
        given = {
            key: as_raw(f"{name}: {key}", value) for key, value in state_dict.items() if key in own
        }
        faults = [f"missing {key}" for key in missing] if strict else []
        faults += [f"unexpected {key}" for key in unexpected] if strict else []
        faults += [
            f"{key} has shape {raw.shape}, should have {own[key].shape}"
            for key, raw in given.items()
            if raw.shape != own[key].shape
        ]
        if faults:
            msg = f"{name}: nothing was loaded: {'; '.join(faults)}"
            raise RuntimeError(msg)
        # Two entries may be views of one array, so every value is read before one is written.
        fresh = {key: raw.astype(own[key].dtype, copy=True) for key, raw in given.items()}
        for key, raw in fresh.items():
            own[key]._data[...] = raw
        return LoadResult(missing, unexpected)

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in all Modules inside; return the Module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Set `training` to False here and in all Modules inside; return the Module."""
        return self.train(False)

    def requires_grad_(self, flag: bool = True) -> Self:
        """Set `requires_grad` of all Parameters; return the Module."""
        for each in self.parameters():
            each.requires_grad_(flag)
        return self

    def zero_grad(self) -> None:
        """Make the `grad` of all Parameters None."""
        for each in self.parameters():
            each.grad = None

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every Module inside, children first, then on this one; return it."""
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
        wanted = as_floating(f"{type(self).__name__}.to", dtype)
        for each in (*self.parameters(), *self.buffers()):
            if each.dtype.kind == "f" and each.dtype != wanted:
                each._data = each._data.astype(wanted)
                if each.grad is not None:
                    each.grad = wrap(each.grad._data.astype(wanted))
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
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module._parameters.get(name)
        if found is None:
            msg = f"{type(module).__name__} has no parameter {name!r} (looking for {target!r})"
            raise AttributeError(msg)
        return found

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


def functional_call(module: Module, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call `module` with other Tensors in the place of its Parameters and buffers.

    Parameters
    ----------
    module : Module
        Left as it was, also after an exception.
    params : mapping of str to Tensor or cupy.ndarray
        By dotted name. A Parameter that is shared is replaced wherever it is.
    *args, **kwargs
        Go to the module.

    Raises
    ------
    KeyError
        That lists the names that the module does not have.
    """
    places = _places(module)
    unknown = [name for name in params if name not in places]
    if unknown:
        msg = f"functional_call: {type(module).__name__} has no {', '.join(map(repr, unknown))}"
        raise KeyError(msg)
    values = {name: _followed(name, each) for name, each in params.items()}
    shared = {id(places[name][0][places[name][1]]): each for name, each in values.items()}
    originals = [(entries, key, entries[key]) for entries, key in places.values()]
    try:
        for name, (entries, key) in places.items():
            other = values.get(name)
            entries[key] = shared.get(id(entries[key]), entries[key]) if other is None else other
        with restored_on_error():
            return module(*args, **kwargs)
    finally:
        for entries, key, original in originals:
            entries[key] = original


def _places(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    places = {}
    for path, each in module._walk(""):
        for entries in (each._parameters, each._buffers):
            for key, value in entries.items():
                if value is not None:
                    places[f"{path}.{key}" if path else key] = (entries, key)
    return places


def _followed(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raw: RawArray = as_raw(f"functional_call: {name}", value)
    return wrap(raw)
