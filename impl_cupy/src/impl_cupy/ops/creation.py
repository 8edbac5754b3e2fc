"""Making arrays inside differentiable code, under the array API's signatures."""

from __future__ import annotations

from typing import Any

from impl_cupy import creation
from impl_cupy.backend import cp
from impl_cupy.checks import check_dtype, check_flag, type_name
from impl_cupy.dtypes import DTypeLike
from impl_cupy.ops.elementwise import astype
from impl_cupy.ops.families import create, like, written
from impl_cupy.recording import as_tensor
from impl_cupy.tensor import Tensor


@written()
def asarray(obj: Any, /, *, dtype: DTypeLike = None, copy: bool | None = None) -> Tensor:
    """Make a Tensor; one that is a Tensor already keeps its history.

    Parameters
    ----------
    obj : Tensor, raw array, number or nested lists of numbers
    dtype : dtype, optional
    copy : bool, optional
        True forces a copy, False forbids one.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `obj` is nothing of the kind, or `dtype` none that a Tensor can have.
    ValueError
        If lists are ragged, or only a copy would do.
    """
    copy = None if copy is None else check_flag("asarray", "copy", copy)
    if isinstance(obj, (Tensor, cp.ndarray)):
        value = as_tensor("asarray", obj)
        wanted = value.dtype if dtype is None else check_dtype("asarray", dtype)
        if copy is not False or wanted == value.dtype:
            return astype(value, wanted, copy=bool(copy))
    if copy is False:  # ops-16
        msg = f"asarray: {type_name(obj)} cannot be shared as a Tensor like that; leave copy out"
        raise ValueError(msg)
    return creation.made("asarray", obj, dtype)


zeros = create("zeros", creation.zeros, "Make an array of zeros.")
ones = create("ones", creation.ones, "Make an array of ones.")
zeros_like = like("zeros_like", cp.zeros, "Make zeros of the shape and dtype of `x`.")
ones_like = like("ones_like", cp.ones, "Make ones of the shape and dtype of `x`.")


@written()
def full(shape: Any, fill_value: Any, *, dtype: DTypeLike = None) -> Tensor:
    """Make an array of one value, whose dtype follows the value unless told.

    Parameters
    ----------
    shape : int or tuple of int
    fill_value : number
    dtype : dtype, optional

    Returns
    -------
    Tensor, shape `shape`

    Raises
    ------
    TypeError
        If a size is no int, `fill_value` no number, or `dtype` none that a Tensor can have.
    ValueError
        If a size is negative.
    """
    return creation.full(shape, fill_value, dtype=dtype)


@written()
def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: DTypeLike = None
) -> Tensor:
    """Make evenly spaced numbers, ``start, start + step, ...`` below `stop`.

    Parameters
    ----------
    start, stop, step : number
        With one number it is `stop`, and `start` is 0. Ints give int64, else float32.
    dtype : dtype, optional

    Returns
    -------
    Tensor, one axis

    Raises
    ------
    ValueError
        If `step` is 0.
    """
    return creation.arange(start, stop, step, dtype=dtype)
