"""Dropout."""

import torch
from torch import Tensor

from impl_torch_ext import random
from impl_torch_ext.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """The identity in evaluation; in training, zeros with probability ``p`` and ``x / (1 - p)``
    else.

    Source: Srivastava et al., JMLR 15, 2014.

    Parameters
    ----------
    p : float
        In [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, int | float):
            msg = f"Dropout: p must be a number in [0, 1], got {p!r}"
            raise TypeError(msg)
        if not 0 <= p <= 1:
            msg = f"Dropout: p must be in [0, 1], got {p}"
            raise ValueError(msg)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``x``, any shape; training draws a number for each element, in C order."""
        if not self.training:
            return x
        keep = torch.from_numpy(random.uniform(tuple(x.shape)) >= self.p).to(x.device)
        # Nothing is kept where p is 1, so that the factor does not matter there.
        return torch.where(keep, x * (1.0 / (1.0 - self.p) if self.p < 1 else 0.0), 0.0)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"p={self.p}"
