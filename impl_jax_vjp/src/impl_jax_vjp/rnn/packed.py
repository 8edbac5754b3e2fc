"""Sequences of several lengths packed without their padding, and padded again.

T steps, N batch, R rows: the sum of the lengths. Which row belongs where is known before anything
is computed, so that both ways are one gather.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from .. import ops
from ..checks import (
    as_scalar,
    check_flag,
    check_int,
    check_number,
    check_one_value,
    refuse,
    refuse_type,
)
from ..dtypes import make_array
from ..tape import Traced, unwrap, wrap
from ..tensor import Tensor
from .lengths import read_lengths

Numbers = np.ndarray[Any, Any]


class PackedSequence(NamedTuple):
    """The steps of several sequences, as ``torch.nn.utils.rnn.PackedSequence`` has them.

    Attributes
    ----------
    data : Tensor, shape (R, ...)
        The rows of step 0 of every sequence, then those of step 1 of each that has one, and so on.
    batch_sizes : Tensor, shape (T,), int64
        How many sequences have each step.
    sorted_indices : Tensor, shape (N,), int64, or None
        Which sequence of the batch stands first, second, ... at each step; None for their order.
    unsorted_indices : Tensor, shape (N,), int64, or None
        Where in it each sequence of the batch stands.
    """

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None


class Layout:
    """Where the rows of a packed sequence belong.

    Attributes
    ----------
    sizes : numpy.ndarray, shape (T,)
    lengths : numpy.ndarray, shape (N,)
        In the order of the batch.
    order : numpy.ndarray, shape (N,)
        Which sequence of the batch stands first, second, ... at each step.
    """

    def __init__(self, sizes: Numbers, order: Numbers) -> None:
        self.sizes = sizes
        self.order = order
        falling = (sizes[:, None] > np.arange(len(order))).sum(axis=0)
        self.lengths = np.empty_like(falling)
        self.lengths[order] = falling

    def rows(self, steps: int, batch_first: bool) -> Numbers:
        """Return which row of a padded batch of N times `steps` each packed one is, (R,)."""
        times = np.repeat(np.arange(len(self.sizes)), self.sizes)
        ends = np.cumsum(self.sizes)
        within = np.arange(len(times)) - np.repeat(ends - self.sizes, self.sizes)
        sequences = self.order[within]
        if batch_first:
            return sequences * steps + times
        return times * len(self.order) + sequences

    def places(self, steps: int) -> tuple[Numbers, Numbers]:
        """Return which packed row stands where in a padded batch, and where one does, (T, N)."""
        running = np.arange(steps)[:, None] < self.lengths
        places = np.zeros((steps, len(self.order)), np.int64)
        places.reshape(-1)[self.rows(steps, False)] = np.arange(self.sizes.sum())
        return places, running


def pack(
    padded: Any, lengths: Any, *, batch_first: bool = False, enforce_sorted: bool = False
) -> PackedSequence:
    """Return the steps that sequences have, without their padding.

    Parameters
    ----------
    padded : Tensor, shape (T, N, ...), with `batch_first` (N, T, ...)
        Of any dtype.
    lengths : sequence of int, array or Tensor, shape (N,)
        From 1 to T each; they are read.
    enforce_sorted : bool
        Whether the lengths must not rise; the result has no indices then.

    Returns
    -------
    PackedSequence
        In the layout of ``torch.nn.utils.rnn.pack_padded_sequence``.

    Raises
    ------
    ValueError
        If `padded` has fewer than two axes or no sequence, or `lengths` do not fit.
    TypeError
        If `padded` is no Tensor, or `lengths` are no integers, or are traced.
    """
    first = check_flag("pack", "batch_first", batch_first)
    enforced = check_flag("pack", "enforce_sorted", enforce_sorted)
    if not isinstance(padded, Traced):
        refuse_type("pack", "padded", "a Tensor", padded)
    shape = unwrap(padded).shape
    if len(shape) < 2:
        refuse("pack", "padded", "of at least two axes", f"shape {shape}")
    batch, steps = shape[:2] if first else shape[1::-1]
    ends = _known_lengths(lengths, steps, batch)
    if enforced and (ends[1:] > ends[:-1]).any():
        wanted = "False for lengths that rise"
        refuse("pack", "enforce_sorted", wanted, f"True for {ends.tolist()}")
    order = np.argsort(-ends, kind="stable")
    sizes = (np.arange(ends.max())[:, None] < ends).sum(axis=1)
    rows = Layout(sizes, order).rows(steps, first)
    data = _taken(ops.reshape(padded, (batch * steps, *shape[2:])), rows)
    indices = () if enforced else (_numbers(order), _numbers(np.argsort(order, kind="stable")))
    return PackedSequence(data, _numbers(sizes), *indices)


def unpack(
    packed: PackedSequence,
    *,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return ``(padded, lengths)``: sequences side by side again, in the order of their batch.

    Parameters
    ----------
    packed : PackedSequence
    batch_first : bool
        Whether `padded` is (N, T, ...) instead of (T, N, ...).
    padding_value : number
        What stands past the end of each.
    total_length : int, optional
        T; by default the length of the longest.

    Raises
    ------
    ValueError
        If `total_length` is too small, or `batch_sizes` do not fit.
    TypeError
        If `packed` is no PackedSequence, or an option of another kind.
    """
    if not isinstance(packed, PackedSequence):
        refuse_type("unpack", "packed", "a PackedSequence", packed)
    first = check_flag("unpack", "batch_first", batch_first)
    number = check_number("unpack", "padding_value", padding_value)
    layout = layout_of("unpack", packed)
    steps = len(layout.sizes)
    if total_length is not None:
        total = check_int("unpack", "total_length", total_length)
        if total < steps:
            refuse("unpack", "total_length", f"at least T = {steps}", total)
        steps = total
    places, running = layout.places(steps)
    if first:
        places, running = places.T, running.T
    data = unwrap(packed.data)
    further = data.shape[1:]
    padded = ops.reshape(_taken(packed.data, places.reshape(-1)), (*places.shape, *further))
    if not running.all():
        waste = wrap(make_array(np.asarray(as_scalar("unpack", number, data.dtype))))
        shown = running.reshape(*running.shape, *[1] * len(further))
        padded = ops.where(wrap(make_array(shown)), padded, waste)
    return padded, _numbers(layout.lengths)


def padded_of(data: Any, layout: Layout) -> Tensor:
    """Return packed rows (R, I) as a padded batch (T, N, I); what is padding is any row."""
    places, _ = layout.places(len(layout.sizes))
    taken = _taken(data, places.reshape(-1))
    return ops.reshape(taken, (*places.shape, *unwrap(data).shape[1:]))


def repacked(padded: Any, layout: Layout, like: PackedSequence) -> PackedSequence:
    """Return a padded batch (T, N, ...) packed as another one is."""
    steps, batch, *further = unwrap(padded).shape
    rows = ops.reshape(padded, (steps * batch, *further))
    return like._replace(data=_taken(rows, layout.rows(steps, False)))


def layout_of(name: str, packed: PackedSequence) -> Layout:
    """Return where the rows of a packed sequence belong.

    Raises
    ------
    ValueError
        If `batch_sizes` rise, hold a number below 1 or are of another sum than the rows, or the
        indices are no order of the batch.
    TypeError
        If a part is of another kind, or traced.
    """
    if not isinstance(packed.data, Traced):
        refuse_type(name, "data", "a Tensor", packed.data)
    data = unwrap(packed.data)
    count = data.shape[0] if data.ndim else 0
    sizes = _read(name, "batch_sizes", packed.batch_sizes)
    if not sizes.size or (sizes < 1).any() or (sizes[1:] > sizes[:-1]).any():
        refuse(name, "batch_sizes", "of at least 1 each that do not rise", sizes.tolist())
    if sizes.sum() != count:
        refuse(name, "batch_sizes", f"of the sum R = {count}, the rows of data", int(sizes.sum()))
    batch = int(sizes[0])
    order = None
    for what in ("sorted_indices", "unsorted_indices"):
        if (given := getattr(packed, what)) is None:
            continue
        indices = _read(name, what, given)
        if indices.shape != (batch,) or (np.sort(indices) != np.arange(batch)).any():
            refuse(name, what, f"an order of the N = {batch} sequences", indices.tolist())
        own = indices if what == "sorted_indices" else np.argsort(indices)
        if order is not None and (own != order).any():
            refuse(name, what, "the inverse of sorted_indices", indices.tolist())
        order = own
    return Layout(sizes, np.arange(batch) if order is None else order)


def _read(name: str, argument: str, value: Any) -> Numbers:
    """Return integers that are known."""
    array = unwrap(value)
    if not isinstance(array, jax.Array | np.ndarray):
        refuse_type(name, argument, "a Tensor of integers", value)
    check_one_value(name, array)
    if isinstance(array, jax.core.Tracer):
        msg = f"{name}: {argument} must be known, got an array of {array.shape} that is traced"
        raise TypeError(msg)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        msg = f"{name}: {argument} must be integers of one axis, got {array.dtype} {array.shape}"
        raise (ValueError if array.dtype.kind in "iu" else TypeError)(msg)
    return np.asarray(array).astype(np.int64)


def _known_lengths(lengths: Any, steps: int, batch: int) -> Numbers:
    """Return lengths from 1 to T of a batch of at least one."""
    given = read_lengths("pack", lengths, steps, batch, 1)
    check_one_value("pack", given)
    if isinstance(given, jax.core.Tracer):
        msg = "pack: lengths must be numbers that are known, got an array that is traced"
        raise TypeError(msg)
    if not batch:
        refuse("pack", "padded", "of at least one sequence", "N = 0")
    return given.astype(np.int64)


def _numbers(values: Numbers) -> Any:
    """Return integers as a Tensor that is known, within a trace too."""
    with jax.ensure_compile_time_eval():
        return wrap(make_array(values.astype(np.int64)))


def _taken(rows: Any, places: Numbers) -> Any:
    return ops.take(rows, _numbers(places), axis=0)
