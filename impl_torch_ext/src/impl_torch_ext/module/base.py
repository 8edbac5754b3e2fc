"""The registration of what a Module owns."""

import torch
from torch import Tensor

__all__ = ["Base"]


class Base(torch.nn.Module):
    """A `torch.nn.Module` whose errors of registration say in one line what is wrong."""

    def register_parameter(self, name: str, param: torch.nn.Parameter | None) -> None:
        """Add a parameter, or with None a name that is not iterated.

        Raises
        ------
        KeyError
            If the name is empty, holds a dot or belongs to another attribute.
        TypeError
            If `param` is neither a Parameter nor None.
        """
        self._check_name("register_parameter", name, "_parameters")
        super().register_parameter(name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer, in `state_dict` if persistent; errors as in `register_parameter`."""
        self._check_name("register_buffer", name, "_buffers")
        super().register_buffer(name, tensor, persistent)

    def add_module(self, name: str, module: torch.nn.Module | None) -> None:
        """Add a child; errors as in `register_parameter`."""
        self._check_name("add_module", name, "_modules")
        super().add_module(name, module)

    def _check_name(self, method: str, name: str, table: str) -> None:
        if table not in self.__dict__ or not isinstance(name, str):
            return  # torch says what is wrong with these.
        fault = (
            "must not be empty"
            if not name
            else "must not hold a dot"
            if "." in name
            else "is taken by another attribute"
            if hasattr(self, name) and name not in self.__dict__[table]
            else None
        )
        if fault:  # module-04
            msg = f"{type(self).__name__}.{method}: the name {name!r} {fault}"
            raise KeyError(msg)
