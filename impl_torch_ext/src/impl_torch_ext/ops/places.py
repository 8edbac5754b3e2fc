"""Values put or added where an index says."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_range, check_shape, check_tensor, normalize_axis, shapes_of
from impl_torch_ext.creation import copied
from impl_torch_ext.dtypes import bool_, int64
from impl_torch_ext.ops.families import Operand, listed, operands
from impl_torch_ext.ops.indexing import from_the_front
from impl_torch_ext.ops.movement import check_count
from impl_torch_ext.tensor import added_along, as_index, index_array
from impl_torch_ext.tracing import is_sliced, readable

__all__ = ["put", "scatter_add", "segment_sum"]


@listed(
    {
        "x": "Tensor, any shape",
        "key": "what indexing takes",
        "values": "Tensor or number\nIts shape broadcasts to that of ``x[key]``.",
    },
    "Tensor, the shape and dtype of `x`",
    {
        "IndexError": "If an index is out of range.",
        "ValueError": "If the shapes do not fit.",
        "TypeError": "If `values` is no Tensor or number, or does not go into the dtype of `x`.",
    },
    "jax.numpy.ndarray.at",
)
def put(x: Tensor, key: Any, values: Operand, /) -> Tensor:
    """Return a copy of `x` with `values` at ``x[key]``; the last of several at a place stays."""
    given = _going_into(check_tensor("put", x), values)
    index = as_index("put", key)
    shape = _chosen_shape(x, index)
    try:
        spread = given.expand(shape)
    except RuntimeError:
        msg = (
            "put: values must broadcast to the shape of x[key], got shapes "
            f"{tuple(given.shape)} and {tuple(shape)}"
        )
        raise ValueError(msg) from None
    if isinstance(index, Tensor) and index.dtype is bool_ and index.shape == x.shape:
        return x.masked_scatter(index, spread) if given.ndim else torch.where(index, given, x)
    items = index if type(index) is tuple else (index,)
    arrays = [item for item in items if isinstance(item, Tensor) and item.dtype is not bool_]
    if all(item.numel() == 1 for item in arrays):
        result = x.clone()
        result[index] = spread
        return result
    if isinstance(index, Tensor):
        return _put_rows(x, index.to(int64), spread)
    parts = (_part_of_places(x.shape, axis).expand(x.shape)[index] for axis in range(x.ndim))
    return _put_rows(x.reshape(-1), reduce(torch.add, parts), spread).view(x.shape)


def _chosen_shape(x: Tensor, index: Any) -> tuple[int, ...]:
    """Return the shape of ``x[index]``, or raise as indexing does."""
    if isinstance(index, Tensor) and index.dtype is bool_ and index.shape == x.shape:
        return (int(torch.count_nonzero(index)),)
    try:
        return torch.empty(()).expand(x.shape)[index].shape
    except (IndexError, ValueError, TypeError) as error:
        msg = f"put: {' '.join(str(error).split())}"
        raise type(error)(msg) from None


def _going_into(x: Tensor, values: Any) -> Tensor:
    """Return `values` in the dtype of `x`, or raise a TypeError if it holds them not (ops-56)."""
    given = operands("put", x, values)[1]
    if isinstance(given, Tensor):
        fits = torch.promote_types(x.dtype, given.dtype) is x.dtype
    else:
        fits = (
            x.is_complex()
            or type(given) is bool
            or (type(given) is float and x.is_floating_point())
            or (type(given) is int and x.dtype is not bool_)
        )
    if not fits:
        came = given.dtype if isinstance(given, Tensor) else type(given).__name__
        msg = f"put: values must go into the dtype of x, {x.dtype}, got {came}"
        raise TypeError(msg)
    return given.to(x.dtype) if isinstance(given, Tensor) else copied("put", given, x.dtype)


def _put_rows(x: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Return `x` with values at integers along axis 0, of which the last of equal ones counts."""
    places = from_the_front("put", index.reshape(-1), x, 0)
    rows = values.reshape(len(places), *x.shape[1:])
    order = torch.arange(len(places))
    # The greatest number that goes to a place, whatever the order in which threads come to it.
    # Elements that none goes to are not touched, which is most of them where `x` is long.
    last = torch.empty(len(x), dtype=int64)
    if is_sliced(places):
        last = last + 0 * places.sum()  # So that each slice has one of its own.
    last.scatter_reduce_(0, places, order, "amax", include_self=False)
    stays: Tensor = last.index_select(0, places) == order
    plain = readable(stays) is stays
    if not plain:
        # What does not stay goes to one more row, which is cut off.
        padded = torch.cat([x, x.new_zeros((1, *x.shape[1:]))])
        return padded.index_copy(0, torch.where(stays, places, len(x)), rows)[:-1]
    if not bool(stays.all()):
        kept = stays.nonzero().reshape(-1)
        places, rows = places.index_select(0, kept), rows.index_select(0, kept)
    return x.index_copy(0, places, rows)


def _part_of_places(shape: Sequence[int], axis: int) -> Tensor:
    """Return what an index along an axis adds to the place in the flattened array."""
    rest = shape[axis + 1 :]
    return (torch.arange(shape[axis]) * math.prod(rest)).reshape(-1, *[1] * len(rest))


@listed(
    {
        "x": "Tensor, any shape with an axis",
        "indices": "integers in an array of as many axes as `x`\nTheir other axes are those of `x` "
        "or 1. Negative ones count from the end.",
        "values": "Tensor, the shape of `indices`",
        "axis": "int",
    },
    "Tensor, the shape of `x`",
    {
        "IndexError": "If an index is out of range.",
        "ValueError": "If the shapes do not fit, or the axis is out of range.",
        "TypeError": "If an operand is no Tensor or boolean, or `indices` are no integers.",
    },
    "torch.scatter_add",
)
def scatter_add(x: Tensor, indices: Tensor, values: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return a copy of `x` with `values` added at those of `indices` in each row."""
    name = "scatter_add"
    x, values = (_numbers(name, y) for y in operands(name, x, values))
    place = normalize_axis(name, axis, x)
    given = index_array(name, "indices", indices, x.shape[place]).to(int64)
    shape = list(given.shape)
    if given.ndim == x.ndim:
        shape[place] = x.shape[place]
    fits = [size in (1, length) for size, length in zip(shape, x.shape, strict=False)]
    if given.ndim != x.ndim or given.shape != values.shape or not all(fits):
        msg = (
            f"{name}: indices and values must have one shape, that of x or 1 but for axis {place}, "
            f"got {shapes_of(x, given, values)}"
        )
        raise ValueError(msg)
    along = from_the_front(name, given, x, place)
    # Where each value goes in an array of `shape`, which is stretched when it is added to x.
    places = along * math.prod(shape[place + 1 :])
    for i, size in enumerate(shape):
        if i != place and size > 1:
            places = places + _part_of_places(shape, i)
    dtype = torch.promote_types(x.dtype, values.dtype)
    added = added_along(values.to(dtype).reshape(-1), places.reshape(-1), math.prod(shape))
    return x + added.reshape(shape)


def _numbers(name: str, x: Any) -> Tensor:
    """Return `x`, or raise a TypeError if it is no Tensor of numbers."""
    if check_tensor(name, x, "each operand").dtype is bool_:
        msg = f"{name}: operands must be of numbers, got {x.dtype}"
        raise TypeError(msg)
    return x


@listed(
    {
        "x": "Tensor, shape (N, *)",
        "segment_ids": "integers, shape (N,)\nThe segment of each row, in any order.",
        "num_segments": "int, at least 0",
    },
    "Tensor, shape (num_segments, *)",
    {
        "IndexError": "If an id is negative or not less than `num_segments`.",
        "ValueError": "If the ids are not one for each row, or `num_segments` is negative.",
        "TypeError": "If `x` is no Tensor or boolean, or `segment_ids` are no integers.",
    },
    "jax.ops.segment_sum",
)
def segment_sum(x: Tensor, segment_ids: Tensor, /, num_segments: int) -> Tensor:
    """Return the sums of the rows of each segment, 0 where there are none."""
    name = "segment_sum"
    rows, count = _numbers(name, x), check_count(name, "num_segments", num_segments)
    check_shape(name, (count, *rows.shape[1:]))
    if isinstance(segment_ids, list):
        segment_ids = copied(name, segment_ids, None if segment_ids else int64)
    ids = index_array(name, "segment_ids", segment_ids, count).to(int64)
    if ids.ndim != 1 or ids.shape != rows.shape[:1]:
        msg = (
            f"{name}: segment_ids must have one id for each row of x, got shapes "
            f"{shapes_of(x, ids)}"
        )
        raise ValueError(msg)
    text = "segment_ids must be in [0, num_segments) for num_segments"
    check_range(name, ids, count, text, IndexError)
    return added_along(rows, ids, count)
