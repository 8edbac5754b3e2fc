"""Sorting and searching."""

import array_api_compat.torch as compat
from torch import Tensor

from impl_torch_ext.checks import check_int
from impl_torch_ext.ops.families import reduce


def _argmax(x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    axis = axis if axis is None else check_int("argmax", "axis", axis)
    return compat.argmax(x, axis=axis, keepdims=keepdims)


argmax = reduce("argmax", _argmax, "the int64 index of the first maximum along `axis`")
