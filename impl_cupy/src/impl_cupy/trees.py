"""Structures of Tensors: dicts, lists and tuples, nested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from impl_cupy.tensor import Tensor


def flatten(structure: Any) -> list[Any]:
    """List what hangs in a structure, dicts in their own order; None holds nothing."""
    if isinstance(structure, dict):
        return [leaf for part in structure.values() for leaf in flatten(part)]
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in flatten(part)]
    return [] if structure is None else [structure]


def rebuilt(structure: Any, leaves: Sequence[Any]) -> Any:
    """Make a structure like this one with other leaves."""
    return _rebuilt(structure, iter(leaves))


def mapped(function: Callable[[Tensor], Any], structure: Any) -> Any:
    """Make a structure like this one with `function` of each Tensor in the Tensor's place."""
    leaves = flatten(structure)
    return rebuilt(
        structure, [function(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    )


def _rebuilt(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        parts = {key: _rebuilt(part, leaves) for key, part in structure.items()}
        if isinstance(structure, defaultdict):
            return type(structure)(structure.default_factory, parts)
        return type(structure)(parts)
    if isinstance(structure, (list, tuple)):
        members = [_rebuilt(part, leaves) for part in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*members)
        return type(structure)(members)
    return None if structure is None else next(leaves)
