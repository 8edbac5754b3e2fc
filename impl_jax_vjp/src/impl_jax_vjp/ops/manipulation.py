"""The same elements in another shape or order, and several arrays joined into one."""

from collections.abc import Sequence
from math import prod
from typing import Any

import jax.numpy as jnp

from ..checks import (
    Axis,
    Shape,
    check_broadcast,
    check_sizes,
    normalize_axes,
    normalize_axis,
    refuse,
    refuse_type,
)
from ..recording import Primitive, shape_of
from . import formulas as F
from .families import FUNCTIONS
from .plans import join, shape

_reshape = Primitive(lambda shape, x: jnp.reshape(x, shape), "reshape", F.nothing)
_permute_dims = Primitive(lambda axes, x: jnp.transpose(x, axes), "permute_dims", F.nothing)
_broadcast_to = Primitive(lambda shape, x: F.stretch(x, shape), "broadcast_to", F.nothing)

_BAD_AXIS = "ValueError\n    If an axis is out of range or named twice, or its size does not fit."
_BAD_SIZES = "ValueError\n    If the sizes do not fit.\nTypeError\n    If a size is no int."


@shape(
    _reshape,
    "shape : int or sequence of int\n    One size may be -1.\n"
    "copy : bool, optional\n    No matter here: arrays cannot change.",
    "of that shape, in C order",
    _BAD_SIZES,
)
def reshape(x: Shape, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Shape:
    """Return the same elements in C order in another shape, one size of which may be -1."""
    del copy  # ops-17: arrays of JAX cannot change, so a copy is not told from the original.
    sizes = list(check_sizes("reshape", shape, least=-1))
    count = prod(x)
    if sizes.count(-1) == 1:
        rest = prod([size for size in sizes if size != -1])
        if rest and count % rest == 0:
            sizes[sizes.index(-1)] = count // rest
    if -1 in sizes or prod(sizes) != count:
        wanted = f"of the {count} elements of shape {x}"
        refuse("reshape", "the new shape", wanted, check_sizes("reshape", shape, least=-1))
    return tuple(sizes)


@shape(
    _permute_dims, "axes : sequence of int", "shape ``tuple(x.shape[a] for a in axes)``", _BAD_AXIS
)
def permute_dims(x: Shape, /, axes: Sequence[int]) -> Shape:
    """Put the axes in another order."""
    if not isinstance(axes, Sequence) or isinstance(axes, str):
        refuse_type("permute_dims", "axes", "a sequence of ints", axes)
    order = normalize_axes("permute_dims", axes, x) or ()
    if len(order) != len(x):
        refuse("permute_dims", f"axes of shape {x}", "each of its axes once", tuple(axes))
    return order


@shape(
    _reshape,
    "axis : int or tuple of int\n    Places in the result.",
    "with axes of length 1 inserted",
    _BAD_AXIS,
)
def expand_dims(x: Shape, /, axis: int | tuple[int, ...]) -> Shape:
    """Insert axes of length 1."""
    count = len(axis) if isinstance(axis, Sequence) else 1
    places = normalize_axes("expand_dims", axis, x, extra=count)  # ops-18
    if places is None:
        msg = "expand_dims: axis must be an int or a tuple of ints, got None"
        raise TypeError(msg)
    sizes = iter(x)
    return tuple([1 if place in places else next(sizes) for place in range(len(x) + count)])


@shape(_reshape, "axis : int or sequence of int", "without these axes", _BAD_AXIS)
def squeeze(x: Shape, /, axis: int | Sequence[int]) -> Shape:
    """Remove axes of length 1."""
    axes = normalize_axes("squeeze", axis, x)
    if axes is None:
        msg = "squeeze: axis must be an int or a sequence of ints, got None"
        raise TypeError(msg)
    for place in axes:
        if x[place] != 1:
            refuse("squeeze", f"axis {place} of shape {x}", "of length 1", x[place])
    return tuple([size for place, size in enumerate(x) if place not in axes])


@shape(_broadcast_to, "shape : sequence of int", "of that shape", _BAD_SIZES)
def broadcast_to(x: Shape, /, shape: Sequence[int]) -> Shape:
    """Stretch axes of length 1, and add leading ones, to reach `shape`."""
    wanted = check_sizes("broadcast_to", shape)  # ops-20
    if len(wanted) < len(x) or check_broadcast("broadcast_to", x, wanted) != wanted:
        refuse("broadcast_to", "shape", f"one that {x} can be stretched to", wanted)
    return wanted


@join(
    jnp.concatenate,
    "shape (..., sum of M_i, ...) of arrays of shapes (..., M_i, ...)",
    "ValueError\n    If there are no arrays, the axis is out of range or other sizes differ.",
)
def concat(operands: list[Any], axis: Axis) -> tuple[list[Any], int]:
    """Join arrays along an axis that they have; ``axis=None`` flattens them first."""
    if axis is None:
        operands, axis = [FUNCTIONS["reshape"](operand, (-1,)) for operand in operands], 0
    shapes = [shape_of(operand) for operand in operands]
    place = normalize_axis("concat", axis, shapes[0])
    if len({(len(s), *s[:place], *s[place + 1 :]) for s in shapes}) > 1:
        refuse("concat", "shapes", f"equal beside axis {axis}", " and ".join(map(str, shapes)))
    return operands, place


@join(
    jnp.stack,
    "of one axis more",
    "ValueError\n    If there are no arrays, the axis is out of range or the shapes differ.",
)
def stack(operands: list[Any], axis: Axis) -> tuple[list[Any], int]:
    """Join arrays of one shape along a new axis."""
    shapes = [shape_of(operand) for operand in operands]
    if len(set(shapes)) > 1:
        refuse("stack", "shapes", "equal", " and ".join(map(str, shapes)))
    return operands, normalize_axis("stack", axis, shapes[0], extra=1)
