"""What the standard asks of the namespace itself, of dtypes and of devices."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impl_torch_ext.checks import check_device, check_dtype, shown
from impl_torch_ext.dtypes import (
    NAMED,
    bool_,
    complex64,
    dtype_of,
    float32,
    int64,
    is_inexact,
    is_integer,
    plain_number,
)
from impl_torch_ext.ops.families import listed

__all__ = [
    "NamespaceInfo",
    "can_cast",
    "e",
    "finfo",
    "iinfo",
    "inf",
    "isdtype",
    "nan",
    "newaxis",
    "pi",
    "result_type",
]

e, pi, inf, nan = math.e, math.pi, math.inf, math.nan
newaxis = None

_CPU = torch.device("cpu")
_KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8",),
    "integral": tuple(name for name, dtype in NAMED.items() if is_integer(dtype)),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
    "numeric": tuple(name for name in NAMED if name != "bool"),
}
_NO_DTYPE = {"TypeError": "If an argument is no dtype and has none."}


class FloatLimits(NamedTuple):
    """What `finfo` returns: Python numbers, and the dtype that they are the limits of."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: torch.dtype


class IntLimits(NamedTuple):
    """What `iinfo` returns: Python ints, and the dtype that they are the limits of."""

    bits: int
    max: int
    min: int
    dtype: torch.dtype


class NamespaceInfo:
    """The inspection interface of the array API standard."""

    def capabilities(self) -> dict[str, Any]:
        """Return what the namespace can do."""
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }

    def default_device(self) -> torch.device:
        """Return the device of a Tensor that is made without `device=`."""
        return _CPU

    def devices(self) -> tuple[torch.device, ...]:
        """Return the devices that there are."""
        return (_CPU,)

    def default_dtypes(self, *, device: Any = None) -> dict[str, torch.dtype]:
        """Return the dtypes of what is made without `dtype=`."""
        check_device("default_dtypes", device)
        return {
            "real floating": float32,
            "complex floating": complex64,
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, torch.dtype]:
        """Return the dtypes by name: all, or those of a kind or of a tuple of kinds."""
        check_device("dtypes", device)
        if kind is None:
            return dict(NAMED)
        wanted: set[str] = set()
        for word in kind if isinstance(kind, tuple | list) else (kind,):
            wanted.update(_of_kind("dtypes", word))
        return {name: dtype for name, dtype in NAMED.items() if name in wanted}


def _of_kind(name: str, word: Any) -> tuple[str, ...]:
    found = _KINDS.get(word) if isinstance(word, str) else None
    if found is None:
        msg = f"{name}: kind must be one of {', '.join(map(repr, _KINDS))}, got {shown(word)}"
        raise ValueError(msg)
    return found


def _dtype(name: str, given: Any) -> torch.dtype:
    """Return a dtype, or that of an array."""
    return check_dtype(name, given.dtype if hasattr(given, "dtype") else given)


@listed(
    {"*arrays_and_dtypes": "Tensor, dtype or Python number, not numbers alone"},
    "dtype",
    {**_NO_DTYPE, "ValueError": "If there are numbers alone, or nothing."},
)
def result_type(*arrays_and_dtypes: Any) -> torch.dtype:
    """Return the dtype that the arguments have together in arithmetic."""
    result: torch.dtype | None = None
    numbers = []
    for given in arrays_and_dtypes:
        number = plain_number(given)
        if isinstance(number, bool | int | float | complex):
            numbers.append(number)
            continue
        dtype = _dtype("result_type", given)
        result = dtype if result is None else torch.promote_types(result, dtype)
    if result is None:  # ops-32
        came = " and ".join(map(shown, arrays_and_dtypes)) or "nothing"
        msg = f"result_type: at least one argument must be an array or a dtype, got {came}"
        raise ValueError(msg)
    if any(isinstance(number, complex) for number in numbers):
        return torch.promote_types(result, complex64)
    if any(isinstance(number, float) for number in numbers) and not is_inexact(result):
        return float32
    if result == bool_ and any(type(number) is int for number in numbers):
        return int64
    return result


@listed({"from_": "Tensor or dtype", "to": "dtype"}, "bool", _NO_DTYPE)
def can_cast(from_: Tensor | torch.dtype, to: torch.dtype, /) -> bool:
    """Return whether promotion leads from a dtype to another."""
    before, after = _dtype("can_cast", from_), check_dtype("can_cast", to)
    return torch.promote_types(before, after) == after


@listed(
    {"dtype": "dtype", "kind": "str, dtype, or a tuple of them"},
    "bool",
    {**_NO_DTYPE, "ValueError": "If `kind` is another word."},
)
def isdtype(dtype: torch.dtype, kind: Any) -> bool:
    """Return whether a dtype is of a kind."""
    checked = check_dtype("isdtype", dtype)
    if isinstance(kind, tuple):
        return any([isdtype(checked, word) for word in kind])
    if isinstance(kind, torch.dtype) or (isinstance(kind, type) and dtype_of(kind)):
        return checked == check_dtype("isdtype", kind)
    return any(NAMED[name] == checked for name in _of_kind("isdtype", kind))


def _limits(name: str, given: Any, floating: bool) -> torch.dtype:
    dtype = _dtype(name, given)
    if dtype == bool_ or is_inexact(dtype) != floating:
        wanted = "floating or complex" if floating else "of integers"
        msg = f"{name}: the dtype must be {wanted}, got {dtype}"
        raise TypeError(msg)
    return dtype


@listed({"type": "dtype or Tensor, floating or complex"}, "FloatLimits", _NO_DTYPE)
def finfo(type: torch.dtype | Tensor, /) -> FloatLimits:
    """Return the limits of a floating dtype, or of the parts of a complex one."""
    dtype = _limits("finfo", type, floating=True)
    found, parts = torch.finfo(dtype), dtype.to_real()
    return FloatLimits(found.bits, found.eps, found.max, found.min, found.smallest_normal, parts)


@listed({"type": "dtype or Tensor, of integers"}, "IntLimits", _NO_DTYPE)
def iinfo(type: torch.dtype | Tensor, /) -> IntLimits:
    """Return the limits of a dtype of integers."""
    dtype = _limits("iinfo", type, floating=False)
    found = torch.iinfo(dtype)
    return IntLimits(found.bits, found.max, found.min, dtype)
