"""Dropout (Srivastava et al., JMLR 2014)."""

from typing import Any

import jax

from .. import arithmetic as A
from .. import kernels
from ..draws import draw
from ..module import Module
from ..tape import Primitive, unwrap
from ..tensor import Tensor

_dropout = Primitive(kernels.dropout, "Dropout", kernels.all_but_first)


class Dropout(Module):
    """Zeros with probability `p` in training, the identity in evaluation.

    An element is kept where its uniform number is at least `p`, and divided by ``1 - p``.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            msg = f"Dropout: p must be in [0, 1], got {p}"
            raise ValueError(msg)
        self.p = p

    def forward(self, x: Any) -> Tensor:
        """Map x, any shape, to the same shape; one number is drawn for each element, in C order."""
        x = A.operand("Dropout", x)
        if not self.training:
            return x
        numbers = draw("uniform", A.shape_of(x), isinstance(unwrap(x), jax.core.Tracer))
        return _dropout((x, numbers >= self.p), float(self.p))

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
