"""Sorting and searching."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, check_not_empty, normalize_axis
from impl_cupy.ops.families import written
from impl_cupy.recording import as_tensor, record
from impl_cupy.sums import kept_shape
from impl_cupy.tensor import Tensor


@written()
def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the position of the first largest element along `axis`.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    axis : int, optional
        Without it the position is that in the flattened array.
    keepdims : bool
        Whether the axis stays, with length 1.

    Returns
    -------
    Tensor, dtype int64, shape of `x` without the axis

    Raises
    ------
    TypeError
        If `x` is no array, or `axis` no int.
    ValueError
        If the axis is out of range, or there is no element to choose.
    """
    value = as_tensor("argmax", x)
    place = None if axis is None else normalize_axis("argmax", axis, value.shape)
    axes = tuple(range(value.ndim)) if place is None else (place,)
    check_not_empty("argmax", axis, axes, value.shape)
    kept = kept_shape(value.shape, axes)
    keepdims = check_flag("argmax", "keepdims", keepdims)

    def position(raw: Any) -> Any:
        positions = cp.argmax(raw, axis=place).astype("int64")
        return positions.reshape(kept) if keepdims else positions

    return record("argmax", position, None, (value,))
