"""The recurrent equations, each cell once, and a sequence made of them.

N, H are batch and hidden size; P is the size of h, which is H unless an LSTM projects it; G is the
number of gates. An equation takes what comes from the input and from the state before,
``W_ih x + b_ih`` and ``W_hh h + b_hh``, shapes (N, G H), and the states before, h (N, P) first,
then c (N, H); it returns the states after. It is written on Tensors, so that it can be
differentiated any number of times; ``kernels/rnn.cu`` has the same equations for raw arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from impl_cupy.ops.activation import relu, sigmoid, tanh
from impl_cupy.ops.manipulation import concat, expand_dims
from impl_cupy.ops.products import matmul
from impl_cupy.tensor import Tensor

States = tuple[Tensor, ...]


def rnn(from_x: Tensor, from_h: Tensor, _: Tensor, *, nonlinearity: str) -> States:
    """Return ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu."""
    sums = from_x + from_h
    return (relu(sums) if nonlinearity == "relu" else tanh(sums),)


def lstm(from_x: Tensor, from_h: Tensor, _: Tensor, c: Tensor, weight_hr: Tensor | None) -> States:
    """Return ``h' = o tanh(c')`` and ``c' = f c + i g``; gates lie in the order i, f, g, o.

    With `weight_hr`, shape (P, H), h' is projected: ``W_hr (o tanh(c'))``. Source: Hochreiter and
    Schmidhuber 1997, with the forget gate of Gers et al. 2000; the projection of Sak, Senior and
    Beaufays 2014.
    """
    size = c.shape[1]
    sums = from_x + from_h
    i, f, g, o = (sums[:, gate * size : (gate + 1) * size] for gate in range(4))
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return affine(h, weight_hr, None) if weight_hr is not None else h, c


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
        From x (T, N, I), the first states (1, N, P) and (1, N, H), weight_ih, weight_hh, bias_ih,
        bias_hh and what else the equation takes to the output (T, N, P) and the last states. Its
        keyword `walk`, of `lengths`, has the order of the steps and their rows; `with_cells` the
        second state after every step comes last.
    """

    def sequence(
        x: Tensor, *inputs: Any, walk: Any, with_cells: bool = False, **config: Any
    ) -> States:
        weight_ih, weight_hh, bias_ih, bias_hh, *rest = inputs[states:]
        now: States = tuple(walk.sort(first[0]) for first in inputs[:states])
        from_x = affine(walk.rows(x), weight_ih, bias_ih)
        after: dict[int, States] = {}
        ended: list[States] = []
        shown = (0, 1) if with_cells else (0,)
        # Without steps one of no rows, so that every input has a gradient (rnn-19).
        for row, _, count in list(walk.steps()) or [(0, 0, 0)]:
            if count < now[0].shape[0]:
                ended.insert(0, tuple(state[count:] for state in now))
                now = tuple(state[:count] for state in now)
            from_h = affine(now[0], weight_hh, bias_hh)
            now = equation(from_x[row : row + count], from_h, *now, *rest, **config)
            after[row] = now
        every = [walk.put(concat([after[row][place] for row in sorted(after)])) for place in shown]
        lasts = (concat(parts) for parts in zip(now, *ended, strict=True))
        return every[0], *(expand_dims(walk.unsort(last), axis=0) for last in lasts), *every[1:]

    return sequence


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x W^T + b``."""
    product = matmul(x, weight.T)
    return product if bias is None else product + bias
