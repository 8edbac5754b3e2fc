"""A cell as a user writes it: one gate, one candidate; the same in every library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.arrays import arrays
from benchmarks.rows import Row

__all__ = ["next_state", "weights"]


def weights(row: Row) -> list[np.ndarray]:
    """Return the weights of the input (I, 2 H) and of the state (H, 2 H)."""
    _, _, inputs, hidden = row.shape
    shapes = (inputs, 2 * hidden), (hidden, 2 * hidden)
    drawn = arrays(*shapes)
    return [array / np.float32(2 * np.sqrt(len(array))) for array in drawn]


def next_state(
    sigmoid: Callable[[Any], Any], tanh: Callable[[Any], Any], projected: Any, h: Any, back: Any
) -> Any:
    """Return the next state (N, H) of what comes from the input (N, 2 H) and the state."""
    size = h.shape[-1]
    a = projected + h @ back
    z, n = sigmoid(a[..., :size]), tanh(a[..., size:])
    return z * h + (1 - z) * n
