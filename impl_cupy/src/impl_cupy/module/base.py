"""Module: a callable that owns Parameters, buffers and other Modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar

from impl_cupy.checks import check_callable, check_flag, check_floating_dtype, check_text
from impl_cupy.dtypes import DTypeLike, float32, float64
from impl_cupy.module.hooks import Hooked
from impl_cupy.module.state import LoadResult, load_into
from impl_cupy.parameter import Parameter
from impl_cupy.tape import handles, wrap
from impl_cupy.tensor import Tensor

_Found = TypeVar("_Found")


class Module(Hooked):
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

    training: bool

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every Module defines its own.

        Raises
        ------
        NotImplementedError
            If the Module does not.
        """
        msg = f"{type(self).__name__}: this Module has no forward; define forward(self, ...)"
        raise NotImplementedError(msg)

    def modules(self) -> Iterator[Module]:
        """Iterate over this Module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Iterate over dotted names and Modules, this one first, each once.

        Parameters
        ----------
        prefix : str
            The name of this Module, with which all others begin.
        remove_duplicate : bool
            False gives a shared Module, and all below it, by every name.
        """
        name = f"{type(self).__name__}.named_modules"
        check_text(name, "prefix", prefix)
        every = self._walk(prefix)
        return _once(every) if check_flag(name, "remove_duplicate", remove_duplicate) else every

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
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Iterate over dotted names and Parameters in order of registration, each once.

        Parameters
        ----------
        prefix : str
            What the names begin with, and a dot.
        recurse : bool
            False leaves out those of the Modules inside.
        remove_duplicate : bool
            False gives a shared Parameter by every name.
        """
        return self._named("named_parameters", "_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Iterate over Parameters in order of registration, each once."""
        named = self._named("parameters", "_parameters", "", recurse, True)
        return (parameter for _, parameter in named)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Iterate over dotted names and buffers, as `named_parameters` does."""
        return self._named("named_buffers", "_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Iterate over buffers in order of registration, each once."""
        return (buffer for _, buffer in self._named("buffers", "_buffers", "", recurse, True))

    def _named(
        self, method: str, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        name = f"{type(self).__name__}.{method}"
        check_text(name, "prefix", prefix)
        is_once = check_flag(name, "remove_duplicate", remove_duplicate)
        modules: Iterator[tuple[str, Module]] = iter([(prefix, self)])
        if check_flag(name, "recurse", recurse):
            modules = self.named_modules(prefix, is_once)
        every = (
            (f"{path}.{key}" if path else key, value)
            for path, module in modules
            for key, value in getattr(module, registry).items()
            if value is not None
        )
        return _once(every) if is_once else every

    def state_dict(self) -> dict[str, Tensor]:
        """Give every Parameter and persistent buffer by dotted name.

        Returns
        -------
        dict of str to Tensor
            Detached; they share the Module's memory. A shared Parameter is there by every name.
        """
        return {name: value.detach() for name, value in self._entries(self._hook_state_dict)}

    def _entries(
        self, before: Callable[[str, Module], None] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Iterate over what is in `state_dict`; `before` is called ahead of each Module's."""
        for path, module in self._walk(""):
            if before is not None:
                before(path, module)
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
        result = load_into(type(self).__name__, self._entries(), state_dict, strict)
        for _, module in _once(self._children_first()):
            module._hook_loaded(result)
        return result

    def _children_first(self) -> Iterator[tuple[str, Module]]:
        for child in self.children():
            yield from child._children_first()
        yield "", self

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
        found: Parameter = self._get("get_parameter", "parameter", "_parameters", target)
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Find a buffer by dotted name.

        Raises
        ------
        AttributeError
            That names the part that is missing.
        """
        found: Tensor = self._get("get_buffer", "buffer", "_buffers", target)
        return found

    def _get(self, method: str, kind: str, registry: str, target: str) -> Any:
        check_text(f"{type(self).__name__}.{method}", "target", target)
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = getattr(module, registry).get(name)
        if found is None:
            owner = type(module).__name__
            msg = f"{method}: {owner} has no {kind} {name!r} (looking for {target!r})"
            raise AttributeError(msg)
        return found

    def extra_repr(self) -> str:
        """Give what `repr` shows between the brackets, the constructor's arguments as a rule."""
        return ""

    def _shown(self) -> list[tuple[str, str]]:
        """Give what `repr` shows in lines of their own, by name."""
        return [(name, repr(child)) for name, child in self._modules.items()]

    def __repr__(self) -> str:
        extra = self.extra_repr()
        entries = self._shown()
        if not entries:
            return f"{type(self).__name__}({extra})"
        lines = extra.split("\n") if extra else []
        for name, text in entries:
            lines.append(f"({name}): {text}".replace("\n", "\n  "))
        inner = "".join(f"  {line}\n" for line in lines)
        return f"{type(self).__name__}(\n{inner})"


def _once(named: Iterable[tuple[str, _Found]]) -> Iterator[tuple[str, _Found]]:
    """Leave out what came before by another name."""
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


handles.Module = Module
