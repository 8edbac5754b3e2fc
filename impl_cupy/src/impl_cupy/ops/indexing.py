"""Selecting elements, ``x[key]`` and `take`, and putting gradients back where they came from."""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import normalize_axis, to_device, type_name
from impl_cupy.launch import launch
from impl_cupy.ops.families import written
from impl_cupy.recording import as_tensor, record
from impl_cupy.tape import RawArray, handles
from impl_cupy.tensor import Tensor


class _Selection(NamedTuple):
    """A checked key, and the shape of the array that it selects from."""

    key: tuple[Any, ...]
    shape: tuple[int, ...]
    has_arrays: bool


def getitem(x: Any, key: Any) -> Tensor:
    """Select as NumPy does: integers, slices, None, ``...``, masks and integer arrays.

    Where an integer array selects an element more than once, its gradients are added up.

    Raises
    ------
    IndexError
        If an index is out of range, of a wrong kind, or there are too many.
    """
    value = as_tensor("getitem", x)
    return _select(value, _check(value.shape, key))


@written()
def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """Select along one axis by integers; negative ones count from the end.

    Parameters
    ----------
    x : Tensor or raw array, at least one axis
    indices : Tensor or raw array of integers
    axis : int, optional
        May be left out for 1-d `x`.

    Returns
    -------
    Tensor, shape of `x` with the axis replaced by the shape of `indices`

    Raises
    ------
    TypeError
        If one is no array.
    IndexError
        If an index is out of range or no integer.
    ValueError
        If `axis` is missing or out of range.
    """
    value = as_tensor("take", x)
    if axis is None and value.ndim != 1:
        msg = f"take: axis must be given for shape {value.shape}, got None"
        raise ValueError(msg)
    place = normalize_axis("take", 0 if axis is None else axis, value.shape)
    positions = as_tensor("take", indices)
    if positions.dtype.kind != "i":
        msg = f"take: indices must be integers, got dtype {positions.dtype.name}"
        raise IndexError(msg)
    return getitem(value, (slice(None),) * place + (positions,))


def _select(value: Tensor, selection: _Selection) -> Tensor:
    return record("getitem", lambda raw: raw[selection.key], _getitem, (value,), config=selection)


def _getitem(node: Any, grad: Any) -> tuple[Any]:
    if isinstance(grad, Tensor):
        return (_put_back(grad, node.config),)
    return (_put_back_raw(grad, node.config),)


def _put_back(value: Tensor, selection: _Selection) -> Tensor:
    """Do the adjoint of `_select`: zeros but for what was selected."""
    return record(
        "getitem",
        lambda raw: _put_back_raw(raw, selection),
        _put,
        (value,),
        config=selection,
    )


def _put(node: Any, grad: Any) -> tuple[Any]:
    if isinstance(grad, Tensor):
        return (_select(grad, node.config),)
    return (grad[node.config.key],)


def _put_back_raw(values: RawArray, selection: _Selection) -> RawArray:
    shape = selection.shape
    if not selection.has_arrays:
        out = cp.zeros(shape, dtype=values.dtype)
        out[selection.key] = values
        return out
    first = selection.key[0]
    if len(selection.key) == 1 and first.dtype.kind == "i":
        width = math.prod(shape[1:])
        rows = cp.where(first < 0, first + shape[0], first).reshape(-1)
        return scatter_rows(values.reshape(rows.size, width), rows, shape[0]).reshape(shape)
    # Selecting from the elements' own numbers tells where each of the values came from.
    size = math.prod(shape)
    origin = cp.arange(size, dtype="int64").reshape(shape)[selection.key]
    return scatter_rows(values.reshape(-1, 1), origin.reshape(-1), size).reshape(shape)


def _check(shape: tuple[int, ...], key: Any) -> _Selection:
    parts = [_part(index) for index in (key if isinstance(key, tuple) else (key,))]
    used = sum(_axes_used(part) for part in parts)
    if used > len(shape):
        msg = f"getitem: {used} axes indexed, but the shape is {shape}"
        raise IndexError(msg)
    if sum(part is Ellipsis for part in parts) > 1:
        msg = "getitem: at most one ellipsis (...) may be given"
        raise IndexError(msg)
    axis = 0
    for part in parts:
        if part is Ellipsis:
            axis += len(shape) - used
            continue
        _check_part(part, axis, shape)
        axis += _axes_used(part)
    return _Selection(tuple(parts), shape, any(isinstance(part, cp.ndarray) for part in parts))


def _part(index: Any) -> Any:
    if isinstance(index, Tensor):
        index = index._data
    if isinstance(index, list):
        index = _index_list(index)
    if isinstance(index, np.ndarray):
        index = to_device("getitem", index) if index.dtype.kind in "bi" else index  # tensor-33
    if isinstance(index, cp.ndarray):
        if index.dtype.kind not in "bi":
            msg = f"getitem: index arrays must be integers or bool, got dtype {index.dtype.name}"
            raise IndexError(msg)
        return index
    if index is None or index is Ellipsis or isinstance(index, slice):
        return index
    if not isinstance(index, (bool, np.bool_)):
        try:
            return operator.index(index)
        except TypeError:
            pass
    msg = (
        "getitem: an index must be an int, a slice, None, ..., a list, or a Tensor or raw array "
        f"of integers or bool, got {type_name(index)}"
    )
    raise IndexError(msg)


def _index_list(index: list[Any]) -> RawArray:
    try:
        host = np.array([item.item() if isinstance(item, Tensor) else item for item in index])
    except ValueError:
        msg = f"getitem: a list used as an index must not be ragged, got {index!r}"
        raise IndexError(msg) from None
    if host.size == 0:
        host = host.astype("int64")
    if host.dtype.kind not in "bi":
        msg = f"getitem: a list used as an index must hold integers or bools, got {index!r}"
        raise IndexError(msg)
    return cp.asarray(host)


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, cp.ndarray) and part.dtype.kind == "b" else 1


def _check_part(part: Any, axis: int, shape: tuple[int, ...]) -> None:
    if isinstance(part, cp.ndarray) and part.dtype.kind == "b":
        if part.shape != shape[axis : axis + part.ndim]:
            msg = f"getitem: a mask of shape {part.shape} does not fit axis {axis} of shape {shape}"
            raise IndexError(msg)
    elif isinstance(part, cp.ndarray):
        # CuPy lets an index that is out of range wrap around; here it is an error, as in NumPy.
        size = shape[axis]
        outside = cp.logical_or(part < -size, part >= size)
        if bool(cp.any(outside)):
            worst = int(part[outside][0])
            msg = f"getitem: index {worst} is out of range for axis {axis} of shape {shape}"
            raise IndexError(msg)
    elif isinstance(part, int) and not -shape[axis] <= part < shape[axis]:
        msg = f"getitem: index {part} is out of range for axis {axis} of shape {shape}"
        raise IndexError(msg)


def scatter_rows(values: RawArray, rows: RawArray, count: int, skipped: int = -1) -> RawArray:
    """Add each row of `values` to the row of the result that `rows` names.

    Parameters
    ----------
    values : cupy.ndarray, shape (lookups, width), floating
    rows : cupy.ndarray, shape (lookups,), int
        ``0 <= row < count``.
    count : int
        Rows of the result.
    skipped : int
        A row that gets nothing; -1 for none.

    Returns
    -------
    cupy.ndarray, shape (count, width)
    """
    lookups, width = values.shape
    out = cp.zeros((count, width), dtype=values.dtype)
    if values.size:
        rows = rows.astype("int64", copy=False)
        order = cp.argsort(rows)
        launch(
            "scatter",
            "scatter_rows",
            values.dtype,
            lookups * width,
            cp.ascontiguousarray(values),
            order,
            rows[order],
            out,
            lookups,
            width,
            skipped,
        )
    return out


handles.getitem = getitem
