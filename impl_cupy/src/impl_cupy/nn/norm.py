"""Normalization."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_at_least_zero, check_flag, check_shape
from impl_cupy.dtypes import DTypeLike, float64
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.nn.layer import Layer, constant
from impl_cupy.ops.elementwise import sqrt, square
from impl_cupy.ops.reduction import mean
from impl_cupy.sums import total
from impl_cupy.tensor import Tensor

_WARP = 32


class LayerNormFunction(Function):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last axes: one kernel each way.

    Inputs: x (*, *shape), weight and bias (*shape) or None; without a weight there is no bias.
    """

    _is_ours = True
    _called = "LayerNorm"

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> Any:
        """Normalize; sums are formed in double."""
        sizes = x.shape[x.ndim - axes :]
        width = math.prod(sizes)
        rows = cp.ascontiguousarray(x)
        y = cp.empty(x.shape, dtype=x.dtype)
        count = x.size // width
        moments = cp.empty((count, 2), dtype=float64)
        given = [rows if part is None else cp.ascontiguousarray(part) for part in (weight, bias)]
        flags = (weight is not None, bias is not None, eps)
        arrays = (rows, *given, y, moments)
        launch("norm", "norm_forward", x.dtype, _WARP * count, *arrays, *flags, width)
        ctx.save_for_backward(rows, weight, moments)
        ctx.sizes = sizes
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Form the rows' gradients, and add up those of the parameters."""
        rows, weight, moments = ctx.saved_tensors
        width, grad = math.prod(ctx.sizes), cp.ascontiguousarray(grad)
        to_x, to_weight = cp.empty_like(rows), None
        parts, given = rows, rows
        if weight is not None:
            parts, given = cp.empty_like(rows), cp.ascontiguousarray(weight)
        arrays = (rows, given, moments, grad, to_x, parts, weight is not None, width)
        launch("norm", "norm_backward", rows.dtype, _WARP * len(moments), *arrays)
        _, wants_weight, wants_bias = ctx.needs_input_grad
        lead = (len(moments), *ctx.sizes)
        if wants_weight:
            to_weight = total(parts.reshape(lead), axis=0)
        return to_x, to_weight, total(grad.reshape(lead), axis=0) if wants_bias else None

    @staticmethod
    def composite(x: Tensor, weight: Any, bias: Any, *, axes: int, eps: float) -> Tensor:
        """Do the same on Tensors."""
        over = tuple(range(-axes, 0))
        centered = x - mean(x, axis=over, keepdims=True)
        output = centered / sqrt(mean(square(centered), axis=over, keepdims=True) + eps)
        output = output if weight is None else output * weight
        return output if bias is None else output + bias


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
        # Most threads of a warp would have nothing to do in a narrow row.
        is_wide = math.prod(self.normalized_shape) >= _WARP
        norm = LayerNormFunction.apply if is_wide else LayerNormFunction.composite
        output: Tensor = norm(
            value, self.weight, self.bias, axes=len(self.normalized_shape), eps=float(self.eps)
        )
        return output
