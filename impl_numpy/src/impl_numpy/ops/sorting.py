"""Sorting, searching and sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.batched import asarray, chosen
from impl_numpy.checks import (
    as_number,
    check_choice,
    check_flag,
    check_indices,
    check_operands,
    check_real,
    normalize_axis,
)
from impl_numpy.dtypes import Array, promoted
from impl_numpy.operands import operand
from impl_numpy.ops.families import registered
from impl_numpy.ops.indexing import take_along_axis
from impl_numpy.tensor import Tensor, as_tensor, wrap

_BEST = """Parameters
----------
x : Tensor or raw array, not empty
axis : int, optional
    Left out, the index is that into the flattened array.
keepdims : bool
    Keep the axis, with length 1.

Returns
-------
Tensor of int64, the shape of x without the axis

Raises
------
ValueError
    If the axis is out of range, or there is no element.
TypeError
    If x is no array, or the axis no int."""


def _best(name: str, find: Callable[..., Any], summary: str) -> Callable[..., Tensor]:
    """Make a function that finds the first of the best elements; NaN is best (ops-27)."""

    @registered(name, summary, _BEST)
    def apply(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
        x = as_tensor(name, x, passing=True)
        check_real(name, x.dtype)
        keepdims = check_flag(name, "keepdims", keepdims)
        place = None if axis is None else normalize_axis(name, axis, x.shape)
        if not (x.size if place is None else x.shape[place]):  # ops-24
            msg = f"{name}: wants an element, got shape {x.shape}"
            raise ValueError(msg)
        return wrap(find(x._data, axis=place, keepdims=keepdims), None)

    return apply


argmax = _best("argmax", np.argmax, "Return the index of the first largest element.")
argmin = _best("argmin", np.argmin, "Return the index of the first smallest element.")

_SORT = """Parameters
----------
x : Tensor or raw array, shape (..., N, ...)
axis : int
    That of length N.
descending : bool
    The largest first. A NaN is larger than any number.
stable : bool
    Elements that are equal stay in their order, whatever is said here.

Returns
-------
Tensor{of}, the shape of x

Raises
------
ValueError
    If the axis is out of range, or there is none.
TypeError
    If x is no array, or the axis no int."""


def _order(name: str, x: Tensor, axis: Any, descending: Any, stable: Any) -> Array:
    """Return the indices that sort, of elements that are equal the first one first (ops-49)."""
    check_real(name, x.dtype)
    place = normalize_axis(name, axis, x.shape)
    check_flag(name, "stable", stable)
    if not check_flag(name, "descending", descending):
        return np.argsort(x._data, axis=place, kind="stable")
    # From the end backwards, so that equal elements stay in their order.
    turned = np.argsort(np.flip(x._data, place), axis=place, kind="stable")
    return x.shape[place] - 1 - np.flip(turned, place)


@registered("argsort", "Return the indices that sort.", _SORT.format(of=" of int64"))
def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    x = as_tensor("argsort", x, passing=True)
    return wrap(_order("argsort", x, axis, descending, stable), None)


@registered("sort", "Return the elements in order.", _SORT.format(of=""))
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    x = as_tensor("sort", x, passing=True)
    return take_along_axis(x, _order("sort", x, axis, descending, stable), axis=axis)


_SEARCH = """Parameters
----------
x1 : Tensor or raw array, shape (N,)
    In ascending order.
x2 : Tensor or raw array, or number
side : 'left' or 'right'
    Of elements that are equal.
sorter : Tensor or raw array of integers, shape (N,), optional
    What sorts x1.

Returns
-------
Tensor of int64, the shape of x2

Raises
------
ValueError
    If x1 or the sorter has another shape, the sorter is out of range, or `side` is another word.
TypeError
    If an argument is of another kind."""


@registered("searchsorted", "Return where elements belong in an ordered array.", _SEARCH)
def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    ordered = as_tensor("searchsorted", x1, passing=True)._data  # ops-50
    check_choice("searchsorted", "side", side, ("left", "right"))
    if ordered.ndim != 1:
        msg = f"searchsorted: x1 must have one axis, got shape {ordered.shape}"
        raise ValueError(msg)
    if sorter is not None:
        n = len(ordered)
        try:
            order = check_indices("searchsorted", "sorter", sorter, 0, n)
        except IndexError as error:
            raise ValueError(*error.args) from None
        if order.shape != ordered.shape:
            msg = f"searchsorted: sorter must have shape {ordered.shape}, got {order.shape}"
            raise ValueError(msg)
        ordered = chosen(ordered, order)
    number = as_number(x2)
    if number is None or isinstance(x2, np.generic):
        sought = as_tensor("searchsorted", x2, passing=True)._data
    else:
        sought = operand(number, ordered.dtype, "searchsorted")
    common = promoted("searchsorted", ordered.dtype, sought.dtype)
    check_real("searchsorted", common)
    found = np.searchsorted(ordered.astype(common), sought.astype(common), side)  # type: ignore[call-overload]
    return wrap(asarray(found), None)


_ISIN = """Parameters
----------
x1, x2 : Tensor or raw array
    One of them may be a Python number.
invert : bool
    Whether to tell what is not in x2.

Returns
-------
Tensor of bool, the shape of x1

Raises
------
TypeError
    If an operand is none of these."""


@registered("isin", "Return which elements of x1 are equal to one of x2.", _ISIN)
def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:  # ops-51
    check_operands("isin", x1, x2)
    invert = check_flag("isin", "invert", invert)
    values = [
        number if number is not None else as_tensor("isin", x, passing=True)._data
        for x, number in ((x, as_number(x)) for x in (x1, x2))
    ]
    dtypes = [x.dtype for x in values if isinstance(x, np.ndarray)]
    check_real("isin", promoted("isin", *dtypes))
    return wrap(asarray(np.isin(values[0], values[1], invert=invert)), None)


class UniqueAll(NamedTuple):
    """Values, their first places, the value of each element, and how often each comes."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Values, and how often each comes."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Values, and the value of each element."""

    values: Tensor
    inverse_indices: Tensor


_UNIQUE = """Parameters
----------
x : Tensor or raw array

Returns
-------
{result}

Raises
------
TypeError
    If x is neither."""


def _unique(name: str, x: Any) -> UniqueAll:
    # Every NaN is a value of its own (ops-51).
    found = np.unique_all(as_tensor(name, x, passing=True)._data)
    return UniqueAll(*[wrap(asarray(array), None) for array in found])


@registered("unique_all", "Return all about values.", _UNIQUE.format(result="named tuple"))
def unique_all(x: Any, /) -> UniqueAll:
    return _unique("unique_all", x)


@registered("unique_counts", "Return values and counts.", _UNIQUE.format(result="named tuple"))
def unique_counts(x: Any, /) -> UniqueCounts:
    found = _unique("unique_counts", x)
    return UniqueCounts(found.values, found.counts)


@registered("unique_inverse", "Return values and places.", _UNIQUE.format(result="named tuple"))
def unique_inverse(x: Any, /) -> UniqueInverse:
    found = _unique("unique_inverse", x)
    return UniqueInverse(found.values, found.inverse_indices)


@registered("unique_values", "Return each value once, ascending.", _UNIQUE.format(result="Tensor"))
def unique_values(x: Any, /) -> Tensor:
    return _unique("unique_values", x).values


_NONZERO = """Parameters
----------
x : Tensor or raw array, at least one axis

Returns
-------
tuple of Tensor of int64, one for each axis

Raises
------
ValueError
    If x has no axis.
TypeError
    If x is no array."""


@registered("nonzero", "Return the places of the elements that are not 0.", _NONZERO)
def nonzero(x: Any, /) -> tuple[Tensor, ...]:  # ops-51
    array = as_tensor("nonzero", x, passing=True)._data
    if not array.ndim:
        msg = "nonzero: wants an axis, got shape ()"
        raise ValueError(msg)
    return tuple([wrap(places, None) for places in np.nonzero(array)])
