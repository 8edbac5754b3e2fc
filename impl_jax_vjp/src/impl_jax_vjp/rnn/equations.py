"""The recurrences as pure functions of arrays: one step, a sequence forward, a sequence back.

T steps, N batch, I input size, H hidden size, G gates (RNN 1, LSTM 4, GRU 3). The product of the
input with its weights is formed for all steps at once, so is each weight gradient; what has to go
step by step is a ``lax.scan``, whose compile time does not depend on T. The pages of
``torch.nn.RNNCell``, ``LSTMCell`` and ``GRUCell`` have the equations.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..checks import check_parameter
from ..ops.formulas import relu, sigmoid, sigmoid_and_rest

Array = Any
HIGHEST = lax.Precision.HIGHEST


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
    name: str, x: Array, h: Array, w_ih: Array, w_hh: Array, *bias: Array | None
) -> None:
    """Check that what stands in the place of the parameters fits the input and the state."""
    rows = _GATES[name.removesuffix("Cell")] * h.shape[-1]
    check_parameter(name, "weight_ih", w_ih, (rows, x.shape[-1]))
    check_parameter(name, "weight_hh", w_hh, (rows, h.shape[-1]))
    for argument, added in zip(("bias_ih", "bias_hh"), bias, strict=False):
        if added is not None:
            check_parameter(name, argument, added, (rows,))


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


def rnn_forward(nonlinearity: str, a: Array, h0: Array, w_hh: Array) -> tuple[Array, Array]:
    """Return all states, shape (T, N, H), and the last; a is the input's part, shape (T, N, H)."""

    def step(h: Array, a: Array) -> tuple[Array, Array]:
        h = rnn_step(nonlinearity, a + times(h, w_hh))
        return h, h

    last, states = lax.scan(step, h0, a)
    return states, last


def rnn_backward(
    nonlinearity: str, states: Array, w_hh: Array, d_states: Array, d_last: Array
) -> tuple[Array, Array]:
    """Return the gradients of `a`, shape (T, N, H), and of h0."""

    def step(dh: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        d_out, h = at
        dh = dh + d_out
        da = dh * (1 - h * h) if nonlinearity == "tanh" else jnp.where(h <= 0, 0, dh)
        return jnp.matmul(da, w_hh, precision=HIGHEST), da

    dh, da = lax.scan(step, d_last, (d_states, states), reverse=True)
    return da, dh


def lstm_forward(a: Array, h0: Array, c0: Array, w_hh: Array) -> tuple[Array, ...]:
    """Return all h, the last h and c, all c, (T, N, H), and the gates before activation."""

    def step(carry: tuple[Array, Array], a: Array) -> tuple[Any, Any]:
        a = a + times(carry[0], w_hh)
        h, c = lstm_step(a, carry[1])
        return (h, c), (h, c, a)

    (h, c), (hs, *kept) = lax.scan(step, (h0, c0), a)
    return hs, h, c, *kept


def lstm_backward(
    kept: Sequence[Array], c0: Array, w_hh: Array, d_hs: Array, d_h: Array, d_c: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of the gates before activation, shape (T, N, 4·H), of h0 and of c0.

    `kept` is all c and the gates, as `lstm_forward` returns them.
    """
    cs, a = kept
    ai, af, ag, ao = split_gates(a, 4)
    (i, not_i), (f, not_f), (o, not_o) = map(sigmoid_and_rest, (ai, af, ao))
    # What depends on no gradient is formed for all steps at once.
    to_gates = [
        tanh(ag) * i * not_i,
        previous(c0, cs) * f * not_f,
        i * tanh_slope(ag),
        tanh(cs) * o * not_o,
    ]

    def step(carry: tuple[Array, Array], at: Any) -> tuple[Any, Array]:
        dh, dc = carry
        d_out, to_c, f, *to_gates = at
        dh = dh + d_out
        dc = dc + dh * to_c
        da = jnp.concatenate(
            [d * to for d, to in zip((dc, dc, dc, dh), to_gates, strict=True)], axis=-1
        )
        return (jnp.matmul(da, w_hh, precision=HIGHEST), dc * f), da

    inputs = (d_hs, o * tanh_slope(cs), f, *to_gates)
    (dh, dc), da = lax.scan(step, (d_h, d_c), inputs, reverse=True)
    return da, dh, dc


def gru_forward(a: Array, h0: Array, w_hh: Array, b_hh: Array | None) -> tuple[Array, ...]:
    """Return all states (T, N, H), the last, and what `gru_step` keeps, (T, N, 4·H)."""

    def step(h: Array, a: Array) -> tuple[Array, Any]:
        h, kept = gru_step(a, gates(h, w_hh, b_hh), h)
        return h, (h, kept)

    last, (states, kept) = lax.scan(step, h0, a)
    return states, last, kept


def gru_backward(
    kept: Array, h0: Array, w_hh: Array, states: Array, d_states: Array, d_last: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of the gates' input and recurrent parts, (T, N, 3·H), and of h0."""
    ar, az, an, hn = split_gates(kept, 4)
    (r, not_r), (z, not_z) = map(sigmoid_and_rest, (ar, az))
    # What depends on no gradient is formed for all steps at once.
    to_n = not_z * tanh_slope(an)
    to_gates = [to_n * hn * r * not_r, (previous(h0, states) - tanh(an)) * z * not_z, to_n * r]

    def step(dh: Array, at: Any) -> tuple[Array, Any]:
        d_out, z, to_n, *to_gates = at
        dh = dh + d_out
        recurrent = jnp.concatenate([dh * to for to in to_gates], axis=-1)
        return dh * z + jnp.matmul(recurrent, w_hh, precision=HIGHEST), (recurrent, dh * to_n)

    inputs = (d_states, z, to_n, *to_gates)
    dh, (recurrent, dn) = lax.scan(step, d_last, inputs, reverse=True)
    size = 2 * an.shape[-1]
    return jnp.concatenate([recurrent[..., :size], dn], axis=-1), recurrent, dh


def previous(first: Array, states: Array) -> Array:
    """Return the state before each step, shape (T, N, H)."""
    return jnp.concatenate([first[None], states[:-1]]) if states.shape[0] else states


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
