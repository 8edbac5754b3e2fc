"""Sequences of different lengths in one batch, several episodes in one sequence: where steps lie.

T steps, N batch, L layers above one another, D directions. The samples are sorted by falling
length, and of each step only those are kept that have it, one step after the other, as in
`torch.nn.utils.rnn.PackedSequence`. So nothing is computed for padding, and none of it is read. An
episode is such a sample of its own, so that nothing is reset while steps are computed.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from impl_torch_ext.checks import check_between, shown
from impl_torch_ext.dtypes import is_integer
from impl_torch_ext.module.functional import replaced
from impl_torch_ext.native import native
from impl_torch_ext.tracing import assert_later, each_slice, known_only_later, numbers

__all__ = ["Packing", "by_slice", "checked_lengths", "checked_mask", "packing_of"]


def checked_lengths(name: str, lengths: Any, batch: int | None, steps: int) -> Tensor:
    """Return `lengths` as a new Tensor of int64, shape (N,), or raise.

    Parameters
    ----------
    name : str
        The layer or function, for the message.
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
    if known_only_later():
        return _traced_lengths(name, lengths, batch, steps)
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


def _traced_lengths(name: str, lengths: Any, batch: int | None, steps: int) -> Tensor:
    """Return `lengths` while a compiler looks on, which checks their range when they are known."""
    array = torch.as_tensor(lengths)
    if array.is_floating_point() or array.dtype == torch.bool:
        msg = f"{name}: lengths must be integers, got {array.dtype}"
        raise TypeError(msg)
    if array.shape != (() if batch is None else (batch,)):
        msg = f"{name}: lengths must have shape (N,) = ({batch},), got {tuple(array.shape)}"
        raise ValueError(msg)
    assert_later((array >= 0) & (array <= steps), f"{name}: lengths must be in [0, {steps}]")
    return array.reshape(-1).to(torch.int64)


def _integers(name: str, lengths: Any) -> "np.ndarray[Any, Any]":
    """Return an array of integers of any dtype, or of Python's, or raise a TypeError."""
    if isinstance(lengths, Tensor):
        if is_integer(lengths.dtype):
            return numbers(lengths)
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
        except (TypeError, ValueError, RuntimeError):
            came = shown(lengths)
    msg = f"{name}: lengths must be integers, got {came}"  # rnn-34
    raise TypeError(msg)


def _integer(item: Any) -> int:
    plain = item.item() if isinstance(item, Tensor) else item
    if isinstance(plain, bool):
        raise TypeError
    return operator.index(plain)


def checked_mask(name: str, mask: Any, shape: tuple[int, ...], text: str) -> Tensor:
    """Return `mask` as a new Tensor of bool, or raise.

    Parameters
    ----------
    name : str
        The layer or function, for the message.
    mask : sequence of bool, array or Tensor
        Whether an episode begins at a step of a sample.
    shape : tuple of int
        What is wanted, in the layout of the call.
    text : str
        The names of these sizes, as in "(T, N)".

    Raises
    ------
    TypeError
        If an element is no boolean.
    ValueError
        If the shape is another.
    """
    if known_only_later():
        traced = torch.as_tensor(mask)
        if traced.dtype != torch.bool:
            msg = f"{name}: reset_mask must be booleans, got {traced.dtype}"
            raise TypeError(msg)
        if traced.shape != shape:
            wanted = f"{text} = {shape}"
            msg = f"{name}: reset_mask must have shape {wanted}, got {tuple(traced.shape)}"
            raise ValueError(msg)
        return traced
    try:
        array = np.asarray(numbers(mask) if isinstance(mask, Tensor) else mask)
    except ValueError:  # Rows of different lengths.
        array, came = None, shown(mask)
    except (RuntimeError, TypeError):  # A sequence of Tensors that require grad.
        array = np.empty((), object)
    if array is not None:
        # NumPy takes an empty sequence for one of floats.
        empty = not array.size and isinstance(mask, Sequence)
        if array.dtype.kind != "b" and not empty:
            typed = isinstance(mask, Tensor | np.ndarray | np.generic)
            msg = f"{name}: reset_mask must be booleans, got {mask.dtype if typed else shown(mask)}"
            raise TypeError(msg)  # rnn-38
        came = str(array.shape)
    if array is None or array.shape != shape:
        msg = f"{name}: reset_mask must have shape {text} = {shape}, got {came}"
        raise ValueError(msg)  # rnn-38
    # A copy: what is written to the caller's afterwards has no effect.
    return torch.from_numpy(array.astype(np.bool_))


def by_slice(module: Any, run: Callable[..., Any], *args: Any) -> Any:
    """Call `run` for one slice of `vmap` after the other, as what it computes depends on lengths.

    The parameters of `module`, if it is one, may depend on the slice as well (autograd-52).
    """
    if not isinstance(module, torch.nn.Module):
        return each_slice(run, *args)

    def one(parameters: dict[str, Tensor], *args: Any) -> Any:
        with replaced(module, parameters):
            return run(*args)

    return each_slice(one, dict(module.named_parameters()), *args)


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

    Attributes
    ----------
    count : int
        How many samples there are to compute, each with a first state of its own.
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
        self.batch = self.count = batch
        self.steps = steps
        self._known: dict[bool, Tensor] = {}

    @classmethod
    def of_lengths(cls, lengths: Tensor, steps: int) -> "Packing":
        """Return that of sequences of these lengths, (N,), among `steps` steps."""
        batch_sizes, order = _by_length(lengths)
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
            sizes = self.batch_sizes
            step = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
            rank = torch.arange(len(step)) - (sizes.cumsum(0) - sizes)[step]
            step, sample = self._found(step, rank)
            self._known[batch_first] = (
                sample * self.steps + step if batch_first else step * self.batch + sample
            )
        return self._known[batch_first]

    def _found(self, step: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
        """Return step and sample, as they came, of such a step of those in falling order."""
        return step, rank if self.order is None else self.order[rank]

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


class Episodes(Packing):
    """A packing of sequences that have several episodes: each of these is computed as a sample.

    Parameters
    ----------
    marks : Tensor of bool, shape (T, N)
        Where an episode begins. Others begin at step 0; marks past an end have no effect.
    lengths : Tensor of int64, shape (N,)
    directions : int
        D. In the reverse direction a sequence begins with its last episode, and ends with its
        first.
    """

    def __init__(self, marks: Tensor, lengths: Tensor, directions: int) -> None:
        steps, batch = marks.shape
        # One step where there is none: a sequence of length 0 has an episode of length 0, that
        # begins and ends with hx; its marks are past its end: rnn-37.
        marked = marks.new_zeros((batch, max(steps, 1)))
        marked[:, :steps] = marks.T & (torch.arange(steps) < lengths.unsqueeze(1))
        begins = marked.clone()
        begins[:, 0] = True
        sample, start = begins.nonzero().T
        initial = start == 0
        final = torch.cat((initial[1:], initial.new_ones(min(batch, 1))))
        stop = torch.where(final, lengths[sample], start.roll(-1))
        batch_sizes, order = _by_length(stop - start)
        super().__init__(batch_sizes, sample[order], None, batch, steps)
        self.count, self._starts = len(order), start[order]
        # By direction: which episodes begin anew, and which one of a sequence comes last: rnn-37.
        anew, last = [marked[sample, start], ~final], [final, initial]
        first = torch.stack([sample + batch * fresh for fresh in anew[:directions]])
        self._first = first[:, order]
        back = torch.argsort(order)
        self._last = torch.stack([back[ends] for ends in last[:directions]])

    def _found(self, step: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
        step, sample = super()._found(step, rank)
        return step + self._starts[rank], sample

    def sort(self, states: Tensor) -> Tensor:
        """Return the first states of all episodes in falling order of length.

        `states` (L D, 2 N, ...) are those of the call and then those of `reset_state`.
        """
        return _by_direction(states, self._first)

    def unsort(self, states: Tensor) -> Tensor:
        """Return the last states, (L D, N, ...), of sequences from those of all episodes."""
        return _by_direction(states, self._last)


def packing_of(
    name: str,
    sizes: tuple[int, ...],
    batched: bool,
    batch_first: bool,
    directions: int,
    lengths: Any,
    reset_mask: Any,
) -> Packing:
    """Return where the steps of a call's input lie.

    Parameters
    ----------
    name : str
        The layer, for messages.
    sizes : tuple of int
        (T, N), or (N, T) with `batch_first`; (T, 1) where it is not `batched`.
    batched, batch_first : bool
        Whether the input came with a batch axis, and with that axis first.
    directions : int
        D.
    lengths, reset_mask : object
        What came, one of them not None.
    """
    steps, batch = reversed(sizes) if batch_first else sizes
    if lengths is None:
        checked = torch.full((batch,), steps)
    else:
        checked = checked_lengths(name, lengths, batch if batched else None, steps)
    if reset_mask is None:
        if known_only_later():
            return _Traced(checked, None, steps, batch, directions)
        return Packing.of_lengths(checked, steps)
    shape, text = (tuple(sizes), "(T, N)") if batched else ((steps,), "(T,)")
    marks = checked_mask(name, reset_mask, shape, "(N, T)" if batch_first else text)
    marks = marks.reshape(sizes)
    marks = marks.T if batch_first else marks
    if known_only_later():
        return _Traced(checked, marks, steps, batch, directions)
    return Episodes(marks, checked, directions)


class _Traced(Packing):
    """A packing whose numbers are known when the compiled program runs."""

    def __init__(
        self, lengths: Tensor, marks: Tensor | None, steps: int, batch: int, directions: int
    ) -> None:
        found = torch.ops.impl_torch_ext.packing(lengths, marks, steps, directions)
        batch_sizes, first, last, places, places_batch_first = found
        super().__init__(batch_sizes, first, last, batch, steps)
        self.count = first.shape[-1]
        self._known = {False: places, True: places_batch_first}

    # torch's own functions take sizes that are not known yet.
    def pack(self, x: Tensor, batch_first: bool) -> Tensor:
        return x.flatten(0, 1).index_select(0, self.places(batch_first))

    def unpack(self, rows: Tensor, batch_first: bool) -> Tensor:
        zeros = rows.new_zeros((self.steps * self.batch, rows.shape[1]))
        padded = zeros.index_copy(0, self.places(batch_first), rows)
        shape = (self.batch, self.steps) if batch_first else (self.steps, self.batch)
        return padded.reshape(*shape, rows.shape[1])

    def sort(self, states: Tensor) -> Tensor:
        return _chosen(states, self.order)

    def unsort(self, states: Tensor) -> Tensor:
        return _chosen(states, self.back)


def _chosen(states: Tensor, index: Tensor | None) -> Tensor:
    """Return those of states (L D, M, ...) at `index`, (K,) or by direction (D, K)."""
    assert index is not None
    if index.ndim == 1:
        return states.index_select(1, index)
    count = len(states)
    parts = [
        state.index_select(0, index[i % len(index)])
        for i, state in zip(range(count), states.unbind(), strict=True)
    ]
    return torch.stack(parts)


_library = torch.library.Library("impl_torch_ext", "FRAGMENT")
_library.define(
    "packing(Tensor lengths, Tensor? marks, int steps, int directions) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)


@torch.library.impl("impl_torch_ext::packing", "CPU")
def _(lengths: Tensor, marks: Tensor | None, steps: int, directions: int) -> tuple[Tensor, ...]:
    """Return batch sizes, what `sort` and `unsort` take, and the places in both layouts."""
    if marks is None:
        packing = Packing.of_lengths(lengths, steps)
        first, last = packing.order, packing.back
        assert first is not None
        assert last is not None
    else:
        packing = episodes = Episodes(marks, lengths, directions)
        first, last = episodes._first, episodes._last
    return packing.batch_sizes, first, last, packing.places(), packing.places(True)


@torch.library.register_fake("impl_torch_ext::packing")
def _(lengths: Tensor, marks: Tensor | None, _steps: int, directions: int) -> tuple[Tensor, ...]:
    context, batch = torch.library.get_ctx(), len(lengths)
    rows = context.new_dynamic_size()
    first: tuple[Any, ...] = (batch,)
    last = first
    if marks is not None:
        first, last = (directions, context.new_dynamic_size()), (directions, batch)
    shapes = [(context.new_dynamic_size(),), first, last, (rows,), (rows,)]
    return tuple(lengths.new_empty(shape) for shape in shapes)


def _by_length(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many samples have each step, and the samples in falling order of length."""
    order = torch.argsort(lengths, descending=True, stable=True)
    ended = torch.bincount(lengths).cumsum(0)[:-1]
    return len(lengths) - ended, order


def _along_batch(states: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return states
    result: Tensor = native.gather.default(states, order, 1)
    return result


def _by_direction(states: Tensor, chosen: Tensor) -> Tensor:
    """Return those of states (L D, M, ...) that are chosen, (D, K), in each direction."""
    count, size = states.shape[:2]
    rows = chosen.repeat(count // len(chosen), 1) + size * torch.arange(count).unsqueeze(1)
    flat: Tensor = native.gather.default(states.flatten(0, 1), rows.flatten(), 0)
    return flat.reshape(*rows.shape, states.shape[2])
