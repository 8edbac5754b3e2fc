"""Nested dicts, lists and tuples: torch's own, and what is done to the Tensors in them."""

from collections import defaultdict
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["aligned", "detach", "tree_flatten", "tree_map", "tree_unflatten"]


def aligned(structure: Any, like: Any) -> Any:
    """Return the structure with its dicts' keys in the order of another's, if they are the same."""
    if type(structure) is not type(like) or not isinstance(like, dict | list | tuple):
        return structure
    if isinstance(like, dict):
        if structure.keys() != like.keys():
            return structure
        parts = {key: aligned(structure[key], part) for key, part in like.items()}
        if isinstance(like, defaultdict):
            return type(like)(structure.default_factory, parts)
        return type(like)(parts)
    if len(structure) != len(like):
        return structure
    items = [aligned(x, y) for x, y in zip(structure, like, strict=True)]
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)


def detach(structure: Any) -> Any:
    """Return the structure with each Tensor detached."""
    return tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, structure)
