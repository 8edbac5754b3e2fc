"""Modules as pytrees: parameters and buffers are the leaves, all else is the structure.

A Parameter or Module that stands under two names is one leaf or one object, before and after.
"""

import copy
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


def _flatten_plain(module: Any) -> tuple[list[Any], Structure]:
    leaves, structure = flatten(module)
    return [leaf for _, leaf in leaves], structure


def register(cls: type[Any]) -> None:
    """Make a class of Modules known to JAX."""
    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten, _flatten_plain)
