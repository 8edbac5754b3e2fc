"""Functions over one axis, several or all."""

from itertools import accumulate
from typing import Any

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.ops.families import along, array_of_reals, reduce, scan


def _mean(x: Tensor, **options: Any) -> Tensor:
    return compat.mean(array_of_reals("mean", x), **options)


def _cumulative_product(x: Tensor, axis: int) -> Tensor:
    # Factor by factor: the derivative of torch.cumprod divides by the elements.
    return torch.stack(list(accumulate(x.unbind(axis), torch.mul)), axis)


sum = reduce("sum", compat.sum, "the sum over `axis`", cast=True)
mean = reduce("mean", _mean, "the mean over `axis`, of integers in float32")
# ops-22
cumulative_prod = scan(
    "cumulative_prod", _cumulative_product, 1, "the products of the elements up to each"
)
# tensor-26
max = reduce("max", compat.max, "the maximum over `axis`; equal maxima share the gradient")
min = reduce("min", compat.min, "the minimum over `axis`; equal minima share the gradient")
# ops-05
logsumexp = along(
    "logsumexp", torch.logsumexp, "log(sum(exp(x))) over `axis`", "torch.logsumexp", reduces=True
)
