"""Nested dicts, lists and tuples: torch's own, and what is done to the Tensors in them."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["detach", "tree_flatten", "tree_map", "tree_unflatten"]


def detach(structure: Any) -> Any:
    """Return the structure with each Tensor detached."""
    return tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, structure)
