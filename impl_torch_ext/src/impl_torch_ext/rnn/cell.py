"""The recurrent cells: one step each. N batch, I input size, H hidden size, P size of a state h."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.checks import check_choice, check_flag, check_pair, check_size
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.rnn import equations
from impl_torch_ext.rnn.fused import GRUFunction, LSTMFunction, RNNCellFunction, RNNFunction

__all__ = ["Cell", "GRUCell", "LSTMCell", "RNNCell", "Recurrent"]

_SIZES: Options = {"input_size": check_size, "hidden_size": check_size, "bias": check_flag}
_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(Layer):
    """What cells and layers share: their options and parameters."""

    _gates: ClassVar[int] = 1
    _options: ClassVar[Options] = _SIZES
    input_size: int
    hidden_size: int
    bias: bool
    # Of an LSTM with a projection: P. Others have none.
    proj_size: int = 0
    # By application of the Function, the names of its parameters in their order.
    _names: tuple[tuple[str, ...], ...]

    def _register(self, dtype: torch.dtype | None, widths: Mapping[str, int]) -> None:
        """Register the parameters of an input so wide for each suffix of their names."""
        bound = 1.0 / math.sqrt(self.hidden_size)  # rnn-16
        named = {
            name + suffix: shape
            for suffix, width in widths.items()
            for name, shape in self._shapes(width).items()
        }
        self._draw(partial(init.uniform_, a=-bound, b=bound), dtype, **named)
        names, count = tuple(named), len(named) // len(widths)
        self._names = tuple(names[i : i + count] for i in range(0, len(names), count))

    def _shapes(self, width: int) -> dict[str, tuple[int, ...] | None]:
        """Return the shapes of the parameters for an input so wide; None for one left out."""
        hidden, state = self.hidden_size, self.proj_size or self.hidden_size
        rows = self._gates * hidden
        bias = (rows,) if self.bias else None
        shapes: list[tuple[int, ...] | None] = [(rows, width), (rows, state), bias, bias]
        named = dict(zip(_NAMES, shapes, strict=True))
        return {**named, "weight_hr": (state, hidden)} if self.proj_size else named  # rnn-32

    def _lstm_biases(self) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Return the biases that take the forget gate's initial value, and the others."""
        named = self._parameters.items()
        first, second = ([b for name, b in named if name.startswith(k)] for k in _NAMES[2:])
        return first, second

    def _weights(self, place: int = 0) -> list[Any]:
        """Return the parameters of one application of the Function."""
        parameters = self._parameters
        return [parameters[name] for name in self._names[place]]


class Cell(Recurrent):
    """One step; shapes without a batch axis are taken too.

    The step is in two parts: `project`, which reads the input alone and may be called for all steps
    at once, and `step`, which does the rest.
    """

    # The names of the states in messages.
    _parts: ClassVar[tuple[str, ...]] = ("h0",)

    def __init__(self, *values: Any, dtype: torch.dtype | None = None) -> None:
        super().__init__(*values)
        self._register(dtype, {"": self.input_size})

    @property
    def state_size(self) -> int | tuple[int, ...]:
        """H, or H for each of several states."""
        return self.hidden_size if len(self._parts) == 1 else (self.hidden_size,) * len(self._parts)

    def project(self, input: Tensor) -> Tensor:
        """Return what a step reads of input (*, I), `W_ih x + b_ih` of shape (*, G H).

        Raises
        ------
        ValueError, TypeError
            If the last axis of `input` is not I, or it has another dtype than the parameters.
        """
        weight = self._weights()[0]
        self._check("input", input, (..., self.input_size), "(*, input_size)", weight)
        return self._projected(input)

    def step(self, projected: Tensor, hx: Any = None, *, recurrent: Tensor | None = None) -> Any:
        """Return the new state of a step, as `forward` does.

        Parameters
        ----------
        projected : Tensor, shape (N, G H) or (G H,)
            What `project` made of the step's input.
        hx : Tensor, shape (N, H) or (H,), or a pair of them
            The state, zeros if left out.
        recurrent : Tensor, the shape of h, optional
            Stands in the place of h where it is multiplied by W_hh, and nowhere else.

        Raises
        ------
        ValueError, TypeError
            If a shape, a dtype or the kind of an argument does not fit.
        """
        weight, size = self._weights()[0], self._gates * self.hidden_size
        batched = not isinstance(projected, Tensor) or projected.ndim != 1
        free, text = ((None,), "N, ") if batched else ((), "")
        end = "G H" if batched else "G H,"
        self._check("projected", projected, (*free, size), f"({text}{end})", weight)
        states = self._states(projected, batched, self._named(hx))
        if recurrent is not None:
            shape = tuple(states[0].shape)
            text = "(N, H)" if batched else "(H,)"
            self._check("recurrent", recurrent, shape, text, weight)
        new = self._stepped(projected, states, recurrent)
        return new if len(new) > 1 else new[0]

    def _sequence(self, x: Tensor, hx: Any) -> tuple[Tensor, Any]:
        """Return what a loop over x (T, N, I), or (T, I), does: every h, and the last state."""
        weight = self._weights()[0]
        batched = not isinstance(x, Tensor) or x.ndim != 2
        free, text = ((None, None), "T, N, ") if batched else ((None,), "T, ")
        self._check("input", x, (*free, self.input_size), f"({text}input_size)", weight)
        states = self._states(x[0], batched, self._named(hx))
        if not batched:
            x, states = x.unsqueeze(1), [state.unsqueeze(0) for state in states]
        output, *last = self._whole(x, *states)
        if not batched:
            output, last = output.squeeze(1), [state.squeeze(0) for state in last]
        return output, tuple(last) if len(last) > 1 else last[0]

    def _whole(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of all steps and the last states, after the checks."""
        raise NotImplementedError

    def _projected(self, input: Tensor) -> Tensor:
        weight_ih, _, bias_ih, _ = self._weights()
        return equations.affine(input, weight_ih, bias_ih)

    def _stepped(self, fed: Tensor, states: list[Tensor], recurrent: Any) -> tuple[Any, ...]:
        """Return the new states, after the checks."""
        raise NotImplementedError

    def _named(self, hx: Any) -> dict[str, Any]:
        """Return the states by their names, or raise."""
        if len(self._parts) == 1:
            return {self._parts[0]: hx}
        pair = check_pair(type(self).__name__, "hx", hx, "(N, H)")
        return dict(zip(self._parts, pair, strict=True))

    def _inputs(self, input: Any, hx: Any) -> tuple[Any, list[Any], bool]:
        """Return the input as (N, I), the states as (N, H), and whether they came so."""
        weight = self._weights()[0]
        named = self._named(hx)
        batched = not isinstance(input, Tensor) or input.ndim != 1  # rnn-05
        free, text = ((None,), "N, input_size") if batched else ((), "input_size,")
        self._check("input", input, (*free, self.input_size), f"({text})", weight)
        checked = self._states(input, batched, named)
        if not batched:
            input, checked = input.unsqueeze(0), [state.unsqueeze(0) for state in checked]
        return input, checked, batched

    def _states(self, like: Tensor, batched: bool, named: dict[str, Any]) -> list[Any]:
        """Return the states beside such an input after their checks, zeros for None."""
        weight, shape = self._weights()[0], (*like.shape[:-1], self.hidden_size)
        text = "(N, H)" if batched else "(H,)"
        return [
            like.new_zeros(shape)
            if state is None
            else self._check(name, state, shape, text, weight)
            for name, state in named.items()
        ]


class RNNCell(Cell):
    """`h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or relu.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : {"tanh", "relu"}
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter, shapes (H, I), (H, H), (H,), (H,)
        Uniform in `[-k, k)`, `k = 1 / sqrt(H)`.
    """

    _options: ClassVar[Options] = {**_SIZES, "nonlinearity": check_choice("tanh", "relu")}
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, nonlinearity, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return h' (N, H) for input (N, I) and hx (N, H), zeros if left out; or all without N."""
        input, (h,), batched = self._inputs(input, hx)
        h = RNNCellFunction.apply(input, h, *self._weights(), relu=self.nonlinearity == "relu")
        return h if batched else h.squeeze(0)

    def _whole(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        relu = self.nonlinearity == "relu"
        return RNNFunction.apply(x, *states, *self._weights(), relu=relu)

    def _stepped(self, fed: Tensor, states: list[Tensor], recurrent: Any) -> tuple[Any, ...]:
        _, weight_hh, _, bias_hh = self._weights()
        relu = self.nonlinearity == "relu"
        return equations.rnn(fed, states[0], weight_hh, bias_hh, relu=relu, recurrent=recurrent)


class LSTMCell(Cell):
    """`i, f, o = sigmoid(...)`, `g = tanh(...)`, `c' = f c + i g`, `h' = o tanh(c')`.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000. Parameters
    and attributes as in `RNNCell`, with four gates in the rows, in the order i, f, g, o.
    """

    _gates = 4
    _parts = ("h0", "c0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (h', c') for input (N, I) and hx (h, c), zeros if left out; or all without N."""
        input, (h, c), batched = self._inputs(input, hx)
        _, h, c = self._whole(input.unsqueeze(0), h, c)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))

    def _whole(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return LSTMFunction.apply(x, *states, *self._weights())

    def _stepped(self, fed: Tensor, states: list[Tensor], recurrent: Any) -> tuple[Any, ...]:
        _, weight_hh, _, bias_hh = self._weights()
        h, c = states
        return equations.lstm(fed, h, c, weight_hh, bias_hh, recurrent=recurrent)


class GRUCell(Cell):
    """`h' = (1 - z) n + z h` with `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`.

    `r` and `z` are sigmoids. Source: Cho et al. 2014, the reset gate after the recurrent product.
    Parameters and attributes as in `RNNCell`, with three gates in the rows, in the order r, z, n.
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return h' (N, H) for input (N, I) and hx (N, H), zeros if left out; or all without N."""
        input, (h,), batched = self._inputs(input, hx)
        _, h = self._whole(input.unsqueeze(0), h)
        return h if batched else h.squeeze(0)

    def _whole(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return GRUFunction.apply(x, *states, *self._weights())

    def _stepped(self, fed: Tensor, states: list[Tensor], recurrent: Any) -> tuple[Any, ...]:
        _, weight_hh, _, bias_hh = self._weights()
        return equations.gru(fed, states[0], weight_hh, bias_hh, recurrent=recurrent)
