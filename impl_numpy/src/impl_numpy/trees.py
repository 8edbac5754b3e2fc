"""Nested structures: dicts, lists and tuples of Tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any


def tree_map(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to the leaves of nested dicts, lists and tuples."""
    if type(tree) is dict:
        return {key: tree_map(fn, x) for key, x in tree.items()}
    if isinstance(tree, dict):
        # A copy keeps what the class adds: the order, a default factory (autograd-33).
        mapped = copy.copy(tree)
        for key, x in tree.items():
            mapped[key] = tree_map(fn, x)
        return mapped
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(fn, x) for x in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(tree_map(fn, x) for x in tree)
    return fn(tree)


def tree_leaves(tree: Any) -> list[Any]:
    """Return the leaves, in order."""
    leaves: list[Any] = []
    tree_map(leaves.append, tree)
    return leaves


def tree_rebuilt(tree: Any, leaves: Iterable[Any]) -> Any:
    """Return the structure of a tree with other leaves."""
    remaining = iter(leaves)
    return tree_map(lambda _: next(remaining), tree)


def tree_structure(tree: Any) -> Any:
    """Return the nesting without the leaves, for comparison."""
    if isinstance(tree, dict):
        return {key: tree_structure(x) for key, x in tree.items()}
    return [tree_structure(x) for x in tree] if isinstance(tree, (list, tuple)) else None


def tree_aligned(tree: Any, like: Any) -> Any:
    """Return a tree whose dicts have their keys in the order of another's, if they are the same."""
    if isinstance(tree, dict) and isinstance(like, dict) and tree.keys() == like.keys():
        return {key: tree_aligned(tree[key], x) for key, x in like.items()}
    alike = isinstance(tree, (list, tuple)) and isinstance(like, (list, tuple))
    if alike and len(tree) == len(like):
        return [tree_aligned(x, y) for x, y in zip(tree, like, strict=True)]
    return tree
