"""Batches of rows, and of sequences of similar length, in orders that a seed gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import check_int, check_positive_int, shown, type_name
from impl_cupy.dtypes import THE_FIVE, held, native
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

__all__ = ["batches", "bucketed"]

_Numbers = np.ndarray[Any, np.dtype[Any]]


def __dir__() -> list[str]:
    return __all__


def batches(
    arrays: Any,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int | None = None,
    drop_last: bool = False,
    start: int = 0,
) -> Iterator[Any]:
    """Iterate over arrays, `batch_size` rows of each at a time.

    Source: ``torch.utils.data.DataLoader``.

    Parameters
    ----------
    arrays : Tensor, cupy.ndarray or numpy.ndarray, or a tuple, list or mapping of them
        All of one length along axis 0.
    batch_size : int
    shuffle : bool
        Whether the rows come in the order of `seed`, not in their own.
    seed : int, optional
        ``0 <= seed < 2**64``; the generator of `init` stays where it is.
    drop_last : bool
        Whether a last batch of fewer rows is left out.
    start : int
        The number of batches that were taken before.

    Returns
    -------
    iterator
        Of one array, a tuple, or a dict, as the arrays came. Each is a copy, of the same kind as
        the array it is of, without gradient; it is made when it is taken.

    Raises
    ------
    TypeError
        If an argument is of another kind.
    ValueError
        If arrays are missing, without axes or of different lengths, a number is out of range, or
        the seed is missing.
    """
    values = _values(arrays)
    lengths = [_raw(value).shape[0] for value in values]
    if len(set(lengths)) != 1:
        msg = f"batches: arrays must have one length along axis 0, got {lengths}"
        raise ValueError(msg)
    draw = _check_seed("batches", seed)
    if _check_bool("batches", "shuffle", shuffle) and draw is None:
        msg = "batches: seed must be an int where shuffle is True, got None"
        raise ValueError(msg)
    cuts = _cuts("batches", lengths[0], batch_size, drop_last)
    start = _check_start("batches", start, len(cuts))
    order = _order(draw, lengths[0]) if shuffle and draw is not None else None
    return _batches(arrays, values, cuts[start:], order)


def _values(arrays: Any) -> list[Any]:
    """Return the arrays, checked, in a list."""
    if isinstance(arrays, Mapping):
        values = list(arrays.values())
    else:
        values = list(arrays) if isinstance(arrays, (tuple, list)) else [arrays]
    if not values:
        msg = f"batches: arrays must hold at least one array, got {shown(arrays)}"
        raise ValueError(msg)
    for value in values:
        if not isinstance(value, (Tensor, cp.ndarray, np.ndarray)):
            msg = f"batches: arrays must be Tensors or arrays, got {type_name(value)}"
            raise TypeError(msg)
        if not _raw(value).ndim:
            msg = "batches: arrays must have an axis to cut, got shape ()"
            raise ValueError(msg)
    return values


def _batches(
    arrays: Any, values: list[Any], cuts: list[slice], order: _Numbers | None
) -> Iterator[Any]:
    for cut in cuts:
        rows = [_rows(value, cut, order) for value in values]
        if isinstance(arrays, Mapping):
            yield dict(zip(arrays, rows, strict=True))
        else:
            yield tuple(rows) if isinstance(arrays, (tuple, list)) else rows[0]


def _rows(value: Any, cut: slice, order: _Numbers | None) -> Any:
    """Return a copy of some rows (data-05)."""
    raw = _raw(value)
    if order is None:
        taken = raw[cut].copy()
    else:
        places = order[cut]
        taken = raw[places] if isinstance(raw, np.ndarray) else raw[cp.asarray(places)]
    return wrap(taken) if isinstance(value, Tensor) else taken


def bucketed(
    sequences: Sequence[Any],
    batch_size: int,
    *,
    seed: int | None = None,
    drop_last: bool = False,
    start: int = 0,
    batch_first: bool = False,
    padding_value: float = 0.0,
) -> Iterator[tuple[Any, _Numbers, _Numbers]]:
    """Iterate over sequences in padded batches of similar length.

    Source: Khomenko et al., "Accelerating recurrent neural network training using sequence
    bucketing and multi-GPU data parallelization", 2016.

    Parameters
    ----------
    sequences : tuple or list of Tensor, cupy.ndarray or numpy.ndarray
        Axis 0 is time; the further axes and the dtype are the same in all.
    batch_size : int
    seed : int, optional
        Gives the order of sequences of one length and that of the batches; without one they come
        in their own order, the shortest first. The generator of `init` stays where it is.
    drop_last : bool
        Whether a last batch of fewer sequences is left out.
    start : int
        The number of batches that were taken before.
    batch_first : bool
        Whether the batch stands before time.
    padding_value : number
        Stands past a sequence's end.

    Returns
    -------
    iterator of tuple (padded, lengths, indices)
        `padded` has the shape (T, N, ...) or (N, T, ...) and is a copy of the first sequence's
        kind, without gradient; each sequence's length and its place in `sequences` are NumPy
        arrays of int64, shape (N,).

    Raises
    ------
    TypeError
        If an argument is of another kind, or the sequences have different dtypes.
    ValueError
        If a sequence has other axes, a number is out of range, or the dtype does not hold
        `padding_value`.
    """
    if not isinstance(sequences, (tuple, list)):
        msg = f"bucketed: sequences must be a tuple or list, got {type_name(sequences)}"
        raise TypeError(msg)
    given = list(sequences)
    for place, sequence in enumerate(given):
        _check_sequence(place, sequence, given[0])
    fill = _padding(padding_value, _raw(given[0]).dtype if given else np.dtype("float64"))
    draw = _check_seed("bucketed", seed)
    cuts = _cuts("bucketed", len(given), batch_size, drop_last)
    start = _check_start("bucketed", start, len(cuts))
    batch_first = _check_bool("bucketed", "batch_first", batch_first)
    lengths = np.array([_raw(sequence).shape[0] for sequence in given], np.int64)
    if draw is None:
        order = np.argsort(lengths, kind="stable")
    else:
        order = np.lexsort((draw(len(given)), lengths))
        cuts = [cuts[place] for place in _order(draw, len(cuts))]
    places = [order[cut].astype(np.int64) for cut in cuts[start:]]
    return ((_padded(given, part, fill, batch_first), lengths[part], part) for part in places)


def _check_sequence(place: int, sequence: Any, first: Any) -> None:
    """Refuse a sequence that does not fit the first one (data-09)."""
    name = f"bucketed: sequence {place}"
    if not isinstance(sequence, (Tensor, cp.ndarray, np.ndarray)):
        msg = f"{name} must be a Tensor or an array, got {type_name(sequence)}"
        raise TypeError(msg)
    raw, wanted = _raw(sequence), _raw(first)
    if raw.dtype.newbyteorder("=") not in THE_FIVE:
        names = ", ".join(dtype.name for dtype in THE_FIVE)
        msg = f"{name} must have one of the dtypes {names}, got {raw.dtype.name}"
        raise TypeError(msg)
    if raw.dtype.newbyteorder("=") != wanted.dtype.newbyteorder("="):
        msg = f"{name} must have the first one's dtype {wanted.dtype.name}, got {raw.dtype.name}"
        raise TypeError(msg)
    if not raw.ndim or raw.shape[1:] != wanted.shape[1:]:
        msg = f"{name} must have time, then the first one's axes {wanted.shape}, got {raw.shape}"
        raise ValueError(msg)


def _padding(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the padding in the sequences' dtype."""
    if not isinstance(value, (bool, np.bool_, int, float, np.integer, np.floating)):
        msg = f"bucketed: padding_value must be a number, got {shown(value)}"
        raise TypeError(msg)
    if dtype.kind == "f":
        try:
            with np.errstate(over="ignore"):
                return np.array(float(value)).astype(dtype)
        except OverflowError:
            made = None
    else:
        made = held(dtype, value)
    if made is None:
        msg = f"bucketed: padding_value must be a number that {dtype.name} holds, got {value}"
        raise ValueError(msg)
    return made


def _padded(given: list[Any], places: _Numbers, fill: Any, batch_first: bool) -> Any:
    """Return a batch of sequences, time first or second."""
    first = _raw(given[0])
    parts = [_raw(given[place]) for place in places]
    is_numpy = all(isinstance(sequence, np.ndarray) for sequence in given)  # data-08
    library: Any = np if is_numpy else cp
    longest = max(part.shape[0] for part in parts)
    axes = (len(parts), longest) if batch_first else (longest, len(parts))
    made = library.full((*axes, *first.shape[1:]), fill, dtype=first.dtype)
    for row, part in enumerate(parts):
        if library is np:
            part = cp.asnumpy(part)
        elif isinstance(part, np.ndarray):
            part = cp.asarray(native(part))
        if batch_first:
            made[row, : part.shape[0]] = part
        else:
            made[: part.shape[0], row] = part
    return wrap(made) if any(isinstance(one, Tensor) for one in given) else made


def _raw(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value


def _cuts(name: str, count: int, batch_size: Any, drop_last: Any) -> list[slice]:
    """Return which places go into each batch."""
    size = check_positive_int(name, "batch_size", batch_size)
    stop = count - count % size if _check_bool(name, "drop_last", drop_last) else count
    return [slice(place, place + size) for place in range(0, stop, size)]


def _order(draw: Callable[[int], _Numbers], count: int) -> _Numbers:
    """Return the order of things that the next draws give (data-01)."""
    return np.argsort(draw(count), kind="stable")


def _check_seed(name: str, seed: Any) -> Callable[[int], _Numbers] | None:
    """Return what draws the numbers of a seed, None without one."""
    return None if seed is None else random.stream(random.check_seed(name, seed))


def _check_start(name: str, start: Any, count: int) -> int:
    """Return the number of batches taken before, from 0 to all (data-04)."""
    if isinstance(start, bool) or not 0 <= check_int(name, "start", start) <= count:
        error = TypeError if isinstance(start, bool) else ValueError
        msg = f"{name}: start must be an int from 0 to the {count} batches, got {shown(start)}"
        raise error(msg)
    return int(start)


def _check_bool(name: str, argument: str, value: Any) -> bool:
    """Return a bool; nothing else is one (data-06)."""
    if not isinstance(value, (bool, np.bool_)):
        msg = f"{name}: {argument} must be a bool, got {shown(value)}"
        raise TypeError(msg)
    return bool(value)
