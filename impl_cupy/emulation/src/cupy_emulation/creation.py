"""Functions that make arrays, and that bring them to the device and back."""

from __future__ import annotations

from typing import Any

from .counters import record
from .host import np
from .storage import Storage, get_dtype, new, raw, result, uninitialized, view


def array(
    obj: Any,
    dtype: Any = None,
    copy: Any = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> Any:
    """Make an array of numbers, nested sequences, a NumPy array or an emulated one."""
    if subok:
        raise NotImplementedError
    if isinstance(obj, Storage):
        made = astype_array(obj, dtype or obj._array.dtype, order, copy)
        missing = ndmin - made._array.ndim
        return made.reshape((1,) * missing + made._array.shape) if missing > 0 else made
    if _holds_arrays(obj):
        return _from_nested(obj, dtype, ndmin)
    if dtype is not None:
        dtype = get_dtype(dtype)
    fortran = order in ("F", "f") or (
        order in ("K", "A", None) and isinstance(obj, np.ndarray) and obj.flags.fnc
    )
    host = np.array(obj, dtype=dtype, order="F" if fortran else "C", ndmin=ndmin)
    get_dtype(host.dtype)
    record("copy")
    return new(host)


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> Any:
    """Make an array of ``a``; one that is an array of this dtype already is returned as it is."""
    return array(a, dtype, copy, order)


def asanyarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> Any:
    """Do what `asarray` does."""
    return array(a, dtype, copy, order)


def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    """Return ``a`` in C order, with at least one axis."""
    source = raw(a)
    wanted = source.dtype if dtype is None else get_dtype(dtype)
    if source.flags.c_contiguous and source.dtype == wanted:
        return a if source.ndim else a.reshape(1)
    return result(np.array(source, wanted, order="C", ndmin=1), "copy")


def asfortranarray(a: Any, dtype: Any = None) -> Any:
    """Return ``a`` in Fortran order, with at least one axis."""
    source = raw(a)
    wanted = source.dtype if dtype is None else get_dtype(dtype)
    if source.flags.f_contiguous and source.dtype == wanted:
        return a if source.ndim else a.reshape(1)
    record("copy")
    return new(np.array(source, wanted, order="F", ndmin=1))


def asnumpy(
    a: Any, stream: Any = None, order: Any = "C", out: Any = None, *, blocking: bool = True
) -> Any:
    """Return a NumPy copy of ``a``."""
    if isinstance(a, Storage):
        return a.get(stream=stream, order=order, out=out)  # type: ignore[attr-defined]
    return np.asarray(a, order=order)


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    """Return ``x`` cast to ``dtype``."""
    raw(x, "x")
    return astype_array(x, dtype, "K", True if copy else None)


def astype_array(x: Storage, dtype: Any, order: Any, copy: Any) -> Any:
    """Return ``x`` cast; itself where nothing has to be done and ``copy`` is not True.

    Raises
    ------
    ValueError
        If ``copy`` is False (not None) and a copy is needed.
    """
    source = x._array
    dtype = get_dtype(dtype)
    flags = source.flags
    order = (order or "K").upper()
    fits = {"K": True, "A": flags.forc, "C": flags.c_contiguous, "F": flags.f_contiguous}
    if order not in fits:
        msg = f"order must be one of 'C', 'F', 'A' or 'K', got {order!r}"
        raise ValueError(msg)
    if dtype == source.dtype and not copy and fits[order]:
        return x
    if copy is not None and not copy:
        msg = "Unable to avoid copy while creating an array as requested."
        raise ValueError(msg)
    record("copy")
    with np.errstate(all="ignore"):
        return new(source.astype(dtype, order=order, copy=True))


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """Make an array of unspecified contents: NaN or all bits set, so that nobody relies on them."""
    return new(uninitialized(_shape(shape), get_dtype(dtype), order))


def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> Any:
    """Make an array of unspecified contents, of the shape and dtype of another."""
    like = np.empty_like(raw(prototype, "prototype"), dtype, order, shape=shape)
    made = uninitialized(like.shape, get_dtype(like.dtype))
    return new(made if like.flags.c_contiguous else _laid_out(made, like))


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """Make an array of zeros."""
    record("other")
    return new(np.zeros(_shape(shape), get_dtype(dtype), order))


def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> Any:
    """Make an array of zeros of the shape and dtype of another."""
    record("other")
    return new(np.zeros_like(raw(a), dtype, order, shape=shape))


def ones(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """Make an array of ones."""
    record("other")
    return new(np.ones(_shape(shape), get_dtype(dtype), order))


def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> Any:
    """Make an array of ones of the shape and dtype of another."""
    record("other")
    return new(np.ones_like(raw(a), dtype, order, shape=shape))


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Any:
    """Make an array of one value; its dtype is the value's if not given."""
    if dtype is None:
        is_array = isinstance(fill_value, Storage)
        dtype = fill_value._array.dtype if is_array else np.array(fill_value).dtype
    made = empty(shape, dtype, order)
    made.fill(fill_value)
    return made


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: None = None,
    shape: Any = None,
) -> Any:
    """Make an array of one value of the shape and dtype of another."""
    made = empty_like(a, dtype, order, None, shape)
    made.fill(fill_value)
    return made


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, order: str = "C") -> Any:
    """Make a matrix with ones on a diagonal."""
    record("other")
    return new(np.eye(N, M, k, get_dtype(dtype), order))


def identity(n: int, dtype: Any = float) -> Any:
    """Make an identity matrix."""
    return eye(n, dtype=dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """Make the numbers from ``start`` to ``stop`` by ``step``."""
    for value in (start, stop, step):
        if isinstance(value, Storage):
            msg = "arange: the limits must be numbers, not cupy.ndarray"
            raise TypeError(msg)
    if stop is None:
        start, stop = 0, start
    return result(np.arange(start, stop, 1 if step is None else step, dtype), "other")


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Make ``num`` numbers at equal distances."""
    limits = [x._array if isinstance(x, Storage) else x for x in (start, stop)]
    made: Any = np.linspace(*limits, num, endpoint, retstep, dtype, axis)
    return (result(made[0], "other"), made[1]) if retstep else result(made, "other")


def meshgrid(*xi: Any, indexing: str = "xy", sparse: bool = False, copy: bool = True) -> list[Any]:
    """Make coordinate arrays from vectors."""
    grids = np.meshgrid(*[raw(x, "xi") for x in xi], indexing=indexing, sparse=sparse, copy=True)
    return [result(grid, "copy") for grid in grids]


def copy(a: Any, order: str = "K") -> Any:
    """Return a copy."""
    raw(a)
    return astype_array(a, a._array.dtype, order, True)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float) -> Any:
    """Make a matrix with ones at and below a diagonal."""
    return result(np.tri(N, M, k, get_dtype(dtype)), "other")


def tril(m: Any, k: int = 0) -> Any:
    """Return the lower triangle."""
    return result(np.tril(raw(m, "m"), k), "other")


def triu(m: Any, k: int = 0) -> Any:
    """Return the upper triangle."""
    return result(np.triu(raw(m, "m"), k), "other")


def diag(v: Any, k: int = 0) -> Any:
    """Return a diagonal of a matrix, or a matrix with a given diagonal."""
    source = raw(v, "v")
    made = np.diag(source, k)
    return view(made, v) if source.ndim == 2 else result(made, "other")


def indices(dimensions: Any, dtype: Any = int) -> Any:
    """Make the arrays of indices of a grid."""
    return result(np.indices(dimensions, dtype), "other")


def _shape(shape: Any) -> Any:
    if isinstance(shape, Storage) or (isinstance(shape, (tuple, list)) and _holds_arrays(shape)):
        msg = "shape must be an int or a tuple of ints, not cupy.ndarray"
        raise TypeError(msg)
    return shape


def _laid_out(made: Any, like: Any) -> Any:
    axes = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    packed = made.reshape([like.shape[axis] for axis in axes])
    return packed.transpose([axes.index(axis) for axis in range(like.ndim)])


def _holds_arrays(obj: Any) -> bool:
    if isinstance(obj, (list, tuple)):
        return any(_holds_arrays(item) for item in obj)
    return isinstance(obj, Storage)


def _from_nested(obj: Any, dtype: Any, ndmin: int) -> Any:
    host = _stack(obj)
    return result(np.array(host, dtype, ndmin=ndmin), "copy")


def _stack(obj: Any) -> Any:
    if isinstance(obj, Storage):
        return obj._array
    if not isinstance(obj, (list, tuple)):
        msg = (
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )
        raise TypeError(msg)
    parts = [_stack(item) for item in obj]
    if len({part.shape for part in parts}) != 1:
        return _stack(None)
    return np.stack(parts)
