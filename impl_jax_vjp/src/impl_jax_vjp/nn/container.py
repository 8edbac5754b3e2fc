"""Modules that hold Modules in order."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..checks import check_int, refuse_type
from ..module import Module
from ..tape import MODE


def _checked(owner: str, module: Any) -> Module:
    if not isinstance(module, Module):
        refuse_type(owner, "each entry", "a Module", module)
    return module


class _Listed(Module):
    """Modules under the names "0", "1", ..."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        if MODE.capture is not None:
            MODE.capture.note(self)
        return iter(self._modules.values())

    def _name(self, index: Any) -> str:
        place, count = check_int(type(self).__name__, "index", index), len(self)
        if not -count <= place < count:
            msg = f"{type(self).__name__}: index {place} is out of range for {count} Modules"
            raise IndexError(msg)
        return list(self._modules)[place % count]

    def __getitem__(self, index: Any) -> Any:
        if MODE.capture is not None:
            MODE.capture.note(self)
        if not isinstance(index, slice):
            return self._modules[self._name(index)]
        part = object.__new__(type(self))
        Module.__init__(part)
        for name in list(self._modules)[index]:
            part._modules[str(len(part)) if isinstance(part, ModuleList) else name] = self._modules[
                name
            ]
        return part

    def __setitem__(self, index: Any, module: Module) -> None:
        name = self._name(index)
        self._modules[name] = _checked(type(self).__name__, module)

    def append(self, module: Module) -> "_Listed":
        """Add a Module at the end, and return this one."""
        self.register_module(str(len(self)), _checked(type(self).__name__, module))
        return self


class Sequential(_Listed):
    """Modules called one after the other.

    Parameters
    ----------
    *modules : Module
        Or one ordered mapping from names to Modules.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = [(name, _checked("Sequential", m)) for name, m in modules[0].items()]
        else:
            named = [(str(i), _checked("Sequential", m)) for i, m in enumerate(modules)]
        for name, module in named:
            self.register_module(name, module)

    def forward(self, input: Any) -> Any:
        """Return what the last Module makes of what the one before it made of ... the input."""
        for module in self:
            input = module(input)
        return input


class ModuleList(_Listed):
    """A list of Modules whose parameters are found."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> "ModuleList":
        """Add Modules at the end, and return this one."""
        if getattr(modules, "shape", None) == () or not isinstance(modules, Iterable):
            refuse_type("ModuleList", "modules", "an iterable of Modules", modules)
        for module in [_checked("ModuleList", m) for m in modules]:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a Module before the place `index`."""
        held = list(self)
        place = min(check_int("ModuleList", "index", index), len(held))
        held.insert(max(place, -len(held)), _checked("ModuleList", module))
        self._modules.clear()
        self._modules.update({str(i): m for i, m in enumerate(held)})
