"""Dropout (Srivastava et al. 2014), scaled in training."""

from __future__ import annotations

from typing import Any

from impl_numpy import random
from impl_numpy.module import Module
from impl_numpy.nn.checks import as_tensor
from impl_numpy.tensor import Tensor


class Dropout(Module):
    """In training, each element is kept with probability 1 - p and divided by it.

    Parameters
    ----------
    p : float
        0 <= p <= 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            msg = f"Dropout: p must be a probability, 0 <= p <= 1, got {p}"
            raise ValueError(msg)
        self.p = p

    def forward(self, x: Any) -> Tensor:
        """x with elements dropped; x itself in evaluation.

        One uniform number per element is drawn in C order, and is at least p where one is kept.
        """
        x = as_tensor("Dropout", "x", x)
        if not self.training:
            return x
        kept = random.uniform(x.shape) >= self.p
        # With p = 1 nothing is kept, and 1 / (1 - p) is never wanted.
        scale = 1.0 / (1.0 - self.p) if self.p < 1 else 0.0
        return x * (kept * scale).astype(x.dtype if x.dtype.kind == "f" else "float32")

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
