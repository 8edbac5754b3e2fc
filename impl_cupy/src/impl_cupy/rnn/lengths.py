"""In which order the steps of a batch of sequences run, and where each has its rows.

T, N, K are steps, batch and any number of columns. The steps' arrays are matrices of S rows, those
of one step behind each other; `Whole` has all S = T N of them, `Cut` those within the sequences'
lengths, as packed sequences do. Arrays of states have S + N rows: the first state's too. A step is
``(row, before, count)``: its first row, that of the states before it in an array of states, and how
many rows it has. Rows of states after the steps are ``states[walk.after]``. Where resets cut the
sequences, the M `Episodes` run in their stead, side by side.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import shown
from impl_cupy.launch import Step
from impl_cupy.memory import RawArray
from impl_cupy.ops.indexing import select_rows
from impl_cupy.ops.manipulation import concat
from impl_cupy.recording import record
from impl_cupy.slices import is_mapped, refuse_value
from impl_cupy.tape import keep, wrap
from impl_cupy.tensor import Tensor

_Host: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


class Whole:
    """Every sequence has all steps; `is_reverse` runs them from the last to the first.

    Attributes
    ----------
    initial, last : slice
        The first and the last states in an array of states.
    before, after : slice
        The states before and after every row there, in the rows' order.
    """

    __slots__ = ("after", "batch", "before", "initial", "is_reverse", "last", "length")

    def __init__(self, steps: int, batch: int, is_reverse: bool = False) -> None:
        self.length = steps
        self.batch = batch
        self.is_reverse = is_reverse
        rows = steps * batch
        early, late = slice(0, batch), slice(rows, None)
        lower, upper = slice(0, rows), slice(batch, None)
        self.initial: slice = late if is_reverse else early
        self.last: slice = early if is_reverse else late
        self.before: slice = upper if is_reverse else lower
        self.after: slice = lower if is_reverse else upper

    def steps(self, back: bool = False) -> Iterator[Step]:
        """Iterate over the steps that have anything to compute, `back` from the last one run."""
        batch, shift = self.batch, self.before.start
        times = range(self.length if batch else 0)
        for t in reversed(times) if back != self.is_reverse else times:
            row = t * batch
            yield row, row + shift, batch

    def rows(self, x: Any) -> Any:
        """Return an array (T, N, K), raw or a Tensor, as rows; copied if it has other strides."""
        return x.reshape(self.length * self.batch, x.shape[2])

    def put(self, rows: Any) -> Any:
        """Return rows as an array (T, N, K)."""
        return rows.reshape(self.length, self.batch, rows.shape[1])

    def sort(self, states: Any) -> Any:
        """Return states (N, K) in the order of the rows."""
        return states

    unsort = sort


class Cut:
    """Each sequence has its own length, and the longest come first: a step runs those still there.

    A reverse walk takes each sequence's steps from its own end, and is the same but for `index`.
    With `Episodes` each of them is a sequence: states have M rows, and x and output are (T, N, K).

    Parameters
    ----------
    shape : tuple of int
        (T, N).
    ran : list of tuple
        The steps in their order.
    order, rank : cupy.ndarray, shape (M,)
        The sequences, the longest first, and the place of each among them.
    index : cupy.ndarray, shape (S,)
        The place of each row in an array (T N, K).
    before, last : cupy.ndarray, shapes (S,) and (M,)
        As in `Whole`, but for the order of `last`, which is that of the batch.
    """

    __slots__ = (
        "after",
        "batch",
        "before",
        "index",
        "initial",
        "last",
        "order",
        "ran",
        "rank",
        "shape",
    )

    def __init__(
        self,
        shape: tuple[int, int],
        ran: list[Step],
        order: RawArray,
        rank: RawArray,
        index: RawArray,
        before: RawArray,
        last: RawArray,
    ) -> None:
        self.shape = shape
        self.batch = len(order)
        self.ran = ran
        self.order, self.rank = order, rank
        self.index, self.before, self.last = index, before, last
        self.initial, self.after = slice(0, self.batch), slice(self.batch, None)

    def steps(self, back: bool = False) -> Iterator[Step]:
        """Iterate over the steps."""
        return reversed(self.ran) if back else iter(self.ran)

    def rows(self, x: Any) -> Any:
        """Gather the rows of an array (T, N, K), raw or a Tensor; padding is not read."""
        return x.reshape(math.prod(self.shape), x.shape[2])[self.index]

    def put(self, rows: Any) -> Any:
        """Return rows as an array (T, N, K) with zeros in the padding."""
        if isinstance(rows, Tensor):
            return record("lengths", self.put, lambda _, grad: (self.rows(grad),), (rows,))
        width = rows.shape[1]
        out = cp.zeros((math.prod(self.shape), width), dtype=rows.dtype)  # rnn-33
        if rows.size:
            out[self.index] = rows
        return out.reshape(*self.shape, width)

    def sort(self, states: Any) -> Any:
        """Return states (M, K) in the order of the rows."""
        return states[self.order]

    def unsort(self, states: Any) -> Any:
        """Return states (M, K) in the order of the batch."""
        return states[self.rank]


Walk: TypeAlias = "Whole | Cut"


class Episodes:
    """The sequences of a batch, cut before each step that a mask marks: M of them (rnn-37).

    They lie sequence by sequence, each in the order of its steps; a sequence of length 0 is one
    episode of no steps.

    Parameters
    ----------
    mask : numpy.ndarray, shape (T, N), bool
        As `check_mask` returns it.
    lengths : numpy.ndarray, shape (N,), optional
        As `check_lengths` returns them.
    layers, directions : int
        L and D.

    Attributes
    ----------
    columns, starts, lengths : numpy.ndarray, shape (M,)
        The sequence that each is part of, its first step there, and how many it has.
    """

    __slots__ = ("columns", "firsts", "lasts", "lengths", "shape", "starts")

    def __init__(self, mask: _Host, lengths: _Host | None, layers: int, directions: int) -> None:
        steps, batch = mask.shape
        ends = np.full(batch, steps) if lengths is None else lengths
        # Without steps one row all the same, so that each sequence begins.
        marks = np.zeros((batch, max(steps, 1)), dtype=bool)
        marks[:, :steps] = mask.T & (np.arange(steps) < ends[:, None])
        begins = marks.copy()
        begins[:, 0] = True
        self.columns, self.starts = np.nonzero(begins)
        is_first = self.starts == 0
        is_last = np.roll(is_first, -1)
        stops = np.where(is_last, ends[self.columns], np.roll(self.starts, -1))
        self.lengths: _Host = stops - self.starts
        count = layers * directions
        self.shape = count, batch, len(self.starts)
        # By direction which episodes begin with the state of resets, and which is a sequence's
        # last one to run.
        is_reset = np.stack([marks[begins], ~is_last])[:directions]
        final = np.stack([np.flatnonzero(is_last), np.flatnonzero(is_first)])[:directions]
        places = np.arange(count)[:, None]
        firsts = (np.tile(is_reset, (layers, 1)) * count + places) * batch + self.columns
        lasts = places * len(self.starts) + np.tile(final, (layers, 1))
        # One copy to the device.
        self.firsts, self.lasts = _copied([firsts.reshape(-1), lasts.reshape(-1)])

    def begin(self, usual: Tensor | None, reset: Tensor | None) -> Tensor | None:
        """Return the first state of each episode, shape (L D, M, K).

        Both arguments have shape (L D, N, K), and None stands for zeros: what sequences begin with,
        and what episodes do after a mark.
        """
        given = usual if reset is None else reset
        if given is None:
            return None
        count, batch, episodes = self.shape
        width = given.shape[2]
        both = [
            wrap(cp.zeros(given.shape, dtype=given.dtype)) if state is None else state
            for state in (usual, reset)
        ]
        rows = concat(both).reshape(2 * count * batch, width)
        return select_rows("reset_state", rows, self.firsts).reshape(count, episodes, width)

    def end(self, lasts: Tensor) -> Tensor:
        """Select the last states of the sequences, (L D, N, K), among those of the episodes."""
        count, batch, episodes = self.shape
        rows = lasts.reshape(count * episodes, lasts.shape[2])
        return select_rows("reset_mask", rows, self.lasts).reshape(count, batch, lasts.shape[2])


def walks(
    shape: tuple[int, int],
    directions: int,
    lengths: _Host | None = None,
    episodes: Episodes | None = None,
) -> list[Walk]:
    """Return the walk of each direction, forward first.

    Parameters
    ----------
    shape : tuple of int
        (T, N).
    directions : int
        1 or 2.
    lengths : numpy.ndarray, shape (N,), optional
        As `check_lengths` returns them.
    episodes : Episodes, optional
        Made with these lengths.
    """
    steps, batch = shape
    if episodes is not None:
        lengths = episodes.lengths
    if lengths is None or (lengths == steps).all():
        return [Whole(steps, batch, bool(direction)) for direction in range(directions)]
    # What the sequences are parts of, and where they begin there.
    columns, begins = np.arange(batch), np.zeros(batch, dtype=np.int64)
    if episodes is not None:
        columns, begins = episodes.columns, episodes.starts
    order = np.argsort(-lengths, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    counts = len(order) - np.cumsum(np.bincount(lengths))[:-1]
    starts = np.cumsum(counts) - counts
    # Row by row the step, and the sequence by its rank.
    times = np.repeat(np.arange(len(counts)), counts)
    ranks = np.arange(len(times)) - starts[times]
    # The row after a step in an array of states, and before the first one the rank.
    after = np.concatenate([[0], len(order) + starts])
    chosen = order[ranks]
    forward, reverse = begins[chosen] + times, (begins + lengths - 1)[chosen] - times
    indices = [at * batch + columns[chosen] for at in (forward, reverse)[:directions]]
    parts = [order, rank, after[times] + ranks, after[lengths] + rank, *indices]
    order, rank, before, last, *indices = _copied(parts)
    ran = list(zip(starts.tolist(), after[:-1].tolist(), counts.tolist(), strict=True))
    return [Cut(shape, ran, order, rank, index, before, last) for index in indices]


def _copied(parts: list[_Host]) -> list[RawArray]:
    """Copy arrays of one axis to the device, all at once."""
    whole = cp.asarray(np.concatenate(parts))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return [whole[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]


def check_mask(name: str, mask: Any, shape: tuple[int, ...], is_turned: bool = False) -> _Host:
    """Copy `reset_mask` to the host, shape (T, N), bool.

    Parameters
    ----------
    name : str
        The layer's.
    mask : nested sequences of bool, array or Tensor
    shape : tuple of int
        (T, N), or (T,) where there is no batch axis; N is 1 then.
    is_turned : bool
        Whether (N, T) is wanted.

    Raises
    ------
    TypeError
        If it holds anything but booleans.
    ValueError
        If its shape is another.
    """
    axes = ("T", "N")[: len(shape)]
    if is_turned:
        axes, shape = axes[::-1], shape[::-1]
    wanted = f"({', '.join(axes)}{',' * (len(axes) == 1)}) = {shape}"
    is_nested = isinstance(mask, (list, tuple))
    try:
        host = np.array(_fetched(mask))
    except ValueError:  # rnn-38
        msg = f"{name}: reset_mask must have shape {wanted}, got {shown(mask)}"
        raise ValueError(msg) from None
    if is_nested and not host.size:
        # A list of nothing shows neither a dtype nor what axes are behind.
        fits = host.shape == shape[: host.ndim]
        host = np.zeros(shape if fits else host.shape, dtype=bool)
    if host.dtype.kind != "b":  # rnn-38
        got = f"dtype {host.dtype.name}" if hasattr(mask, "dtype") else shown(mask)
        msg = f"{name}: reset_mask must be booleans, got {got}"
        raise TypeError(msg)
    if host.shape != shape:  # rnn-38
        msg = f"{name}: reset_mask must have shape {wanted}, got {host.shape}"
        raise ValueError(msg)
    if host.ndim == 1:
        return host[:, None]
    return host.T if is_turned else host


def _fetched(value: Any) -> Any:
    """Return an array or a Tensor, also in nested sequences, as one on the host."""
    if isinstance(value, (list, tuple)):
        return [_fetched(part) for part in value]
    if isinstance(value, Tensor):
        if is_mapped(value):
            refuse_value("lengths")
        value = keep(value)
    return cp.asnumpy(value) if isinstance(value, cp.ndarray) else value


def check_lengths(name: str, lengths: Any, steps: int, batch: int | None, least: int = 0) -> _Host:
    """Copy `lengths` to the host, shape (N,).

    Parameters
    ----------
    name : str
        The layer's.
    lengths : sequence of int, array or Tensor
    steps : int
        T.
    batch : int or None
        N; None where there is no batch axis, and one integer is wanted.
    least : int
        What a length must be at least.

    Raises
    ------
    TypeError
        If it holds anything but integers.
    ValueError
        If its shape is another, or a number is not from `least` to T.
    """
    host = on_host(name, lengths)
    wanted, axes = ((), "()") if batch is None else ((batch,), f"(N,) = ({batch},)")
    if host.shape != wanted:  # rnn-34
        msg = f"{name}: lengths must have shape {axes}, got {host.shape}"
        raise ValueError(msg)
    outside = host[(host < least) | (host > steps)]
    if outside.size:  # rnn-34
        msg = f"{name}: lengths must be from {least} to T = {steps}, got {outside[0]}"
        raise ValueError(msg)
    return host.astype(np.int64).reshape(-1)


def on_host(name: str, lengths: Any, argument: str = "lengths") -> _Host:
    """Return an array of integers, a copy (rnn-33); what a list holds may be of any size."""
    if not isinstance(lengths, (list, tuple)):
        lengths = _fetched(lengths)
    if isinstance(lengths, (np.ndarray, np.generic)):
        if lengths.dtype.kind not in "iu":
            _refuse(name, argument, f"dtype {lengths.dtype.name}")
        return np.array(lengths)
    is_several = isinstance(lengths, Sequence) and not isinstance(lengths, (str, bytes))
    if is_several and any(isinstance(part, (list, tuple)) for part in lengths):
        nested = np.array(lengths, dtype=object)
        if nested.ndim > 1:
            return nested
    parts = [_integer(name, argument, part) for part in (lengths if is_several else [lengths])]
    host = np.array(parts, dtype=object)
    return host if is_several else host.reshape(())


def _integer(name: str, argument: str, part: Any) -> int:
    # operator.index takes Python's booleans, but not NumPy's.
    if not isinstance(part, bool):
        try:
            return operator.index(part)
        except (TypeError, ValueError, AttributeError):
            pass
    return _refuse(name, argument, shown(part))


def _refuse(name: str, argument: str, got: str) -> NoReturn:
    msg = f"{name}: {argument} must be integers, got {got}"
    raise TypeError(msg)
