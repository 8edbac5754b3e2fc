"""The recurrences as compositions of differentiable functions: what the fused Functions are
differentiated through a second time.

T steps, N batch, I input size, H hidden size. The equations are those of the pages of
`torch.nn.RNNCell`, `LSTMCell` and `GRUCell`.
"""

import torch
from torch import Tensor

__all__ = [
    "affine",
    "gru_sequence",
    "gru_step",
    "lstm_sequence",
    "lstm_step",
    "rnn_sequence",
    "rnn_step",
]


def rnn_step(
    projection: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None, relu: bool
) -> Tensor:
    """Return ``tanh(projection + W_hh h + b_hh)``, or relu, shape (N, H).

    Parameters
    ----------
    projection : Tensor, shape (N, H)
        ``W_ih x + b_ih``.
    h : Tensor, shape (N, H)
    weight_hh : Tensor, shape (H, H)
    bias_hh : Tensor or None, shape (H,)
    relu : bool
    """
    total = projection + affine(h, weight_hh, bias_hh)
    return torch.relu(total) if relu else torch.tanh(total)


def lstm_step(
    projection: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor, bias_hh: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return ``h', c'``, each of shape (N, H): ``c' = f c + i g``, ``h' = o tanh(c')``.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    Parameters
    ----------
    projection : Tensor, shape (N, 4 H)
        ``W_ih x + b_ih``, gates in the order i, f, g, o.
    h, c : Tensor, shape (N, H)
    weight_hh : Tensor, shape (4 H, H)
    bias_hh : Tensor or None, shape (4 H,)
    """
    i, f, g, o = (projection + affine(h, weight_hh, bias_hh)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(projection: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """Return ``(1 - z) n + z h``, shape (N, H), with ``n = tanh(W_in x + b_in + r (W_hn h +
    b_hn))``.

    Source: Cho et al. 2014, the reset gate after the recurrent product.

    Parameters
    ----------
    projection : Tensor, shape (N, 3 H)
        ``W_ih x + b_ih``, gates in the order r, z, n.
    h : Tensor, shape (N, H)
    weight_hh : Tensor, shape (3 H, H)
    bias_hh : Tensor or None, shape (3 H,)
    """
    input_r, input_z, input_n = projection.chunk(3, -1)
    hidden_r, hidden_z, hidden_n = affine(h, weight_hh, bias_hh).chunk(3, -1)
    r = torch.sigmoid(input_r + hidden_r)
    z = torch.sigmoid(input_z + hidden_z)
    n = torch.tanh(input_n + r * hidden_n)
    return (1 - z) * n + z * h


def rnn_sequence(
    x: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    *,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output (T, N, H) and the last state (N, H) for ``x`` (T, N, I)."""
    h, outputs = h0, []
    for projection in affine(x, weight_ih, bias_ih):
        h = rnn_step(projection, h, weight_hh, bias_hh, relu)
        outputs.append(h)
    return _stacked(outputs, h0), h


def lstm_sequence(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output (T, N, H) and the last h and c (N, H) for ``x`` (T, N, I)."""
    h, c, outputs = h0, c0, []
    for projection in affine(x, weight_ih, bias_ih):
        h, c = lstm_step(projection, h, c, weight_hh, bias_hh)
        outputs.append(h)
    return _stacked(outputs, h0), h, c


def gru_sequence(
    x: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the output (T, N, H) and the last state (N, H) for ``x`` (T, N, I)."""
    h, outputs = h0, []
    for projection in affine(x, weight_ih, bias_ih):
        h = gru_step(projection, h, weight_hh, bias_hh)
        outputs.append(h)
    return _stacked(outputs, h0), h


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x @ weight.T + bias``."""
    y = x @ weight.mT
    return y if bias is None else y + bias


def _stacked(outputs: list[Tensor], h0: Tensor) -> Tensor:
    return torch.stack(outputs) if outputs else h0.new_zeros((0, *h0.shape))
