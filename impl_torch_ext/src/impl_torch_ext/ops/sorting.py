"""Sorting and searching."""

from typing import Any

import array_api_compat.torch as compat
from torch import Tensor

from impl_torch_ext.dtypes import bool_, int64
from impl_torch_ext.ops.families import reduce


def _argmax(x: Tensor, **options: Any) -> Tensor:
    return compat.argmax(x.to(int64) if x.dtype == bool_ else x, **options)


argmax = reduce("argmax", _argmax, "the int64 index of the first maximum", single=True)
