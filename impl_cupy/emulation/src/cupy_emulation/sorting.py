"""Sorting, searching and counting."""

from __future__ import annotations

from typing import Any

from .host import np
from .storage import raw, result


def sort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    """Return a sorted copy; the sort is stable."""
    _check_kind(kind)
    return result(np.sort(raw(a), axis, kind="stable"), "other")


def argsort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    """Return the indices that sort; the sort is stable."""
    _check_kind(kind)
    return result(np.argsort(raw(a), axis, kind="stable"), "other")


def partition(a: Any, kth: Any, axis: int = -1) -> Any:
    """Return a partly sorted copy."""
    return result(np.partition(raw(a), kth, axis), "other")


def argpartition(a: Any, kth: Any, axis: int = -1) -> Any:
    """Return the indices that sort partly."""
    return result(np.argpartition(raw(a), kth, axis), "other")


def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    """Return where elements of ``v`` belong in the sorted ``a``."""
    order = None if sorter is None else raw(sorter, "sorter")
    return result(np.searchsorted(raw(a), raw(v, "v"), side, order), "other")


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
) -> Any:
    """Return the sorted elements without repeats; synchronizes."""
    made: Any = np.unique(
        raw(ar, "ar"), return_index, return_inverse, return_counts, axis, equal_nan=equal_nan
    )
    if isinstance(made, tuple):
        return tuple([result(part, "other") for part in made])
    return result(made, "other")


def bincount(x: Any, weights: Any = None, minlength: Any = None) -> Any:
    """Count the occurrences of each small integer; synchronizes."""
    given = None if weights is None else raw(weights, "weights")
    return result(np.bincount(raw(x, "x"), given, minlength or 0), "other")


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False
) -> Any:
    """Tell which elements are among others."""
    others = raw(test_elements, "test_elements")
    return result(np.isin(raw(element, "element"), others, assume_unique, invert), "other")


def _check_kind(kind: Any) -> None:
    if kind is not None and kind != "stable":
        msg = "kind can only be None or 'stable'"
        raise ValueError(msg)
