"""Dropout (Srivastava et al., JMLR 2014)."""

from typing import Any

import jax
import jax.numpy as jnp

from ..checks import Shape, check_probability
from ..creation import draw
from ..dtypes import x64
from ..ops import formulas as F
from ..recording import Primitive, as_operand, shape_of
from ..tape import unwrap
from ..tensor import Tensor
from .layer import Layer


def thinned(p: float, x: Any, keep: Any) -> Any:
    """Return an array with 0 where it is not kept, and the rest made larger for it."""
    return jnp.where(keep, x / (1.0 - p), 0) if p < 1 else jnp.zeros_like(x)


_dropout = Primitive(thinned, "Dropout", F.all_but_first)


def drop(x: Any, p: float) -> Tensor:
    """Return x, any shape, without elements that chance chooses with probability `p`."""
    return dropped(x, ~below(p, shape_of(x), x), p)  # nn-08


def below(p: float, shape: Shape, beside: Any) -> Any:
    """Return where uniform numbers are below `p`, for use beside the values of an array."""
    numbers = draw("uniform", shape, isinstance(unwrap(beside), jax.core.Tracer))
    with x64():
        return numbers < p


def dropped(x: Any, keep: Any, p: float) -> Tensor:
    """Return x with 0 where it is not kept, and the rest made larger for it."""
    return _dropout((x, keep), float(p))


class Dropout(Layer):
    """Zeros with probability `p` in training, the identity in evaluation.

    An element is kept where its uniform number is at least `p`, and divided by ``1 - p``.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].
    """

    _options = ("p=",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability("Dropout", "p", p)

    def forward(self, input: Any) -> Tensor:
        """Map any shape to the same shape; one number is drawn for each element, in C order."""
        x = as_operand("Dropout", input)
        return drop(x, self.p) if self.training else x
