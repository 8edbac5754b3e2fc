"""Dropout (Srivastava et al. 2014), scaled in training."""

from __future__ import annotations

from typing import Any

from impl_numpy import ops, random
from impl_numpy.checks import check_probability
from impl_numpy.dtypes import Array, Shape
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
        super().__init__(p=check_probability("Dropout", "p", p))

    def forward(self, input: Any) -> Tensor:
        """Return the input with elements dropped; the input itself in evaluation.

        One uniform number per element is drawn in C order, and is at least p where one is kept.
        """
        x = self._input(input)
        if not self.training:
            return x
        return dropped(x, drawn(x.shape, self.p), self.p)


def drawn(shape: Shape, p: float) -> Array:
    """Return a mask that is true where an element is kept."""
    kept: Array = random.uniform(shape) >= p  # nn-08
    return kept


def dropped(x: Tensor, kept: Any, p: float) -> Tensor:
    """Return x / (1 - p) where a mask, a Tensor or raw array, is true, else 0."""
    # With p = 1 nothing is kept, and x / (1 - p) is never wanted.
    scaled = x / (1.0 - p if p < 1 else 1.0)
    return ops.where(kept, scaled, 0.0)  # nn-13
