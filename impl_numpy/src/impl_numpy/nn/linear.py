"""The affine map of one input, and the bilinear one of two."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import DTypeLike

from impl_numpy import ops
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
    _shown = ("in_features=", "out_features=", "bias=")
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


class Bilinear(Layer):
    """Compute input1[*, i] weight[o, i, j] input2[*, j], summed, plus bias[o] (torch.nn.Bilinear).

    Parameters
    ----------
    in1_features, in2_features, out_features : int
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (out_features, in1_features, in2_features)
        Uniform in [-k, k), k = 1 / sqrt(in1_features).
    bias : Parameter, shape (out_features,), or None
        The same.

    Raises
    ------
    TypeError, ValueError
        If a size is no positive int or the dtype is not floating.
    """

    _sizes = ("in1_features", "in2_features", "out_features")
    _shown = ("in1_features=", "in2_features=", "out_features=", "bias=")
    weight: Parameter

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(
            in1_features=in1_features, in2_features=in2_features, out_features=out_features
        )
        bias = check_flag("Bilinear", "bias", bias)
        k = 1.0 / math.sqrt(in1_features)
        self._uniform("weight", (out_features, in1_features, in2_features), k, dtype)
        self._uniform("bias", (out_features,) if bias else None, k, dtype)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """Return the map of two inputs.

        Parameters
        ----------
        input1, input2 : Tensor, shapes (*, in1_features) and (*, in2_features)

        Returns
        -------
        Tensor, shape (*, out_features)

        Raises
        ------
        ValueError
            If a last axis is another, or the leading axes differ.
        TypeError
            If a dtype is not the parameters'.
        """
        x1 = self._input(input1, self.weight.dtype, "input1")
        x2 = self._input(input2, self.weight.dtype, "input2")
        self._last_axes(x1, (self.in1_features,), "in1_features", "input1")
        self._last_axes(x2, (self.in2_features,), "in2_features", "input2")
        lead = x1.shape[:-1]
        if x2.shape[:-1] != lead:  # nn-15
            shapes = f"{x1.shape} and {x2.shape}"
            msg = f"Bilinear: input1 and input2 must have the same leading axes, got {shapes}"
            raise ValueError(msg)
        size, count = math.prod(lead), self.out_features
        wide = ops.permute_dims(self.weight, (1, 0, 2)).reshape((self.in1_features, -1))
        maps = (x1.reshape((size, self.in1_features)) @ wide).reshape(
            (size, count, self.in2_features)
        )
        y = (maps @ x2.reshape((size, self.in2_features, 1))).reshape((*lead, count))
        return y if self.bias is None else y + self.bias
