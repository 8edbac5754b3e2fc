"""A whole sequence as one Function, with one product per weight gradient.

T steps, N batch, I input size, H hidden size. LSTM after Hochreiter and Schmidhuber 1997 with the
forget gate of Gers et al. 2000; GRU after Cho et al. 2014, reset gate after the recurrent product.
Second derivatives are JAX's, of these same methods.
"""

from typing import Any

from ..function import Function
from . import equations as R

Array = Any


def _input_gradients(ctx: Any, places: tuple[int, ...], da: Array, x: Array, w: Array) -> list[Any]:
    """Return what of the gradients of x, weight and bias is wanted; `places` are theirs."""
    at_x, at_weight, at_bias = (ctx.needs_input_grad[place] for place in places)
    return [
        R.input_gradient(da, w) if at_x else None,
        R.weight_gradient(da, x) if at_weight else None,
        R.bias_gradient(da) if at_bias else None,
    ]


class RNNFunction(Function):
    """A sequence of ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (H, I), weight_hh (H, H), bias_ih and bias_hh (H,) or
    None; `nonlinearity` is configuration. Outputs: all states (T, N, H) and the last (N, H).
    """

    compiled = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
        *,
        nonlinearity: str = "tanh",
    ) -> tuple[Array, Array]:
        """Return all states (T, N, H) and the last (N, H); inputs as in the class."""
        R.check_weights("RNN", x, h0, w_ih, w_hh, b_ih, b_hh)
        bias = None if b_ih is None else b_ih + b_hh
        states, last = R.rnn_forward(nonlinearity, R.gates(x, w_ih, bias), h0, w_hh)
        ctx.nonlinearity = nonlinearity
        ctx.save_for_backward(x, h0, w_ih, w_hh, states)
        return states, last

    @staticmethod
    def backward(ctx: Any, d_states: Array, d_last: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_states (T, N, H), d_last (N, H)."""
        x, h0, w_ih, w_hh, states = ctx.saved_tensors
        da, dh = R.rnn_backward(ctx.nonlinearity, states, w_hh, d_states, d_last)
        dx, dw_ih, db_ih = _input_gradients(ctx, (0, 2, 4), da, x, w_ih)
        dw_hh = R.weight_gradient(da, R.previous(h0, states)) if ctx.needs_input_grad[3] else None
        db_hh = R.bias_gradient(da) if ctx.needs_input_grad[5] else None
        return dx, dh, dw_ih, dw_hh, db_ih, db_hh


class LSTMFunction(Function):
    """A sequence of LSTM steps, gates in rows ordered i, f, g, o.

    Inputs: x (T, N, I), h0 and c0 (N, H), weight_ih (4·H, I), weight_hh (4·H, H), bias_ih and
    bias_hh (4·H,) or None. Outputs: all h (T, N, H), the last h and c (N, H).
    """

    compiled = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        c0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
    ) -> tuple[Array, Array, Array]:
        """Return all h (T, N, H), the last h and c (N, H); inputs as in the class."""
        R.check_weights("LSTM", x, h0, w_ih, w_hh, b_ih, b_hh)
        bias = None if b_ih is None else b_ih + b_hh
        hs, h, c, *kept = R.lstm_forward(R.gates(x, w_ih, bias), h0, c0, w_hh)
        ctx.save_for_backward(x, h0, c0, w_ih, w_hh, hs, *kept)
        return hs, h, c

    @staticmethod
    def backward(ctx: Any, d_hs: Array, d_h: Array, d_c: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_hs (T, N, H), d_h, d_c (N, H)."""
        x, h0, c0, w_ih, w_hh, hs, *kept = ctx.saved_tensors
        da, dh, dc = R.lstm_backward(kept, c0, w_hh, d_hs, d_h, d_c)
        dx, dw_ih, db_ih = _input_gradients(ctx, (0, 3, 5), da, x, w_ih)
        dw_hh = R.weight_gradient(da, R.previous(h0, hs)) if ctx.needs_input_grad[4] else None
        db_hh = R.bias_gradient(da) if ctx.needs_input_grad[6] else None
        return dx, dh, dc, dw_ih, dw_hh, db_ih, db_hh


class GRUFunction(Function):
    """A sequence of GRU steps, gates in rows ordered r, z, n.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (3·H, I), weight_hh (3·H, H), bias_ih and bias_hh
    (3·H,) or None. Outputs: all states (T, N, H) and the last (N, H).
    """

    compiled = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
    ) -> tuple[Array, Array]:
        """Return all states (T, N, H) and the last (N, H); inputs as in the class."""
        R.check_weights("GRU", x, h0, w_ih, w_hh, b_ih, b_hh)
        states, last, kept = R.gru_forward(R.gates(x, w_ih, b_ih), h0, w_hh, b_hh)
        ctx.save_for_backward(x, h0, w_ih, w_hh, states, kept)
        return states, last

    @staticmethod
    def backward(ctx: Any, d_states: Array, d_last: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_states (T, N, H), d_last (N, H)."""
        x, h0, w_ih, w_hh, states, kept = ctx.saved_tensors
        da, recurrent, dh = R.gru_backward(kept, h0, w_hh, states, d_states, d_last)
        dx, dw_ih, db_ih = _input_gradients(ctx, (0, 2, 4), da, x, w_ih)
        before = R.previous(h0, states)
        dw_hh = R.weight_gradient(recurrent, before) if ctx.needs_input_grad[3] else None
        db_hh = R.bias_gradient(recurrent) if ctx.needs_input_grad[5] else None
        return dx, dh, dw_ih, dw_hh, db_ih, db_hh
