"""``ctx.xp`` for raw arrays: CuPy under the Python array API's signatures.

CuPy's main namespace has most names of the standard that the specification asks for; the others
are the functions of `ops`, on raw arrays. Some of its signatures are older ones (``clip`` must have
both bounds, ``expand_dims`` an axis), and what it creates is float64 where Tensors are float32;
those are put right here. Every other name is CuPy's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.dtypes import (
    bool_,
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from impl_cupy.sums import product, total
from impl_cupy.tape import Recorded, handles, wrap

__all__ = [
    "arange",
    "asarray",
    "bool",
    "clip",
    "complex64",
    "complex128",
    "expand_dims",
    "float32",
    "float64",
    "full",
    "int8",
    "int16",
    "int32",
    "int64",
    "matmul",
    "mean",
    "ones",
    "reshape",
    "squeeze",
    "sum",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "zeros",
]

bool = bool_


# Functions of the standard whose signature or edges CuPy has otherwise.
_OTHERWISE = frozenset(
    "argsort count_nonzero floor_divide remainder repeat sort std take_along_axis var".split()
)


def __getattr__(name: str) -> Any:
    """Give CuPy's function of that name, or that of `ops` on raw arrays where CuPy has none."""
    if name not in _OTHERWISE and hasattr(cp, name):
        return getattr(cp, name)
    function = getattr(handles, name, None)
    if not callable(function):
        return getattr(cp, name)
    return lambda *args, **kwargs: _lowered(
        function(*map(_lifted, args), **{word: _lifted(part) for word, part in kwargs.items()})
    )


def _lifted(value: Any) -> Any:
    return wrap(value) if isinstance(value, cp.ndarray) else value


def _lowered(value: Any) -> Any:
    """Return the raw array of a Tensor, or of each in a tuple."""
    if isinstance(value, tuple):
        parts = [_lowered(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value._data if isinstance(value, Recorded) else value


def _number_dtype(value: Any, dtype: Any) -> Any:
    """Keep a Python float from becoming float64, as Tensors do, and complex ones (tensor-04)."""
    if dtype is not None or not isinstance(value, (float, complex)):
        return dtype
    return float32 if isinstance(value, float) else complex64


_NARROW = {"f": float32, "c": complex64}


def asarray(obj: Any, /, *, dtype: Any = None, copy: Any = None) -> Any:
    """Make a raw array of a raw array, a number or nested lists; Python floats become float32."""
    if isinstance(obj, (list, tuple)):
        obj = np.asarray(obj)
        dtype = _NARROW.get(obj.dtype.kind) if dtype is None else dtype
    return cp.asarray(obj, dtype=_number_dtype(obj, dtype), copy=copy)


def sum(x: Any, /, axis: Any = None, dtype: Any = None, *, keepdims: Any = False) -> Any:
    """Add up over `axis`, with an error like that of adding by pairs (ops-25)."""
    if dtype is not None:
        return cp.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)
    return total(x, axis, keepdims)


def mean(x: Any, /, axis: Any = None, *, keepdims: Any = False) -> Any:
    """Average over `axis`, with an error like that of adding by pairs."""
    return total(x, axis, keepdims, mean=True)


def matmul(x1: Any, x2: Any, /) -> Any:
    """Multiply matrices, with an error that does not grow with long inner sums (ops-25)."""
    return product(x1, x2)


def zeros(shape: Any, *, dtype: Any = float32) -> Any:
    """Make an array of zeros, float32 unless told."""
    return cp.zeros(shape, dtype=float32 if dtype is None else dtype)


def ones(shape: Any, *, dtype: Any = float32) -> Any:
    """Make an array of ones, float32 unless told."""
    return cp.ones(shape, dtype=float32 if dtype is None else dtype)


def full(shape: Any, fill_value: Any, *, dtype: Any = None) -> Any:
    """Make an array of one value; a Python float becomes float32."""
    return cp.full(shape, fill_value, dtype=_number_dtype(fill_value, dtype))


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Any:
    """Make evenly spaced numbers; Python floats become float32."""
    floating = any(isinstance(each, float) for each in (start, stop, step))
    return cp.arange(start, stop, step, dtype=float32 if dtype is None and floating else dtype)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Limit the elements to ``min <= x <= max``; either bound may be None."""
    return x if min is None and max is None else cp.clip(x, min, max)


def expand_dims(x: Any, /, axis: int | tuple[int, ...]) -> Any:
    """Insert axes of length 1 (ops-18)."""
    return cp.expand_dims(x, axis)


def squeeze(x: Any, /, axis: Any) -> Any:
    """Remove axes of length 1."""
    return cp.squeeze(x, axis=axis)


def reshape(x: Any, /, shape: Any, *, copy: Any = None) -> Any:
    """Give the array another shape with as many elements."""
    return cp.array(x, copy=True).reshape(shape) if copy else cp.reshape(x, shape)
