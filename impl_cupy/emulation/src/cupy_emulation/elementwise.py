"""Elementwise functions that are no ufuncs in CuPy, comparisons of whole arrays, dtypes."""

from __future__ import annotations

from typing import Any

from .host import np
from .indexing import nonzero
from .storage import Storage, raw, result, store
from .ufunc import CLIP, WHERE


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Choose elements of ``x`` where ``condition`` holds and of ``y`` elsewhere.

    Raises
    ------
    ValueError
        If only one of ``x`` and ``y`` is given.
    """
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        msg = "Must provide both 'x' and 'y' or neither."
        raise ValueError(msg)
    if not isinstance(condition, Storage):
        raw(condition, "condition")
    elif condition._array.dtype != bool:
        condition = condition.astype(bool)  # type: ignore[attr-defined]
    return WHERE(condition, x, y)


def clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> Any:
    """Limit elements to an interval; a bound may be None."""
    dtype = raw(a).dtype
    low, high = a_min, a_max
    if dtype.kind == "f":
        low = dtype.type("-inf") if low is None else low
        high = dtype.type("inf") if high is None else high
    elif dtype.kind in "iu":
        low = np.iinfo(dtype).min if low is None else low
        high = np.iinfo(dtype).max if high is None else high
    return CLIP(a, low, high, out=out)


def around(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Round to a number of decimals, halves to even."""
    return store(np.asarray(np.around(raw(a), decimals)), out, "ufunc")


def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Do what `around` does."""
    return around(a, decimals, out)


def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """Replace NaN and infinities."""
    made = np.nan_to_num(raw(x, "x"), True, nan, posinf, neginf)
    return result(made, "ufunc") if copy else store(made, x, "ufunc")


def real(val: Any) -> Any:
    """Return the real part."""
    return val.real


def imag(val: Any) -> Any:
    """Return the imaginary part."""
    return val.imag


def isclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """Tell which elements agree to a tolerance."""
    with np.errstate(all="ignore"):
        return result(np.isclose(_value(a), _value(b), rtol, atol, equal_nan), "ufunc")


def allclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """Tell, as a 0-d array, whether all elements agree to a tolerance."""
    close = isclose(a, b, rtol, atol, equal_nan)
    return result(np.asarray(np.all(close._array)), "reduction")


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Tell, as a 0-d array, whether two arrays have one shape and the same elements."""
    same = np.array_equal(raw(a1, "a1"), raw(a2, "a2"), equal_nan)
    return result(np.asarray(same), "reduction")


def iscomplexobj(x: Any) -> bool:
    """Tell whether the dtype is complex."""
    return bool(raw(x, "x").dtype.kind == "c")


def isrealobj(x: Any) -> bool:
    """Tell whether the dtype is real."""
    return not iscomplexobj(x)


def isscalar(element: Any) -> bool:
    """Tell whether ``element`` is a number."""
    return np.isscalar(element)


def ndim(a: Any) -> int:
    """Return the number of axes."""
    return int(raw(a).ndim)


def shape(a: Any) -> tuple[int, ...]:
    """Return the shape."""
    return tuple(raw(a).shape)


def size(a: Any, axis: Any = None) -> int:
    """Return the number of elements, or the length of an axis."""
    return int(np.size(raw(a), axis))


def result_type(*arrays_and_dtypes: Any) -> Any:
    """Return the dtype that results from mixing arrays, dtypes and Python numbers."""
    return np.result_type(
        *[x._array.dtype if isinstance(x, Storage) else x for x in arrays_and_dtypes]
    )


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Tell whether a cast is allowed."""
    source = from_._array.dtype if isinstance(from_, Storage) else from_
    return np.can_cast(source, to, casting)


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Tell whether the bounds of two arrays' memory overlap."""
    if isinstance(a, Storage) and isinstance(b, Storage):
        return np.may_share_memory(a._array, b._array)
    return False


def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Tell whether two arrays have an element in common."""
    return bool(np.shares_memory(raw(a), raw(b, "b")))


def _value(x: Any) -> Any:
    if isinstance(x, Storage):
        return x._array
    if isinstance(x, (bool, int, float, complex, np.generic)):
        return x
    msg = f"Unsupported type {type(x)}"
    raise TypeError(msg)
