"""Selecting elements, and putting gradients back where they came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.batched import (
    USED,
    Batched,
    Level,
    NotKnown,
    chosen,
    contiguous,
    full,
    lifted,
    youngest,
)
from impl_numpy.checks import (
    check_count,
    check_dtype,
    check_indices,
    normalize_axis,
    normalize_new_axis,
)
from impl_numpy.dtypes import Array, Shape, Value, bool_, float32, int64, is_raw
from impl_numpy.memory import own
from impl_numpy.ops.families import registered, rule
from impl_numpy.recording import Grads, Primitive, unary
from impl_numpy.sums import BLOCK, FEW
from impl_numpy.tape import Parents, Scattered
from impl_numpy.tensor import Tensor, as_tensor, wrap

# A round over the runs of repeats costs as much as so many elements of `np.add.reduceat`.
ROUND = 640
# Rows so short are added element by element in less time than sorted.
NARROW = 16


def getitem(x: Tensor, key: Any) -> Tensor:
    """Return what `x[key]` selects; repeated elements accumulate gradients (tensor-24)."""
    result: Tensor = unary(_chosen, x, (plain_key("getitem", key, x._data.shape), x._data.shape))
    return result


def plain_key(name: str, key: Any, shape: Shape) -> Any:
    """Return an index without Tensors in it, and without arrays that the caller can change.

    Raises
    ------
    TypeError
        If a part of it is nothing that selects; the message has the name of the operation.
    IndexError
        If a list in it is ragged, or an integer beyond int64.
    """
    if isinstance(key, tuple):
        return tuple([_part(name, k, shape) for k in key])
    return _part(name, key, shape)


def _part(name: str, key: Any, shape: Shape) -> Any:
    """Return one part of an index."""
    if key is None or key is Ellipsis or isinstance(key, (int, slice)):
        return key
    if isinstance(key, np.bool):
        return bool(key)
    key = listed(name, key)
    array = key._data if isinstance(key, Tensor) else key
    if not is_raw(array) or array.dtype.kind not in "iub":
        got = f"dtype {array.dtype}" if is_raw(array) else type(key).__name__
        msg = f"{name}: an index must be of integers, booleans, slices, None or ..., got {got}"
        raise TypeError(msg)
    if array.dtype == bool_:
        if type(array) is Batched:
            msg = f"vmap: {name} by a mask that depends on a slice has a shape that is not known"
            raise NotKnown(msg)
        return own(array) if isinstance(key, Tensor) else array.copy()
    # An array of no axes, which a scalar is too, selects as an int does.
    indices = check_indices(name, "an index", array, length=f"shape {shape}")
    return int(indices) if isinstance(key, np.generic) else indices


def listed(name: str, key: Any) -> Any:
    """Return a sequence, in each spelling, as an array (tensor-35), and all else as it is."""
    if not isinstance(key, (list, tuple, range)):
        return key
    try:
        lists = _lists(key)
        array = np.asarray(lists) if youngest(lists) is None else np.stack(lists)
    except ValueError:
        msg = f"{name}: the lists of an index must be of equal lengths, got ragged ones"
        raise IndexError(msg) from None
    return array.astype(int64) if not array.size and array.dtype.kind in "iubf" else array


def _lists(key: Any) -> Any:
    if isinstance(key, (list, tuple)):
        return [_lists(k) for k in key]
    return key._data if isinstance(key, Tensor) else key


def _getitem_vjp(grad: Value, needs: Parents, x: None, out: None, key: Any, shape: Shape) -> Grads:
    return (Scattered(grad, key, shape, _gathered),)


def _gathered(grads: tuple[Value, ...], keys: tuple[Any, ...], shape: Shape) -> Value:
    if len(grads) == 1:
        grad = grads[0]
        put = _put if type(grad) is np.ndarray else _placed
        return put(grad, keys[0], shape)
    many = Primitive("put", _put_all, _put_all_vjp, ((),) * len(grads))
    return many(*grads, keys, shape)


def _put_all(*args: Any) -> Array:
    *parts, keys, shape = args
    level = youngest((parts, keys)) if USED else None
    if level is not None:
        lifts = [lifted(key, shape, level) for key in keys]
        moved = [_moved(x, lift, level) for x, lift in zip(parts, lifts, strict=True)]
        places = tuple([lift[0] for lift in lifts])
        held: Any = Batched(level, _put_all(*moved, places, (level.size, *shape)))
        return held
    out = np.zeros(shape, parts[0].dtype)
    for part, key in zip(parts, keys, strict=True):
        put_into(out, part, key)
    return out


def _put_all_vjp(grad: Value, needs: Parents, *saved: Any) -> Grads:
    return tuple(_chosen(grad, key, saved[-1]) for key in saved[-2])


def _put_vjp(grad: Value, needs: Parents, x: None, out: None, key: Any, shape: Shape) -> Grads:
    return (_chosen(grad, key, shape),)


def _moved(x: Array, lift: Any, level: Level) -> Any:
    """Return what is put at an index of `lifted`, in the order of axes that it selects."""
    return np.moveaxis(full(x, level), lift[2], lift[1])


def over(run: Callable[..., Any], arrays: Sequence[Any], key: Any, shape: Shape) -> Any:
    """Run what puts values at an index for all slices of a `vmap`; None where there are none.

    Parameters
    ----------
    run : callable
        `run(*arrays, key, shape)`; the last of the arrays is put.
    arrays : sequence of array
        That into which is put before it, or none.
    """
    level = youngest((arrays, key)) if USED else None
    if level is None:
        return None
    lift = lifted(key, shape, level)
    *whole, values = arrays
    if values.ndim or type(values) is Batched:
        wanted = chosen(np.broadcast_to(np.False_, shape), key).shape
        values = _moved(np.broadcast_to(values, wanted), lift, level)
    held = [full(x, level) for x in whole]
    return Batched(level, run(*held, values, lift[0], (level.size, *shape)))


def _put(x: Array, key: Any, shape: Shape) -> Array:
    if USED and (found := over(_put, (x,), key, shape)) is not None:
        return found
    out = np.zeros(shape, x.dtype)
    if may_repeat(key) and repeats(key, shape, x.size):
        put_into(out, x, key)
    else:
        out[key] = x
    return out


def may_repeat(key: Any) -> bool:
    """Tell whether an index may name an element twice."""
    if type(key) is not tuple:
        return type(key) is np.ndarray and key.dtype != bool_
    return any([type(k) is np.ndarray and k.dtype != bool_ for k in key])


def of_integers(key: Any) -> bool:
    """Tell whether an index is of integers alone."""
    parts = key if type(key) is tuple else (key,)
    return all([type(k) is int or (type(k) is np.ndarray and k.dtype == int64) for k in parts])


def repeats(key: Any, shape: Shape, size: int) -> bool:
    """Tell whether an index of `size` elements names one twice."""
    axes = rows_axes(key, shape)
    named = np.zeros(shape[:axes], bool_)
    named[key] = True
    return np.count_nonzero(named) * math.prod(shape[axes:]) != size


def rows_axes(key: Any, shape: Shape) -> int:
    """Return of how many first axes an index names rows; if not of integers alone, of all."""
    if not of_integers(key):
        return len(shape)
    return len(key) if type(key) is tuple else 1


def rows_at(key: Any, shape: Shape) -> Array:
    """Return the numbers of the rows that an index names, in order; it is known to fit."""
    lead = shape[: rows_axes(key, shape)]
    if not of_integers(key):
        return np.arange(math.prod(lead)).reshape(lead)[key].ravel()
    parts = key if type(key) is tuple else (key,)
    rows = [np.where(np.less(k, 0), np.add(k, n), k) for k, n in zip(parts, lead, strict=True)]
    return (rows[0] if len(rows) == 1 else np.ravel_multi_index(rows, lead)).ravel()


def put_into(out: Array, x: Array, key: Any) -> None:
    """Add to what lies at an index, once for each time that it names an element."""
    if not may_repeat(key):
        out[key] += x
        return
    if not of_integers(key) and 8 * x.size < out.size:
        np.add.at(out, key, x)
        return
    if x.size:
        rest = out.shape[rows_axes(key, out.shape) :]
        _add_rows(out.reshape(-1, *rest), rows_at(key, out.shape), x.reshape(-1, *rest))


def _add_rows(out: Array, rows: Array, x: Array) -> None:
    if len(rows) <= FEW:
        np.add.at(out, rows, x)
        return
    if x[0].size <= NARROW and len(out) <= 8 * len(rows) and _loses_nothing(rows, x.dtype):
        _add_elements(out, rows, x)
        return
    # Sorted, the repeats of a row lie together, and one reduction adds them all: many times faster
    # than np.add.at.
    order = np.argsort(rows, kind="stable")
    rows, x = rows[order], x[order]
    while True:
        new = np.ones(len(rows), bool_)
        np.not_equal(rows[1:], rows[:-1], out=new[1:])
        starts = np.flatnonzero(new)
        counts = np.append(starts[1:], len(rows)) - starts
        blocks, most = starts, counts.max()
        if most <= FEW and most * ROUND < len(starts) * x[0].size:
            out[rows[starts]] += _by_rounds(x, starts, counts)
            return
        if most > FEW:
            # Blocks of a run of repeats first, and their sums in turn (ops-25).
            nth = np.arange(len(rows)) - np.repeat(starts, counts)
            blocks = np.flatnonzero(nth % BLOCK == 0)
        x, rows = np.add.reduceat(x, blocks, axis=0), rows[blocks]
        if blocks is starts:
            out[rows] += x
            return


def _loses_nothing(rows: Array, dtype: np.dtype[Any]) -> bool:
    """Tell whether `_add_elements` adds within the bound: float64 has nothing wider (ops-25)."""
    return dtype.kind in "iu" or dtype == float32 or np.bincount(rows).max() < FEW


def _add_elements(out: Array, rows: Array, x: Array) -> None:
    width = x[0].size
    places = rows if width == 1 else (rows[:, None] * width + np.arange(width)).ravel()
    flat, x = out.reshape(-1), x.reshape(-1)
    if x.dtype == float32:
        # In float64, in which so many terms as there can be lose nothing.
        np.add(flat, np.bincount(places, x, len(flat)), out=flat, casting="same_kind")
    else:
        np.add.at(flat, places, x)


def _by_rounds(x: Array, starts: Array, counts: Array) -> Array:
    """Return what `np.add.reduceat` does, by the first of each run, the second of those longer...

    That goes through a run once for each column, which takes ten times as long for many short runs.
    """
    sums = x[starts]
    for k in range(1, counts.max()):
        longer = np.flatnonzero(counts > k)
        sums[longer] += x[starts[longer] + k]
    return sums


def selecting(name: str) -> Primitive:
    """Make the primitive that selects what an index names; configuration: index, shape of x."""
    return Primitive(name, lambda x, key, shape: chosen(x, key), _getitem_vjp)


_chosen = rule(selecting("getitem"))
_taken = selecting("take")


def placing(name: str) -> Primitive:
    """Make the primitive that adds at an index of an array of 0; configuration: index, shape."""
    return Primitive(name, _put, _put_vjp)


_placed = placing("put")


def _one_per_row(x: Array, columns: Array, shape: Shape) -> Array:
    return chosen(x, (np.arange(len(columns)), columns))


def _into_rows(x: Array, columns: Array, shape: Shape) -> Array:
    if USED and youngest((x, columns)) is not None:
        return _put(x, (np.arange(len(columns)), columns), shape)
    out = np.zeros(shape, x.dtype)
    out[np.arange(len(columns)), columns] = x
    return out


def _one_per_row_vjp(
    grad: Value, needs: Parents, x: None, out: None, columns: Array, shape: Shape
) -> Grads:
    return (_spread_rows(grad, columns, shape),)


def _into_rows_vjp(
    grad: Value, needs: Parents, x: None, out: None, columns: Array, shape: Shape
) -> Grads:
    return (_picked(grad, columns, shape),)


_picked = Primitive("getitem", _one_per_row, _one_per_row_vjp)
_spread_rows = Primitive("put", _into_rows, _into_rows_vjp)


def pick(x: Tensor, columns: Array) -> Tensor:
    """Return one element of each row of a matrix: none comes twice, so nothing is to be added."""
    result: Tensor = unary(_picked, x, (columns, x._data.shape))
    return result


_TAKE = """Parameters
----------
x : Tensor or raw array, shape (..., N, ...)
indices : Tensor or raw array of integers, shape S
    Negative ones count from the end; repeated ones accumulate gradients.
axis : int, optional
    That of length N; may be left out where there is only one.

Returns
-------
Tensor, shape (..., *S, ...)

Raises
------
ValueError
    If the axis is out of range, or left out where there are several.
IndexError
    If an index is out of range.
TypeError
    If x is no array, or the axis no int."""


@registered("take", "Return the elements at indices on an axis.", _TAKE)
def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    x = as_tensor("take", x)
    if axis is None and x.ndim != 1:
        msg = f"take: axis may be left out for one axis alone, got shape {x.shape}"
        raise ValueError(msg)
    place = 0 if axis is None else normalize_axis("take", axis, x.shape)
    length = f"length {x.shape[place]}"
    # NumPy checks the range, and unary names the operation in what it says (ops-29).
    chosen = check_indices("take", "indices", indices, length=length)
    key = (*(slice(None),) * place, chosen) if place else chosen
    result: Tensor = unary(_taken, x, (key, x._data.shape))
    return result


_along = selecting("take_along_axis")
_ALONG = """Parameters
----------
x : Tensor or raw array, shape (..., N, ...)
indices : Tensor or raw array of integers, shape (..., K, ...)
    Of as many axes as x, which broadcast but for `axis`. Negative ones count from the end;
    repeated ones accumulate gradients.
axis : int
    That of length N.

Returns
-------
Tensor, shape (..., K, ...)

Raises
------
ValueError
    If the axis is out of range, or the shapes do not fit.
IndexError
    If an index is out of range.
TypeError
    If x is no array, or the axis no int."""


@registered("take_along_axis", "Return elements at indices of their own row.", _ALONG)
def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:  # ops-45
    name = "take_along_axis"
    x = as_tensor(name, x)
    place = normalize_axis(name, axis, x.shape)
    chosen = check_indices(name, "indices", indices, length=f"length {x.shape[place]}")
    try:
        if chosen.ndim != x.ndim:
            raise ValueError
        sides = [(*s[:place], 1, *s[place + 1 :]) for s in (x.shape, chosen.shape)]
        shape = np.broadcast_shapes(*sides)
    except ValueError:
        msg = f"{name}: shapes {x.shape} and {chosen.shape} do not fit along axis {axis}"
        raise ValueError(msg) from None
    result: Tensor = unary(_along, x, (key_along(x.shape, shape, place, chosen), x.shape))
    return result


def key_along(of: Shape, shape: Shape, place: int, indices: Array) -> tuple[Array, ...]:
    """Return the index that has `indices` on one axis, and on others each row of `shape`."""
    key: list[Array] = []
    for k, n in enumerate(shape):
        # A length of 1 is stretched: its only row serves all.
        rows = np.arange(n) if of[k] == n else np.zeros(n, int64)
        key.append(rows.reshape([n if k == other else 1 for other in range(len(shape))]))
    key[place] = indices
    return tuple(key)


_ONE_HOT = """Parameters
----------
x : Tensor or raw array of integers
num_classes : int
dtype : dtype, optional
    float32 unless another is named.
axis : int
    The place of the classes in the result.

Returns
-------
Tensor, the shape of x with an axis of length num_classes: 1 at the class, 0 elsewhere

Raises
------
ValueError
    If the axis is out of range, or num_classes is negative.
IndexError
    If an element is negative, or not less than num_classes.
TypeError
    If x does not hold integers, or another argument is of another kind."""


@registered("one_hot", "Return rows that are 1 at a class.", _ONE_HOT, "array_api_extra.one_hot")
def one_hot(
    x: Any, /, num_classes: int, *, dtype: DTypeLike | None = None, axis: int = -1
) -> Tensor:  # ops-46
    count = check_count("one_hot", "num_classes", num_classes)
    wanted = float32 if dtype is None else check_dtype(dtype, "one_hot")
    classes = check_indices("one_hot", "x", x, 0, count, "num_classes")
    place = normalize_new_axis("one_hot", axis, classes.shape)
    rows = classes[..., None] == np.arange(count)
    return wrap(contiguous(np.moveaxis(rows, -1, place).astype(wanted)), None)
