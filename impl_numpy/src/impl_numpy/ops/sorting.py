"""Sorting and searching; nothing here has a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.checks import check_flag, normalize_axis
from impl_numpy.ops.families import registered
from impl_numpy.tensor import Tensor, as_tensor, wrap

_ARGMAX = """Parameters
----------
x : Tensor or raw array, not empty
axis : int, optional
    Left out, the index is that into the flattened array.
keepdims : bool
    Keep the axis, with length 1.

Returns
-------
Tensor of int64, the shape of x without the axis

Raises
------
ValueError
    If the axis is out of range, or there is no element.
TypeError
    If x is no array, or the axis no int."""


@registered("argmax", "Return the index of the first largest element.", _ARGMAX)
def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    x = as_tensor("argmax", x, passing=True)
    keepdims = check_flag("argmax", "keepdims", keepdims)
    place = None if axis is None else normalize_axis("argmax", axis, x.shape)
    if not (x.size if place is None else x.shape[place]):  # ops-24
        msg = f"argmax: wants an element, got shape {x.shape}"
        raise ValueError(msg)
    return wrap(np.argmax(x._data, axis=place, keepdims=keepdims), None)
