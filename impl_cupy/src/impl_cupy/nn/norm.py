"""Normalization."""

from __future__ import annotations

from typing import Any

from impl_cupy.checks import check_at_least_zero, check_flag, check_shape
from impl_cupy.dtypes import DTypeLike
from impl_cupy.nn.layer import Layer, constant
from impl_cupy.ops.elementwise import sqrt, square
from impl_cupy.ops.reduction import mean
from impl_cupy.tensor import Tensor


class LayerNorm(Layer):
    """Apply ``(input - mean) / sqrt(var + eps) * weight + bias`` over the last axes.

    Source: Ba, Kiros and Hinton 2016, equations 3 and 4; the page of torch.nn.LayerNorm.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The last axes of the input; mean and biased variance go over them.
    eps : float
        At least 0.
    elementwise_affine, bias : bool
        Whether there are `weight` and `bias`; no bias without a weight.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter or None, shape `normalized_shape`
        Ones.
    bias : Parameter or None, shape `normalized_shape`
        Zeros.

    Raises
    ------
    ValueError
        If `normalized_shape` is empty or holds a size below 1, or `eps` is negative.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        shape = check_shape("LayerNorm", "normalized_shape", normalized_shape)
        check_at_least_zero("LayerNorm", "eps", eps)
        affine = check_flag("LayerNorm", "elementwise_affine", elementwise_affine)
        bias = check_flag("LayerNorm", "bias", bias)
        super().__init__(
            dtype, normalized_shape=shape, eps=eps, elementwise_affine=affine, bias=bias
        )
        self._parameter("weight", shape, constant(1), affine)
        self._parameter("bias", shape, constant(0), affine and bias)

    def forward(self, input: Any) -> Tensor:
        """Normalize `input`, shape (*, *normalized_shape)."""
        value = self._input(input, "normalized_shape", self.normalized_shape)
        axes = tuple(range(-len(self.normalized_shape), 0))
        centered = value - mean(value, axis=axes, keepdims=True)
        output = centered / sqrt(mean(square(centered), axis=axes, keepdims=True) + self.eps)
        output = output if self.weight is None else output * self.weight
        return output if self.bias is None else output + self.bias
