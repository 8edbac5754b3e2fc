"""Whole sequences as one Function each: RNN, LSTM and GRU.

T steps, N batch, I input size, H hidden size. x is (T, N, I), a state (N, H).

Forward: the input's part of all gates is one product; a step adds the state's part. What is kept of
a sigmoid is e = exp(-a), a its argument: sigmoid(a) = 1 / (1 + e) and 1 - sigmoid(a) = e / (1 + e)
keep their digits however far the gate is shut or open (rnn-26). The minus is put once, on the
weights. Backward: the local derivatives of many steps are computed at once, outside the loop that
runs back; what is left in it is one product and a few multiplications. Weight gradients are one
product over all steps.

Each Function has a `composite`, the same equations step by step on Tensors, for second derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from impl_numpy.dtypes import Array, Shape
from impl_numpy.function import Function
from impl_numpy.ops.elementwise import slope_of_tanh
from impl_numpy.recording import quiet
from impl_numpy.rnn.equations import RNN_STEPS, gru_step, lstm_step, unrolled
from impl_numpy.sums import total
from impl_numpy.tensor import Tensor

# So many elements of one gate are worked on at once in backward: they should stay in the cache.
CHUNK = 1 << 16


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
        steps = _projected(x, w_ih, b_ih, b_hh)
        hs = _states(h0, len(x))
        recurrent = w_hh.T
        for t, part in enumerate(steps):
            part += np.matmul(hs[t], recurrent, out=hs[t + 1])
            if nonlinearity == "tanh":
                np.tanh(part, out=hs[t + 1])
            else:
                np.maximum(part, 0, out=hs[t + 1])
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, steps if nonlinearity == "tanh" else None)
        return hs[1:], hs[-1].copy()

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, hs, arguments = ctx.saved_tensors
        d_gates = np.zeros_like(hs[1:]) if arguments is None else np.empty_like(hs[1:])
        dh = _start(d_last, hs[0])
        for start, stop in _chunks(hs[1:].shape):
            h = hs[start + 1 : stop + 1]
            local = ~(h <= 0) if arguments is None else slope_of_tanh(arguments[start:stop], h)
            for t in reversed(range(start, stop)):
                if d_output is not None:
                    dh += d_output[t]
                if arguments is None:
                    np.copyto(d_gates[t], dh, where=local[t - start])  # ops-26
                else:
                    np.multiply(dh, local[t - start], out=d_gates[t])
                np.matmul(d_gates[t], w_hh, out=dh)
        needs = ctx.needs_input_grad
        flat = _flat(d_gates)
        d_bias = total(flat, (0,)) if any(needs[4:]) else None
        return (
            (flat @ w_ih).reshape(x.shape) if needs[0] else None,
            dh,
            flat.T @ _flat(x) if needs[2] else None,
            flat.T @ _flat(hs[:-1]) if needs[3] else None,
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
        biases = [None if b is None else _lstm_rows(b, negate=True) for b in (b_ih, b_hh)]
        gates = _projected(x, _lstm_rows(w_ih, negate=True), *biases)
        recurrent = _lstm_rows(w_hh, negate=True).T
        hs, cs = _states(h0, len(x)), _states(c0, len(x))
        gs = np.empty_like(hs[1:])
        part = np.empty((len(h0), 4 * size), h0.dtype)
        scratch = np.empty(h0.shape, h0.dtype)
        below = np.empty((len(h0), 3 * size), h0.dtype)
        below_o, below_i, below_f = (below[:, k : k + size] for k in range(0, 3 * size, size))
        for t, (a, e, a_g, g) in enumerate(
            zip(gates, gates[:, :, : 3 * size], gates[:, :, 3 * size :], gs, strict=True)
        ):
            np.matmul(hs[t], recurrent, out=part)
            a += part
            np.add(np.exp(e, out=e), 1, out=below)
            np.tanh(a_g, out=g)
            c = np.divide(cs[t], below_f, out=cs[t + 1])
            c += np.divide(g, below_i, out=scratch)
            np.divide(np.tanh(c, out=scratch), below_o, out=hs[t + 1])
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, cs, gates, gs)
        return hs[1:], hs[-1].copy(), cs[-1].copy()

    @staticmethod
    def backward(
        ctx: Any, d_output: Array | None, d_h: Array | None, d_c: Array | None
    ) -> tuple[Any, ...]:
        """Return the gradients of x, h0, c0 and the weights."""
        x, w_ih, w_hh, hs, cs, gates, gs = ctx.saved_tensors
        steps, batch, size = hs[1:].shape
        rows = np.empty_like(gates)
        d_gates = rows.reshape(steps, batch, 4, size)
        recurrent = _lstm_rows(w_hh)
        dh, dc, scratch = _start(d_h, hs[0]), _start(d_c, cs[0]), np.empty_like(hs[0])
        for start, stop in _chunks(hs[1:].shape):
            e = np.minimum(gates[start:stop, :, : 3 * size], np.finfo(x.dtype).max)
            sigmoids, slopes = _sigmoids(e)
            slopes *= sigmoids
            o, i, f = _parts(sigmoids, size)
            d_o, d_i, d_f = _parts(slopes, size)
            after, g = cs[start + 1 : stop + 1], gs[start:stop]
            tanh_c = np.tanh(after)
            through = o * slope_of_tanh(after, tanh_c)
            local = np.empty((stop - start, batch, 4, size), x.dtype)
            np.multiply(tanh_c, d_o, out=local[:, :, 0])
            np.multiply(g, d_i, out=local[:, :, 1])
            np.multiply(cs[start:stop], d_f, out=local[:, :, 2])
            np.multiply(i, slope_of_tanh(gates[start:stop, :, 3 * size :], g), out=local[:, :, 3])
            for t in reversed(range(start, stop)):
                k = t - start
                if d_output is not None:
                    dh += d_output[t]
                dc += np.multiply(dh, through[k], out=scratch)
                np.multiply(dh, local[k, :, 0], out=d_gates[t, :, 0])
                np.multiply(dc[:, None], local[k, :, 1:], out=d_gates[t, :, 1:])
                dc *= f[k]
                np.matmul(rows[t], recurrent, out=dh)
        needs = ctx.needs_input_grad
        flat = _flat(rows)
        d_bias = _lstm_rows_back(total(flat, (0,))) if any(needs[5:]) else None
        return (
            (flat @ _lstm_rows(w_ih)).reshape(x.shape) if needs[0] else None,
            dh,
            dc,
            _lstm_rows_back(flat.T @ _flat(x)) if needs[3] else None,
            _lstm_rows_back(flat.T @ _flat(hs[:-1])) if needs[4] else None,
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
        gates = _projected(x, w_ih * sign[:, None], in_bias, None)
        n_bias: Any = 0
        if b_hh is not None:
            # The reset gate multiplies the last third of this bias, so it cannot join the input's.
            gates[:, :, : 2 * size] -= b_hh[: 2 * size]
            n_bias = b_hh[2 * size :]
        recurrent = (w_hh * sign[:, None]).T
        hs = _states(h0, len(x))
        inner, ns = np.empty_like(hs[1:]), np.empty_like(hs[1:])
        part = np.empty((len(h0), 3 * size), h0.dtype)
        scratch = np.empty(h0.shape, h0.dtype)
        part_rz, part_n = part[:, : 2 * size], part[:, 2 * size :]
        below = np.empty((len(h0), 2 * size), h0.dtype)
        below_r, below_z = below[:, :size], below[:, size:]
        _, e_z, a_n = _parts(gates, size)
        most = np.finfo(x.dtype).max
        for t, (e, of_z, a, hn, n) in enumerate(
            zip(gates[:, :, : 2 * size], e_z, a_n, inner, ns, strict=True)
        ):
            np.matmul(hs[t], recurrent, out=part)
            e += part_rz
            # Infinite, it would be divided by itself.
            np.minimum(np.exp(e, out=e), most, out=e)
            np.add(e, 1, out=below)
            np.add(part_n, n_bias, out=hn)
            a += np.divide(hn, below_r, out=scratch)
            h = np.multiply(of_z, np.tanh(a, out=n), out=hs[t + 1])
            h += hs[t]
            h /= below_z
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, gates, inner, ns)
        return hs[1:], hs[-1].copy()

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, hs, gates, inner, ns = ctx.saved_tensors
        steps, batch, size = hs[1:].shape
        # In the order n, r, z, inner: the gates as x meets them come first, as h meets them last.
        d_gates = np.empty((steps, batch, 4, size), x.dtype)
        rows = d_gates.reshape(steps, batch, 4 * size)
        dh, kept = _start(d_last, hs[0]), np.empty_like(hs[0])
        for start, stop in _chunks(hs[1:].shape):
            sigmoids, rest = _sigmoids(gates[start:stop, :, : 2 * size])
            r, z = _parts(sigmoids, size)
            n, slope = (
                ns[start:stop],
                slope_of_tanh(gates[start:stop, :, 2 * size :], ns[start:stop]),
            )
            local = np.empty((stop - start, batch, 4, size), x.dtype)
            d_n = np.multiply(rest[:, :, size:], slope, out=local[:, :, 0])
            np.multiply(d_n, r, out=local[:, :, 3])
            rest *= sigmoids
            np.multiply(d_n * inner[start:stop], rest[:, :, :size], out=local[:, :, 1])
            np.multiply(hs[start:stop] - n, rest[:, :, size:], out=local[:, :, 2])
            for t in reversed(range(start, stop)):
                if d_output is not None:
                    dh += d_output[t]
                np.multiply(dh[:, None], local[t - start], out=d_gates[t])
                np.multiply(dh, z[t - start], out=kept)
                np.matmul(rows[t, :, size:], w_hh, out=dh)
                dh += kept
        needs = ctx.needs_input_grad
        flat = _flat(rows)
        of_x, of_h = flat[:, : 3 * size], flat[:, size:]
        d_bias = total(flat, (0,)) if any(needs[4:]) else None
        return (
            (of_x @ _rolled(w_ih, 2 * size)).reshape(x.shape) if needs[0] else None,
            dh,
            _rolled(of_x.T @ _flat(x), size) if needs[2] else None,
            of_h.T @ _flat(hs[:-1]) if needs[3] else None,
            None if d_bias is None else _rolled(d_bias[: 3 * size], size),
            None if d_bias is None else d_bias[size:],
        )

    @staticmethod
    def composite(x: Tensor, h: Tensor, *weights: Any) -> tuple[Tensor, ...]:
        """Return the same on Tensors, step by step."""
        return unrolled(gru_step, x, (h,), weights)


def _projected(x: Array, w_ih: Array, b_ih: Array | None, b_hh: Array | None) -> Array:
    """Return the input's part of the gates, and the biases: (T, N, G H), a new array."""
    gates = (_flat(x) @ w_ih.T).reshape(*x.shape[:2], len(w_ih))
    if b_ih is not None:
        gates += b_ih if b_hh is None else b_ih + b_hh
    elif b_hh is not None:
        gates += b_hh
    return gates


def _states(first: Array, steps: int) -> Array:
    """Return room for the states before and after each step: (T + 1, N, H)."""
    states = np.empty((steps + 1, *first.shape), first.dtype)
    states[0] = first
    return states


def _start(grad: Array | None, like: Array) -> Array:
    """Return the gradient of the last state as an array to work in."""
    work = np.empty(like.shape, like.dtype)
    work[...] = 0 if grad is None else grad
    return work


def _chunks(shape: Shape) -> Iterator[tuple[int, int]]:
    """Yield ranges of steps from the last to the first."""
    steps, batch, size = shape
    length = max(1, CHUNK // max(1, batch * size))
    for stop in range(steps, 0, -length):
        yield max(0, stop - length), stop


def _parts(gates: Array, size: int) -> list[Array]:
    """Return one view a gate, from (T, N, G H)."""
    return [gates[:, :, k : k + size] for k in range(0, gates.shape[2], size)]


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def _sigmoids(e: Array) -> tuple[Array, Array]:
    """Return the sigmoids of arguments a, and 1 - sigmoid, from finite e = exp(-a)."""
    sigmoids = e + 1
    np.divide(1, sigmoids, out=sigmoids)
    return sigmoids, e * sigmoids


def _lstm_rows(w: Array, negate: bool = False) -> Array:
    """Return rows i, f, g, o as o, i, f, g: the sigmoids side by side, and what c' is made from.

    With `negate` those of the sigmoids change their sign.
    """
    size = len(w) // 4
    rows = _rolled(w, 3 * size)
    if negate:
        np.negative(rows[: 3 * size], out=rows[: 3 * size])
    return rows


def _lstm_rows_back(w: Array) -> Array:
    return _rolled(w, len(w) // 4)


def _rolled(w: Array, first: int) -> Array:
    """Return the rows from one on, and then those before it."""
    return np.concatenate([w[first:], w[:first]])
