"""Normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from impl_numpy import ops
from impl_numpy.checks import check_flag, check_not_negative, check_positive_sizes
from impl_numpy.nn.layer import Layer
from impl_numpy.parameter import Parameter
from impl_numpy.tensor import Tensor


class LayerNorm(Layer):
    """Compute (input - mean) / sqrt(var + eps) * weight + bias over the last axes.

    Ba, Kiros and Hinton 2016, equations 3 and 4; torch.nn.LayerNorm. The variance is biased.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes, which the mean and variance are taken over.
    eps : float
        Added to the variance; not negative.
    elementwise_affine : bool
        With False there is neither weight nor bias.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter, shape normalized_shape, or None
        Ones and zeros.

    Raises
    ------
    TypeError, ValueError
        If a size is no positive int, there is none, eps is negative or the dtype is not floating.
    """

    _shown = ("normalized_shape", "eps=", "elementwise_affine=")
    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        sizes = check_positive_sizes("LayerNorm", "normalized_shape", normalized_shape)
        check_not_negative("LayerNorm", "eps", eps)  # nn-11
        elementwise_affine = check_flag("LayerNorm", "elementwise_affine", elementwise_affine)
        bias = check_flag("LayerNorm", "bias", bias)
        super().__init__(normalized_shape=sizes, eps=eps, elementwise_affine=elementwise_affine)
        self._constant("weight", sizes if elementwise_affine else None, 1, dtype)
        self._constant("bias", sizes if elementwise_affine and bias else None, 0, dtype)

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input, (*, *normalized_shape)."""
        x = self._input(input, None if self.weight is None else self.weight.dtype)
        self._last_axes(x, self.normalized_shape, "*normalized_shape")
        axes = tuple(range(-len(self.normalized_shape), 0))
        centred = x - x.mean(axes, keepdims=True)
        y = centred / ops.sqrt(ops.square(centred).mean(axes, keepdims=True) + self.eps)
        y = y if self.weight is None else y * self.weight
        return y if self.bias is None else y + self.bias
