"""What recurrent layers share: whole sequences, in layers and directions, packed or not.

T steps, N batch, I input size, H hidden size, P size of a projected hidden state (H where there is
no projection), L layers above one another, D directions; the equations and their sources stand in
`equations`.
"""

from __future__ import annotations

import warnings
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import ops
from impl_numpy.batched import USED, Level, youngest
from impl_numpy.by_slice import each
from impl_numpy.checks import (
    check_bit,
    check_count,
    check_flag,
    check_no_bool,
    check_probability,
    shown,
)
from impl_numpy.dtypes import Shape
from impl_numpy.nn.dropout import drawn, dropped
from impl_numpy.rnn.cell import Recurrent
from impl_numpy.rnn.equations import Steps
from impl_numpy.rnn.lengths import (
    DIRECTIONS,
    FORWARD,
    Episodes,
    Extent,
    Packing,
    check_lengths,
    check_mask,
    packing_of,
)
from impl_numpy.rnn.packed import PackedSequence, packing_in
from impl_numpy.tensor import Tensor, wrap


class SequenceLayer(Recurrent):
    """Whole sequences, in layers above one another and in one or both directions."""

    _states: ClassVar[tuple[str, ...]] = ("h0",)
    _sizes = ("input_size", "hidden_size", "num_layers")

    def __init__(
        self,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: DTypeLike | None,
        proj_size: int = 0,
        **sizes: int,
    ) -> None:
        owner = type(self).__name__
        super().__init__(bias, **sizes)
        self.batch_first = check_flag(owner, "batch_first", batch_first)
        check_no_bool(owner, "dropout", dropout)
        self.dropout = check_probability(owner, "dropout", dropout)
        self.bidirectional = check_bit(owner, "bidirectional", bidirectional)  # rnn-20
        self.proj_size = check_count(owner, "proj_size", proj_size)
        if self.proj_size >= self.hidden_size:
            msg = (
                f"{owner}: proj_size must be less than hidden_size = {self.hidden_size}, "
                f"got {proj_size}"
            )
            raise ValueError(msg)
        if self.dropout and self.num_layers == 1:
            msg = f"{owner}: dropout is between layers, and has no effect with num_layers = 1"
            warnings.warn(msg, UserWarning, stacklevel=3)
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        above = len(suffixes) * (self.proj_size or self.hidden_size)
        # The names of the parameters of each layer and direction.
        self._names = [
            self._draw(f"_l{k}{suffix}", above if k else self.input_size, dtype, self.proj_size)
            for k in range(self.num_layers)
            for suffix in suffixes
        ]

    def forward(
        self,
        input: Any,
        hx: Any = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: Any = None,
    ) -> tuple[Tensor, Any]:
        """Take all steps.

        Parameters
        ----------
        input : Tensor, shape (T, N, I), (N, T, I) if batch_first, or (T, I)
        hx : Tensor, shape (L D, N, P), or (L D, P) next to (T, I), optional
            For LSTM a pair; c has H where h has P. Zeros if left out. Layers stand in their order,
            of each first the forward direction.
        lengths : sequence of int, array or Tensor of integers, shape (N,), optional
            How many steps each sequence has, in any order; one integer next to (T, I). What the
            input holds past the end of a sequence is not read.
        reset_mask : sequence, array or Tensor of bool, shape (T, N), optional
            (N, T) if batch_first, (T,) next to (T, I). A step that is marked begins another
            episode, which knows nothing of the steps before it; in the reverse direction the steps
            before it know nothing of it.
        reset_state : as `hx`, optional
            The state that an episode begins with, but for the one that begins with `hx`: the one
            at step 0, if that has no mark, and in the reverse direction the last of each sequence.
            Zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, D P), (N, T, D P) if batch_first, or (T, D P)
            Of the last layer, forward direction first; 0 past the end of a sequence.
        state : of the shape of the initial one
            After the last step of each sequence; in the reverse direction that is step 0.

        Raises
        ------
        ValueError
            If a shape does not fit, a length is out of range, or there is a reset_state without a
            reset_mask.
        TypeError
            If a dtype is not the parameters', lengths are no integers, or marks no booleans.
        """
        (output,), after = self._sequences(input, hx, lengths, reset_mask, reset_state)
        return output, after

    def _sequences(
        self,
        input: Any,
        hx: Any,
        lengths: Any,
        reset_mask: Any,
        reset_state: Any,
        cells: bool = False,
    ) -> tuple[list[Tensor], Any]:
        """Return the output, with `cells` also c after every step, and the last state."""
        level = youngest((lengths, reset_mask)) if USED else None
        if level is not None:
            return self._by_slices(level, (input, hx, lengths, reset_mask, reset_state), cells)
        # What `getattr` would come to in the end.
        known: dict[str, Any] = self._parameters
        weights = [
            [known[name] if name in known else getattr(self, name) for name in names]
            for names in self._names
        ]
        dtype = weights[0][0].dtype
        if isinstance(input, PackedSequence):
            others = {"lengths": lengths, "reset_mask": reset_mask, "reset_state": reset_state}
            return self._packed(input, hx, weights, others, cells)
        form = "(N, T, I)" if self.batch_first else "(T, N, I)"
        x = self._sequence(input, (form, "(T, I)"), dtype)
        batched = x.ndim == 3
        if not batched:
            x = ops.expand_dims(x, axis=1)
        elif self.batch_first:
            x = ops.permute_dims(x, (1, 0, 2))
        steps, batch, _ = x.shape
        wanted = self._wanted(len(weights), (batch,) if batched else ())
        states = self._checked_state(hx, wanted, dtype)
        packing: Packing | None = None
        resets: list[Tensor] = []
        if reset_mask is not None:
            resets = self._checked_state(reset_state, wanted, dtype, "reset_state")
            packing = self._episodes(reset_mask, lengths, (steps, batch), batched)
        elif reset_state is not None:  # rnn-38
            msg = f"{type(self).__name__}: reset_state must come with a reset_mask, got none"
            raise ValueError(msg)
        elif lengths is not None:
            packing = packing_of(type(self).__name__, lengths, steps, batch if batched else None)
        first = self._initial(states, resets, batch, packing)
        outputs, last = self._run(x, first, weights, packing, cells)
        if not batched:
            outputs = [ops.squeeze(output, axis=1) for output in outputs]
        elif self.batch_first:
            outputs = [ops.permute_dims(output, (1, 0, 2)) for output in outputs]
        after = tuple([h.reshape(shape) for h, (_, shape) in zip(last, wanted, strict=True)])
        return outputs, after if len(after) > 1 else after[0]

    def _packed(
        self,
        packed: PackedSequence,
        hx: Any,
        weights: list[list[Any]],
        others: dict[str, Any],
        cells: bool,
    ) -> tuple[list[Any], Any]:
        """Take the steps of packed sequences (rnn-57)."""
        owner, dtype = type(self).__name__, weights[0][0].dtype
        for name, value in others.items():
            if value is not None:
                msg = f"{owner}: {name} must be left out beside packed input, got {shown(value)}"
                raise ValueError(msg)
        x = self._sequence(packed.data, ("(R, I)",), dtype)
        packing = packing_in(owner, packed)
        batch = packing.padded[1]
        wanted = self._wanted(len(weights), (batch,))
        first = self._initial(self._checked_state(hx, wanted, dtype), [], batch, packing)
        outputs, last = self._run(packing.formed(x), first, weights, packing, cells, packed=True)
        after = tuple([h.reshape(shape) for h, (_, shape) in zip(last, wanted, strict=True)])
        rows = x.shape[0]
        found = [PackedSequence(y.reshape((rows, y.shape[-1])), *packed[1:]) for y in outputs]
        return found, after if len(after) > 1 else after[0]

    def _by_slices(
        self, level: Level, given: tuple[Any, ...], cells: bool
    ) -> tuple[list[Tensor], Any]:
        """Take the sequences of each slice of a `vmap`, of which each has other lengths."""
        parameters = {name: getattr(self, name) for names in self._names for name in names}

        def run(parameters: dict[str, Any], *given: Any) -> Any:
            layer: Any = object.__new__(type(self))
            layer.__dict__.update(self.__dict__, _parameters=parameters)
            return layer._sequences(*given, cells=cells)

        found: tuple[list[Tensor], Any] = each(level, run, (parameters, *given), {})
        return found

    def _wanted(self, count: int, batch: Shape) -> list[tuple[str, Shape]]:
        """Return the form and the shape of each state: of h, and of c if there is one."""
        lead = f"({count}, N, " if batch else f"({count}, "
        size = self.hidden_size
        wanted: list[tuple[str, Shape]] = [(f"{lead}H)", (count, *batch, size))]
        if self.proj_size:
            return [(f"{lead}P)", (count, *batch, self.proj_size)), *wanted]
        return wanted * len(self._states)

    def _episodes(self, mask: Any, lengths: Any, padded: Shape, batched: bool) -> Episodes:
        """Return how a batch of (T, N) steps is cut into episodes."""
        owner, (steps, batch) = type(self).__name__, padded
        if not batched:
            marks = check_mask(owner, mask, "(T,)", (steps,)).reshape(padded)
        elif self.batch_first:
            marks = check_mask(owner, mask, "(N, T)", (batch, steps)).T
        else:
            marks = check_mask(owner, mask, "(T, N)", padded)
        if lengths is None:
            ends = np.full(batch, steps)
        else:
            ends = check_lengths(owner, lengths, steps, batch if batched else None).reshape(-1)
        return Episodes(marks, ends, 1 + self.bidirectional)

    def _initial(
        self, states: list[Tensor], resets: list[Tensor], batch: int, packing: Packing | None
    ) -> list[tuple[Tensor, ...]]:
        """Return of each state what each layer and direction starts from, (N, P) or (N, H)."""
        count = len(self._names)
        parts = []
        for h, reset in zip_longest(states, resets):
            size = h.shape[-1]
            shape = (count, batch, size) if count > 1 else (batch, size)
            rows = h.reshape(shape)
            if reset is not None:
                rows = ops.concat([rows, reset.reshape(shape)], axis=-2)
            if packing is not None:
                rows = packing.ordered(rows)
            parts.append(Steps.apply(rows) if count > 1 else (rows,))
        return parts

    def _run(
        self,
        x: Tensor,
        states: list[tuple[Tensor, ...]],
        weights: list[list[Any]],
        packing: Packing | None,
        cells: bool,
        packed: bool = False,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return output (T, N, D P) and last states, of all layers and directions.

        With `cells` c of the last layer, (T, N, D H), stands beside the output. With `packed` the
        input is so already, and stays so.
        """
        padded = x.shape[:2] if packing is None else packing.padded
        extents: tuple[Extent, Extent] = DIRECTIONS
        if packing is not None:
            x, extents = x if packed else packing.pack(x), packing.extents
        directions, last = 2 if self.bidirectional else 1, []
        for first in range(0, len(weights), directions):
            if first and self.dropout and self.training:  # rnn-31
                kept = wrap(drawn((*padded, x.shape[-1]), self.dropout), None)
                x = dropped(x, kept if packing is None else packing.pack(kept), self.dropout)
            every = []
            for k, extent in enumerate(extents[:directions], first):
                where: dict[str, Any] = {} if extent is FORWARD else {"extent": extent}
                if cells and first + directions == len(weights):
                    where["cells"] = True
                output, *after = self._apply(x, *[h[k] for h in states], *weights[k], **where)
                every.append([output, *after[len(states) :]])
                last.append(after[: len(states)])
            outputs = every[0]
            if directions > 1:
                outputs = [ops.concat(both, axis=-1) for both in zip(*every, strict=True)]
            x = outputs[0]
        after = [h[0] if len(h) == 1 else ops.stack(h) for h in zip(*last, strict=True)]
        if packing is not None:
            outputs = outputs if packed else [packing.unpack(x) for x in outputs]
            after = [packing.as_given(h) for h in after]
        return outputs, after

    def _apply(self, *inputs: Any, **where: Any) -> tuple[Tensor, ...]:
        """Return output (T, N, P) and last states of one layer in one direction."""
        raise NotImplementedError
