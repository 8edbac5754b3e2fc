"""The recurrent equations, each cell's once, on Tensors.

T steps, N batch, I input size, H hidden size, P size of a projected hidden state (H where there is
no projection), G gates. Sources: the pages of torch.nn.RNNCell, LSTMCell and GRUCell; LSTM after
Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, projection after Sak,
Senior and Beaufays 2014; GRU after Cho et al. 2014, reset gate after the recurrent product.

A step takes the two parts of the gates, of shape (N, G H): the input's, W_ih x + b_ih, and the
state's own, W_hh h + b_hh; and the states h (N, P) and c (N, H). It returns the next states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np

from impl_numpy import ops
from impl_numpy.dtypes import Array, Value, float32, float64
from impl_numpy.function import Function
from impl_numpy.ops.elementwise import slope_of_tanh, tanh_of_gate
from impl_numpy.recording import RULES, Grads, Primitive, raw, record
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor

States: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[..., States]


def tanh_step(part: Tensor, own: Tensor, states: States) -> States:  # noqa: ARG001
    """Return h' = tanh(part + own)."""
    return (tanh_of_gate(part + own),)


def relu_step(part: Tensor, own: Tensor, states: States) -> States:  # noqa: ARG001
    """Return h' = max(part + own, 0)."""
    return (ops.relu(part + own),)


def lstm_step(
    part: Tensor,
    own: Tensor,
    states: States,
    w_hr: Tensor | None = None,
    *,
    norm: Callable[[Tensor], Tensor] | None = None,
    w_ch: Tensor | None = None,
) -> States:
    """Return h' = o tanh(c') and c' = f c + i g; i, f, o = sigmoid(...), g = tanh(...).

    With a projection h' = W_hr (o tanh(c')) (rnn-32); with a norm h' = o tanh(norm(c')) (rnn-46);
    with w_ch, (3 H,), the gates i and f see c, and o sees c' (rnn-48).
    """
    c = states[1]
    size = c.shape[1]
    gates = part + own
    i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
    if w_ch is not None:
        i, f = i + w_ch[:size] * c, f + w_ch[size : 2 * size] * c
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * tanh_of_gate(g)
    if w_ch is not None:
        o = o + w_ch[2 * size :] * c
    h = ops.sigmoid(o) * tanh_of_gate(c if norm is None else norm(c))
    return h if w_hr is None else linear(h, w_hr, None), c


def gru_step(part: Tensor, own: Tensor, states: States) -> States:
    """Return h' = (1 - z) n + z h.

    r, z = sigmoid(...), n = tanh(W_in x + b_in + r (W_hn h + b_hn)).
    """
    return (record(_gru_rule, (part, own, states[0])),)


def _gru_gates(part: Array, own: Array) -> tuple[Array, Array, Array]:
    """Return e = exp(-a) of both gates, 1 + e, and the argument of n.

    sigmoid(a) = 1 / (1 + e) and 1 - sigmoid(a) = e / (1 + e) keep their digits (rnn-26).
    """
    size = part.shape[1] // 3
    e = part[:, : 2 * size] + own[:, : 2 * size]
    # Infinite, it would be divided by itself.
    np.minimum(np.exp(np.negative(e, out=e), out=e), MOST[e.dtype], out=e)
    below = e + 1
    return e, below, part[:, 2 * size :] + own[:, 2 * size :] / below[:, :size]


def _gru_forward(part: Array, own: Array, h: Array) -> Array:
    e, below, a_n = _gru_gates(part, own)
    size = h.shape[1]
    after = np.tanh(a_n, out=a_n)
    after *= e[:, size:]
    after += h
    after /= below[:, size:]
    return after


def _gru_vjp(grad: Value, needs: Parents, part: Value, own: Value, h: Value, *_: Any) -> Grads:
    if not isinstance(grad, np.ndarray):
        return _gru_vjp_recorded(grad, needs, part, own, h)
    e, below, a_n = _gru_gates(part, own)
    size = h.shape[1]
    opened = np.reciprocal(below, out=below)
    slopes = np.multiply(e, opened, out=e)
    z, shut_z, n = opened[:, size:], slopes[:, size:], np.tanh(a_n)
    d_part = np.empty(part.shape, part.dtype)
    d_own = np.empty(own.shape, own.dtype)
    d_n = np.multiply(grad, shut_z, out=d_part[:, 2 * size :])
    d_n *= slope_of_tanh(a_n, n)
    slopes *= opened
    np.multiply(d_n, opened[:, :size], out=d_own[:, 2 * size :])
    np.multiply(d_n, own[:, 2 * size :], out=d_part[:, :size])
    np.multiply(grad, h - n, out=d_part[:, size : 2 * size])
    d_part[:, : 2 * size] *= slopes
    d_own[:, : 2 * size] = d_part[:, : 2 * size]
    return d_part, d_own, None if needs[2] is None else grad * z


def _gru_vjp_recorded(grad: Value, needs: Parents, part: Value, own: Value, h: Value) -> Grads:
    """Return the same on Tensors."""
    sigmoid, size = RULES["sigmoid"], h.shape[1]
    gates, own_n = part[:, : 2 * size] + own[:, : 2 * size], own[:, 2 * size :]
    a_r, a_z = gates[:, :size], gates[:, size:]
    r, z, shut_z = sigmoid(a_r), sigmoid(a_z), sigmoid(-a_z)
    a_n = part[:, 2 * size :] + r * own_n
    n = RULES["tanh"](a_n)
    d_n = grad * (shut_z * RULES["slope of tanh"](a_n, raw(n)))
    d_r = (d_n * own_n) * (r * sigmoid(-a_r))
    d_z = grad * ((h - n) * (z * shut_z))
    d_h = None if needs[2] is None else grad * z
    return ops.concat([d_r, d_z, d_n], axis=1), ops.concat([d_r, d_z, d_n * r], axis=1), d_h


MOST = {dtype: np.finfo(dtype).max for dtype in (float32, float64)}
# One operation: as its parts it would cost a step most of its time.
_every = (0, 1, 2)
_gru_rule = Primitive("GRU", _gru_forward, _gru_vjp, (_every, _every, _every))


RNN_STEPS: dict[str, Step] = {"tanh": tanh_step, "relu": relu_step}


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x @ weight.T + bias."""
    y = x @ weight.T
    return y if bias is None else y + bias


def unrolled(
    step: Step,
    x: Tensor,
    states: States,
    weights: Sequence[Any],
    counts: tuple[int, ...] | None = None,
    reverse: bool = False,
    cells: bool = False,
) -> tuple[Tensor, ...]:
    """Take every step of a sequence: the differentiable form of a fused Function.

    Parameters
    ----------
    step : callable
        A cell's equations.
    x : Tensor, shape (T, N, I), or (R, I)
    states : tuple of Tensor, shape (N, P) and (N, H)
        The first one is the output.
    weights : W_ih (G H, I), W_hh (G H, P), b_ih and b_hh (G H,) or None, then W_hr (P, H) if any
    counts : tuple of int, optional
        How many rows each step has, R together: the first ones of the states, which it changes.
    reverse : bool
        Go from the last step to the first.
    cells : bool
        Return the last state after every step too.

    Returns
    -------
    output : Tensor, shape (T, N, P), or (R, P)
    *states : Tensor, shape (N, P) and (N, H)
    cells : Tensor, shape (T, N, H), or (R, H), if asked for
    """
    w_ih, w_hh, b_ih, b_hh, *projection = weights
    gates, every = linear(x, w_ih, b_ih), []
    parts = Steps.apply(gates, counts=counts)
    for part in reversed(parts) if reverse else parts:
        rows = part.shape[0]
        running = states if counts is None else tuple([h[:rows] for h in states])
        after = step(part, linear(running[0], w_hh, b_hh), running, *projection)
        every.append((after[0], after[-1]) if cells else after[:1])
        states = after if counts is None else _with_rest(after, states, rows)
    if not every:
        # Of the right shapes, and their gradients are zeros (rnn-19).
        sizes = [h.shape[1] for h in (states[0], states[-1])]
        output, *rest = [gates[..., :size] for size in (sizes if cells else sizes[:1])]
        return output, *states, *rest
    join = ops.stack if counts is None else ops.concat
    output, *rest = [join(steps[::-1] if reverse else steps) for steps in zip(*every, strict=True)]
    return output, *states, *rest


def _with_rest(after: States, states: States, rows: int) -> States:
    """Return states after a step, and below them those of the sequences that do not take it."""
    if rows == states[0].shape[0]:
        return after
    pairs = zip(after, states, strict=True)
    return tuple([ops.concat([new, old[rows:]]) for new, old in pairs])


class Steps(Function):
    """Part a sequence into what each step has, each a Tensor.

    Indexing would do, but each index has a gradient as large as the whole sequence.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, counts: tuple[int, ...] | None = None) -> tuple[Any, ...]:
        """Return the T arrays of x (T, ...), or those that have so many rows of x (R, ...)."""
        ctx.counts = counts
        if counts is None:
            return tuple(x[t] for t in range(len(x)))
        stops = list(accumulate(counts, initial=0))
        return tuple(x[start:stop] for start, stop in pairwise(stops))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return the gradients, stacked or joined."""
        return ctx.xp.stack(grads) if ctx.counts is None else ctx.xp.concat(grads)
