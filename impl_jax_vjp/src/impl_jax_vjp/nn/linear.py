"""The affine layer."""

import math
from typing import Any

from ..checks import check_flag, check_parameter, refuse
from ..ops.formulas import product
from ..recording import Primitive
from ..tensor import Tensor
from .layer import Layer


def _affine(x: Any, weight: Any, *bias: Any) -> Any:
    if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        wanted = f"of shape (out_features, in_features) = (out_features, {x.shape[-1]})"
        refuse("Linear", "weight", wanted, f"shape {weight.shape}")
    for added in bias:
        check_parameter("Linear", "bias", added, weight.shape[:1])
    y = product(x, weight.T)
    return y + bias[0] if bias else y


def _kept(mask: tuple[bool, ...]) -> tuple[bool, ...]:
    # Each factor for the other's gradient, and never the bias.
    return mask[1], mask[0], *[False] * (len(mask) - 2)


_linear = Primitive(_affine, "Linear", _kept)


class Linear(Layer):
    """``y = input @ weight.T + bias`` (the page of ``torch.nn.Linear``).

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter, shape (out_features,), or None
        Both uniform in [-k, k), ``k = 1 / sqrt(in_features)``, weight drawn first.
    """

    in_features: int
    out_features: int
    _options = ("in_features=", "out_features=", "bias=")

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None
    ) -> None:
        super().__init__(dtype=dtype)
        self._take_sizes(in_features=in_features, out_features=out_features)
        present = check_flag("Linear", "bias", bias)
        bound = 1.0 / math.sqrt(self.in_features)  # nn-02
        self._uniform("weight", (self.out_features, self.in_features), bound)
        self._uniform("bias", (self.out_features,), bound, present=present)

    def forward(self, input: Any) -> Tensor:
        """Map shape (*, in_features) to shape (*, out_features).

        Raises
        ------
        ValueError
            If the last axis is not `in_features`.
        TypeError
            If its dtype is not that of the parameters.
        """
        weight, bias = self.weight, self.bias
        x = self._check("input", input, (self.in_features,), "(*, in_features)")
        return _linear((x, weight) if bias is None else (x, weight, bias))
