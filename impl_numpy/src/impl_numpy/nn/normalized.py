"""The Function of norms: over some axes, (x - mean) / sqrt(var + eps) weight + bias."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy import ops
from impl_numpy.buffers import empty
from impl_numpy.dtypes import Array, Shape, float32, float64
from impl_numpy.function import Function
from impl_numpy.recording import fit, quiet
from impl_numpy.sums import total
from impl_numpy.tensor import Tensor


class Normalized(Function):
    """Compute (x - mean) / sqrt(var + eps) * weight + bias, and mean and var beside it.

    The variance is biased. Without `centred` the mean is taken as 0. With z the normalized x, r the
    inverse root, and g the gradient times the weight, the gradient of x is
    r (g - mean(g) - z mean(g z)), and without `centred` r (g - z mean(g z)).

    What is the same along the axes of a sum is worked out behind it, in arrays without them, and
    what is multiplied only to be added is a product of vectors: large arrays are gone through as
    seldom as can be. Where weight and bias do not differ along those axes z is not divided by the
    root; what is saved is z r or z, never x.
    """

    _trusted = True

    @staticmethod
    @quiet
    def forward(
        ctx: Any,
        x: Array,
        weight: Any,
        bias: Any,
        *,
        axes: Shape,
        eps: float,
        centred: bool = True,
    ) -> tuple[Array, ...]:
        """Take x, weight and bias that broadcast with it, to y, mean and variance."""
        ctx.set_materialize_grads(False)
        ctx.axes, ctx.centred = axes, centred
        terms, z = _terms(x.shape, axes), x
        mean = np.zeros((), x.dtype)
        if centred:
            mean = _sum(x, None, axes) / terms
            z = np.subtract(x, mean, empty(x.shape, x.dtype))
        var = _sum(z, z, axes) / terms
        root = 1 / np.sqrt(var + var.dtype.type(eps))
        if _along(weight):
            z = np.multiply(z, root, z if centred else empty(x.shape, x.dtype))
            y = np.multiply(z, weight, empty(x.shape, x.dtype))
        else:
            scale = root if weight is None else root * weight
            y = np.multiply(z, scale, empty(x.shape, x.dtype))
        if bias is not None:
            np.add(y, bias, y)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(z, root, weight, bias)
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @quiet
    def backward(ctx: Any, grad: Array | None, *_: None) -> tuple[Array | None, ...]:
        """Return the gradients of x, weight and bias."""
        z, root, weight, bias = ctx.saved_tensors
        if grad is None:
            return None, None, None
        return (_back_along if _along(weight) else _back)(ctx, grad, z, root, weight, bias)

    @staticmethod
    def composite(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        *,
        axes: Shape,
        eps: float,
        centred: bool = True,
    ) -> tuple[Tensor, ...]:
        """Return the same on Tensors."""
        mean = ops.mean(x, axis=axes, keepdims=True) if centred else ops.zeros((), dtype=x.dtype)
        z = x - mean
        var = ops.mean(ops.square(z), axis=axes, keepdims=True)
        y = z / ops.sqrt(var + eps)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias, mean, var


def _along(weight: Any) -> bool:
    """Tell whether the weight differs along the last axis and so, in a norm over it, in a sum."""
    return weight is not None and bool(weight.shape[-1] != 1)


def _back(
    ctx: Any, grad: Array, z: Array, root: Array, weight: Any, bias: Any
) -> tuple[Array | None, ...]:
    """Return the gradients where the weight is the same along the last axis; z is x - mean."""
    needs, terms, axes = ctx.needs_input_grad, _terms(z.shape, ctx.axes), ctx.axes
    dx = dw = db = None
    # At first over those axes along which the weight is the same too.
    first, scale = axes, root
    if weight is not None:
        lead, scale = z.ndim - weight.ndim, root * weight
        first = tuple([k for k in axes if k < lead or weight.shape[k - lead] == 1])
    rest = tuple([k for k in axes if k not in first])
    sums, products = _sum(grad, None, first), _sum(grad, z, first)
    if needs[1]:
        dw = fit(products * root, weight.shape, weight.dtype)
    if needs[2]:
        db = fit(sums, bias.shape, bias.dtype)
    if needs[0]:
        if rest:
            sums, products = total(sums * weight, rest, True), total(products * weight, rest, True)
            share, mean = products * root, sums * root
        else:
            share, mean = products * scale, sums * scale
        dx = np.multiply(grad, scale, empty(z.shape, z.dtype))
        dx -= np.multiply(z, share * (root * (root / terms)), empty(z.shape, z.dtype))
        if ctx.centred:
            dx -= mean / terms
    return dx, dw, db


def _back_along(
    ctx: Any, grad: Array, z: Array, root: Array, weight: Any, bias: Any
) -> tuple[Array | None, ...]:
    """Return the gradients where the weight has a number for each place of a sum."""
    needs, terms = ctx.needs_input_grad, _terms(z.shape, ctx.axes)
    dx = dw = db = None
    if needs[2]:
        db = fit(grad, bias.shape, bias.dtype)
    part = np.multiply(grad, z, empty(z.shape, z.dtype))
    if needs[1]:
        dw = fit(part, weight.shape, weight.dtype)
    if needs[0]:
        share = _sum(part, weight, ctx.axes) / terms
        dx = np.multiply(grad, weight, empty(z.shape, z.dtype))
        dx -= np.multiply(z, share, part)
        if ctx.centred:
            dx -= _sum(grad, weight, ctx.axes) / terms
        dx *= root
    return dx, dw, db


# Longer lines are added by NumPy, pairwise: BLAS adds a few numbers side by side (ops-25).
_LINE = 1024
_ONES = {dtype: np.ones(_LINE, dtype) for dtype in (float32, float64)}


def _sum(x: Array, y: Array | None, axes: Shape) -> Array:
    """Return the sum of x y, or of x, over ascending axes, kept at length 1; y broadcasts."""
    n = x.shape[-1]
    if axes and axes[-1] == x.ndim - 1 and 1 < n <= _LINE:
        x = np.vecdot(x, _ONES[x.dtype][:n] if y is None else y)[..., None]
        axes = axes[:-1]
    elif y is not None:
        x = x * y
    return total(x, axes, True) if axes else x


def _terms(shape: Shape, axes: Shape) -> float:
    # Where there is nothing to take a mean of, there is nothing to divide either.
    return math.prod([shape[k] for k in axes]) or math.nan
