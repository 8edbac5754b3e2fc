"""The recurrent equations, in any library's operations, for libraries that have no layer of them.

From the pages of ``torch.nn.RNN``, ``LSTM`` and ``GRU``; shapes: x (N, I), h and c (N, H), weights
(I, G H) and (H, G H), biases (G H,), with the rows of torch's parameters as columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.peers.arrays import arrays
from benchmarks.rows import GATES, Row

__all__ = ["parameters", "unrolled"]


def parameters(row: Row) -> list[np.ndarray]:
    """Return weight_ih, weight_hh, bias_ih and bias_hh of a cell, small enough not to saturate."""
    inputs, hidden = row.shape[2:]
    width = GATES[row.name] * hidden
    drawn = arrays((inputs, width), (hidden, width), (width,), (width,))
    return [array * np.float32(hidden**-0.5) for array in drawn]


def unrolled(
    ops: Any, cell: str, x: Sequence[Any], state: Any, weights: Sequence[Any]
) -> list[Any]:
    """Return h after each step.

    Parameters
    ----------
    ops
        Has ``tanh`` and ``sigmoid``; ``matmul`` is ``@``.
    cell : str
    x : sequence of arrays
        T arrays of shape (N, I).
    state : array
        h before the first step, which is c too; shape (N, H).
    weights : sequence of arrays
        As `parameters` returns them.
    """
    step = {"RNN": _rnn, "LSTM": _lstm, "GRU": _gru}[cell]
    carry, outputs = (state, state), []
    for x_t in x:
        carry = step(ops, x_t, carry, weights)
        outputs.append(carry[0])
    return outputs


def _rnn(ops: Any, x: Any, carry: Any, weights: Any) -> Any:
    w_ih, w_hh, b_ih, b_hh = weights
    h = ops.tanh(x @ w_ih + b_ih + carry[0] @ w_hh + b_hh)
    return h, h


def _lstm(ops: Any, x: Any, carry: Any, weights: Any) -> Any:
    w_ih, w_hh, b_ih, b_hh = weights
    h, c = carry
    hidden = h.shape[-1]
    gates = x @ w_ih + b_ih + h @ w_hh + b_hh
    i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(c), c


def _gru(ops: Any, x: Any, carry: Any, weights: Any) -> Any:
    w_ih, w_hh, b_ih, b_hh = weights
    h, _ = carry
    hidden = h.shape[-1]
    from_x, from_h = x @ w_ih + b_ih, h @ w_hh + b_hh
    gates = ops.sigmoid(from_x[:, : 2 * hidden] + from_h[:, : 2 * hidden])
    r, z = gates[:, :hidden], gates[:, hidden:]
    n = ops.tanh(from_x[:, 2 * hidden :] + r * from_h[:, 2 * hidden :])
    h = (1 - z) * n + z * h
    return h, h
