"""Elements dropped at random."""

from __future__ import annotations

from typing import Any

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import check_fraction
from impl_cupy.nn.layer import Layer
from impl_cupy.ops.elementwise import where
from impl_cupy.recording import as_input, floating
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


class Dropout(Layer):
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

    p: float

    def __init__(self, p: float = 0.5) -> None:
        check_fraction("Dropout", "p", p)
        super().__init__(p=p)

    def forward(self, input: Any) -> Tensor:
        """Drop elements of `input`, any shape; one uniform number is drawn for each."""
        value: Tensor = floating(as_input("Dropout", input))
        return dropped(value, self.p) if self.training else value


def dropped(value: Tensor, p: float) -> Tensor:
    """Keep each element with probability ``1 - p``, divided by that; the others are 0."""
    return selected(value, drawn(value.shape, p), p)


def drawn(shape: tuple[int, ...], p: float) -> Tensor:
    """Draw which elements are kept, with probability ``1 - p``."""
    kept: Tensor = wrap(cp.asarray(random.uniform(shape) >= p))  # nn-08
    return kept


def selected(value: Tensor, kept: Tensor, p: float) -> Tensor:
    """Drop the elements that are not kept, and divide the others by ``1 - p``."""
    # Selected, not multiplied: what is dropped may be infinite (nn-13).
    chosen: Tensor = where(kept, value, 0.0)
    return chosen if p in (0, 1) else chosen / (1 - p)
