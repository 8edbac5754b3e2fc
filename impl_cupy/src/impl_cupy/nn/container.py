"""Modules that hold other Modules, or Parameters, in order or by name."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, as_list, shown, type_name
from impl_cupy.module import Module
from impl_cupy.parameter import Parameter
from impl_cupy.tensor import Tensor


class _Container(Module):
    """A Module whose entries, all of one kind, are its children or its Parameters."""

    _registry = "_modules"

    @property
    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = self.__dict__[self._registry]
        return kept

    def __len__(self) -> int:
        return len(self._kept)

    def _as_entry(self, value: Any) -> Any:
        """Return what is registered for a value."""
        if not isinstance(value, Module):
            msg = f"{type(self).__name__}: must be a Module, got {type_name(value)}"
            raise TypeError(msg)
        return value


class _OfParameters(_Container):
    """A container of Parameters; what can become one does."""

    _registry = "_parameters"

    def _as_entry(self, value: Any) -> Parameter:
        if isinstance(value, Parameter):
            return value
        if not isinstance(value, (Tensor, cp.ndarray, np.ndarray)):
            name = type(self).__name__
            msg = f"{name}: must be a Parameter, a Tensor or an array, got {type_name(value)}"
            raise TypeError(msg)
        try:
            return Parameter(value)
        except (TypeError, ValueError) as error:
            msg = f"{type(self).__name__}: {error}"
            raise type(error)(msg) from error

    def _shown(self) -> list[tuple[str, str]]:
        return [
            (name, f"Parameter of shape {entry.shape} and dtype {entry.dtype.name}")
            for name, entry in self._kept.items()
            if entry is not None
        ]


class _Row(_Container):
    """A container whose entries are numbered."""

    def _position(self, index: int) -> int:
        size = len(self)
        position = self._index(index)
        if not -size <= position < size:
            msg = f"{type(self).__name__}: index {index} is out of range for {size} entries"
            raise IndexError(msg)
        return position % size

    def _index(self, index: Any) -> int:
        if isinstance(index, (tuple, list)):
            msg = f"{type(self).__name__}: index must be an int, got {shown(index)}"
            raise TypeError(msg)
        return as_ints(type(self).__name__, "index", index)[0]

    def _places(self, index: slice) -> list[int]:
        """Return the places that a slice means."""
        try:
            return list(range(len(self)))[index]
        except (TypeError, ValueError) as error:
            msg = f"{type(self).__name__}: index must be a slice of ints, got {index}: {error}"
            raise type(error)(msg) from None

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._kept.values()))

    def __getitem__(self, index: int | slice) -> Any:
        entries = list(self._kept.items())
        if isinstance(index, slice):
            return self._part(dict([entries[place] for place in self._places(index)]))
        return entries[self._position(index)][1]

    def __setitem__(self, index: int, value: Any) -> None:
        entry = self._as_entry(value)
        self._kept[list(self._kept)[self._position(index)]] = entry

    def _part(self, entries: dict[str, Any]) -> Any:
        return type(self)(entries.values())  # type: ignore[call-arg]

    def _renamed(self, entries: Iterable[Any]) -> None:
        """Hold these entries, named by their places."""
        named = {str(place): entry for place, entry in enumerate(entries)}
        self._kept.clear()
        self._kept.update(named)

    def append(self, value: Any) -> Self:
        """Put an entry at the end; return the container.

        Raises
        ------
        TypeError
            If it is of another kind than the container's entries.
        """
        return self.extend((value,))

    def extend(self, values: Iterable[Any]) -> Self:
        """Put several entries at the end; return the container.

        Raises
        ------
        TypeError
            If one is of another kind than the container's entries; nothing is added then.
        """
        added = [self._as_entry(value) for value in as_list(type(self).__name__, "entries", values)]
        names = [str(place) for place in range(len(self), len(self) + len(added))]
        if self._kept.keys().isdisjoint(names):
            self._kept.update(zip(names, added, strict=True))
        else:
            self._renamed([*self, *added])  # module-25
        return self

    def __iadd__(self, other: Iterable[Any]) -> Self:
        return self.extend(other)


class _RowOfModules(_Row):
    """A row whose entries can be put in between and taken out."""

    def _put(self, position: int, module: Module) -> None:
        present = list(self)
        present.insert(position, self._as_entry(module))
        self._renamed(present)

    def __delitem__(self, index: int | slice) -> None:
        places = self._places(index) if isinstance(index, slice) else [self._position(index)]
        self._renamed([module for place, module in enumerate(self) if place not in places])

    def pop(self, key: int | slice) -> Any:
        """Take a Module out and return it, or for a slice a container of several.

        Raises
        ------
        IndexError
            If there is none.
        """
        taken = self[key]
        del self[key]
        return taken


class Sequential(_RowOfModules):
    """Calls Modules one after the other.

    Source: ``torch.nn.Sequential``.

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
            self.register_module(name, self._as_entry(module))

    def forward(self, input: Any) -> Any:
        """Call each Module on the result of the one before."""
        for module in self:
            input = module(input)
        return input

    def _part(self, entries: dict[str, Any]) -> Sequential:
        return type(self)(entries)

    def insert(self, index: int, module: Module) -> Self:
        """Put a Module before position `index`, from -n to n; return the Sequential.

        Raises
        ------
        IndexError
            If `index` is out of range.
        """
        position = self._index(index)
        if not -len(self) <= position <= len(self):
            msg = f"{type(self).__name__}: index {index} is out of range for {len(self)} entries"
            raise IndexError(msg)
        self._put(position, module)
        return self

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            msg = f"{type(self).__name__}: + wants a Sequential, got {shown(other)}"
            raise TypeError(msg)
        return type(self)(*self, *other)


class ModuleList(_RowOfModules):
    """Holds Modules in a list; it has no `forward`.

    Source: ``torch.nn.ModuleList``.

    Parameters
    ----------
    modules : iterable of Module, or None
        Registered as "0", "1", ...
    """

    def __init__(self, modules: Iterable[Module] | None = ()) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def insert(self, index: int, module: Module) -> None:
        """Put a Module before position `index`, as a list does."""
        self._put(max(-len(self), min(self._index(index), len(self))), module)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return type(self)(self).extend(other)


class ParameterList(_OfParameters, _Row):
    """Holds Parameters in a list; it has no `forward`.

    Source: ``torch.nn.ParameterList``.

    Parameters
    ----------
    values : iterable of Parameter, Tensor, cupy.ndarray or numpy.ndarray, or None
        Registered as "0", "1", ...; what is no Parameter becomes one.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)


class _Keyed(_Container):
    """A mapping from strings to entries, which are registered under their keys."""

    def __init__(self, entries: Any) -> None:
        super().__init__()
        if entries is not None:
            self.update(entries)

    def _key(self, key: Any) -> str:
        """Return a key that is there."""
        if not isinstance(key, str):
            msg = f"{type(self).__name__}: a key must be a str, got {shown(key)}"
            raise TypeError(msg)
        if key not in self._kept:
            msg = f"{type(self).__name__}: there is no key {key!r}"
            raise KeyError(msg)
        return key

    def __getitem__(self, key: str) -> Any:
        return self._kept[self._key(key)]

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_name("__setitem__", key, self._kept)
        self._kept[key] = self._as_entry(value)

    def __delitem__(self, key: str) -> None:
        del self._kept[self._key(key)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._kept)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._kept

    def keys(self) -> KeysView[str]:
        """Return a view of the keys, in the order they came."""
        return self._kept.keys()

    def values(self) -> ValuesView[Any]:
        """Return a view of the entries."""
        return self._kept.values()

    def items(self) -> ItemsView[str, Any]:
        """Return a view of pairs of key and entry."""
        return self._kept.items()

    def clear(self) -> None:
        """Take all entries out."""
        self._kept.clear()

    def pop(self, key: str) -> Any:
        """Take an entry out and return it.

        Raises
        ------
        KeyError
            If there is none.
        """
        return self._kept.pop(self._key(key))

    def update(self, entries: Any) -> None:
        """Set several entries, all or none.

        Parameters
        ----------
        entries : mapping, or iterable of pairs of key and value

        Raises
        ------
        TypeError
            If it is none, a key is no str or a value of another kind.
        KeyError
            If a key cannot be registered.
        """
        name = type(self).__name__
        if isinstance(entries, (Mapping, _Keyed)):
            pairs: list[Any] = list(entries.items())
        else:
            pairs = as_list(name, "entries", entries)
        made = {}
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                msg = f"{name}: entries must be pairs of key and value, got {shown(pair)}"
                raise TypeError(msg)
            self._check_name("update", pair[0], self._kept)
            made[pair[0]] = self._as_entry(pair[1])
        self._kept.update(made)


class ModuleDict(_Keyed):
    """Holds Modules by name; it has no `forward`.

    Source: ``torch.nn.ModuleDict``.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__(modules)


class ParameterDict(_OfParameters, _Keyed):
    """Holds Parameters by name; it has no `forward`.

    Source: ``torch.nn.ParameterDict``.

    Parameters
    ----------
    parameters : mapping of str to Parameter, Tensor or array, or iterable of pairs, optional
        What is no Parameter becomes one.
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the Parameter of a key, or `default` if there is none."""
        return self._kept[key] if key in self else default

    def setdefault(self, key: str, default: Any) -> Any:
        """Return the Parameter of a key; register `default` if there is none."""
        if key not in self:
            self[key] = default
        return self._kept[key]

    def popitem(self) -> tuple[str, Any]:
        """Take the last pair of key and Parameter out and return it.

        Raises
        ------
        KeyError
            If there is none.
        """
        if not self._kept:
            msg = f"{type(self).__name__}: popitem wants an entry, got an empty dict"
            raise KeyError(msg)
        return self._kept.popitem()

    def copy(self) -> ParameterDict:
        """Return a new dict of the same Parameters."""
        return type(self)(self)

    def __or__(self, other: Any) -> ParameterDict:
        return self.copy().__ior__(other)

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self
