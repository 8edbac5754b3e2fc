"""Whole sequences as one Function each: RNN, LSTM and GRU.

T steps, N batch, I input size, H hidden size. x is (T, N, I), a state (N, H).

Forward: the input's part of all gates is one product; a step adds the state's part. What is kept of
a sigmoid is e = exp(-a), a its argument: sigmoid(a) = 1 / (1 + e) and 1 - sigmoid(a) = e / (1 + e)
keep their digits however far the gate is shut or open (rnn-26). The minus is put once, on the
weights. Backward: the local derivatives of many steps are computed at once, outside the loop that
runs back; what is left in it is one product and a few multiplications. Weight gradients are one
product over all steps.

Of a short step the calls are the cost, so the loops go over lists of views that were made before,
give `out` by position, add numbers as arrays (a Python number costs more than the sum), and take a
batch of one without its axis.

Ownership: what a forward saves and returns lies in memory of its own (`buffers`), which is used
again only after the graph and the caller have let go of it; so does what a backward works in. Of
the arguments nothing is written. Of one call, h before and after a step are neighbours in one
array, and so are c (and the g beside it) in another: the output is a view of the first.

Each Function has a `composite`, the same equations step by step on Tensors, for second derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.buffers import empty
from impl_numpy.dtypes import Array
from impl_numpy.function import Function
from impl_numpy.ops.elementwise import slope_of_tanh
from impl_numpy.recording import quiet
from impl_numpy.rnn.equations import RNN_STEPS, gru_step, lstm_step, unrolled
from impl_numpy.rnn.steps import (
    NUMBERS,
    alone,
    backwards,
    chunked,
    flattened,
    gru_local,
    incoming_of,
    largest,
    lstm_local,
    lstm_rows,
    lstm_rows_back,
    parts_of,
    product_for,
    projected,
    rolled,
    slots,
    split,
    start_from,
    views_of,
)
from impl_numpy.sums import total
from impl_numpy.tensor import Tensor

_add, _multiply, _divide, _tanh, _exp = np.add, np.multiply, np.divide, np.tanh, np.exp


class RNNFunction(Function):
    """Run h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu."""

    _title = "RNN"
    _trusted = True

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
    ) -> tuple[Array, Array]:
        """Take x (T, N, I), h0 (N, H), w_ih (H, I), w_hh (H, H) to output (T, N, H), h_n (N, H)."""
        ctx.set_materialize_grads(False)
        arguments = projected(x, w_ih, b_ih, b_hh)
        hs = slots(h0, len(x))
        recurrent, product = np.ascontiguousarray(w_hh.T), product_for(h0)
        zero = NUMBERS[x.dtype][0]
        views = views_of(hs)
        for h, a, after in zip(views[:-1], views_of(arguments), views[1:], strict=True):
            _add(a, product(h, recurrent, after), a)
            if nonlinearity == "tanh":
                _tanh(a, after)
            else:
                np.maximum(a, zero, out=after)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, arguments if nonlinearity == "tanh" else None)
        return hs[1:], hs[-1].copy()

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, hs, arguments = ctx.saved_tensors
        d_gates = empty(hs[1:].shape, x.dtype)
        if arguments is None:
            d_gates[...] = 0
        dh, product = start_from(d_last, hs[0]), product_for(hs[0])
        incoming = incoming_of(d_output, hs[1:])
        work = alone(dh)
        for start, stop in chunked(d_gates.shape):
            h = hs[start + 1 : stop + 1]
            local = ~(h <= 0) if arguments is None else slope_of_tanh(arguments[start:stop], h)
            for d_out, part, d_gate in backwards(incoming[start:stop], local, d_gates[start:stop]):
                _add(work, d_out, work)
                if arguments is None:
                    np.copyto(d_gate, work, where=part)  # ops-26
                else:
                    _multiply(work, part, d_gate)
                product(d_gate, w_hh, work)
        needs = ctx.needs_input_grad
        flat = flattened(d_gates)
        d_bias = total(flat, (0,)) if any(needs[4:]) else None
        return (
            (flat @ w_ih).reshape(x.shape) if needs[0] else None,
            dh,
            flat.T @ flattened(x) if needs[2] else None,
            flat.T @ flattened(hs[:-1]) if needs[3] else None,
            d_bias,
            d_bias,
        )

    @staticmethod
    def composite(x: Tensor, h: Tensor, *weights: Any, nonlinearity: str) -> tuple[Tensor, ...]:
        """Return the same on Tensors, step by step."""
        return unrolled(RNN_STEPS[nonlinearity], x, (h,), weights)


class LSTMFunction(Function):
    """Run i, f, g, o as in `lstm_step`; c' = f c + i g; h' = o tanh(c')."""

    _title = "LSTM"
    _trusted = True

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
    ) -> tuple[Array, Array, Array]:
        """Take x (T, N, I), states (N, H), w_ih (4H, I), w_hh (4H, H) to output, h_n, c_n."""
        ctx.set_materialize_grads(False)
        size = h0.shape[1]
        biases = [None if b is None else lstm_rows(b, negate=True) for b in (b_ih, b_hh)]
        gates = projected(x, lstm_rows(w_ih, negate=True), *biases)
        recurrent = np.ascontiguousarray(lstm_rows(w_hh, negate=True).T)
        product, one = product_for(h0), NUMBERS[x.dtype][1]
        hs = slots(h0, len(x))
        # c before a step, and g beside it: what f and i are multiplied by.
        cgs = empty((len(x) + 1, len(h0), 2 * size), x.dtype)
        cgs[0, :, :size] = c0
        part, below, terms = (alone(empty((len(h0), k * size), x.dtype)) for k in (4, 3, 2))
        (below_o, below_fi), (of_f, of_i) = split(below, size), split(terms, size)
        scratch = np.empty_like(of_f)
        h_views, cg_views = views_of(hs), views_of(cgs)
        c_views, g_views = views_of(cgs[:, :, :size]), views_of(cgs[:, :, size:])
        for h, a, e, a_g, cg, g, c_after, h_after in zip(
            h_views[:-1],
            views_of(gates),
            views_of(gates[:, :, : 3 * size]),
            views_of(gates[:, :, 3 * size :]),
            cg_views[:-1],
            g_views[:-1],
            c_views[1:],
            h_views[1:],
            strict=True,
        ):
            _add(a, product(h, recurrent, part), a)
            _add(_exp(e, e), one, below)
            _tanh(a_g, g)
            _divide(cg, below_fi, terms)
            _add(of_f, of_i, c_after)
            _divide(_tanh(c_after, scratch), below_o, h_after)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, cgs, gates)
        return hs[1:], hs[-1].copy(), cgs[-1, :, :size].copy()

    @staticmethod
    def backward(
        ctx: Any, d_output: Array | None, d_h: Array | None, d_c: Array | None
    ) -> tuple[Any, ...]:
        """Return the gradients of x, h0, c0 and the weights."""
        x, w_ih, w_hh, hs, cgs, gates = ctx.saved_tensors
        size = hs.shape[2]
        rows = empty(gates.shape, x.dtype)
        recurrent, product = lstm_rows(w_hh), product_for(hs[0])
        dh, dc = start_from(d_h, hs[0]), start_from(d_c, hs[0])
        incoming = incoming_of(d_output, hs[1:])
        d_h_work, d_c_work, scratch = alone(dh), alone(dc), alone(np.empty_like(dh))
        d_c_thrice = d_c_work[..., None, :]
        chunks = list(chunked(hs[1:].shape))
        longest = max([stop - start for start, stop in chunks], default=0)
        work = [empty((n, longest, len(dh), k * size), x.dtype) for n, k in ((3, 3), (2, 1))]
        for start, stop in chunks:
            local = lstm_local(gates[start:stop], cgs[start : stop + 1], *work)
            part = rows[start:stop]
            d_gates = part.reshape(*part.shape[:2], 4, size)
            for d_out, row, d_o, d_fig, l_o, through, l_fig, f in backwards(
                incoming[start:stop], part, d_gates[:, :, 0], d_gates[:, :, 1:], *local
            ):
                _add(d_h_work, d_out, d_h_work)
                _multiply(d_h_work, l_o, d_o)
                _add(d_c_work, _multiply(d_h_work, through, scratch), d_c_work)
                _multiply(d_c_thrice, l_fig, d_fig)
                _multiply(d_c_work, f, d_c_work)
                product(row, recurrent, d_h_work)
        needs = ctx.needs_input_grad
        flat = flattened(rows)
        d_bias = lstm_rows_back(total(flat, (0,))) if any(needs[5:]) else None
        return (
            (flat @ lstm_rows(w_ih)).reshape(x.shape) if needs[0] else None,
            dh,
            dc,
            lstm_rows_back(flat.T @ flattened(x)) if needs[3] else None,
            lstm_rows_back(flat.T @ flattened(hs[:-1])) if needs[4] else None,
            d_bias,
            d_bias,
        )

    @staticmethod
    def composite(x: Tensor, h: Tensor, c: Tensor, *weights: Any) -> tuple[Tensor, ...]:
        """Return the same on Tensors, step by step."""
        return unrolled(lstm_step, x, (h, c), weights)


class GRUFunction(Function):
    """Run r, z, n as in `gru_step`; h' = (1 - z) n + z h."""

    _title = "GRU"
    _trusted = True

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
    ) -> tuple[Array, Array]:
        """Take x (T, N, I), h0 (N, H), w_ih (3H, I), w_hh (3H, H) to output (T, N, H) and h_n."""
        ctx.set_materialize_grads(False)
        size = h0.shape[1]
        sign = np.repeat(np.array([-1, -1, 1], x.dtype), size)
        in_bias = None if b_ih is None else b_ih * sign
        gates = projected(x, w_ih * sign[:, None], in_bias, None)
        n_bias, one = NUMBERS[x.dtype]
        if b_hh is not None:
            # The reset gate multiplies the last third of this bias, so it cannot join the input's.
            gates[:, :, : 2 * size] -= b_hh[: 2 * size]
            n_bias = b_hh[2 * size :]
        recurrent, product = np.ascontiguousarray((w_hh * sign[:, None]).T), product_for(h0)
        hs = slots(h0, len(x))
        inner, ns = empty(hs[1:].shape, x.dtype), empty(hs[1:].shape, x.dtype)
        part, below = (alone(empty((len(h0), k * size), x.dtype)) for k in (3, 2))
        (part_rz, part_n), (below_r, below_z) = split(part, 2 * size), split(below, size)
        scratch = np.empty_like(below_r)
        most = largest(len(h0), 2 * size, x.dtype)
        views = views_of(hs)
        for h, e, of_z, a, hn, n, after in zip(
            views[:-1],
            views_of(gates[:, :, : 2 * size]),
            *[views_of(gate) for gate in parts_of(gates, size)[1:]],
            views_of(inner),
            views_of(ns),
            views[1:],
            strict=True,
        ):
            product(h, recurrent, part)
            _add(e, part_rz, e)
            # Infinite, it would be divided by itself.
            np.minimum(_exp(e, e), most, out=e)
            _add(e, one, below)
            _add(part_n, n_bias, hn)
            _add(a, _divide(hn, below_r, scratch), a)
            _multiply(of_z, _tanh(a, n), after)
            _add(after, h, after)
            _divide(after, below_z, after)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, gates, inner, ns)
        return hs[1:], hs[-1].copy()

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, hs, gates, inner, ns = ctx.saved_tensors
        steps, batch, size = hs[1:].shape
        # In the order n, r, z, inner: the gates as x meets them come first, as h meets them last.
        rows = empty((steps, batch, 4 * size), x.dtype)
        dh, kept = start_from(d_last, hs[0]), alone(np.empty_like(hs[0]))
        d_h_work, product = alone(dh), product_for(hs[0])
        incoming = incoming_of(d_output, hs[1:])
        chunks = list(chunked(hs[1:].shape))
        longest = max([stop - start for start, stop in chunks], default=0)
        work = [empty((n, longest, batch, k * size), x.dtype) for n, k in ((2, 2), (4, 1))]
        for start, stop in chunks:
            saved = [kept_of[start:stop] for kept_of in (gates, hs, inner, ns)]
            local = gru_local(*saved, *work)
            part = rows[start:stop]
            for d_out, row_h, r_n, r_r, r_z, r_hn, l_n, l_r, l_z, l_hn, z in backwards(
                incoming[start:stop], part[:, :, size:], *parts_of(part, size), *local
            ):
                _add(d_h_work, d_out, d_h_work)
                _multiply(d_h_work, l_n, r_n)
                _multiply(d_h_work, l_r, r_r)
                _multiply(d_h_work, l_z, r_z)
                _multiply(d_h_work, l_hn, r_hn)
                _multiply(d_h_work, z, kept)
                _add(product(row_h, w_hh, d_h_work), kept, d_h_work)
        needs = ctx.needs_input_grad
        flat = flattened(rows)
        of_x, of_h = flat[:, : 3 * size], flat[:, size:]
        d_bias = total(flat, (0,)) if any(needs[4:]) else None
        return (
            (of_x @ rolled(w_ih, 2 * size)).reshape(x.shape) if needs[0] else None,
            dh,
            rolled(of_x.T @ flattened(x), size) if needs[2] else None,
            of_h.T @ flattened(hs[:-1]) if needs[3] else None,
            None if d_bias is None else rolled(d_bias[: 3 * size], size),
            None if d_bias is None else d_bias[size:],
        )

    @staticmethod
    def composite(x: Tensor, h: Tensor, *weights: Any) -> tuple[Tensor, ...]:
        """Return the same on Tensors, step by step."""
        return unrolled(gru_step, x, (h,), weights)
