"""Nested structures: taking Tensors out of dicts, lists, tuples and Modules, and putting others in.

JAX's own pytrees sort the keys of a dict; a function of ours gets its dicts in the caller's order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from .tape import Traced

Form = tuple[Any, ...]
_LEAF: Form = ("leaf",)


def split(value: Any) -> tuple[list[Any], Form]:
    """Return the Tensors and arrays in a structure, and what is left of it.

    The form holds everything else, compares equal for equal structures, and can be hashed if all
    that it holds can.
    """
    leaves: list[Any] = []
    return leaves, _split(value, leaves)


def _split(value: Any, leaves: list[Any]) -> Form:
    if isinstance(value, Traced | jax.Array | np.ndarray):
        leaves.append(value)
        return _LEAF
    if isinstance(value, dict):
        children = tuple(_split(child, leaves) for child in value.values())
        factory = value.default_factory if isinstance(value, defaultdict) else None
        return ("dict", type(value), tuple(value), children, factory)
    if isinstance(value, list | tuple):
        return ("sequence", type(value), tuple(_split(child, leaves) for child in value))
    children_, tree = jax.tree.flatten(value, is_leaf=_is_leaf)
    if jax.tree_util.treedef_is_leaf(tree):
        # The type too: 1, 1.0 and True are equal.
        return ("static", type(value), value)
    return ("tree", tree, tuple(_split(child, leaves) for child in children_))


def _is_leaf(value: Any) -> bool:
    if isinstance(value, Traced):
        return True
    # What can be read once is a leaf to JAX too, with a warning unless it is said here.
    cls = type(value)
    once = hasattr(cls, "__iter__") and not hasattr(cls, "__contains__")
    return once and jax.tree_util.default_registry.flatten_one_level(value) is None


def statics(form: Form) -> Iterator[Any]:
    """Yield what of a structure is neither container nor Tensor nor array."""
    if form[0] == "static":
        yield form[2]
    elif form[0] != "leaf":
        for child in form[3] if form[0] == "dict" else form[2]:
            yield from statics(child)


def join(form: Form, leaves: Sequence[Any]) -> Any:
    """Put leaves into a form."""
    return _join(form, iter(leaves))


def _join(form: Form, leaves: Iterator[Any]) -> Any:
    form_name = form[0]
    if form_name == "leaf":
        return next(leaves)
    if form_name == "static":
        return form[2]
    if form_name == "tree":
        return jax.tree.unflatten(form[1], [_join(child, leaves) for child in form[2]])
    if form_name == "dict":
        values = [_join(child, leaves) for child in form[3]]
        pairs = zip(form[2], values, strict=True)
        # autograd-33
        return form[1](form[4], pairs) if issubclass(form[1], defaultdict) else form[1](pairs)
    items = [_join(child, leaves) for child in form[2]]
    return form[1](*items) if hasattr(form[1], "_fields") else form[1](items)


def map_leaves(fn: Callable[[Any], Any], value: Any) -> Any:
    """Return the structure with `fn` applied to each Tensor and array."""
    leaves, form = split(value)
    return join(form, [fn(leaf) for leaf in leaves])


def aligned(value: Any, form: Form) -> Any:
    """Return a structure with its dicts' keys in the order of a form's, if they are the same."""
    if form[0] == "dict" and type(value) is form[1] and value.keys() == set(form[2]):
        pairs = [
            (key, aligned(value[key], child)) for key, child in zip(form[2], form[3], strict=True)
        ]
        return form[1](form[4], pairs) if issubclass(form[1], defaultdict) else form[1](pairs)
    if form[0] == "sequence" and type(value) is form[1] and len(value) == len(form[2]):
        items = [aligned(item, child) for item, child in zip(value, form[2], strict=True)]
        return form[1](*items) if hasattr(form[1], "_fields") else form[1](items)
    return value
