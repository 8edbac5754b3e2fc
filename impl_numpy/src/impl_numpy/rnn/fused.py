"""Whole sequences as one Function each: RNN, LSTM and GRU.

T steps, N batch, I input size, H hidden size. x is (T, N, I), a state (N, H).

Forward: the input's part of all gates is one product; a step adds the state's part and applies one
tanh to all gates, since sigmoid(a) = tanh(a / 2) / 2 + 1 / 2 and the halving is done once, on the
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
from impl_numpy.rnn.equations import RNN_STEPS, gru_step, lstm_step, unrolled
from impl_numpy.tensor import Tensor

# So many elements of one gate are worked on at once in backward: they should stay in the cache.
CHUNK = 1 << 16


class RNNFunction(Function):
    """Run h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu."""

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
        nonlinearity: str,
    ) -> tuple[Array, Array]:
        """Take x (T, N, I), h0 (N, H), w_ih (H, I), w_hh (H, H) to output (T, N, H), h_n (N, H)."""
        ctx.set_materialize_grads(False)
        steps = _projected(x, w_ih, b_ih, b_hh)
        hs = _states(h0, len(x))
        recurrent = w_hh.T
        for t, part in enumerate(steps):
            h = np.matmul(hs[t], recurrent, out=hs[t + 1])
            h += part
            if nonlinearity == "tanh":
                np.tanh(h, out=h)
            else:
                np.maximum(h, 0, out=h)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs)
            ctx.nonlinearity = nonlinearity
        return hs[1:], hs[-1].copy()

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, hs = ctx.saved_tensors
        d_gates = np.empty_like(hs[1:])
        dh = _start(d_last, hs[0])
        for start, stop in _chunks(hs[1:].shape):
            h = hs[start + 1 : stop + 1]
            local = 1 - h * h if ctx.nonlinearity == "tanh" else (h > 0).astype(h.dtype)
            for t in reversed(range(start, stop)):
                if d_output is not None:
                    dh += d_output[t]
                np.multiply(dh, local[t - start], out=d_gates[t])
                np.matmul(d_gates[t], w_hh, out=dh)
        needs = ctx.needs_input_grad
        flat = _flat(d_gates)
        d_bias = _summed(d_gates) if any(needs[4:]) else None
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
        """Take x (T, N, I), states (N, H), w_ih (4H, I), w_hh (4H, H) to output, h_n, c_n."""
        ctx.set_materialize_grads(False)
        size = h0.shape[1]
        biases = [None if b is None else _lstm_rows(b, half=True) for b in (b_ih, b_hh)]
        gates = _projected(x, _lstm_rows(w_ih, half=True), *biases)
        recurrent = _lstm_rows(w_hh, half=True).T
        hs, cs = _states(h0, len(x)), _states(c0, len(x))
        part = np.empty((len(h0), 4 * size), h0.dtype)
        scratch = np.empty(h0.shape, h0.dtype)
        sigmoids = gates[:, :, : 3 * size]
        for t, (a, s, o, i, f, g) in enumerate(
            zip(gates, sigmoids, *_parts(gates, size), strict=True)
        ):
            np.matmul(hs[t], recurrent, out=part)
            a += part
            np.tanh(a, out=a)
            s *= 0.5
            s += 0.5
            c = np.multiply(f, cs[t], out=cs[t + 1])
            c += np.multiply(i, g, out=scratch)
            np.multiply(o, np.tanh(c, out=scratch), out=hs[t + 1])
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, cs, gates)
        return hs[1:], hs[-1].copy(), cs[-1].copy()

    @staticmethod
    def backward(
        ctx: Any, d_output: Array | None, d_h: Array | None, d_c: Array | None
    ) -> tuple[Any, ...]:
        """Return the gradients of x, h0, c0 and the weights."""
        x, w_ih, w_hh, hs, cs, gates = ctx.saved_tensors
        steps, batch, size = hs[1:].shape
        rows = np.empty_like(gates)
        d_gates = rows.reshape(steps, batch, 4, size)
        recurrent = _lstm_rows(w_hh)
        dh, dc, scratch = _start(d_h, hs[0]), _start(d_c, cs[0]), np.empty_like(hs[0])
        for start, stop in _chunks(hs[1:].shape):
            o, i, f, g = _parts(gates[start:stop], size)
            tanh_c = np.tanh(cs[start + 1 : stop + 1])
            through = o * (1 - tanh_c * tanh_c)
            local = np.empty((stop - start, batch, 4, size), x.dtype)
            np.multiply(tanh_c * o, 1 - o, out=local[:, :, 0])
            np.multiply(g * i, 1 - i, out=local[:, :, 1])
            np.multiply(cs[start:stop] * f, 1 - f, out=local[:, :, 2])
            np.multiply(i, 1 - g * g, out=local[:, :, 3])
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
        d_bias = _lstm_rows_back(_summed(rows)) if any(needs[5:]) else None
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
        """Take x (T, N, I), h0 (N, H), w_ih (3H, I), w_hh (3H, H) to output (T, N, H) and h_n."""
        ctx.set_materialize_grads(False)
        size = h0.shape[1]
        half = np.repeat(np.array([0.5, 0.5, 1], x.dtype), size)
        in_bias = None if b_ih is None else b_ih * half
        gates = _projected(x, w_ih * half[:, None], in_bias, None)
        n_bias: Any = 0
        if b_hh is not None:
            # The reset gate multiplies the last third of this bias, so it cannot join the input's.
            gates[:, :, : 2 * size] += b_hh[: 2 * size] * 0.5
            n_bias = b_hh[2 * size :]
        recurrent = (w_hh * half[:, None]).T
        hs = _states(h0, len(x))
        inner = np.empty_like(hs[1:])
        part = np.empty((len(h0), 3 * size), h0.dtype)
        scratch = np.empty(h0.shape, h0.dtype)
        part_rz, part_n = part[:, : 2 * size], part[:, 2 * size :]
        sigmoids = gates[:, :, : 2 * size]
        for t, (s, r, z, n, hn) in enumerate(
            zip(sigmoids, *_parts(gates, size), inner, strict=True)
        ):
            np.matmul(hs[t], recurrent, out=part)
            s += part_rz
            np.tanh(s, out=s)
            s *= 0.5
            s += 0.5
            np.add(part_n, n_bias, out=hn)
            n += np.multiply(r, hn, out=scratch)
            np.tanh(n, out=n)
            h = np.subtract(hs[t], n, out=hs[t + 1])
            h *= z
            h += n
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, w_ih, w_hh, hs, gates, inner)
        return hs[1:], hs[-1].copy()

    @staticmethod
    def backward(ctx: Any, d_output: Array | None, d_last: Array | None) -> tuple[Any, ...]:
        """Return the gradients of x, h0 and the weights."""
        x, w_ih, w_hh, hs, gates, inner = ctx.saved_tensors
        steps, batch, size = hs[1:].shape
        # In the order n, r, z, inner: the gates as x meets them come first, as h meets them last.
        d_gates = np.empty((steps, batch, 4, size), x.dtype)
        rows = d_gates.reshape(steps, batch, 4 * size)
        dh, kept = _start(d_last, hs[0]), np.empty_like(hs[0])
        for start, stop in _chunks(hs[1:].shape):
            r, z, n = _parts(gates[start:stop], size)
            local = np.empty((stop - start, batch, 4, size), x.dtype)
            d_n = np.multiply(1 - z, 1 - n * n, out=local[:, :, 0])
            d_inner = np.multiply(d_n, r, out=local[:, :, 3])
            np.multiply(d_inner * inner[start:stop], 1 - r, out=local[:, :, 1])
            np.multiply((hs[start:stop] - n) * z, 1 - z, out=local[:, :, 2])
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
        d_bias = _summed(rows) if any(needs[4:]) else None
        return (
            (of_x @ np.roll(w_ih, size, axis=0)).reshape(x.shape) if needs[0] else None,
            dh,
            np.roll(of_x.T @ _flat(x), -size, axis=0) if needs[2] else None,
            of_h.T @ _flat(hs[:-1]) if needs[3] else None,
            None if d_bias is None else np.roll(d_bias[: 3 * size], -size),
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
        gates += b_ih
    if b_hh is not None:
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


def _summed(d_gates: Array) -> Array:
    # In two stages: one running sum over all T N rows would lose digits.
    return d_gates.sum(axis=1).sum(axis=0)


def _lstm_rows(w: Array, half: bool = False) -> Array:
    """Return rows i, f, g, o as o, i, f, g: the sigmoids side by side, and what c' is made from.

    With `half` those of the sigmoids are halved.
    """
    i, f, g, o = np.split(w, 4)
    rows = np.concatenate([o, i, f, g])
    if half:
        rows[: 3 * len(i)] *= 0.5
    return rows


def _lstm_rows_back(w: Array) -> Array:
    o, i, f, g = np.split(w, 4)
    return np.concatenate([i, f, g, o])
