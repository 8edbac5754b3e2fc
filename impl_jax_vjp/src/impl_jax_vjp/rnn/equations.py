"""The recurrences as pure functions of arrays: one step, a sequence forward, a sequence back.

T steps, N batch, I input size, H hidden size, P size of what a projection makes of a hidden state
(H where there is none), G gates (RNN 1, LSTM 4, GRU 3). The product of the input with its weights
is formed for all steps at once, so is each weight gradient; what has to go step by step is a
``lax.scan``, whose compile time does not depend on T. The pages of ``torch.nn.RNNCell``,
``LSTMCell`` and ``GRUCell`` have the equations, and that of ``torch.nn.LSTM`` the projection, after
Sak, Senior and Beaufays 2014.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..checks import check_parameter
from ..ops.formulas import relu, sigmoid, sigmoid_and_rest

Array = Any
HIGHEST = lax.Precision.HIGHEST


class Course(NamedTuple):
    """The way through a sequence: from which end, where the sequences run, where they begin anew.

    Attributes
    ----------
    reverse : bool
        Whether it goes from the last step to the first.
    running : Array or None
        Shape (T, N, 1): whether a sequence has a step; None if all have every one. Where it has
        none, its state stays.
    valid : Array or None
        Shape (N, 1): whether the length of a sequence is one that it can have.
    renewed : Array or None
        Shape (T, N, 1): whether an episode begins with a step, on this way, whose state before the
        step is the one of resets; None if there are no resets.
    """

    reverse: bool
    running: Array | None = None
    valid: Array | None = None
    renewed: Array | None = None

    def forward(self, step: Callable[..., Any], first: Any, fresh: Any, inputs: Any) -> Any:
        """Return the last state and what a step returns at all of them; see `lax.scan`.

        `fresh` is what takes the place of a state where an episode begins.
        """
        if self.renewed is None:
            return lax.scan(step, first, inputs, reverse=self.reverse)

        def from_fresh(state: Any, at: Any) -> Any:
            renewed, inputs = at
            return step(_chosen(renewed, fresh, state), inputs)

        return lax.scan(from_fresh, first, (self.renewed, inputs), reverse=self.reverse)

    def backward(self, step: Callable[..., Any], d_last: Any, inputs: Any) -> tuple[Any, Any, Any]:
        """Return the gradient of the first state, what a step returns, and the fresh one's.

        The last is None, or a tuple of None, where there are no resets.
        """
        if self.renewed is None:
            d_first, each = lax.scan(step, d_last, inputs, reverse=not self.reverse)
            return d_first, each, jax.tree.map(lambda _: None, d_last)

        def into_fresh(carry: tuple[Any, Any], at: Any) -> Any:
            renewed, inputs = at
            before, each = step(carry[0], inputs)
            nothing = jax.tree.map(jnp.zeros_like, before)
            to_fresh = _chosen(renewed, before, nothing)
            d_fresh = jax.tree.map(jnp.add, carry[1], to_fresh)
            return (_chosen(renewed, nothing, before), d_fresh), each

        start = (d_last, jax.tree.map(jnp.zeros_like, d_last))
        inputs = (self.renewed, inputs)
        (d_first, d_fresh), each = lax.scan(into_fresh, start, inputs, reverse=not self.reverse)
        return d_first, each, d_fresh

    def empty(self, dtype: Any) -> Array | None:
        """Return the output where a sequence has no step, shape (N, 1)."""
        return None if self.valid is None else jnp.where(self.valid, 0, jnp.nan).astype(dtype)

    def clear(self, values: Array) -> Array:
        """Return values (T, N, ...) with 0 where a sequence has no step, whatever was there."""
        return values if self.running is None else jnp.where(self.running, values, 0)

    def show(self, values: Array) -> Array:
        """Return values (T, N, ...) as they are given out: those that are no step's as `empty`."""
        return pick(self.running, values, self.empty(values.dtype))

    def end(self, *states: Array) -> tuple[Array, ...]:
        """Return the last states (N, ...): NaN where the length is none that can be."""  # rnn-34
        if self.valid is None:
            return states
        return tuple([jnp.where(self.valid, state, jnp.nan) for state in states])

    def end_gradient(self, *gradients: Array) -> tuple[Array, ...]:
        """Return the gradients of the last states before `end`."""
        if self.valid is None:
            return gradients
        return tuple([jnp.where(self.valid, gradient, 0) for gradient in gradients])


def _chosen(condition: Array, states: Any, others: Any) -> Any:
    """Return states, an array or a pair, where a condition (N, 1) holds, and else the others."""
    return jax.tree.map(lambda state, other: jnp.where(condition, state, other), states, others)


def pick(running: Array | None, value: Array, otherwise: Any) -> Array:
    """Return a step's value where a sequence has that step, and else the other one."""
    return value if running is None else jnp.where(running, value, otherwise)


def times(x: Array, weight: Array) -> Array:
    """Return ``x @ weight.T``, x of shape (..., K), weight (M, K)."""
    return lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())), precision=HIGHEST)


def gates(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return the part of the gates that comes from x, shape (..., G·H)."""
    return times(x, weight) if bias is None else times(x, weight) + bias


def split_gates(a: Array, count: int) -> list[Array]:
    """Return `count` arrays (..., H) of a (..., count·H)."""
    return jnp.split(a, count, axis=-1)


def rnn_step(nonlinearity: str, a: Array) -> Array:
    """Return h' = tanh(a) or relu(a), the shape of a."""
    return jnp.tanh(a) if nonlinearity == "tanh" else relu(a)


@jax.custom_jvp
def tanh(a: Array) -> Array:
    """Return the hyperbolic tangent, whose gradient keeps its digits where it is nearly flat."""
    return jnp.tanh(a)


@tanh.defjvp
def _tanh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return tanh(primals[0]), tanh_slope(primals[0]) * tangents[0]


def tanh_slope(a: Array) -> Array:
    """Return ``1 - tanh(a)**2`` without a difference, which would lose its digits."""  # rnn-26
    value, rest = sigmoid_and_rest(2 * a)
    return 4 * value * rest


def lstm_step(a: Array, c: Array) -> tuple[Array, Array]:
    """Return h' and c'."""
    # One function of all gates: XLA compiles that best, though g is not needed.
    i, f, _, o = split_gates(sigmoid(a), 4)
    c = f * c + i * tanh(split_gates(a, 4)[2])
    return o * tanh(c), c


def gru_step(from_x: Array, from_h: Array, h: Array) -> tuple[Array, Array]:
    """Return h', and in one array r, z and n before activation and the recurrent part of n."""
    size = 2 * h.shape[-1]
    a = from_x[..., :size] + from_h[..., :size]
    ar, az = split_gates(a, 2)
    # 1 - z would lose the digits of a gate that is nearly open. # rnn-26
    r, (z, shut) = sigmoid(ar), sigmoid_and_rest(az)
    hn = from_h[..., size:]
    an = from_x[..., size:] + r * hn
    # In one: a loop writes one array faster than three.
    return shut * tanh(an) + z * h, jnp.concatenate([a, an, hn], axis=-1)


def check_weights(
    name: str,
    x: Array,
    h: Array,
    w_ih: Array,
    w_hh: Array,
    *bias: Array | None,
    w_hr: Array | None = None,
    hidden: int | None = None,
) -> None:
    """Check that what stands in the place of the parameters fits the input and the state.

    `hidden` is H, where h does not have it.
    """
    hidden = h.shape[-1] if hidden is None else hidden
    rows = _GATES[name.removesuffix("Cell")] * hidden
    check_parameter(name, "weight_ih", w_ih, (rows, x.shape[-1]))
    check_parameter(name, "weight_hh", w_hh, (rows, h.shape[-1]))
    for argument, added in zip(("bias_ih", "bias_hh"), bias, strict=False):
        if added is not None:
            check_parameter(name, argument, added, (rows,))
    if w_hr is not None:
        check_parameter(name, "weight_hr", w_hr, (h.shape[-1], hidden))


_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


def _biases(bias: Sequence[Array]) -> tuple[Array | None, Array | None]:
    return (bias[0], bias[1]) if bias else (None, None)


def rnn_cell(
    nonlinearity: str, x: Array, h: Array, w_ih: Array, w_hh: Array, *bias: Array
) -> Array:
    """Return h' (N, H) of x (N, I), h (N, H), W_ih (H, I), W_hh (H, H), two biases (H,)."""
    check_weights("RNNCell", x, h, w_ih, w_hh, *bias)
    b_ih, b_hh = _biases(bias)
    return rnn_step(nonlinearity, gates(x, w_ih, b_ih) + gates(h, w_hh, b_hh))


def lstm_cell(
    x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, *bias: Array
) -> tuple[Array, Array]:
    """Return h', c' (N, H) of x (N, I), h, c (N, H), W_ih (4·H, I), W_hh (4·H, H), biases."""
    check_weights("LSTMCell", x, h, w_ih, w_hh, *bias)
    b_ih, b_hh = _biases(bias)
    h, c, *_ = lstm_step(gates(x, w_ih, b_ih) + gates(h, w_hh, b_hh), c)
    return h, c


def gru_cell(x: Array, h: Array, w_ih: Array, w_hh: Array, *bias: Array) -> Array:
    """Return h' (N, H) of x (N, I), h (N, H), W_ih (3·H, I), W_hh (3·H, H), biases (3·H,)."""
    check_weights("GRUCell", x, h, w_ih, w_hh, *bias)
    b_ih, b_hh = _biases(bias)
    return gru_step(gates(x, w_ih, b_ih), gates(h, w_hh, b_hh), h)[0]


def rnn_forward(
    nonlinearity: str, a: Array, h0: Array, w_hh: Array, course: Course, fresh: Array | None
) -> tuple[Array, Array]:
    """Return all states, shape (T, N, H), and the last; a is the input's part, shape (T, N, H).

    `fresh` (N, H) is the state with which an episode after a reset begins.
    """
    empty = course.empty(a.dtype)

    def step(h: Array, at: Any) -> tuple[Array, Array]:
        a, running = at
        h = pick(running, rnn_step(nonlinearity, a + times(h, w_hh)), h)
        return h, pick(running, h, empty)

    last, states = course.forward(step, h0, fresh, (a, course.running))
    return states, *course.end(last)


def rnn_backward(
    nonlinearity: str, states: Array, w_hh: Array, d_states: Array, d_last: Array, course: Course
) -> tuple[Array, Array, Array | None]:
    """Return the gradients of `a`, shape (T, N, H), of h0, and of the fresh state if any."""

    def step(dh: Array, at: Any) -> tuple[Array, Array]:
        d_out, h, running = at
        dh = dh + d_out
        da = dh * (1 - h * h) if nonlinearity == "tanh" else jnp.where(h <= 0, 0, dh)
        da = pick(running, da, 0)
        return pick(running, jnp.matmul(da, w_hh, precision=HIGHEST), dh), da

    inputs = (course.clear(d_states), states, course.running)
    dh, da, d_fresh = course.backward(step, course.end_gradient(d_last)[0], inputs)
    return da, dh, d_fresh


def lstm_forward(
    a: Array,
    first: tuple[Array, Array],
    w_hh: Array,
    w_hr: Array | None,
    course: Course,
    fresh: tuple[Array | None, Array | None],
) -> tuple[Array, ...]:
    """Return all h, the last h and c, all c, and the gates before activation.

    Shapes (T, N, P), (N, P), (N, H), (T, N, H), (T, N, 4·H). `first` is h0 and c0, and `fresh` the
    pair with which an episode after a reset begins.
    """
    empty = course.empty(a.dtype)

    def step(carry: tuple[Array, Array], at: Any) -> tuple[Any, Any]:
        a, running = at
        h, c = carry
        a = a + times(h, w_hh)
        new_h, new_c = lstm_step(a, c)
        new_h = new_h if w_hr is None else times(new_h, w_hr)
        h, c = pick(running, new_h, h), pick(running, new_c, c)
        return (h, c), (pick(running, h, empty), c, a)

    (h, c), (hs, *kept) = course.forward(step, first, fresh, (a, course.running))
    return hs, *course.end(h, c), *kept


def lstm_backward(
    kept: Sequence[Array],
    before: Array,
    w_hh: Array,
    w_hr: Array | None,
    gradients: Sequence[Array],
    course: Course,
) -> tuple[Array, tuple[Array, Array], Array | None, tuple[Array | None, Array | None]]:
    """Return the gradients of the gates before activation, of h0 and c0, of the projections.

    Shapes (T, N, 4·H), (N, P) and (N, H), (T, N, P), which is None where nothing is projected; and
    the gradients of the pair of fresh states. `kept` is all c and the gates, as `lstm_forward`
    returns them, `before` the c before each step, (T, N, H), and `gradients` are those of all h, of
    the last h and of the last c, and of all c where these are wanted too.
    """
    cs, a = kept
    ai, af, ag, ao = split_gates(a, 4)
    (i, not_i), (f, not_f), (o, not_o) = map(sigmoid_and_rest, (ai, af, ao))
    # What depends on no gradient is formed for all steps at once.
    to_gates = [
        tanh(ag) * i * not_i,
        before * f * not_f,
        i * tanh_slope(ag),
        tanh(cs) * o * not_o,
    ]

    def step(carry: tuple[Array, Array], at: Any) -> tuple[Any, Any]:
        running, d_out, d_cell, to_c, f, *to_gates = at
        dh, dc = carry[0] + d_out, carry[1] if d_cell is None else carry[1] + d_cell
        dm = dh if w_hr is None else jnp.matmul(dh, w_hr, precision=HIGHEST)
        dc = dc + dm * to_c
        da = jnp.concatenate(
            [d * to for d, to in zip((dc, dc, dc, dm), to_gates, strict=True)], axis=-1
        )
        da = pick(running, da, 0)
        d_before = (
            pick(running, jnp.matmul(da, w_hh, precision=HIGHEST), dh),
            pick(running, dc * f, carry[1]),
        )
        return d_before, (da, None if w_hr is None else pick(running, dh, 0))

    d_hs, d_h, d_c, *d_cells = gradients
    d_each = (course.clear(d_hs), course.clear(d_cells[0]) if d_cells else None)
    inputs = (course.running, *d_each, o * tanh_slope(cs), f, *to_gates)
    d_first, (da, d_projected), d_fresh = course.backward(
        step, course.end_gradient(d_h, d_c), inputs
    )
    return da, d_first, d_projected, d_fresh


def hidden_states(cs: Array, a: Array) -> Array:
    """Return ``o tanh(c)`` of all steps, (T, N, H), of what `lstm_forward` keeps."""
    return sigmoid(split_gates(a, 4)[3]) * tanh(cs)


def gru_forward(
    a: Array, h0: Array, w_hh: Array, b_hh: Array | None, course: Course, fresh: Array | None
) -> tuple[Array, ...]:
    """Return all states (T, N, H), the last, and what `gru_step` keeps, (T, N, 4·H).

    `fresh` (N, H) is the state with which an episode after a reset begins.
    """
    empty = course.empty(a.dtype)

    def step(h: Array, at: Any) -> tuple[Array, Any]:
        a, running = at
        new, kept = gru_step(a, gates(h, w_hh, b_hh), h)
        h = pick(running, new, h)
        return h, (pick(running, h, empty), kept)

    last, (states, kept) = course.forward(step, h0, fresh, (a, course.running))
    return states, *course.end(last), kept


def gru_backward(
    kept: Array, before: Array, w_hh: Array, d_states: Array, d_last: Array, course: Course
) -> tuple[Array, Array, Array, Array | None]:
    """Return the gradients of the gates' input and recurrent parts, (T, N, 3·H), and of h0.

    The last is that of the fresh state if any; `before` is the state before each step, (T, N, H).
    """
    ar, az, an, hn = split_gates(kept, 4)
    (r, not_r), (z, not_z) = map(sigmoid_and_rest, (ar, az))
    # What depends on no gradient is formed for all steps at once.
    to_n = not_z * tanh_slope(an)
    to_gates = [to_n * hn * r * not_r, (before - tanh(an)) * z * not_z, to_n * r]

    def step(dh: Array, at: Any) -> tuple[Array, Any]:
        running, d_out, z, to_n, *to_gates = at
        dh = dh + d_out
        recurrent = pick(running, jnp.concatenate([dh * to for to in to_gates], axis=-1), 0)
        through = dh * z + jnp.matmul(recurrent, w_hh, precision=HIGHEST)
        return pick(running, through, dh), (recurrent, pick(running, dh * to_n, 0))

    inputs = (course.running, course.clear(d_states), z, to_n, *to_gates)
    dh, (recurrent, dn), d_fresh = course.backward(step, course.end_gradient(d_last)[0], inputs)
    size = 2 * an.shape[-1]
    return jnp.concatenate([recurrent[..., :size], dn], axis=-1), recurrent, dh, d_fresh


def previous(first: Array, states: Array, course: Course, fresh: Array | None) -> Array:
    """Return the state before each step, (T, N, ...), 0 where a sequence does not have the step."""
    if not states.shape[0]:
        return states
    before = _before(first[None], states, course.reverse)
    if course.running is not None:
        ran = _before(jnp.zeros_like(course.running[:1]), course.running, course.reverse)
        before = course.clear(jnp.where(ran, before, first))
    return before if course.renewed is None else jnp.where(course.renewed, fresh, before)


def _before(first: Array, values: Array, reverse: bool) -> Array:
    """Return what stands before each of T values on the way, `first` before the first."""
    return jnp.concatenate([values[1:], first] if reverse else [first, values[:-1]])


def input_gradient(da: Array, weight: Array) -> Array:
    """Return the gradient of x for all steps as one product, shape (T, N, I)."""
    return jnp.matmul(da, weight, precision=HIGHEST)


def weight_gradient(da: Array, x: Array) -> Array:
    """Return the sum over steps and batch of ``da ⊗ x`` as one product, shape (G·H, K)."""
    contracted = (tuple(range(da.ndim - 1)),) * 2
    return lax.dot_general(da, x, (contracted, ((), ())), precision=HIGHEST)


def bias_gradient(da: Array) -> Array:
    """Return the sum over steps and batch, shape (G·H,)."""
    return jnp.sum(da, axis=tuple(range(da.ndim - 1)))
