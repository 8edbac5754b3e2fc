"""What is asked of dtypes, and what the namespace says of itself (ops-30 to ops-32)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_device, check_dtype, check_raw, shown
from impl_cupy.dtypes import (
    DTypeLike,
    bool_,
    complex64,
    complexes,
    dtypes,
    float32,
    floats,
    int64,
    parts_of,
    plain,
    promote,
    signed,
    unsigned,
    with_number,
)
from impl_cupy.ops.families import written
from impl_cupy.tensor import Tensor

constants = {"e": math.e, "inf": math.inf, "nan": math.nan, "newaxis": None, "pi": math.pi}

_KINDS: dict[str, tuple[np.dtype[Any], ...]] = {
    "bool": (bool_,),
    "signed integer": signed,
    "unsigned integer": unsigned,
    "integral": signed + unsigned,
    "real floating": floats,
    "complex floating": complexes,
    "numeric": signed + unsigned + floats + complexes,
}


class finfo_object(NamedTuple):
    """The limits of a floating dtype, as Python numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


class iinfo_object(NamedTuple):
    """The limits of a dtype of integers, as Python numbers."""

    bits: int
    max: int
    min: int
    dtype: np.dtype[Any]


def _dtype_of(name: str, value: Any) -> np.dtype[Any]:
    """Return the dtype of an array, or a dtype itself."""
    if isinstance(value, Tensor):
        return value.dtype
    if isinstance(value, cp.ndarray):
        check_raw(name, value)
        return value.dtype
    return check_dtype(name, value.dtype if isinstance(value, np.ndarray) else value, needed=True)


def _in_kind(name: str, kind: Any) -> tuple[np.dtype[Any], ...]:
    """Return the dtypes of a kind, a dtype, or a tuple of these."""
    if isinstance(kind, tuple):
        return tuple(dtype for part in kind for dtype in _in_kind(name, part))
    if not isinstance(kind, str):
        return (check_dtype(name, kind, needed=True),)
    if kind not in _KINDS:
        words = ", ".join(map(repr, _KINDS))
        msg = f"{name}: kind must be a dtype or one of {words}, got {kind!r}"
        raise ValueError(msg)
    return _KINDS[kind]


@written()
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """Return the dtype of an operation of arrays, dtypes and numbers.

    Parameters
    ----------
    *arrays_and_dtypes : Tensor, raw array, dtype or number
        At least one is no number.

    Returns
    -------
    dtype

    Raises
    ------
    TypeError
        If one is nothing of the kind.
    ValueError
        If all are numbers.
    """
    found, numbers = None, []
    for value in arrays_and_dtypes:
        number = plain(value) if isinstance(value, np.generic) else value
        if isinstance(number, (bool, int, float, complex)):
            numbers.append(number)
            continue
        dtype = _dtype_of("result_type", value)
        found = dtype if found is None else promote("result_type", found, dtype)
    if found is None:
        msg = f"result_type: an array or a dtype is needed, got {shown(arrays_and_dtypes)}"
        raise ValueError(msg)
    for number in numbers:
        found = with_number(found, number)
    return found


@written()
def can_cast(from_: Any, to: DTypeLike, /) -> bool:
    """Tell whether an operation of two dtypes has the second one.

    Parameters
    ----------
    from_ : dtype, Tensor or raw array
    to : dtype

    Returns
    -------
    bool

    Raises
    ------
    TypeError
        If one is nothing of the kind.
    """
    wanted = check_dtype("can_cast", to, needed=True)
    own = _dtype_of("can_cast", from_)
    try:
        return bool(promote("can_cast", own, wanted) == wanted)
    except TypeError:
        return False


@written()
def isdtype(dtype: DTypeLike, kind: Any) -> bool:
    """Tell whether a dtype is of a kind.

    Parameters
    ----------
    dtype : dtype
    kind : str, dtype or tuple of these
        "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex
        floating" or "numeric".

    Returns
    -------
    bool

    Raises
    ------
    TypeError
        If one is no dtype.
    ValueError
        If `kind` is another word.
    """
    return check_dtype("isdtype", dtype, needed=True) in _in_kind("isdtype", kind)


@written()
def finfo(type: Any, /) -> finfo_object:
    """Return the limits of a floating dtype; of a complex one those of its parts.

    Parameters
    ----------
    type : dtype, Tensor or raw array

    Returns
    -------
    object with bits, eps, max, min, smallest_normal and dtype

    Raises
    ------
    TypeError
        If the dtype is neither floating nor complex.
    """
    dtype = _dtype_of("finfo", type)
    if dtype.kind not in "fc":
        msg = f"finfo: the dtype must be floating or complex, got {dtype.name}"
        raise TypeError(msg)
    dtype = parts_of(dtype)
    limits = np.finfo(dtype)
    return finfo_object(
        int(limits.bits),
        float(limits.eps),
        float(limits.max),
        float(limits.min),
        float(limits.smallest_normal),
        dtype,
    )


@written()
def iinfo(type: Any, /) -> iinfo_object:
    """Return the limits of a dtype of integers.

    Parameters
    ----------
    type : dtype, Tensor or raw array

    Returns
    -------
    object with bits, max, min and dtype

    Raises
    ------
    TypeError
        If the dtype is none of integers.
    """
    dtype = _dtype_of("iinfo", type)
    if dtype.kind not in "iu":
        msg = f"iinfo: the dtype must be one of integers, got {dtype.name}"
        raise TypeError(msg)
    limits = np.iinfo(dtype)
    return iinfo_object(int(limits.bits), int(limits.max), int(limits.min), dtype)


class _NamespaceInfo:
    """What the standard's ``__array_namespace_info__`` gives."""

    def capabilities(self) -> dict[str, Any]:
        """Return what arrays can do; CuPy's have 32 axes at most."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 32}

    def default_device(self) -> Any:
        """Return the device that Tensors are on."""
        return cp.cuda.Device()

    def devices(self) -> tuple[Any, ...]:
        """Return the devices that Tensors can be on: the current one."""
        return (cp.cuda.Device(),)

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype[Any]]:
        """Return the dtypes of what is made without one."""
        check_device("default_dtypes", device)
        return {
            "real floating": float32,
            "complex floating": complex64,
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype[Any]]:
        """Return the dtypes by name, all or those of a kind."""
        check_device("dtypes", device)
        wanted = dtypes if kind is None else _in_kind("dtypes", kind)
        return {dtype.name: dtype for dtype in dtypes if dtype in wanted}


def namespace_info() -> _NamespaceInfo:
    """Return an object that tells of the namespace (ops-30)."""
    return _NamespaceInfo()
