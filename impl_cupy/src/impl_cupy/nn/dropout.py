"""Elements dropped at random."""

from __future__ import annotations

from typing import Any

from impl_cupy import random
from impl_cupy.creation import to_device
from impl_cupy.module import Module
from impl_cupy.ops.primitive import as_tensor, floating
from impl_cupy.tensor import Tensor, wrap


class Dropout(Module):
    """In training keep each element with probability ``1 - p`` and divide it by that.

    Source: Srivastava et al., "Dropout", 2014, in the form that scales in training.

    Parameters
    ----------
    p : float
        Probability of dropping, in [0, 1].

    Raises
    ------
    ValueError
        If `p` is outside.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, (int, float)):
            msg = f"Dropout: p must be a number in [0, 1], got {p!r}"
            raise TypeError(msg)
        if not 0 <= p <= 1:
            msg = f"Dropout: p must be in [0, 1], got {p}"
            raise ValueError(msg)
        self.p = p

    def forward(self, x: Any) -> Tensor:
        """Drop elements of `x`, any shape; one uniform number is drawn for each."""
        value = floating(as_tensor("Dropout", x))
        if not self.training:
            return value
        kept = random.uniform(value.shape) >= self.p
        mask = wrap(to_device(kept, value.dtype))
        return value * mask if self.p in (0, 1) else value * mask / (1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"
