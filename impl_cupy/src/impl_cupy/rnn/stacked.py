"""What recurrent layers share: layers above one another, both directions, packed input.

T, N, I, H are steps, batch, input size, hidden size; P is the size of h; L and D are the numbers of
layers and of directions.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_bool,
    check_fraction,
    check_positive_int,
    check_sizes,
)
from impl_cupy.dtypes import DTypeLike
from impl_cupy.function import Function
from impl_cupy.nn.dropout import dropped
from impl_cupy.nn.layer import each_slice
from impl_cupy.ops.manipulation import concat, expand_dims, permute_dims, squeeze
from impl_cupy.recording import as_tensor
from impl_cupy.rnn.cell import Recurrent
from impl_cupy.rnn.lengths import Episodes, check_lengths, check_mask, walks
from impl_cupy.rnn.packed import PackedSequence, layout_of
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


class RecurrentLayer(Recurrent):
    """Whole sequences."""

    _function: ClassVar[type[Function]]
    _states: ClassVar[tuple[str, ...]] = ("h0",)
    """What messages call the first states."""

    num_layers: int
    batch_first: bool
    dropout: float
    bidirectional: bool

    def __init__(self, input_size: int, hidden_size: int, dtype: DTypeLike, **options: Any) -> None:
        name = type(self).__name__
        layers = check_positive_int(name, "num_layers", options["num_layers"])
        check_fraction(name, "dropout", options["dropout"])
        both = check_bool(name, "bidirectional", options["bidirectional"])
        options |= {"num_layers": layers, "bidirectional": both}
        super().__init__(input_size, hidden_size, dtype, **options)
        if self.dropout and layers == 1:  # rnn-20
            msg = f"{name}: dropout={self.dropout} has no effect with num_layers=1"
            warnings.warn(msg, UserWarning, stacklevel=3)
        check_sizes(name, (layers, self.gates * self.hidden_size, self.hidden_size))
        ends = ("", "_reverse") if both else ("",)
        width = options.get("proj_size") or self.hidden_size
        self._width: int = width  # of h
        # By layer, what the names of each direction's parameters end with.
        self._suffixes = [[f"_l{layer}{end}" for end in ends] for layer in range(layers)]
        for layer, suffixes in enumerate(self._suffixes):
            for suffix in suffixes:
                self._draw(suffix, len(ends) * width if layer else self.input_size, width)

    def _run(
        self,
        input: Any,
        hx: Any,
        lengths: Any,
        reset_mask: Any,
        reset_state: Any,
        with_cells: bool = False,
        **config: Any,
    ) -> tuple[Any, list[Tensor], list[Any]]:
        """Run all layers: the output, the last of each of the states, and what comes `with_cells`.

        That is, where it is true, c of the last layer after every step.
        """
        given = {"lengths": lengths, "reset_mask": reset_mask, "reset_state": reset_state}
        if not isinstance(input, PackedSequence):
            made: tuple[Any, list[Tensor], list[Any]] = self._run_padded(
                input, hx, *given.values(), with_cells, self.batch_first, **config
            )
            return made
        name = type(self).__name__
        for argument, value in given.items():
            if value is not None:
                msg = f"{name}: {argument} must be left out where input is packed"
                raise ValueError(msg)
        data = as_tensor(name, input.data)
        if data.ndim != 2:
            msg = f"{name}: packed input must have data of shape (R, I), got {data.shape}"
            raise ValueError(msg)
        self._sized(data, "(R, I)", 2, "(R, I)")
        layout = layout_of(name, input)
        x = layout.unpack(data, layout.steps)
        output, ends, every = self._run_padded(
            x, hx, layout.lengths, None, None, with_cells, False, **config
        )
        packed = [input._replace(data=layout.pack(part)) for part in (output, *every)]
        return packed[0], ends, packed[1:]

    @each_slice
    def _run_padded(
        self,
        input: Any,
        hx: Any,
        lengths: Any,
        reset_mask: Any,
        reset_state: Any,
        with_cells: bool,
        is_turned: bool,
        **config: Any,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Do the same for input (T, N, I), (N, T, I) where it `is_turned`, or (T, I)."""
        x, batched = self._sequence(input, is_turned)
        steps, batch, _ = x.shape
        if lengths is not None:
            name = type(self).__name__
            lengths = check_lengths(name, lengths, steps, batch if batched else None)
        episodes = None
        if reset_mask is not None or reset_state is not None:
            episodes = self._cut((steps, batch), batched, lengths, reset_mask)
        firsts = self._begin(hx, x, batched, episodes, reset_state)
        ways = walks((steps, batch), len(self._suffixes[0]), lengths, episodes)
        lasts: list[tuple[Tensor, ...]] = []
        for layer, suffixes in enumerate(self._suffixes):
            if layer and self.training and self.dropout:  # rnn-31
                x = dropped(x, self.dropout)
            if with_cells and layer == self.num_layers - 1:
                config["with_cells"] = True
            outputs, cells = [], []
            for suffix, walk in zip(suffixes, ways, strict=True):
                first = [state[len(lasts)] for state in firsts]
                weights = self._weights(suffix)
                output, *last = self._function.apply(x, *first, *weights, walk=walk, **config)
                outputs.append(output)
                lasts.append(tuple(last[: len(firsts)]))
                cells += last[len(firsts) :]
            x = _joined(outputs, axis=2)  # rnn-30
        ends = [_joined(parts, axis=0) for parts in zip(*lasts, strict=True)]
        if episodes is not None:
            ends = [episodes.end(end) for end in ends]
        every = [self._end(_joined(cells, axis=2), batched, is_turned)] if cells else []
        output = self._end(x, batched, is_turned)
        return output, [end if batched else squeeze(end, 1) for end in ends], every

    def _sequence(self, x: Any, is_turned: bool) -> tuple[Tensor, bool]:
        """Check x and bring it to (T, N, I)."""
        batched = "(N, T, I)" if is_turned else "(T, N, I)"
        value = self._sized(x, batched, 3, "(T, I)")
        if value.ndim == 2:
            return expand_dims(value, axis=1), False
        return (permute_dims(value, (1, 0, 2)) if is_turned else value), True

    def _cut(self, shape: tuple[int, int], batched: bool, lengths: Any, mask: Any) -> Episodes:
        """Check `reset_mask` and cut the sequences into episodes."""
        name = type(self).__name__
        if mask is None:  # rnn-38
            msg = f"{name}: reset_mask must be given with a reset_state, got None"
            raise ValueError(msg)
        turned = batched and self.batch_first
        mask = check_mask(name, mask, shape if batched else shape[:1], turned)
        return Episodes(mask, lengths, len(self._suffixes), len(self._suffixes[0]))

    def _begin(
        self, hx: Any, x: Tensor, batched: bool, episodes: Episodes | None, reset_state: Any
    ) -> list[list[Tensor]]:
        """Return each state's first values for every layer and direction.

        Their shape is (1, N, P) or (1, N, H); with M episodes M stands for N.
        """
        count = len(self._suffixes) * len(self._suffixes[0])
        states = self._parts(hx, "the state")
        resets = None if episodes is None else self._parts(reset_state, "reset_state")
        firsts = []
        for place, argument in enumerate(self._states):
            size = self._width if argument == "h0" else self.hidden_size
            letter = "H" if size == self.hidden_size else "P"  # rnn-32
            value = self._first(argument, states[place], (count, letter, size), x, batched)
            sequences = x.shape[1]
            if episodes is not None and resets is not None:  # rnn-37
                called = f"{argument} of reset_state"
                reset = self._first(called, resets[place], (count, letter, size), x, batched)
                value, sequences = episodes.begin(value, reset), len(episodes.starts)
            if value is None:
                zeros = cp.zeros((1, sequences, size), dtype=x.dtype)
                firsts.append([wrap(zeros)] * count)
            elif count == 1:
                firsts.append([value])
            else:
                firsts.append([value[at : at + 1] for at in range(count)])
        return firsts

    def _parts(self, state: Any, called: str) -> tuple[Any, ...]:
        """Return a state, `called` so in messages, as the tuple of its parts."""
        del called
        return (state,)

    def _first(
        self, argument: str, state: Any, sizes: tuple[int, str, int], x: Tensor, batched: bool
    ) -> Tensor | None:
        """Check a first state, and bring it to (L D, N, K); None is left out.

        `sizes` are L D, what messages call K, and K.
        """
        count, letter, size = sizes
        if state is None:
            return None
        if batched:
            axes, wanted = f"({count}, N, {letter})", (count, x.shape[1], size)
            return self._state(argument, state, axes, wanted, x)
        value = self._state(argument, state, f"({count}, {letter})", (count, size), x)
        return expand_dims(value, axis=1)

    def _end(self, output: Tensor, batched: bool, is_turned: bool) -> Tensor:
        if not batched:
            return squeeze(output, 1)
        return permute_dims(output, (1, 0, 2)) if is_turned else output


def _joined(parts: Any, axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else concat(parts, axis=axis)
