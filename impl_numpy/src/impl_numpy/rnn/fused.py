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

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from impl_numpy.buffers import empty
from impl_numpy.dtypes import Array, Shape, float32, float64
from impl_numpy.function import Function
from impl_numpy.ops.elementwise import cosh, slope_of_tanh
from impl_numpy.recording import quiet
from impl_numpy.rnn.equations import RNN_STEPS, gru_step, lstm_step, unrolled
from impl_numpy.sums import total
from impl_numpy.tensor import Tensor

# So many elements of one gate are worked on at once in backward: they should stay in the cache.
CHUNK = 1 << 13
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
        arguments = _projected(x, w_ih, b_ih, b_hh)
        hs = _states(h0, len(x))
        recurrent, product = np.ascontiguousarray(w_hh.T), _product(h0)
        zero = _NUMBERS[x.dtype][0]
        views = _views(hs)
        for h, a, after in zip(views[:-1], _views(arguments), views[1:], strict=True):
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
        dh, product = _start(d_last, hs[0]), _product(hs[0])
        incoming = _incoming(d_output, hs[1:])
        work = _alone(dh)
        for start, stop in _chunks(d_gates.shape):
            h = hs[start + 1 : stop + 1]
            local = ~(h <= 0) if arguments is None else slope_of_tanh(arguments[start:stop], h)
            for d_out, part, d_gate in _backwards(incoming[start:stop], local, d_gates[start:stop]):
                _add(work, d_out, work)
                if arguments is None:
                    np.copyto(d_gate, work, where=part)  # ops-26
                else:
                    _multiply(work, part, d_gate)
                product(d_gate, w_hh, work)
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
        recurrent = np.ascontiguousarray(_lstm_rows(w_hh, negate=True).T)
        product, one = _product(h0), _NUMBERS[x.dtype][1]
        hs = _states(h0, len(x))
        # c before a step, and g beside it: what f and i are multiplied by.
        cgs = empty((len(x) + 1, len(h0), 2 * size), x.dtype)
        cgs[0, :, :size] = c0
        part, below, terms = (_alone(empty((len(h0), k * size), x.dtype)) for k in (4, 3, 2))
        (below_o, below_fi), (of_f, of_i) = _split(below, size), _split(terms, size)
        scratch = np.empty_like(of_f)
        h_views, cg_views = _views(hs), _views(cgs)
        c_views, g_views = _views(cgs[:, :, :size]), _views(cgs[:, :, size:])
        for h, a, e, a_g, cg, g, c_after, h_after in zip(
            h_views[:-1],
            _views(gates),
            _views(gates[:, :, : 3 * size]),
            _views(gates[:, :, 3 * size :]),
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
        recurrent, product = _lstm_rows(w_hh), _product(hs[0])
        dh, dc = _start(d_h, hs[0]), _start(d_c, hs[0])
        incoming = _incoming(d_output, hs[1:])
        d_h_work, d_c_work, scratch = _alone(dh), _alone(dc), _alone(np.empty_like(dh))
        d_c_thrice = d_c_work[..., None, :]
        chunks = list(_chunks(hs[1:].shape))
        longest = max([stop - start for start, stop in chunks], default=0)
        work = [empty((n, longest, len(dh), k * size), x.dtype) for n, k in ((3, 3), (2, 1))]
        for start, stop in chunks:
            local = _lstm_local(gates[start:stop], cgs[start : stop + 1], *work)
            part = rows[start:stop]
            d_gates = part.reshape(*part.shape[:2], 4, size)
            for d_out, row, d_o, d_fig, l_o, through, l_fig, f in _backwards(
                incoming[start:stop], part, d_gates[:, :, 0], d_gates[:, :, 1:], *local
            ):
                _add(d_h_work, d_out, d_h_work)
                _multiply(d_h_work, l_o, d_o)
                _add(d_c_work, _multiply(d_h_work, through, scratch), d_c_work)
                _multiply(d_c_thrice, l_fig, d_fig)
                _multiply(d_c_work, f, d_c_work)
                product(row, recurrent, d_h_work)
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
        n_bias, one = _NUMBERS[x.dtype]
        if b_hh is not None:
            # The reset gate multiplies the last third of this bias, so it cannot join the input's.
            gates[:, :, : 2 * size] -= b_hh[: 2 * size]
            n_bias = b_hh[2 * size :]
        recurrent, product = np.ascontiguousarray((w_hh * sign[:, None]).T), _product(h0)
        hs = _states(h0, len(x))
        inner, ns = empty(hs[1:].shape, x.dtype), empty(hs[1:].shape, x.dtype)
        part, below = (_alone(empty((len(h0), k * size), x.dtype)) for k in (3, 2))
        (part_rz, part_n), (below_r, below_z) = _split(part, 2 * size), _split(below, size)
        scratch = np.empty_like(below_r)
        most = _most(len(h0), 2 * size, x.dtype)
        views = _views(hs)
        for h, e, of_z, a, hn, n, after in zip(
            views[:-1],
            _views(gates[:, :, : 2 * size]),
            *[_views(gate) for gate in _parts(gates, size)[1:]],
            _views(inner),
            _views(ns),
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
        dh, kept = _start(d_last, hs[0]), _alone(np.empty_like(hs[0]))
        d_h_work, product = _alone(dh), _product(hs[0])
        incoming = _incoming(d_output, hs[1:])
        chunks = list(_chunks(hs[1:].shape))
        longest = max([stop - start for start, stop in chunks], default=0)
        work = [empty((n, longest, batch, k * size), x.dtype) for n, k in ((2, 2), (4, 1))]
        for start, stop in chunks:
            saved = [kept_of[start:stop] for kept_of in (gates, hs, inner, ns)]
            local = _gru_local(*saved, *work)
            part = rows[start:stop]
            for d_out, row_h, r_n, r_r, r_z, r_hn, l_n, l_r, l_z, l_hn, z in _backwards(
                incoming[start:stop], part[:, :, size:], *_parts(part, size), *local
            ):
                _add(d_h_work, d_out, d_h_work)
                _multiply(d_h_work, l_n, r_n)
                _multiply(d_h_work, l_r, r_r)
                _multiply(d_h_work, l_z, r_z)
                _multiply(d_h_work, l_hn, r_hn)
                _multiply(d_h_work, z, kept)
                _add(product(row_h, w_hh, d_h_work), kept, d_h_work)
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
    gates = empty((*x.shape[:2], len(w_ih)), x.dtype)
    np.matmul(_flat(x), w_ih.T, out=_flat(gates))
    if b_ih is not None:
        gates += b_ih if b_hh is None else b_ih + b_hh
    elif b_hh is not None:
        gates += b_hh
    return gates


def _states(first: Array, steps: int) -> Array:
    """Return room for the states before and after each step: (T + 1, N, H)."""
    states = empty((steps + 1, *first.shape), first.dtype)
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


def _alone(x: Array) -> Array:
    """Return what a step works in: (N, ...), or of a batch of one the only row."""
    return x[0] if len(x) == 1 else x


def _views(x: Array) -> list[Array]:
    """Return what `_alone` would of each step of (T, N, ...)."""
    return list(x[:, 0] if x.shape[1] == 1 else x)


def _split(x: Array, size: int) -> tuple[Array, Array]:
    return x[..., :size], x[..., size:]


def _product(h: Array) -> Callable[..., Array]:
    """Return what multiplies a state by a matrix: for a vector `np.dot` has less to look at."""
    return np.dot if len(h) == 1 else np.matmul


def _incoming(d_output: Array | None, like: Array) -> Array:
    """Return zeros where no gradient of the outputs came: one for each step."""
    return np.zeros((len(like), 1, 1), like.dtype) if d_output is None else d_output


def _backwards(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yield what several sequences have of each step, from the last to the first."""
    return zip(*[reversed(_views(x)) for x in arrays], strict=True)


def _lstm_local(gates: Array, cgs: Array, wide: Array, narrow: Array) -> tuple[Array, ...]:
    """Return the local derivatives of some steps, computed in the last two arguments.

    Those of o by h; of c by h; of f, i and g by c, (T, N, 3, H); and f, that of c by the c before.
    """
    steps, batch, size = narrow[0, : len(gates)].shape
    e, sigmoids, l_fig = wide[:, :steps]
    np.minimum(gates[:, :, : 3 * size], _most(batch, 3 * size, e.dtype), out=e)
    one = _NUMBERS[e.dtype][1]
    _divide(one, _add(e, one, sigmoids), sigmoids)
    _multiply(_multiply(e, sigmoids, e), sigmoids, e)
    (o, f, i), (d_o, d_f, d_i) = _parts(sigmoids, size), _parts(e, size)
    l_o, through = narrow[:, :steps]
    (c, g), after = _split(cgs[:-1], size), cgs[1:, :, :size]
    _times_slope(o, after, _tanh(after, l_o), through)
    _multiply(l_o, d_o, l_o)
    l_f, l_i, l_g = _parts(l_fig, size)
    _multiply(c, d_f, l_f)
    _multiply(g, d_i, l_i)
    _times_slope(i, gates[:, :, 3 * size :], g, l_g)
    return l_o, through, l_fig.reshape(steps, batch, 3, size), f


def _gru_local(
    gates: Array, hs: Array, inner: Array, n: Array, wide: Array, narrow: Array
) -> tuple[Array, ...]:
    """Return the local derivatives of some steps, computed in the last two arguments.

    Those of n, r, z and of the state's part of n by h; and z, that of h by the h before.
    """
    size, steps = gates.shape[2] // 3, len(gates)
    sigmoids, rest = wide[:, :steps]
    e, one = gates[:, :, : 2 * size], _NUMBERS[wide.dtype][1]
    _divide(one, _add(e, one, sigmoids), sigmoids)
    _multiply(e, sigmoids, rest)
    (r, z), (l_n, l_r, l_z, l_hn) = _parts(sigmoids, size), narrow[:, :steps]
    _times_slope(rest[:, :, size:], gates[:, :, 2 * size :], n, l_n)
    _multiply(l_n, r, l_hn)
    d_r, d_z = _parts(_multiply(rest, sigmoids, rest), size)
    _multiply(_multiply(l_n, inner, l_r), d_r, l_r)
    _multiply(np.subtract(hs, n, l_z), d_z, l_z)
    return l_n, l_r, l_z, l_hn, z


def _times_slope(factor: Array, x: Array, y: Array, out: Array) -> None:
    """Write a factor times the slope of tanh at x, where y = tanh(x)."""
    if out.dtype == float32:
        # As in `slope_of_tanh`, with one operation less.
        cosh(x, out)
        _divide(factor, np.square(out, out), out)
    else:
        _multiply(factor, slope_of_tanh(x, y), out)


# 0 and 1 as arrays, and the largest finite number.
_NUMBERS = {dtype: (np.zeros((), dtype), np.ones((), dtype)) for dtype in (float32, float64)}
_MOST = {dtype: np.array(np.finfo(dtype).max) for dtype in (float32, float64)}


def _most(batch: int, size: int, dtype: np.dtype[Any]) -> Array:
    """Return the largest number; for rows as a row, with which a minimum takes half the time."""
    return _MOST[dtype] if batch == 1 else np.full(size, _MOST[dtype])


def _lstm_rows(w: Array, negate: bool = False) -> Array:
    """Return rows i, f, g, o as o, f, i, g: the sigmoids side by side, and what c' is made from.

    With `negate` those of the sigmoids change their sign.
    """
    gates = w.reshape(4, -1)[[3, 1, 0, 2]]
    if negate:
        np.negative(gates[:3], gates[:3])
    return gates.reshape(w.shape)


def _lstm_rows_back(w: Array) -> Array:
    return w.reshape(4, -1)[[2, 1, 3, 0]].reshape(w.shape)


def _rolled(w: Array, first: int) -> Array:
    """Return the rows from one on, and then those before it."""
    return np.concatenate([w[first:], w[:first]])
