"""Sorting, searching and sets."""

from __future__ import annotations

from typing import Any, NamedTuple

from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_choice,
    check_flag,
    check_not_empty,
    normalize_axis,
    refuse_shapes,
)
from impl_cupy.dtypes import check_fits, int64
from impl_cupy.launch import pointwise
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import STANDARD, Operation, row, written
from impl_cupy.ops.indexing import select_along
from impl_cupy.recording import (
    as_indices,
    as_operands,
    as_tensor,
    find_outside,
    record,
)
from impl_cupy.sums import kept_shape
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

_POSITION = """
Parameters
----------
x : Tensor or raw array, any shape
axis : int, optional
    Without it the position is that in the flattened array.
keepdims : bool
    Whether the axis stays, with length 1.

Returns
-------
Tensor, dtype int64, shape of `x` without the axis

Raises
------
TypeError
    If `x` is no array, or `axis` no int.
ValueError
    If the axis is out of range, or there is no element to choose.
"""


def _position(name: str, function: Any, summary: str) -> Operation:
    """Make a function that tells where an element is."""

    def operation(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
        value = as_tensor(name, x)
        place = None if axis is None else normalize_axis(name, axis, value.shape)
        axes = tuple(range(value.ndim)) if place is None else (place,)
        check_not_empty(name, axis, axes, value.shape)
        kept = kept_shape(value.shape, axes)
        keepdims = check_flag(name, "keepdims", keepdims)

        def position(raw: Any) -> Any:
            positions = function(raw, axis=place).astype("int64")
            return positions.reshape(kept) if keepdims else positions

        return record(name, position, None, (value,))

    return row(operation, name, summary, _POSITION, STANDARD)


argmax = _position(
    "argmax", cp.argmax, "Return the position of the first largest element along `axis`."
)
argmin = _position(
    "argmin", cp.argmin, "Return the position of the first smallest element along `axis`."
)

_ORDER = """
Parameters
----------
x : Tensor or raw array, at least one axis
axis : int
descending : bool
    Whether the largest come first.
stable : bool
    Equal elements keep their order in either case.

Returns
-------
Tensor, shape of `x`{dtype}

Raises
------
TypeError
    If `x` is no array, or `axis` no int.
ValueError
    If `axis` is out of range.
"""


def _order(raw: RawArray, axis: int, descending: bool) -> RawArray:
    """Return where the elements in order are; NaN are the greatest (ops-49).

    Sorting by integers does not depend on what a sort makes of NaN and of -0.0, and keeps equal
    elements in order both ways.
    """
    if not raw.size:
        return cp.zeros(raw.shape, dtype=int64)
    if raw.dtype.kind == "c":
        return _complex_order(raw)
    return cp.argsort(pointwise("sort_key")(raw, descending), axis=axis).astype(int64, copy=False)


def _complex_order(raw: RawArray) -> RawArray:
    """Return where flat complex numbers ascend by their parts, with NaN behind (ops-51)."""
    order = _order(raw.imag, 0, False)
    for key in (raw.real, cp.isnan(raw)):
        order = order[_order(key[order], 0, False)]
    return order


def _sorted(name: str, summary: str, *, positions: bool) -> Operation:
    """Make `sort`, or `argsort`, which gives the positions."""

    def operation(
        x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True
    ) -> Tensor:
        value = as_tensor(name, x)
        place = normalize_axis(name, axis, value.shape)
        downwards = check_flag(name, "descending", descending)
        check_flag(name, "stable", stable)
        order = _order(value._data, place, downwards)
        return wrap(order) if positions else select_along(name, value, order, place)

    frame = _ORDER.format(dtype=", dtype int64" if positions else "")
    return row(operation, name, summary, frame, STANDARD)


sort = _sorted("sort", "Sort along an axis; NaN are the greatest.", positions=False)
argsort = _sorted(
    "argsort", "Return where the elements in order are; NaN are the greatest.", positions=True
)


@written()
def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """Return where elements belong among others in ascending order.

    Parameters
    ----------
    x1 : Tensor or raw array, shape (N,)
        In ascending order, or else in that of `sorter`.
    x2 : Tensor, raw array or number, any shape
    side : {"left", "right"}
        Before the elements that are equal, or behind them.
    sorter : Tensor or raw array of integers, shape (N,), optional

    Returns
    -------
    Tensor, dtype int64, shape of `x2`

    Raises
    ------
    TypeError
        If one is no array, or `sorter` holds no integers.
    ValueError
        If `x1` has not one axis, `sorter` another length or an index out of range, or `side` is
        another.
    """
    name = "searchsorted"
    check_choice(name, "side", side, ("left", "right"))
    among, sought = as_operands(name, as_tensor(name, x1), x2)
    if among.ndim != 1:
        msg = f"{name}: x1 must have one axis, got shape {among.shape}"
        raise ValueError(msg)
    keys, others = (_keys(name, value, among.dtype) for value in (among, sought))
    if sorter is not None:
        places = as_indices(name, sorter)
        if places.dtype.kind != "i":
            msg = f"{name}: sorter must hold integers, got dtype {places.dtype.name}"
            raise TypeError(msg)
        if places.shape != among.shape:
            refuse_shapes(name, (among, places))
        worst = find_outside(sorter, places._data, 0, among.size)
        if worst is not None:
            msg = f"{name}: index {worst} of sorter is out of range for shape {among.shape}"
            raise ValueError(msg)
        keys = keys[places._data]
    return wrap(cp.searchsorted(keys, others, side=side).astype(int64, copy=False))


def _keys(name: str, value: Any, dtype: Any) -> RawArray:
    """Return integers that sort as an array, or a number in its dtype, does."""
    if not isinstance(value, Tensor):
        check_fits(name, value, dtype)
        return pointwise("sort_key")(cp.full((), value, dtype=dtype), False)
    return pointwise("sort_key")(value._data, False)


@written()
def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Tell which elements of `x1` equal one of `x2`; a NaN equals none.

    Parameters
    ----------
    x1, x2 : Tensor, raw array or number
        Arrays, or an array and a number.
    invert : bool
        Whether to tell the opposite.

    Returns
    -------
    Tensor, shape of `x1`, dtype bool

    Raises
    ------
    TypeError
        If neither is an array, or one is neither an array nor a number.
    """
    a, b = as_operands("isin", x1, x2)
    inverted = check_flag("isin", "invert", invert)
    dtype = a.dtype if isinstance(a, Tensor) else b.dtype
    keys = _keys("isin", a, dtype)
    others = _keys("isin", b, dtype).reshape(-1)
    others = cp.sort(others) if others.size else others
    first, behind = (cp.searchsorted(others, keys, side=side) for side in ("left", "right"))
    among = a._data if isinstance(a, Tensor) else cp.full((), a, dtype=dtype)
    found = cp.logical_and(first != behind, among == among)
    return wrap(cp.logical_not(found) if inverted else found)


class unique_all_result(NamedTuple):
    """What `unique_all` gives."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class unique_counts_result(NamedTuple):
    """What `unique_counts` gives."""

    values: Tensor
    counts: Tensor


class unique_inverse_result(NamedTuple):
    """What `unique_inverse` gives."""

    values: Tensor
    inverse_indices: Tensor


class _Unique:
    """An array in order, with the places where another value begins (ops-51)."""

    def __init__(self, name: str, x: Any) -> None:
        raw = as_tensor(name, x)._data
        self.shape = raw.shape
        flat = raw.reshape(-1)
        self.size = flat.size
        self.order = _order(flat, 0, False)
        ordered = flat[self.order]
        first = cp.ones(min(self.size, 1), dtype=bool)
        # A NaN differs from the one before it.
        self.begins = cp.concatenate([first, ordered[1:] != ordered[:-1]])
        (self.starts,) = cp.nonzero(self.begins)
        self.values = wrap(ordered[self.starts])

    def indices(self) -> Tensor:
        """Return the first places of the values; the sort is stable."""
        return wrap(self.order[self.starts])

    def inverse(self) -> Tensor:
        """Return for each element the place of its value."""
        places = cp.empty(self.size, dtype=int64)
        places[self.order] = cp.cumsum(self.begins, dtype=int64) - 1
        return wrap(places.reshape(self.shape))

    def counts(self) -> Tensor:
        """Return how often each value is there."""
        ends = cp.concatenate([self.starts[1:], cp.full(min(self.size, 1), self.size, dtype=int64)])
        return wrap((ends - self.starts).astype(int64, copy=False))


_SET = """
The shapes depend on the values, so that this waits for the device (ops-52).

Parameters
----------
x : Tensor or raw array, any shape

Returns
-------
{result}
    The values ascend, each NaN is one, and nothing has a gradient.

Raises
------
TypeError
    If `x` is no array.
"""


def _set(name: str, made: Any, summary: str, result: str) -> Operation:
    def operation(x: Any, /) -> Any:
        return made(_Unique(name, x))

    return row(operation, name, summary, _SET.format(result=result), STANDARD)


unique_all = _set(
    "unique_all",
    lambda found: unique_all_result(found.values, found.indices(), found.inverse(), found.counts()),
    "Return the values, their first places, the place of each element's, and how often they come.",
    "named tuple of Tensor: values, indices, inverse_indices, counts",
)
unique_counts = _set(
    "unique_counts",
    lambda found: unique_counts_result(found.values, found.counts()),
    "Return the values, and how often they come.",
    "named tuple of Tensor: values, counts",
)
unique_inverse = _set(
    "unique_inverse",
    lambda found: unique_inverse_result(found.values, found.inverse()),
    "Return the values, and the place of each element's among them.",
    "named tuple of Tensor: values, inverse_indices",
)
unique_values = _set(
    "unique_values", lambda found: found.values, "Return the values, each once.", "Tensor, one axis"
)


@written()
def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """Return where elements are not 0, in their order; this waits for the device (ops-52).

    Parameters
    ----------
    x : Tensor or raw array, at least one axis

    Returns
    -------
    tuple of Tensor, dtype int64, one for each axis

    Raises
    ------
    TypeError
        If `x` is no array.
    ValueError
        If it has no axis.
    """
    value = as_tensor("nonzero", x)
    if value.ndim == 0:
        msg = f"nonzero: x must have at least one axis, got shape {value.shape}"
        raise ValueError(msg)
    raw = value._data != 0 if value.dtype.kind == "c" else value._data
    return tuple(wrap(places.astype(int64, copy=False)) for places in cp.nonzero(raw))
