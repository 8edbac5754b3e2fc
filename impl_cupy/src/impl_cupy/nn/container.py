"""Modules that hold other Modules in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from impl_cupy.checks import as_ints, as_list, shown
from impl_cupy.module import Module


class _Ordered(Module):
    """A Module whose children are numbered."""

    def _position(self, index: int) -> int:
        size = len(self._modules)
        position = self._index(index)
        if not -size <= position < size:
            msg = f"{type(self).__name__}: index {index} is out of range for {size} modules"
            raise IndexError(msg)
        return position % size

    def _index(self, index: Any) -> int:
        if isinstance(index, (tuple, list)):
            msg = f"{type(self).__name__}: index must be an int, got {shown(index)}"
            raise TypeError(msg)
        return as_ints(type(self).__name__, "index", index)[0]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._modules.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._part(index)
        return list(self._modules.values())[self._position(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self._check_module(module)
        setattr(self, list(self._modules)[self._position(index)], module)

    def _part(self, index: slice) -> Any:
        raise NotImplementedError

    def _check_module(self, module: Any) -> None:
        if not isinstance(module, Module):
            msg = f"{type(self).__name__}: must be a Module, got {type(module).__name__}"
            raise TypeError(msg)

    def append(self, module: Module) -> Self:
        """Put a Module at the end; return the container."""
        self._check_module(module)
        self.register_module(str(len(self)), module)
        return self


class Sequential(_Ordered):
    """Calls Modules one after the other.

    Parameters
    ----------
    *modules : Module, or one dict of str to Module
        In order; without names they are "0", "1", ...
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            named = modules[0]
        else:
            named = {str(position): module for position, module in enumerate(modules)}
        for name, module in named.items():
            self._check_module(module)
            self.register_module(name, module)

    def forward(self, input: Any) -> Any:
        """Call each Module on the result of the one before."""
        for module in self:
            input = module(input)
        return input

    def _part(self, index: slice) -> Sequential:
        return type(self)(dict(list(self._modules.items())[index]))


class ModuleList(_Ordered):
    """Holds Modules in a list; it has no `forward`.

    Parameters
    ----------
    modules : iterable of Module
        Registered as "0", "1", ...
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put several Modules at the end; return the container."""
        added = as_list(type(self).__name__, "modules", modules)
        for module in added:
            self._check_module(module)
        for module in added:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a Module before position `index`, as a list does."""
        self._check_module(module)
        present = list(self._modules.values())
        size = len(present)
        present.insert(max(-size, min(self._index(index), size)), module)
        self._modules.clear()
        self._modules.update({str(position): child for position, child in enumerate(present)})

    def __delitem__(self, index: int) -> None:
        present = list(self._modules.values())
        del present[self._position(index)]
        self._modules.clear()
        self._modules.update({str(position): child for position, child in enumerate(present)})

    def _part(self, index: slice) -> ModuleList:
        return type(self)(list(self._modules.values())[index])
