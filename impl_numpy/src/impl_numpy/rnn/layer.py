"""Recurrent layers: whole sequences, one Function for each layer and direction.

T steps, N batch, I input size, H hidden size, P size of a projected hidden state (H where there is
no projection), L layers above one another, D directions; the equations and their sources stand in
`equations`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import DTypeLike

from impl_numpy.checks import (
    check_choice,
    check_flag,
)
from impl_numpy.rnn.equations import RNN_STEPS
from impl_numpy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_numpy.rnn.sequence import SequenceLayer
from impl_numpy.tensor import Tensor


class RNN(SequenceLayer):
    """Take `RNNCell` at every step (torch.nn.RNN).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        Each layer above the first takes the output of the one below.
    nonlinearity : {"tanh", "relu"}
    bias, batch_first : bool
    dropout : float
        The probability with which an element of the output of every layer but the last is dropped
        in training.
    bidirectional : bool
        Each layer runs a second time, from the last step to the first; its output is both.
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (H, I); of layers above `weight_ih_l1`, ..., (H, D H)
    weight_hh_l0 : Parameter, shape (H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (H,), or None
        Uniform in [-k, k), k = 1 / sqrt(H). Those of the reverse direction end in `_reverse`.

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating, the nonlinearity is unknown, or
        dropout is no probability.
    TypeError
        If a size is no int, dropout no number, or the dtype is unknown.

    Warns
    -----
    UserWarning
        If there is dropout and one layer.
    """

    _gates = 1

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
        dtype: DTypeLike | None = None,
    ) -> None:
        check_choice("RNN", "nonlinearity", nonlinearity, tuple(RNN_STEPS))
        super().__init__(
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
        )
        self.nonlinearity = nonlinearity

    def _apply(self, *inputs: Any, **where: Any) -> tuple[Tensor, ...]:
        return RNNFunction.apply(*inputs, nonlinearity=self.nonlinearity, **where)


class LSTM(SequenceLayer):
    """Take `LSTMCell` at every step; the state is the pair (h, c) (torch.nn.LSTM).

    With a projection h' = W_hr (o tanh(c')), of P numbers (Sak, Senior and Beaufays 2014).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        Each layer above the first takes the output of the one below.
    bias, batch_first : bool
    dropout : float
        The probability with which an element of the output of every layer but the last is dropped
        in training.
    bidirectional : bool
        Each layer runs a second time, from the last step to the first; its output is both.
    proj_size : int
        P, less than H; 0 for no projection.
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (4 H, I); of layers above `weight_ih_l1`, ..., (4 H, D P)
    weight_hh_l0 : Parameter, shape (4 H, P)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4 H,), or None
    weight_hr_l0 : Parameter, shape (P, H), if there is a projection
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H). Those of the reverse
        direction end in `_reverse`.

    Raises
    ------
    ValueError
        If a size is not positive, proj_size is not from 0 to H - 1, the dtype is not floating, or
        dropout is no probability.
    TypeError
        If a size is no int, dropout no number, or the dtype is unknown.

    Warns
    -----
    UserWarning
        If there is dropout and one layer.
    """

    _gates = 4
    _states: ClassVar[tuple[str, ...]] = ("h0", "c0")

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
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            proj_size,
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
        )

    def forward(
        self,
        input: Any,
        hx: Any = None,
        *,
        return_cell_states: bool = False,
        lengths: Any = None,
        reset_mask: Any = None,
        reset_state: Any = None,
    ) -> tuple[Any, ...]:
        """Take all steps, with the arguments and errors of `RNN`.

        With `return_cell_states` the result is (output, (h_n, c_n), cells): cells, of the shape
        (T, N, D H) and laid out as the output is, holds c of the last layer after every step, 0
        past the end of a sequence.
        """
        cells = check_flag("LSTM", "return_cell_states", return_cell_states)
        outputs, after = self._sequences(input, hx, lengths, reset_mask, reset_state, cells)
        return outputs[0], after, *outputs[1:]

    def _apply(self, *inputs: Any, **where: Any) -> tuple[Tensor, ...]:
        return LSTMFunction.apply(*inputs, **where)


class GRU(SequenceLayer):
    """Take `GRUCell` at every step (torch.nn.GRU).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        Each layer above the first takes the output of the one below.
    bias, batch_first : bool
    dropout : float
        The probability with which an element of the output of every layer but the last is dropped
        in training.
    bidirectional : bool
        Each layer runs a second time, from the last step to the first; its output is both.
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (3 H, I); of layers above `weight_ih_l1`, ..., (3 H, D H)
    weight_hh_l0 : Parameter, shape (3 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3 H,), or None
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H). Those of the reverse
        direction end in `_reverse`.

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating, or dropout is no probability.
    TypeError
        If a size is no int, dropout no number, or the dtype is unknown.

    Warns
    -----
    UserWarning
        If there is dropout and one layer.
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
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
        )

    def _apply(self, *inputs: Any, **where: Any) -> tuple[Tensor, ...]:
        return GRUFunction.apply(*inputs, **where)
