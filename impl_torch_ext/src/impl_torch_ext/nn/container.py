"""Containers of Modules and of Parameters: rows, which count what they hold, and mappings."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import check_int, shown
from impl_torch_ext.module import Module
from impl_torch_ext.parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


class _Container(Module):
    """What containers share: entries of one kind in one of the Module's tables."""

    _holds: ClassVar[str] = "Modules"

    @property
    def _entries(self) -> dict[str, Any]:
        return self._modules

    def __len__(self) -> int:
        return len(self._entries)

    def _checked(self, method: str, value: Any) -> Any:
        """Return what is registered for a value, or raise a TypeError if there is nothing."""
        if not isinstance(value, torch.nn.Module):
            self._refuse_entry(method, value)
        return value

    def _refuse_entry(self, method: str, value: Any) -> Any:
        name, came = f"{type(self).__name__}{method}", type(value).__name__
        msg = f"{name}: entries must be {self._holds}, got {came}"
        raise TypeError(msg)


class _OfParameters(_Container):
    """A container of Parameters, which makes them of arrays."""

    _holds = "Parameters or arrays"

    @property
    def _entries(self) -> dict[str, Any]:
        return self._parameters

    def _checked(self, method: str, value: Any) -> Any:
        if isinstance(value, torch.nn.Parameter):
            return value
        if not isinstance(value, Tensor | np.ndarray):  # module-27
            self._refuse_entry(method, value)
        try:
            return Parameter(value)
        except (TypeError, ValueError) as error:
            msg = f"{type(self).__name__}{method}: {error}"
            raise type(error)(msg) from error

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): Parameter of shape {tuple(p.shape)} and dtype "
            f"{str(p.dtype).removeprefix('torch.')}"
            for name, p in self._entries.items()
        ]
        name = type(self).__name__
        return "\n".join([f"{name}(", *lines, ")"]) if lines else f"{name}()"


class _Row(_Container):
    """A container whose entries have places."""

    def __iter__(self) -> Iterator[Any]:
        return iter([*self._entries.values()])

    def __contains__(self, value: object) -> bool:
        return any(value is entry for entry in self)

    def __getitem__(self, index: Any) -> Any:
        """Return the entry at `index`, or those of a slice in a container of the same kind."""
        entries = [*self._entries.values()]
        if isinstance(index, slice):
            return self._part(index)
        return entries[self._place("", index)]

    def __setitem__(self, index: int, value: Any) -> None:
        place = self._place("", index)
        self._entries[[*self._entries][place]] = self._checked("", value)

    def append(self, value: Any) -> Self:
        """Add `value` at the end and return the container itself.

        Raises
        ------
        TypeError
            If it is none that the container holds.
        """
        return self._add(".append", [value])

    def extend(self, values: Iterable[Any]) -> Self:
        """Add all of `values` at the end and return the container itself.

        Raises
        ------
        TypeError
            If one is none that the container holds; nothing has been added then.
        """
        return self._add(".extend", self._listed(".extend", values))

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self._add("", self._listed("", values))

    def _part(self, index: slice) -> Any:
        return type(self)([*self._entries.values()][index])

    def _add(self, method: str, values: list[Any]) -> Self:
        values = [self._checked(method, value) for value in values]
        names = [str(len(self) + i) for i in range(len(values))]
        if any(name in self._entries for name in names):  # module-25
            self._fill([*self._entries.values(), *values])
        else:
            self._entries.update(zip(names, values, strict=True))
        return self

    def _fill(self, values: Iterable[Any]) -> None:
        """Hold these, named anew."""
        named = {str(i): value for i, value in enumerate(values)}
        self._entries.clear()
        self._entries.update(named)

    def _listed(self, method: str, values: Any) -> list[Any]:
        try:
            if not isinstance(values, Tensor | np.ndarray | str | Mapping):
                return list(values)
        except TypeError:
            pass
        msg = (
            f"{type(self).__name__}{method}: wanted an iterable of {self._holds}, got "
            f"{shown(values)}"
        )
        raise TypeError(msg)

    def _place(self, method: str, index: Any, end: int = 0) -> int:
        """Return an index counted from the front; it may be `end` more than the last."""
        name, count = f"{type(self).__name__}{method}", len(self)
        place = check_int(name, "an index", index)
        if not -count <= place < count + end:
            msg = f"{name}: index {place} is out of range for {count} entries"
            raise IndexError(msg)
        return place + count if place < 0 else place


class _RowOfModules(_Row):
    """What `Sequential` and `ModuleList` share."""

    def insert(self, index: int, module: torch.nn.Module) -> Any:
        """Put `module` before the one at `index` and name all anew."""
        self._checked(".insert", module)
        modules = [*self]
        modules.insert(self._place(".insert", index, 1), module)
        self._fill(modules)
        return self

    def __delitem__(self, index: int | slice) -> None:
        modules = [*self]
        del modules[index if isinstance(index, slice) else self._place("", index)]
        self._fill(modules)

    def pop(self, key: int | slice) -> Any:
        """Take out the Module at `key`, or those of a slice, name the others anew and return it.

        Raises
        ------
        IndexError
            If there is none at `key`.
        """
        key = key if isinstance(key, slice) else self._place(".pop", key)
        popped = self[key]
        del self[key]
        return popped


class Sequential(_RowOfModules, torch.nn.Sequential):
    """Modules that are called in order, each on what the one before it returned.

    Source: torch.nn.Sequential.

    Parameters
    ----------
    *modules : Module
        Or one ordered mapping from names to Modules.

    Raises
    ------
    TypeError
        If one is no Module.
    KeyError
        If a name cannot be registered.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = len(modules) == 1 and isinstance(modules[0], Mapping)
        pairs = modules[0] if named else {str(i): module for i, module in enumerate(modules)}
        for name, module in pairs.items():
            self.add_module(name, self._checked("", module))

    def __add__(self, other: Any) -> "Sequential":
        if not isinstance(other, torch.nn.Sequential):
            msg = f"Sequential: + must have another Sequential, got {shown(other)}"
            raise TypeError(msg)
        return Sequential(*self, *other)

    def _part(self, index: slice) -> Any:
        return type(self)(OrderedDict([*self._modules.items()][index]))  # Names stay: module-25


class ModuleList(_RowOfModules, torch.nn.ModuleList):
    """A list whose items are registered under their numbers.

    Source: torch.nn.ModuleList.

    Parameters
    ----------
    modules : iterable of Module, optional

    Raises
    ------
    TypeError
        If one is no Module.
    """

    def __init__(self, modules: Iterable[torch.nn.Module] | None = ()) -> None:
        super().__init__()
        self._add("", [] if modules is None else self._listed("", modules))

    def insert(self, index: int, module: torch.nn.Module) -> None:
        """Put `module` before the one at `index`, as a list does, and name all anew."""
        place = check_int("ModuleList.insert", "index", index)
        count = len(self)
        super().insert(min(max(place + count if place < 0 else place, 0), count), module)

    def __add__(self, other: Iterable[torch.nn.Module]) -> "ModuleList":
        return ModuleList([*self, *self._listed("", other)])


class ParameterList(_OfParameters, _Row):
    """A list of Parameters, registered under their numbers.

    Source: torch.nn.ParameterList.

    Parameters
    ----------
    values : iterable of Parameter, Tensor, raw array or numpy.ndarray, optional
        What is no Parameter becomes one.

    Raises
    ------
    TypeError
        If one is none of these.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._add("", [] if values is None else self._listed("", values))


class _Keyed(_Container):
    """A container that is a mapping from strings."""

    def __init__(self, entries: Any = None) -> None:
        super().__init__()
        if entries is not None:
            self._put("", entries)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._entries])

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __getitem__(self, key: str) -> Any:
        return self._entries[self._present("", key)]

    def __setitem__(self, key: str, value: Any) -> None:
        self._put("", [(key, value)])

    def __delitem__(self, key: str) -> None:
        del self._entries[self._present("", key)]

    def clear(self) -> None:
        """Take out every entry."""
        self._entries.clear()

    def pop(self, key: str) -> Any:
        """Take out the entry of `key` and return it; raise a KeyError if there is none."""
        return self._entries.pop(self._present(".pop", key))

    def keys(self) -> Any:
        """Return the keys, in the order in which they came."""
        return self._entries.keys()

    def items(self) -> Any:
        """Return pairs of keys and entries."""
        return self._entries.items()

    def values(self) -> Any:
        """Return the entries."""
        return self._entries.values()

    def update(self, entries: Any) -> None:
        """Register the entries of a mapping or of an iterable of pairs.

        Raises
        ------
        TypeError
            If a key is no str, or an entry none that the container holds.
        KeyError
            If a name cannot be registered; nothing has changed then.
        """
        self._put(".update", entries)

    def _put(self, method: str, entries: Any) -> None:
        name = f"{type(self).__name__}{method}"
        pairs = _pairs(name, entries)
        for key, _ in pairs:
            if not isinstance(key, str):
                msg = f"{name}: a key must be a str, got {shown(key)}"
                raise TypeError(msg)
            self._check_name(method.lstrip(".") or "update", key, self._table)
        self._entries.update([(key, self._checked(method, value)) for key, value in pairs])

    @property
    def _table(self) -> str:
        return "_parameters" if self._entries is self._parameters else "_modules"

    def _present(self, method: str, key: Any) -> str:
        if not isinstance(key, str) or key not in self._entries:
            msg = f"{type(self).__name__}{method}: there is no key {shown(key)}"
            raise KeyError(msg)
        return key


class ModuleDict(_Keyed, torch.nn.ModuleDict):
    """A mapping from strings to Modules, which are registered under their keys.

    Source: torch.nn.ModuleDict.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional

    Raises
    ------
    TypeError
        If a key is no str, or a value no Module.
    KeyError
        If a key cannot be the name of a Module.
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__(modules)


class ParameterDict(_OfParameters, _Keyed):
    """A mapping from strings to Parameters, which are registered under their keys.

    Source: torch.nn.ParameterDict.

    Parameters
    ----------
    parameters : mapping of str to Parameter or array, or iterable of pairs, optional
        What is no Parameter becomes one.

    Raises
    ------
    TypeError
        If a key is no str, or a value is neither a Parameter nor an array.
    KeyError
        If a key cannot be the name of a Parameter.
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the Parameter of `key`, or `default` if there is none."""
        return self._entries.get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the Parameter of `key`, which `default` becomes if there is none."""
        if key not in self._entries:
            self._put(".setdefault", [(key, default)])
        return self._entries[key]

    def popitem(self) -> tuple[str, Any]:
        """Take out the last pair and return it; raise a KeyError if there is none."""
        if not self._entries:
            msg = "ParameterDict.popitem: must have an entry, got none"
            raise KeyError(msg)
        return self._entries.popitem()

    def copy(self) -> "ParameterDict":
        """Return a new mapping of the same Parameters."""
        return ParameterDict(self)

    def __reversed__(self) -> Iterator[str]:
        return reversed([*self._entries])

    def __or__(self, other: Any) -> "ParameterDict":
        joined = self.copy()
        joined._put("", other)
        return joined

    def __ior__(self, other: Any) -> Self:
        self._put("", other)
        return self


def _pairs(name: str, entries: Any) -> list[tuple[Any, Any]]:
    """Return the pairs of a mapping or of an iterable of pairs, or raise a TypeError."""
    try:
        if isinstance(entries, Mapping | _Keyed | torch.nn.ModuleDict | torch.nn.ParameterDict):
            return [*entries.items()]
        if not isinstance(entries, Tensor | np.ndarray | str):
            return [(key, value) for key, value in entries]
    except (TypeError, ValueError):
        pass
    msg = f"{name}: wanted a mapping or an iterable of pairs, got {shown(entries)}"
    raise TypeError(msg)
