"""Normalization."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.checks import check_at_least_zero, check_flag, check_sizes
from impl_torch_ext.nn.layer import Layer, Options

__all__ = ["LayerNorm"]

# Rows whose sum needs no pairs.
_MANY = 2048


class LayerNorm(Layer):
    """`(x - mean) / sqrt(var + eps) * weight + bias`, over the last axes.

    Source: Ba, Kiros and Hinton 2016, equations 3 and 4; the page of `torch.nn.LayerNorm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes; mean and (biased) variance are taken over them.
    eps : float
    elementwise_affine : bool
        Whether there are parameters.
    bias : bool
        Whether `bias` is one of them.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight, bias : Parameter or None, shape `normalized_shape`
        Ones and zeros at first.

    Raises
    ------
    ValueError
        If `normalized_shape` is empty, a size is not positive, or `eps` is negative.
    """

    _options: ClassVar[Options] = {
        "normalized_shape": check_sizes,
        "eps": check_at_least_zero,
        "elementwise_affine": check_flag,
        "bias": check_flag,
    }

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, bias)
        shape = self.normalized_shape if self.elementwise_affine else None
        shapes = {"weight": shape, "bias": shape if self.bias else None}
        self._draw(init.ones_, dtype, weight=shapes["weight"])
        self._draw(init.zeros_, dtype, bias=shapes["bias"])

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`, shape (*, normalized_shape)."""
        weight, shape = self.weight, self.normalized_shape
        self._check("input", input, (..., *shape), "(*, normalized_shape)", weight)
        bias = self.bias
        if weight is None or input.numel() <= _MANY * weight.numel():
            return torch.nn.functional.layer_norm(input, shape, weight, bias, self.eps)
        # ops-25: torch's kernel adds the rows of the gradients of both up one by one.
        y = torch.nn.functional.layer_norm(input, shape, None, None, self.eps) * weight
        return y if bias is None else y + bias
