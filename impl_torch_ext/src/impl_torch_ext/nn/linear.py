"""The affine map, and the one that is linear in each of two inputs."""

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.checks import check_flag, check_size, explain, shapes_of
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.ops.products import product

__all__ = ["Bilinear", "Linear"]


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


class Bilinear(Layer):
    """`y[o] = x1 @ weight[o] @ x2 + bias[o]`.

    Source: the page of `torch.nn.Bilinear`.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
    bias : bool
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in1_features, in2_features)
        Drawn first, uniform in `[-k, k)` with `k = 1 / sqrt(in1_features)`.
    bias : Parameter or None, shape (out_features,)
        Drawn likewise.
    """

    _options: ClassVar[Options] = {
        "in1_features": check_size,
        "in2_features": check_size,
        "out_features": check_size,
        "bias": check_flag,
    }
    in1_features: int
    in2_features: int
    out_features: int
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in1_features, in2_features, out_features, bias)
        bound = 1.0 / math.sqrt(self.in1_features)  # nn-02
        shape = (self.out_features, self.in1_features, self.in2_features)
        fill = partial(init.uniform_, a=-bound, b=bound)
        self._draw(fill, dtype, weight=shape, bias=shape[:1] if self.bias else None)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Return the map of both, shapes (*, in1_features) and (*, in2_features).

        Returns
        -------
        Tensor, shape (*, out_features)
        """
        weight, bias = self.weight, self.bias
        first, second = self.in1_features, self.in2_features
        self._check("input1", input1, (..., first), "(*, in1_features)", weight)
        self._check("input2", input2, (..., second), "(*, in2_features)", weight)
        if input1.shape[:-1] != input2.shape[:-1]:  # nn-15
            msg = (
                "Bilinear: the leading axes of input1 and input2 must be the same, got shapes "
                f"{shapes_of(input1, input2)}"
            )
            raise ValueError(msg)
        try:
            rows = product(input1, weight.movedim(1, 0).reshape(first, -1))
            maps = rows.unflatten(-1, (self.out_features, second))
            y = torch.matmul(maps, input2.unsqueeze(-1)).squeeze(-1)
            return y if bias is None else y + bias
        except RuntimeError as error:  # Parameters that functional_call put there.
            explain("Bilinear", error, input1, input2, weight, shapes=((), ()))
