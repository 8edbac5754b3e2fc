"""Dropout (Srivastava et al. 2014), scaled in training."""

from __future__ import annotations

from typing import Any

from impl_numpy import ops, random
from impl_numpy.checks import check_number
from impl_numpy.nn.layer import Layer
from impl_numpy.tensor import Tensor


class Dropout(Layer):
    """Keep each element, in training, with probability 1 - p, and divide it by that.

    Parameters
    ----------
    p : float
        0 <= p <= 1.
    """

    _shown = ("p=",)

    def __init__(self, p: float = 0.5) -> None:
        p = check_number("Dropout", "p", p)
        if not 0 <= p <= 1:
            msg = f"Dropout: p must be a probability, 0 <= p <= 1, got {p}"
            raise ValueError(msg)
        super().__init__(p=p)

    def forward(self, input: Any) -> Tensor:
        """Return the input with elements dropped; the input itself in evaluation.

        One uniform number per element is drawn in C order, and is at least p where one is kept.
        """
        x = self._input(input)
        if not self.training:
            return x
        kept = random.uniform(x.shape) >= self.p  # nn-08
        # With p = 1 nothing is kept, and x / (1 - p) is never wanted.
        scaled = x / (1.0 - self.p if self.p < 1 else 1.0)
        return ops.where(kept, scaled, 0.0)  # nn-13
