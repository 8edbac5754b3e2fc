"""Containers: torch's own, of our kind of Module."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from impl_torch_ext.checks import check_int, shown
from impl_torch_ext.module import Module

__all__ = ["ModuleList", "Sequential"]


class Sequential(Module, torch.nn.Sequential):
    """Modules that are called in order, each on what the one before it returned.

    Parameters
    ----------
    *modules : Module
        Or one ordered mapping from names to Modules.
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            modules = (OrderedDict(modules[0]),)
        entries = modules[0].values() if modules and isinstance(modules[0], Mapping) else modules
        for item in entries:
            _check_module("Sequential", item)
        super().__init__(*modules)

    def __getitem__(self, index: Any) -> Any:
        """Return the Module at `index`, or those of a slice in a container of the same kind."""
        return super().__getitem__(_checked_index(self, index))


class ModuleList(Module, torch.nn.ModuleList):
    """A list whose items are registered under their numbers.

    Parameters
    ----------
    modules : iterable of Module
    """

    def __init__(self, modules: Iterable[torch.nn.Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        """Return the Module at `index`, or those of a slice in a container of the same kind."""
        return super().__getitem__(_checked_index(self, index))

    def append(self, module: torch.nn.Module) -> "ModuleList":
        """Append `module` and return the list itself; raise a TypeError if it is none."""
        _check_module("ModuleList.append", module)
        return super().append(module)

    def insert(self, index: int, module: torch.nn.Module) -> None:
        """Put `module` before the one at `index`; raise a TypeError if one of them is none."""
        _check_module("ModuleList.insert", module)
        place = check_int("ModuleList.insert", "index", index)
        # As a list has it; torch's own loses a Module where the index is negative.
        place = place + len(self) if place < 0 else place
        super().insert(min(max(place, 0), len(self)), module)

    def extend(self, modules: Iterable[torch.nn.Module]) -> "ModuleList":
        """Append each of `modules` and return the list itself.

        Raises
        ------
        TypeError
            If one is no Module; nothing has been appended then.
        """
        try:
            items = list(modules)
        except TypeError:
            msg = f"ModuleList: modules must be an iterable of Modules, got {shown(modules)}"
            raise TypeError(msg) from None
        for item in items:
            _check_module("ModuleList.extend", item)
        return super().extend(items)


def _check_module(name: str, item: Any) -> None:
    if not isinstance(item, torch.nn.Module):
        msg = f"{name}: items must be Modules, got {type(item).__name__}"
        raise TypeError(msg)


def _checked_index(container: Sequential | ModuleList, index: Any) -> Any:
    if isinstance(index, slice):
        return index
    name, count = type(container).__name__, len(container)
    place = check_int(name, "an index", index)
    if not -count <= place < count:
        msg = f"{name}: index {place} is out of range for {count} Modules"
        raise IndexError(msg)
    return place
