"""In which order the steps of a batch of sequences run, and where each has its rows.

T, N, K are steps, batch and any number of columns. The steps' arrays are matrices of S rows, those
of one step behind each other; `Whole` has all S = T N of them, `Cut` those within the sequences'
lengths, as packed sequences do. Arrays of states have S + N rows: the first state's too. A step is
``(row, before, count)``: its first row, that of the states before it in an array of states, and how
many rows it has. Rows of states after the steps are ``states[walk.after]``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import shown
from impl_cupy.launch import Step
from impl_cupy.recording import record
from impl_cupy.tape import RawArray
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

    Parameters
    ----------
    steps : int
        T.
    ran : list of tuple
        The steps in their order.
    order, rank : cupy.ndarray, shape (N,)
        The sequences, the longest first, and the place of each among them.
    index : cupy.ndarray, shape (S,)
        The place of each row in an array (T N, K).
    before, last : cupy.ndarray, shapes (S,) and (N,)
        As in `Whole`, but for the order of `last`, which is that of the batch.
    """

    __slots__ = (
        "after",
        "batch",
        "before",
        "index",
        "initial",
        "last",
        "length",
        "order",
        "ran",
        "rank",
    )

    def __init__(
        self,
        steps: int,
        ran: list[Step],
        order: RawArray,
        rank: RawArray,
        index: RawArray,
        before: RawArray,
        last: RawArray,
    ) -> None:
        self.length = steps
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
        return x.reshape(self.length * self.batch, x.shape[2])[self.index]

    def put(self, rows: Any) -> Any:
        """Return rows as an array (T, N, K) with zeros in the padding."""
        if isinstance(rows, Tensor):
            return record("lengths", self.put, lambda _, grad: (self.rows(grad),), (rows,))
        width = rows.shape[1]
        out = cp.zeros((self.length * self.batch, width), dtype=rows.dtype)  # rnn-33
        if rows.size:
            out[self.index] = rows
        return out.reshape(self.length, self.batch, width)

    def sort(self, states: Any) -> Any:
        """Return states (N, K) in the order of the rows."""
        return states[self.order]

    def unsort(self, states: Any) -> Any:
        """Return states (N, K) in the order of the batch."""
        return states[self.rank]


Walk: TypeAlias = "Whole | Cut"


def walks(steps: int, batch: int, lengths: _Host | None, directions: int) -> list[Walk]:
    """Return the walk of each direction, forward first.

    Parameters
    ----------
    steps, batch : int
        T and N.
    lengths : numpy.ndarray, shape (N,), optional
        As `check_lengths` returns them.
    directions : int
        1 or 2.
    """
    if lengths is None or (lengths == steps).all():
        return [Whole(steps, batch, bool(direction)) for direction in range(directions)]
    order = np.argsort(-lengths, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(batch)
    is_there = np.arange(lengths.max())[:, None] < lengths[order]
    # Row by row the step, and the sequence by its rank.
    times, ranks = np.nonzero(is_there)
    counts = is_there.sum(axis=1)
    starts = np.cumsum(counts) - counts
    # The row after a step in an array of states, and before the first one the rank.
    after = np.concatenate([[0], batch + starts])
    columns = order[ranks]
    forward, reverse = times * batch + columns, (lengths[columns] - 1 - times) * batch + columns
    indices = [forward, reverse][:directions]
    parts = [order, rank, after[times] + ranks, after[lengths] + rank, *indices]
    # One copy to the device.
    whole = cp.asarray(np.concatenate(parts))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    order, rank, before, last, *indices = (
        whole[end - len(part) : end] for part, end in zip(parts, ends, strict=True)
    )
    ran = list(zip(starts.tolist(), after[:-1].tolist(), counts.tolist(), strict=True))
    return [Cut(steps, ran, order, rank, index, before, last) for index in indices]


def check_lengths(name: str, lengths: Any, steps: int, batch: int | None) -> _Host:
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

    Raises
    ------
    TypeError
        If it holds anything but integers.
    ValueError
        If its shape is another, or a number is not from 0 to T.
    """
    host = _on_host(name, lengths)
    wanted, axes = ((), "()") if batch is None else ((batch,), f"(N,) = ({batch},)")
    if host.shape != wanted:  # rnn-34
        msg = f"{name}: lengths must have shape {axes}, got {host.shape}"
        raise ValueError(msg)
    outside = host[(host < 0) | (host > steps)]
    if outside.size:  # rnn-34
        msg = f"{name}: lengths must be from 0 to T = {steps}, got {outside[0]}"
        raise ValueError(msg)
    return host.astype(np.int64).reshape(-1)


def _on_host(name: str, lengths: Any) -> _Host:
    """Return an array of integers, a copy (rnn-33); what a list holds may be of any size."""
    if isinstance(lengths, Tensor):
        lengths = lengths._data
    if isinstance(lengths, cp.ndarray):
        lengths = cp.asnumpy(lengths)
    if isinstance(lengths, (np.ndarray, np.generic)):
        if lengths.dtype.kind not in "iu":
            _refuse(name, f"dtype {lengths.dtype.name}")
        return np.array(lengths)
    is_several = isinstance(lengths, Sequence) and not isinstance(lengths, (str, bytes))
    if is_several and any(isinstance(part, (list, tuple)) for part in lengths):
        nested = np.array(lengths, dtype=object)
        if nested.ndim > 1:
            return nested
    parts = [_integer(name, part) for part in (lengths if is_several else [lengths])]
    host = np.array(parts, dtype=object)
    return host if is_several else host.reshape(())


def _integer(name: str, part: Any) -> int:
    # operator.index takes Python's booleans, but not NumPy's.
    if not isinstance(part, bool):
        try:
            return operator.index(part)
        except (TypeError, ValueError, AttributeError):
            pass
    return _refuse(name, shown(part))


def _refuse(name: str, got: str) -> NoReturn:
    msg = f"{name}: lengths must be integers, got {got}"
    raise TypeError(msg)
