"""Functions over one axis, several or all."""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.native import native
from impl_torch_ext.ops.families import along, array_of_reals, reduce, scan

# Sums of so few elements need not be taken axis by axis.
_FEW = 4096


def _by_axis(fn: Callable[..., Tensor], x: Tensor, axis: Any, options: dict[str, Any]) -> Tensor:
    """Return `fn` over one axis after the other: torch adds all but one up without pairs."""
    for place in sorted(axis, reverse=True):  # ops-25
        x = fn(x, axis=place, **options)
    return x


def _several(x: Tensor, axis: Any) -> bool:
    return isinstance(axis, tuple) and len(axis) > 1 and x.numel() > _FEW


def _sum(x: Tensor, axis: Any, **options: Any) -> Tensor:
    return (
        _by_axis(compat.sum, x, axis, options)
        if _several(x, axis)
        else compat.sum(x, axis=axis, **options)
    )


def _mean(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    reals = array_of_reals("mean", x)
    if type(axis) is int:
        return torch.mean(reals, axis, keepdim=keepdims)
    options = {"keepdims": keepdims}
    return (
        _by_axis(compat.mean, reals, axis, options)
        if _several(x, axis)
        else compat.mean(reals, axis=axis, **options)
    )


def _extreme(largest: bool) -> Callable[..., Tensor]:
    """Make `max` or `min`, whose gradient torch multiplies by 0 where nothing is chosen."""
    plain = compat.max if largest else compat.min

    def extreme(x: Tensor, axis: int | tuple[int, ...] | None, keepdims: bool) -> Tensor:
        if not x.requires_grad or axis == ():
            return plain(x, axis=axis, keepdims=keepdims)
        axes = [] if axis is None else [axis] if isinstance(axis, int) else [*axis]
        return native.extreme.default(x, axes, keepdims, largest)

    return extreme


def _cumulative_product(x: Tensor, axis: int) -> Tensor:
    # Factor by factor: the derivative of torch.cumprod divides by the elements.
    return torch.stack(list(accumulate(x.unbind(axis), torch.mul)), axis)


def _logsumexp(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    result = torch.logsumexp(x, axes, keepdim)
    if result.requires_grad and bool((infinite := torch.isinf(result)).any()):
        # ops-27: the gradient is NaN along the axis there, of which torch makes 0 here and there.
        result.register_hook(lambda g: torch.where(infinite, math.nan, g))
    return result


sum = reduce("sum", _sum, "the sum over `axis`", cast=True)
mean = reduce("mean", _mean, "the mean over `axis`, of integers in float32")
# ops-22
cumulative_prod = scan(
    "cumulative_prod", _cumulative_product, 1, "the products of the elements up to each"
)
# tensor-26
max = reduce(
    "max", _extreme(largest=True), "the maximum over `axis`; equal maxima share the gradient"
)
min = reduce(
    "min", _extreme(largest=False), "the minimum over `axis`; equal minima share the gradient"
)
# ops-05
logsumexp = along(
    "logsumexp", _logsumexp, "log(sum(exp(x))) over `axis`", "torch.logsumexp", reduces=True
)
