"""Recurrent layers, as in ``torch.nn``: whole sequences, layers above one another, both directions.

T, N, I, H are steps, batch, input size, hidden size; P is the size of h, which is H unless an LSTM
projects it; L and D are the numbers of layers and of directions.
"""

from __future__ import annotations

from typing import Any

from impl_cupy.checks import (
    check_count,
    check_flag,
    check_positive_int,
)
from impl_cupy.dtypes import DTypeLike
from impl_cupy.rnn.cell import Recurrent
from impl_cupy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_cupy.rnn.stacked import RecurrentLayer
from impl_cupy.tensor import Tensor


class RNN(RecurrentLayer):
    """`RNNCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        L; each layer above the first takes the output of the layer below.
    nonlinearity : "tanh" or "relu"
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...).
    dropout : float
        In training, the probability with which an element of a layer's output is dropped on its
        way into the next layer.
    bidirectional : bool
        Whether each layer runs from the last step to the first as well; D is 2 then.
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (H, I) and (H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (H,)
        And so on for each layer, ``_l1`` with D H for I, and with ``_reverse`` at the end for each
        layer's other direction.

    Raises
    ------
    TypeError, ValueError
        If a size, a number or a dtype is none.

    Warns
    -----
    UserWarning
        If `dropout` has no effect, for there is one layer.
    """

    _function = RNNFunction
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
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            dtype,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            nonlinearity=nonlinearity,
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
        """Run the sequences.

        Parameters
        ----------
        input : Tensor, shape (T, N, I), (N, T, I) if `batch_first`, or (T, I); or PackedSequence
        hx : Tensor, shape (L D, N, H) or (L D, H), optional
            Zeros if left out.
        lengths : N integers, optional
            How many steps each sequence has, from 0 to T: a sequence of ints, an array or a Tensor,
            read on the host; without a batch axis one integer. What stands behind a sequence's end
            is not read.
        reset_mask : booleans, shape (T, N), (N, T) if `batch_first`, or (T,), optional
            Where another episode begins: each runs as if alone. Nested sequences of bool, an array
            or a Tensor, read on the host.
        reset_state : Tensor, shape of `hx`, optional
            What every episode begins with but a sequence's first one, which begins with `hx` where
            step 0 has no mark; in the reverse direction all but the last one. Zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, D H), (N, T, D H) or (T, D H); or PackedSequence
            Of the last layer, forward first; 0 past a sequence's end.
        h_n : Tensor, shape of `hx`
            After each sequence's own last step, in the reverse direction after step 0.

        Raises
        ------
        ValueError
            If a shape does not fit, a length is out of range, or there is a `reset_state` without a
            `reset_mask`.
        TypeError
            If a dtype is not the parameters', `lengths` holds no integers, or `reset_mask` no
            booleans.
        """
        output, (h_n,), _ = self._run(
            input, hx, lengths, reset_mask, reset_state, nonlinearity=self.nonlinearity
        )
        return output, h_n


class LSTM(RecurrentLayer):
    """`LSTMCell` over a sequence; with a projection ``h' = W_hr (o tanh(c'))``.

    Source of the projection: Sak, Senior and Beaufays 2014.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers, bias, batch_first, dropout, bidirectional, dtype
        As for `RNN`.
    proj_size : int
        P, from 1 to H - 1, or 0 for no projection; P is H then.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (4 H, I) and (4 H, P)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (4 H,)
    weight_hr_l0 : Parameter, shape (P, H)
        With a projection. And so on for each layer, ``_l1`` with D P for I, and with ``_reverse``
        at the end for each layer's other direction.

    Raises
    ------
    TypeError, ValueError
        If a size, a number or a dtype is none.

    Warns
    -----
    UserWarning
        If `dropout` has no effect, for there is one layer.
    """

    gates = 4
    _names = (*Recurrent._names, "weight_hr")
    _function = LSTMFunction
    _states = ("h0", "c0")

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
        dtype: DTypeLike = None,
    ) -> None:
        name = type(self).__name__
        projected = check_count(name, "proj_size", proj_size)
        if projected >= check_positive_int(name, "hidden_size", hidden_size):  # rnn-20
            msg = (
                f"{name}: proj_size must be less than hidden_size = {hidden_size}, got {projected}"
            )
            raise ValueError(msg)
        super().__init__(
            input_size,
            hidden_size,
            dtype,
            proj_size=projected,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
        )

    def _parts(self, state: Any, called: str) -> tuple[Any, Any]:
        return self._pair(state, "(h0, c0)", called)

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
        """Run the sequences.

        Parameters
        ----------
        input : Tensor, shape (T, N, I), (N, T, I) if `batch_first`, or (T, I); or PackedSequence
        hx : pair of Tensor, shapes (L D, N, P) and (L D, N, H), or (L D, P) and (L D, H), optional
            ``(h0, c0)``, zeros if left out.
        lengths, reset_mask, reset_state
            As for `RNN.forward`; `reset_state` is a pair.
        return_cell_states : bool
            Whether `cells` is returned.

        Returns
        -------
        output : Tensor, shape (T, N, D P), (N, T, D P) or (T, D P); or PackedSequence
        (h_n, c_n) : tuple of Tensor, shapes of `hx`
        cells : Tensor, shape (T, N, D H), (N, T, D H) or (T, D H)
            c of the last layer after every step, laid out as `output`.

        Raises
        ------
        ValueError
            As for `RNN.forward`, and if `hx` or `reset_state` is no pair.
        TypeError
            As for `RNN.forward`.
        """
        wanted = check_flag("LSTM", "return_cell_states", return_cell_states)
        output, ends, every = self._run(input, hx, lengths, reset_mask, reset_state, wanted)
        return output, tuple(ends), *every


class GRU(RecurrentLayer):
    """`GRUCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers, bias, batch_first, dropout, bidirectional, dtype
        As for `RNN`.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (3 H, I) and (3 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (3 H,)
        And so on for each layer and direction, as for `RNN`.

    Raises
    ------
    TypeError, ValueError
        If a size, a number or a dtype is none.

    Warns
    -----
    UserWarning
        If `dropout` has no effect, for there is one layer.
    """

    gates = 3
    _function = GRUFunction

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
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            dtype,
            num_layers=num_layers,
            bias=bias,
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
        """Run the sequences.

        Parameters
        ----------
        input : Tensor, shape (T, N, I), (N, T, I) if `batch_first`, or (T, I); or PackedSequence
        hx : Tensor, shape (L D, N, H) or (L D, H), optional
            Zeros if left out.
        lengths, reset_mask, reset_state
            As for `RNN.forward`.

        Returns
        -------
        output : Tensor, shape (T, N, D H), (N, T, D H) or (T, D H); or PackedSequence
        h_n : Tensor, shape of `hx`

        Raises
        ------
        ValueError, TypeError
            As for `RNN.forward`.
        """
        output, (h_n,), _ = self._run(input, hx, lengths, reset_mask, reset_state)
        return output, h_n
