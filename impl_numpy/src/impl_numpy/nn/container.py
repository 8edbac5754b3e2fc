"""Modules that hold Modules or Parameters, in a row or by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np

from impl_numpy.checks import check_items, shown
from impl_numpy.dtypes import is_raw
from impl_numpy.module import Module
from impl_numpy.parameter import Parameter
from impl_numpy.tensor import Tensor

E = TypeVar("E", Module, Parameter)


class _Container(Module, Generic[E]):
    """Where the entries of a container are registered, and what it takes for one."""

    _kind = "Module"

    @property
    def _own(self) -> dict[str, Any]:
        """Return the entries by name."""
        own: dict[str, Any] = self.__dict__["_modules"]
        return own

    def _made(self, value: Any) -> Any:
        """Return what is registered for a value, or raise TypeError that names the class."""
        if not isinstance(value, Module):
            msg = f"{type(self).__name__}: wants Modules, got {_came(value)}"
            raise TypeError(msg)
        return value

    def __len__(self) -> int:
        return len(self._own)


class _OfParameters(_Container[Parameter]):
    """What holds Parameters, and makes them of arrays."""

    _kind = "Parameter"

    @property
    def _own(self) -> dict[str, Any]:
        own: dict[str, Any] = self.__dict__["_parameters"]
        return own

    def _made(self, value: Any) -> Any:
        owner = type(self).__name__
        if isinstance(value, Parameter):
            return value
        if not isinstance(value, Tensor) and not is_raw(value):
            msg = f"{owner}: wants Parameters, Tensors or arrays, got {_came(value)}"
            raise TypeError(msg)
        try:
            return Parameter(value)
        except (TypeError, ValueError) as error:
            msg = f"{owner}: {error}"
            raise type(error)(msg) from None

    def _shown_entries(self) -> Iterator[tuple[str, str]]:
        for name, parameter in self._own.items():
            kind = None if parameter is None else (parameter.shape, parameter.dtype)
            # module-27
            yield name, f"Parameter of shape {kind[0]} and dtype {kind[1]}" if kind else "None"


class _Row(_Container[E]):
    """Entries under the names "0", "1", ..."""

    def __iter__(self) -> Iterator[E]:
        return iter([entry for entry in self._own.values() if entry is not None])

    @overload
    def __getitem__(self, index: int) -> E: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> E | Self:
        if not isinstance(index, slice):
            entry: E = self._own[self._name(index)]
            return entry
        part = type(self)()
        part._own.update(list(self._own.items())[self._slice(index)])
        return part._sliced()

    def __setitem__(self, index: int, value: Any) -> None:
        name = self._name(index)
        setattr(self, name, self._made(value))

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def append(self, value: Any) -> Self:
        """Add one at the end, under the name of its place.

        Raises
        ------
        TypeError
            If it is none that this holds; nothing has changed then.
        """
        return self._added([self._made(value)])

    def extend(self, values: Iterable[Any]) -> Self:
        """Add several at the end, all or none, under the names of their places.

        Raises
        ------
        TypeError
            If one is none that this holds; nothing has changed then.
        """
        owner, wanted = type(self).__name__, f"an iterable of {self._kind}s"
        # The rows of one array are no entries.
        if isinstance(values, Tensor) or is_raw(values):
            msg = f"{owner}: extend wants {wanted}, got {_came(values)}"
            raise TypeError(msg)
        items = check_items(owner, "what is added", values, wanted)
        return self._added([self._made(value) for value in items])

    def _added(self, values: list[Any]) -> Self:
        own: dict[str, Any] = self._own
        first = len(self)
        names = [str(first + k) for k in range(len(values))]
        if any(name in own for name in names):  # module-25
            self._number([*own.values(), *values])
        else:
            for name in names:
                self._check_name(type(self).__name__, name, own)
            own.update(zip(names, values, strict=True))
        return self

    def _index(self, index: Any) -> int:
        try:
            if isinstance(index, (bool, np.bool)):
                raise TypeError
            return operator.index(index)
        except (TypeError, ValueError):
            msg = f"{type(self).__name__}: an index must be an int, got {_came(index)}"
            raise TypeError(msg) from None

    def _slice(self, index: slice) -> slice:
        """Return a slice of ints, and a step that is not 0."""
        parts = (index.start, index.stop, index.step)
        start, stop, step = (None if part is None else self._index(part) for part in parts)
        if step == 0:
            msg = f"{type(self).__name__}: the step of a slice must not be 0, got {index}"
            raise ValueError(msg)
        return slice(start, stop, step)

    def _place(self, index: Any, length: int) -> int:
        """Return an index from -n to below `length`, counted from 0 where it is negative."""
        k, n = self._index(index), len(self)
        if not -n <= k < length:
            kinds = f"{self._kind.lower()}s"
            msg = f"{type(self).__name__}: index {k} is out of range for {n} {kinds}"
            raise IndexError(msg)
        return k + n if k < 0 else k

    def _name(self, index: Any) -> str:
        return list(self._own)[self._place(index, len(self))]

    def _sliced(self) -> Self:
        """Return this, a slice, under the names that it is to have."""
        self._number(list(self._own.values()))
        return self

    def _number(self, entries: Iterable[Any]) -> None:
        own = {str(k): entry for k, entry in enumerate(entries)}
        self._own.clear()
        self._own.update(own)


class _RowOfModules(_Row[Module]):
    """What a list of Modules has and a list of Parameters has not."""

    def __delitem__(self, index: int | slice) -> None:
        entries = list(self._own.values())
        if isinstance(index, slice):
            del entries[self._slice(index)]
        else:
            del entries[self._place(index, len(self))]
        self._number(entries)

    def pop(self, key: int | slice) -> Any:
        """Take out and return the Module at an index, or those of a slice as a container.

        Raises
        ------
        IndexError
            If the index is out of range.
        """
        taken = self[key]
        del self[key]
        return taken

    def _insert(self, index: Any, module: Any) -> None:
        modules = list(self._own.values())
        modules.insert(self._place(index, len(self) + 1), self._made(module))
        self._number(modules)


class Sequential(_RowOfModules):
    """Modules called one after the other, each on what the one before returned.

    As torch.nn.Sequential.

    Parameters
    ----------
    *modules : Module, or one mapping from names to Modules

    Raises
    ------
    TypeError
        If one is no Module.
    KeyError
        If a name cannot be registered.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = isinstance(modules[0], Mapping) if len(modules) == 1 else False
        items = modules[0].items() if named else ((str(k), m) for k, m in enumerate(modules))
        for name, module in items:
            made = self._made(module)
            self._check_name(type(self).__name__, name, self._own)
            self._own[name] = made

    def forward(self, input: Any) -> Any:
        """Return the output of the last Module."""
        for module in self:
            input = module(input)
        return input

    def insert(self, index: int, module: Module) -> Self:
        """Add a Module before the one at an index, which is from -n to n.

        Raises
        ------
        IndexError
            If the index is out of range.
        TypeError
            If it is no Module; nothing has changed then.
        """
        self._insert(index, module)
        return self

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            msg = f"{type(self).__name__}: + wants a Sequential, got {_came(other)}"
            raise TypeError(msg)
        return Sequential(*self, *other)

    def _sliced(self) -> Self:
        return self


class ModuleList(_RowOfModules):
    """A list of Modules, which registers them.

    As torch.nn.ModuleList.

    Parameters
    ----------
    modules : iterable of Module, optional

    Raises
    ------
    TypeError
        If one is no Module.
    """

    def __init__(self, modules: Iterable[Module] | None = ()) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def insert(self, index: int, module: Module) -> None:
        """Add a Module before the one at an index, of any size, as a list does.

        Raises
        ------
        TypeError
            If it is no Module; nothing has changed then.
        """
        n = len(self)
        self._insert(max(-n, min(self._index(index), n)), module)  # module-25

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(self).extend(other)


class ParameterList(_Row[Parameter], _OfParameters):
    """A list of Parameters, which registers them.

    As torch.nn.ParameterList.

    Parameters
    ----------
    values : iterable of Parameter, Tensor or array, optional
        What is no Parameter becomes one, which shares its memory.

    Raises
    ------
    TypeError
        If one is none of these.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)


class _Named(_Container[E]):
    """Entries under keys of their own, in the order they came."""

    def __getitem__(self, key: str) -> E:
        entry: E = self._own[self._key(key)]
        return entry

    def __setitem__(self, key: str, value: Any) -> None:
        self.update([(key, value)])

    def __delitem__(self, key: str) -> None:
        del self._own[self._key(key)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._own

    def keys(self) -> Iterable[str]:
        """Return the keys."""
        return self._own.keys()

    def values(self) -> Iterable[E]:
        """Return what is registered, in the order of the keys."""
        return self._own.values()

    def items(self) -> Iterable[tuple[str, E]]:
        """Return pairs of keys and what is registered under them."""
        return self._own.items()

    def clear(self) -> None:
        """Take out everything."""
        self._own.clear()

    def pop(self, key: str) -> E:
        """Take out and return what is registered under a key.

        Raises
        ------
        KeyError
            If the key is not there.
        """
        entry: E = self._own.pop(self._key(key))
        return entry

    def update(self, entries: Any) -> None:
        """Register what a mapping, or an iterable of pairs of keys and values, holds; all or none.

        Raises
        ------
        TypeError
            If it is neither, a key is no string, or a value is none that this holds.
        KeyError
            If a key cannot be a name; nothing has changed then.
        """
        owner = type(self).__name__
        named = isinstance(entries, (Mapping, _Named))
        pairs = check_items(
            owner,
            "what is added",
            entries.items() if named else entries,
            "a mapping or an iterable of pairs",
        )
        added = {}
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                msg = f"{owner}: wants pairs of keys and {self._kind}s, got {_came(pair)}"
                raise TypeError(msg)
            key, value = pair
            self._check_name(owner, key, self._own)
            added[key] = self._made(value)
        self._own.update(added)

    def _key(self, key: Any) -> str:
        """Return a key that is there."""
        if not isinstance(key, str):
            msg = f"{type(self).__name__}: a key must be a string, got {_came(key)}"
            raise TypeError(msg)
        if key not in self._own:
            msg = f"{type(self).__name__}: has no key {shown(key)}"
            raise KeyError(msg)
        return key


class ModuleDict(_Named[Module]):
    """Modules by name, which it registers.

    As torch.nn.ModuleDict.

    Parameters
    ----------
    modules : mapping from str to Module, or iterable of pairs, optional

    Raises
    ------
    TypeError
        If a key is no string, or a value is no Module.
    KeyError
        If a key cannot be a name.
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(() if modules is None else modules)


class ParameterDict(_Named[Parameter], _OfParameters):
    """Parameters by name, which it registers.

    As torch.nn.ParameterDict.

    Parameters
    ----------
    parameters : mapping from str to Parameter, Tensor or array, or iterable of pairs, optional
        What is no Parameter becomes one, which shares its memory.

    Raises
    ------
    TypeError
        If a key is no string, or a value is none of these.
    KeyError
        If a key cannot be a name.
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(() if parameters is None else parameters)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._own)

    def __or__(self, other: Any) -> ParameterDict:
        joined = self.copy()
        joined.update(other)
        return joined

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """Return the Parameter of a key, or the default if it is not there."""
        return self._own[key] if key in self else default

    def setdefault(self, key: str, default: Any) -> Parameter:
        """Return the Parameter of a key, after registering the default if it is not there."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[str, Parameter]:
        """Take out and return the last pair.

        Raises
        ------
        KeyError
            If there is none.
        """
        if not self._own:
            msg = f"{type(self).__name__}: popitem wants an entry, got none"
            raise KeyError(msg)
        return self._own.popitem()

    def copy(self) -> ParameterDict:
        """Return a new one of the same Parameters."""
        return ParameterDict(self)


def _came(value: Any) -> str:
    """Return what a message says of a value: its type, and the value if that says more."""
    text, kind = shown(value), type(value).__name__
    return text if text.startswith(kind) or value is None else f"{kind} {text}"
