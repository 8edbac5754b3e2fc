"""Functions that turn, repeat and pad: elements along their axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from impl_numpy.batched import Batched, NotKnown
from impl_numpy.checks import (
    as_number,
    check_choice,
    check_count,
    check_diagonal,
    check_fits,
    check_indices,
    check_int,
    check_items,
    check_scalar,
    check_sizes,
    normalize_axes,
    normalize_axis,
    shown,
)
from impl_numpy.dtypes import Axis, Shape, Value, bool_
from impl_numpy.ops.families import REGISTRY, registered, rule, spread_to
from impl_numpy.recording import RULES, Grads, Primitive, unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor

_FRAME = """Parameters
----------
{parameters}

Returns
-------
{result}

Raises
------
ValueError
    If an axis, a count or a shape does not fit.
TypeError
    If an argument is of another kind."""


def _frame(parameters: str, result: str = "Tensor") -> str:
    return _FRAME.format(parameters=parameters, result=result)


_X = "x : Tensor or raw array\n"


def _flip_vjp(grad: Value, needs: Parents, x: None, out: None, axes: Shape) -> Grads:
    return (_flipped(grad, axes),)


def _roll_vjp(grad: Value, needs: Parents, x: None, out: None, shifts: Shape, axes: Shape) -> Grads:
    return (_rolled(grad, tuple([-n for n in shifts]), axes),)


def _pad_vjp(grad: Value, needs: Parents, x: None, out: None, widths: Any, value: Any) -> Grads:
    ends = zip(widths, grad.shape, strict=True)
    return (grad[tuple([slice(start, n - stop) for (start, stop), n in ends])],)


_flipped = rule(Primitive("flip", np.flip, _flip_vjp))
_rolled = rule(Primitive("roll", np.roll, _roll_vjp))


def _pad(x: Any, widths: tuple[Shape, ...], value: Any) -> Any:
    # `np.pad` takes no array without axes.
    return np.pad(x, widths, constant_values=value) if widths else x.copy()


_padded = rule(Primitive("pad", _pad, _pad_vjp))
_lower: Primitive = rule(Primitive("tril", np.tril, lambda g, needs, x, out, k: (_lower(g, k),)))
_upper: Primitive = rule(Primitive("triu", np.triu, lambda g, needs, x, out, k: (_upper(g, k),)))


@registered(
    "flip",
    "Return the elements in the opposite order.",
    _frame(_X + "axis : int or tuple of int, optional\n    Left out, all axes."),
)
def flip(x: Any, /, *, axis: Axis = None) -> Tensor:
    x = as_tensor("flip", x)
    result: Tensor = unary(_flipped, x, (normalize_axes("flip", axis, x.shape),))
    return result


@registered(
    "roll",
    "Return the elements moved on, and those past the end put in front.",
    _frame(
        _X + "shift : int or tuple of int\naxis : int or tuple of int, optional\n"
        "    Left out, the flattened array is rolled."
    ),
)
def roll(x: Any, /, shift: Any, *, axis: Axis = None) -> Tensor:  # ops-43
    x = as_tensor("roll", x)
    several = isinstance(shift, (tuple, list))
    if axis is None:
        if several and len(shift) == 1:
            (shift,), several = shift, False
        if several:
            msg = f"roll: several shifts need as many axes, got {shown(shift)} for shape {x.shape}"
            raise ValueError(msg)
        flat = unary(RULES["reshape"], x, ((math.prod(x.shape),), x.shape))
        rolled = unary(_rolled, flat, ((check_int("roll", "shift", shift),), (0,)))
        return rolled.reshape(x.shape)
    places = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple([normalize_axis("roll", k, x.shape) for k in places])
    given = shift if several else (shift,) * len(axes)
    shifts = tuple([check_int("roll", "shift", n) for n in given])
    if len(shifts) != len(axes):
        msg = (
            f"roll: shift {shown(shift)} and axis {shown(axis)} must be as many for shape {x.shape}"
        )
        raise ValueError(msg)
    result: Tensor = unary(_rolled, x, (shifts, axes))
    return result


@registered(
    "moveaxis",
    "Return the axes in another order: some moved, the others as they stood.",
    _frame(_X + "source, destination : int or tuple of int\n    As many of each."),
)
def moveaxis(x: Any, source: Axis, destination: Axis, /) -> Tensor:  # ops-43
    x = as_tensor("moveaxis", x)
    if source is None or destination is None:
        msg = "moveaxis: source and destination must be ints or tuples of ints, got None"
        raise TypeError(msg)
    start = normalize_axes("moveaxis", source, x.shape)
    stop = normalize_axes("moveaxis", destination, x.shape)
    if len(start) != len(stop):
        msg = f"moveaxis: source {shown(source)} and destination {shown(destination)} must fit"
        raise ValueError(msg)
    rest = iter([k for k in range(x.ndim) if k not in start])
    placed = dict(zip(stop, start, strict=True))
    order = tuple([placed[k] if k in placed else next(rest) for k in range(x.ndim)])
    result: Tensor = unary(RULES["permute_dims"], x, (order,))
    return result


@registered(
    "repeat",
    "Return each element so many times.",
    _frame(
        _X + "repeats : int, or Tensor or raw array of integers\n    One, or one for each element "
        "of the axis.\naxis : int, optional\n    Left out, the array is flattened."
    ),
)
def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Tensor:  # ops-43
    x = as_tensor("repeat", x)
    if axis is None:
        x = x.reshape((math.prod(x.shape),))
    place = normalize_axis("repeat", 0 if axis is None else axis, x.shape)
    n = x.shape[place]
    number = as_number(repeats)
    if number is not None:
        counts: Any = np.asarray(check_count("repeat", "repeats", number))
    else:
        counts = check_indices("repeat", "repeats", repeats)
        if type(counts) is Batched:
            msg = "vmap: repeat by counts that depend on a slice has a shape that is not known"
            raise NotKnown(msg)
        if counts.ndim > 1 or counts.size not in (1, n):
            msg = f"repeat: repeats must be one or {n} for shape {x.shape}, got {counts.shape}"
            raise ValueError(msg)
        if counts.size and counts.min() < 0:
            msg = f"repeat: repeats must not be negative, got {counts.min()}"
            raise ValueError(msg)
    check_sizes((int(counts.sum()) * (n if counts.size == 1 else 1),), "repeat")
    chosen = np.repeat(np.arange(n), counts)
    key = (*(slice(None),) * place, chosen)
    result: Tensor = unary(RULES["getitem"], x, (key, x.shape))
    return result


@registered(
    "tile",
    "Return x beside itself, so many times along each axis.",
    _frame(_X + "repetitions : tuple of int\n    Those of the last axes, and of axes before."),
)
def tile(x: Any, repetitions: Shape, /) -> Tensor:  # ops-43
    x = as_tensor("tile", x)
    items = check_items("tile", "repetitions", repetitions, "a tuple of ints")
    counts = tuple([check_count("tile", "a repetition", n) for n in items])
    axes = max(x.ndim, len(counts))
    counts = (*(1,) * (axes - len(counts)), *counts)
    sizes = (*(1,) * (axes - x.ndim), *x.shape)
    pairs = list(zip(counts, sizes, strict=True))
    wide = check_sizes(tuple([n for pair in pairs for n in pair]), "tile")
    apart = x.reshape(tuple([n for size in sizes for n in (1, size)]))
    return spread_to(apart, wide, x.dtype).reshape(tuple([a * b for a, b in pairs]))


@registered(
    "pad",
    "Return x with a border.",
    _frame(
        _X + "pad_width : int, pair of int, or a pair for each axis\n    How many before and after."
        "\nmode : 'constant'\nconstant_values : number"
    ),
    "numpy.pad",
)
def pad(
    x: Any, pad_width: Any, /, mode: str = "constant", *, constant_values: float = 0
) -> Tensor:  # ops-43
    x = as_tensor("pad", x)
    check_choice("pad", "mode", mode, ("constant",))
    value = check_scalar("pad", "constant_values", constant_values, x.dtype)
    check_fits("pad", value, x.dtype)
    widths = _widths(pad_width, x.shape)
    check_sizes(tuple([n + sum(pair) for n, pair in zip(x.shape, widths, strict=True)]), "pad")
    result: Tensor = unary(_padded, x, (widths, x.dtype.type(value)))
    return result


def _widths(given: Any, shape: Shape) -> tuple[Shape, ...]:
    """Return how many elements are put before and after, for each axis."""
    number = as_number(given)
    if number is not None:
        return ((check_count("pad", "pad_width", number),) * 2,) * len(shape)
    items = check_items("pad", "pad_width", given, "an int, a pair, or a pair for each axis")
    if all([as_number(item) is not None for item in items]) and (items or shape):
        items = [items] * len(shape)
    pairs = [check_items("pad", "pad_width", item, "pairs of ints") for item in items]
    if len(pairs) != len(shape) or any([len(pair) != 2 for pair in pairs]):
        msg = f"pad: pad_width must be a pair for each axis of shape {shape}, got {shown(given)}"
        raise ValueError(msg)
    return tuple([tuple([check_count("pad", "pad_width", n) for n in pair]) for pair in pairs])


def _triangle(name: str, primitive: Primitive, summary: str) -> Any:
    """Make a function that keeps one side of a diagonal of matrices."""
    diagonal = "k : int\n    The diagonal, counted from the main one upwards."

    @registered(name, summary, _frame("x : Tensor or raw array, shape (..., M, N)\n" + diagonal))
    def apply(x: Any, /, *, k: int = 0) -> Tensor:
        x = as_tensor(name, x, passing=True)
        if x.ndim < 2:
            msg = f"{name}: wants at least two axes, got shape {x.shape}"
            raise ValueError(msg)
        result: Tensor = unary(primitive, x, (check_diagonal(name, k, x.shape),))
        return result

    return apply


tril = _triangle("tril", _lower, "Return matrices with 0 above a diagonal.")  # ops-43
triu = _triangle("triu", _upper, "Return matrices with 0 below a diagonal.")  # ops-43


@registered(
    "unstack",
    "Return the arrays along an axis.",
    _frame(_X + "axis : int", "tuple of Tensor, each without the axis"),
)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    x = as_tensor("unstack", x)
    place = normalize_axis("unstack", axis, x.shape)
    lead = (slice(None),) * place
    return tuple([x[(*lead, k)] for k in range(x.shape[place])])


def _common(name: str, shapes: Sequence[Shape]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        msg = f"{name}: the shapes {' and '.join(map(str, shapes))} do not broadcast"
        raise ValueError(msg) from None


@registered(
    "broadcast_shapes",
    "Return the shape to which shapes broadcast.",
    _frame("shapes : tuple of int", "tuple of int"),
)
def broadcast_shapes(*shapes: Shape) -> Shape:
    sizes = [check_sizes(shape, "broadcast_shapes") for shape in shapes]
    return _common("broadcast_shapes", sizes)


@registered(
    "broadcast_arrays",
    "Return arrays repeated to their common shape.",
    _frame("arrays : Tensor or raw array, shapes that broadcast", "tuple of Tensor"),
)
def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    tensors = [as_tensor("broadcast_arrays", x) for x in arrays]
    to = _common("broadcast_arrays", [x.shape for x in tensors])
    return tuple([spread_to(x, to, x.dtype) for x in tensors])


@registered(
    "meshgrid",
    "Return the coordinates of the points of a grid.",
    _frame(
        "arrays : Tensor or raw array, shape (N,)\nindexing : 'xy' or 'ij'\n    Whether the first "
        "two axes of the result are exchanged.",
        "tuple of Tensor, one for each array, of the shape of the grid",
    ),
)
def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    check_choice("meshgrid", "indexing", indexing, ("xy", "ij"))
    tensors = [as_tensor("meshgrid", x) for x in arrays]
    count = len(tensors)
    for x in tensors:
        if x.ndim != 1:
            msg = f"meshgrid: each array must have one axis, got shape {x.shape}"
            raise ValueError(msg)
    order = list(range(count))
    if indexing == "xy" and count > 1:
        order[:2] = [1, 0]
    apart = [
        x.reshape(tuple([x.shape[0] if k == place else 1 for k in range(count)]))
        for x, place in zip(tensors, order, strict=True)
    ]
    to = check_sizes(_common("meshgrid", [x.shape for x in apart]), "meshgrid")
    return tuple([spread_to(x, to, x.dtype) for x in apart])


@registered(
    "diff",
    "Return the differences of neighbours along an axis.",
    _frame(
        _X + "axis : int\nn : int\n    How many times.\n"
        "prepend, append : Tensor or raw array, optional\n    What stands before and after x."
    ),
)
def diff(
    x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Tensor:  # ops-42
    x = as_tensor("diff", x)
    place = normalize_axis("diff", axis, x.shape)
    times = check_count("diff", "n", n)
    parts = [
        as_tensor("diff", part, name)
        for part, name in ((prepend, "prepend"), (x, "x"), (append, "append"))
        if part is not None
    ]
    if all([part.dtype == bool_ for part in parts]):
        msg = "diff: booleans have no difference, got bool; cast with astype first"  # tensor-40
        raise TypeError(msg)
    for part in parts:
        if _others(part.shape, place) != _others(x.shape, place) or part.ndim != x.ndim:
            msg = f"diff: shape {part.shape} does not fit {x.shape} along axis {axis}"
            raise ValueError(msg)
    whole = x if len(parts) == 1 else REGISTRY["concat"](parts, axis=place)
    lead = (slice(None),) * place
    for _ in range(min(times, whole.shape[place])):
        whole = whole[(*lead, slice(1, None))] - whole[(*lead, slice(None, -1))]
    return whole


def _others(shape: Shape, place: int) -> Shape:
    return (*shape[:place], *shape[place + 1 :])
