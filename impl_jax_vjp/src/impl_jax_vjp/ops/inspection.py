"""What is asked of dtypes, and what the namespace tells of itself."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from ..checks import as_dtype, as_number
from ..creation import default_device, on_device
from ..dtypes import (
    COMPLEX,
    FLOATING,
    INEXACT,
    NAMED,
    SIGNED,
    UNSIGNED,
    DType,
    bool_,
    complex64,
    float32,
    int64,
    is_inexact,
    meeting,
    parts_of,
    promote,
    promote_number,
)
from ..recording import as_operand, dtype_of, is_array
from .families import listed

API_VERSION = "2025.12"
CONSTANTS: dict[str, Any] = {
    "e": math.e,
    "inf": math.inf,
    "nan": math.nan,
    "newaxis": None,
    "pi": math.pi,
}
_INTEGERS = SIGNED | UNSIGNED
_KINDS: dict[str, frozenset[DType]] = {
    "bool": frozenset({bool_}),
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": _INTEGERS,
    "real floating": FLOATING,
    "complex floating": COMPLEX,
    "numeric": _INTEGERS | INEXACT,
}
_NO_DTYPE = "TypeError\n    If one is no dtype, or another kind of it than is wanted."


class FloatLimits(NamedTuple):
    """What `finfo` returns."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerLimits(NamedTuple):
    """What `iinfo` returns."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype(name: str, value: Any) -> DType:
    """Return a dtype, or that of an array; raise `TypeError` for anything else."""
    if is_array(value):
        found: DType = dtype_of(as_operand(name, value))
        return found
    return as_dtype(name, value, None)


def _of_kind(name: str, kind: Any) -> frozenset[DType]:
    """Return the dtypes of a kind, of several, or the one that is given."""
    if isinstance(kind, tuple):
        return frozenset().union(*[_of_kind(name, part) for part in kind])
    if not isinstance(kind, str):
        return frozenset({as_dtype(name, kind, None)})
    if kind not in _KINDS:
        msg = f"{name}: kind must be a dtype or one of {', '.join(_KINDS)}, got {kind!r}"
        raise ValueError(msg)
    return _KINDS[kind]


@listed(
    "arrays_and_dtypes : Tensor, raw array, dtype or number\n    At least one is no number.",
    "that of a result of all",
    "ValueError\n    If all are numbers.\n" + _NO_DTYPE,
    kind="dtype, ",
)
def result_type(*arrays_and_dtypes: Any) -> DType:
    """Return the dtype that arrays, dtypes and numbers have together."""
    given = [as_number(value) for value in arrays_and_dtypes]
    numbers = [value for value in given if isinstance(value, int | float | complex)]
    others = [_dtype("result_type", v) for v in given if not isinstance(v, int | float | complex)]
    if not others:  # ops-32
        msg = f"result_type: there must be an array or a dtype, got {len(numbers)} numbers alone"
        raise ValueError(msg)
    dtype = others[0]
    for other in others[1:]:
        dtype = promote("result_type", dtype, other)
    for number in numbers:
        dtype = promote_number(number, dtype)
    return dtype


@listed(
    "from_ : dtype, Tensor or raw array\nto : dtype",
    "whether the two together give `to`",
    _NO_DTYPE,
    kind="bool, ",
)
def can_cast(from_: Any, to: Any, /) -> bool:
    """Tell whether promotion leads from one dtype to another."""
    wanted = as_dtype("can_cast", to, None)
    return meeting(_dtype("can_cast", from_), wanted) == wanted


@listed("type : dtype, Tensor or raw array", "of Python numbers", _NO_DTYPE, kind="named tuple, ")
def finfo(type: Any, /) -> FloatLimits:
    """Return the limits of a floating dtype, or of the parts of a complex one."""
    dtype = _dtype("finfo", type)
    if not is_inexact(dtype):
        msg = f"finfo: the dtype must be floating or complex, got {dtype}"
        raise TypeError(msg)
    dtype = parts_of(dtype)
    info = np.finfo(dtype)
    eps, largest, least, normal = [
        float(number) for number in (info.eps, info.max, info.min, info.smallest_normal)
    ]
    return FloatLimits(int(info.bits), eps, largest, least, normal, dtype)


@listed("type : dtype, Tensor or raw array", "of Python numbers", _NO_DTYPE, kind="named tuple, ")
def iinfo(type: Any, /) -> IntegerLimits:
    """Return the limits of an integer dtype."""
    dtype = _dtype("iinfo", type)
    if dtype not in _INTEGERS:
        msg = f"iinfo: the dtype must be of integers, got {dtype}"
        raise TypeError(msg)
    info = np.iinfo(dtype)
    return IntegerLimits(int(info.bits), int(info.max), int(info.min), dtype)


@listed(
    "dtype : dtype\nkind : str, dtype or tuple of these",
    "whether it is of the kind",
    "ValueError\n    If a word names no kind.\n" + _NO_DTYPE,
    kind="bool, ",
)
def isdtype(dtype: Any, kind: Any) -> bool:
    """Tell whether a dtype is of a kind."""
    return as_dtype("isdtype", dtype, None) in _of_kind("isdtype", kind)


class Info:
    """What the namespace tells of itself, as the standard's ``__array_namespace_info__``."""

    def capabilities(self) -> dict[str, Any]:
        """Return what arrays are able to do."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> Any:
        """Return the device of a Tensor that is made without naming one."""
        return default_device()

    def devices(self) -> tuple[Any, ...]:
        """Return the devices that Tensors may be on."""
        return tuple(dict.fromkeys([default_device(), *jax.local_devices()]))

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """Return the dtypes of what is made without naming one."""
        on_device("default_dtypes", None, device)
        return {
            "real floating": float32,
            "complex floating": complex64,
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """Return the dtypes of a kind, or all, by name."""
        on_device("dtypes", None, device)
        wanted = frozenset(NAMED.values()) if kind is None else _of_kind("dtypes", kind)
        return {name: dtype for name, dtype in NAMED.items() if dtype in wanted}


def namespace_info() -> Info:
    """Return what the namespace tells of itself."""
    return Info()
