"""Containers: torch's own, of our kind of Module."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch

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
        super().__init__(*modules)


class ModuleList(Module, torch.nn.ModuleList):
    """A list whose items are registered under their numbers.

    Parameters
    ----------
    modules : iterable of Module
    """

    def extend(self, modules: Iterable[torch.nn.Module]) -> "ModuleList":
        """Append each of `modules` and return the list itself.

        Raises
        ------
        TypeError
            If one is no Module; nothing has been appended then.
        """
        items = list(modules)
        for item in items:
            if not isinstance(item, torch.nn.Module):
                msg = f"ModuleList.extend: items must be Modules, got {type(item).__name__}"
                raise TypeError(msg)
        return super().extend(items)
