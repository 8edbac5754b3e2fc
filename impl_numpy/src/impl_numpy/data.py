"""Arrays cut into batches: rows, and sequences of similar length."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from impl_numpy import random
from impl_numpy.checks import THE_FIVE, check_number, shown
from impl_numpy.dtypes import FIVE, Array, is_raw
from impl_numpy.tensor import Tensor, wrap

__all__ = ["batches", "bucketed"]


def batches(
    arrays: Any,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int | None = None,
    drop_last: bool = False,
    start: int = 0,
) -> Iterator[Any]:
    """Return an iterator over the rows of arrays, batch by batch (torch.utils.data.DataLoader).

    Parameters
    ----------
    arrays : tuple or list of arrays, mapping from names to arrays, or one array
        All of the same length along axis 0. Rows are read when their batch is taken.
    batch_size : int
        The rows of a batch, at least 1; the last may have fewer.
    shuffle : bool
        Take the rows in an order that the seed gives.
    seed : int, optional
        0 <= seed < 2**64. Another epoch takes another.
    drop_last : bool
        Leave out a last batch that is short.
    start : int
        The number of batches that were taken before.

    Returns
    -------
    iterator
        Of tuples, dicts or arrays, as the arrays came: copies, Tensors without history or arrays.

    Raises
    ------
    ValueError
        If a number is out of range, the lengths differ, there is no array or one has no axes, or
        `shuffle` has no seed.
    TypeError
        If something is of another kind.
    """
    named, listed = isinstance(arrays, Mapping), isinstance(arrays, (tuple, list))
    keys = list(arrays) if named else list(range(len(arrays))) if listed else [None]
    columns = [arrays[key] for key in keys] if named or listed else [arrays]
    size = _size("batches", batch_size)
    shuffle = _flag("batches", "shuffle", shuffle)
    drop_last = _flag("batches", "drop_last", drop_last)
    bits = None if seed is None else random.philox("batches", seed)
    count = _length(keys, columns)
    if shuffle and bits is None:
        msg = "batches: seed must be an int where shuffle is True, got None"
        raise ValueError(msg)
    order = _order(count, bits) if shuffle else None
    starts = _starts(count, size, drop_last)
    first = _start("batches", start, len(starts))

    def taken() -> Iterator[Any]:
        for begin in starts[first:]:
            part = slice(begin, begin + size)
            at = part if order is None else order[part]
            rows = tuple([_rows(column, at) for column in columns])
            yield dict(zip(keys, rows, strict=True)) if named else rows if listed else rows[0]

    return taken()


def bucketed(
    sequences: Any,
    batch_size: int,
    *,
    seed: int | None = None,
    drop_last: bool = False,
    start: int = 0,
    batch_first: bool = False,
    padding_value: float = 0.0,
) -> Iterator[tuple[Any, Array, Array]]:
    """Return an iterator over sequences of similar length, padded (Khomenko et al. 2016).

    Parameters
    ----------
    sequences : tuple or list of arrays, shape (time, ...)
        All of one dtype (bool, int32, int64, float32 or float64) and with the same further axes.
    batch_size : int
        The sequences of a batch, at least 1; the last may have fewer.
    seed : int, optional
        0 <= seed < 2**64: mixes sequences of one length, and the batches. Without one the batches
        come from the shortest to the longest.
    drop_last : bool
        Leave out a batch that is short.
    start : int
        The number of batches that were taken before.
    batch_first : bool
    padding_value : number
        What stands past the end of a sequence.

    Returns
    -------
    iterator of (padded, lengths, indices)
        `padded` of shape (T, N, ...), or (N, T, ...) with `batch_first`, is a Tensor or array as
        the sequences are; the length of each and its place in `sequences` are NumPy's int64.

    Raises
    ------
    ValueError
        If a number is out of range, a sequence has no axes or other further ones than the first, or
        the dtype does not hold the padding value.
    TypeError
        If something is of another kind, or a sequence of another dtype.
    """
    size = _size("bucketed", batch_size)
    drop_last = _flag("bucketed", "drop_last", drop_last)
    batch_first = _flag("bucketed", "batch_first", batch_first)
    bits = None if seed is None else random.philox("bucketed", seed)
    given = _sequences(sequences)
    number = check_number("bucketed", "padding_value", padding_value)
    if given:
        _check_padding(number, _raw(given[0]).dtype)
    lengths = np.array([len(_raw(x)) for x in given], np.int64)
    draws = np.zeros(0) if bits is None else random.uniform((len(given),), bits)
    # Both sorts are stable: without draws the order of one length is that of the sequences.
    order = np.argsort(lengths, kind="stable") if bits is None else np.lexsort((draws, lengths))
    starts = _starts(len(given), size, drop_last)
    if bits is not None:  # data-07
        starts = [starts[k] for k in _order(len(starts), bits)]
    first = _start("bucketed", start, len(starts))

    wrapped = any(isinstance(x, Tensor) for x in given)  # data-08

    def taken() -> Iterator[tuple[Any, Array, Array]]:
        for begin in starts[first:]:
            places = order[begin : begin + size].astype(np.int64)
            padded = _padded([given[k] for k in places], number, batch_first)
            yield wrap(padded, None) if wrapped else padded, lengths[places], places

    return taken()


def _padded(members: list[Any], value: float, batch_first: bool) -> Array:
    """Return sequences side by side, with a value past their ends."""
    arrays = [_raw(x) for x in members]
    longest, further = max(map(len, arrays)), arrays[0].shape[1:]
    count = len(arrays)
    shape = (count, longest, *further) if batch_first else (longest, count, *further)
    with np.errstate(all="ignore"):
        padded = np.full(shape, value, arrays[0].dtype)
    by_sequence = padded if batch_first else padded.swapaxes(0, 1)
    for place, array in zip(by_sequence, arrays, strict=True):
        place[: len(array)] = array
    return padded


def _rows(x: Any, part: Any) -> Any:
    """Return a copy of rows of an array, of the kind that it is."""
    rows = _raw(x)[part]
    rows = rows.copy() if isinstance(part, slice) else rows
    return wrap(rows, None) if isinstance(x, Tensor) else rows


def _raw(x: Any) -> Array:
    array: Array = x._data if isinstance(x, Tensor) else x
    return array


def _order(count: int, bits: Any) -> Array:
    """Return the order of so many things that the next draws give (data-01)."""
    return np.argsort(random.uniform((count,), bits), kind="stable")


def _starts(count: int, size: int, drop_last: bool) -> list[int]:
    """Return where each batch begins."""
    number = count // size if drop_last else math.ceil(count / size)
    return [size * k for k in range(number)]


def _int(operation: str, name: str, value: Any, least: int, most: float, wanted: str) -> int:
    if isinstance(value, (bool, np.bool)) or not isinstance(value, (int, np.integer)):
        msg = f"{operation}: {name} must be an int, got {type(value).__name__} {shown(value)}"
        raise TypeError(msg)
    if not least <= value <= most:
        msg = f"{operation}: {name} must be {wanted}, got {value}"
        raise ValueError(msg)
    return int(value)


def _size(operation: str, value: Any) -> int:
    return _int(operation, "batch_size", value, 1, math.inf, "at least 1")


def _start(operation: str, value: Any, number: int) -> int:
    return _int(operation, "start", value, 0, number, f"from 0 to {number}, as many as batches")


def _flag(operation: str, name: str, value: Any) -> bool:
    """Return a bool; raise TypeError for what is none (data-06)."""
    if not isinstance(value, (bool, np.bool)):
        msg = f"{operation}: {name} must be a bool, got {type(value).__name__} {shown(value)}"
        raise TypeError(msg)
    return bool(value)


def _length(keys: Sequence[Any], columns: Sequence[Any]) -> int:
    """Return the length that all arrays have along axis 0."""
    if not columns:
        msg = "batches: arrays must hold at least one array, got none"
        raise ValueError(msg)
    lengths = []
    for key, x in zip(keys, columns, strict=True):
        name = "arrays" if key is None else f"arrays[{shown(key)}]"
        if not isinstance(x, Tensor) and not is_raw(x):
            wanted = "a Tensor or an array" + (", or several" if key is None else "")
            msg = f"batches: {name} must be {wanted}, got {type(x).__name__} {shown(x)}"
            raise TypeError(msg)
        if not x.ndim:
            msg = f"batches: {name} must have an axis of rows, got shape {x.shape}"
            raise ValueError(msg)
        lengths.append(x.shape[0])
    if len(set(lengths)) > 1:
        msg = f"batches: arrays must have one length along axis 0, got {shown(lengths)}"
        raise ValueError(msg)
    return int(lengths[0])


def _sequences(sequences: Any) -> list[Any]:
    """Return sequences that can be padded side by side."""
    if not isinstance(sequences, (tuple, list)):
        got = f"{type(sequences).__name__} {shown(sequences)}"
        msg = f"bucketed: sequences must be a tuple or list of arrays, got {got}"
        raise TypeError(msg)
    for k, x in enumerate(sequences):
        name = f"bucketed: sequences[{k}] must"
        if not isinstance(x, Tensor) and not is_raw(x):
            msg = f"{name} be a Tensor or an array, got {type(x).__name__} {shown(x)}"
            raise TypeError(msg)
        if x.dtype not in FIVE:
            msg = f"{name} be of {THE_FIVE}, got {x.dtype}"
            raise TypeError(msg)
        if not x.ndim:
            msg = f"{name} have an axis of time, got shape {x.shape}"
            raise ValueError(msg)
        first = sequences[0]
        if x.dtype != first.dtype:
            msg = f"{name} have the dtype {first.dtype} of the first, got {x.dtype}"
            raise TypeError(msg)
        if x.shape[1:] != first.shape[1:]:
            msg = f"{name} have the further axes of the first, {first.shape}, got {x.shape}"
            raise ValueError(msg)
    return list(sequences)


def _check_padding(value: float, dtype: np.dtype[Any]) -> None:
    """Raise ValueError for a number that an integer or boolean dtype does not hold (data-09)."""
    least, most = (0, 1) if dtype.kind == "b" else (0, 0)
    if dtype.kind == "i":
        least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if dtype.kind == "f":
        held = isinstance(value, float) or abs(value) <= sys.float_info.max
    else:
        whole = isinstance(value, int) or value.is_integer()
        held = whole and least <= value <= most
    if not held:
        msg = f"bucketed: padding_value must be a number that {dtype} holds, got {shown(value)}"
        raise ValueError(msg)


def __dir__() -> list[str]:
    return __all__
