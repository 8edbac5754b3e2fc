"""The recurrent equations, each cell's once, on Tensors.

T steps, N batch, I input size, H hidden size, G gates. Sources: the pages of torch.nn.RNNCell,
LSTMCell and GRUCell; LSTM after Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al.
2000; GRU after Cho et al. 2014, reset gate after the recurrent product.

A step takes the input's part of the gates, W_ih x + b_ih of shape (N, G H), and the states (N, H),
and returns the next states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from impl_numpy import ops
from impl_numpy.function import Function
from impl_numpy.recording import RULES
from impl_numpy.tensor import Tensor

States: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[[Tensor, States, Tensor, Tensor | None], States]


def tanh_step(part: Tensor, states: States, w_hh: Tensor, b_hh: Tensor | None) -> States:
    """Return h' = tanh(part + W_hh h + b_hh)."""
    return (ops.tanh(part + linear(states[0], w_hh, b_hh)),)


def relu_step(part: Tensor, states: States, w_hh: Tensor, b_hh: Tensor | None) -> States:
    """Return h' = max(part + W_hh h + b_hh, 0)."""
    return (ops.relu(part + linear(states[0], w_hh, b_hh)),)


def lstm_step(part: Tensor, states: States, w_hh: Tensor, b_hh: Tensor | None) -> States:
    """Return h' = o tanh(c') and c' = f c + i g; i, f, o = sigmoid(...), g = tanh(...)."""
    h, c = states
    size = h.shape[1]
    gates = part + linear(h, w_hh, b_hh)
    i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(c), c


def gru_step(part: Tensor, states: States, w_hh: Tensor, b_hh: Tensor | None) -> States:
    """Return h' = (1 - z) n + z h.

    r, z = sigmoid(...), n = tanh(W_in x + b_in + r (W_hn h + b_hn)).
    """
    (h,) = states
    size = h.shape[1]
    own = linear(h, w_hh, b_hh)
    gates = part[:, : 2 * size] + own[:, : 2 * size]
    r = ops.sigmoid(gates[:, :size])
    n = ops.tanh(part[:, 2 * size :] + r * own[:, 2 * size :])
    return (RULES["mix"](gates[:, size:], h, n),)


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
) -> tuple[Tensor, ...]:
    """Take every step of a sequence: the differentiable form of a fused Function.

    Parameters
    ----------
    step : callable
        A cell's equations.
    x : Tensor, shape (T, N, I)
    states : tuple of Tensor, shape (N, H)
        The first one is the output.
    weights : W_ih (G H, I), W_hh (G H, H), b_ih and b_hh (G H,) or None

    Returns
    -------
    output : Tensor, shape (T, N, H)
    *states : Tensor, shape (N, H)
    """
    w_ih, w_hh, b_ih, b_hh = weights
    outputs = []
    for part in Steps.apply(linear(x, w_ih, b_ih)):
        states = step(part, states, w_hh, b_hh)
        outputs.append(states[0])
    empty = (0, *states[0].shape)
    output = ops.stack(outputs) if outputs else ops.zeros(empty, dtype=x.dtype)  # rnn-19
    return output, *states


class Steps(Function):
    """Part a sequence into its entries, each a Tensor.

    Indexing would do, but each index has a gradient as large as the whole sequence.
    """

    @staticmethod
    def forward(ctx: Any, x: Any) -> tuple[Any, ...]:  # noqa: ARG004
        """Return the T arrays of x (T, ...)."""
        return tuple(x[t] for t in range(len(x)))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return the gradients, stacked."""
        return ctx.xp.stack(grads)
