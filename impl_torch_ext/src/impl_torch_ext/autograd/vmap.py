"""Functions of one slice, called for all slices at once."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch

from impl_torch_ext.checks import check_function, shown
from impl_torch_ext.tracing import slices_missing
from impl_torch_ext.trees import tree_flatten, tree_unflatten

__all__ = ["vmap"]


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that calls `fn` once for all slices of its arguments.

    Source: the pages of `jax.vmap` and `torch.func.vmap`, on which it stands.

    Parameters
    ----------
    fn : callable
        Takes Tensors of the shape of one slice, or nested dicts, lists and tuples of them, and
        returns such.
    in_axes : int, None, or tuple or list of them, or of structures of them
        The axis along which each argument is cut into slices; None for one that every slice gets
        whole. One entry for each positional argument, or one for all. Arguments by keyword are not
        cut.
    out_axes : int, None, or structure of them
        Where results have the axis of the slices. With None a result that depends on no slice is
        returned without it.

    Returns
    -------
    callable
        Takes arguments with one axis more, and returns what the calls on every slice would,
        stacked. Numbers that `fn` draws are drawn once, and are the same for every slice.

    Raises
    ------
    TypeError
        If `fn` cannot be called, an axis is no int, or what is cut or returned is no Tensor.
    ValueError
        If axes do not fit, nothing is cut or the slices are not equally many.
    RuntimeError
        If `fn` reads a value that depends on a slice, or writes one to a Module.
    """
    check_function("vmap", "fn", fn)

    @functools.wraps(fn)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree_flatten(args)
        axes = _axes_of_arguments(in_axes, args)
        size, axes = _number(leaves, axes)
        call = _Call(fn, structure, leaves, axes, kwargs)
        return call.results(size, out_axes)

    return mapped


class _Call:
    """One call of `fn` for all slices."""

    # What `fn` returned: its leaves, of which those that depend on a slice are torch.vmap's.
    outputs: list[Any]
    structure: Any

    def __init__(
        self, fn: Callable[..., Any], structure: Any, leaves: list[Any], axes: Any, kwargs: Any
    ) -> None:
        self.fn, self.arguments, self.leaves, self.kwargs = fn, structure, leaves, kwargs
        self.cut = [i for i, axis in enumerate(axes) if axis is not None]
        self.axes = axes

    def results(self, size: int, out_axes: Any) -> Any:
        """Return what `fn` returned, with the axis of the slices."""
        cut = [self.leaves[i] for i in self.cut]
        axes = [self.axes[i] for i in self.cut]
        if size == 0:  # autograd-58
            cut = [_one_slice(x, axis) for x, axis in zip(cut, axes, strict=True)]
        with slices_missing(size == 0):
            mapped = torch.vmap(self._on_slices, in_dims=tuple(axes), randomness="same")
            found = iter(mapped(*cut))
        # torch.vmap wants a result.
        next(found)
        both = zip(self.outputs, self.apart, strict=True)
        outputs = [next(found) if apart else y for y, apart in both]
        places = [*_entries("out_axes", out_axes, tree_unflatten(outputs, self.structure))]
        made = [
            _placed(y, apart, place, size)
            for y, apart, place in zip(outputs, self.apart, places, strict=True)
        ]
        return tree_unflatten(made, self.structure)

    def _on_slices(self, *cut: Tensor) -> tuple[Tensor, ...]:
        leaves = [*self.leaves]
        for i, x in zip(self.cut, cut, strict=True):
            leaves[i] = x
        output = self.fn(*tree_unflatten(leaves, self.arguments), **self.kwargs)
        self.outputs, self.structure = tree_flatten(output)
        for y in self.outputs:
            if not isinstance(y, Tensor):
                name = getattr(self.fn, "__name__", type(self.fn).__name__)
                msg = f"vmap: {name} must return Tensors, got {shown(y)} of {type(y).__name__}"
                raise TypeError(msg)
        level = _functorch.maybe_current_level()
        self.apart = [
            _functorch.is_batchedtensor(y) and _functorch.maybe_get_level(y) == level
            for y in self.outputs
        ]
        return cut[0], *(y for y, apart in zip(self.outputs, self.apart, strict=True) if apart)


def _one_slice(x: Tensor, axis: int) -> Tensor:
    """Return as one slice, of values that no check refuses, what has none: shapes come of it."""
    shape = [1 if i == axis % x.ndim else n for i, n in enumerate(x.shape)]
    if not (x.is_floating_point() or x.is_complex()):
        return x.new_zeros(shape)
    inner = [n for i, n in enumerate(x.shape) if i != axis % x.ndim]
    square = len(inner) > 1 and inner[-1] == inner[-2]
    filled = torch.eye(inner[-1], dtype=x.dtype).expand(inner) if square else x.new_ones(inner)
    return filled.unsqueeze(axis % x.ndim) + x.sum()


def _placed(y: Tensor, apart: bool, place: Any, size: int) -> Tensor:
    """Return a result with the axis of the slices, which is its first if it depends on them."""
    if place is None:
        if apart:
            msg = "vmap: out_axes must be an int for a result that depends on a slice, got None"
            raise ValueError(msg)
        return y
    ndim = y.ndim if apart else y.ndim + 1
    if not -ndim <= place < ndim:
        shape = tuple(y.shape[1:] if apart else y.shape)
        msg = f"vmap: out_axes {place} is out of range for a result of shape {shape} and one axis"
        raise ValueError(msg)
    axis = place % ndim
    if apart:
        return (y if size else y[:0]).movedim(0, axis)
    return y.unsqueeze(axis).expand([*y.shape[:axis], size, *y.shape[axis:]])


def _axes_of_arguments(in_axes: Any, args: tuple[Any, ...]) -> list[int | None]:
    """Return the axis of each leaf of the arguments, which are Tensors where it is not None."""
    if isinstance(in_axes, tuple | list):
        if len(in_axes) != len(args):
            msg = (
                f"vmap: in_axes must have one entry for each of {len(args)} positional arguments, "
                f"got {len(in_axes)}"
            )
            raise ValueError(msg)
        entries = [*in_axes]
    else:
        if in_axes is not None:
            _check_axis("in_axes", in_axes)
        entries = [in_axes] * len(args)
    axes: list[int | None] = []
    for place, (entry, arg) in enumerate(zip(entries, args, strict=True)):
        own = [*_entries("in_axes", entry, arg)]
        for axis, leaf in zip(own, tree_flatten(arg)[0], strict=True):
            if axis is not None and not isinstance(leaf, Tensor):
                msg = (
                    f"vmap: what is cut of argument {place} must be a Tensor, got "
                    f"{type(leaf).__name__ if leaf is not None else None}; in_axes None leaves it "
                    "whole"
                )
                raise TypeError(msg)
        axes += own
    return axes


def _entries(what: str, entry: Any, structure: Any) -> Iterator[int | None]:
    """Yield the entry of each leaf of a structure: that of the part that it lies in."""
    if entry is None or not isinstance(entry, dict | list | tuple):
        if entry is not None:
            _check_axis(what, entry)
        yield from [entry] * len(tree_flatten(structure)[0])
        return
    if isinstance(entry, dict):
        if not isinstance(structure, dict) or entry.keys() != structure.keys():
            _refuse_structure(what, entry, structure)
        for key, part in structure.items():
            yield from _entries(what, entry[key], part)
        return
    fits = isinstance(structure, tuple if isinstance(entry, tuple) else list)
    if not fits or len(entry) != len(structure):
        _refuse_structure(what, entry, structure)
    for own, part in zip(entry, structure, strict=True):
        yield from _entries(what, own, part)


def _refuse_structure(what: str, entry: Any, structure: Any) -> None:
    def described(x: Any) -> str:
        if isinstance(x, dict):
            return f"a dict with the keys {shown([*x])}"
        if isinstance(x, list | tuple):
            return f"a {type(x).__name__} of {len(x)}"
        return f"a {type(x).__name__}"

    msg = f"vmap: {what} must fit {described(structure)}, got {described(entry)}"
    raise ValueError(msg)


def _check_axis(what: str, axis: Any) -> None:
    if isinstance(axis, bool) or not isinstance(axis, int):
        msg = f"vmap: {what} must hold ints and None, got {shown(axis)} of {type(axis).__name__}"
        raise TypeError(msg)


def _number(leaves: Sequence[Any], axes: list[int | None]) -> tuple[int, list[int | None]]:
    """Return how many slices there are, and the axes counted from 0."""
    counted: list[int | None] = []
    found: int | None = None
    for x, axis in zip(leaves, axes, strict=True):
        if axis is None:
            counted.append(None)
            continue
        if not -x.ndim <= axis < x.ndim:
            msg = f"vmap: in_axes {axis} is out of range for the shape {tuple(x.shape)}"
            raise ValueError(msg)
        counted.append(axis % x.ndim)
        size = x.shape[axis]
        if found is not None and size != found:
            msg = f"vmap: arguments must be cut into as many slices each, got {found} and {size}"
            raise ValueError(msg)
        found = size
    if found is None:
        msg = "vmap: an argument must be cut, got in_axes None or no Tensor for all of them"
        raise ValueError(msg)
    return found, counted
