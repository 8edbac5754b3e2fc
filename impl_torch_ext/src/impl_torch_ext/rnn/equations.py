"""The recurrences, each once, as compositions of differentiable functions.

T steps, N batch, I input size, H hidden size, P size of a state h, G gates. A step gets `fed`,
which is `W_ih x + b_ih` of shape (N, G H), the states h (N, P) and c (N, H), and the recurrent
parameters; it returns the new states, the output first. `recurrent` (N, P) may stand in the
place of the h that W_hh multiplies. The equations are those of the pages of `torch.nn.RNNCell`,
`LSTMCell` and `GRUCell`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["Step", "affine", "gru", "lstm", "lstm_gates", "mixed", "rnn", "sequence", "single"]

Step: TypeAlias = Callable[..., tuple[Tensor, ...]]


def rnn(
    fed: Tensor,
    h: Tensor,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    *,
    relu: bool,
    recurrent: Tensor | None = None,
) -> tuple[Tensor]:
    """Return `tanh(fed + W_hh h + b_hh)`, or relu."""
    total = fed + affine(h if recurrent is None else recurrent, weight_hh, bias_hh)
    return (torch.relu(total) if relu else torch.tanh(total),)


def lstm(
    fed: Tensor,
    h: Tensor,
    c: Tensor,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    *,
    weight_hr: Tensor | None = None,
    recurrent: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return `h' = o tanh(c')` and `c' = f c + i g`, with gates in the order i, f, g, o.

    With `weight_hr` (P, H) it is `h' = W_hr (o tanh(c'))`. Source: Hochreiter and Schmidhuber 1997,
    with the forget gate of Gers et al. 2000; the projection of Sak, Senior and Beaufays 2014.
    """
    fed = fed + affine(h if recurrent is None else recurrent, weight_hh, bias_hh)
    h, c = lstm_gates(fed, c)
    return h if weight_hr is None else affine(h, weight_hr, None), c


def lstm_gates(
    sums: Tensor, c: Tensor, norm: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Return `h' = o tanh(c')` and `c'` from the arguments of the gates; `norm` is taken of c'."""
    i, f, g, o = sums.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c if norm is None else norm(c)), c


def gru(
    fed: Tensor,
    h: Tensor,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    *,
    recurrent: Tensor | None = None,
) -> tuple[Tensor]:
    """Return `(1 - z) n + z h`, `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`, rows r, z, n.

    Source: Cho et al. 2014, the reset gate after the recurrent product.
    """
    input_r, input_z, input_n = fed.chunk(3, -1)
    hidden = affine(h if recurrent is None else recurrent, weight_hh, bias_hh)
    hidden_r, hidden_z, hidden_n = hidden.chunk(3, -1)
    n = torch.tanh(input_n + torch.sigmoid(input_r + hidden_r) * hidden_n)
    return (mixed(input_z + hidden_z, n, h),)


def mixed(sum_z: Tensor, n: Tensor, h: Tensor) -> Tensor:
    """Return `(1 - z) n + z h`, z the sigmoid of `sum_z`."""
    # rnn-26: 1 - z, with all its digits.
    return torch.sigmoid(-sum_z) * n + torch.sigmoid(sum_z) * h


def sequence(
    step: Step,
    *inputs: Any,
    batch_sizes: Tensor | None = None,
    reverse: bool = False,
    cells: bool = False,
    **config: Any,
) -> tuple[Tensor, ...]:
    """Run `step` over a sequence.

    Parameters
    ----------
    step : callable
        One of the equations above.
    *inputs
        x (T, N, I), the first states (N, P) and (N, H), weight_ih, weight_hh, bias_ih and bias_hh.
    batch_sizes : Tensor of int64, shape (T,), optional
        With it x is (rows, I), packed: of step t the first `batch_sizes[t]` samples are there.
    reverse : bool
        Whether to run from the last step to the first.
    cells : bool
        Whether the c of every step is wanted too.
    **config
        Reaches `step`.

    Returns
    -------
    tuple of Tensor
        The output (T, N, P), or (rows, P), and the last states, of each sample's own last step;
        with `cells` also c (T, N, H), or (rows, H).
    """
    x, *states, weight_ih, weight_hh, bias_ih, bias_hh = inputs
    fed = affine(x, weight_ih, bias_ih)
    steps = fed.unbind() if batch_sizes is None else fed.split(batch_sizes.tolist())
    outputs: list[tuple[Tensor, ...]] = []
    for one in reversed(steps) if reverse else steps:
        count = len(one)
        new = step(one, *(state[:count] for state in states), weight_hh, bias_hh, **config)
        outputs.append(new if cells else new[:1])
        # Samples that have ended, or in reverse not begun, keep their states.
        states = [
            a if count == len(b) else torch.cat([a, b[count:]])
            for a, b in zip(new, states, strict=True)
        ]
    if reverse:
        outputs.reverse()
    if not outputs:  # rnn-19: gradients are 0, not missing.
        output, *every = [fed[..., : state.shape[-1]] for state in states[: 1 + cells]]
    else:
        join = torch.stack if batch_sizes is None else torch.cat
        output, *every = [join(parts) for parts in zip(*outputs, strict=True)]
    return output, *states, *every


def single(step: Step, *inputs: Any, **config: Any) -> tuple[Tensor, ...]:
    """Run `step` once: as `sequence`, with x (N, I), and without the output."""
    x, *states, weight_ih, weight_hh, bias_ih, bias_hh = inputs
    return step(affine(x, weight_ih, bias_ih), *states, weight_hh, bias_hh, **config)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x @ weight.T + bias`."""
    y = x @ weight.mT
    return y if bias is None else y + bias
