"""Modules that hold Modules."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from impl_numpy.checks import check_items, shown
from impl_numpy.module import Module


class _Row(Module):
    """Modules under the names "0", "1", ..."""

    def _every(self) -> list[Module]:
        return [module for module in self._modules.values() if module is not None]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._every())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Module | Self:
        if isinstance(index, slice):
            part = type(self)()
            part._modules.update(list(self._modules.items())[index])
            return part._renamed()
        return self._modules[self._name(index)]  # type: ignore[return-value]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: int) -> None:
        delattr(self, self._name(index))
        self._number(list(self._modules.values()))

    def _index(self, index: Any) -> int:
        try:
            return operator.index(index)
        except (TypeError, ValueError):
            msg = f"{type(self).__name__}: an index must be an int, got {shown(index)}"
            raise TypeError(msg) from None

    def _name(self, index: int) -> str:
        k, n = self._index(index), len(self)
        if not -n <= k < n:
            msg = f"{type(self).__name__}: index {k} is out of range for {n} modules"
            raise IndexError(msg)
        return list(self._modules)[k]

    def _renamed(self) -> Self:
        return self

    def _number(self, modules: Iterable[Module | None]) -> None:
        self._modules = {str(k): module for k, module in enumerate(modules)}

    def append(self, module: Module) -> Self:
        """Add a Module at the end."""
        _check(type(self).__name__, module)
        self.add_module(str(len(self)), module)
        return self


class Sequential(_Row):
    """Modules called one after the other, each on what the one before returned.

    Parameters
    ----------
    *modules : Module, or one mapping from names to Modules
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = isinstance(modules[0], Mapping) if len(modules) == 1 else False
        items = modules[0].items() if named else ((str(k), m) for k, m in enumerate(modules))
        for name, module in items:
            _check("Sequential", module)
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """Return the output of the last Module."""
        for module in self:
            input = module(input)
        return input


class ModuleList(_Row):
    """A list of Modules, which registers them.

    Parameters
    ----------
    modules : iterable of Module
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add Modules at the end."""
        added = check_items("ModuleList", "modules", modules, "an iterable of Modules")
        for module in added:
            _check("ModuleList", module)
        for module in added:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Add a Module before the one at an index."""
        _check("ModuleList", module)
        modules = list(self._modules.values())
        modules.insert(self._index(index), module)
        self._number(modules)

    def _renamed(self) -> Self:
        self._number(list(self._modules.values()))
        return self


def _check(owner: str, module: Any) -> None:
    if not isinstance(module, Module):
        msg = f"{owner}: wants Modules, got {type(module).__name__}"
        raise TypeError(msg)
