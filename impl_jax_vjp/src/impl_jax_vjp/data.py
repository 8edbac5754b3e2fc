"""Batches of arrays: rows in order or shuffled, and sequences of similar length.

Their orders come from generators of their own, so that one seed gives the same batches everywhere.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import (
    cast,
    check_five,
    check_int,
    check_number,
    refuse,
    shown,
)
from .dtypes import DType, float64, is_floating, make_array, x64
from .random import Draws, check_seed
from .recording import dtype_of, is_array, shape_of
from .tape import Traced, unwrap, wrap

__all__ = ["batches", "bucketed"]


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
    """Cut arrays into batches of rows, along their first axis.

    Parameters
    ----------
    arrays : Tensor, jax.Array or numpy.ndarray, or a tuple, list or mapping of them
        All of one length.
    batch_size : int
    shuffle : bool
        Whether the rows come in the order of `seed`.
    seed : int, optional
        Needed where `shuffle` is; another epoch takes another one.
    drop_last : bool
        Whether a last batch that is short is left out.
    start : int
        The number of batches that were taken before.

    Returns
    -------
    iterator
        Of a batch each: one array, a tuple or a dict, as `arrays` came; of copies, of the same kind
        and dtype, that require no grad.

    Raises
    ------
    ValueError
        If the lengths differ, an array has no axes, there is no array, a number is out of range, or
        `shuffle` has no seed.
    TypeError
        If something is of another kind.
    """
    name = "batches"
    kept, put = _arrays(arrays)
    shuffled = _flag(name, "shuffle", shuffle)
    key = None if seed is None else check_seed(name, seed)
    if shuffled and key is None:  # data-03
        refuse(name, "seed", "an int where shuffle is True", None)
    rows = shape_of(kept[0])[0]
    size, first, count = _range(name, rows, batch_size, drop_last, start)
    order = Draws(key).order(rows) if shuffled and key is not None else None

    def batch(place: int) -> Any:
        begin, end = place * size, min((place + 1) * size, rows)
        chosen = slice(begin, end) if order is None else order[begin:end]
        return put([_rows(array, chosen) for array in kept])

    return map(batch, range(first, count))


def _arrays(arrays: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return the arrays in a list, and what puts others like them together again."""
    put: Callable[[list[Any]], Any] = tuple
    if is_array(arrays):
        named, put = [("arrays", arrays)], lambda made: made[0]
    elif isinstance(arrays, Mapping):
        keys = list(arrays)
        named = [(f"arrays[{key!r}]", arrays[key]) for key in keys]
        put = lambda made: dict(zip(keys, made, strict=True))  # noqa: E731
    elif isinstance(arrays, tuple | list):
        named = [(f"arrays[{place}]", array) for place, array in enumerate(arrays)]
    else:
        wanted = "an array, or a tuple, list or mapping of arrays"
        msg = f"batches: arrays must be {wanted}, got {shown(arrays)}"
        raise TypeError(msg)
    if not named:
        refuse("batches", "arrays", "at least one array", repr(arrays))
    for argument, array in named:
        _check_array("batches", argument, array)
    lengths = [shape_of(array)[0] for _, array in named]
    if len(set(lengths)) > 1:
        refuse("batches", "arrays", "of one length", lengths)
    return [array for _, array in named], put


def _check_array(name: str, argument: str, array: Any) -> None:
    if not is_array(array):
        msg = f"{name}: {argument} must be an array, got {shown(array)}"
        raise TypeError(msg)
    if not shape_of(array):
        refuse(name, argument, "an array of at least one axis", "shape ()")


def _flag(name: str, argument: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):  # data-06
        msg = f"{name}: {argument} must be a bool, got {shown(value)}"
        raise TypeError(msg)
    return bool(value)


def _range(name: str, rows: int, size: Any, drop_last: Any, start: Any) -> tuple[int, int, int]:
    """Return the size of a batch, the number of the first one and that of all."""
    wanted = check_int(name, "batch_size", size)
    if wanted < 1:
        refuse(name, "batch_size", "at least 1", wanted)
    whole = _flag(name, "drop_last", drop_last)
    count = rows // wanted if whole else -(-rows // wanted)
    first = check_int(name, "start", start)
    if not 0 <= first <= count:
        refuse(name, "start", f"from 0 to the {count} batches that there are", first)
    return wanted, first, count


def _rows(array: Any, chosen: Any) -> Any:
    """Return some rows of an array, a slice or places, as a copy of the same kind."""
    if isinstance(array, np.ndarray):
        return array[chosen].copy() if isinstance(chosen, slice) else array[chosen]
    raw = unwrap(array)
    if _is_on_host(raw):
        part = make_array(np.asarray(raw)[chosen])
    else:
        if isinstance(chosen, slice):
            chosen = np.arange(chosen.start, chosen.stop)
        with x64():
            part = jax.lax.stop_gradient(jnp.take(raw, chosen, axis=0))
    return wrap(part) if isinstance(array, Traced) else part


def _is_on_host(raw: Any) -> bool:
    """Tell whether NumPy reads an array where it is; nothing is compiled then."""
    known = isinstance(raw, jax.Array) and not isinstance(raw, jax.core.Tracer)
    return known and all(device.platform == "cpu" for device in raw.devices())


def bucketed(
    sequences: Any,
    batch_size: int,
    *,
    seed: int | None = None,
    drop_last: bool = False,
    start: int = 0,
    batch_first: bool = False,
    padding_value: float = 0.0,
) -> Iterator[Any]:
    """Put sequences of similar length together, padded to the longest of each batch.

    They are sorted by length, cut into batches, and these shuffled (Khomenko et al., "Accelerating
    recurrent neural network training using sequence bucketing and multi-GPU data parallelization",
    2016).

    Parameters
    ----------
    sequences : tuple or list of Tensor, jax.Array or numpy.ndarray, each of shape (T_n, ...)
        Of one dtype and of the same further axes.
    batch_size : int
    seed : int, optional
        The order of the batches, and of sequences of one length; without it that of length.
    drop_last : bool
        Whether a last batch, by length, that is short is left out.
    start : int
        The number of batches that were taken before.
    batch_first : bool
        Whether the batch is the first axis of what comes, rather than the second.
    padding_value : number
        What stands past the end of a sequence.

    Returns
    -------
    iterator
        Of tuples ``(padded, lengths, indices)``: shape (T, N, ...), and two int64 NumPy arrays of
        shape (N,), the lengths and the places in `sequences`.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is out of range, or the dtype does not hold `padding_value`.
    TypeError
        If something is of another kind, or dtypes differ.
    """
    name = "bucketed"
    kept = _sequences(sequences)
    key = None if seed is None else check_seed(name, seed)
    size, first, count = _range(name, len(kept), batch_size, drop_last, start)
    time_first = not _flag(name, "batch_first", batch_first)
    fill = _padding(padding_value, dtype_of(kept[0]) if kept else None)
    lengths = np.array([shape_of(sequence)[0] for sequence in kept], np.int64)
    if key is None:
        order, places = np.argsort(lengths, kind="stable"), np.arange(count)
    else:
        draws = Draws(key)
        order = np.lexsort((draws.units(len(kept)), lengths))  # data-07
        places = draws.order(count)

    on_host = all([isinstance(sequence, np.ndarray) for sequence in kept])  # data-08
    wrapped = any([isinstance(sequence, Traced) for sequence in kept])

    def batch(place: int) -> Any:
        chosen = order[place * size : min((place + 1) * size, len(kept))].astype(np.int64)
        padded = _padded([kept[index] for index in chosen], fill, time_first)
        made = padded if on_host else make_array(padded)
        return wrap(made) if wrapped else made, lengths[chosen], chosen

    return map(batch, places[first:].tolist())


def _sequences(sequences: Any) -> list[Any]:
    """Return sequences that can stand in one batch, or raise."""  # data-09
    name = "bucketed"
    if not isinstance(sequences, tuple | list):
        msg = f"{name}: sequences must be a tuple or list of arrays, got {shown(sequences)}"
        raise TypeError(msg)
    for place, sequence in enumerate(sequences):
        argument = f"sequences[{place}]"
        _check_array(name, argument, sequence)
        check_five(f"{name}: {argument}", dtype_of(sequence))
        shape, first = shape_of(sequence), shape_of(sequences[0])
        if shape[1:] != first[1:]:
            refuse(name, argument, f"of the further axes of the first, of shape {first}", shape)
        if dtype_of(sequence) != dtype_of(sequences[0]):
            wanted = f"of the dtype of the first, {dtype_of(sequences[0])}"
            msg = f"{name}: {argument} must be {wanted}, got {dtype_of(sequence)}"
            raise TypeError(msg)
    return list(sequences)


def _padding(value: Any, dtype: DType | None) -> Any:
    """Return what stands past the end, in a dtype, or raise if that does not hold it."""
    number = check_number("bucketed", "padding_value", value)
    if dtype is None or is_floating(dtype):
        return cast("bucketed", np.asarray(float(number)), dtype or float64)[()]
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not math.isfinite(number) or number != int(number) or not low <= int(number) <= high:
        refuse("bucketed", "padding_value", f"one that {dtype} holds", number)
    return int(number)


def _padded(sequences: list[Any], fill: Any, time_first: bool) -> Any:
    """Return sequences beside each other, in a NumPy array."""
    first = sequences[0]
    steps = max([shape_of(sequence)[0] for sequence in sequences])
    shape = (len(sequences), steps, *shape_of(first)[1:])
    padded = np.empty(shape, dtype_of(first))
    for row, sequence in zip(padded, sequences, strict=True):
        length = shape_of(sequence)[0]
        row[:length], row[length:] = np.asarray(unwrap(sequence)), fill
    return np.ascontiguousarray(padded.swapaxes(0, 1)) if time_first else padded
