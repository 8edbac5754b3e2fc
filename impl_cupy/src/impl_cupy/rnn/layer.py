"""Recurrent layers, as in ``torch.nn``: one layer, one direction, whole sequences.

T, N, I, H are steps, batch, input size, hidden size.
"""

from __future__ import annotations

from typing import Any

from impl_cupy.dtypes import DTypeLike
from impl_cupy.ops.manipulation import expand_dims, permute_dims, squeeze
from impl_cupy.rnn.cell import Recurrent
from impl_cupy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_cupy.tensor import Tensor


class _Layer(Recurrent):
    """A whole sequence."""

    suffix = "_l0"

    batch_first: bool

    def _sequence(self, x: Any) -> tuple[Tensor, bool]:
        """Check x and bring it to (T, N, I)."""
        batched = "(N, T, I)" if self.batch_first else "(T, N, I)"
        value = self._sized(x, batched, 3, "(T, I)")
        if value.ndim == 2:
            return expand_dims(value, axis=1), False
        return (permute_dims(value, (1, 0, 2)) if self.batch_first else value), True

    def _begin(self, argument: str, state: Any, x: Tensor, batched: bool) -> Tensor:
        size = self.hidden_size
        if state is None:
            return self._zeros(1, x.shape[1], size)
        if batched:
            return self._state(argument, state, "(1, N, H)", (1, x.shape[1], size))
        return expand_dims(self._state(argument, state, "(1, H)", (1, size)), axis=1)

    def _end(self, output: Tensor, batched: bool) -> Tensor:
        if not batched:
            return squeeze(output, 1)
        return permute_dims(output, (1, 0, 2)) if self.batch_first else output

    def _last(self, state: Tensor, batched: bool) -> Tensor:
        return state if batched else squeeze(state, 1)


class RNN(_Layer):
    """`RNNCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    nonlinearity : "tanh" or "relu"
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (H, I) and (H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (H,)
    """

    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike = None,
    ) -> None:
        options = {"batch_first": batch_first, "nonlinearity": nonlinearity}
        super().__init__(input_size, hidden_size, bias, dtype, **options)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Run the sequence.

        Parameters
        ----------
        input : Tensor, shape (T, N, I), (N, T, I) if `batch_first`, or (T, I)
        hx : Tensor, shape (1, N, H) or (1, H), optional
            Zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, H), (N, T, H) or (T, H)
        h_n : Tensor, shape of `hx`

        Raises
        ------
        ValueError
            If a shape does not fit.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._sequence(input)
        state = self._begin("h0", hx, value, batched)
        output, h_n = RNNFunction.apply(
            value, state, *self._weights(), nonlinearity=self.nonlinearity
        )
        return self._end(output, batched), self._last(h_n, batched)


class LSTM(_Layer):
    """`LSTMCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (4 H, I) and (4 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (4 H,)
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, batch_first=batch_first)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the sequence.

        Parameters
        ----------
        input : Tensor, shape (T, N, I), (N, T, I) if `batch_first`, or (T, I)
        hx : pair of Tensor, shapes (1, N, H) or (1, H), optional
            ``(h0, c0)``, zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, H), (N, T, H) or (T, H)
        (h_n, c_n) : tuple of Tensor, shapes of `hx`

        Raises
        ------
        ValueError
            If a shape does not fit, or `hx` is no pair.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._sequence(input)
        h0, c0 = self._pair(hx, "(h0, c0)")
        states = (self._begin("h0", h0, value, batched), self._begin("c0", c0, value, batched))
        output, h_n, c_n = LSTMFunction.apply(value, *states, *self._weights())
        return self._end(output, batched), (self._last(h_n, batched), self._last(c_n, batched))


class GRU(_Layer):
    """`GRUCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (3 H, I) and (3 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (3 H,)
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, batch_first=batch_first)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Run the sequence; see `RNN.forward`."""
        value, batched = self._sequence(input)
        state = self._begin("h0", hx, value, batched)
        output, h_n = GRUFunction.apply(value, state, *self._weights())
        return self._end(output, batched), self._last(h_n, batched)
