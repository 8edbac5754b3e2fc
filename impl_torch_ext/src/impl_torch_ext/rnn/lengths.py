"""Sequences of different lengths in one batch: what `lengths` means, and where the steps lie then.

T steps, N batch. The samples are sorted by falling length, and of each step only those are kept
that have it, one step after the other, as in `torch.nn.utils.rnn.PackedSequence`. So nothing is
computed for padding, and none of it is read.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from impl_torch_ext.checks import check_between, shown
from impl_torch_ext.dtypes import is_integer
from impl_torch_ext.native import native

__all__ = ["Packing", "check_lengths"]


def check_lengths(name: str, lengths: Any, batch: int | None, steps: int) -> Tensor:
    """Return `lengths` as a new Tensor of int64, shape (N,), or raise.

    Parameters
    ----------
    name : str
        The layer, for the message.
    lengths : sequence of int, array or Tensor
        Of shape (N,), or one integer where `batch` is None, as without a batch axis.
    batch : int or None
        N.
    steps : int
        T, the most that a length may be.

    Raises
    ------
    TypeError
        If a length is no integer.
    ValueError
        If the shape is another, or a length is out of range.
    """
    array = _integers(name, lengths)
    shape = () if batch is None else (batch,)
    if array.shape != shape:  # rnn-34
        wanted = "()" if batch is None else f"(N,) = ({batch},)"
        msg = f"{name}: lengths must have shape {wanted}, got {array.shape}"
        raise ValueError(msg)
    if array.size:
        for worst in (array.min(), array.max()):
            check_between(name, "lengths", int(worst), 0, steps)  # rnn-34
    # A copy: what is written to the caller's afterwards has no effect.
    return torch.from_numpy(array.reshape(-1).astype(np.int64))


def _integers(name: str, lengths: Any) -> "np.ndarray[Any, Any]":
    """Return an array of integers of any dtype, or of Python's, or raise a TypeError."""
    if isinstance(lengths, Tensor):
        if is_integer(lengths.dtype):
            return lengths.detach().cpu().numpy()
        came: Any = lengths.dtype
    elif isinstance(lengths, np.ndarray | np.generic):
        if lengths.dtype.kind in "iu":
            return np.asarray(lengths)
        came = lengths.dtype
    else:
        several = isinstance(lengths, Sequence) and not isinstance(lengths, str | bytes)
        try:
            array = np.array([*lengths] if several else lengths, dtype=object)
            for i in np.ndindex(array.shape):
                array[i] = _integer(array[i])
            return array
        except (TypeError, ValueError):
            came = shown(lengths)
    msg = f"{name}: lengths must be integers, got {came}"  # rnn-34
    raise TypeError(msg)


def _integer(item: Any) -> int:
    plain = item.item() if isinstance(item, Tensor) else item
    if isinstance(plain, bool):
        raise TypeError
    return operator.index(plain)


class Packing:
    """Where the rows of a batch of sequences lie when only the steps that are there are kept.

    Parameters
    ----------
    batch_sizes : Tensor of int64, shape (number of steps that a sample has,)
        How many samples each step has.
    order, back : Tensor of int64, shape (N,), or None
        The samples in falling order of length, and where each is in that order; None where they
        came so.
    batch, steps : int
        N and T.
    """

    def __init__(
        self,
        batch_sizes: Tensor,
        order: Tensor | None,
        back: Tensor | None,
        batch: int,
        steps: int,
    ) -> None:
        self.batch_sizes = batch_sizes
        self.order = order
        self.back = back
        self.batch = batch
        self.steps = steps
        self._known: dict[bool, Tensor] = {}

    @classmethod
    def of_lengths(cls, lengths: Tensor, steps: int) -> "Packing":
        """Return that of sequences of these lengths, (N,), among `steps` steps."""
        falling, order = torch.sort(lengths, descending=True, stable=True)
        longest = int(falling[0]) if len(falling) else 0
        batch_sizes = (falling > torch.arange(longest).unsqueeze(1)).sum(1)
        return cls(batch_sizes, order, torch.argsort(order), len(order), steps)

    @classmethod
    def of_packed(cls, packed: PackedSequence) -> "Packing":
        """Return that of a sequence that came packed."""
        # A copy: what is written to the caller's afterwards has no effect.
        sizes = packed.batch_sizes.clone()
        batch = int(sizes[0]) if len(sizes) else 0
        return cls(sizes, packed.sorted_indices, packed.unsorted_indices, batch, len(sizes))

    def places(self, batch_first: bool = False) -> Tensor:
        """Return where each row lies in an array (T, N), or (N, T), that is flat."""
        if batch_first not in self._known:
            running = torch.arange(self.batch) < self.batch_sizes.unsqueeze(1)
            step, sample = running.nonzero().T
            if self.order is not None:
                sample = self.order[sample]
            self._known[batch_first] = (
                sample * self.steps + step if batch_first else step * self.batch + sample
            )
        return self._known[batch_first]

    def pack(self, x: Tensor, batch_first: bool) -> Tensor:
        """Return the rows of x (T, N, ...), or (N, T, ...), that are there."""
        rows: Tensor = native.gather.default(x.flatten(0, 1), self.places(batch_first), 0)
        return rows

    def unpack(self, rows: Tensor, batch_first: bool) -> Tensor:
        """Return them in their places, zeros in those that are not there: rnn-33."""
        count = self.steps * self.batch
        padded = native.gather_backward.default(rows, self.places(batch_first), 0, count)
        shape = (self.batch, self.steps) if batch_first else (self.steps, self.batch)
        result: Tensor = padded.reshape(*shape, rows.shape[1])
        return result

    def sort(self, states: Tensor) -> Tensor:
        """Return states (L D, N, ...) with the samples in falling order of length."""
        return _along_batch(states, self.order)

    def unsort(self, states: Tensor) -> Tensor:
        """Return such states in the order in which the samples came."""
        return _along_batch(states, self.back)


def _along_batch(states: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return states
    result: Tensor = native.gather.default(states, order, 1)
    return result
