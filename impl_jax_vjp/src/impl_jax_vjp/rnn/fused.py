"""A whole sequence as one Function, with one product per weight gradient.

T steps, N batch, I input size, H hidden size, P size of what a projection makes of a hidden state
(H where there is none). LSTM after Hochreiter and Schmidhuber 1997 with the forget gate of Gers et
al. 2000, its projection after Sak, Senior and Beaufays 2014; GRU after Cho et al. 2014, reset gate
after the recurrent product. Second derivatives are JAX's, of these same methods.

Each takes `lengths` (N,), integers, or None where every sequence has T steps, and `marks` (T, N),
booleans, or None where no sequence has resets, with the state that stands at the beginning of an
episode after a reset; the configuration ``reverse=True`` goes from the last step to the first, by
the same equations.
"""

from typing import Any

from ..function import Function
from . import equations as R
from .lengths import course_of

Array = Any


def _gradients(
    ctx: Any, places: tuple[int, ...], da: Array, x: Array, w: Array, course: R.Course
) -> list[Any]:
    """Return what of the gradients of x, weight and bias is wanted; `places` are theirs."""
    at_x, at_weight, at_bias = (ctx.needs_input_grad[place] for place in places)
    return [
        # rnn-33: of padding it is 0, be a weight infinite or NaN.
        course.clear(R.input_gradient(da, w)) if at_x else None,
        R.weight_gradient(da, course.clear(x)) if at_weight else None,
        R.bias_gradient(da) if at_bias else None,
    ]


def _as_called(ctx: Any, *gradients: Array | None) -> tuple[Array | None, ...]:
    """Return as many gradients as there were inputs, the last of which may be left out."""
    return gradients[: len(ctx.needs_input_grad)]


class RNNFunction(Function):
    """A sequence of ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (H, I), weight_hh (H, H), bias_ih and bias_hh (H,) or
    None, lengths (N,) or None, marks (T, N) and fresh (N, H) or None; `nonlinearity` and `reverse`
    are configuration. Outputs: all states (T, N, H) and the last (N, H).
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
        lengths: Array | None = None,
        marks: Array | None = None,
        fresh: Array | None = None,
        *,
        nonlinearity: str = "tanh",
        reverse: bool = False,
    ) -> tuple[Array, Array]:
        """Return all states (T, N, H) and the last (N, H); inputs as in the class."""
        R.check_weights("RNN", x, h0, w_ih, w_hh, b_ih, b_hh)
        course = course_of(lengths, x.shape[0], reverse, marks)
        bias = None if b_ih is None else b_ih + b_hh
        a = R.gates(course.clear(x), w_ih, bias)
        states, last = R.rnn_forward(nonlinearity, a, h0, w_hh, course, fresh)
        ctx.nonlinearity, ctx.reverse = nonlinearity, reverse
        ctx.save_for_backward(x, h0, w_ih, w_hh, lengths, marks, fresh, states)
        return states, last

    @staticmethod
    def backward(ctx: Any, d_states: Array, d_last: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_states (T, N, H), d_last (N, H)."""
        x, h0, w_ih, w_hh, lengths, marks, fresh, states = ctx.saved_tensors
        course = course_of(lengths, x.shape[0], ctx.reverse, marks)
        da, dh, d_fresh = R.rnn_backward(ctx.nonlinearity, states, w_hh, d_states, d_last, course)
        dx, dw_ih, db_ih = _gradients(ctx, (0, 2, 4), da, x, w_ih, course)
        before = R.previous(h0, states, course, fresh)
        dw_hh = R.weight_gradient(da, before) if ctx.needs_input_grad[3] else None
        db_hh = R.bias_gradient(da) if ctx.needs_input_grad[5] else None
        return _as_called(ctx, dx, dh, dw_ih, dw_hh, db_ih, db_hh, None, None, d_fresh)


class LSTMFunction(Function):
    """A sequence of LSTM steps, gates in rows ordered i, f, g, o, with a projection or without.

    Inputs: x (T, N, I), h0 (N, P), c0 (N, H), weight_ih (4·H, I), weight_hh (4·H, P), bias_ih and
    bias_hh (4·H,) or None, lengths (N,) or None, marks (T, N), fresh_h (N, P) and fresh_c (N, H) or
    None, weight_hr (P, H) or None; `reverse` and `cells` are configuration. Outputs: all h
    (T, N, P), the last h (N, P) and c (N, H), and with `cells` all c (T, N, H).
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
        lengths: Array | None = None,
        marks: Array | None = None,
        fresh_h: Array | None = None,
        fresh_c: Array | None = None,
        w_hr: Array | None = None,
        *,
        reverse: bool = False,
        cells: bool = False,
    ) -> tuple[Array, ...]:
        """Return all h (T, N, P), the last h (N, P) and c (N, H), and if asked for all c."""
        R.check_weights("LSTM", x, h0, w_ih, w_hh, b_ih, b_hh, w_hr=w_hr, hidden=c0.shape[-1])
        course = course_of(lengths, x.shape[0], reverse, marks)
        bias = None if b_ih is None else b_ih + b_hh
        a = R.gates(course.clear(x), w_ih, bias)
        fresh = (fresh_h, fresh_c)
        hs, h, c, *kept = R.lstm_forward(a, (h0, c0), w_hh, w_hr, course, fresh)
        ctx.reverse = reverse
        ctx.save_for_backward(x, h0, c0, w_ih, w_hh, lengths, marks, *fresh, w_hr, hs, *kept)
        return (hs, h, c, course.show(kept[0])) if cells else (hs, h, c)

    @staticmethod
    def backward(ctx: Any, *gradients: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_hs, d_h, d_c, and d_cells if any."""
        x, h0, c0, w_ih, w_hh, lengths, marks, *fresh, w_hr, hs, cs, a = ctx.saved_tensors
        kept = (cs, a)
        course = course_of(lengths, x.shape[0], ctx.reverse, marks)
        before = R.previous(c0, cs, course, fresh[1])
        da, d_first, d_projected, d_fresh = R.lstm_backward(
            kept, before, w_hh, w_hr, gradients, course
        )
        dx, dw_ih, db_ih = _gradients(ctx, (0, 3, 5), da, x, w_ih, course)
        before = R.previous(h0, hs, course, fresh[0])
        dw_hh = R.weight_gradient(da, before) if ctx.needs_input_grad[4] else None
        db_hh = R.bias_gradient(da) if ctx.needs_input_grad[6] else None
        dw_hr = None
        if w_hr is not None and ctx.needs_input_grad[11]:
            unprojected = course.clear(R.hidden_states(*kept))
            dw_hr = R.weight_gradient(d_projected, unprojected)
        to_weights = (dw_ih, dw_hh, db_ih, db_hh)
        return _as_called(ctx, dx, *d_first, *to_weights, None, None, *d_fresh, dw_hr)


class GRUFunction(Function):
    """A sequence of GRU steps, gates in rows ordered r, z, n.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (3·H, I), weight_hh (3·H, H), bias_ih and bias_hh
    (3·H,) or None, lengths (N,) or None, marks (T, N) and fresh (N, H) or None; `reverse` is
    configuration. Outputs: all states (T, N, H) and the last (N, H).
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
        lengths: Array | None = None,
        marks: Array | None = None,
        fresh: Array | None = None,
        *,
        reverse: bool = False,
    ) -> tuple[Array, Array]:
        """Return all states (T, N, H) and the last (N, H); inputs as in the class."""
        R.check_weights("GRU", x, h0, w_ih, w_hh, b_ih, b_hh)
        course = course_of(lengths, x.shape[0], reverse, marks)
        a = R.gates(course.clear(x), w_ih, b_ih)
        states, last, kept = R.gru_forward(a, h0, w_hh, b_hh, course, fresh)
        ctx.reverse = reverse
        ctx.save_for_backward(x, h0, w_ih, w_hh, lengths, marks, fresh, states, kept)
        return states, last

    @staticmethod
    def backward(ctx: Any, d_states: Array, d_last: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_states (T, N, H), d_last (N, H)."""
        x, h0, w_ih, w_hh, lengths, marks, fresh, states, kept = ctx.saved_tensors
        course = course_of(lengths, x.shape[0], ctx.reverse, marks)
        before = R.previous(h0, states, course, fresh)
        da, recurrent, dh, d_fresh = R.gru_backward(kept, before, w_hh, d_states, d_last, course)
        dx, dw_ih, db_ih = _gradients(ctx, (0, 2, 4), da, x, w_ih, course)
        dw_hh = R.weight_gradient(recurrent, before) if ctx.needs_input_grad[3] else None
        db_hh = R.bias_gradient(recurrent) if ctx.needs_input_grad[5] else None
        return _as_called(ctx, dx, dh, dw_ih, dw_hh, db_ih, db_hh, None, None, d_fresh)
