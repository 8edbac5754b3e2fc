"""Sequences without their padding, as Tensors: `pack`, `unpack` and what they go between.

T steps, N batch, R rows of what is packed, the sum of the lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from impl_numpy import ops
from impl_numpy.checks import as_number, check_flag, check_indices, check_int, shown
from impl_numpy.dtypes import Array, Shape, is_raw
from impl_numpy.recording import record
from impl_numpy.rnn.lengths import GATHER, SCATTER, Packing, check_lengths
from impl_numpy.tensor import Tensor, as_tensor, wrap


class PackedSequence(NamedTuple):
    """Sequences of different lengths without their padding (torch.nn.utils.rnn.PackedSequence).

    Attributes
    ----------
    data : Tensor, shape (R, ...)
        The rows of step 0 of every sequence, then those of step 1, and so on; at each step the
        sequences by falling length.
    batch_sizes : Tensor of int64
        How many sequences have each step.
    sorted_indices, unsorted_indices : Tensor of int64, shape (N,), or None
        Which sequence of the batch stands where, and where each of the batch stands; None where
        the batch has that order.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def pack(
    padded: Any, lengths: Any, *, batch_first: bool = False, enforce_sorted: bool = False
) -> PackedSequence:
    """Return the steps that there are of sequences of different lengths.

    Parameters
    ----------
    padded : Tensor, shape (T, N, ...), or (N, T, ...) if batch_first
        Of any dtype. Padding is not read, and its gradient is 0.
    lengths : sequence of int, array or Tensor of integers, shape (N,)
        From 1 to T, in any order.
    batch_first : bool
    enforce_sorted : bool
        The lengths do not rise, and no indices are wanted.

    Returns
    -------
    PackedSequence
        In the layout of torch.nn.utils.rnn.pack_padded_sequence.

    Raises
    ------
    ValueError
        If a shape does not fit, there is no sequence, a length is out of range, or lengths that
        are said not to rise do.
    TypeError
        If padded is no Tensor, lengths are no integers, or a flag is none.
    """
    x = as_tensor("pack", padded, "padded")
    batch_first = check_flag("pack", "batch_first", batch_first)
    in_order = check_flag("pack", "enforce_sorted", enforce_sorted)
    if x.ndim < 2:
        form = "(N, T, ...)" if batch_first else "(T, N, ...)"
        msg = f"pack: padded must have shape {form}, got {x.shape}"
        raise ValueError(msg)
    if batch_first:
        x = ops.permute_dims(x, (1, 0, *range(2, x.ndim)))
    steps, batch, *rest = x.shape
    if not batch:
        msg = f"pack: padded must have a sequence, N at least 1, got shape {x.shape}"
        raise ValueError(msg)
    ends = check_lengths("pack", lengths, steps, batch, 1)
    if in_order and (ends[1:] > ends[:-1]).any():
        msg = f"pack: with enforce_sorted=True lengths must not rise, got {shown(ends.tolist())}"
        raise ValueError(msg)
    packing = Packing(ends, (steps, batch))
    flat = x.reshape((steps * batch, math.prod(rest)))
    rows: Tensor = record(GATHER, (flat,), (packing.places, steps * batch))
    indices = () if in_order else (packing.order, np.argsort(packing.order))
    return PackedSequence(
        rows.reshape((len(packing.places), *rest)),
        wrap(np.array(packing.counts, np.int64), None),
        *[wrap(index, None) for index in indices],
    )


def unpack(
    packed: Any,
    *,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return padded sequences of what was packed, and their lengths.

    Parameters
    ----------
    packed : PackedSequence
    batch_first : bool
    padding_value : number
        What stands past the end of each sequence.
    total_length : int, optional
        T; left out, the length of the longest.

    Returns
    -------
    padded : Tensor, shape (T, N, ...), or (N, T, ...) if batch_first
        In the order of the batch that was packed.
    lengths : Tensor of int64, shape (N,)

    Raises
    ------
    ValueError
        If total_length is less than the longest, or batch_sizes or indices do not fit.
    TypeError
        If packed is no PackedSequence, or another argument is of another kind.
    """
    if not isinstance(packed, PackedSequence):
        msg = f"unpack: packed must be a PackedSequence, got {shown(packed)}"
        raise TypeError(msg)
    batch_first = check_flag("unpack", "batch_first", batch_first)
    number = None if isinstance(padding_value, str) else as_number(padding_value)
    if number is None:
        msg = f"unpack: padding_value must be a number, got {shown(padding_value)}"
        raise TypeError(msg)
    data = as_tensor("unpack", packed.data, "data")
    packing = packing_in("unpack", packed, total_length)
    steps, batch = packing.padded
    rest = data.shape[1:]
    flat = data.reshape((data.shape[0], math.prod(rest)))
    padded: Tensor = record(SCATTER, (flat,), (packing.places, steps * batch))
    x = padded.reshape((steps, batch, *rest))
    ends = packing.lengths
    if number != 0:
        running = np.arange(steps)[:, None] < ends
        value = wrap(np.asarray(number).astype(x.dtype), None)
        x = ops.where(running.reshape((steps, batch, *(1,) * len(rest))), x, value)
    if batch_first:
        x = ops.permute_dims(x, (1, 0, *range(2, x.ndim)))
    return x, wrap(ends.copy(), None)


def packing_in(owner: str, packed: PackedSequence, total: Any = None) -> Packing:
    """Return how a packed sequence is packed; checked against its rows (rnn-58).

    Parameters
    ----------
    owner : str
    packed : PackedSequence
    total : int, optional
        T, if not the length of the longest.
    """
    sizes = _sizes(owner, packed.batch_sizes, packed.data.shape)
    longest, batch = len(sizes), int(sizes[0])
    steps = longest if total is None else check_int(owner, "total_length", total)
    if steps < longest:
        msg = f"{owner}: total_length must be at least {longest}, the longest, got {steps}"
        raise ValueError(msg)
    falling = np.searchsorted(-sizes, -np.arange(batch), side="left")
    order = _order(owner, packed, batch)
    lengths = np.empty(batch, np.int64)
    lengths[order] = falling
    return Packing(lengths, (steps, batch), order=order)


def _sizes(owner: str, given: Any, shape: Shape) -> Array:
    """Return how many sequences have each step."""
    sizes = check_indices(owner, "batch_sizes", _as_array(given))
    rows = shape[0] if shape else 0
    falls = sizes.ndim == 1 and sizes.size and sizes.min() > 0 and (sizes[1:] <= sizes[:-1]).all()
    if not falls or sizes.sum() != rows:
        got = shown(sizes.tolist())
        msg = (
            f"{owner}: batch_sizes must be numbers from 1 that do not rise, with the sum {rows}, "
            f"the rows of data, got {got}"
        )
        raise ValueError(msg)
    return sizes


def _order(owner: str, packed: PackedSequence, batch: int) -> Array:
    """Return which sequence of the batch stands first, second, ..."""
    found = []
    for name in ("sorted_indices", "unsorted_indices"):
        given = getattr(packed, name)
        if given is None:
            continue
        index = check_indices(owner, name, _as_array(given))
        if index.shape != (batch,) or (np.sort(index) != np.arange(batch)).any():
            got = shown(index.tolist())
            msg = f"{owner}: {name} must hold each number below N = {batch} once, got {got}"
            raise ValueError(msg)
        found.append(index if name == "sorted_indices" else np.argsort(index))
    if len(found) == 2 and (found[0] != found[1]).any():
        msg = f"{owner}: unsorted_indices must be the inverse of sorted_indices"
        raise ValueError(msg)
    return found[0] if found else np.arange(batch)


def _as_array(given: Any) -> Any:
    if isinstance(given, Tensor) or is_raw(given) or not isinstance(given, Sequence):
        return given
    return np.asarray(given)
