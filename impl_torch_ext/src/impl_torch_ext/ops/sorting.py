"""Sorting and searching."""

import array_api_compat.torch as compat

from impl_torch_ext.ops.families import reduce

argmax = reduce("argmax", compat.argmax, "the int64 index of the first maximum", single=True)
