"""The layers: a whole sequence as one Function for each layer and direction.

T steps, N batch, I input size, H hidden size, P size of what a projection makes of a hidden state
(H where there is none), L layers above one another, D directions (1 or 2).
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from .. import ops
from ..checks import check_choice, check_flag, check_int, check_probability, refuse, refuse_type
from ..nn.dropout import drop
from ..recording import as_operand, dtype_of, shape_of
from ..tensor import Tensor
from .cell import Recurrent, zero_state
from .fused import GRUFunction, LSTMFunction, RNNFunction
from .lengths import check_lengths, check_resets
from .packed import PackedSequence, layout_of, padded_of, repacked

_SHOWN = ("num_layers?", "bias?", "batch_first?", "dropout?", "bidirectional?")


@functools.lru_cache(maxsize=64)
def _suffixes(layers: int, bidirectional: bool) -> tuple[str, ...]:
    """Return the ends of the parameters' names, in the order in which the states stand too."""
    directions = ("", "_reverse") if bidirectional else ("",)  # rnn-06, rnn-30
    return tuple([f"_l{layer}{direction}" for layer in range(layers) for direction in directions])


class _Layer(Recurrent):
    _options: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", *_SHOWN)

    num_layers: int
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int = 0
    _states: ClassVar[tuple[str, ...]] = ("h0",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        dtype: Any,
        *,
        num_layers: int,
        dropout: float,
        proj_size: int = 0,
        **flags: bool,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        name = type(self).__name__
        self._take_sizes(num_layers=num_layers)
        for argument, flag in flags.items():
            setattr(self, argument, check_flag(name, argument, flag))
        self.dropout = check_probability(name, "dropout", dropout)
        if isinstance(self.dropout, bool):  # rnn-20
            refuse_type(name, "dropout", "a number", self.dropout)
        projected = check_int(name, "proj_size", proj_size)
        if not 0 <= projected < self.hidden_size:  # rnn-20
            refuse(name, "proj_size", f"from 0 to H - 1 = {self.hidden_size - 1}", projected)
        if self.dropout and self.num_layers == 1:  # rnn-20
            msg = (
                f"{name}: dropout must be 0 for num_layers=1, since it is between layers and has "
                f"no effect there, got {self.dropout}"
            )
            warnings.warn(msg, UserWarning, stacklevel=3)
        self.proj_size = projected
        directions = 2 if self.bidirectional else 1
        above = directions * (projected or self.hidden_size)
        for place, suffix in enumerate(_suffixes(self.num_layers, self.bidirectional)):
            self._add_weights(self.input_size if place < directions else above, suffix, projected)

    def _run(
        self,
        function: Any,
        x: Any,
        hx: Any,
        lengths: Any,
        reset_mask: Any,
        reset_state: Any,
        cells: bool = False,
        **config: Any,
    ) -> list[Tensor]:
        """Apply a Function for each layer and direction; return output and last states.

        With `cells` the last layer's c at every step come after them.
        """
        if isinstance(x, PackedSequence):
            beside = {"lengths": lengths, "reset_mask": reset_mask, "reset_state": reset_state}
            return self._run_packed(function, x, hx, beside, cells, config)
        x, batched = self._sequence(x)
        steps, batch, _ = shape_of(x)
        if lengths is not None:
            own = batch if batched else None
            lengths = check_lengths(type(self).__name__, lengths, steps, own)
        firsts = self._first_states(hx, batch, batched)
        resets = self._resets(reset_mask, reset_state, steps, batch, batched)
        x, lasts, *seen = self._through(function, x, firsts, lengths, resets, cells, config)
        joined = [_joined(each, batched) for each in lasts]
        return [self._output(x, batched), *joined, *[self._output(c, batched) for c in seen]]

    def _run_packed(
        self,
        function: Any,
        packed: PackedSequence,
        hx: Any,
        beside: dict[str, Any],
        cells: bool,
        config: dict[str, Any],
    ) -> list[Any]:
        """Run a packed sequence as the padded batch that it is of, with its lengths."""
        name = type(self).__name__
        for argument, value in beside.items():
            if value is not None:
                refuse(name, argument, "left out beside packed input", type(value).__name__)
        self._check("input", packed.data, (None, self.input_size), "(R, I)")
        layout = layout_of(name, packed)  # rnn-57
        steps, batch = len(layout.sizes), len(layout.lengths)
        lengths = check_lengths(name, layout.lengths, steps, batch)
        firsts = self._first_states(hx, batch, True)
        resets = self._resets(None, None, steps, batch, True)
        x = padded_of(packed.data, layout)
        x, lasts, *seen = self._through(function, x, firsts, lengths, resets, cells, config)
        joined = [_joined(each, True) for each in lasts]
        return [repacked(x, layout, packed), *joined, *[repacked(c, layout, packed) for c in seen]]

    def _through(
        self,
        function: Any,
        x: Any,
        firsts: Sequence[tuple[Any, ...]],
        lengths: Any,
        resets: Sequence[tuple[Any, ...]],
        cells: bool,
        config: dict[str, Any],
    ) -> list[Any]:
        """Return output (T, N, D·P) and the last states by kind; with `cells` every c."""
        suffixes = _suffixes(self.num_layers, self.bidirectional)
        directions = ({}, {"reverse": True}) if self.bidirectional else ({},)
        places = zip(suffixes, firsts, resets, strict=True)
        lasts, shown = [], []
        for layer in range(self.num_layers):
            if cells and layer + 1 == self.num_layers:
                config["cells"] = True
            outputs = []
            for direction in directions:
                suffix, first, reset = next(places)
                weights = self._weights(suffix)
                projection = (getattr(self, "weight_hr" + suffix),) if self.proj_size else ()
                output, *last = function.apply(
                    x, *first, *weights, lengths, *reset, *projection, **config, **direction
                )
                outputs.append(output)
                if "cells" in config:
                    shown.append(last.pop())
                lasts.append(last)
            x = _beside(outputs)
            if self.training and self.dropout and layer + 1 < self.num_layers:
                x = drop(x, self.dropout)  # rnn-31
        return [x, list(zip(*lasts, strict=True)), *([_beside(shown)] if cells else [])]

    def _sequence(self, x: Any) -> tuple[Any, bool]:
        """Return an input that was checked as (T, N, I), and whether it came with a batch axis."""
        x = as_operand(type(self).__name__, x)
        if len(shape_of(x)) == 2:  # rnn-14
            x = self._check("input", x, (None, self.input_size), "(T, I)")
            return ops.expand_dims(x, axis=1), False
        axes = "(N, T, I)" if self.batch_first else "(T, N, I)"
        x = self._check("input", x, (None, None, self.input_size), axes)
        return ops.permute_dims(x, (1, 0, 2)) if self.batch_first else x, True

    def _output(self, x: Any, batched: bool) -> Any:
        """Return the last layer's output (T, N, D·P) in the layout of the input."""
        if not batched:
            steps, _, width = shape_of(x)
            return ops.reshape(x, (steps, width))
        return ops.permute_dims(x, (1, 0, 2)) if self.batch_first else x

    def _resets(
        self, mask: Any, state: Any, steps: int, batch: int, batched: bool
    ) -> Sequence[tuple[Any, ...]]:
        """Return what each layer and direction is told of resets: marks and states."""
        name = type(self).__name__
        if mask is None:
            if state is not None:  # rnn-38
                refuse(name, "reset_mask", "given where there is a reset_state", None)
            untold = (None, None, None) if self.proj_size else ()
            return (untold,) * len(_suffixes(self.num_layers, self.bidirectional))
        own = batch if batched else None
        marks = check_resets(name, mask, steps, own, self.batch_first)
        states = self._first_states(state, batch, batched, "reset_state")
        return [(marks, *each) for each in states]

    def _first_states(
        self, hx: Any, batch: int, batched: bool, argument: str = ""
    ) -> Sequence[tuple[Any, ...]]:
        """Return the first states of each layer and direction; zeros for None.

        `argument` is for messages, where it is not `hx`.
        """
        parts: Sequence[Any] = (hx,)
        if len(self._states) == 2:
            given = (None, None) if hx is None else hx
            parts = self._pair("(h0, c0)", given, argument or "the state")
        places = [
            self._by_place(state, f"{argument} {state}".strip(), part, batch, batched)
            for state, part in zip(self._states, parts, strict=True)
        ]
        return list(zip(*places, strict=True))

    def _by_place(
        self, name: str, argument: str, state: Any, batch: int, batched: bool
    ) -> Sequence[Any]:
        """Return a state of each layer and direction, (N, P) or (N, H); zeros for None."""
        count = len(_suffixes(self.num_layers, self.bidirectional))
        letter, width = "H", self.hidden_size
        if name == "h0" and self.proj_size:
            letter, width = "P", self.proj_size
        if state is None:
            return (zero_state((batch, width), dtype_of(self.weight_ih_l0)),) * count
        if batched:
            state = self._check(argument, state, (count, batch, width), f"({count}, N, {letter})")
        else:
            state = self._check(argument, state, (count, width), f"({count}, {letter})")
        if count == 1:
            return (ops.reshape(state, (batch, width)),)
        return ops.unstack(state if batched else ops.expand_dims(state, axis=1))


def _beside(directions: Sequence[Any]) -> Any:
    """Return what the directions give for each step as one array, (T, N, D·...)."""
    return directions[0] if len(directions) == 1 else ops.concat(directions, axis=-1)


def _joined(states: Sequence[Any], batched: bool) -> Any:
    """Return last states (N, P), or (N, H), of each layer and direction as one array."""
    if len(states) == 1:
        return ops.expand_dims(states[0], axis=0) if batched else states[0]
    return ops.stack(states, axis=0) if batched else ops.concat(states, axis=0)


class RNN(_Layer):
    """Sequences through ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Each layer and direction is one Function.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        L, the layers above one another: each takes the output of the one below.
    nonlinearity : {"tanh", "relu"}
    bias, batch_first : bool
    dropout : float
        The probability with which training drops an element between two layers.
    bidirectional : bool
        Whether each layer also runs from the last step to the first (D = 2).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shape (H, I), (H, H)
        Further ones end with the layer's number, and those of the other direction with
        ``_reverse``; above the first layer the input has D·H numbers.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (H,), or None
    """

    _options = (*_Layer._options, "nonlinearity?")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = None,
    ) -> None:
        check_choice(type(self).__name__, "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            input_size,
            hidden_size,
            bias,
            dtype,
            num_layers=num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
        )
        self.nonlinearity = nonlinearity

    def forward(
        self,
        input: Any,
        hx: Any = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Return output (T, N, D·H) and h_n (L·D, N, H) of input (T, N, I) and hx (L·D, N, H).

        Zeros stand for an `hx` that is left out; `lengths` (N,) cut each sequence, see
        `check_lengths`. A mark in `reset_mask` (T, N), with `batch_first` (N, T), begins an
        episode, see `check_resets`, with `reset_state` (L·D, N, H) or zeros.
        """
        resets = (reset_mask, reset_state)
        kind = self.nonlinearity
        output, h = self._run(RNNFunction, input, hx, lengths, *resets, nonlinearity=kind)
        return output, h


class LSTM(_Layer):
    """Sequences through the LSTM, gates in rows ordered i, f, g, o.

    Each layer and direction is one Function.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        L, the layers above one another: each takes the output of the one below.
    bias, batch_first : bool
    dropout : float
        The probability with which training drops an element between two layers.
    bidirectional : bool
        Whether each layer also runs from the last step to the first (D = 2).
    proj_size : int
        P, the size of what a projection makes of each hidden state; 0 for none (P = H).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shape (4·H, I), (4·H, P)
        Further ones end with the layer's number, and those of the other direction with
        ``_reverse``; above the first layer the input has D·P numbers.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4·H,), or None
    weight_hr_l0 : Parameter, shape (P, H)
        Only with a projection.
    """

    _gates = 4
    _states = ("h0", "c0")
    _options = ("input_size", "hidden_size", "proj_size?", *_SHOWN)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            bias,
            dtype,
            num_layers=num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
        )

    def forward(
        self,
        input: Any,
        hx: Any = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: Any = None,
        return_cell_states: bool = False,
    ) -> Any:
        """Return output (T, N, D·P) and (h_n, c_n) of input (T, N, I) and (h0, c0).

        h0 and h_n have shape (L·D, N, P), c0 and c_n (L·D, N, H). Zeros stand for an `hx` that is
        left out; `lengths` (N,) cut each sequence, see `check_lengths`. A mark in `reset_mask`
        (T, N), with `batch_first` (N, T), begins an episode, see `check_resets`, with
        `reset_state`, a pair as `hx` is, or zeros. With `return_cell_states` the last layer's c
        after every step, (T, N, D·H), laid out as output is, come third.
        """
        cells = check_flag("LSTM", "return_cell_states", return_cell_states)
        resets = (reset_mask, reset_state)
        output, h, c, *seen = self._run(LSTMFunction, input, hx, lengths, *resets, cells)
        return (output, (h, c), *seen)

    def _pair_shapes(self) -> str:
        count = len(_suffixes(self.num_layers, self.bidirectional))
        if self.proj_size:
            return f"shapes ({count}, N, P) and ({count}, N, H)"
        return f"shape ({count}, N, H) each"


class GRU(_Layer):
    """Sequences through the GRU, gates in rows ordered r, z, n.

    Each layer and direction is one Function.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        L, the layers above one another: each takes the output of the one below.
    bias, batch_first : bool
    dropout : float
        The probability with which training drops an element between two layers.
    bidirectional : bool
        Whether each layer also runs from the last step to the first (D = 2).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shape (3·H, I), (3·H, H)
        Further ones end with the layer's number, and those of the other direction with
        ``_reverse``; above the first layer the input has D·H numbers.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3·H,), or None
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            bias,
            dtype,
            num_layers=num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
        )

    def forward(
        self,
        input: Any,
        hx: Any = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Return output (T, N, D·H) and h_n (L·D, N, H) of input (T, N, I) and hx (L·D, N, H).

        Zeros stand for an `hx` that is left out; `lengths` (N,) cut each sequence, see
        `check_lengths`. A mark in `reset_mask` (T, N), with `batch_first` (N, T), begins an
        episode, see `check_resets`, with `reset_state` (L·D, N, H) or zeros.
        """
        output, h = self._run(GRUFunction, input, hx, lengths, reset_mask, reset_state)
        return output, h
