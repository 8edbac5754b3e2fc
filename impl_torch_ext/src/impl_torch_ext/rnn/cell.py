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
from impl_torch_ext.rnn.fused import GRUFunction, LSTMFunction, RNNCellFunction

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "Recurrent"]

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
        hidden, state = self.hidden_size, self.proj_size or self.hidden_size
        rows, bound = self._gates * hidden, 1.0 / math.sqrt(hidden)  # rnn-16
        bias = (rows,) if self.bias else None
        named: dict[str, tuple[int, ...] | None] = {}
        for suffix, width in widths.items():
            shapes = [(rows, width), (rows, state), bias, bias]
            named |= {name + suffix: shape for name, shape in zip(_NAMES, shapes, strict=True)}
            if self.proj_size:  # rnn-32
                named["weight_hr" + suffix] = (state, hidden)
        self._draw(partial(init.uniform_, a=-bound, b=bound), dtype, **named)
        names, count = tuple(named), len(named) // len(widths)
        self._names = tuple(names[i : i + count] for i in range(0, len(names), count))

    def _weights(self, place: int = 0) -> list[Any]:
        """Return the parameters of one application of the Function."""
        parameters = self._parameters
        return [parameters[name] for name in self._names[place]]


class _Cell(Recurrent):
    """One step; shapes without a batch axis are taken too."""

    def __init__(self, *values: Any, dtype: torch.dtype | None = None) -> None:
        super().__init__(*values)
        self._register(dtype, {"": self.input_size})

    def _inputs(self, input: Any, **states: Any) -> tuple[Any, list[Any], bool]:
        """Return the input as (N, I), the states as (N, H), and whether they came so."""
        weight = self._weights()[0]
        batched = not isinstance(input, Tensor) or input.ndim != 1  # rnn-05
        free, text = ((None,), "N, input_size") if batched else ((), "input_size,")
        self._check("input", input, (*free, self.input_size), f"({text})", weight)
        shape = (*input.shape[:-1], self.hidden_size)
        text = "(N, H)" if batched else "(H,)"
        checked = [
            input.new_zeros(shape)
            if state is None
            else self._check(name, state, shape, text, weight)
            for name, state in states.items()
        ]
        if not batched:
            input, checked = input.unsqueeze(0), [state.unsqueeze(0) for state in checked]
        return input, checked, batched


class RNNCell(_Cell):
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
        input, (h,), batched = self._inputs(input, h0=hx)
        h = RNNCellFunction.apply(input, h, *self._weights(), relu=self.nonlinearity == "relu")
        return h if batched else h.squeeze(0)


class LSTMCell(_Cell):
    """`i, f, o = sigmoid(...)`, `g = tanh(...)`, `c' = f c + i g`, `h' = o tanh(c')`.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000. Parameters
    and attributes as in `RNNCell`, with four gates in the rows, in the order i, f, g, o.
    """

    _gates = 4

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
        h0, c0 = check_pair("LSTMCell", "hx", hx, "(N, H)")
        input, (h, c), batched = self._inputs(input, h0=h0, c0=c0)
        _, h, c = LSTMFunction.apply(input.unsqueeze(0), h, c, *self._weights())
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))


class GRUCell(_Cell):
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
        input, (h,), batched = self._inputs(input, h0=hx)
        _, h = GRUFunction.apply(input.unsqueeze(0), h, *self._weights())
        return h if batched else h.squeeze(0)
