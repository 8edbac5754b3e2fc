"""Whole sequences as one Function each: RNN, LSTM and GRU.

T steps, N batch, I input size, H hidden size, P size of a projected hidden state (H where there is
no projection). x is (T, N, I), a state h (N, P), c (N, H); or, where lengths differ, x is (R, I)
and the states are ordered by falling length, as `extent` says. One Function is one layer in one
direction.

Forward: the input's part of all gates is one product; a step adds the state's part. What is kept of
a sigmoid is e = exp(-a), a its argument: sigmoid(a) = 1 / (1 + e) and 1 - sigmoid(a) = e / (1 + e)
keep their digits however far the gate is shut or open (rnn-26). The minus is put once, on the
weights. Backward: the local derivatives of many steps are computed at once, outside the loop that
runs back; what is left in it is one product and a few multiplications. Weight gradients are one
product over all steps. The loops stand in `steps`.

Ownership: what a forward saves and returns lies in memory of its own (`buffers`), which is used
again only after the graph and the caller have let go of it; so does what a backward works in. Of
the arguments nothing is written. Of one call, h before and after a step are neighbours in one
array, and so are c (and the g beside it) in another: the output is a view of the first.

Each Function has a `composite`, the same equations step by step on Tensors, for second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from impl_numpy.batched import Level
from impl_numpy.buffers import empty
from impl_numpy.by_slice import folded, shared, unfolded
from impl_numpy.dtypes import Array
from impl_numpy.function import Function
from impl_numpy.recording import quiet
from impl_numpy.rnn.equations import RNN_STEPS, gru_step, lstm_step, unrolled
from impl_numpy.rnn.lengths import DIRECTIONS, FORWARD, Extent
from impl_numpy.rnn.steps import (
    NUMBERS,
    flattened,
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    lstm_rows,
    lstm_rows_back,
    projected,
    rnn_backward,
    rnn_forward,
    rolled,
    start_from,
)
from impl_numpy.sums import total
from impl_numpy.tensor import Tensor


def _fold(states: int) -> Callable[..., Any]:
    """Return what runs the sequences of all slices as one batch, where they share weights."""

    def run(
        level: Level, call: Callable[..., Any], inputs: tuple[Any, ...], config: dict[str, Any]
    ) -> tuple[Tensor, ...] | None:
        sequence, first, weights = inputs[0], inputs[1 : 1 + states], inputs[1 + states :]
        whole = config.get("extent", FORWARD) in DIRECTIONS
        if not (whole and level.size and all([shared(w, level) for w in weights])):
            return None
        held = [folded(h, level, 0) for h in first]
        found = call(folded(sequence, level, 1), *held, *weights, **config)
        return tuple([unfolded(y, level, y.ndim - 2) for y in found])

    return run


class RNNFunction(Function):
    """Run h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu."""

    _title = "RNN"
    _trusted = True
    _fold = staticmethod(_fold(1))

    @staticmethod
    @quiet
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
        *,
        nonlinearity: str,
        extent: Extent = FORWARD,
    ) -> tuple[Array, Array]:
        """Take x (T, N, I), h0 (N, H), w_ih (H, I), w_hh (H, H) to output (T, N, H), h_n (N, H)."""
        ctx.set_materialize_grads(False)
        ctx.extent = extent
        arguments = projected(x, w_ih, b_ih, b_hh)
        hs = extent.slots(h0, x, h0.shape[1])
        rnn_forward(extent, arguments, hs, w_hh, nonlinearity)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, arguments if nonlinearity == "tanh" else None)
        return extent.after(hs), extent.last(hs)

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, hs, arguments = ctx.saved_tensors
        extent = ctx.extent
        dh = start_from(d_last, extent.one(hs))
        d_gates = empty((*x.shape[:-1], len(w_ih)), x.dtype)
        rnn_backward(extent, (hs, arguments), w_hh, d_output, dh, d_gates)
        needs = ctx.needs_input_grad
        flat = flattened(d_gates)
        d_bias = total(flat, (0,)) if any(needs[4:]) else None
        return (
            (flat @ w_ih).reshape(x.shape) if needs[0] else None,
            dh,
            flat.T @ flattened(x) if needs[2] else None,
            flat.T @ flattened(extent.before(hs)) if needs[3] else None,
            d_bias,
            d_bias,
        )

    @staticmethod
    def composite(
        x: Tensor, h: Tensor, *weights: Any, nonlinearity: str, extent: Extent = FORWARD
    ) -> tuple[Tensor, ...]:
        """Return the same on Tensors, step by step."""
        step = RNN_STEPS[nonlinearity]
        return unrolled(step, x, (h,), weights, extent.counts, extent.reverse)


class LSTMFunction(Function):
    """Run i, f, g, o as in `lstm_step`; c' = f c + i g; h' = o tanh(c'), or W_hr times that."""

    _title = "LSTM"
    _trusted = True
    _fold = staticmethod(_fold(2))

    @staticmethod
    @quiet
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        c0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
        w_hr: Array | None = None,
        *,
        extent: Extent = FORWARD,
        cells: bool = False,
    ) -> tuple[Array, ...]:
        """Take x (T, N, I), states, w_ih (4H, I), w_hh (4H, P), w_hr (P, H) to output, h_n, c_n.

        With `cells` also to c after every step, (T, N, H).
        """
        ctx.set_materialize_grads(False)
        ctx.extent = extent
        size = c0.shape[1]
        biases = [None if b is None else lstm_rows(b, negate=True) for b in (b_ih, b_hh)]
        gates = projected(x, lstm_rows(w_ih, negate=True), *biases)
        hs = extent.slots(h0, x, h0.shape[1])
        cgs = extent.slots(c0, x, 2 * size)
        unprojected = None if w_hr is None else empty((*x.shape[:-1], size), x.dtype)
        w_h = lstm_rows(w_hh, negate=True)
        lstm_forward(extent, gates, hs, cgs, w_h, w_hr, unprojected)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, w_hr, hs, cgs, gates, unprojected)
        cs = cgs[..., :size]
        results = extent.after(hs), extent.last(hs), extent.last(cs)
        return (*results, extent.after(cs)) if cells else results

    @staticmethod
    def backward(
        ctx: Any,
        d_output: Array | None,
        d_h: Array | None,
        d_c: Array | None,
        d_cells: Array | None = None,
    ) -> tuple[Any, ...]:
        """Return the gradients of x, h0, c0 and the weights."""
        x, w_ih, w_hh, w_hr, hs, cgs, gates, unprojected = ctx.saved_tensors
        extent = ctx.extent
        dh = start_from(d_h, extent.one(hs))
        dc = start_from(d_c, extent.one(cgs)[:, : cgs.shape[-1] // 2])
        arrived = d_output, d_cells
        saved = gates, cgs, extent.after(hs) if unprojected is None else unprojected
        rows, d_hs = lstm_backward(extent, saved, lstm_rows(w_hh), w_hr, arrived, (dh, dc))
        needs = ctx.needs_input_grad
        flat = flattened(rows)
        d_bias = lstm_rows_back(total(flat, (0,))) if any(needs[5:7]) else None
        grads = (
            (flat @ lstm_rows(w_ih)).reshape(x.shape) if needs[0] else None,
            dh,
            dc,
            lstm_rows_back(flat.T @ flattened(x)) if needs[3] else None,
            lstm_rows_back(flat.T @ flattened(extent.before(hs))) if needs[4] else None,
            d_bias,
            d_bias,
        )
        if d_hs is None:
            return grads
        return *grads, flattened(d_hs).T @ flattened(unprojected) if needs[7] else None

    @staticmethod
    def composite(
        x: Tensor,
        h: Tensor,
        c: Tensor,
        *weights: Any,
        extent: Extent = FORWARD,
        cells: bool = False,
    ) -> tuple[Tensor, ...]:
        """Return the same on Tensors, step by step."""
        return unrolled(lstm_step, x, (h, c), weights, extent.counts, extent.reverse, cells)


class GRUFunction(Function):
    """Run r, z, n as in `gru_step`; h' = (1 - z) n + z h."""

    _title = "GRU"
    _trusted = True
    _fold = staticmethod(_fold(1))

    @staticmethod
    @quiet
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
        *,
        extent: Extent = FORWARD,
    ) -> tuple[Array, Array]:
        """Take x (T, N, I), h0 (N, H), w_ih (3H, I), w_hh (3H, H) to output (T, N, H) and h_n."""
        ctx.set_materialize_grads(False)
        ctx.extent = extent
        size = h0.shape[1]
        sign = np.repeat(np.array([-1, -1, 1], x.dtype), size)
        in_bias = None if b_ih is None else b_ih * sign
        gates = projected(x, w_ih * sign[:, None], in_bias, None)
        n_bias = NUMBERS[x.dtype][0]
        if b_hh is not None:
            # The reset gate multiplies the last third of this bias, so it cannot join the input's.
            gates[..., : 2 * size] -= b_hh[: 2 * size]
            n_bias = b_hh[2 * size :]
        hs = extent.slots(h0, x, size)
        inner, ns = [empty((*x.shape[:-1], size), x.dtype) for _ in range(2)]
        gru_forward(extent, gates, hs, inner, ns, w_hh * sign[:, None], n_bias)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, gates, inner, ns)
        return extent.after(hs), extent.last(hs)

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, *saved = ctx.saved_tensors
        extent, hs = ctx.extent, saved[0]
        size = hs.shape[-1]
        dh = start_from(d_last, extent.one(hs))
        # In the order n, r, z, inner: the gates as x meets them come first, as h meets them last.
        flat = flattened(gru_backward(extent, tuple(saved), w_hh, d_output, dh))
        needs = ctx.needs_input_grad
        of_x, of_h = flat[:, : 3 * size], flat[:, size:]
        d_bias = total(flat, (0,)) if any(needs[4:]) else None
        return (
            (of_x @ rolled(w_ih, 2 * size)).reshape(x.shape) if needs[0] else None,
            dh,
            rolled(of_x.T @ flattened(x), size) if needs[2] else None,
            of_h.T @ flattened(extent.before(hs)) if needs[3] else None,
            None if d_bias is None else rolled(d_bias[: 3 * size], size),
            None if d_bias is None else d_bias[size:],
        )

    @staticmethod
    def composite(
        x: Tensor, h: Tensor, *weights: Any, extent: Extent = FORWARD
    ) -> tuple[Tensor, ...]:
        """Return the same on Tensors, step by step."""
        return unrolled(gru_step, x, (h,), weights, extent.counts, extent.reverse)
