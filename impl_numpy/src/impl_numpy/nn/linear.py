"""The affine map."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import DTypeLike

from impl_numpy.checks import check_flag, check_same_dtype
from impl_numpy.nn.layer import Layer
from impl_numpy.parameter import Parameter
from impl_numpy.tensor import Tensor


class Linear(Layer):
    """Compute input @ weight.T + bias (torch.nn.Linear).

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

    Raises
    ------
    TypeError, ValueError
        If a size is no positive int or the dtype is not floating.
    """

    _sizes = ("in_features", "out_features")
    weight: Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(in_features=in_features, out_features=out_features)
        bias = check_flag("Linear", "bias", bias)
        k = 1.0 / math.sqrt(in_features)
        self._uniform("weight", (out_features, in_features), k, dtype)
        self._uniform("bias", (out_features,) if bias else None, k, dtype)

    def forward(self, input: Any) -> Tensor:
        """Return the map of the input.

        Parameters
        ----------
        input : Tensor, shape (*, in_features)

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
        x = self._input(input)
        self._last_axes(x, (self.in_features,), "in_features")
        check_same_dtype("Linear", "input", x.dtype, self.weight.dtype)
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return the sizes and whether there is a bias."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"
