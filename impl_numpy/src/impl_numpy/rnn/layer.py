"""Recurrent layers: a whole sequence, one Function.

T steps, N batch, I input size, H hidden size; the equations and their sources stand in `equations`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import DTypeLike

from impl_numpy import ops
from impl_numpy.checks import check_choice, check_flag
from impl_numpy.rnn.cell import Recurrent
from impl_numpy.rnn.equations import RNN_STEPS
from impl_numpy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_numpy.tensor import Tensor


class SequenceLayer(Recurrent):
    """A whole sequence, one Function (rnn-18)."""

    _suffix = "_l0"
    _states: ClassVar[tuple[str, ...]] = ("h0",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.batch_first = check_flag(type(self).__name__, "batch_first", batch_first)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Any]:
        """Take all steps.

        Parameters
        ----------
        input : Tensor, shape (T, N, I), (N, T, I) if batch_first, or (T, I)
        hx : Tensor, shape (1, N, H), or (1, H) next to (T, I), optional; a pair for LSTM
            Zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, H), (N, T, H) if batch_first, or (T, H)
        state : of the shape of the initial one

        Raises
        ------
        ValueError
            If a shape does not fit.
        TypeError
            If a dtype is not the parameters'.
        """
        weights = self._weights()
        dtype = weights[0].dtype
        form = "(N, T, I)" if self.batch_first else "(T, N, I)"
        x = self._sequence(input, (form, "(T, I)"), dtype)
        batched = x.ndim == 3
        if not batched:
            x = ops.expand_dims(x, axis=1)
        elif self.batch_first:
            x = ops.permute_dims(x, (1, 0, 2))
        batch, size = x.shape[1], self.hidden_size
        form, shape = ("(1, N, H)", (1, batch, size)) if batched else ("(1, H)", (1, size))
        states = [h.reshape(batch, size) for h in self._checked_state(hx, form, shape, dtype)]
        output, *last = self._apply(x, *states, *weights)
        if not batched:
            output = ops.squeeze(output, axis=1)
        elif self.batch_first:
            output = ops.permute_dims(output, (1, 0, 2))
        after = tuple(h.reshape(shape) for h in last)
        return output, after if len(after) > 1 else after[0]

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        """Return output (T, N, H) and last states (N, H)."""
        raise NotImplementedError


class RNN(SequenceLayer):
    """Take `RNNCell` at every step (torch.nn.RNN).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    nonlinearity : {"tanh", "relu"}
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (H, I)
    weight_hh_l0 : Parameter, shape (H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (H,), or None
        Uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating, or the nonlinearity is unknown.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        check_choice("RNN", "nonlinearity", nonlinearity, tuple(RNN_STEPS))
        super().__init__(input_size, hidden_size, bias=bias, batch_first=batch_first, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        return RNNFunction.apply(*inputs, nonlinearity=self.nonlinearity)


class LSTM(SequenceLayer):
    """Take `LSTMCell` at every step; the state is the pair (h, c) (torch.nn.LSTM).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (4 H, I)
    weight_hh_l0 : Parameter, shape (4 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4 H,), or None
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 4
    _states: ClassVar[tuple[str, ...]] = ("h0", "c0")

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        return LSTMFunction.apply(*inputs)


class GRU(SequenceLayer):
    """Take `GRUCell` at every step (torch.nn.GRU).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (3 H, I)
    weight_hh_l0 : Parameter, shape (3 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3 H,), or None
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 3

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        return GRUFunction.apply(*inputs)
