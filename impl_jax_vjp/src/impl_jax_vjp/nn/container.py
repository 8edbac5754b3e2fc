"""Modules that hold Modules or Parameters: in order, or under keys."""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, ClassVar

import jax
import numpy as np

from ..checks import check_int, refuse_type
from ..module import Module
from ..parameter import Parameter
from ..tape import MODE, Traced


class _Container(Module):
    """What holds entries of one kind in one of a Module's tables.

    Attributes
    ----------
    _table : str
        The table.
    _what : str
        What an entry is, for messages.
    """

    _table: ClassVar[str] = "_modules"
    _what: ClassVar[str] = "a Module"

    @property
    def _held(self) -> dict[str, Any]:
        """The table itself; a trace of nn.jit knows then that it was read."""
        if MODE.capture is not None:
            MODE.capture.note(self)
        table: dict[str, Any] = self.__dict__[self._table]
        return table

    def _entry(self, value: Any) -> Any:
        """Return what stands in the table for a value, or raise `TypeError`."""
        if not isinstance(value, Module):
            refuse_type(type(self).__name__, "each entry", self._what, value)
        return value

    def _listed(self, argument: str, values: Any) -> list[Any]:
        """Return the entries of an iterable, of which an array is none."""
        if isinstance(values, Traced | jax.Array | np.ndarray) or not isinstance(values, Iterable):
            refuse_type(type(self).__name__, argument, "an iterable", values)
        return [self._entry(value) for value in values]

    def _empty(self) -> Any:
        """Return another container of this class without entries."""
        part = object.__new__(type(self))
        Module.__init__(part)
        return part

    def __len__(self) -> int:
        return len(self._held)


class _Parameters(_Container):
    """What holds Parameters."""

    _table = "_parameters"
    _what = "a Parameter, a Tensor or an array"

    def _entry(self, value: Any) -> Parameter:
        if isinstance(value, Parameter):
            return value
        if not isinstance(value, Traced | jax.Array | np.ndarray):  # module-27
            refuse_type(type(self).__name__, "each entry", self._what, value)
        try:
            return Parameter(value)
        except (TypeError, ValueError) as error:
            msg = f"{type(self).__name__}: {error}"
            raise type(error)(msg) from None

    def _shown_entries(self) -> Iterator[tuple[str, str]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                shape, dtype = parameter.shape, parameter.dtype
                yield name, f"Parameter of shape {shape} and dtype {dtype}"


class _Listed(_Container):
    """Entries under the names "0", "1", ..."""

    _keeps_names: ClassVar[bool] = False

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._held.values()))

    def _place(self, index: Any, more: int = 0) -> int:
        """Return a place counted from 0, up to the number of entries and `more`."""
        place, count = check_int(type(self).__name__, "index", index), len(self)
        if not -count <= place < count + more:
            msg = f"{type(self).__name__}: index {place} is out of range for a length of {count}"
            raise IndexError(msg)
        return place if place >= 0 else place + count

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return list(self._held.values())[self._place(index)]
        part = self._empty()
        for name, entry in list(self._held.items())[index]:
            part._held[name if self._keeps_names else str(len(part))] = entry
        return part

    def __setitem__(self, index: Any, value: Any) -> None:
        name = list(self._held)[self._place(index)]
        self._held[name] = self._entry(value)

    def _rename(self, entries: Iterable[Any]) -> None:
        """Hold these entries, all under new names."""
        named = {str(place): entry for place, entry in enumerate(entries)}
        self._held.clear()
        self._held.update(named)

    def append(self, value: Any) -> Any:
        """Add an entry at the end, and return the container.

        Raises
        ------
        TypeError
            If it is of another kind.
        """
        return self.extend([value])

    def extend(self, values: Iterable[Any]) -> Any:
        """Add entries at the end, and return the container.

        Raises
        ------
        TypeError
            If one is of another kind, or `values` no iterable; nothing is added then.
        """
        new = self._listed("what is added", values)
        held, count = self._held, len(self)
        names = [str(count + place) for place in range(len(new))]
        if held.keys().isdisjoint(names):
            held.update(zip(names, new, strict=True))
        else:
            self._rename([*held.values(), *new])  # module-25: after a slice
        return self

    def __iadd__(self, values: Iterable[Any]) -> Any:
        return self.extend(values)


class _Row(_Listed):
    """Modules in order."""

    def pop(self, key: Any) -> Any:
        """Take out an entry, or those of a slice, and return it; all others are named anew."""
        taken = self[key]
        del self[key]
        return taken

    def __delitem__(self, key: Any) -> None:
        entries = list(self._held.values())
        del entries[key if isinstance(key, slice) else self._place(key)]
        self._rename(entries)

    def __add__(self, other: Any) -> Any:
        joined = self._empty()
        joined._rename([*self, *self._listed("what is added", other)])
        return joined


class Sequential(_Row):
    """Modules called one after the other, as ``torch.nn.Sequential``.

    Parameters
    ----------
    *modules : Module
        Or one ordered mapping from names to Modules.
    """

    _keeps_names = True

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, self._entry(module))
        else:
            self.extend(modules)

    def forward(self, input: Any) -> Any:
        """Return what the last Module makes of what the one before it made of ... the input."""
        for module in self:
            input = module(input)
        return input

    def insert(self, index: int, module: Module) -> "Sequential":
        """Put a Module before the place `index`, name all anew, and return this one.

        Raises
        ------
        IndexError
            Unless `index` is from -n to n, the length.
        TypeError
            If it is no Module.
        """
        entries = list(self)
        entries.insert(self._place(index, more=1), self._entry(module))
        self._rename(entries)
        return self

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Sequential):
            refuse_type(type(self).__name__, "what is added", "a Sequential", other)
        return super().__add__(other)


class ModuleList(_Row):
    """A list of Modules whose parameters are found, as ``torch.nn.ModuleList``.

    Parameters
    ----------
    modules : iterable of Module, or None for an empty list
    """

    def __init__(self, modules: Iterable[Module] | None = ()) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def insert(self, index: int, module: Module) -> None:
        """Put a Module before the place `index`, which counts as for a list, and name all anew."""
        place, entries = check_int("ModuleList", "index", index), list(self)
        entries.insert(max(min(place, len(entries)), -len(entries)), self._entry(module))
        self._rename(entries)


class ParameterList(_Parameters, _Listed):
    """A list of Parameters, as ``torch.nn.ParameterList``.

    Parameters
    ----------
    values : iterable of Parameter, Tensor, jax.Array or numpy.ndarray, optional
        What is no Parameter becomes one.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)


class _Keyed(_Container):
    """Entries under keys, which are strings."""

    def __init__(self, entries: Any = None) -> None:
        super().__init__()
        self.update(() if entries is None else entries)

    def _key(self, key: Any) -> str:
        """Return a key that is there, or raise `KeyError`."""
        if not isinstance(key, str):
            refuse_type(type(self).__name__, "each key", "a string", key)
        if key not in self._held:
            msg = f"{type(self).__name__}: there is no key {key!r}"
            raise KeyError(msg)
        return key

    def __getitem__(self, key: str) -> Any:
        return self._held[self._key(key)]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._held))

    def __contains__(self, key: Any) -> bool:
        return isinstance(key, str) and key in self._held

    def clear(self) -> None:
        """Take out all entries."""
        self._held.clear()

    def pop(self, key: str) -> Any:
        """Take out the entry of a key, and return it; raise `KeyError` if there is none."""
        return self._held.pop(self._key(key))

    def keys(self) -> KeysView[str]:
        """Return the keys, in the order in which they came."""
        return self._held.keys()

    def items(self) -> ItemsView[str, Any]:
        """Return pairs of keys and entries."""
        return self._held.items()

    def values(self) -> ValuesView[Any]:
        """Return the entries."""
        return self._held.values()

    def update(self, entries: Any) -> None:
        """Add entries, or put them in the places of those of the same keys.

        Parameters
        ----------
        entries : mapping, or iterable of pairs

        Raises
        ------
        TypeError
            If a key is no string, an entry of another kind, or `entries` neither.
        KeyError
            If a key is no name for an entry; nothing is changed in each case.
        """
        name, new = type(self).__name__, {}
        for pair in self._pairs(entries):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                refuse_type(f"{name}: update", "each entry", "a pair of key and value", pair)
            key, value = pair
            if not isinstance(key, str):
                refuse_type(name, "each key", "a string", key)
            self._check_name(name, key, self._table)
            new[key] = self._entry(value)
        self._held.update(new)

    def _pairs(self, entries: Any) -> list[Any]:
        if isinstance(entries, Mapping | _Keyed):
            return list(entries.items())
        if isinstance(entries, Traced | jax.Array | np.ndarray) or not isinstance(
            entries, Iterable
        ):
            wanted = "a mapping or an iterable of pairs"
            refuse_type(f"{type(self).__name__}: update", "what is added", wanted, entries)
        return list(entries)


class ModuleDict(_Keyed):
    """A mapping from strings to Modules whose parameters are found, as ``torch.nn.ModuleDict``.

    Parameters
    ----------
    modules : mapping, or iterable of pairs, optional
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__(modules)


class ParameterDict(_Parameters, _Keyed):
    """A mapping from strings to Parameters, as ``torch.nn.ParameterDict``.

    Parameters
    ----------
    parameters : mapping, or iterable of pairs, optional
        A Tensor or array that is no Parameter becomes one.
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the Parameter of a key, or `default` if there is none."""
        return self._held.get(key, default) if isinstance(key, str) else default

    def setdefault(self, key: str, default: Any) -> Any:
        """Return the Parameter of a key, which `default` becomes if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[str, Any]:
        """Take out the last pair, and return it; raise `KeyError` if there is none."""
        if not self._held:
            msg = "ParameterDict: there is no last pair of an empty one"
            raise KeyError(msg)
        return self._held.popitem()

    def copy(self) -> "ParameterDict":
        """Return another one of the same Parameters."""
        twin: ParameterDict = self._empty()
        twin.update(self)
        return twin

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._held))

    def __or__(self, other: Any) -> "ParameterDict":
        joined = self.copy()
        joined.update(other)
        return joined

    def __ior__(self, other: Any) -> "ParameterDict":
        self.update(other)
        return self
