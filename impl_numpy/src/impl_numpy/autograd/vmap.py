"""`vmap`: a function of one slice, run for all slices at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import impl_numpy.batched.matrices  # noqa: F401 - the rules are entered when it is imported
from impl_numpy.batched import JOURNALS, USED, Level, NotKnown, has
from impl_numpy.by_slice import entered, left_with
from impl_numpy.checks import check_callable, shown
from impl_numpy.memory import next_age
from impl_numpy.tensor import Tensor
from impl_numpy.trees import tree_leaves, tree_map, tree_rebuilt


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that gives what `fn` gives for every slice of its arguments, stacked.

    `fn` is called once, on Tensors of the shape of one slice. Derivatives go through the result,
    and functions made by `grad` and the like may be mapped.

    Parameters
    ----------
    fn : callable
        Takes Tensors, structures of them and, where nothing is cut, anything else; returns a
        Tensor or a structure of them.
    in_axes : int, None, or list or tuple with one entry for each positional argument
        Along which axis an argument is cut; None: every slice gets it whole. An entry may be a
        structure of such, of the argument's form. Arguments by keyword are never cut.
    out_axes : int, None or structure of them
        Where the results have the axis of the slices; None: a result that depends on no slice is
        returned without.

    Returns
    -------
    callable

    Raises
    ------
    TypeError
        If `fn` cannot be called, an axis is no int, an argument that is cut or a result holds
        what is no Tensor.
    ValueError
        If nothing is cut, lengths differ, an axis is out of range, or `in_axes` or `out_axes` does
        not fit.
    RuntimeError
        From `fn`, where it wants the value of what depends on a slice, or writes that to a Module.

    Notes
    -----
    As torch.func.vmap and jax.vmap. Random numbers are drawn once, for all slices the same. A
    Function that reads values runs once for each slice, and a warning says so.
    """
    check_callable("vmap", "fn", fn)

    @functools.wraps(fn, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        axes = _axes_of_arguments(in_axes, args)
        level = Level(_length(args, axes), next_age())
        if not USED:
            USED.append(None)
        undo: list[Callable[[], None]] = []
        JOURNALS.open.append(undo)
        try:
            leaves, entries = tree_leaves(args), list(_entries(axes))
            slices = [
                x if axis is None else entered(x, level, axis)
                for x, axis in zip(leaves, entries, strict=True)
            ]
            result = fn(*tree_rebuilt(args, slices), **kwargs)
            return _left(result, level, out_axes)
        except NotKnown:
            # What was written before is undone: the call changes no Module (autograd-56).
            while undo:
                undo.pop()()
            raise
        finally:
            level.active = False
            JOURNALS.open.pop()

    return mapped


class _Axis:
    """An entry of `in_axes` that stands for one leaf, so that None is no missing one."""

    __slots__ = ("axis",)

    def __init__(self, axis: int | None) -> None:
        self.axis = axis


def _entries(axes: Any) -> Iterator[int | None]:
    return (entry.axis for entry in tree_leaves(axes))


def _plain(name: str, entry: Any) -> int | None:
    """Return an axis, or raise TypeError for what is none."""
    if entry is None:
        return None
    if isinstance(entry, (bool, np.bool)) or not isinstance(entry, (int, np.integer)):
        got = f"{shown(entry)} ({type(entry).__name__})"
        msg = f"vmap: {name} must be of ints and None, in structures like the others', got {got}"
        raise TypeError(msg)
    return int(entry)


def _check_kinds(name: str, entry: Any) -> None:
    """Raise TypeError for what is no axis anywhere in a structure."""
    for x in tree_leaves(entry):
        _plain(name, x)


def _axes_of_arguments(in_axes: Any, args: tuple[Any, ...]) -> Any:
    """Return the axis of each leaf of the arguments, in their structure."""
    if isinstance(in_axes, (list, tuple)):
        _check_kinds("in_axes", in_axes)
        if len(in_axes) != len(args):
            msg = f"vmap: in_axes has {len(in_axes)} entries for {len(args)} arguments"
            raise ValueError(msg)
        entries = list(in_axes)
    else:
        entries = [_plain("in_axes", in_axes)] * len(args)
    return tuple(
        [
            _fitted("in_axes", entry, x, place)
            for place, (entry, x) in enumerate(zip(entries, args, strict=True))
        ]
    )


def _fitted(name: str, entry: Any, tree: Any, place: int | None) -> Any:
    """Return the axis of each leaf of a tree, for an entry or a structure of such."""
    if not isinstance(entry, (dict, list, tuple)):
        axis = _plain(name, entry)
        return tree_map(lambda x: _of_leaf(name, axis, x, place), tree)
    what = f"a {type(entry).__name__} of {len(entry)}"
    got = f"a {type(tree).__name__}"
    kind = next(kind for kind in (dict, list, tuple) if isinstance(entry, kind))
    held: Any = tree
    if isinstance(tree, kind) and len(entry) == len(tree):
        if not isinstance(entry, dict):
            parts = [_fitted(name, e, x, place) for e, x in zip(entry, tree, strict=True)]
            return tuple(parts)
        if entry.keys() == held.keys():
            return {key: _fitted(name, entry[key], x, place) for key, x in held.items()}
    if isinstance(tree, (dict, list, tuple)):
        keys = f" with {', '.join([shown(key) for key in tree])}" if isinstance(tree, dict) else ""
        got = f"{got} of {len(tree)}{keys}"
    where = f"argument {place}" if place is not None else "the result"
    msg = f"vmap: {name} has {what} where {where} has {got}"
    raise ValueError(msg)


def _of_leaf(name: str, axis: int | None, x: Any, place: int | None) -> _Axis:
    """Return the axis of a Tensor, counted from 0."""
    if place is None:
        return _Axis(axis)
    if axis is None:
        return _Axis(None)
    if not isinstance(x, Tensor):
        got = "None" if x is None else f"{shown(x)} ({type(x).__name__})"
        msg = f"vmap: argument {place} is cut into slices and must be of Tensors, got {got}"
        raise TypeError(msg)
    if not -x.ndim <= axis < x.ndim:
        msg = f"vmap: {name} has axis {axis}, out of range for argument {place} of shape {x.shape}"
        raise ValueError(msg)
    return _Axis(axis % x.ndim)


def _length(args: Any, axes: Any) -> int:
    """Return how many slices there are."""
    lengths = [
        x.shape[axis]
        for x, axis in zip(tree_leaves(args), _entries(axes), strict=True)
        if axis is not None
    ]
    if not lengths:
        msg = "vmap: no argument has a Tensor that in_axes cuts into slices"
        raise ValueError(msg)
    other = next((n for n in lengths if n != lengths[0]), None)
    if other is not None:
        msg = f"vmap: the axes that are cut must be of one length, got {lengths[0]} and {other}"
        raise ValueError(msg)
    return int(lengths[0])


def _left(result: Any, level: Level, out_axes: Any) -> Any:
    """Return the results with the axis of the slices."""
    for x in tree_leaves(result):
        if not isinstance(x, Tensor):
            msg = (
                "vmap: the function must return a Tensor or a structure of them, returned "
                f"{shown(x)} ({type(x).__name__})"
            )
            raise TypeError(msg)
    _check_kinds("out_axes", out_axes)
    entries = _entries(_fitted("out_axes", out_axes, result, None))
    leaves = tree_leaves(result)
    return tree_rebuilt(
        result, [_out(x, level, axis) for x, axis in zip(leaves, entries, strict=True)]
    )


def _out(x: Tensor, level: Level, axis: int | None) -> Tensor:
    if axis is None:
        if has(x._data, level):
            msg = "vmap: out_axes is None for a result that depends on a slice; name an axis"
            raise ValueError(msg)
        return left_with(x, level, None)
    if not -x.ndim - 1 <= axis <= x.ndim:
        msg = (
            f"vmap: out_axes has axis {axis}, out of range for the slices stacked, of "
            f"{x.ndim + 1} axes"
        )
        raise ValueError(msg)
    return left_with(x, level, axis % (x.ndim + 1))
