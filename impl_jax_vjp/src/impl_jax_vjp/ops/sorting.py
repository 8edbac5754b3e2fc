"""Order, search, and sets of values."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import check_choice, check_flag, check_real, known, normalize_axis, refuse, within
from ..dtypes import DType, make_array, promote
from ..recording import (
    Primitive,
    as_integers,
    as_operand,
    as_pair,
    dtype_of,
    is_array,
    shape_of,
    widened,
)
from ..tape import unwrap, wrap
from . import formulas as F
from .families import listed, search
from .lookups import counter

Array = Any


def _argmin(axis: int | None, keepdims: bool, x: Array) -> Array:
    """Return the place of the first smallest, or of the first NaN."""
    along = None if axis is None else (axis,)
    least = (x == jnp.min(x, axis=along, keepdims=True)) | (x != x)
    return F.argmax(axis, keepdims, least)


search("argmax", F.argmax, "Return the place of the first largest, along an axis or in C order.")
search("argmin", _argmin, "Return the place of the first smallest, along an axis or in C order.")


def _sorted(axis: int, descending: bool, x: Array) -> Array:
    # Reversed before and after: equal elements stay in the order in which they stood. # ops-49
    if not descending:
        return lax.sort(x, dimension=axis, is_stable=True)
    return jnp.flip(lax.sort(jnp.flip(x, axis), dimension=axis, is_stable=True), axis)


def _order(axis: int, descending: bool, x: Array) -> Array:
    size = x.shape[axis]
    at = lax.broadcasted_iota(counter(size), x.shape, axis)
    if descending:
        x, at = jnp.flip(x, axis), jnp.flip(at, axis)
    _, at = lax.sort((x, at), dimension=axis, is_stable=True, num_keys=1)
    return (jnp.flip(at, axis) if descending else at).astype(jnp.int64)


_sort = Primitive(_sorted, "sort")
_argsort = Primitive(_order, "argsort")
_SORTED = (
    "x : Tensor or raw array, at least one axis\naxis : int\ndescending : bool\nstable : bool\n"
    "    No matter here: equal elements always keep their order.",
    "the shape of x",
    "ValueError\n    If the axis is out of range.\nTypeError\n    If `x` is no array.",
)


def _ordered(name: str, primitive: Primitive, x: Any, axis: Any, down: Any, stable: Any) -> Any:
    x = as_operand(name, x)
    check_real(name, dtype_of(x))
    place = normalize_axis(name, axis, shape_of(x))
    check_flag(name, "stable", stable)
    return primitive((x,), place, check_flag(name, "descending", down))


@listed(*_SORTED)
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Put elements in order; a NaN is greater than any number."""
    return _ordered("sort", _sort, x, axis, descending, stable)


@listed(*_SORTED)
def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Return the int64 places from which `sort` takes its elements."""
    return _ordered("argsort", _argsort, x, axis, descending, stable)


def _before(x: Array, y: Array) -> Array:
    """Tell where x stands before y in order; a NaN is greater than any number."""
    return (x < y) | ((y != y) & (x == x))


def _places(right: bool, x: Array, sought: Array) -> Array:
    """Return where elements belong in x, one axis, ascending."""
    count = len(x)
    kind = counter(count)
    low = jnp.zeros(sought.shape, kind)
    if not count:
        return low

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        found = x[jnp.minimum(middle, count - 1)]
        further = ~_before(sought, found) if right else _before(found, sought)
        further = further & (low < high)
        return jnp.where(further, middle + 1, low), jnp.where(further, high, middle)

    high = jnp.full(sought.shape, count, kind)
    low, _ = lax.fori_loop(0, count.bit_length(), halve, (low, high))
    return low


def _searched(right: bool, dtype: DType, x: Array, sought: Array, *sorter: Array) -> Array:
    x, sought = lax.stop_gradient(x.astype(dtype)), lax.stop_gradient(sought.astype(dtype))
    for order in sorter:
        x = x[order]
    return _places(right, x, sought).astype(jnp.int64)


def _members(invert: bool, dtype: DType, x: Array, y: Array) -> Array:
    x, y = lax.stop_gradient(x.astype(dtype)), lax.stop_gradient(y.astype(dtype))
    if not y.size:
        return jnp.full(x.shape, invert)
    values = lax.sort(jnp.reshape(y, (-1,)))
    at = jnp.minimum(_places(False, values, x), values.size - 1)
    return (values[at] == x) != invert


_searchsorted = Primitive(_searched, "searchsorted")
_isin = Primitive(_members, "isin")


def _two(name: str, x1: Any, x2: Any) -> tuple[Any, Any, DType]:
    """Return two operands, one of which may be a number, and their common dtype."""
    if is_array(x1) and is_array(x2):
        x1, x2 = as_operand(name, x1), as_operand(name, x2)
        return x1, x2, promote(name, dtype_of(x1), dtype_of(x2))
    if is_array(x1):
        return as_pair(name, x1, within(x2, dtype_of(x1)))
    return as_pair(name, within(x1, dtype_of(x2)) if is_array(x2) else x1, x2)


def _check_sorter(order: Any, size: int) -> None:
    """Raise `ValueError` for a place that is not there, where values are known."""
    if isinstance(order, jax.core.Tracer) or not size:
        return
    values = np.asarray(order)
    if values.min() < 0 or values.max() >= size:
        wanted = f"of places in 0 <= place < {size}"
        refuse("searchsorted", "sorter", wanted, f"{values.min()} to {values.max()}")


@listed(
    "x1 : Tensor or raw array, one axis\n    In ascending order by itself or by `sorter`.\n"
    "x2 : Tensor, raw array or number\nside : {'left', 'right'}\n"
    "    Before or after those that are equal.\nsorter : array of integers, optional",
    "int64, the shape of x2",
    "ValueError\n    If a shape or a place does not fit, or `side` is another.\n"
    "TypeError\n    If an operand is no array, or `sorter` holds no integers.",
)
def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """Return the places at which elements belong in an order."""  # ops-50
    name = "searchsorted"
    x1, x2, dtype = _two(name, as_operand(name, x1), x2)
    check_real(name, dtype)
    check_choice(name, "side", side, ("left", "right"))
    shape = shape_of(x1)
    if len(shape) != 1:
        refuse(name, "x1", "of one axis", f"shape {shape}")
    order: list[Any] = []
    if sorter is not None:
        raw = unwrap(as_integers(name, "sorter", sorter))
        if raw.shape != shape:
            refuse(name, "sorter", f"of the shape {shape} of x1", f"shape {raw.shape}")
        order = [widened(raw)]
        _check_sorter(order[0], shape[0])
    return _searchsorted((x1, x2, *order), side == "right", dtype)


@listed(
    "x1, x2 : Tensor, raw array or number\n    At least one is an array.\ninvert : bool",
    "bool, the shape of x1",
)
def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Any:
    """Tell which elements of `x1` equal one of `x2`, or none with `invert`; a NaN equals none."""
    x1, x2, dtype = _two("isin", x1, x2)
    check_real("isin", dtype)
    return _isin((x1, x2), check_flag("isin", "invert", invert), dtype)


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Any
    inverse_indices: Any


def _unique(name: str, x: Any) -> UniqueAll:
    """Return each value once, in ascending order; each NaN is a value of its own."""
    # On the host, since the shape depends on the values. # ops-51, ops-52
    array = known(name, unwrap(as_operand(name, x)))
    values, indices, inverse, counts = np.unique(
        array, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    places = [part.astype(np.int64) for part in (indices, inverse.reshape(array.shape), counts)]
    return UniqueAll(*[wrap(make_array(part)) for part in (values, *places)])


_SET = ("x : Tensor or raw array, any shape", "shape (count,)")
_UNKNOWN = (
    "ValueError\n    If the values are not known, as under jit.\nTypeError\n    If `x` is no array."
)
_NAMED = "named tuple of Tensor, "


@listed(*_SET, _UNKNOWN, kind=_NAMED)
def unique_all(x: Any, /) -> UniqueAll:
    """Return the values, their first places, where each element's value stands, and counts."""
    return _unique("unique_all", x)


@listed(*_SET, _UNKNOWN, kind=_NAMED)
def unique_counts(x: Any, /) -> UniqueCounts:
    """Return each value once, in ascending order, and how often it stands there."""
    found = _unique("unique_counts", x)
    return UniqueCounts(found.values, found.counts)


@listed(*_SET, _UNKNOWN, kind=_NAMED)
def unique_inverse(x: Any, /) -> UniqueInverse:
    """Return each value once, in ascending order, and where each element's value stands."""
    found = _unique("unique_inverse", x)
    return UniqueInverse(found.values, found.inverse_indices)


@listed(*_SET, _UNKNOWN)
def unique_values(x: Any, /) -> Any:
    """Return each value once, in ascending order."""
    return _unique("unique_values", x).values


@listed(
    "x : Tensor or raw array, at least one axis",
    "int64, shape (count,), one for each axis",
    "ValueError\n    If `x` has no axes, or the values are not known, as under jit.\n"
    "TypeError\n    If `x` is no array.",
    kind="tuple of Tensor, ",
)
def nonzero(x: Any, /) -> tuple[Any, ...]:
    """Return the places of what is not 0, in C order."""
    x = as_operand("nonzero", x)
    if not shape_of(x):  # ops-51
        refuse("nonzero", "x", "of one axis at least", "shape ()")
    places = np.nonzero(known("nonzero", unwrap(x)))
    return tuple([wrap(make_array(place.astype(np.int64))) for place in places])
