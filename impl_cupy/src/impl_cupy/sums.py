"""Sums and products whose error grows at most like that of adding by pairs (ops-25)."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import normalize_axes
from impl_cupy.dtypes import complex64, complex128, float32, float64, parts_of
from impl_cupy.launch import launch

RawArray = Any

# CuPy adds up in the order of its threads, at least sixteen to a result: as good as by pairs while
# there are this many terms.
_FEW_TERMS = 64
# All 512 threads of a block add up to one result where only one is wanted, and what lies one behind
# the other: 32 terms each, then by pairs.
_FEW_TOGETHER = 1 << 14
_AXES = tuple(range(64))
# How many float64 terms are added up at a time.
_GROUP = 32


# An inner sum longer than this is cut into blocks where few elements result: how a library adds
# there is not known (ops-25).
_LONG_INNER = 1 << 13
_INNER_BLOCK = 1 << 11
_FEW_RESULTS = 64
# How many rows one thread adds up, where there are more than so many of them for each result.
_STRETCH = 64
_WIDER = {float32: float64, complex64: complex128}
_FEW_LOOKUPS = 1 << 12


def product(left: RawArray, right: RawArray) -> Any:
    """Multiply matrices as `cupy.matmul` does, a long inner sum in blocks that are added up.

    Parameters
    ----------
    left : cupy.ndarray, shape (*, M, K)
    right : cupy.ndarray, shape (*, K, N)
    """
    count = left.shape[-1]
    few = left.ndim > 1 < right.ndim and left.shape[-2] * right.shape[-1] <= _FEW_RESULTS
    if count <= _LONG_INNER or not few or left.dtype.kind not in "fc":
        return cp.matmul(left, right)
    whole = count - count % _INNER_BLOCK
    cut = whole // _INNER_BLOCK, _INNER_BLOCK
    rows = left[..., :whole].reshape(*left.shape[:-1], *cut).swapaxes(-2, -3)
    columns = right[..., :whole, :].reshape(*right.shape[:-2], *cut, right.shape[-1])
    blocks = cp.matmul(rows, columns)
    rest = cp.matmul(left[..., whole:], right[..., whole:, :])
    return total(blocks, blocks.ndim - 3) + rest


def total(raw: RawArray, axis: Any = None, keepdims: bool = False, *, mean: bool = False) -> Any:
    """Add up a raw array over `axis`, with an error like that of adding by pairs (ops-25).

    Parameters
    ----------
    raw : cupy.ndarray
    axis : int, tuple of int or None
        As for `cupy.sum`.
    keepdims : bool
        Whether the axes stay, with length 1.
    mean : bool
        Whether to divide by the number of terms.
    """
    function = cp.mean if mean else cp.sum
    if raw.size <= _FEW_TERMS or raw.dtype.kind not in "fc":
        return function(raw, axis=axis, keepdims=keepdims)
    is_one = axis is None or axis == _AXES[: raw.ndim]
    if is_one and raw.size <= _FEW_TOGETHER and raw.flags.c_contiguous:
        return function(raw, keepdims=keepdims)
    axes = normalize_axes("sum", axis, raw.shape)
    count = math.prod([raw.shape[place] for place in axes])
    if count <= _FEW_TERMS:
        return function(raw, axis=axes, keepdims=keepdims)
    kept = kept_shape(raw.shape, axes)
    rest = tuple(size for place, size in enumerate(raw.shape) if place not in axes)
    sizes = kept if keepdims else rest
    wide = _WIDER.get(raw.dtype)
    if wide is not None:
        # One kernel that reads and writes float32, and adds in float64.
        out = cp.empty(sizes, dtype=raw.dtype)
        return function(raw, axis=axes, dtype=wide, out=out, keepdims=keepdims)
    if len(axes) == raw.ndim and raw.flags.c_contiguous:
        raw, axes = raw.reshape(-1), (0,)
    for place in axes:
        while raw.shape[place] > _FEW_TERMS:
            raw = _grouped(raw, place)
        raw = cp.sum(raw, axis=place, keepdims=True)
    raw = raw.reshape(sizes)
    return raw / count if mean else raw


def _grouped(raw: RawArray, axis: int) -> RawArray:
    """Add up the elements along an axis in groups."""
    shape = raw.shape
    groups = shape[axis] // _GROUP
    sizes = (*shape[:axis], groups, _GROUP, *shape[axis + 1 :])
    sums = cp.sum(cut(raw, axis, 0, groups * _GROUP).reshape(sizes), axis=axis + 1)
    if groups * _GROUP == shape[axis]:
        return sums
    left = cp.sum(cut(raw, axis, groups * _GROUP), axis=axis, keepdims=True)
    return cp.concatenate([sums, left], axis=axis)


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape with the length 1 at `axes`."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def cut(array: Any, axis: int, start: int, stop: int | None = None) -> Any:
    """Return the part of an array, raw or a Tensor, from `start` to `stop` along an axis."""
    return array[(slice(None),) * axis + (slice(start, stop),)]


def scatter_rows(values: RawArray, rows: RawArray, count: int, skipped: int = -1) -> RawArray:
    """Add each row of `values` to the row of the result that `rows` names.

    Parameters
    ----------
    values : cupy.ndarray, shape (lookups, width)
    rows : cupy.ndarray, shape (lookups,), int
        ``0 <= row < count``.
    count : int
        Rows of the result.
    skipped : int
        A row that gets nothing of floating values; -1 for none.

    Returns
    -------
    cupy.ndarray, shape (count, width)
    """
    dtype, width = values.dtype, values.shape[1]
    if not values.size:
        return cp.zeros((count, width), dtype=dtype)
    rows = rows.astype("int64", copy=False)
    if dtype.kind not in "fc":
        # Whole numbers add up to the same in any order, modulo 2 to their bits; CuPy adds unsigned
        # ones of 32 and of 64 bits.
        wide = "uint64" if dtype.itemsize == 8 else "uint32"
        whole = cp.zeros((count, width), dtype=wide)
        cp.add.at(whole, rows, values.astype(wide))
        return whole.astype(dtype)
    order = cp.argsort(rows)
    # Parts of complex numbers add up each by themselves.
    parts = cp.ascontiguousarray(values).view(parts_of(dtype))
    out = cp.zeros((count, parts.shape[1]), dtype=parts.dtype)
    return _add_runs(parts, order, rows[order], out, skipped).view(dtype)


def _add_runs(
    values: RawArray, order: RawArray, rows: RawArray, out: RawArray, skipped: int = -1
) -> RawArray:
    """Add rows of values, which `order` sorts, to the rows of `out`, which is zeros.

    Where many go to each, a thread alone would add for long: they are cut into stretches of one row
    each, whose sums are added then.
    """
    lookups, (count, width) = len(rows), out.shape
    if lookups > max(_FEW_LOOKUPS, _STRETCH * count):
        is_first = cp.arange(lookups) % _STRETCH == 0
        is_first[1:] |= rows[1:] != rows[:-1]
        stretches = cp.cumsum(is_first) - 1
        # As many as there can be; what is left over belongs to the row that gets nothing.
        most = lookups // _STRETCH + 2 + count
        sums = cp.zeros((most, width), dtype=values.dtype)
        _add_runs(values, order, stretches, sums)
        owners = cp.full(most, skipped, dtype="int64")
        owners[stretches] = rows
        return _add_runs(sums, cp.arange(most), owners, out, skipped)
    sizes = lookups, width, skipped
    launch(
        "scatter", "scatter_rows", values.dtype, lookups * width, values, order, rows, out, *sizes
    )
    return out
