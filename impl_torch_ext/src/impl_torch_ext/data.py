"""Batches of rows of arrays, and of sequences of similar length."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import check_int, check_number, check_size, refuse_dtype, shown
from impl_torch_ext.dtypes import FIVE, FROM_NUMPY
from impl_torch_ext.random import check_seed, stream
from impl_torch_ext.tensor import Leaf, leaf

__all__ = ["batches", "bucketed"]

_Array: TypeAlias = Tensor | np.ndarray


def batches(
    arrays: Any,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int | None = None,
    drop_last: bool = False,
    start: int = 0,
) -> Iterator[Any]:
    """Cut arrays along their first axis into batches.

    Source: torch.utils.data.DataLoader.

    Parameters
    ----------
    arrays : tuple, list or mapping of arrays, or one array
        Tensors, raw arrays or NumPy arrays of one length along axis 0.
    batch_size : int
    shuffle : bool
        Whether the rows come in the order that `seed` gives.
    seed : int, optional
    drop_last : bool
        Whether a last batch that is short is left out.
    start : int
        How many batches were taken before.

    Returns
    -------
    iterator
        Of tuples, dicts or arrays, as `arrays` came: copies of the next rows of each.

    Raises
    ------
    ValueError
        If a number is out of range, the lengths differ, there is no array or one has no axes, or
        `shuffle` has no seed.
    TypeError
        If something is of another kind.
    """
    name = "batches"
    if isinstance(arrays, tuple | list):
        named = dict[Any, Any](enumerate(arrays))
    else:
        named = dict(arrays) if isinstance(arrays, Mapping) else {None: arrays}
    count = _length(name, named)
    size, key = _checked(name, batch_size, seed, drop_last)
    if _flag(name, "shuffle", shuffle) and key is None:  # data-03
        msg = f"{name}: seed must be an int where shuffle is true, got None"
        raise ValueError(msg)
    number = _number(name, count, size, drop_last, start)

    def taken() -> Iterator[Any]:
        order = np.arange(count) if key is None or not shuffle else _order(stream(key)(count))
        for k in range(start, number):
            rows = order[k * size : (k + 1) * size]
            batch = {label: _rows(array, rows) for label, array in named.items()}
            if isinstance(arrays, Mapping):
                yield batch
            else:
                yield tuple(batch.values()) if isinstance(arrays, tuple | list) else batch[None]

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
) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Cut sequences, sorted by length, into padded batches.

    Source: Khomenko et al., Accelerating recurrent neural network training using sequence
    bucketing and multi-GPU data parallelization, 2016.

    Parameters
    ----------
    sequences : tuple or list of arrays
        Axis 0 is time; dtype and further axes are the same in all.
    batch_size : int
    seed : int, optional
        Of the order among sequences of one length, and of that of the batches.
    drop_last : bool
        Whether a last batch that is short is left out.
    start : int
        How many batches were taken before.
    batch_first : bool
    padding_value : float
        What stands past the end of a sequence.

    Returns
    -------
    iterator
        Of tuples `(padded, lengths, indices)`: an array of shape (T, N, ...), or (N, T, ...), and
        two NumPy arrays of int64, the lengths of its sequences and their places in `sequences`.

    Raises
    ------
    ValueError
        If a number is out of range, or a sequence has no axes or other ones than the first.
    TypeError
        If something is of another kind, or a sequence of another dtype.
    """
    name = "bucketed"
    if not isinstance(sequences, tuple | list):
        msg = f"{name}: sequences must be a tuple or list of arrays, got {shown(sequences)}"
        raise TypeError(msg)
    kept = tuple(sequences)
    for place, sequence in enumerate(kept):
        _check_sequence(place, sequence, kept[0])
    size, key = _checked(name, batch_size, seed, drop_last)
    first = _flag(name, "batch_first", batch_first)
    value = _padding(padding_value, kept[0] if kept else None)
    number = _number(name, len(kept), size, drop_last, start)

    # data-08: of several kinds the one that comes first in this order.
    like = min(kept, key=lambda x: (_plain(x), not isinstance(x, Leaf)), default=None)

    def taken() -> Iterator[Any]:
        lengths = np.array([len(sequence) for sequence in kept], np.int64)
        draw = None if key is None else stream(key)
        ties = np.zeros(len(kept)) if draw is None else draw(len(kept))
        order = np.lexsort((ties, lengths))  # data-07
        turns = np.arange(number) if draw is None else _order(draw(number))
        for k in turns[start:]:
            places = order[k * size : (k + 1) * size].astype(np.int64)
            yield _padded([kept[i] for i in places], first, value, like), lengths[places], places

    return taken()


def _checked(name: str, batch_size: Any, seed: Any, drop_last: Any) -> tuple[int, int | None]:
    _flag(name, "drop_last", drop_last)
    key = None if seed is None else check_seed(name, seed)
    return check_size(name, "batch_size", batch_size), key


def _number(name: str, count: int, size: int, drop_last: bool, start: Any) -> int:
    """Return the number of batches, or raise if `start` is none of them."""
    number = count // size if drop_last else math.ceil(count / size)
    if not 0 <= check_int(name, "start", start) <= number:  # data-04
        msg = f"{name}: start must be from 0 to the {number} batches, got {start}"
        raise ValueError(msg)
    return number


def _flag(name: str, option: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):  # data-06
        msg = f"{name}: {option} must be a bool, got {shown(value)}"
        raise TypeError(msg)
    return bool(value)


def _length(name: str, arrays: Mapping[Any, Any]) -> int:
    """Return the length that the arrays share, or raise."""
    if not arrays:
        msg = f"{name}: arrays must hold at least one array, got none"
        raise ValueError(msg)
    for array in arrays.values():
        if not isinstance(array, Tensor | np.ndarray):
            msg = f"{name}: arrays must be arrays, or a tuple, list or mapping of them, got "
            raise TypeError(msg + shown(array))
        if array.ndim == 0:
            msg = f"{name}: arrays must have an axis of rows, got an array of shape ()"
            raise ValueError(msg)
    lengths = [len(array) for array in arrays.values()]
    if len(set(lengths)) > 1:
        msg = f"{name}: arrays must be of one length, got {shown(lengths)}"
        raise ValueError(msg)
    return lengths[0]


def _order(draws: np.ndarray) -> np.ndarray:
    return np.argsort(draws, kind="stable")  # data-01


def _rows(array: _Array, rows: np.ndarray) -> _Array:
    """Return copies of rows, of the kind that the array is."""
    if isinstance(array, np.ndarray):
        return array[rows]
    return _alike(array.detach().index_select(0, torch.from_numpy(rows)), array)


def _alike(result: Tensor, like: Any) -> Tensor:
    return leaf(result) if isinstance(like, Leaf) else result


def _check_sequence(place: int, sequence: Any, first: Any) -> None:
    """Raise if what stands at a place is no sequence like the first."""
    if not isinstance(sequence, Tensor | np.ndarray):
        msg = f"bucketed: sequences[{place}] must be an array, got {shown(sequence)}"
        raise TypeError(msg)
    came, wanted = (
        FROM_NUMPY.get(x.dtype.newbyteorder("=")) if _plain(x) else x.dtype
        for x in (sequence, first)
    )
    if came not in FIVE:
        refuse_dtype("bucketed", f"sequences[{place}]", sequence.dtype)
    if came != wanted:  # data-09
        msg = (
            f"bucketed: sequences[{place}] must have the dtype of the first, {first.dtype}, got "
            f"{sequence.dtype}"
        )
        raise TypeError(msg)
    if sequence.ndim == 0 or sequence.shape[1:] != first.shape[1:]:
        msg = (
            f"bucketed: sequences[{place}] must have an axis of time and the further axes of the "
            f"first, of shape {tuple(first.shape)}, got shape {tuple(sequence.shape)}"
        )
        raise ValueError(msg)


def _plain(sequence: Any) -> bool:
    return isinstance(sequence, np.ndarray)


def _padding(value: Any, first: _Array | None) -> float:
    """Return what stands past an end, or raise if the dtype of the sequences does not hold it."""
    number = check_number("bucketed", "padding_value", value)
    if first is None:
        return number
    dtype = np.dtype(str(first.dtype).removeprefix("torch."))
    with suppress(OverflowError):  # Of an int that float64 does not hold, and of int(inf).
        if dtype.kind == "f":
            return float(number)
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if number == number and low <= int(number) <= high and int(number) == number:
            return int(number)
    msg = f"bucketed: padding_value must be a number that {dtype} holds, got {shown(value)}"
    raise ValueError(msg)


def _padded(sequences: Sequence[_Array], batch_first: bool, value: float, like: Any) -> _Array:
    """Return sequences beside each other, of the kind of `like`."""
    plain = [x if isinstance(x, np.ndarray) else x.detach().numpy() for x in sequences]
    sizes = (len(plain), max(map(len, plain)))
    rest = plain[0].shape[1:]
    with np.errstate(over="ignore"):
        padded = np.full((*(sizes if batch_first else sizes[::-1]), *rest), value, plain[0].dtype)
    for n, x in enumerate(plain):
        padded[(n, slice(len(x))) if batch_first else (slice(len(x)), n)] = x
    return padded if _plain(like) else _alike(torch.from_numpy(padded), like)


def __dir__() -> list[str]:
    return __all__
