"""Selecting elements, ``x[key]`` and `take`, and putting gradients back where they came from."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_count,
    check_dtype,
    normalize_axis,
    refuse_shapes,
    shown,
    type_name,
)
from impl_cupy.dtypes import DTypeLike, int32, int64
from impl_cupy.launch import pointwise
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import mappable, written
from impl_cupy.recording import as_indices, as_tensor, device_indices, find_outside, record
from impl_cupy.sums import scatter_rows
from impl_cupy.tape import Part, handles, keep
from impl_cupy.tensor import Tensor


class Selection(NamedTuple):
    """A checked key, and the shape of the array that it selects from."""

    key: tuple[Any, ...]
    shape: tuple[int, ...]
    has_arrays: bool

    @property
    def reach(self) -> int:
        """Number of axes, from the first, behind which the key leaves all as it is."""
        is_open = any(part is Ellipsis for part in self.key)
        return len(self.shape) if is_open else sum(map(_axes_used, self.key))


def getitem(x: Any, key: Any) -> Tensor:
    """Select as NumPy does: integers, slices, None, ``...``, masks and integer arrays.

    Where an integer array selects an element more than once, its gradients are added up.

    Raises
    ------
    IndexError
        If an index is out of range, of a wrong kind, or there are too many.
    """
    value = as_tensor("getitem", x)
    return select("getitem", value, check_key("getitem", value.shape, key))


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
    positions = as_indices("take", indices)
    if positions.dtype.kind != "i":
        msg = f"take: indices must be integers, got dtype {positions.dtype.name}"
        raise TypeError(msg) if positions.dtype.kind == "c" else IndexError(msg)
    key = (slice(None),) * place + (positions,)
    size = value.shape[place]
    worst = find_outside(indices, positions._data, -size, size)
    if worst is not None:
        msg = f"take: index {worst} is out of range for axis {place} of shape {value.shape}"
        raise IndexError(msg)
    return select("take", value, check_key("take", value.shape, key, is_checked=True))


@written()
def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:
    """Select along one axis by integers that differ from line to line.

    Parameters
    ----------
    x : Tensor or raw array, at least one axis
    indices : Tensor or raw array of integers
        As many axes as `x`, which broadcast but for `axis`; negative ones count from the end.
    axis : int

    Returns
    -------
    Tensor, the shape that both broadcast to, with the length of `indices` along `axis`

    Raises
    ------
    TypeError
        If one is no array, or `indices` holds no integers.
    IndexError
        If an index is out of range.
    ValueError
        If `axis` is out of range, or the shapes do not fit.
    """
    name = "take_along_axis"
    value, positions = as_tensor(name, x), as_indices(name, indices)
    place = normalize_axis(name, axis, value.shape)
    if positions.dtype.kind != "i":
        msg = f"{name}: indices must be integers, got dtype {positions.dtype.name}"
        raise TypeError(msg)
    others = [array.shape[:place] + array.shape[place + 1 :] for array in (value, positions)]
    try:
        np.broadcast_shapes(*others)
    except ValueError:
        refuse_shapes(name, (value, positions))
    if positions.ndim != value.ndim:
        refuse_shapes(name, (value, positions))
    size = value.shape[place]
    worst = find_outside(indices, positions._data, -size, size)
    if worst is not None:
        msg = f"{name}: index {worst} is out of range for axis {place} of shape {value.shape}"
        raise IndexError(msg)
    return select_along(name, value, keep(positions), place)


def select_along(name: str, value: Tensor, positions: RawArray, axis: int) -> Tensor:
    """Select by raw indices that are in range, as `take_along_axis`."""
    return select(name, value, along(value.shape, positions, axis))


def along(shape: tuple[int, ...], positions: RawArray, axis: int) -> Selection:
    """Return what raw indices that are in range select along an axis."""
    ndim = len(shape)
    key = tuple(
        positions
        if place == axis
        else cp.arange(size).reshape((1,) * place + (size,) + (1,) * (ndim - place - 1))
        for place, size in enumerate(shape)
    )
    return Selection(key, shape, True)


def select_rows(name: str, value: Tensor, rows: RawArray) -> Tensor:
    """Select along the first axis by raw indices that are in range and from 0 up."""
    return select(name, value, Selection((rows,), value.shape, True))


@written("one_hot in array_api_extra")
def one_hot(x: Any, /, num_classes: int, *, dtype: DTypeLike = None, axis: int = -1) -> Tensor:
    """Return 1 at the class that each element names, and 0 at the others.

    Parameters
    ----------
    x : Tensor or raw array of integers, any shape
    num_classes : int, at least 0
    dtype : dtype, optional
        float32 unless told.
    axis : int
        The place of the classes in the result.

    Returns
    -------
    Tensor, shape of `x` with the axis of the classes

    Raises
    ------
    TypeError
        If `x` holds no integers, or `num_classes` or `axis` is no int.
    IndexError
        If a class is negative, or not less than `num_classes`.
    ValueError
        If `num_classes` is negative, or `axis` out of range.
    """
    positions = as_indices("one_hot", x)
    if positions.dtype.kind != "i":
        msg = f"one_hot: x must hold integers, got dtype {positions.dtype.name}"
        raise TypeError(msg)
    count = check_count("one_hot", "num_classes", num_classes)
    wanted = check_dtype("one_hot", dtype)
    sizes = positions.shape
    place = normalize_axis("one_hot", axis, sizes, new=1)
    worst = find_outside(x, positions._data, 0, count)
    if worst is not None:
        msg = f"one_hot: index {worst} is out of range for num_classes {count}"
        raise IndexError(msg)

    def marked(raw: RawArray) -> RawArray:
        classes = cp.arange(count, dtype=raw.dtype).reshape((count,) + (1,) * (len(sizes) - place))
        return (raw.reshape((*sizes[:place], 1, *sizes[place:])) == classes).astype(wanted)

    return record("one_hot", marked, None, (positions,))


def select(name: str, value: Tensor, selection: Selection) -> Tensor:
    """Select by a checked key."""
    return record(name, lambda raw: raw[selection.key], _getitem, (value,), config=selection)


def _getitem(node: Any, grad: Any) -> tuple[Any]:
    return (Part(node.config, grad),)


def _put_together(terms: list[Any]) -> Any:
    """Add up the parts of one array's gradient, and what else came, once (autograd-32)."""
    selections = tuple(term.selection for term in terms if isinstance(term, Part))
    values = tuple(term.values for term in terms if isinstance(term, Part))
    if isinstance(values[0], Tensor):
        total = put_back("getitem", values, selections)
    else:
        total = _put_back(values, selections)
    for term in terms:
        if not isinstance(term, Part):
            total = total + term
    return total


def put_back(name: str, values: tuple[Tensor, ...], selections: tuple[Selection, ...]) -> Tensor:
    """Return zeros with the values added where they were selected, or would be."""
    return record(name, lambda *raws: _put_back(raws, selections), _put, values, config=selections)


def _put(node: Any, grad: Any) -> tuple[Any, ...]:
    is_tensor = isinstance(grad, Tensor)
    return tuple(
        None
        if edge is None
        else select("getitem", grad, selection)
        if is_tensor
        else grad[selection.key]
        for edge, selection in zip(node.edges, node.config, strict=True)
    )


def _put_back(values: Sequence[RawArray], selections: Sequence[Selection]) -> RawArray:
    """Do the adjoint of selecting: zeros but for what was selected, added up."""
    shape = selections[0].shape
    out = None
    by_row: list[Any] = []
    by_element: list[Any] = []
    for value, selection in zip(values, selections, strict=True):
        if selection.has_arrays:
            first = selection.key[0]
            is_rows = len(selection.key) == 1 and first.dtype.kind == "i"
            (by_row if is_rows else by_element).append((value, selection.key))
            continue
        if out is None:
            out = cp.zeros(shape, dtype=value.dtype)
        if len(values) == 1:
            out[selection.key] = value
        else:
            place = out[selection.key]
            place += value
    if by_row:
        out = _added(out, _rows(by_row, shape))
    if by_element:
        out = _added(out, _elements(by_element, shape))
    return out


def _added(out: RawArray | None, more: RawArray) -> RawArray:
    return more if out is None else out + more


def _rows(parts: Sequence[tuple[RawArray, tuple[Any, ...]]], shape: tuple[int, ...]) -> RawArray:
    """Add up values at whole rows, which index arrays name."""
    width = math.prod(shape[1:])
    from_zero = pointwise("counted_from_zero")
    rows = [from_zero(key[0], shape[0]).reshape(-1) for _, key in parts]
    values = [
        value.reshape(places.size, width) for (value, _), places in zip(parts, rows, strict=True)
    ]
    return scatter_rows(_joined(values), _joined(rows), shape[0]).reshape(shape)


def _elements(
    parts: Sequence[tuple[RawArray, tuple[Any, ...]]], shape: tuple[int, ...]
) -> RawArray:
    """Add up values at single elements."""
    size = math.prod(shape)
    # Selecting from the elements' own numbers tells where each of the values came from.
    numbers = cp.arange(size, dtype="int64").reshape(shape)
    places = [numbers[key].reshape(-1) for _, key in parts]
    values = [value.reshape(-1, 1) for value, _ in parts]
    return scatter_rows(_joined(values), _joined(places), size).reshape(shape)


def _joined(arrays: list[RawArray]) -> RawArray:
    return arrays[0] if len(arrays) == 1 else cp.concatenate(arrays)


def check_key(name: str, shape: tuple[int, ...], key: Any, is_checked: bool = False) -> Selection:
    """Check a key for an array of this shape, but for the range where `is_checked`.

    Raises
    ------
    IndexError
        As `getitem`, in the name of the operation.
    """
    given = [
        index_list(name, index) if isinstance(index, (list, tuple, range)) else index
        for index in (key if isinstance(key, tuple) else (key,))
    ]
    parts = [_part(name, index) for index in given]
    used = sum(_axes_used(part) for part in parts)
    if used > len(shape):
        msg = f"{name}: {used} axes indexed, but the shape is {shape}"
        raise IndexError(msg)
    if sum(part is Ellipsis for part in parts) > 1:
        msg = f"{name}: an index may hold one ellipsis (...) at most"
        raise IndexError(msg)
    axis = 0
    for index, part in zip(given, parts, strict=True):
        if part is Ellipsis:
            axis += len(shape) - used
            continue
        if not is_checked:
            _check_part(name, index, part, axis, shape)
        axis += _axes_used(part)
    arrays = [part for part in parts if isinstance(part, cp.ndarray)]
    if len(arrays) > 1:
        _check_together(name, arrays)
    return Selection(tuple(parts), shape, bool(arrays))


def _check_together(name: str, arrays: Sequence[RawArray]) -> None:
    # A mask stands for the indices of what it selects.
    sizes = [
        (int(cp.count_nonzero(array)),) if array.dtype.kind == "b" else array.shape
        for array in arrays
    ]
    try:
        np.broadcast_shapes(*sizes)
    except ValueError:
        shapes = " and ".join(map(str, sizes))
        msg = f"{name}: index arrays must broadcast together, got shapes {shapes}"
        raise IndexError(msg) from None


def _part(name: str, index: Any) -> Any:
    if isinstance(index, (Tensor, cp.ndarray, np.ndarray)):
        return _index_array(name, index)
    if index is None or index is Ellipsis or isinstance(index, slice):
        return index
    if not isinstance(index, (bool, np.bool_)):
        try:
            return operator.index(index)
        except TypeError:
            pass
    msg = (
        f"{name}: an index must be an int, a slice, None, ..., a list, or a Tensor or raw array "
        f"of integers or bool, got {type_name(index)}"
    )
    raise IndexError(msg)


def _index_array(name: str, index: Any) -> RawArray:
    """Make an index array that belongs to the call (autograd-25)."""
    kind = index.dtype.kind
    if kind not in "biu":
        msg = f"{name}: index arrays must be integers or bool, got dtype {index.dtype.name}"
        raise IndexError(msg)
    if isinstance(index, Tensor):
        raw = keep(index)
        return raw if kind == "b" or raw.dtype in (int32, int64) else device_indices(raw)
    return cp.array(index, copy=True) if kind == "b" else device_indices(index)


def index_list(name: str, index: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Make an array of nested lists and tuples (tensor-35).

    Raises
    ------
    IndexError
        If they are ragged, or hold anything but integers or bools.
    """
    try:
        host = np.array(_plain(index))
    except ValueError:
        msg = f"{name}: a list used as an index must not be ragged, got {shown(index)}"
        raise IndexError(msg) from None
    if host.size == 0:
        host = host.astype("int64")
    if host.dtype.kind not in "biu":
        msg = f"{name}: a list used as an index must hold integers or bools, got {shown(index)}"
        raise IndexError(msg)
    return host


def _plain(index: Any) -> Any:
    """Make Python numbers, in nested lists, of what a list used as an index holds."""
    if isinstance(index, (list, tuple, range)):
        return [_plain(item) for item in index]
    if isinstance(index, (Tensor, cp.ndarray, np.ndarray, np.generic)):
        return index.tolist()
    return index


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, cp.ndarray) and part.dtype.kind == "b" else 1


def _check_part(name: str, given: Any, part: Any, axis: int, shape: tuple[int, ...]) -> None:
    if isinstance(part, cp.ndarray) and part.dtype.kind == "b":
        if part.shape != shape[axis : axis + part.ndim]:
            msg = (
                f"{name}: a mask of shape {part.shape} as an index does not fit axis {axis} of "
                f"shape {shape}"
            )
            raise IndexError(msg)
    elif isinstance(part, cp.ndarray):
        worst = find_outside(given, part, -shape[axis], shape[axis])
        if worst is not None:
            msg = f"{name}: index {worst} is out of range for axis {axis} of shape {shape}"
            raise IndexError(msg)
    elif isinstance(part, int) and not -shape[axis] <= part < shape[axis]:
        msg = f"{name}: index {part} is out of range for axis {axis} of shape {shape}"
        raise IndexError(msg)


getitem = mappable("getitem", getitem)
handles.getitem = getitem
handles.put_together = _put_together
