"""Functions that change shapes, and that join, split and repeat arrays."""

from __future__ import annotations

from typing import Any

from .counters import record
from .host import np
from .storage import Storage, check_cast, new, raw, raws, result, view


def reshape(a: Any, newshape: Any, order: str = "C", *, copy: Any = None) -> Any:
    """Return ``a`` in another shape: a view if its memory allows, else a copy."""
    source = raw(a)
    if isinstance(newshape, Storage):
        msg = "reshape: the shape must be an int or a tuple of ints, not cupy.ndarray"
        raise TypeError(msg)
    made = source.reshape(newshape, order=order)
    if copy:
        return result(made.copy(), "copy")
    shares = np.may_share_memory(made, source) or not source.size
    if copy is not None and not shares:
        msg = "cannot reshape without copy"
        raise ValueError(msg)
    return view(made, a)


def ravel(a: Any, order: str = "C") -> Any:
    """Return ``a`` with one axis: a view if it is contiguous, else a copy."""
    return view(raw(a).ravel(order), a)


def transpose(a: Any, axes: Any = None) -> Any:
    """Return a view with the axes permuted, or reversed if ``axes`` is None."""
    return new(raw(a).transpose(axes), a)


def permute_dims(a: Any, axes: Any = None) -> Any:
    """Do what `transpose` does."""
    return transpose(a, axes)


def matrix_transpose(x: Any, /) -> Any:
    """Return a view with the last two axes exchanged."""
    if raw(x, "x").ndim < 2:
        msg = f"Input array must be at least 2-dimensional, but it is {x._array.ndim}"
        raise ValueError(msg)
    return new(x._array.swapaxes(-1, -2), x)


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Return a view with two axes exchanged."""
    return new(raw(a).swapaxes(axis1, axis2), a)


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Return a view with axes moved to other places."""
    return new(np.moveaxis(raw(a), source, destination), a)


def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """Return a view with one axis moved back to ``start``."""
    return new(np.rollaxis(raw(a), axis, start), a)


def expand_dims(a: Any, axis: Any) -> Any:
    """Return a view with new axes of length one."""
    return new(np.expand_dims(raw(a), axis), a)


def squeeze(a: Any, axis: Any = None) -> Any:
    """Return a view without axes of length one."""
    return new(raw(a).squeeze(axis), a)


def atleast_1d(*arys: Any) -> Any:
    """Return views with at least one axis."""
    return _at_least(np.atleast_1d, arys)


def atleast_2d(*arys: Any) -> Any:
    """Return views with at least two axes."""
    return _at_least(np.atleast_2d, arys)


def atleast_3d(*arys: Any) -> Any:
    """Return views with at least three axes."""
    return _at_least(np.atleast_3d, arys)


def broadcast_to(array: Any, shape: Any) -> Any:
    """Return a view with stride 0 along the stretched axes; writing to it raises ValueError."""
    return new(np.broadcast_to(raw(array, "array"), shape), array)


def broadcast_arrays(*args: Any) -> list[Any]:
    """Return views of all arrays in one shape."""
    shape = np.broadcast_shapes(*[raw(x, "args").shape for x in args])
    return [broadcast_to(x, shape) for x in args]


def concatenate(
    tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """Join arrays along an axis, or flattened if ``axis`` is None."""
    return _join(np.concatenate, raws(tup), axis, out, dtype, casting)


def concat(
    tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """Do what `concatenate` does."""
    return _join(np.concatenate, raws(tup), axis, out, dtype, casting)


def stack(
    tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """Join arrays along a new axis."""
    return _join(np.stack, raws(tup), axis, out, dtype, casting)


def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Stack arrays as rows."""
    record("copy")
    return new(np.ascontiguousarray(np.vstack(raws(tup), dtype=dtype, casting=casting)))


def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Stack arrays along the second axis (the first of vectors)."""
    record("copy")
    return new(np.ascontiguousarray(np.hstack(raws(tup), dtype=dtype, casting=casting)))


def dstack(tup: Any) -> Any:
    """Stack arrays along the third axis."""
    return result(np.dstack(raws(tup)), "copy")


def column_stack(tup: Any) -> Any:
    """Stack vectors as columns."""
    return result(np.column_stack(raws(tup)), "copy")


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Return views of equal parts, or of the parts between given indices."""
    return [new(part, ary) for part in np.split(raw(ary, "ary"), indices_or_sections, axis)]


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Return views of nearly equal parts."""
    return [new(part, ary) for part in np.array_split(raw(ary, "ary"), indices_or_sections, axis)]


def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Split along the second axis (the first of vectors)."""
    return split(ary, indices_or_sections, 0 if raw(ary, "ary").ndim == 1 else 1)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Split along the first axis."""
    return split(ary, indices_or_sections, 0)


def tile(A: Any, reps: Any) -> Any:
    """Repeat an array as a whole."""
    return result(np.tile(raw(A, "A"), reps), "copy")


def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Repeat each element; ``repeats`` are host numbers."""
    if isinstance(repeats, Storage):
        msg = "repeat: repeats must be an int or a sequence of ints, not cupy.ndarray"
        raise TypeError(msg)
    return result(np.repeat(raw(a), repeats, axis), "copy")


def flip(a: Any, axis: Any = None) -> Any:
    """Return a view with the order of elements reversed."""
    return new(np.flip(raw(a), axis), a)


def fliplr(a: Any) -> Any:
    """Return a view reversed along the second axis."""
    return new(np.fliplr(raw(a)), a)


def flipud(a: Any) -> Any:
    """Return a view reversed along the first axis."""
    return new(np.flipud(raw(a)), a)


def rot90(a: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Return a view turned by quarter turns."""
    return new(np.rot90(raw(a), k, axes), a)


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Return a copy with the elements shifted around."""
    return result(np.roll(raw(a), shift, axis), "copy")


def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """Return a copy with values joined to its end."""
    return result(np.append(raw(arr, "arr"), raw(values, "values"), axis), "copy")


def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Any:
    """Return a copy with a border."""
    return result(np.pad(raw(array, "array"), pad_width, mode, **kwargs), "copy")


def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    """Write ``src``, an array or number, into ``dst``."""
    target = raw(dst, "dst")
    if isinstance(src, np.ndarray):
        msg = f"Unsupported type {type(src)}"
        raise TypeError(msg)
    source = src._array if isinstance(src, Storage) else np.array(src)
    if isinstance(src, Storage):
        check_cast(source.dtype, target.dtype, casting, "array data")
    mask = True if where is None else raw(where, "where")
    record("copy")
    np.copyto(target, source, casting="unsafe", where=mask)


def _join(function: Any, arrays: list[Any], axis: Any, out: Any, dtype: Any, casting: str) -> Any:
    record("copy")
    if out is not None:
        function(arrays, axis=axis, out=raw(out, "out"), casting=casting)
        return out
    made = function(arrays, axis=axis, dtype=dtype, casting=casting)
    return new(np.ascontiguousarray(made))


def _at_least(function: Any, arrays: tuple[Any, ...]) -> Any:
    made = [view(function(raw(x, "arys")), x) for x in arrays]
    return made[0] if len(made) == 1 else made
