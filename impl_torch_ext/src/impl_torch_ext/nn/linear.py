"""The affine map."""

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.checks import check_flag, check_size, explain
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.ops.linalg import product

__all__ = ["Linear"]


class Linear(Layer):
    """`y = x @ weight.T + bias`.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Drawn first, uniform in `[-k, k)` with `k = 1 / sqrt(in_features)`.
    bias : Parameter or None, shape (out_features,)
        Drawn likewise.
    """

    _options: ClassVar[Options] = {
        "in_features": check_size,
        "out_features": check_size,
        "bias": check_flag,
    }
    in_features: int
    out_features: int
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        bound = 1.0 / math.sqrt(self.in_features)  # nn-02
        shape = (self.out_features, self.in_features)
        fill = partial(init.uniform_, a=-bound, b=bound)
        self._draw(fill, dtype, weight=shape, bias=shape[:1] if self.bias else None)

    def forward(self, input: Tensor) -> Tensor:
        """Return the map of `input`, shape (*, in_features), of shape (*, out_features)."""
        weight, bias = self.weight, self.bias
        self._check("input", input, (..., self.in_features), "(*, in_features)", weight)
        try:
            y = product(input, weight.mT)
            return y if bias is None else y + bias
        except RuntimeError as error:  # Parameters that functional_call put there.
            explain("Linear", error, input, weight, shapes=((), ()))
