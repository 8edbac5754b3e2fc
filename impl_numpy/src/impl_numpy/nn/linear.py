"""The affine map."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import init
from impl_numpy.module import Module, Parameter
from impl_numpy.nn.checks import as_tensor, floating_dtype, positive, same_dtype
from impl_numpy.tensor import Tensor


class Linear(Module):
    """y = x @ weight.T + bias.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Uniform in [-k, k), k = 1 / sqrt(in_features).
    bias : Parameter, shape (out_features,), or None
        The same.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__()
        positive("Linear", in_features=in_features, out_features=out_features)
        kind = floating_dtype("Linear", dtype)
        self.in_features = in_features
        self.out_features = out_features
        k = 1.0 / math.sqrt(in_features)
        weight = Parameter(np.empty((out_features, in_features), kind))
        self.weight = init.uniform_(weight, -k, k)
        drawn = init.uniform_(Parameter(np.empty(out_features, kind)), -k, k) if bias else None
        self.register_parameter("bias", drawn)

    def forward(self, x: Any) -> Tensor:
        """The map of x.

        Parameters
        ----------
        x : Tensor, shape (*, in_features)

        Returns
        -------
        Tensor, shape (*, out_features)

        Raises
        ------
        ValueError
            If the last axis is not in_features.
        TypeError
            If the dtype is not the parameters'.
        """
        x = as_tensor("Linear", "x", x)
        if x.shape[-1:] != (self.in_features,):
            wanted = f"(*, in_features) = (*, {self.in_features})"
            msg = f"Linear: x must have shape {wanted}, got {x.shape}"
            raise ValueError(msg)
        same_dtype("Linear", "x", x, self.weight.dtype)
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Sizes and whether there is a bias."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"
