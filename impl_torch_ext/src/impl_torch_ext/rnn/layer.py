"""The recurrent layers: a whole sequence each, as one Function.

T steps, N batch, I input size, H hidden size.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext.checks import check_choice, check_flag, check_pair
from impl_torch_ext.nn.layer import Options
from impl_torch_ext.rnn.cell import Recurrent
from impl_torch_ext.rnn.fused import GRUFunction, LSTMFunction, RNNFunction

__all__ = ["GRU", "LSTM", "RNN"]


class _Layer(Recurrent):
    """A sequence; one layer, one direction."""

    _suffix: ClassVar[str] = "_l0"
    _options: ClassVar[Options] = {**Recurrent._options, "batch_first": check_flag}
    batch_first: bool

    def _run(
        self, function: Any, input: Any, states: dict[str, Any], **config: Any
    ) -> tuple[Tensor, ...]:
        """Return the output and the last states, in the layout of the call."""
        batched = not isinstance(input, Tensor) or input.ndim != 2  # rnn-14
        x, first = self._inputs(input, states, batched)
        output, *last = function.apply(x, *first, *self._weights(), **config)
        if not batched:
            return output.squeeze(1), *last
        if self.batch_first:
            output = output.transpose(0, 1)
        return output, *(state.unsqueeze(0) for state in last)

    def _inputs(
        self, input: Any, states: dict[str, Any], batched: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the input as (T, N, I) and the states as (N, H)."""
        weight = self._weights()[0]
        text = ("N, T, " if self.batch_first else "T, N, ") if batched else "T, "
        sizes = (None, None, self.input_size) if batched else (None, self.input_size)
        x = self._check("input", input, sizes, f"({text}input_size)", weight)
        if not batched:
            x = x.unsqueeze(1)
        elif self.batch_first:  # rnn-13
            x = x.transpose(0, 1).contiguous()
        shape = (x.shape[1], self.hidden_size)
        wanted, text = ((1, *shape), "(1, N, H)") if batched else ((1, self.hidden_size), "(1, H)")
        return x, [
            x.new_zeros(shape)
            if state is None
            else self._check(name, state, wanted, text, weight).reshape(shape)
            for name, state in states.items()
        ]


class RNN(_Layer):
    """`RNNCell` over a sequence, as one Function.

    Parameters
    ----------
    input_size, hidden_size : int
    nonlinearity : {"tanh", "relu"}
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...); the states keep (1, N, H).
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        As in `RNNCell`.
    """

    _options: ClassVar[Options] = {**_Layer._options, "nonlinearity": check_choice("tanh", "relu")}
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, nonlinearity, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return output (T, N, H) and h_n (1, N, H) for input (T, N, I) and hx (1, N, H).

        Without hx it is zero. All may come without the axis N.
        """
        return self._run(RNNFunction, input, {"h0": hx}, relu=self.nonlinearity == "relu")


class LSTM(_Layer):
    """A sequence through the LSTM, as one Function; one step is `LSTMCell`.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; the equations
    stand on the page of `torch.nn.LSTM`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...); the states keep (1, N, H).
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (4·H, I), (4·H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4·H,), or None
        Gates in rows ordered i, f, g, o. All uniform in `[-k, k)`, `k = 1 / sqrt(H)`.

    Raises
    ------
    ValueError
        If a size is not positive or the dtype not floating; in a call, if a shape does not fit or
        hx is not a pair.
    TypeError
        In a call, if an argument is no Tensor or not of the parameters' dtype.
    """

    _gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, dtype=dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return output (T, N, H) and (h_n, c_n), each (1, N, H), for input (T, N, I) and hx.

        hx is the pair (h0, c0), zeros if left out. All may come without the axis N.
        """
        h0, c0 = check_pair("LSTM", "hx", hx, "(1, N, H)")
        output, h_n, c_n = self._run(LSTMFunction, input, {"h0": h0, "c0": c0})
        return output, (h_n, c_n)


class GRU(_Layer):
    """A sequence through the GRU, as one Function; one step is `GRUCell`.

    Source: Cho et al. 2014, the reset gate after the recurrent product; the equations stand on the
    page of `torch.nn.GRU`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...); the states keep (1, N, H).
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (3·H, I), (3·H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3·H,), or None
        Gates in rows ordered r, z, n. All uniform in `[-k, k)`, `k = 1 / sqrt(H)`.

    Raises
    ------
    ValueError
        If a size is not positive or the dtype not floating; in a call, if a shape does not fit.
    TypeError
        In a call, if an argument is no Tensor or not of the parameters' dtype.
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return output (T, N, H) and h_n (1, N, H) for input (T, N, I) and hx (1, N, H).

        Without hx it is zero. All may come without the axis N.
        """
        return self._run(GRUFunction, input, {"h0": hx})
