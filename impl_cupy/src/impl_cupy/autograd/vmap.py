"""`vmap`: a function of one slice, called once for all slices."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from impl_cupy.checks import type_name
from impl_cupy.slices import Undo, Within, WriteRefused, has_level, lift, lower
from impl_cupy.tape import handles, state
from impl_cupy.tensor import Tensor
from impl_cupy.trees import flatten, rebuilt

Axis = int | None


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Make the function that calls `fn` once, for all slices of its arguments.

    Parameters
    ----------
    fn : callable
        From Tensors, or structures of them, of the shape of a slice to a Tensor or a structure of
        Tensors.
    in_axes : int, None, or list or tuple with an entry for each positional argument
        Along which axis an argument is cut into slices; None for one that every slice gets whole.
        An entry may be a structure like its argument.
    out_axes : int, None, or structure of such
        Where the results have the axis of the slices; None for one that depends on no slice.

    Returns
    -------
    callable
        Of the same arguments, to the results of all slices, stacked. Those by keyword are not cut.

    Raises
    ------
    ValueError
        If nothing is cut, lengths differ, an axis is out of range or does not fit its structure.
    TypeError
        If `fn` cannot be called, an axis is no int, or what is cut or returned is no Tensor.
    RuntimeError
        If `fn` asks for the value of a slice, or would write it to a Module.
    """
    if not callable(fn):
        msg = f"vmap: fn must be callable, got {type_name(fn)}"
        raise TypeError(msg)

    @functools.wraps(fn)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        entries = _entries(in_axes, len(args))
        axes = [_axes("in_axes", arg, entry) for arg, entry in zip(args, entries, strict=True)]
        for place, (arg, entry) in enumerate(zip(args, entries, strict=True)):
            if arg is None and entry is not None:
                msg = f"vmap: argument {place} must be a Tensor to be cut, got None"
                raise TypeError(msg)
        count = _count(args, axes)
        level = state.levels[-1][0] + 1 if state.levels else 1
        cut = [_cut(arg, own, level) for arg, own in zip(args, axes, strict=True)]
        with Undo() as undo, Within((*state.levels, (level, count))):
            try:
                result = fn(*cut, **kwargs)
            except WriteRefused:
                undo.run()
                raise
        return _put_together(result, out_axes, level, count)

    return mapped


def _entries(in_axes: Any, count: int) -> list[Any]:
    """Return an entry of `in_axes` for each argument."""
    if isinstance(in_axes, (list, tuple)):
        if len(in_axes) != count:
            msg = f"vmap: in_axes has {len(in_axes)} entries, but there are {count} arguments"
            raise ValueError(msg)
        return list(in_axes)
    if in_axes is not None:
        _check_axis("in_axes", in_axes)
    return [in_axes] * count


def _check_axis(argument: str, axis: Any) -> None:
    if isinstance(axis, bool) or not isinstance(axis, int):
        msg = f"vmap: {argument} must hold ints and None, got {type_name(axis)}"
        raise TypeError(msg)


def _axes(argument: str, value: Any, entry: Any) -> list[Axis]:
    """List the axes of what hangs in a structure.

    Raises
    ------
    ValueError
        If the entry is another structure.
    TypeError
        If it holds what is no axis.
    """
    if isinstance(entry, dict):
        if not isinstance(value, dict) or value.keys() != entry.keys():
            _refuse_structure(argument, value, entry)
        return [axis for key in value for axis in _axes(argument, value[key], entry[key])]
    if isinstance(entry, (list, tuple)):
        kind = list if isinstance(entry, list) else tuple
        if not isinstance(value, kind) or len(value) != len(entry):
            _refuse_structure(argument, value, entry)
        pairs = zip(value, entry, strict=True)
        return [axis for part, own in pairs for axis in _axes(argument, part, own)]
    if entry is not None:
        _check_axis(argument, entry)
    return [entry] * len(flatten(value))


def _refuse_structure(argument: str, value: Any, entry: Any) -> None:
    def described(structure: Any) -> str:
        if isinstance(structure, dict):
            return f"{type_name(structure)} of the keys {[*structure]}"
        if isinstance(structure, (list, tuple)):
            return f"{type_name(structure)} of {len(structure)}"
        return type_name(structure)

    msg = f"vmap: {argument} has {described(entry)} where there is {described(value)}"
    raise ValueError(msg)


def _count(args: tuple[Any, ...], axes: list[list[Axis]]) -> int:
    """Return how many slices there are, and refuse what cannot be cut."""
    found: int | None = None
    for place, (arg, own) in enumerate(zip(args, axes, strict=True)):
        for leaf, axis in zip(flatten(arg), own, strict=True):
            if axis is None:
                continue
            if not isinstance(leaf, Tensor):
                msg = f"vmap: argument {place} must hold Tensors to be cut, got {type_name(leaf)}"
                raise TypeError(msg)
            if not -leaf.ndim <= axis < leaf.ndim:
                msg = f"vmap: in_axes has the axis {axis}, out of range for shape {leaf.shape}"
                raise ValueError(msg)
            length = leaf.shape[axis]
            if found is not None and length != found:
                msg = (
                    f"vmap: axes that are cut must have one length, got {found} and {length} in "
                    f"argument {place}"
                )
                raise ValueError(msg)
            found = length
    if found is None:
        msg = "vmap: in_axes must cut at least one Tensor among the arguments, got none"
        raise ValueError(msg)
    return found


def _cut(arg: Any, axes: list[Axis], level: int) -> Any:
    """Return an argument with slices in the place of what is cut."""
    if all(axis is None for axis in axes):
        return arg
    pairs = zip(flatten(arg), axes, strict=True)
    leaves = [leaf if axis is None else _slices(leaf, axis, level) for leaf, axis in pairs]
    return rebuilt(arg, leaves)


def _slices(leaf: Tensor, axis: int, level: int) -> Any:
    return lift(handles.moveaxis(leaf, axis, 0) if axis % leaf.ndim else leaf, level)


def _put_together(result: Any, out_axes: Any, level: int, count: int) -> Any:
    """Return the results with the axis of the slices in sight."""
    leaves = flatten(result)
    for leaf in leaves if result is not None else [None]:
        if not isinstance(leaf, Tensor):
            msg = f"vmap: fn must return Tensors or structures of them, got {type_name(leaf)}"
            raise TypeError(msg)
    axes = _axes("out_axes", result, out_axes)
    return rebuilt(result, [_whole(*pair, level, count) for pair in zip(leaves, axes, strict=True)])


def _whole(leaf: Tensor, axis: Axis, level: int, count: int) -> Any:
    is_cut = has_level(leaf, level)
    if axis is None:
        if is_cut:
            msg = "vmap: out_axes must be an int for a result that depends on a slice, got None"
            raise ValueError(msg)
        return leaf
    ndim = leaf.ndim + 1
    if not -ndim <= axis < ndim:
        msg = f"vmap: out_axes has the axis {axis}, out of range for slices of shape {leaf.shape}"
        raise ValueError(msg)
    wide = lower(leaf, level) if is_cut else handles.broadcast_to(leaf, (count, *leaf.shape))
    return handles.moveaxis(wide, 0, axis) if axis % ndim else wide
