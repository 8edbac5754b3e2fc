"""The recurrent layers: sequences through layers and directions, each of them one Function.

T steps, N batch, I input size, H hidden size, P size of a state h (H without a projection), L
layers above one another, D directions.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NoReturn, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from impl_torch_ext.checks import (
    check_between,
    check_choice,
    check_flag,
    check_int,
    check_pair,
    check_probability,
    check_size,
    shown,
)
from impl_torch_ext.nn.dropout import draw_kept, drop
from impl_torch_ext.nn.layer import Options
from impl_torch_ext.rnn.cell import Recurrent
from impl_torch_ext.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_torch_ext.rnn.lengths import Packing, by_slice, packing_of
from impl_torch_ext.rnn.packed import check_sizes
from impl_torch_ext.tracing import is_sliced

__all__ = ["GRU", "LSTM", "RNN"]

_States: TypeAlias = dict[str, Any]
_SIZES = {key: Recurrent._options[key] for key in ("input_size", "hidden_size")}
_TAIL: Options = {
    "bias": check_flag,
    "batch_first": check_flag,
    "dropout": check_probability,
    "bidirectional": check_flag,
}
# Each has parameters of its own: for many more their names alone would fill the memory.
_MOST_LAYERS = 2**16
# What repr shows beside the sizes where it is not the default: rnn-06.
_SHOWN = {
    "proj_size": 0,
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0,
    "bidirectional": False,
    "nonlinearity": "tanh",
}


class _Layer(Recurrent):
    """A sequence through `num_layers` layers, in one or both directions."""

    _options: ClassVar[Options] = {**_SIZES, "num_layers": check_size, **_TAIL}
    num_layers: int
    batch_first: bool
    dropout: float
    bidirectional: bool
    # L D: how often the Function is applied.
    _count: int

    def __init__(self, *values: Any, dtype: torch.dtype | None = None) -> None:
        super().__init__(*values)
        name = type(self).__name__
        check_between(name, "num_layers", self.num_layers, 1, _MOST_LAYERS)
        check_between(name, "proj_size", self.proj_size, 0, self.hidden_size - 1)  # rnn-20
        directions = ("", "_reverse") if self.bidirectional else ("",)
        self._count = self.num_layers * len(directions)
        above = len(directions) * (self.proj_size or self.hidden_size)
        widths = {
            f"_l{layer}{direction}": above if layer else self.input_size
            for layer in range(self.num_layers)
            for direction in directions
        }
        self._register(dtype, widths)
        if self.dropout and self.num_layers == 1:  # rnn-20
            msg = (
                f"{name}: dropout must be 0 where there is one layer, as it has no effect, got "
                f"{self.dropout}"
            )
            warnings.warn(msg, UserWarning, stacklevel=3)

    def extra_repr(self) -> str:
        """Return the sizes, and what differs from the default."""
        options = {name: getattr(self, name) for name in _SHOWN if name in self._options}
        shown = [f"{name}={value}" for name, value in options.items() if value != _SHOWN[name]]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])

    def _run(
        self,
        function: Any,
        input: Any,
        hx: Any,
        lengths: Any,
        reset_mask: Any,
        reset_state: Any,
        **config: Any,
    ) -> tuple[Any, ...]:
        """Return the output and the last states, in the layout of the call.

        With `cells` in `config` there is one result more, every c of the last layer.
        """
        if is_sliced(lengths, reset_mask):
            args = input, hx, lengths, reset_mask, reset_state
            return by_slice(self, partial(self._run, function, **config), *args)
        states = self._parts("hx", hx)
        if isinstance(input, PackedSequence):
            options = {"lengths": lengths, "reset_mask": reset_mask, "reset_state": reset_state}
            return self._run_packed(function, input, states, options, config)
        if reset_state is not None and reset_mask is None:  # rnn-38
            self._refuse_beside("reset_state", reset_state, "there is no reset_mask")
        batched = not isinstance(input, Tensor) or input.ndim != 2  # rnn-14
        batch_first = self.batch_first and batched
        x = self._input(input, batched)
        if lengths is not None or reset_mask is not None:
            layout = batched, batch_first, 1 + self.bidirectional
            name, sizes = type(self).__name__, tuple(x.shape[:2])
            packing = packing_of(name, sizes, *layout, lengths, reset_mask)
            resets = None if reset_mask is None else self._parts("reset_state", reset_state)
            first = self._states(states, resets, x, packing.batch, batched, packing)
            rows = packing.pack(x, batch_first)
            every, last = self._layers(function, rows, first, packing, config)
            every = [packing.unpack(y, batch_first) for y in every]
        else:
            if batch_first:  # rnn-13
                x = x.transpose(0, 1).contiguous()
            first = self._states(states, None, x, x.shape[1], batched, None)
            every, last = self._layers(function, x, first, None, config)
            if batch_first:
                every = [y.transpose(0, 1) for y in every]
        if not batched:
            every, last = ([y.squeeze(1) for y in ys] for ys in (every, last))
        return every[0], *last, *every[1:]

    def _parts(self, argument: str, state: Any) -> _States:  # noqa: ARG002 - of an LSTM's.
        """Return the states that an argument holds, by their names."""
        return {"h0": state}

    def _refuse_beside(self, option: str, came: Any, where: str) -> NoReturn:
        msg = f"{type(self).__name__}: {option} must be left out where {where}, got {shown(came)}"
        raise ValueError(msg)

    def _run_packed(
        self,
        function: Any,
        input: PackedSequence,
        states: _States,
        options: dict[str, Any],
        config: dict[str, Any],
    ) -> tuple[Any, ...]:
        """Return the output, packed as the input, and the last states."""
        for option, came in options.items():
            if came is not None:
                self._refuse_beside(option, came, "input is a PackedSequence")
        text = "(rows, input_size)"
        x = self._check("input", input.data, (None, self.input_size), text, self._weight)
        check_sizes(type(self).__name__, input)
        packing = Packing.of_packed(input)
        first = self._states(states, None, x, packing.batch, True, packing)
        every, last = self._layers(function, x, first, packing, config)
        places = input.batch_sizes, input.sorted_indices, input.unsorted_indices
        packed = [PackedSequence(rows, *places) for rows in every]
        return packed[0], *last, *packed[1:]

    @property
    def _weight(self) -> Any:
        """A parameter, for its dtype."""
        return self._parameters["weight_ih_l0"]

    def _input(self, input: Any, batched: bool) -> Tensor:
        """Return the input, (T, N, I) or (N, T, I), after its checks."""
        text = ("N, T, " if self.batch_first else "T, N, ") if batched else "T, "
        sizes = (None, None, self.input_size) if batched else (None, self.input_size)
        x = self._check("input", input, sizes, f"({text}input_size)", self._weight)
        return x if batched else x.unsqueeze(1)

    def _states(
        self,
        states: _States,
        resets: _States | None,
        x: Tensor,
        batch: int,
        batched: bool,
        packing: Packing | None,
    ) -> list[Sequence[Tensor]]:
        """Return the first h, (N, P), and c, (N, H), of each layer and direction.

        With `resets`, the states that an episode begins with, N is the number of episodes.
        """
        count = self._count
        first: list[Sequence[Tensor]] = []
        for name, state in states.items():
            projected = self.proj_size and name == "h0"
            size, letter = (self.proj_size, "P") if projected else (self.hidden_size, "H")
            if state is None and (resets is None or resets[name] is None):
                rows = batch if packing is None else packing.count
                first.append((x.new_zeros((rows, size)),) * count)
                continue
            wanted = (count, batch, size) if batched else (count, size)
            text = f"({count}, N, {letter})" if batched else f"({count}, {letter})"
            checked = self._state(name, state, wanted, text, x)
            if resets is not None:
                anew = self._state(f"{name} of reset_state", resets[name], wanted, text, x)
                checked = torch.cat((checked, anew), 1)
            first.append((checked if packing is None else packing.sort(checked)).unbind())
        return first

    def _state(
        self, name: str, state: Any, wanted: tuple[int, ...], text: str, x: Tensor
    ) -> Tensor:
        """Return a state with a batch axis after its checks, zeros for None."""
        if state is None:
            checked = x.new_zeros(wanted)
        else:
            checked = self._check(name, state, wanted, text, self._weight)
        return checked if len(wanted) == 3 else checked.unsqueeze(1)

    def _layers(
        self,
        function: Any,
        x: Tensor,
        first: list[Sequence[Tensor]],
        packing: Packing | None,
        config: dict[str, Any],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return what the last layer gives for every step and the last states, (L D, N, ...)."""
        if packing is not None:
            config = {**config, "batch_sizes": packing.batch_sizes}
        if self._count == 1:
            states = [parts[0] for parts in first]
            output, *last = function.apply(x, *states, *self._weights(), **config)
            every = [output, *last[len(states) :]]
            ends = [state.unsqueeze(0) for state in last[: len(states)]]
        else:
            every, ends = self._many(function, x, first, packing, config)
        return every, ends if packing is None else [packing.unsort(end) for end in ends]

    def _many(
        self,
        function: Any,
        x: Tensor,
        first: list[Sequence[Tensor]],
        packing: Packing | None,
        config: dict[str, Any],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return what `_layers` does, of several layers or directions."""
        directions = 1 + self.bidirectional
        states, last = list(zip(*first, strict=True)), []
        below = {option: value for option, value in config.items() if option != "cells"}
        for place in range(0, self._count, directions):
            if place and self.training and self.dropout:  # rnn-31
                x = self._dropped(x, packing)
            outputs, options = [], config if place + directions == self._count else below
            for i in range(place, place + directions):
                way = options if i == place else {**options, "reverse": True}  # rnn-30
                output, *ends = function.apply(x, *states[i], *self._weights(i), **way)
                outputs.append((output, *ends[len(first) :]))
                last.append(ends[: len(first)])
            both = zip(*outputs, strict=True)
            every = [torch.cat(ys, -1) if self.bidirectional else ys[0] for ys in both]
            x = every[0]
        return every, [torch.stack(ends) for ends in zip(*last, strict=True)]

    def _dropped(self, x: Tensor, packing: Packing | None) -> Tensor:
        """Return what goes from one layer into the next."""
        if packing is None:
            return drop(x, draw_kept(tuple(x.shape), self.dropout), self.dropout)
        # Drawn for padding too, so that each element has its number whatever the lengths.
        kept = draw_kept((packing.steps * packing.batch, x.shape[1]), self.dropout)
        return drop(x, kept[packing.places()], self.dropout)


class RNN(_Layer):
    """`RNNCell` over a sequence; each layer and direction is one Function.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        Layers above one another: each takes the output of the one below.
    nonlinearity : {"tanh", "relu"}
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...); the states keep (L D, N, H).
    dropout : float
        In [0, 1]: with that probability training drops an element on its way into the next layer.
    bidirectional : bool
        Whether each layer also runs from the last step to the first, with parameters of its own.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        As in `RNNCell`; `..._l1` of the next layer, which takes D H features, and so on; with
        `_reverse` at the end those of the second direction.
    """

    _options: ClassVar[Options] = {
        **_SIZES,
        "num_layers": check_size,
        "nonlinearity": check_choice("tanh", "relu"),
        **_TAIL,
    }
    nonlinearity: str

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
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = input_size, hidden_size, num_layers, nonlinearity
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, dtype=dtype)

    def forward(
        self,
        input: Any,
        hx: Tensor | None = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return output (T, N, D H) and h_n (L D, N, H) for input (T, N, I) and hx (L D, N, H).

        Without hx it is zero. All may come without the axis N. With `lengths`, N integers from 0 to
        T, each sequence ends at its own: its output is 0 past it, and what stands there in the
        input is not read. A `torch.nn.utils.rnn.PackedSequence` gives an output that is packed
        likewise.

        With `reset_mask`, booleans (T, N), a sequence has several episodes: a mark at step t ends
        one before t and begins another there. Each has the results that its steps alone have. It
        begins with reset_state (L D, N, H), zeros if left out; but with hx the first one begins
        where step 0 has no mark, and in reverse the last one.
        """
        relu = self.nonlinearity == "relu"
        return self._run(RNNFunction, input, hx, lengths, reset_mask, reset_state, relu=relu)


class LSTM(_Layer):
    """A sequence through the LSTM, whose one step is `LSTMCell`.

    Each layer and direction is one Function. Source: Hochreiter and Schmidhuber 1997, with the
    forget gate of Gers et al. 2000; the projection of Sak, Senior and Beaufays 2014; the equations
    stand on the page of `torch.nn.LSTM`.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As in `RNN`.
    proj_size : int
        P, below H: with it `h' = W_hr (o tanh(c'))` has P numbers, while c has H. 0 is none.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (4·H, I), (4·H, P)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4·H,), or None
    weight_hr_l0 : Parameter, shape (P, H)
        With a projection alone. Gates in rows ordered i, f, g, o. All uniform in `[-k, k)`, `k = 1
        / sqrt(H)`. Further layers and directions as in `RNN`, of inputs with D P features.

    Raises
    ------
    ValueError
        If an option is out of its range or the dtype not floating; in a call, if a shape or a
        length does not fit or hx is not a pair.
    TypeError
        If an option is of the wrong type; in a call, if an argument is no Tensor or not of the
        parameters' dtype, or a length no integer.
    """

    _gates = 4
    _options: ClassVar[Options] = {**_Layer._options, "proj_size": check_int}

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
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = input_size, hidden_size, num_layers
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, proj_size, dtype=dtype)

    def forward(
        self,
        input: Any,
        hx: tuple[Tensor, Tensor] | None = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: tuple[Tensor, Tensor] | None = None,
        return_cell_states: bool = False,
    ) -> tuple[Any, ...]:
        """Return output (T, N, D P) and (h_n, c_n) for input (T, N, I) and hx.

        hx is the pair (h0, c0) of shapes (L D, N, P) and (L D, N, H), zeros if left out; h_n and
        c_n have the same, and reset_state is such a pair. `lengths`, packed sequences and
        `reset_mask` (T, N) as in `RNN.forward`. With `return_cell_states` there is a third result,
        c of the last layer after every step, (T, N, D H), laid out as output is.
        """
        cells = check_flag("LSTM", "return_cell_states", return_cell_states)
        options = {"cells": True} if cells else {}
        output, h_n, c_n, *every = self._run(
            LSTMFunction, input, hx, lengths, reset_mask, reset_state, **options
        )
        return output, (h_n, c_n), *every

    def _parts(self, argument: str, state: Any) -> _States:
        if state is None:
            return {"h0": None, "c0": None}
        h0, c0 = check_pair("LSTM", argument, state, f"({self._count}, N, H)")
        return {"h0": h0, "c0": c0}


class GRU(_Layer):
    """A sequence through the GRU, whose one step is `GRUCell`.

    Each layer and direction is one Function. Source: Cho et al. 2014, the reset gate after the
    recurrent product; the equations stand on the page of `torch.nn.GRU`.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As in `RNN`.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (3·H, I), (3·H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3·H,), or None
        Gates in rows ordered r, z, n. All uniform in `[-k, k)`, `k = 1 / sqrt(H)`. Further layers
        and directions as in `RNN`.

    Raises
    ------
    ValueError, TypeError
        As in `LSTM`.
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
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = input_size, hidden_size, num_layers
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, dtype=dtype)

    def forward(
        self,
        input: Any,
        hx: Tensor | None = None,
        *,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return output (T, N, D H) and h_n (L D, N, H), as `RNN.forward` does."""
        return self._run(GRUFunction, input, hx, lengths, reset_mask, reset_state)
