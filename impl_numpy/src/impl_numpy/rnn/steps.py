"""The arithmetic of a sequence's steps, on raw arrays: what the fused Functions are made of.

T steps, N batch, I input size, H hidden size, P size of a projected hidden state, G gates. x and
what is like it is (T, N, ...), or (R, ...) where lengths differ: an `Extent` says which rows belong
to a step, and in which direction the steps are taken (`lengths`).

Of a short step the calls are the cost, so the loops go over lists of views that were made before,
give `out` by position, add numbers as arrays (a Python number costs more than the sum), and take a
batch of one without its axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from impl_numpy.buffers import empty
from impl_numpy.dtypes import Array, float32, float64
from impl_numpy.ops.elementwise import cosh, slope_of_tanh
from impl_numpy.rnn.lengths import Extent

_add, _multiply, _divide, _tanh, _exp = np.add, np.multiply, np.divide, np.tanh, np.exp


def rnn_forward(
    extent: Extent, arguments: Array, hs: Array, w_hh: Array, nonlinearity: str
) -> None:
    """Take all steps: complete the arguments, which have the input's part, and the states."""
    recurrent, product = np.ascontiguousarray(w_hh.T), _product(extent.one(hs))
    zero = NUMBERS[hs.dtype][0]
    befores, afters = extent.sides(hs)
    for _, steps in extent.runs(befores, extent.views(arguments), afters):
        for h, a, after in steps:
            _add(a, product(h, recurrent, after), a)
            if nonlinearity == "tanh":
                _tanh(a, after)
            else:
                np.maximum(a, zero, out=after)


def rnn_backward(
    extent: Extent,
    saved: tuple[Array, Array | None],
    w_hh: Array,
    d_output: Array | None,
    dh: Array,
    d_gates: Array,
) -> None:
    """Write the gradient of the arguments; make that of the last states that of the first ones."""
    hs, arguments = saved
    if arguments is None:
        d_gates[...] = 0
    product, incoming, whole = _product(dh), _incoming(d_output, d_gates), [_alone(dh)]
    for chunk in extent.chunks(d_gates, hs.shape[-1]):
        h = extent.after(hs, chunk)
        local = ~(h <= 0) if arguments is None else slope_of_tanh(arguments[chunk], h)
        for count, steps in extent.backwards(chunk, incoming[chunk], local, d_gates[chunk]):
            (work,) = _first(whole, count)
            for d_out, part, d_gate in steps:
                _add(work, d_out, work)
                if arguments is None:
                    np.copyto(d_gate, work, where=part)  # ops-26
                else:
                    _multiply(work, part, d_gate)
                product(d_gate, w_hh, work)


def lstm_forward(
    extent: Extent,
    gates: Array,
    hs: Array,
    cgs: Array,
    w_hh: Array,
    w_hr: Array | None,
    unprojected: Array | None,
) -> None:
    """Take all steps: complete the gates, which have the input's part, and the states.

    The gates are in the order of `lstm_rows`, the sigmoids negated. c before a step has g beside
    it: what f and i are multiplied by. With a projection what it takes is kept, (..., H).
    """
    size = cgs.shape[-1] // 2
    recurrent, batch = np.ascontiguousarray(w_hh.T), extent.one(cgs)
    projection = None if w_hr is None else np.ascontiguousarray(w_hr.T)
    product, one = _product(batch), NUMBERS[cgs.dtype][1]
    whole = [_alone(empty((len(batch), k * size), cgs.dtype)) for k in (4, 3, 2, 1)]
    h_befores, h_afters = extent.sides(hs)
    for count, steps in extent.runs(
        h_befores,
        extent.views(gates),
        extent.views(gates[..., : 3 * size]),
        extent.views(gates[..., 3 * size :]),
        extent.sides(cgs)[0],
        extent.sides(cgs[..., size:])[0],
        extent.sides(cgs[..., :size])[1],
        h_afters if unprojected is None else extent.views(unprojected),
        h_afters,
    ):
        part, below, terms, scratch = _first(whole, count)
        (below_o, below_fi), (of_f, of_i) = split(below, size), split(terms, size)
        for h, a, e, a_g, cg, g, c_after, out, h_after in steps:
            _add(a, product(h, recurrent, part), a)
            _add(_exp(e, e), one, below)
            _tanh(a_g, g)
            _divide(cg, below_fi, terms)
            _add(of_f, of_i, c_after)
            _divide(_tanh(c_after, scratch), below_o, out)
            if projection is not None:
                product(out, projection, h_after)


def lstm_backward(
    extent: Extent,
    saved: tuple[Array, Array, Array],
    w_hh: Array,
    w_hr: Array | None,
    arrived: tuple[Array | None, Array | None],
    d_states: tuple[Array, Array],
) -> tuple[Array, Array | None]:
    """Return the gradients of the gates, in the order of `lstm_rows`, and of what was projected.

    What was saved last is o tanh(c), which is h or what the projection takes. What arrived are the
    gradients of the output and of c after every step. Those of the last states
    are made those of the first ones.
    """
    (gates, cgs, taken), (d_output, d_cells) = saved, arrived
    dh, dc = d_states
    size, rows = dc.shape[1], empty(gates.shape, gates.dtype)
    product, incoming = _product(dh), _incoming(d_output, gates)
    d_hs = None if w_hr is None else empty((*gates.shape[:-1], dh.shape[1]), gates.dtype)
    chunks = extent.chunks(gates, size)
    wide, narrow = _work(chunks, gates, (3, 3 * size), (2, size))
    # Without a projection what it would take is h itself.
    d_taken = dh if w_hr is None else np.empty_like(dc)
    whole = [_alone(work) for work in (dh, dc, d_taken, np.empty_like(dc))]
    for chunk in chunks:
        local = lstm_local(
            gates[chunk],
            extent.before(cgs, chunk),
            extent.after(cgs[..., :size], chunk),
            taken[chunk],
            wide,
            narrow,
        )
        part = rows[chunk]
        d_gates = part.reshape(*part.shape[:-1], 4, size)
        d_h_parts = incoming[chunk] if d_hs is None else d_hs[chunk]
        of_gates = part, d_gates[..., 0, :], d_gates[..., 1:, :]
        cells = None if d_cells is None else extent.backwards(chunk, d_cells[chunk])
        for count, steps in extent.backwards(chunk, incoming[chunk], *of_gates, d_h_parts, *local):
            of_c = None if cells is None else next(cells)[1]
            d_h, d_c, d_unprojected, scratch = _first(whole, count)
            d_c_thrice = d_c[..., None, :]
            for d_out, row, d_o, d_fig, d_h_part, l_o, through, l_fig, f in steps:
                if of_c is not None:
                    _add(d_c, next(of_c)[0], d_c)
                if w_hr is None:
                    _add(d_h, d_out, d_h)
                else:
                    product(_add(d_h, d_out, d_h_part), w_hr, d_unprojected)
                _multiply(d_unprojected, l_o, d_o)
                _add(d_c, _multiply(d_unprojected, through, scratch), d_c)
                _multiply(d_c_thrice, l_fig, d_fig)
                _multiply(d_c, f, d_c)
                product(row, w_hh, d_h)
    return rows, d_hs


def gru_forward(
    extent: Extent,
    gates: Array,
    hs: Array,
    inner: Array,
    ns: Array,
    w_hh: Array,
    n_bias: Array,
) -> None:
    """Take all steps: complete the gates, which have the input's part, and the states.

    The sigmoids' part of the gates and of w_hh is negated. inner is the state's part of n.
    """
    size, batch = hs.shape[-1], extent.one(hs)
    recurrent, product = np.ascontiguousarray(w_hh.T), _product(batch)
    one, most = NUMBERS[hs.dtype][1], _largest(len(batch), 2 * size, hs.dtype)
    whole = [_alone(empty((len(batch), k * size), hs.dtype)) for k in (3, 2, 1)]
    befores, afters = extent.sides(hs)
    for count, steps in extent.runs(
        befores,
        extent.views(gates[..., : 2 * size]),
        *[extent.views(gate) for gate in parts_of(gates, size)[1:]],
        extent.views(inner),
        extent.views(ns),
        afters,
    ):
        part, below, scratch = _first(whole, count)
        (part_rz, part_n), (below_r, below_z) = split(part, 2 * size), split(below, size)
        for h, e, of_z, a, hn, n, after in steps:
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


def gru_backward(
    extent: Extent,
    saved: tuple[Array, Array, Array, Array],
    w_hh: Array,
    d_output: Array | None,
    dh: Array,
) -> Array:
    """Return the gradients of n, r, z and the state's part of n, (..., 4 H).

    As x meets the gates the first three count, as h meets them the last three. The gradient of the
    last states is made that of the first ones.
    """
    hs, gates, inner, ns = saved
    size = hs.shape[-1]
    rows = empty((*gates.shape[:-1], 4 * size), gates.dtype)
    product, incoming = _product(dh), _incoming(d_output, gates)
    chunks = extent.chunks(gates, size)
    wide, narrow = _work(chunks, gates, (2, 2 * size), (4, size))
    whole = [_alone(work) for work in (dh, np.empty_like(dh))]
    for chunk in chunks:
        before = extent.before(hs, chunk)
        local = gru_local(gates[chunk], before, inner[chunk], ns[chunk], wide, narrow)
        part = rows[chunk]
        for count, steps in extent.backwards(
            chunk, incoming[chunk], part[..., size:], *parts_of(part, size), *local
        ):
            d_h, kept = _first(whole, count)
            for d_out, row_h, r_n, r_r, r_z, r_hn, l_n, l_r, l_z, l_hn, z in steps:
                _add(d_h, d_out, d_h)
                _multiply(d_h, l_n, r_n)
                _multiply(d_h, l_r, r_r)
                _multiply(d_h, l_z, r_z)
                _multiply(d_h, l_hn, r_hn)
                _multiply(d_h, z, kept)
                _add(product(row_h, w_hh, d_h), kept, d_h)
    return rows


def projected(x: Array, w_ih: Array, b_ih: Array | None, b_hh: Array | None) -> Array:
    """Return the input's part of the gates, and the biases: (..., G H), a new array."""
    gates = empty((*x.shape[:-1], len(w_ih)), x.dtype)
    np.matmul(flattened(x), w_ih.T, out=flattened(gates))
    if b_ih is not None:
        gates += b_ih if b_hh is None else b_ih + b_hh
    elif b_hh is not None:
        gates += b_hh
    return gates


def start_from(grad: Array | None, like: Array) -> Array:
    """Return the gradient of the last states as an array to work in."""
    work = np.empty(like.shape, like.dtype)
    work[...] = 0 if grad is None else grad
    return work


def parts_of(gates: Array, size: int) -> list[Array]:
    """Return one view a gate, from (..., G H)."""
    return [gates[..., k : k + size] for k in range(0, gates.shape[-1], size)]


def flattened(x: Array) -> Array:
    """Return the rows of all steps one below the other."""
    return x.reshape(-1, x.shape[-1])


def split(x: Array, size: int) -> tuple[Array, Array]:
    """Return the columns before one, and those from it on."""
    return x[..., :size], x[..., size:]


def _alone(x: Array) -> Array:
    """Return what a step works in: (N, ...), or of a batch of one the only row."""
    return x[0] if len(x) == 1 else x


def _first(work: list[Array], count: int | None) -> list[Array]:
    """Return so many rows of each work array, or all."""
    return work if count is None else [array[:count] for array in work]


def _product(h: Array) -> Callable[..., Array]:
    """Return what multiplies a state by a matrix: for a vector `np.dot` has less to look at."""
    return np.dot if len(h) == 1 else np.matmul


def _incoming(d_output: Array | None, like: Array) -> Array:
    """Return zeros where no gradient of the outputs came: one for each step or row."""
    if d_output is None:
        return np.zeros((len(like), *(1,) * (like.ndim - 1)), like.dtype)
    return d_output


def _work(chunks: list[slice], like: Array, *sizes: tuple[int, int]) -> list[Array]:
    """Return room for some arrays as long as the longest chunk: (number, ..., size)."""
    longest = max([chunk.stop - chunk.start for chunk in chunks], default=0)
    lead = (longest, *like.shape[1:-1])
    return [empty((number, *lead, size), like.dtype) for number, size in sizes]


def lstm_local(
    gates: Array, before: Array, c_after: Array, taken: Array, wide: Array, narrow: Array
) -> tuple[Array, ...]:
    """Return the local derivatives of some steps, computed in the last two arguments.

    Those of o by h; of c by h; of f, i and g by c, (..., 3, H); and f, that of c by the c before.
    """
    steps, size = len(gates), c_after.shape[-1]
    rest, sigmoids, l_fig = wide[:, :steps]
    zero, one = NUMBERS[rest.dtype]
    # Infinite, it would be multiplied by 0. (`minimum` by a number takes three times as long.)
    e = np.clip(gates[..., : 3 * size], zero, _MOST[rest.dtype], out=rest)
    _divide(one, _add(e, one, sigmoids), sigmoids)
    _multiply(e, sigmoids, rest)
    (o, f, i), l_o = parts_of(sigmoids, size), narrow[0, :steps]
    through = narrow[1, :steps]
    # tanh(c) o (1 - o), of which the first two are at hand.
    _multiply(taken, rest[..., :size], l_o)
    _times_slope(o, c_after, None, through)
    slopes = rest[..., size:]
    d_f, d_i = split(_multiply(slopes, sigmoids[..., size:], slopes), size)
    (c, g), (l_f, l_i, l_g) = split(before, size), parts_of(l_fig, size)
    _multiply(c, d_f, l_f)
    _multiply(g, d_i, l_i)
    _times_slope(i, gates[..., 3 * size :], g, l_g)
    return l_o, through, l_fig.reshape(*gates.shape[:-1], 3, size), f


def gru_local(
    gates: Array, hs: Array, inner: Array, n: Array, wide: Array, narrow: Array
) -> tuple[Array, ...]:
    """Return the local derivatives of some steps, computed in the last two arguments.

    Those of n, r, z and of the state's part of n by h; and z, that of h by the h before.
    """
    size, steps = n.shape[-1], len(gates)
    sigmoids, rest = wide[:, :steps]
    e, one = gates[..., : 2 * size], NUMBERS[wide.dtype][1]
    _divide(one, _add(e, one, sigmoids), sigmoids)
    _multiply(e, sigmoids, rest)
    (r, z), (l_n, l_r, l_z, l_hn) = parts_of(sigmoids, size), narrow[:, :steps]
    _times_slope(rest[..., size:], gates[..., 2 * size :], n, l_n)
    _multiply(l_n, r, l_hn)
    d_r, d_z = parts_of(_multiply(rest, sigmoids, rest), size)
    _multiply(_multiply(l_n, inner, l_r), d_r, l_r)
    _multiply(np.subtract(hs, n, l_z), d_z, l_z)
    return l_n, l_r, l_z, l_hn, z


def _times_slope(factor: Array, x: Array, y: Array | None, out: Array) -> None:
    """Write a factor times the slope of tanh at x, where y = tanh(x) if it is at hand."""
    if out.dtype == float32:
        # As in `slope_of_tanh`, with one operation less; in one piece, of which out may be a part.
        slope = out if out.flags.c_contiguous else empty(out.shape, float32)
        cosh(x, slope)
        _divide(factor, np.square(slope, slope), out)
    else:
        _multiply(factor, slope_of_tanh(x, np.tanh(x) if y is None else y), out)


# 0 and 1 as arrays, and the largest finite number.
NUMBERS = {dtype: (np.zeros((), dtype), np.ones((), dtype)) for dtype in (float32, float64)}
_MOST = {dtype: np.array(np.finfo(dtype).max) for dtype in (float32, float64)}


def _largest(batch: int, size: int, dtype: np.dtype[Any]) -> Array:
    """Return the largest number; for rows as a row, with which a minimum takes half the time."""
    return _MOST[dtype] if batch == 1 else np.full(size, _MOST[dtype])


def lstm_rows(w: Array, negate: bool = False) -> Array:
    """Return rows i, f, g, o as o, f, i, g: the sigmoids side by side, and what c' is made from.

    With `negate` those of the sigmoids change their sign.
    """
    gates = w.reshape(4, -1)[[3, 1, 0, 2]]
    if negate:
        np.negative(gates[:3], gates[:3])
    return gates.reshape(w.shape)


def lstm_rows_back(w: Array) -> Array:
    """Return rows o, f, i, g as i, f, g, o."""
    return w.reshape(4, -1)[[2, 1, 3, 0]].reshape(w.shape)


def rolled(w: Array, first: int) -> Array:
    """Return the rows from one on, and then those before it."""
    return np.concatenate([w[first:], w[:first]])
