"""What can be asked of dtypes, and of this namespace itself."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.checks import check_device, check_dtype, shown
from impl_numpy.dtypes import (
    BY_NAME,
    PART,
    WHOLE,
    bool_,
    complex64,
    float32,
    int64,
    is_raw,
    met,
    promoted,
)
from impl_numpy.ops.families import registered
from impl_numpy.tensor import Tensor, as_tensor

API_VERSION = "2025.12"
CONSTANTS: dict[str, Any] = {
    "e": math.e,
    "inf": math.inf,
    "nan": math.nan,
    "newaxis": None,
    "pi": math.pi,
}
_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}

_FRAME = """Parameters
----------
{parameters}

Returns
-------
{result}

Raises
------
ValueError
    If a word is not known, or nothing has a dtype.
TypeError
    If what wants a dtype has none."""


def _dtype_of(name: str, x: Any) -> np.dtype[Any]:
    """Return the dtype of an array, or a dtype."""
    return as_tensor(name, x).dtype if isinstance(x, Tensor) or is_raw(x) else check_dtype(x, name)


class FloatInfo(NamedTuple):
    """The limits of a floating dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


class IntInfo(NamedTuple):
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: np.dtype[Any]


@registered(
    "finfo",
    "Return the limits of a floating dtype, or of the parts of a complex one.",
    _FRAME.format(parameters="type : dtype, Tensor or raw array", result="FloatInfo"),
)
def finfo(type: Any, /) -> FloatInfo:  # ops-32
    dtype = _dtype_of("finfo", type)
    if dtype.kind not in "fc":
        msg = f"finfo: the dtype must be floating or complex, got {dtype}"
        raise TypeError(msg)
    dtype = PART.get(dtype, dtype)
    of = np.finfo(dtype)
    return FloatInfo(
        int(of.bits),
        float(of.eps),
        float(of.max),
        float(of.min),
        float(of.smallest_normal),
        dtype,
    )


@registered(
    "iinfo",
    "Return the limits of an integer dtype.",
    _FRAME.format(parameters="type : dtype, Tensor or raw array", result="IntInfo"),
)
def iinfo(type: Any, /) -> IntInfo:  # ops-32
    dtype = _dtype_of("iinfo", type)
    if dtype.kind not in "iu":
        msg = f"iinfo: the dtype must be one of integers, got {dtype}"
        raise TypeError(msg)
    of = np.iinfo(dtype)
    return IntInfo(int(of.bits), int(of.max), int(of.min), dtype)


@registered(
    "isdtype",
    "Return whether a dtype is of a kind.",
    _FRAME.format(
        parameters="dtype : dtype\nkind : str, dtype, or a tuple of these", result="bool"
    ),
)
def isdtype(dtype: Any, kind: Any) -> bool:  # ops-32
    asked = check_dtype(dtype, "isdtype")
    several = kind if isinstance(kind, tuple) else (kind,)
    return any([_is_of(asked, one) for one in several])


def _is_of(dtype: np.dtype[Any], kind: Any) -> bool:
    if not isinstance(kind, str):
        return dtype == check_dtype(kind, "isdtype")
    if kind not in _KINDS:
        msg = f"isdtype: kind must be one of {', '.join(_KINDS)} or a dtype, got {shown(kind)}"
        raise ValueError(msg)
    return dtype.kind in _KINDS[kind]


@registered(
    "result_type",
    "Return the dtype in which these meet.",
    _FRAME.format(
        parameters="arrays_and_dtypes : Tensor, raw array, dtype or number", result="dtype"
    ),
)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:  # ops-32
    numbers = [x for x in arrays_and_dtypes if isinstance(x, (bool, int, float, complex))]
    dtypes = [
        _dtype_of("result_type", x)
        for x in arrays_and_dtypes
        if not isinstance(x, (bool, int, float, complex))
    ]
    if not dtypes:
        msg = f"result_type: wants an array or a dtype, got {len(numbers)} numbers alone"
        raise ValueError(msg)
    common = promoted("result_type", *dtypes)
    # A number is weak: it changes what kind of dtype it is, or nothing (tensor-15).
    if any([isinstance(x, complex) for x in numbers]):
        return WHOLE.get(common, complex64)
    if common.kind not in "fc" and any([isinstance(x, float) for x in numbers]):
        return float32
    if common == bool_ and any([not isinstance(x, bool) for x in numbers]):
        return int64
    return common


@registered(
    "can_cast",
    "Return whether a dtype becomes another where the two meet.",
    _FRAME.format(parameters="from_ : dtype, Tensor or raw array\nto : dtype", result="bool"),
)
def can_cast(from_: Any, to: Any, /) -> bool:  # ops-32
    wanted = check_dtype(to, "can_cast")
    return met(_dtype_of("can_cast", from_), wanted) == wanted


class Info:
    """What this namespace offers (ops-30)."""

    def capabilities(self) -> dict[str, Any]:
        """Return what is supported."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Return the device of a new Tensor."""
        return "cpu"

    def devices(self) -> tuple[str, ...]:
        """Return all devices."""
        return ("cpu",)

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """Return the dtypes of numbers that are given without one."""
        check_device("default_dtypes", device)
        return {
            "real floating": float32,
            "complex floating": complex64,
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """Return the dtypes, by name, of a kind or several."""
        check_device("dtypes", device)
        if kind is None:
            return dict(BY_NAME)
        return {name: dtype for name, dtype in BY_NAME.items() if isdtype(dtype, kind)}


def array_namespace_info() -> Info:
    """Return what can be asked of this namespace."""
    return Info()
