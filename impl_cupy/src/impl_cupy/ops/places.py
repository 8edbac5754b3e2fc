"""Values put or added where an index says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_count, check_kinds, normalize_axis, refuse_shapes, type_name
from impl_cupy.dtypes import check_fits, promote, with_number
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import written
from impl_cupy.ops.indexing import Selection, along, check_key, index_list, put_back, select
from impl_cupy.recording import (
    as_indices,
    as_operand,
    as_tensor,
    as_tensors,
    cast,
    find_outside,
    record,
)
from impl_cupy.tape import handles, keep, wrap
from impl_cupy.tensor import Tensor


@written("the page of jax.numpy.ndarray.at")
def put(x: Any, key: Any, values: Any, /) -> Tensor:
    """Return `x` with `values` at ``x[key]``; of repeated places the last value stays.

    What was replaced gets gradient 0, and so does a value that did not stay.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    key : object
        Whatever indexing takes: integers, slices, None, ``...``, masks and integer arrays.
    values : Tensor, raw array or number
        Broadcast to the shape of ``x[key]``.

    Returns
    -------
    Tensor, shape and dtype of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or `values` does not go into its dtype.
    IndexError
        If an index is out of range, of a wrong kind, or there are too many.
    ValueError
        That names both shapes, if `values` does not broadcast.
    """
    value = as_tensor("put", x)
    new = _fitting(value.dtype, values)
    selection = check_key("put", value.shape, key)
    if not selection.has_arrays:
        # One element, repeated, has the shape and takes no memory.
        picked = np.broadcast_to(np.empty(()), value.shape)[selection.key]
        return _replace(value, _stretched(new, np.shape(picked)), selection)
    return _put_rows(value, new, selection)


def _fitting(dtype: np.dtype[Any], values: Any) -> Any:
    """Bring values to a dtype that takes them, as a Tensor.

    Raises
    ------
    TypeError
        That names both dtypes, if it does not.
    """
    new = as_operand("put", values)
    is_array = isinstance(new, Tensor)
    common = promote("put", dtype, new.dtype) if is_array else with_number(dtype, new)
    if common != dtype:
        got = f"dtype {new.dtype.name}" if is_array else type_name(new)
        msg = f"put: values must go into dtype {dtype.name}, got {got}"
        raise TypeError(msg)
    if is_array:
        return cast(new, dtype)
    check_fits("put", new, dtype)
    return wrap(cp.full((), new, dtype))


def _stretched(new: Tensor, shape: tuple[int, ...]) -> Any:
    try:
        fits = np.broadcast_shapes(new.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        msg = f"put: values must broadcast to shape {shape}, got {new.shape}"
        raise ValueError(msg)
    return handles.broadcast_to(new, shape)


def _put_rows(value: Tensor, new: Tensor, selection: Selection) -> Tensor:
    """Put values where arrays say, as rows of the axes that the key does not reach."""
    shape, lead = selection.shape, selection.reach
    count, rest = math.prod(shape[:lead]), shape[lead:]
    width = math.prod(rest)
    # Selecting from the rows' own numbers tells where each of the values goes.
    rows = cp.arange(count, dtype="int64").reshape(shape[:lead])[selection.key]
    wide = _stretched(new, (*rows.shape, *rest)).reshape((rows.size, width))
    rows = rows.reshape(-1)
    # The largest is one in any order of the threads; CuPy finds it among unsigned numbers.
    last = cp.zeros(count, dtype="uint64")
    cp.maximum.at(last, rows, cp.arange(rows.size, dtype="uint64"))
    whole = Selection((rows,), (count, width), True)
    return _replace(value.reshape((count, width)), wide, whole, last[rows].astype("int64")).reshape(
        shape
    )


def _replace(value: Any, new: Any, selection: Selection, last: RawArray | None = None) -> Any:
    """Put values of the selected shape; `last` names for each row the one that stays there."""
    return record(
        "put",
        lambda raw, given: _replaced(raw, given, selection, last),
        _replace_back,
        (value, new),
        config=(selection, last),
    )


def _replaced(
    raw: RawArray, given: RawArray, selection: Selection, last: RawArray | None
) -> RawArray:
    out = raw.copy()
    # Threads that write to one place write the same.
    out[selection.key] = given if last is None else given[last]
    return out


def _replace_back(node: Any, grad: Any) -> tuple[Any, Any]:
    """Return 0 where values were put, and what arrives there for those that stayed."""
    selection, last = node.config
    to_x, to_values = node.edges
    xp, is_tensor = node.xp, isinstance(grad, Tensor)
    part = select("put", grad, selection) if is_tensor else grad[selection.key]
    nothing = xp.zeros_like(part)
    if to_x:
        to_x = (_replace if is_tensor else _replaced)(grad, nothing, selection, None)
    if to_values and last is not None:
        stays = last == cp.arange(last.size)
        part = xp.where(stays.reshape(-1, 1), part, nothing)
    return to_x, part if to_values else None


@written("the page of torch.scatter_add")
def scatter_add(x: Any, indices: Any, values: Any, /, *, axis: int = -1) -> Tensor:
    """Add values to a copy of `x` at indices along an axis; at repeated ones they add up.

    Parameters
    ----------
    x : Tensor or raw array, at least one axis
    indices : Tensor, raw array or list of integers
        As many axes as `x`, each of its length or 1, which stands for all, but for `axis`;
        negative ones count from the end.
    values : Tensor or raw array, shape of `indices`
    axis : int

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If one is no array, `x` or `values` is boolean, or `indices` holds no integers.
    IndexError
        If an index is out of range.
    ValueError
        If `axis` is out of range, or the shapes do not fit.
    """
    name = "scatter_add"
    value, new = as_tensor(name, x), as_tensor(name, values)
    for array in (value, new):
        check_kinds(name, array, "iufc")
    value, new = as_tensors(name, (value, new))
    given, positions = _integers(name, "indices", indices)
    place = normalize_axis(name, axis, value.shape)
    wide = value.shape[:place] + positions.shape[place : place + 1] + value.shape[place + 1 :]
    fits = positions.ndim == value.ndim and positions.shape == new.shape
    if not fits or any(size not in (1, full) for size, full in zip(new.shape, wide, strict=True)):
        refuse_shapes(name, (value, positions, new))
    size = value.shape[place]
    worst = find_outside(given, positions._data, -size, size)
    if worst is not None:
        msg = f"{name}: index {worst} is out of range for axis {place} of shape {value.shape}"
        raise IndexError(msg)
    new = handles.broadcast_to(new, wide)
    at = keep(positions)
    if at.size != at.shape[place]:
        return value + put_back(name, (new,), (along(value.shape, at, place),))
    # One index for all lines: whole rows are added.
    rows = handles.moveaxis(new, place, 0)
    shape = (size, *rows.shape[1:])
    sums = put_back(name, (rows,), (Selection((at.reshape(-1),), shape, True),))
    return value + handles.moveaxis(sums, 0, place)


@written("the page of jax.ops.segment_sum")
def segment_sum(x: Any, segment_ids: Any, /, num_segments: int) -> Tensor:
    """Add up the rows of each segment.

    Parameters
    ----------
    x : Tensor or raw array, shape (N, *)
    segment_ids : Tensor, raw array or list of integers, shape (N,)
        The segment of each row, in any order.
    num_segments : int, at least 0

    Returns
    -------
    Tensor, shape (num_segments, *)
        0 where a segment has no rows.

    Raises
    ------
    TypeError
        If `x` is no array or boolean, `segment_ids` holds no integers, or `num_segments` is no int.
    IndexError
        If an id is negative, or not less than `num_segments`.
    ValueError
        If the shapes do not fit, or `num_segments` is negative.
    """
    name = "segment_sum"
    value = as_tensor(name, x)
    check_kinds(name, value, "iufc")
    given, ids = _integers(name, "segment_ids", segment_ids)
    count = check_count(name, "num_segments", num_segments)
    if ids.ndim != 1 or value.shape[:1] != ids.shape:
        refuse_shapes(name, (value, ids))
    worst = find_outside(given, ids._data, 0, count)
    if worst is not None:
        msg = f"{name}: id {worst} is out of range for num_segments {count}"
        raise IndexError(msg)
    shape = (count, *value.shape[1:])
    return put_back(name, (value,), (Selection((keep(ids),), shape, True),))


def _integers(name: str, argument: str, value: Any) -> tuple[Any, Any]:
    """Return integers, a list's as an array, and the Tensor of them.

    Raises
    ------
    TypeError
        If they are none.
    """
    if isinstance(value, (list, tuple, range)):
        try:
            value = index_list(name, value)
        except IndexError as error:
            raise TypeError(str(error)) from None
    positions = as_indices(name, value)
    if positions.dtype.kind != "i":
        msg = f"{name}: {argument} must be integers, got dtype {positions.dtype.name}"
        raise TypeError(msg)
    return value, positions
