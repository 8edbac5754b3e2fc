"""The ctx of a Function, and its form as a pytree.

Under JAX's transformations what `forward` leaves for `backward` has to pass through traces, so the
ctx becomes a `Residual`: saved arrays and free attributes that are arrays are its leaves, other
free attributes its static part, which has to be hashable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .tape import MODE, Traced

Array = Any
_INTERNAL = frozenset({"_saved", "_mask", "_non_differentiable", "_materialize", "_used"})


class Context:
    """What carries from `forward` to `backward`; free attributes may be set on it.

    Attributes
    ----------
    saved_tensors : tuple of (jax.Array or None)
        What `save_for_backward` was given.
    needs_input_grad : tuple of bool
        One per positional input, true where its gradient is wanted.
    xp : module
        The array API namespace of the arrays in hand: ``jax.numpy``. `forward` and `backward` never
        see Tensors here: JAX follows the arrays themselves when a second derivative is wanted.
    """

    _saved: tuple[Array | None, ...] = ()
    _mask: tuple[bool, ...] = ()
    _non_differentiable: tuple[Array, ...] = ()
    _materialize: bool = True
    _used: bool = False

    @property
    def saved_tensors(self) -> tuple[Array | None, ...]:
        """What `save_for_backward` was given, in its order."""
        running = MODE.running
        while running is not None:
            if running[0] is self:
                return running[1]
            running = running[2]
        return self._saved

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """One flag per positional input: whether its gradient is wanted."""
        return self._mask

    @property
    def xp(self) -> Any:
        """The array API namespace of the arrays in hand, ``jax.numpy``."""
        return jnp

    def save_for_backward(self, *items: Array | None) -> None:
        """Keep raw arrays, those of Tensors, or None, for `saved_tensors`.

        Raises
        ------
        TypeError
            If an item is none of these.
        """
        items = tuple([raw(item) for item in items])
        for place, item in enumerate(items):
            if item is not None and not isinstance(item, jax.Array):
                msg = (
                    f"save_for_backward: item {place} is a {type(item).__name__}, wanted raw "
                    "arrays or None; set anything else as an attribute of the ctx"
                )
                raise TypeError(msg)
        self._saved = items

    def mark_non_differentiable(self, *outputs: Array) -> None:
        """Say that these outputs have no gradient."""
        self._non_differentiable = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether `backward` gets zeros (the default) or None for outputs nothing used."""
        self._materialize = bool(value)

    def mark_dirty(self, *_inputs: Array) -> None:
        """Refuse: Functions do not modify their inputs."""
        msg = "mark_dirty: Functions do not modify their inputs; return a new array instead"
        raise RuntimeError(msg)


def unrecorded(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a Function's own code: nothing goes on the tape, and JAX may still differentiate it."""
    mode = MODE
    enabled, inside = mode.enabled, mode.inside
    mode.enabled, mode.inside = False, "function"
    try:
        return fn(*args, **kwargs)
    finally:
        mode.enabled, mode.inside = enabled, inside


@dataclass(frozen=True)
class Layout:
    """The static part of a ctx, and of the call that it belongs to."""

    mask: tuple[bool, ...]
    materialize: bool
    saved: tuple[bool, ...]
    names: tuple[str, ...]
    trees: tuple[Any, ...]
    # Per attribute and leaf: (True, None) for an array, else (False, value).
    leaves: tuple[tuple[tuple[bool, Any], ...], ...]
    outputs: tuple[tuple[tuple[int, ...], Any], ...]
    differentiable: tuple[bool, ...]


@jax.tree_util.register_pytree_node_class
class Residual:
    """A ctx as a pytree: `arrays` are the leaves, `layout` the structure."""

    __slots__ = ("arrays", "layout")

    def __init__(self, arrays: list[Array], layout: Layout) -> None:
        self.arrays = arrays
        self.layout = layout

    def tree_flatten(self) -> tuple[list[Array], Layout]:
        """Return the arrays as leaves, and the layout as static data."""
        return self.arrays, self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, arrays: Any) -> "Residual":
        """Return a Residual of this layout with other leaves."""
        return cls(list(arrays), layout)


def pack(
    name: str,
    ctx: Context,
    before: dict[str, Any],
    outputs: tuple[Array, ...],
    differentiable: tuple[bool, ...],
) -> Residual:
    """Turn a ctx into a Residual.

    Parameters
    ----------
    name : str
        The Function's.
    ctx : Context
        After `forward`.
    before : dict
        The attributes that it had before; those that are still the same need not travel.

    Raises
    ------
    TypeError
        If a free attribute is neither array nor hashable; it names the attribute.
    """
    arrays = [item for item in ctx._saved if item is not None]
    free = {
        key: value
        for key, value in vars(ctx).items()
        if key not in _INTERNAL and not (key in before and before[key] is value)
    }
    trees, leaves = _flatten_attributes(name, free, arrays)
    layout = Layout(
        ctx._mask,
        ctx._materialize,
        tuple(item is not None for item in ctx._saved),
        tuple(free),
        trees,
        leaves,
        tuple((out.shape, out.dtype) for out in outputs),
        differentiable,
    )
    return Residual(arrays, layout)


def _flatten_attributes(
    name: str, free: dict[str, Any], arrays: list[Array]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the trees and the static leaves of free attributes; their arrays go into `arrays`."""
    trees, all_leaves = [], []
    for key, value in free.items():
        leaves, tree = jax.tree.flatten(value)
        entries = []
        for leaf in leaves:
            dynamic = isinstance(leaf, jax.Array | np.ndarray)
            if dynamic:
                arrays.append(leaf)
            else:
                _check_hashable(name, key, leaf)
            entries.append((dynamic, None if dynamic else leaf))
        trees.append(tree)
        all_leaves.append(tuple(entries))
    return tuple(trees), tuple(all_leaves)


def _check_hashable(name: str, key: str, value: Any) -> None:
    try:
        hash(value)
    except TypeError:
        msg = (
            f"{name}: ctx.{key} holds a {type(value).__name__}, which cannot be hashed; under "
            "JAX's transformations what is set on the ctx must be arrays or hashable"
        )
        raise TypeError(msg) from None


def unpack(residual: Residual, ctx: Context) -> Context:
    """Fill a new ctx from a Residual."""
    layout = residual.layout
    arrays = iter(residual.arrays)
    ctx._mask = layout.mask
    ctx._materialize = layout.materialize
    ctx._saved = tuple(next(arrays) if present else None for present in layout.saved)
    for key, tree, entries in zip(layout.names, layout.trees, layout.leaves, strict=True):
        leaves = [next(arrays) if dynamic else value for dynamic, value in entries]
        setattr(ctx, key, jax.tree.unflatten(tree, leaves))
    return ctx


def raw(value: Any) -> Any:
    """Return the array of what a Function's code made, also if it made it with `ops`."""
    return value._data if isinstance(value, Traced) else value
