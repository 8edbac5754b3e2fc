"""The recurrences, each once, as compositions of differentiable functions.

T steps, N batch, I input size, H hidden size. A step gets `projection`, which is `W_ih x + b_ih`
of shape (N, G H), the states, each (N, H), and the recurrent parameters; it returns the new states,
the output first. The equations are those of the pages of `torch.nn.RNNCell`, `LSTMCell` and
`GRUCell`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["Step", "affine", "gru", "lstm", "rnn", "sequence", "single"]

Step: TypeAlias = Callable[..., tuple[Tensor, ...]]


def rnn(
    projection: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None, *, relu: bool
) -> tuple[Tensor]:
    """Return `tanh(projection + W_hh h + b_hh)`, or relu."""
    total = projection + affine(h, weight_hh, bias_hh)
    return (torch.relu(total) if relu else torch.tanh(total),)


def lstm(
    projection: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor, bias_hh: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return `h' = o tanh(c')` and `c' = f c + i g`, with gates in the order i, f, g, o.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    i, f, g, o = (projection + affine(h, weight_hh, bias_hh)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(projection: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> tuple[Tensor]:
    """Return `(1 - z) n + z h`, `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`, rows r, z, n.

    Source: Cho et al. 2014, the reset gate after the recurrent product.
    """
    input_r, input_z, input_n = projection.chunk(3, -1)
    hidden_r, hidden_z, hidden_n = affine(h, weight_hh, bias_hh).chunk(3, -1)
    r = torch.sigmoid(input_r + hidden_r)
    sum_z = input_z + hidden_z
    n = torch.tanh(input_n + r * hidden_n)
    # rnn-26: 1 - z, with all its digits.
    return (torch.sigmoid(-sum_z) * n + torch.sigmoid(sum_z) * h,)


def sequence(step: Step, *inputs: Any, **config: Any) -> tuple[Tensor, ...]:
    """Run `step` over a sequence.

    Parameters
    ----------
    step : callable
        One of the equations above.
    *inputs
        x (T, N, I), the first states (N, H), weight_ih, weight_hh, bias_ih and bias_hh.
    **config
        Reaches `step`.

    Returns
    -------
    tuple of Tensor
        The output (T, N, H) and the last states (N, H).
    """
    x, *first, weight_ih, weight_hh, bias_ih, bias_hh = inputs
    states, outputs = tuple(first), []
    for projection in affine(x, weight_ih, bias_ih):
        states = step(projection, *states, weight_hh, bias_hh, **config)
        outputs.append(states[0])
    # rnn-19
    output = torch.stack(outputs) if outputs else states[0].new_zeros((0, *states[0].shape))
    return output, *states


def single(step: Step, *inputs: Any, **config: Any) -> tuple[Tensor, ...]:
    """Run `step` once: as `sequence`, with x (N, I), and without the output."""
    x, *states, weight_ih, weight_hh, bias_ih, bias_hh = inputs
    return step(affine(x, weight_ih, bias_ih), *states, weight_hh, bias_hh, **config)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x @ weight.T + bias`."""
    y = x @ weight.mT
    return y if bias is None else y + bias
