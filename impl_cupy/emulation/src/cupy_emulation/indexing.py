"""Reading and writing by index, as CuPy does it.

Where CuPy differs from NumPy the emulation follows CuPy: integer arrays that point outside wrap
around, an integer in an index gives a 0-d view, NumPy arrays and lists are assigned only through
index arrays, and a scatter of values to repeated places (`add.at`) accumulates.
"""

from __future__ import annotations

import operator
from typing import Any

from .counters import record
from .creation import array as make_array
from .host import np
from .storage import Storage, new, raw, result, store, view
from .ufunc import UFUNCS

_SCATTER = {
    "add": (np.add, "iIlLqQefd"),
    "sub": (np.subtract, "iI"),
    "max": (np.maximum, "iIlLqQfd"),
    "min": (np.minimum, "iIlLqQfd"),
    "and": (np.bitwise_and, "iIlLqQ"),
    "or": (np.bitwise_or, "iIlLqQ"),
    "xor": (np.bitwise_xor, "iIlLqQ"),
}
_ELEMENTWISE = {
    "add": "add",
    "sub": "subtract",
    "max": "maximum",
    "min": "minimum",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}


def getitem(x: Storage, slices: Any) -> Any:
    """Return ``x[slices]``: a view for a basic index, a new array for one with arrays in it."""
    index, advanced = _prepare(x, slices)
    if advanced:
        return result(x._array[index], "other")
    return new(_basic(x._array, index), x)


def setitem(x: Storage, slices: Any, value: Any) -> None:
    """Write ``x[slices] = value``."""
    scatter(x, slices, value, "update")


def scatter(x: Storage, slices: Any, value: Any, op: str) -> None:
    """Write ``op(x[slices], value)`` to ``x[slices]``, accumulating at repeated places.

    Raises
    ------
    TypeError
        If CuPy has no atomic operation for the dtype.
    ValueError
        If a NumPy array or a list is assigned without an index array, or shapes do not fit.
    """
    index, advanced = _prepare(x, slices)
    if advanced:
        _scatter_advanced(x, index, value, op)
        return
    target = _basic(x._array, index)
    if op != "update":
        place = new(target, x)
        UFUNCS[_ELEMENTWISE[op]](place, value, place)
        return
    if isinstance(value, Storage):
        record("copy")
        np.copyto(target, _without_leading_ones(value._array, target.ndim), casting="unsafe")
        return
    fill(new(target, x), value)


def fill(x: Storage, value: Any) -> None:
    """Write one number everywhere.

    Raises
    ------
    ValueError
        If ``value`` has a shape.
    """
    kind = "cupy" if isinstance(value, Storage) else "numpy"
    target = x._array
    scalar = value._array if kind == "cupy" else np.asarray(value, target.dtype)
    if scalar.shape != ():
        msg = f"non-scalar {kind}.ndarray cannot be used for fill"
        raise ValueError(msg)
    record("ufunc")
    with np.errstate(all="ignore"):
        np.copyto(target, scalar, casting="unsafe")


def take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> Any:
    """Return the elements of ``a`` at ``indices`` along ``axis``; indices outside wrap around."""
    source = raw(a)
    if isinstance(indices, Storage):
        places = indices._array
        if places.dtype.kind not in "iub":
            msg = f"take: indices must be of integer type, got {places.dtype}"
            raise TypeError(msg)
    elif np.isscalar(indices):
        places = np.asarray(operator.index(indices))
    else:
        places = np.asarray(make_array(indices, dtype=int)._array)
    size = source.size if axis is None else np.atleast_1d(source).shape[axis]
    if size == 0 and places.size:
        msg = "cannot do a non-empty take from an empty axes."
        raise IndexError(msg)
    picked = np.take(source, places, axis=axis, mode="wrap")
    if out is not None and (raw(out, "out").dtype != source.dtype):
        msg = "Output dtype mismatch"
        raise TypeError(msg)
    return store(picked, out, "other")


def take_along_axis(a: Any, indices: Any, axis: Any) -> Any:
    """Return the elements of ``a`` that ``indices`` names along ``axis``."""
    source, places = raw(a), raw(indices, "indices")
    if places.dtype.kind not in "iu":
        msg = "`indices` must be an integer array"
        raise IndexError(msg)
    size = source.size if axis is None else source.shape[axis]
    return result(np.take_along_axis(source, _wrapped(places, size), axis), "other")


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """Write ``values`` where ``indices`` points to along ``axis``."""
    target, places = raw(arr, "arr"), raw(indices, "indices")
    size = target.size if axis is None else target.shape[axis]
    record("other")
    given = values._array if isinstance(values, Storage) else np.asarray(values, target.dtype)
    np.put_along_axis(target, _wrapped(places, size), given, axis)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return a view of a diagonal."""
    line = np.diagonal(raw(a), offset, axis1, axis2)
    if line.size:
        line.flags.writeable = True
    return view(line, a)


def nonzero(a: Any) -> tuple[Any, ...]:
    """Return the indices of the elements that are not zero, one array an axis; synchronizes."""
    source = raw(a)
    if source.ndim == 0:
        msg = "Calling nonzero on 0d arrays is not allowed."
        raise ValueError(msg)
    return tuple([result(places, "other") for places in np.nonzero(source)])


def flatnonzero(a: Any) -> Any:
    """Return the indices of the non-zero elements of the flattened array."""
    return result(np.flatnonzero(raw(a)), "other")


def argwhere(a: Any) -> Any:
    """Return the indices of the non-zero elements, one row an element."""
    return result(np.argwhere(raw(a)), "other")


def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    """Return the slices of ``a`` along ``axis`` where ``condition`` holds."""
    return store(np.compress(raw(condition, "condition"), raw(a), axis), out, "other")


def extract(condition: Any, a: Any) -> Any:
    """Return the elements of ``a`` where ``condition`` holds."""
    return result(np.extract(raw(condition, "condition"), raw(a)), "other")


def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Write ``val`` on the main diagonal."""
    record("other")
    np.fill_diagonal(raw(a), val._array if isinstance(val, Storage) else val, wrap)


def _prepare(x: Storage, slices: Any) -> tuple[tuple[Any, ...], bool]:
    """Return the index in NumPy's terms, and whether arrays are in it."""
    parts = list(slices) if isinstance(slices, tuple) else [slices]
    advanced = False
    used = 0
    for i, part in enumerate(parts):
        if part is None or part is Ellipsis:
            continue
        if isinstance(part, slice):
            used += 1
            continue
        if np.isscalar(part) and not isinstance(part, (bool, np.bool_)):
            parts[i] = operator.index(part)
            used += 1
            continue
        parts[i] = array = _index_array(part)
        used += array.ndim if array.dtype.kind == "b" else 1
        advanced = True
    ndim = x._array.ndim
    if used > ndim:
        msg = f"too many indices for array: array is {ndim}-dimensional, but {used} were indexed"
        raise IndexError(msg)
    if advanced:
        _wrap_around(x._array.shape, parts, used)
    return tuple(parts), advanced


def _index_array(part: Any) -> Any:
    if isinstance(part, Storage):
        array = part._array
    else:
        array = make_array(part)._array
        if isinstance(part, (list, tuple)) and array.size == 0:
            array = array.astype(np.int32)
    if array.dtype.kind not in "biu":
        msg = (
            f"arrays used as indices must be of integer or boolean type. "
            f"(actual: {array.dtype.type})"
        )
        raise IndexError(msg)
    return array


def _wrap_around(shape: tuple[int, ...], parts: list[Any], used: int) -> None:
    axis = 0
    for i, part in enumerate(parts):
        if part is None:
            continue
        if part is Ellipsis:
            axis += len(shape) - used
        elif isinstance(part, np.ndarray) and part.dtype.kind == "b":
            axis += part.ndim
        else:
            if isinstance(part, np.ndarray):
                parts[i] = _wrapped(part, shape[axis])
            axis += 1


def _wrapped(places: Any, size: int) -> Any:
    return places if size == 0 else places % size


def _basic(array: Any, index: tuple[Any, ...]) -> Any:
    # Without an Ellipsis NumPy returns a scalar, not a view, where integers use up all axes.
    if not any(part is Ellipsis for part in index):
        index = (*index, Ellipsis)
    return array[index]


def _without_leading_ones(array: Any, ndim: int) -> Any:
    while array.ndim > ndim and array.shape[0] == 1:
        array = array[0]
    return array


def _scatter_advanced(x: Storage, index: tuple[Any, ...], value: Any, op: str) -> None:
    target = x._array
    if isinstance(value, Storage):
        given = value._array.astype(target.dtype)
    else:
        given = make_array(value, dtype=target.dtype)._array
    record("other")
    if op == "update":
        if given.ndim and given.shape[0] == 1:
            given = _without_leading_ones(given, target[index].ndim)
        target[index] = given
        return
    function, types = _SCATTER[op]
    masked = any(isinstance(part, np.ndarray) and part.dtype.kind == "b" for part in index)
    if target.dtype.char not in types and not masked:
        msg = f"cupy.{_ELEMENTWISE[op]}.at does not support the dtype {target.dtype}"
        raise TypeError(msg)
    function.at(target, index, given)
