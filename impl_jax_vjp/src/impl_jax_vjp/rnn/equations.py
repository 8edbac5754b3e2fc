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

from ..ops.formulas import relu

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


def lstm_step(a: Array, c: Array) -> tuple[Array, ...]:
    """Return h', c' and the gates i, f, g, o."""
    ai, af, ag, ao = split_gates(a, 4)
    i, f, o = jax.nn.sigmoid(ai), jax.nn.sigmoid(af), jax.nn.sigmoid(ao)
    g = jnp.tanh(ag)
    c = f * c + i * g
    return o * jnp.tanh(c), c, i, f, g, o


def gru_step(from_x: Array, from_h: Array, h: Array) -> tuple[Array, ...]:
    """Return h', the gates r, z, n, and the recurrent part of n."""
    xr, xz, xn = split_gates(from_x, 3)
    hr, hz, hn = split_gates(from_h, 3)
    r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
    n = jnp.tanh(xn + r * hn)
    return (1 - z) * n + z * h, r, z, n, hn


def _biases(bias: Sequence[Array]) -> tuple[Array | None, Array | None]:
    return (bias[0], bias[1]) if bias else (None, None)


def rnn_cell(
    nonlinearity: str, x: Array, h: Array, w_ih: Array, w_hh: Array, *bias: Array
) -> Array:
    """Return h' (N, H) of x (N, I), h (N, H), W_ih (H, I), W_hh (H, H), two biases (H,)."""
    b_ih, b_hh = _biases(bias)
    return rnn_step(nonlinearity, gates(x, w_ih, b_ih) + gates(h, w_hh, b_hh))


def lstm_cell(
    x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, *bias: Array
) -> tuple[Array, Array]:
    """Return h', c' (N, H) of x (N, I), h, c (N, H), W_ih (4·H, I), W_hh (4·H, H), biases."""
    b_ih, b_hh = _biases(bias)
    h, c, *_ = lstm_step(gates(x, w_ih, b_ih) + gates(h, w_hh, b_hh), c)
    return h, c


def gru_cell(x: Array, h: Array, w_ih: Array, w_hh: Array, *bias: Array) -> Array:
    """Return h' (N, H) of x (N, I), h (N, H), W_ih (3·H, I), W_hh (3·H, H), biases (3·H,)."""
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
    """Return all h, the last h and c, all c and the gates i, f, g, o, each of shape (T, N, H)."""

    def step(carry: tuple[Array, Array], a: Array) -> tuple[Any, Any]:
        h, c, *kept = lstm_step(a + times(carry[0], w_hh), carry[1])
        return (h, c), (h, c, *kept)

    (h, c), (hs, cs, *kept) = lax.scan(step, (h0, c0), a)
    return hs, h, c, cs, *kept


def lstm_backward(
    kept: Sequence[Array], c0: Array, w_hh: Array, d_hs: Array, d_h: Array, d_c: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of the gates before activation, shape (T, N, 4·H), of h0 and of c0.

    `kept` is all c and the gates, as `lstm_forward` returns them.
    """
    cs, i, f, g, o = kept

    def step(carry: tuple[Array, Array], at: Any) -> tuple[Any, Array]:
        dh, dc = carry
        d_out, c, before, i, f, g, o = at
        dh = dh + d_out
        tanh_c = jnp.tanh(c)
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        parts = [
            dc * g * i * (1 - i),
            dc * before * f * (1 - f),
            dc * i * (1 - g * g),
            dh * tanh_c * o * (1 - o),
        ]
        da = jnp.concatenate(parts, axis=-1)
        return (jnp.matmul(da, w_hh, precision=HIGHEST), dc * f), da

    inputs = (d_hs, cs, previous(c0, cs), i, f, g, o)
    (dh, dc), da = lax.scan(step, (d_h, d_c), inputs, reverse=True)
    return da, dh, dc


def gru_forward(a: Array, h0: Array, w_hh: Array, b_hh: Array | None) -> tuple[Array, ...]:
    """Return all states, the last, and r, z, n and n's recurrent part, each of shape (T, N, H)."""

    def step(h: Array, a: Array) -> tuple[Array, Any]:
        h, *kept = gru_step(a, gates(h, w_hh, b_hh), h)
        return h, (h, *kept)

    last, (states, *kept) = lax.scan(step, h0, a)
    return states, last, *kept


def gru_backward(
    kept: Sequence[Array], h0: Array, w_hh: Array, states: Array, d_states: Array, d_last: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of the gates' input and recurrent parts, (T, N, 3·H), and of h0."""
    r, z, n, hn = kept

    def step(dh: Array, at: Any) -> tuple[Array, Any]:
        d_out, before, r, z, n, hn = at
        dh = dh + d_out
        dn = dh * (1 - z) * (1 - n * n)
        dr = dn * hn * r * (1 - r)
        dz = dh * (before - n) * z * (1 - z)
        recurrent = jnp.concatenate([dr, dz, dn * r], axis=-1)
        return dh * z + jnp.matmul(recurrent, w_hh, precision=HIGHEST), (recurrent, dn)

    inputs = (d_states, previous(h0, states), r, z, n, hn)
    dh, (recurrent, dn) = lax.scan(step, d_last, inputs, reverse=True)
    size = 2 * n.shape[-1]
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
