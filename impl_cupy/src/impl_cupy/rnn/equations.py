"""The recurrent equations, each cell once, and a sequence made of them.

N, H are batch and hidden size, G is the number of gates. An equation takes what comes from the
input and from the state before, ``W_ih x + b_ih`` and ``W_hh h + b_hh``, shapes (N, G H), and the
states before, shapes (N, H), h first; it returns the states after. It is written on Tensors, so
that it can be differentiated any number of times; ``kernels/rnn.cu`` has the same equations for raw
arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.ops.activation import relu, sigmoid, tanh
from impl_cupy.ops.linalg import matmul
from impl_cupy.ops.manipulation import expand_dims, stack
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

States = tuple[Tensor, ...]


def rnn(from_x: Tensor, from_h: Tensor, _: Tensor, *, nonlinearity: str) -> States:
    """Return ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu."""
    sums = from_x + from_h
    return (relu(sums) if nonlinearity == "relu" else tanh(sums),)


def lstm(from_x: Tensor, from_h: Tensor, h: Tensor, c: Tensor) -> States:
    """Return ``h' = o tanh(c')`` and ``c' = f c + i g``; gates lie in the order i, f, g, o.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    size = h.shape[1]
    sums = from_x + from_h
    i, f, g, o = (sums[:, gate * size : (gate + 1) * size] for gate in range(4))
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru(from_x: Tensor, from_h: Tensor, h: Tensor) -> States:
    """Return ``h' = (1 - z) n + z h``; gates lie in the order r, z, n.

    ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``: the reset gate comes after the recurrent
    product. Source: Cho et al. 2014.
    """
    size = h.shape[1]
    both = from_x[:, : 2 * size] + from_h[:, : 2 * size]
    r, sum_z = sigmoid(both[:, :size]), both[:, size:]
    n = tanh(from_x[:, 2 * size :] + r * from_h[:, 2 * size :])
    # sigmoid(-x) is 1 - z with all its digits.
    return (sigmoid(-sum_z) * n + sigmoid(sum_z) * h,)


def unrolled(equation: Callable[..., States], states: int) -> Callable[..., States]:
    """Make the function of a whole sequence, step by step.

    Parameters
    ----------
    equation : callable
        One of those above.
    states : int
        How many states it has.

    Returns
    -------
    callable
        From x (T, N, I), the first states (1, N, H), weight_ih, weight_hh, bias_ih and bias_hh to
        the output (T, N, H) and the last states (1, N, H).
    """

    def sequence(x: Tensor, *inputs: Any, **config: Any) -> States:
        weight_ih, weight_hh, bias_ih, bias_hh = inputs[states:]
        now: States = tuple(first[0] for first in inputs[:states])
        from_x = _affine(x, weight_ih, bias_ih)
        outputs = []
        for t in range(x.shape[0]):
            now = equation(from_x[t], _affine(now[0], weight_hh, bias_hh), *now, **config)
            outputs.append(now[0])
        return _stacked(outputs, now[0]), *(expand_dims(last, axis=0) for last in now)

    return sequence


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = matmul(x, weight.T)
    return product if bias is None else product + bias


def _stacked(outputs: list[Tensor], like: Tensor) -> Tensor:
    if outputs:
        return stack(outputs)
    empty: Tensor = wrap(cp.zeros((0, *like.shape), dtype=like.dtype))
    return empty
