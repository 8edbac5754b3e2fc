"""Sums and their kin. Every result is an array: a 0-d one where NumPy returns a scalar."""

from __future__ import annotations

from typing import Any

from .host import np
from .storage import get_dtype, raw, store


def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Sum along axes."""
    return _reduce(np.sum, a, axis, out, keepdims, dtype)


def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Multiply along axes."""
    return _reduce(np.prod, a, axis, out, keepdims, dtype)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Average along axes; NaN over nothing."""
    return _moment(np.mean, a, axis, dtype, out, keepdims)


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: int = 0,
    keepdims: bool = False,
) -> Any:
    """Return the variance along axes."""
    return _moment(np.var, a, axis, dtype, out, keepdims, ddof=ddof)


def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: int = 0,
    keepdims: bool = False,
) -> Any:
    """Return the standard deviation along axes."""
    return _moment(np.std, a, axis, dtype, out, keepdims, ddof=ddof)


def amax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Return the maximum along axes; NaN if there is one."""
    return _reduce(np.amax, a, axis, out, keepdims)


def amin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Return the minimum along axes; NaN if there is one."""
    return _reduce(np.amin, a, axis, out, keepdims)


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Return the distance from minimum to maximum along axes."""
    return _reduce(np.ptp, a, axis, out, keepdims)


def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Tell whether all elements along axes are true."""
    return _reduce(np.all, a, axis, out, keepdims)


def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Tell whether some element along axes is true."""
    return _reduce(np.any, a, axis, out, keepdims)


def argmax(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Return the index of the first maximum along an axis."""
    return _index_of(np.argmax, a, axis, dtype, out, keepdims)


def argmin(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Return the index of the first minimum along an axis."""
    return _index_of(np.argmin, a, axis, dtype, out, keepdims)


def count_nonzero(a: Any, axis: Any = None) -> Any:
    """Count the elements along axes that are not zero."""
    return store(np.asarray(np.count_nonzero(raw(a), axis)), None, "reduction")


def nansum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Sum along axes what is not NaN."""
    return _reduce(np.nansum, a, axis, out, keepdims, dtype)


def nanprod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Multiply along axes what is not NaN."""
    return _reduce(np.nanprod, a, axis, out, keepdims, dtype)


def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Sum up along an axis, or over the flattened array."""
    return _scan(np.cumsum, a, axis, dtype, out)


def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Multiply up along an axis, or over the flattened array."""
    return _scan(np.cumprod, a, axis, dtype, out)


def cumulative_sum(
    x: Any,
    /,
    *,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    include_initial: bool = False,
) -> Any:
    """Sum up along an axis, as the array API has it."""
    made = np.cumulative_sum(raw(x, "x"), axis=axis, dtype=dtype, include_initial=include_initial)
    return store(made, out, "reduction")


def cumulative_prod(
    x: Any,
    /,
    *,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    include_initial: bool = False,
) -> Any:
    """Multiply up along an axis, as the array API has it."""
    made = np.cumulative_prod(raw(x, "x"), axis=axis, dtype=dtype, include_initial=include_initial)
    return store(made, out, "reduction")


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Return the differences of neighbours along an axis."""
    ends = {"prepend": prepend, "append": append}
    given = {key: raw(value, key) for key, value in ends.items() if value is not None}
    return store(np.diff(raw(a), n, axis, **given), None, "ufunc")


def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
) -> Any:
    """Sum a diagonal."""
    return store(np.asarray(np.trace(raw(a), offset, axis1, axis2, dtype)), out, "reduction")


def _reduce(function: Any, a: Any, axis: Any, out: Any, keepdims: Any, dtype: Any = None) -> Any:
    kwargs = {} if dtype is None else {"dtype": get_dtype(dtype)}
    source = raw(a)
    with np.errstate(all="ignore"):
        made = function(source, axis=_axis(axis), keepdims=bool(keepdims), **kwargs)
    return store(made, out, "reduction")


def _moment(
    function: Any, a: Any, axis: Any, dtype: Any, out: Any, keepdims: Any, **kwargs: Any
) -> Any:
    source = raw(a)
    axis = _axis(axis)
    dtype = None if dtype is None else get_dtype(dtype)
    if source.size == 0 or kwargs.get("ddof"):
        return store(_by_hand(function, source, axis, dtype, keepdims, **kwargs), out, "reduction")
    with np.errstate(all="ignore"):
        made = function(source, axis=axis, dtype=dtype, keepdims=bool(keepdims), **kwargs)
    return store(made, out, "reduction")


def _by_hand(
    function: Any, source: Any, axis: Any, dtype: Any, keepdims: Any, ddof: int = 0
) -> Any:
    # NumPy warns of too few elements where CuPy's kernels divide by zero in silence.
    if dtype is None:
        dtype = source.dtype if source.dtype.kind in "fc" else np.dtype(float)
    values = source.astype(dtype)
    size = values.size // np.maximum(1, np.sum(values, axis=axis).size) if values.size else 0
    with np.errstate(all="ignore"):
        if function is np.mean:
            return np.sum(values, axis=axis, keepdims=bool(keepdims)) / dtype.type(size)
        centre = np.sum(values, axis=axis, keepdims=True) / dtype.type(size)
        squares = np.sum(np.square(values - centre), axis=axis, keepdims=bool(keepdims))
        spread = squares / dtype.type(max(size - ddof, 0))
        return np.sqrt(spread) if function is np.std else spread


def _index_of(function: Any, a: Any, axis: Any, dtype: Any, out: Any, keepdims: Any) -> Any:
    made = np.asarray(function(raw(a), axis=axis, keepdims=bool(keepdims)))
    return store(made if dtype is None else made.astype(get_dtype(dtype)), out, "reduction")


def _scan(function: Any, a: Any, axis: Any, dtype: Any, out: Any) -> Any:
    with np.errstate(all="ignore"):
        return store(function(raw(a), axis=axis, dtype=dtype), out, "reduction")


def _axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis
