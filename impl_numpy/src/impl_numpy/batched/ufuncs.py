"""How NumPy's ufuncs, and indexing, run on the arrays of all slices at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from impl_numpy.batched.array import (
    METHODS,
    Batched,
    aligned,
    asarray,
    by_slices,
    every,
    full,
    has,
    shifted,
    sliced,
    youngest,
)
from impl_numpy.batched.levels import USED, Level, refuse
from impl_numpy.dtypes import Array, Shape


def _outputs(level: Level, out: Any) -> Any:
    """Return where a ufunc writes, as arrays of all slices."""
    places = []
    for x in out:
        if x is not None and not has(x, level):
            refuse("writing into an array that no slice has")
        places.append(None if x is None else x.values)
    return tuple(places)


def _call(level: Level, ufunc: Any, *inputs: Any, **options: Any) -> Any:
    out = options.pop("out", None)
    others = [*inputs, *(out or ()), options.get("where")]
    ndim = max([x.ndim for x in others if isinstance(x, (np.ndarray, np.generic))])
    if out is not None:
        options["out"] = _outputs(level, out)
    if "where" in options:
        options["where"] = aligned(options["where"], level, ndim)
    result = ufunc(*[aligned(x, level, ndim) for x in inputs], **options)
    if out is not None:
        return out[0] if len(out) == 1 else out
    if type(result) is tuple:
        return tuple([Batched(level, x) for x in result])
    return Batched(level, result)


def _reduce(level: Level, ufunc: Any, x: Any, axis: Any = 0, *args: Any, **options: Any) -> Any:
    if args or not has(x, level):
        return by_slices(level, ufunc.reduce, (x, axis, *args), options)
    if "where" in options:
        options["where"] = aligned(options["where"], level, x.ndim)
    out = options.pop("out", None)
    if out is not None and out[0] is not None:
        options["out"] = _outputs(level, out)
    return Batched(level, ufunc.reduce(x.values, axis=shifted(axis, x.ndim), **options))


def _accumulate(level: Level, ufunc: Any, x: Any, axis: int = 0, *args: Any, **options: Any) -> Any:
    out = options.pop("out", None)
    if args or (out is not None and out[0] is not None):
        refuse(f"{ufunc.__name__}.accumulate into an array")
    return Batched(level, ufunc.accumulate(x.values, axis=shifted(axis, x.ndim), **options))


def _at(level: Level, ufunc: Any, x: Any, *args: Any) -> None:
    if not has(x, level):
        refuse(f"{ufunc.__name__}.at")
    for k in range(level.size):
        ufunc.at(x.values[k, ...], *sliced(args, level, k))


def chosen(x: Any, key: Any) -> Any:
    """Return `x[key]`, of an array and an index of which either may depend on a slice."""
    level = youngest([x, key]) if USED else None
    if level is None:
        return x[key]
    shape = x.shape
    place, sources, targets = lifted(key, shape, level)
    values = x.values if has(x, level) else np.broadcast_to(x, (level.size, *shape))
    return Batched(level, np.moveaxis(asarray(chosen(values, place)), sources, targets))


def assign(x: Any, key: Any, value: Any) -> None:
    """Do `x[key] = value`, all of which may depend on a slice."""
    level = youngest([x, key, value]) if USED else None
    if level is None:
        x[key] = value
        return
    if not has(x, level):
        refuse("writing into an array that no slice has")
    if type(key) is Batched and key.dtype == np.bool and np.ndim(value) == 0:
        mask = key[(..., *(None,) * (x.ndim - key.ndim))]
        np.copyto(x, value, where=mask)
        return
    place, sources, targets = lifted(key, x.shape, level)
    ndim = len(np.moveaxis(_shape_of(x.values.shape, place), sources, targets).shape) - 1
    given = asarray(value)
    if given.ndim > ndim:
        given = given.reshape(given.shape[given.ndim - ndim :])
    held = aligned(given, level, ndim) if has(given, level) else given
    if held.ndim == ndim + 1 and has(given, level):
        held = np.moveaxis(held, targets, sources)
    elif not _is_first(sources):
        held = np.moveaxis(full(given, level, (1,) * (ndim - given.ndim) + given.shape), 0, 0)
        held = np.moveaxis(held, targets, sources)
    assign(x.values, place, held)


def _is_first(sources: Any) -> bool:
    return sources in (0, ())


def _shape_of(shape: Shape, key: Any) -> Array:
    """Return an array of the shape that an index selects; it holds no memory."""
    selected = chosen(np.broadcast_to(np.False_, shape), key)
    return np.broadcast_to(np.False_, selected.shape)


def lifted(key: Any, shape: Shape, level: Level) -> tuple[Any, Any, Any]:
    """Return an index into the arrays of all slices, for one into the array of each.

    Parameters
    ----------
    key : index
        What depends on a slice is of integers, and stands with others of its kind after slices.
    shape : tuple of int
        That of a slice.
    level : Level

    Returns
    -------
    key : index
    sources, targets : int or tuple of int
        What `np.moveaxis` does to the selected, so that the slices come first.
    """
    parts = list(key) if type(key) is tuple else [key]
    if not any([has(k, level) for k in parts]):
        place = (slice(None), *parts)
        if all([k is None or k is Ellipsis or type(k) in (int, slice) for k in parts]):
            return place, 0, 0
        if youngest(parts) is not None:
            return (place, 0, 0) if not isinstance(parts[0], slice) else _refused()
        one, none = (np.broadcast_to(np.False_, (n, *shape))[place].shape for n in (1, 0))
        axis = next(k for k, (a, b) in enumerate(zip(one, none, strict=True)) if a != b)
        return place, axis, 0
    parts = _spelled_out(parts, len(shape))
    advanced = [at for at, k in enumerate(parts) if not (k is None or isinstance(k, slice))]
    ndim = max([np.ndim(parts[at]) for at in advanced])
    _check_range(parts, shape)
    rows = np.arange(level.size).reshape((level.size, *(1,) * ndim))
    place = (
        rows,
        *[aligned(k, level, ndim) if at in advanced else k for at, k in enumerate(parts)],
    )
    lead, last = advanced[0], advanced[-1]
    if not lead or last - lead + 1 != len(advanced):
        # NumPy puts what is selected first, as it does with that of a slice.
        return place, (), ()
    axes = range(1, 1 + ndim)
    return place, tuple(axes), tuple([k + lead for k in axes])


def _spelled_out(parts: list[Any], ndim: int) -> list[Any]:
    """Return an index with slices for an ellipsis, and integers for masks."""
    found: list[Any] = []
    for k in parts:
        if isinstance(k, (bool, np.bool)) or (type(k) is Batched and k.dtype == np.bool):
            _refused()
        if isinstance(k, np.ndarray) and k.dtype == np.bool:
            if not k.ndim:
                _refused()
            found += np.nonzero(k)
        else:
            found.append(k)
    used = len([k for k in found if k is not None and k is not Ellipsis])
    at = next((at for at, k in enumerate(found) if k is Ellipsis), None)
    if at is not None:
        found[at : at + 1] = [slice(None)] * (ndim - used)
    return found


def _check_range(parts: Iterable[Any], shape: Shape) -> None:
    """Raise IndexError as for a slice, whose axes have other numbers."""
    axis = 0
    for k in parts:
        if k is None:
            continue
        if axis >= len(shape):
            msg = f"too many indices for array: array is {len(shape)}-dimensional"
            raise IndexError(msg)
        if not isinstance(k, slice):
            values, n = np.asarray(every(k)), shape[axis]
            outside = values[(values < -n) | (values >= n)]
            if outside.size:
                msg = f"index {outside.flat[0]} is out of bounds for axis {axis} with size {n}"
                raise IndexError(msg)
        axis += 1


def _refused() -> Any:
    refuse("this index")


METHODS.update(
    __call__=_call, reduce=_reduce, accumulate=_accumulate, at=_at, getitem=chosen, setitem=assign
)
