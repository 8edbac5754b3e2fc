"""Constructors of Tensors; random ones draw from the one generator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_differentiable,
    check_dtype,
    check_flag,
    check_floating_dtype,
    check_number,
    check_raw,
    check_sizes,
    shown,
    type_name,
)
from impl_cupy.dtypes import (
    DTypeLike,
    bool_,
    check_fits,
    complex64,
    dtypes,
    float32,
    float64,
    int64,
    is_supported,
    native,
    number_dtype,
    plain,
)
from impl_cupy.memory import RawArray, lend
from impl_cupy.tape import refuse_cut, state, wrap
from impl_cupy.tensor import Tensor


def tensor(data: Any, *, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor with a copy of `data`.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, numpy.ndarray, cupy.ndarray or Tensor
        Python floats become float32, ints int64, bools bool, complex numbers complex64; an array
        keeps its dtype.
    dtype : dtype, optional
        Another dtype than that.
    requires_grad : bool
        Whether gradients are wanted for it.

    Raises
    ------
    TypeError
        If `data` is nothing of the kind.
    ValueError
        If lists are ragged, or `requires_grad` is asked for a dtype that is not floating.
    """
    return made("tensor", data, dtype, requires_grad)


def made(operation: str, data: Any, dtype: DTypeLike, requires_grad: bool = False) -> Tensor:
    """Do what `tensor` does for an operation that has another name in messages."""
    wanted = None if dtype is None else check_dtype(operation, dtype)
    source = _source(operation, data, wanted)
    if wanted is not None and source.dtype.kind == "c" != wanted.kind:
        msg = f"{operation}: dtype {source.dtype.name} does not become {wanted.name}; take ops.real"
        raise TypeError(msg)
    return _leaf(operation, cp.array(source, dtype=wanted, copy=True, order="C"), requires_grad)


def from_array(array: RawArray, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of a raw array, in the same memory.

    Raises
    ------
    TypeError
        If `array` is no `cupy.ndarray`.
    """
    if isinstance(array, Tensor) and state.replayed is not None:
        refuse_cut("from_array")
    check_raw("from_array", array)
    lend(array)
    return _leaf("from_array", array, requires_grad)


def Variable(array: RawArray, requires_grad: bool = False) -> Tensor:
    """Do what `from_array` does, under the name that older code has for it."""
    if isinstance(array, Tensor) and state.replayed is not None:
        refuse_cut("Variable")
    check_raw("Variable", array)
    lend(array)
    return _leaf("Variable", array, requires_grad)


def zeros(*shape: Any, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of zeros.

    Parameters
    ----------
    *shape : int, or one tuple of int
    dtype : dtype
    requires_grad : bool
    """
    raw = cp.zeros(_sizes("zeros", shape), dtype=check_dtype("zeros", dtype))
    return _leaf("zeros", raw, requires_grad)


def ones(*shape: Any, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of ones.

    Parameters
    ----------
    *shape : int, or one tuple of int
    dtype : dtype
    requires_grad : bool
    """
    raw = cp.ones(_sizes("ones", shape), dtype=check_dtype("ones", dtype))
    return _leaf("ones", raw, requires_grad)


def full(
    shape: Any, fill_value: Any, *, dtype: DTypeLike = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of one value.

    Parameters
    ----------
    shape : int or tuple of int
    fill_value : number
        Gives the dtype, as in `tensor`, where none is given.
    dtype : dtype, optional
    requires_grad : bool
    """
    return filled("full", shape, fill_value, dtype, requires_grad)


def filled(
    operation: str, shape: Any, fill_value: Any, dtype: DTypeLike, requires_grad: bool = False
) -> Tensor:
    """Do what `full` does for an operation that has another name in messages."""
    sizes = check_sizes(operation, shape)
    is_one = isinstance(fill_value, (Tensor, np.generic)) and fill_value.size == 1
    number = fill_value.item() if is_one else fill_value
    if not isinstance(number, (bool, int, float, complex)):
        msg = f"{operation}: fill_value must be a number, got {type_name(fill_value)}"
        raise TypeError(msg)
    wanted = number_dtype(number) if dtype is None else check_dtype(operation, dtype)
    if isinstance(number, complex) and wanted.kind != "c":
        msg = f"{operation}: fill_value must be real for dtype {wanted.name}, got complex {number}"
        raise TypeError(msg)
    check_fits(operation, number, wanted)
    value = _cast(np.asarray(number), wanted)[()]
    return _leaf(operation, cp.full(sizes, value, dtype=wanted), requires_grad)


def empty(*shape: Any, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Make a Tensor with whatever the memory holds.

    Parameters
    ----------
    *shape : int, or one tuple of int
    dtype : dtype
    requires_grad : bool
    """
    raw = cp.empty(_sizes("empty", shape), dtype=check_dtype("empty", dtype))
    return _leaf("empty", raw, requires_grad)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a 1-d Tensor ``start, start + step, ...`` below `stop`.

    Parameters
    ----------
    start, stop, step : number
        With one number given it is `stop`, and `start` is 0. Ints give int64, else float32.
    dtype : dtype, optional
    requires_grad : bool

    Raises
    ------
    ValueError
        If `step` is 0.
    """
    for argument, value in (("start", start), ("stop", stop), ("step", step)):
        if value is not None or argument != "stop":
            _check_finite("arange", argument, value)
    numbers: list[Any] = [
        plain(value) if isinstance(value, np.generic) else value for value in (start, stop, step)
    ]
    start, stop, step = numbers
    if step == 0:
        msg = "arange: step must not be 0"
        raise ValueError(msg)
    if stop is None:
        start, stop = 0, start
    integral = all(isinstance(number, (int, np.integer)) for number in (start, stop, step))
    wanted = check_dtype("arange", dtype) if dtype is not None else (int64 if integral else float32)
    if wanted.kind == "c":
        msg = f"arange: dtype must be real, got {wanted.name}"
        raise TypeError(msg)
    try:
        # Rounded once, to `wanted` (tensor-06).
        raw = cp.arange(start, stop, step, dtype=int64 if integral else float64)
    except (ValueError, OverflowError, MemoryError) as error:
        msg = f"arange: no array from {start} to {stop} by {step}: {error}"
        raise ValueError(msg) from None
    _check_held("arange", raw, wanted)
    return _leaf("arange", raw.astype(wanted, copy=False), requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: DTypeLike = float32, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor, shape (n, m), with ones on the diagonal.

    Parameters
    ----------
    n, m : int
        `m` is `n` unless given.
    dtype : dtype
    requires_grad : bool
    """
    rows, columns = check_sizes("eye", (n, n if m is None else m))
    return _leaf("eye", cp.eye(rows, columns, dtype=check_dtype("eye", dtype)), requires_grad)


def rand(*shape: Any, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Draw uniform numbers in [0, 1), one 64-bit word of the generator per element.

    Parameters
    ----------
    *shape : int, or one tuple of int
    dtype : dtype
    requires_grad : bool
    """
    sizes, wanted = _sizes("rand", shape), check_floating_dtype("rand", dtype)
    return _leaf("rand", rounded(random.uniform(sizes), wanted), requires_grad)


def randn(*shape: Any, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Draw numbers from the standard normal distribution.

    Parameters
    ----------
    *shape : int, or one tuple of int
    dtype : dtype
    requires_grad : bool
    """
    sizes, wanted = _sizes("randn", shape), check_floating_dtype("randn", dtype)
    return _leaf("randn", rounded(random.normal(sizes), wanted), requires_grad)


def get_rng_state() -> Tensor:
    """Return the state of the generator, from which `set_rng_state` goes on.

    Source: ``torch.get_rng_state``; the layout is that of ``numpy.random.Philox.state``.

    Returns
    -------
    Tensor, int64, shape (11,)
        Four words of the counter, two of the key, four of the buffer, each read as a signed
        number, and the place in the buffer.
    """
    words = np.array(random.state(), np.uint64)
    made: Tensor = wrap(cp.asarray(words.view(np.int64)))
    return made


def set_rng_state(state: Any) -> None:
    """Let the generator go on from what `get_rng_state` gave.

    Source: ``torch.set_rng_state``.

    Parameters
    ----------
    state : Tensor, cupy.ndarray or numpy.ndarray, int64, shape (11,)
        Of this or of another implementation; it is copied.

    Raises
    ------
    TypeError
        If it is no array of int64.
    ValueError
        If it has another shape, or a place in the buffer that is not from 0 to 4.
    """
    random.set_state(rng_state("set_rng_state", state))


def rng_state(operation: str, state: Any) -> random.State:
    """Return the words of a state of the generator as ints, checked (init-11)."""
    raw = state._data if isinstance(state, Tensor) else state
    if not isinstance(raw, (cp.ndarray, np.ndarray)):
        msg = f"{operation}: state must be a Tensor or an array, got {type_name(state)}"
        raise TypeError(msg)
    if raw.dtype.newbyteorder("=") != np.int64:
        msg = f"{operation}: state must have dtype int64, got {raw.dtype.name}"
        raise TypeError(msg)
    if raw.shape != (random.STATE_SIZE,):
        msg = f"{operation}: state must have shape ({random.STATE_SIZE},), got {raw.shape}"
        raise ValueError(msg)
    words = [int(word) for word in cp.asnumpy(raw)]
    if not 0 <= words[-1] <= 4:
        msg = f"{operation}: state must end with a place from 0 to 4, got {words[-1]}"
        raise ValueError(msg)
    return tuple(word % 2**64 for word in words)


def _check_finite(operation: str, argument: str, value: Any) -> None:
    check_number(operation, argument, value)
    if not -math.inf < value < math.inf:
        msg = f"{operation}: {argument} must be finite, got {value}"
        raise ValueError(msg)


def rounded(host: np.ndarray[Any, np.dtype[Any]], dtype: DTypeLike) -> RawArray:
    """Round host numbers to `dtype` and copy them to the device."""
    return cp.asarray(_cast(host, dtype))


def _cast(host: np.ndarray[Any, np.dtype[Any]], dtype: DTypeLike) -> np.ndarray[Any, np.dtype[Any]]:
    """Convert on the host; what float32 does not hold is infinite there (tensor-04)."""
    with np.errstate(over="ignore"):
        return host.astype(dtype)


def _source(operation: str, data: Any, wanted: DTypeLike) -> Any:
    """Find the array in what `tensor` was given; host numbers have their final dtype."""
    if isinstance(data, np.generic) and not is_supported(data.dtype):
        data = plain(data)  # tensor-39
    if isinstance(data, Tensor):
        data._refuse_cut(operation)
        data = data._data
    elif isinstance(data, cp.ndarray):
        if wanted is None:
            check_raw(operation, data)
    elif isinstance(data, (np.ndarray, np.generic)):
        data = native(np.asarray(data))
        if data.dtype.kind not in "fiubc" or (wanted is None and not is_supported(data.dtype)):
            names = ", ".join(dtype.name for dtype in dtypes)
            msg = f"{operation}: dtype must be one of {names}, got {data.dtype.name}; cast it first"
            raise TypeError(msg)
    else:
        return _from_numbers(operation, data, wanted)
    if wanted is None or data.dtype.kind == "c" != wanted.kind:
        return data
    _check_held(operation, data, wanted)
    return _cast(data, wanted) if isinstance(data, np.ndarray) else data


def _from_numbers(operation: str, data: Any, wanted: DTypeLike) -> np.ndarray[Any, np.dtype[Any]]:
    if not isinstance(data, (bool, int, float, complex, list, tuple)):
        msg = f"{operation}: numbers, lists of them or an array are needed, got {type_name(data)}"
        raise TypeError(msg)
    leaves = [plain(leaf) if isinstance(leaf, np.generic) else leaf for leaf in _leaves(data)]
    for leaf in leaves:
        if isinstance(leaf, complex) and wanted is not None and wanted.kind != "c":
            msg = f"{operation}: numbers must be real for dtype {wanted.name}, got complex {leaf}"
            raise TypeError(msg)
        if not isinstance(leaf, (bool, int, float, complex)):
            stack = "; ops.stack takes a list of arrays" if hasattr(leaf, "shape") else ""
            msg = f"{operation}: lists must hold numbers, got {type_name(leaf)} in one{stack}"
            raise TypeError(msg)
    is_whole = not any(isinstance(leaf, (float, complex)) for leaf in leaves)
    holder = (int64 if wanted is None else wanted) if is_whole else bool_
    for leaf in leaves if holder.kind in "iu" else ():
        check_fits(operation, leaf, holder)
    try:
        # With a dtype no whole number goes through a floating one.
        host = np.array(data, dtype=wanted if holder.kind in "iu" else None)
    except ValueError:
        msg = f"{operation}: lists must have equal lengths at each depth, got {shown(data)}"
        raise ValueError(msg) from None
    if wanted is None:
        wanted = _OF_NUMBERS.get(host.dtype.kind, float32)
    if host.dtype.kind != "O":
        _check_held(operation, host, wanted)
    return _cast(host, wanted)


_OF_NUMBERS = {"i": int64, "u": int64, "b": bool_, "c": complex64}


def _check_held(operation: str, array: Any, wanted: DTypeLike) -> None:
    """Refuse numbers that an integer dtype does not hold (tensor-38)."""
    if wanted is None or wanted.kind not in "iu" or array.dtype == wanted or array.size == 0:
        return
    for number in (array.min().item(), array.max().item()):
        if number != number:
            msg = f"{operation}: the number {number} does not fit dtype {wanted.name}"
            raise ValueError(msg)
        check_fits(operation, number, wanted)


def _leaves(data: Any) -> Any:
    stack = [data]
    while stack:
        part = stack.pop()
        if isinstance(part, (list, tuple)):
            stack.extend(part)
        else:
            yield part


def _sizes(operation: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape given as one tuple or as sizes (tensor-31)."""
    is_one = len(shape) == 1 and isinstance(shape[0], (tuple, list))
    return check_sizes(operation, shape[0] if is_one else shape)


def _leaf(operation: str, raw: RawArray, requires_grad: bool) -> Tensor:
    if type(requires_grad) is not bool:
        requires_grad = check_flag(operation, "requires_grad", requires_grad)
    if requires_grad:
        check_differentiable(operation, raw.dtype)
    return wrap(raw, requires_grad)
