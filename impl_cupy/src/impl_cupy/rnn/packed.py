"""Sequences packed without their padding, in the layout of torch's `pack_padded_sequence`.

T, N, R are steps, batch and rows. Packing selects rows and unpacking selects them back, with one
row more for the padding, so that gradients go any number of times. Where each row stands is worked
out on the host, from the lengths.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_bool, check_int, shown, type_name
from impl_cupy.ops.indexing import select_rows
from impl_cupy.ops.manipulation import concat, reshape
from impl_cupy.rnn.lengths import check_lengths, on_host
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

_Host = np.ndarray[Any, np.dtype[Any]]


class PackedSequence(NamedTuple):
    """Sequences without their padding: step by step, at each the longest sequence first.

    Attributes
    ----------
    data : Tensor, shape (R, *)
        The rows of step 0 of every sequence, then those of step 1 of every one that has it, ...
    batch_sizes : Tensor, int64
        How many sequences have each step.
    sorted_indices, unsorted_indices : Tensor or None, int64, shape (N,)
        Which sequence of the batch stands first, second, ... at a step, and where each of the batch
        stands; None where that is the batch's own order.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


class Layout:
    """Where the rows of packed sequences stand.

    Parameters
    ----------
    counts : numpy.ndarray
        How many sequences have each step.
    order : numpy.ndarray, shape (N,)
        The sequences in the order of a step's rows.

    Attributes
    ----------
    times, sequences : numpy.ndarray, shape (R,)
        The step and the sequence of each row.
    lengths : numpy.ndarray, shape (N,)
        In the order of the batch.
    """

    def __init__(self, counts: _Host, order: _Host) -> None:
        self.steps, self.batch = len(counts), len(order)
        self.times = np.repeat(np.arange(self.steps), counts)
        starts = np.cumsum(counts) - counts
        self.sequences = order[np.arange(len(self.times)) - starts[self.times]]
        self.lengths = np.bincount(self.sequences, minlength=self.batch)

    def places(self, steps: int, batch_first: bool) -> _Host:
        """Return where each row stands in a padded array of (T N) or (N T) rows."""
        if batch_first:
            return self.sequences * steps + self.times
        return self.times * self.batch + self.sequences

    def pack(self, padded: Tensor, batch_first: bool = False) -> Tensor:
        """Select the rows of an array (T, N, *) or (N, T, *); padding is not read."""
        first, second, *rest = padded.shape
        places = self.places(second if batch_first else first, batch_first)
        rows = reshape(padded, (first * second, *rest))
        return select_rows("pack", rows, cp.asarray(places))

    def unpack(
        self, rows: Tensor, steps: int, batch_first: bool = False, padding_value: Any = 0.0
    ) -> Tensor:
        """Return an array (T, N, *) or (N, T, *) with rows in their places."""
        count, *rest = rows.shape
        source = np.full(steps * self.batch, count)
        source[self.places(steps, batch_first)] = np.arange(count)
        padding = cp.full((1, *rest), padding_value).astype(rows.dtype)
        every = concat([rows, wrap(padding)], axis=0)
        padded = select_rows("unpack", every, cp.asarray(source))
        lead = (self.batch, steps) if batch_first else (steps, self.batch)
        made: Tensor = reshape(padded, (*lead, *rest))
        return made


def layout_of(name: str, packed: PackedSequence) -> Layout:
    """Check a packed sequence, and say where its rows stand.

    Raises
    ------
    ValueError
        That names `batch_sizes` or the indices, if they do not fit each other and `data`.
    TypeError
        If they hold no integers.
    """
    counts = on_host(name, packed.batch_sizes, "batch_sizes")
    rows = len(packed.data) if packed.data.ndim else 0
    if counts.ndim != 1 or not counts.size:
        msg = f"{name}: batch_sizes must have one axis and an element, got shape {counts.shape}"
        raise ValueError(msg)
    counts = counts.astype(np.int64)
    if (counts < 1).any() or (np.diff(counts) > 0).any():
        msg = f"{name}: batch_sizes must be at least 1 and not rise, got {shown(counts.tolist())}"
        raise ValueError(msg)
    if counts.sum() != rows:
        msg = f"{name}: batch_sizes must add up to the rows of data, {rows}, got {counts.sum()}"
        raise ValueError(msg)
    batch = int(counts[0])
    order: Any = None
    for argument in ("sorted_indices", "unsorted_indices"):
        given = getattr(packed, argument)
        if given is None:
            continue
        indices = on_host(name, given, argument)
        if indices.shape != (batch,) or sorted(indices.tolist()) != list(range(batch)):
            msg = f"{name}: {argument} must be an order of {batch} sequences, got {shown(given)}"
            raise ValueError(msg)
        own = indices.astype(np.int64)
        if argument == "unsorted_indices":
            own = np.argsort(own)
        if order is not None and (own != order).any():
            msg = f"{name}: {argument} must be the inverse of sorted_indices, got {shown(given)}"
            raise ValueError(msg)
        order = own
    return Layout(counts, np.arange(batch) if order is None else order)


def pack(
    padded: Any, lengths: Any, *, batch_first: bool = False, enforce_sorted: bool = False
) -> PackedSequence:
    """Leave out what stands past the end of each sequence.

    Source: the page of ``torch.nn.utils.rnn.pack_padded_sequence``.

    Parameters
    ----------
    padded : Tensor, shape (T, N, *), or (N, T, *) if `batch_first`
        Of any dtype.
    lengths : N integers from 1 to T
        A sequence of ints, an array or a Tensor, read on the host.
    batch_first : bool
    enforce_sorted : bool
        Whether the lengths do not rise, so that no indices are needed.

    Returns
    -------
    PackedSequence

    Raises
    ------
    ValueError
        If a shape does not fit, a length is out of range, there is no sequence, or lengths rise
        that should not.
    TypeError
        If `padded` is no Tensor, `lengths` holds no integers, or a flag is none.
    """
    if not isinstance(padded, (Tensor, cp.ndarray)):
        msg = f"pack: padded must be a Tensor, got {type_name(padded)}"
        raise TypeError(msg)
    value: Tensor = wrap(padded) if isinstance(padded, cp.ndarray) else padded
    turned = check_bool("pack", "batch_first", batch_first)
    is_sorted = check_bool("pack", "enforce_sorted", enforce_sorted)
    if value.ndim < 2:
        msg = f"pack: padded must have shape (T, N, *) or (N, T, *), got {value.shape}"
        raise ValueError(msg)
    steps, batch = value.shape[:2][::-1] if turned else value.shape[:2]
    ends = check_lengths("pack", lengths, steps, batch, least=1)
    if not batch:
        msg = f"pack: padded must hold at least one sequence, got shape {value.shape}"
        raise ValueError(msg)
    if is_sorted and (np.diff(ends) > 0).any():
        msg = f"pack: with enforce_sorted=True lengths must not rise, got {shown(ends.tolist())}"
        raise ValueError(msg)
    order = np.argsort(-ends, kind="stable")
    counts = batch - np.cumsum(np.bincount(ends))[:-1]
    data = Layout(counts, order).pack(value, turned)
    if is_sorted:
        return PackedSequence(data, _numbers(counts))
    return PackedSequence(data, _numbers(counts), _numbers(order), _numbers(np.argsort(order)))


def _numbers(host: _Host) -> Tensor:
    made: Tensor = wrap(cp.asarray(host.astype(np.int64)))
    return made


def unpack(
    packed: Any,
    *,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Put packed sequences back, in the order of the batch, with padding past their ends.

    Source: the page of ``torch.nn.utils.rnn.pad_packed_sequence``.

    Parameters
    ----------
    packed : PackedSequence
    batch_first : bool
    padding_value : number
    total_length : int, optional
        T; the length of the longest sequence unless given.

    Returns
    -------
    padded : Tensor, shape (T, N, *), or (N, T, *) if `batch_first`
    lengths : Tensor, int64, shape (N,)

    Raises
    ------
    ValueError
        If `total_length` is less than the longest sequence has steps, or `packed` does not fit.
    TypeError
        If an argument is of another kind.
    """
    if not isinstance(packed, PackedSequence):
        msg = f"unpack: packed must be a PackedSequence, got {type_name(packed)}"
        raise TypeError(msg)
    if not isinstance(packed.data, Tensor):
        msg = f"unpack: packed must hold a Tensor as data, got {type_name(packed.data)}"
        raise TypeError(msg)
    turned = check_bool("unpack", "batch_first", batch_first)
    is_number = isinstance(padding_value, (int, float, complex, np.number))
    if isinstance(padding_value, bool) or not is_number:
        msg = f"unpack: padding_value must be a number, got {shown(padding_value)}"
        raise TypeError(msg)
    layout = layout_of("unpack", packed)
    steps = layout.steps
    if total_length is not None:
        steps = check_int("unpack", "total_length", total_length)
        if steps < layout.steps:
            msg = (
                f"unpack: total_length must be at least the longest sequence's {layout.steps} "
                f"steps, got {steps}"
            )
            raise ValueError(msg)
    padded = layout.unpack(packed.data, steps, turned, padding_value)
    return padded, _numbers(layout.lengths)
