"""The affine layer."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.checks import check_flag, check_positive_int
from impl_cupy.dtypes import DTypeLike
from impl_cupy.function import Function
from impl_cupy.nn.layer import Layer, uniform
from impl_cupy.ops.manipulation import reshape
from impl_cupy.tensor import Tensor


class LinearFunction(Function):
    """``y = x @ weight.T + bias``, one matrix product each way however many leading axes."""

    _is_ours = True
    _called = "Linear"

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any) -> Any:
        """Multiply rows of `x`, shape (*, in), by `weight`, shape (out, in)."""
        xp = ctx.xp
        out_features, in_features = weight.shape
        rows = xp.reshape(x, (_rows(x), in_features))
        ctx.save_for_backward(rows, weight)
        ctx.shape = x.shape
        product = xp.matmul(rows, xp.matrix_transpose(weight))
        if bias is not None:
            product = product + bias
        return xp.reshape(product, (*x.shape[:-1], out_features))

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> tuple[Any, Any, Any]:
        """Form ``grad @ weight``, ``grad.T @ x`` and the sum of the rows."""
        xp = ctx.xp
        rows, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        grad = xp.reshape(grad_output, (_rows(grad_output), weight.shape[0]))
        return (
            xp.reshape(xp.matmul(grad, weight), ctx.shape) if to_x else None,
            xp.matmul(xp.matrix_transpose(grad), rows) if to_weight else None,
            xp.sum(grad, axis=0) if to_bias else None,
        )


def _rows(x: Any) -> int:
    return math.prod(x.shape[:-1])


class Linear(Layer):
    """Apply ``y = input @ weight.T + bias``.

    Source: the page of torch.nn.Linear.

    Parameters
    ----------
    in_features, out_features : int
        Lengths of the last axis before and after.
    bias : bool
        Whether there is one.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Uniform in ``[-k, k)``, ``k = 1 / sqrt(in_features)``.
    bias : Parameter or None, shape (out_features,)
        Likewise.
    """

    in_features: int
    out_features: int

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: DTypeLike = None
    ) -> None:
        columns = check_positive_int("Linear", "in_features", in_features)
        rows = check_positive_int("Linear", "out_features", out_features)
        bias = check_flag("Linear", "bias", bias)
        super().__init__(dtype, in_features=columns, out_features=rows, bias=bias)
        draw = uniform(1 / math.sqrt(columns))  # nn-02
        self._parameter("weight", (rows, columns), draw)
        self._parameter("bias", (rows,), draw, bias)

    def forward(self, input: Any) -> Tensor:
        """Apply the layer.

        Parameters
        ----------
        input : Tensor, shape (*, in_features)

        Returns
        -------
        Tensor, shape (*, out_features)

        Raises
        ------
        ValueError
            If the last axis has another length.
        TypeError
            If the dtype is not the parameters'.
        """
        value = self._input(input, "in_features", (self.in_features,))
        return LinearFunction.apply(value, self.weight, self.bias)


class Bilinear(Layer):
    """Apply ``y[o] = sum over i, j of input1[i] weight[o, i, j] input2[j] + bias[o]``.

    Source: the page of torch.nn.Bilinear.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
        Lengths of the last axes of both inputs, and of the result's.
    bias : bool
        Whether there is one.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in1_features, in2_features)
        Uniform in ``[-k, k)``, ``k = 1 / sqrt(in1_features)``.
    bias : Parameter or None, shape (out_features,)
        Likewise.

    Raises
    ------
    ValueError
        If a length is below 1.
    TypeError
        If one is no int.
    """

    in1_features: int
    in2_features: int
    out_features: int

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        first = check_positive_int("Bilinear", "in1_features", in1_features)
        second = check_positive_int("Bilinear", "in2_features", in2_features)
        rows = check_positive_int("Bilinear", "out_features", out_features)
        bias = check_flag("Bilinear", "bias", bias)
        super().__init__(
            dtype, in1_features=first, in2_features=second, out_features=rows, bias=bias
        )
        draw = uniform(1 / math.sqrt(first))  # nn-02
        self._parameter("weight", (rows, first, second), draw)
        self._parameter("bias", (rows,), draw, bias)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """Apply the layer.

        Parameters
        ----------
        input1 : Tensor, shape (*, in1_features)
        input2 : Tensor, shape (*, in2_features)

        Returns
        -------
        Tensor, shape (*, out_features)

        Raises
        ------
        ValueError
            If a last axis has another length, or the leading axes differ.
        TypeError
            If a dtype is not the parameters'.
        """
        one = self._input(input1, "in1_features", (self.in1_features,), "input1")
        two = self._input(input2, "in2_features", (self.in2_features,), "input2")
        lead = one.shape[:-1]
        if lead != two.shape[:-1]:  # nn-15
            msg = (
                "Bilinear: input1 and input2 must have the same leading axes, got shapes "
                f"{one.shape} and {two.shape}"
            )
            raise ValueError(msg)
        columns = self.in1_features * self.in2_features
        pairs = reshape(one, (*one.shape, 1)) * reshape(two, (*lead, 1, self.in2_features))
        weight = reshape(self.weight, (self.out_features, columns))
        return LinearFunction.apply(reshape(pairs, (*lead, columns)), weight, self.bias)
