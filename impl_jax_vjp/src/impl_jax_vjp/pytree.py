"""Modules as pytrees: parameters and buffers are the leaves, all else is the structure.

A Parameter or Module that stands under two names is one leaf or one object, before and after.
"""

import copy
import functools
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from .tape import Traced

_TABLES = ("_parameters", "_buffers", "_modules")


class Structure:
    """A Module without its arrays, comparable and hashable.

    `entries` has, for each distinct Module of the tree, its class, its attributes, and its tables
    with numbers of leaves and of entries in the place of Tensors and Modules.
    """

    __slots__ = ("_hash", "entries")

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        return self is other or _same(self.entries, other.entries)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(tuple(_digest(entry) for entry in self.entries))
        return self._hash


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Traced | jax.Array):
        return False
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _digest(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _digest(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_digest(item) for item in value)
    try:
        return hash(value)
    except TypeError:
        return hash(type(value))


def _snapshot(value: Any) -> Any:
    # A later change in place must be seen as a difference.
    return copy.copy(value) if isinstance(value, list | dict | set) else value


def flatten(module: Any) -> tuple[list[tuple[Any, Any]], Structure]:
    """Return the distinct Tensors of a Module with their keys, and its Structure."""
    leaves: list[tuple[Any, Any]] = []
    leaf_places: dict[int, int] = {}
    modules = [module]
    module_places = {id(module): 0}
    prefixes = [""]
    entries = []
    for index, current in enumerate(modules):
        state = vars(current)
        tables: list[dict[str, int | None]] = []
        for table in _TABLES[:2]:
            places: dict[str, int | None] = {}
            for name, tensor in state[table].items():
                if tensor is not None and id(tensor) not in leaf_places:
                    leaf_places[id(tensor)] = len(leaves)
                    leaves.append((jax.tree_util.GetAttrKey(prefixes[index] + name), tensor))
                places[name] = None if tensor is None else leaf_places[id(tensor)]
            tables.append(places)
        children: dict[str, int | None] = {}
        for name, child in state["_modules"].items():
            if child is not None and id(child) not in module_places:
                module_places[id(child)] = len(modules)
                modules.append(child)
                prefixes.append(f"{prefixes[index]}{name}.")
            children[name] = None if child is None else module_places[id(child)]
        attributes = {k: _snapshot(v) for k, v in state.items() if k not in _TABLES}
        entries.append((type(current), attributes, *tables, children))
    return leaves, Structure(entries)


def unflatten(structure: Structure, leaves: Any) -> Any:
    """Make a Module of a Structure and whatever stands for its Tensors."""
    arrays = list(leaves)
    made = [object.__new__(entry[0]) for entry in structure.entries]
    for module, (_, attributes, parameters, buffers, children) in zip(
        made, structure.entries, strict=True
    ):
        state = vars(module)
        state.update({key: _snapshot(value) for key, value in attributes.items()})
        for table, places in zip(_TABLES[:2], (parameters, buffers), strict=True):
            state[table] = {n: None if p is None else arrays[p] for n, p in places.items()}
        state["_modules"] = {n: None if p is None else made[p] for n, p in children.items()}
    return made[0]


def is_module(value: Any) -> bool:
    """Tell whether a value is a Module that was made."""
    state = getattr(value, "__dict__", ())
    return all(table in state for table in _TABLES)


class Contents:
    """What a Module holds, kept to find and undo what a function changes while it is traced.

    What is traced runs once, and what is compiled has no effect on a Module.
    """

    def __init__(self, module: Any) -> None:
        state = vars(module)
        plain = {name: value for name, value in state.items() if name not in _TABLES}
        self._state, self._plain = state, plain
        self._held = [(name, state[name], dict(state[name])) for name in _TABLES]
        for name, value in plain.items():
            self._held += [(name, *held) for held in _containers(value)]

    def restore(self) -> str:
        """Put back what was changed; return the name of one such attribute, or nothing."""
        changed = ""
        now = {name: value for name, value in self._state.items() if name not in _TABLES}
        for name in _differences(self._plain, now):
            changed = changed or name
            self._state.pop(name, None)
            if name in self._plain:
                self._state[name] = self._plain[name]
        for name, container, before in self._held:
            different = _differences(before, container)
            if different:
                # In a table the name is that of a Tensor or Module.
                changed = changed or (str(different[0]) if name in _TABLES else name)
                _refill(container, before)
        return changed


def _containers(value: Any) -> list[tuple[Any, Any]]:
    """Return what can change in place and is reached from a value, each beside a copy."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    seen: set[int] = set()
    while stack and len(seen) < _MOST:
        value = stack.pop()
        if id(value) in seen or isinstance(value, (*_PLAIN, Traced, jax.Array)) or is_module(value):
            continue
        seen.add(id(value))
        if isinstance(value, tuple):
            stack += value
        elif isinstance(value, np.ndarray):
            found.append((value, value.copy()))
        elif isinstance(value, dict):
            found.append((value, dict(value)))
            stack += value.values()
        elif isinstance(value, list | set | deque):
            found.append((value, set(value) if isinstance(value, set) else list(value)))
            stack += value
        elif hasattr(value, "__dict__"):
            stack.append(vars(value))
    return found


def _differences(before: Any, now: Any) -> list[Any]:
    """Return the keys, or places, at which two containers of a type differ."""
    if isinstance(now, np.ndarray):
        return [] if _same_array(before, now) else [0]
    if isinstance(now, set):
        return [0] if before != now else []
    if isinstance(now, dict):
        both = [*before, *(key for key in now if key not in before)]
        return [key for key in both if not _same_entry(before, now, key)]
    same = len(before) == len(now) and all(map(_same_item, before, now))
    return [] if same else [0]


def _same_entry(before: dict[Any, Any], now: dict[Any, Any], key: Any) -> bool:
    return key in before and key in now and _same_item(before[key], now[key])


def _same_item(before: Any, now: Any) -> bool:
    return before is now or (
        type(before) is type(now) and isinstance(before, _VALUES) and bool(before == now)
    )


def _refill(container: Any, contents: Any) -> None:
    if isinstance(container, np.ndarray):
        container[...] = contents
        return
    container.clear()
    if isinstance(container, dict | set):
        container.update(contents)
    else:
        container.extend(contents)


class Watch:
    """The state of Modules as compiled code saw it, values of Parameters and buffers apart.

    It holds no Module and no array: what is gone is not as it was.
    """

    def __init__(self, modules: Iterable[Any]) -> None:
        self._entries: list[tuple[Any, int, list[tuple[str, Any]]]] = []
        below = list(modules)
        seen: set[int] = set()
        while below:
            module = below.pop()
            if id(module) not in seen:
                seen.add(id(module))
                state = vars(module)
                frozen = [(name, _frozen(value)) for name, value in state.items()]
                self._entries.append((weakref.ref(module), len(state), frozen))
                below += [child for child in state["_modules"].values() if child is not None]

    def holds(self) -> bool:
        """Tell whether all Modules are as they were."""
        for reference, count, frozen in self._entries:
            module = reference()
            if module is None:
                return False
            state = vars(module)
            if len(state) != count:
                return False
            for name, before in frozen:
                now = state.get(name, _Frozen)
                if before is not now and not _unchanged(before, now):
                    return False
        return True

    def forget_the_gone(self) -> None:
        """Leave out Modules that are gone already: a call makes and drops those itself."""
        self._entries = [entry for entry in self._entries if entry[0]() is not None]

    def modules(self) -> list[Any]:
        """Return the Modules that are still there."""
        alive = [reference() for reference, _, _ in self._entries]
        return [module for module in alive if module is not None]


class _Frozen:
    """A value that can change in place, as a test of whether another is the same."""

    __slots__ = ("matches",)

    def __init__(self, matches: Callable[[Any], bool]) -> None:
        self.matches = matches


def _unchanged(before: Any, now: Any) -> bool:
    if type(before) is _Frozen:
        return bool(before.matches(now))
    if before is now:
        return True
    # The type too: 1, 1.0 and True are equal.
    return type(before) is type(now) and isinstance(before, _VALUES) and bool(before == now)


_VALUES = (int, float, complex, str, bytes, np.generic, np.dtype)
_PLAIN = (*_VALUES, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


def _frozen(value: Any, around: tuple[int, ...] = ()) -> Any:
    """Return a value that cannot change as it is, any other as a `_Frozen`.

    Parameters
    ----------
    around : tuple of int
        The ids of what the value stands in, where circles end.
    """
    if value is None or isinstance(value, _PLAIN) or id(value) in around:
        return value
    if isinstance(value, types.MethodType) and is_module(value.__self__):
        method = weakref.WeakMethod(value)
        return _Frozen(lambda now: method() == now)
    inside = (*around, id(value))
    if isinstance(value, Traced | jax.Array) or is_module(value):
        reference = weakref.ref(value)
        return _Frozen(lambda now: reference() is now)
    if isinstance(value, np.ndarray):
        kept = value.copy()
        return _Frozen(lambda now: _same_array(kept, now))
    cls = type(value)
    if isinstance(value, dict):
        keys = list(value)
        rest = [_frozen(item, inside) for item in value.values()]
        return _Frozen(
            lambda now: (
                type(now) is cls and list(now) == keys and all(map(_unchanged, rest, now.values()))
            )
        )
    if isinstance(value, list | tuple):
        items = [_frozen(item, inside) for item in value]
        return _Frozen(
            lambda now: (
                type(now) is cls and len(now) == len(items) and all(map(_unchanged, items, now))
            )
        )
    if isinstance(value, set):
        members = frozenset(value)
        return _Frozen(lambda now: type(now) is cls and now == members)
    if hasattr(value, "__dict__"):
        attributes, itself = _frozen(vars(value), inside), _weakly(value)
        return _Frozen(lambda now: now is itself() and attributes.matches(vars(now)))
    return value


def _weakly(value: Any) -> Callable[[], Any]:
    """Return what gives a value back, as long as it is there; weakly if it can be."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def kind_of(function: Any) -> Any:
    """Return what two callables that do the same have in common: a code, or a class."""
    return getattr(getattr(function, "__func__", function), "__code__", type(function))


def fixed(function: Any) -> Callable[[Any], bool]:
    """Return a test of whether another callable does the same as this one did.

    It is the same object with the same attributes, Modules apart, which `Watch` follows; or a
    function of the same code, whose closure and globals are the same, those of the functions of
    its file that it calls too. The test holds no array.
    """
    before = [_frozen(item) for item in _surface(function)]

    def same(now: Any) -> bool:
        items = _surface(now)
        return len(before) == len(items) and all(map(_unchanged, before, items))

    return same


def _surface(function: Any) -> list[Any]:
    """Return the codes of a function and of those of its file that it calls, and all they reach."""
    items: list[Any] = []
    places: dict[int, int] = {}
    stack = [function]
    scope = getattr(function, "__globals__", None)
    while stack:
        value = stack.pop()
        if isinstance(value, types.FunctionType):
            inside = value.__globals__ is scope
        else:
            inside = isinstance(value, types.MethodType | functools.partial)
        if not inside:
            items.append(value)
        elif id(value) in places:
            items.append(places[id(value)])
        else:
            places[id(value)] = len(items)
            items.append(getattr(value, "__code__", None))
            stack += _reached(value)
    return items


def _same_array(before: np.ndarray[Any, Any], now: Any) -> bool:
    return (
        type(now) is type(before)
        and (now.dtype, now.shape) == (before.dtype, before.shape)
        and now.tobytes() == before.tobytes()
    )


def modules_of(function: Any) -> list[Any]:
    """Return the Modules that a function can reach by its names, defaults and its object."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    stack = [function]
    while stack and len(seen) < _MOST:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_module(value):
            found[id(value)] = value
        else:
            stack += _reached(value)
    return list(found.values())


# Enough for any function; a search through a whole program is none of ours.
_MOST = 10_000


def _reached(value: Any) -> list[Any]:
    """Return what stands one step behind a function or a container."""
    if isinstance(value, types.FunctionType):
        code = value.__code__
        names = [*code.co_names]
        for inner in code.co_consts:
            names += inner.co_names if isinstance(inner, types.CodeType) else ()
        reached = [value.__globals__[name] for name in names if name in value.__globals__]
        for cell in value.__closure__ or ():
            try:
                reached.append(cell.cell_contents)
            except ValueError:
                continue  # A name that is bound later.
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [*reached, *defaults, *vars(value).values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__, *getattr(value.__self__, "__dict__", {}).values()]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _flatten_plain(module: Any) -> tuple[list[Any], Structure]:
    leaves, structure = flatten(module)
    return [leaf for _, leaf in leaves], structure


def register(cls: type[Any]) -> None:
    """Make a class of Modules known to JAX."""
    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten, _flatten_plain)
