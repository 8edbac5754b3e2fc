"""Elements that are moved, repeated, padded and taken apart."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import (
    Axis,
    Shape,
    as_number,
    as_scalar,
    check_broadcast,
    check_choice,
    check_int,
    check_ints,
    check_number,
    check_sizes,
    known,
    normalize_axes,
    normalize_axis,
    refuse,
    refuse_type,
)
from ..recording import Primitive, as_integers, as_operand, dtype_of, is_array, shape_of
from ..tape import unwrap
from . import formulas as F
from . import lookups
from .families import FUNCTIONS, listed
from .plans import shape

Array = Any
_BAD = "ValueError\n    If an axis is out of range, or {} not fit.\nTypeError\n    If {} no int."


def _rolled(moves: tuple[tuple[int | None, int], ...], x: Array) -> Array:
    for axis, shift in moves:
        x = jnp.roll(x, shift, axis)
    return x


_flip = Primitive(lambda axes, x: jnp.flip(x, axes), "flip", F.nothing)
_roll = Primitive(_rolled, "roll", F.nothing)
_moveaxis = Primitive(lambda order, x: jnp.transpose(x, order), "moveaxis", F.nothing)


@shape(
    _flip,
    "axis : int, sequence of int or None\n    None for all axes.",
    "the shape of x",
    "ValueError\n    If an axis is out of range or named twice.",
)
def flip(x: Shape, /, *, axis: Axis = None) -> Shape | None:
    """Reverse the order along axes."""
    return normalize_axes("flip", axis, x)


@shape(
    _roll,
    "shift : int or tuple of int\n    One for all axes, or one for each.\n"
    "axis : int, tuple of int or None\n    None rolls all elements in C order.",
    "the shape of x",
    _BAD.format("the counts do", "a shift is"),
)
def roll(x: Shape, /, shift: int | tuple[int, ...], *, axis: Axis = None) -> Any:
    """Move elements along axes, those at the end to the beginning."""  # ops-43
    shifts = check_ints("roll", "shift", shift)
    if axis is None:
        if len(shifts) != 1:
            refuse("roll", "shift", "one where axis is None", shift)
        return ((None, shifts[0] % max(math.prod(x), 1)),)
    given = tuple(axis) if isinstance(axis, Sequence) and not isinstance(axis, str) else (axis,)
    axes = [normalize_axis("roll", place, x) for place in given]
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(shifts) != len(axes):
        refuse("roll", "shift", f"one, or as many as axis {axis}", shift)
    moves = dict.fromkeys(axes, 0)
    for place, by in zip(axes, shifts, strict=True):
        moves[place] = (moves[place] + by) % max(x[place], 1)
    return tuple(moves.items())


@shape(
    _moveaxis,
    "source, destination : int or tuple of int\n    As many of both, each once.",
    "the axes in another order",
    _BAD.format("the counts do", "an axis is"),
)
def moveaxis(
    x: Shape, source: int | tuple[int, ...], destination: int | tuple[int, ...], /
) -> Shape:
    """Put some axes in other places; the others keep their order."""
    first = normalize_axes("moveaxis", check_ints("moveaxis", "axis", source), x) or ()
    last = normalize_axes("moveaxis", check_ints("moveaxis", "axis", destination), x) or ()
    if len(first) != len(last):
        refuse("moveaxis", "source and destination", "as many", f"{source} and {destination}")
    target = dict(zip(last, first, strict=True))
    others = iter([axis for axis in range(len(x)) if axis not in first])
    return tuple([target[at] if at in target else next(others) for at in range(len(x))])


def _each(axis: int | None, count: int, x: Array) -> Array:
    """Return each element `count` times: stretched, so that gradients are added by pairs."""
    if axis is None:
        return _each(0, count, jnp.reshape(x, (-1,)))
    sizes = (*x.shape[: axis + 1], count, *x.shape[axis + 1 :])
    whole = (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :])
    return jnp.reshape(F.stretch(jnp.expand_dims(x, axis + 1), sizes), whole)


def _some(axis: int | None, often: bool, x: Array, indices: Array) -> Array:
    flat = jnp.reshape(x, (-1,)) if axis is None else x
    return lookups.take(axis or 0, often, flat, indices)


_repeat = Primitive(_each, "repeat", F.nothing)
_repeat_some = Primitive(_some, "repeat", F.all_but_first)


@listed(
    "x : Tensor or raw array\nrepeats : int or array of integers\n"
    "    One for all elements along the axis, or one for each.\n"
    "axis : int, optional\n    None repeats all elements in C order.",
    "the axis as long as the sum of the counts",
    "ValueError\n    If the axis is out of range, or counts are negative, too many or not known.\n"
    "TypeError\n    If `x` is no array, or counts are no integers.",
)
def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """Repeat elements along an axis, each as often as a count says."""
    x = as_operand("repeat", x)
    shape = shape_of(x)
    place = None if axis is None else normalize_axis("repeat", axis, shape)
    size = math.prod(shape) if place is None else shape[place]
    if not is_array(repeats):
        count = check_int("repeat", "repeats", repeats, "an int or integers")
        if count < 0:  # ops-43
            refuse("repeat", "repeats", "at least 0", count)
        check_sizes("repeat", (size, count))
        return _repeat((x,), place, count)
    counts = known("repeat", unwrap(as_integers("repeat", "repeats", repeats)))  # ops-52
    if counts.ndim > 1 or (counts.ndim == 1 and len(counts) not in (1, size)):
        refuse("repeat", "repeats", f"one count or {size}", f"shape {counts.shape}")
    if counts.size and counts.min() < 0:
        refuse("repeat", "repeats", "at least 0", int(counts.min()))
    if counts.size:
        check_sizes("repeat", (size, int(counts.max())))
    counts = np.broadcast_to(counts.reshape(-1), (size,)).astype(np.int64)
    often = bool(counts.size) and bool(counts.max() > lookups.FEW)
    return _repeat_some((x, np.repeat(np.arange(size), counts)), place, often)


def _tiled(counts: Shape, x: Array) -> Array:
    """Return copies beside each other: stretched, so that gradients are added by pairs."""
    ndim = max(len(counts), x.ndim)
    counts = (1,) * (ndim - len(counts)) + counts
    sizes = (1,) * (ndim - x.ndim) + x.shape
    pairs = list(zip(counts, sizes, strict=True))
    single = jnp.reshape(x, [part for _, size in pairs for part in (1, size)])
    copies = F.stretch(single, tuple([part for pair in pairs for part in pair]))
    return jnp.reshape(copies, [count * size for count, size in pairs])


_tile = Primitive(_tiled, "tile", F.nothing)


@shape(
    _tile,
    "repetitions : tuple of int\n    For the last axes; more of them add leading ones.",
    "each axis as often as its count",
    "ValueError\n    If a count is negative.\nTypeError\n    If a count is no int.",
)
def tile(x: Shape, repetitions: tuple[int, ...], /) -> Shape:
    """Put copies of an array beside each other."""
    counts = check_ints("tile", "repetitions", repetitions)
    if any([count < 0 for count in counts]):
        refuse("tile", "repetitions", "at least 0", counts)
    check_sizes("tile", (*x, *counts))
    return counts


def _padded(widths: tuple[tuple[int, int], ...], x: Array, value: Array) -> Array:
    return lax.pad(x, value, [(before, after, 0) for before, after in widths])


_pad = Primitive(_padded, "pad", F.nothing)


def _widths(pad_width: Any, shape: Shape) -> tuple[tuple[int, int], ...]:
    """Return a pair of widths for each axis."""
    wanted = f"an int, a pair, or a pair for each axis of shape {shape}"
    pairs: list[Shape]
    if not isinstance(pad_width, list | tuple):
        pairs = [(check_int("pad", "pad_width", pad_width, wanted),) * 2] * len(shape)
    elif all([isinstance(part, list | tuple) for part in pad_width]):
        pairs = [check_ints("pad", "pad_width", part) for part in pad_width]
    else:
        pairs = [check_ints("pad", "pad_width", pad_width)] * len(shape)
    if len(pairs) != len(shape) or any([len(p) != 2 or min(p) < 0 for p in pairs]):
        refuse("pad", "pad_width", f"{wanted}, none negative", pad_width)
    return tuple([(pair[0], pair[1]) for pair in pairs])


@listed(
    "x : Tensor or raw array\npad_width : int, pair of int or sequence of pairs\n"
    "    How many elements come before and after.\nmode : {'constant'}\n"
    "constant_values : number\n    Has the dtype of x.",
    "longer along each axis",
    "ValueError\n    If a width is negative or does not fit, or the mode is another.\n"
    "TypeError\n    If `x` is no array, a width no int, or the value no number.",
    "page of numpy.pad",
)
def pad(x: Any, pad_width: Any, /, mode: str = "constant", *, constant_values: float = 0) -> Any:
    """Put a number before and after the elements of each axis."""
    x = as_operand("pad", x)
    check_choice("pad", "mode", mode, ("constant",))
    number = as_number(constant_values)
    if not isinstance(number, complex):
        number = check_number("pad", "constant_values", number)
    value = as_scalar("pad", number, dtype_of(x))
    return _pad((x, value), _widths(pad_width, shape_of(x)))


_TUPLE = "tuple of Tensor, "


def _apart(axis: int, x: Array) -> tuple[Array, ...]:
    return tuple([lax.index_in_dim(x, at, axis, keepdims=False) for at in range(x.shape[axis])])


_unstack = Primitive(_apart, "unstack", F.nothing)


@listed(
    "x : Tensor or raw array\naxis : int",
    "as many as the axis is long, without it",
    "ValueError\n    If the axis is out of range.\nTypeError\n    If `x` is no array.",
    kind=_TUPLE,
)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """Take an array apart along an axis."""
    x = as_operand("unstack", x)
    place = normalize_axis("unstack", axis, shape_of(x))
    parts: tuple[Any, ...] = _unstack((x,), place) if shape_of(x)[place] else ()
    return parts


@listed(
    "arrays : Tensor or raw array",
    "each of the common shape",
    "ValueError\n    If the shapes do not broadcast.\nTypeError\n    If one is no array.",
    kind=_TUPLE,
)
def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    """Stretch arrays to their common shape."""
    operands = [as_operand("broadcast_arrays", array) for array in arrays]
    wanted = check_broadcast("broadcast_arrays", *[shape_of(operand) for operand in operands])
    return tuple([FUNCTIONS["broadcast_to"](operand, wanted) for operand in operands])


def _meshed(place: int, sizes: Shape, x: Array) -> Array:
    return F.stretch(jnp.reshape(x, (-1,) + (1,) * (len(sizes) - 1 - place)), sizes)


_meshgrid = Primitive(_meshed, "meshgrid", F.nothing)


@listed(
    "arrays : Tensor or raw array, one axis\nindexing : {'xy', 'ij'}\n"
    "    With 'xy' the first two axes of the results are exchanged.",
    "one for each array, all of one shape",
    "ValueError\n    If an array has not one axis, or `indexing` is another.\n"
    "TypeError\n    If one is no array.",
    kind=_TUPLE,
)
def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    """Return the coordinates of the points of a grid."""
    operands = [as_operand("meshgrid", array) for array in arrays]
    check_choice("meshgrid", "indexing", indexing, ("xy", "ij"))
    for operand in operands:
        if len(shape_of(operand)) != 1:
            refuse("meshgrid", "each array", "of one axis", f"shape {shape_of(operand)}")
    places = list(range(len(operands)))
    if indexing == "xy" and len(places) > 1:
        places[:2] = [1, 0]
    sizes = [0] * len(operands)
    for place, operand in zip(places, operands, strict=True):
        sizes[place] = shape_of(operand)[0]
    pairs = zip(places, operands, strict=True)
    return tuple([_meshgrid((operand,), place, tuple(sizes)) for place, operand in pairs])


@listed(
    "shapes : tuple of int",
    "the common shape",
    "ValueError\n    If the shapes do not broadcast, or a size is negative.\n"
    "TypeError\n    If a shape is no tuple of ints.",
    kind="tuple of int, ",
)
def broadcast_shapes(*shapes: tuple[int, ...]) -> Shape:
    """Return the shape that arrays of these shapes have together."""
    sizes = []
    for one in shapes:
        if not isinstance(one, list | tuple):
            refuse_type("broadcast_shapes", "each shape", "a tuple of ints", one)
        sizes.append(check_ints("broadcast_shapes", "each shape", one))
    for size in sizes:
        if min(size, default=0) < 0:
            refuse("broadcast_shapes", "each size", "at least 0", size)
    return check_broadcast("broadcast_shapes", *sizes)
