"""Tensors from data and from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import random
from impl_numpy.batched import asarray
from impl_numpy.checks import (
    as_scalar,
    check_cast,
    check_dtype,
    check_fits,
    check_flag,
    check_number,
    check_raw,
    check_real,
    check_scalar,
    check_sizes,
    shown,
)
from impl_numpy.dtypes import (
    DTYPES,
    Array,
    Shape,
    bool_,
    complex64,
    float32,
    int64,
    is_raw,
    native,
    uint64,
)
from impl_numpy.grad_checks import check_requires_grad
from impl_numpy.tape import check_uncut
from impl_numpy.tensor import Tensor, wrap


def tensor(data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return a Tensor with a copy of the data.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, numpy.ndarray or Tensor
        Python's floats become float32, ints int64, bools bool, complex numbers complex64; an array
        or Tensor keeps its dtype.
    dtype : dtype, optional
    requires_grad : bool

    Raises
    ------
    ValueError
        If lists are ragged, an int does not fit, or integers are to require grad.
    TypeError
        If `data` holds what is no number.
    """
    wanted = None if dtype is None else check_dtype(dtype, "tensor")
    array = from_data(data, wanted, "tensor")
    return _made(array, requires_grad, "tensor")


def from_array(array: Array, requires_grad: bool = False) -> Tensor:
    """Return a Tensor that shares the memory of a raw array.

    Raises
    ------
    TypeError
        If `array` is no NumPy array.
    """
    made = Tensor(array)
    if check_flag("from_array", "requires_grad", requires_grad):
        check_requires_grad(array.dtype, "from_array")
        made.requires_grad_()
    return made


Variable = from_array
_DEFAULTS: dict[type, np.dtype[Any]] = {
    bool: bool_,
    int: int64,
    float: float32,
    complex: complex64,
}


def zeros(*shape: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return zeros; float32 unless another dtype is named."""
    return _made(np.zeros(_sizes(shape, "zeros"), _dtype(dtype, "zeros")), requires_grad, "zeros")


def ones(*shape: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return ones; float32 unless another dtype is named."""
    return _made(np.ones(_sizes(shape, "ones"), _dtype(dtype, "ones")), requires_grad, "ones")


def empty(*shape: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return unspecified values; float32 unless another dtype is named."""
    return _made(np.empty(_sizes(shape, "empty"), _dtype(dtype, "empty")), requires_grad, "empty")


def full(
    shape: int | Shape,
    fill_value: Any,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return one value everywhere; its dtype follows the Python number."""
    sizes = check_sizes(shape, "full")
    wanted = None if dtype is None else check_dtype(dtype, "full")
    number = as_scalar(fill_value)  # tensor-30
    if number is None and isinstance(fill_value, (Tensor, np.ndarray)) and fill_value.ndim == 0:
        number = fill_value.item()
        wanted = check_dtype(fill_value.dtype, "full") if wanted is None else wanted
    given = number if number is not None else fill_value
    number = check_scalar("full", "fill_value", given, wanted)
    if wanted is None:
        wanted = _DEFAULTS[type(number)]
    check_fits("full", number, wanted)
    with np.errstate(over="ignore"):  # tensor-04
        return _made(np.full(sizes, number, wanted), requires_grad, "full")


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers from start, or 0, to before stop: int64 from ints, float32 from floats."""
    wanted = None if dtype is None else check_dtype(dtype, "arange")
    bounds = {"start": 0, "stop": start} if stop is None else {"start": start, "stop": stop}
    numbers: list[Any] = [check_number("arange", k, x) for k, x in {**bounds, "step": step}.items()]
    if numbers[2] == 0:
        msg = "arange: step must not be 0"
        raise ValueError(msg)
    if wanted is None:
        wanted = int64 if all(isinstance(k, int) for k in numbers) else float32
    check_real("arange", wanted)
    if wanted == uint64 and all(isinstance(k, int) for k in numbers):
        return _made(_unsigned(*numbers), requires_grad, "arange")
    for k in numbers:
        check_fits("arange", k, int64 if isinstance(k, int) else wanted)  # tensor-38
    try:
        array = np.arange(*numbers)
    except (ValueError, OverflowError, MemoryError) as error:
        msg = f"arange: cannot count from {numbers[0]} to {numbers[1]} by {numbers[2]}: {error}"
        raise ValueError(msg) from None
    return _made(_cast(array, wanted, "arange"), requires_grad, "arange")


def _unsigned(start: Any, stop: Any, step: Any) -> Array:
    """Return numbers that int64 may not hold, from Python's ints."""
    numbers = range(start, stop, step)
    for k in (numbers[0], numbers[-1]) if numbers else (start,):
        check_fits("arange", k, uint64)
    # In arithmetic modulo 2 ** 64 the steps may be negative.
    steps = np.arange(check_sizes(len(numbers), "arange")[0], dtype=uint64)
    return np.array(start % 2**64, uint64) + steps * np.array(step % 2**64, uint64)


def eye(
    n: int, m: int | None = None, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Return ones on the diagonal of an (n, m) matrix, zeros elsewhere."""
    rows, columns = check_sizes((n, n if m is None else m), "eye")
    return _made(np.eye(rows, columns, dtype=_dtype(dtype, "eye")), requires_grad, "eye")


def rand(*shape: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return uniform numbers in [0, 1), drawn in float64 and rounded."""
    sizes, wanted = _sizes(shape, "rand"), _floating(dtype, "rand")
    return _made(random.uniform(sizes).astype(wanted), requires_grad, "rand")


def randn(*shape: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return standard normal numbers, drawn in float64 and rounded."""
    sizes, wanted = _sizes(shape, "randn"), _floating(dtype, "randn")
    return _made(random.normal(sizes).astype(wanted), requires_grad, "randn")


def get_rng_state() -> Tensor:
    """Return the state of the generator, which `set_rng_state` takes and `save` writes.

    Before any seed or draw the generator is started.

    Returns
    -------
    Tensor of int64, shape (11,)
        Four words of the Philox counter, two of its key, four of its buffer, and the place in it.
        (Salmon et al., SC 2011; torch.get_rng_state.)
    """
    return wrap(random.words(), None)


def set_rng_state(state: Tensor | Array) -> None:
    """Go on with the numbers that followed where a state was taken.

    Parameters
    ----------
    state : Tensor or numpy.ndarray of int64, shape (11,)
        Of `get_rng_state`, also of another implementation; copied.

    Raises
    ------
    TypeError
        If it is no array, or not of int64; the generator goes on as it was.
    ValueError
        If it has another shape, or its last number is not from 0 to 4.
    """
    array = state._data if isinstance(state, Tensor) else state
    if not is_raw(array):
        got = type(state).__name__
        msg = f"set_rng_state: the state must be a Tensor or an array, got {got}"
        raise TypeError(msg)
    array = native(np.asarray(array))
    if array.dtype != int64:
        msg = f"set_rng_state: the state must be of int64, got {array.dtype}"
        raise TypeError(msg)
    if array.shape != (11,):
        msg = f"set_rng_state: the state must have shape (11,), got {array.shape}"
        raise ValueError(msg)
    if not 0 <= array[10] <= 4:  # init-11
        msg = f"set_rng_state: the last number must be from 0 to 4, got {array[10]}"
        raise ValueError(msg)
    random.resume_words(array)


def _made(array: Array, requires_grad: bool, operation: str) -> Tensor:
    made = wrap(check_raw(array, operation), None)
    if check_flag(operation, "requires_grad", requires_grad):
        check_requires_grad(array.dtype, operation)
        made.requires_grad_()
    return made


def from_data(data: Any, dtype: np.dtype[Any] | None, operation: str) -> Array:
    """Return a new array of the dtype, or of the data's own, from whatever `tensor` takes."""
    if isinstance(data, Tensor):
        if data._node is not None:
            check_uncut(operation)
        return _cast(data._data, dtype or data.dtype, operation)
    if isinstance(data, np.generic) and data.dtype not in DTYPES:
        number = as_scalar(data)  # tensor-37
        data = data if number is None else number
    if is_raw(data):
        array = asarray(data)
        if dtype is None or array.dtype.kind not in "biufc":
            array = check_raw(array, operation)
        return _cast(array, dtype or array.dtype, operation)
    if not isinstance(data, (bool, int, float, complex, list, tuple)):
        msg = f"{operation}: wants numbers, lists of numbers or an array, got {type(data).__name__}"
        raise TypeError(msg)
    return _from_lists(data, dtype, operation)


def _from_lists(data: Any, dtype: np.dtype[Any] | None, operation: str) -> Array:
    """Return a new array of numbers and nested lists of them."""
    leaves: list[Any] = []
    try:
        numbers = _plain(data, leaves, operation)
        whole = bool(leaves) and not any(isinstance(x, (float, complex)) for x in leaves)
        if whole and dtype is not None and dtype.kind in "iu":
            for x in leaves:
                check_fits(operation, x, dtype)
            # NumPy's guess at ints beyond int64 may be floating.
            return np.array(numbers, dtype)
        array = np.array(numbers)
    except (ValueError, RecursionError) as error:
        if "does not fit" in str(error):
            raise
        reason = " ".join(str(error).split())
        msg = f"{operation}: lists must be of equal lengths, got ragged ones: {reason}"
        raise ValueError(msg) from None
    if whole and (dtype is None or dtype.kind not in "fc"):
        # Ints that int64 does not hold are unsigned, floating or objects to NumPy.
        for x in leaves:
            if isinstance(x, int):
                check_fits(operation, x, dtype or int64)
    defaults: dict[str, Any] = {"f": float32, "i": int64, "b": bool_, "c": complex64}
    if array.dtype.kind == "O":
        msg = f"{operation}: an int does not fit into a floating dtype"
        raise ValueError(msg)
    return _cast(array, dtype or defaults[array.dtype.kind], operation)


def _cast(array: Array, dtype: np.dtype[Any], operation: str) -> Array:
    """Return a copy in a dtype that holds the values."""
    check_cast(operation, array, dtype)
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def _plain(data: Any, leaves: list[Any], operation: str) -> Any:
    """Return nested lists of Python's numbers, and collect these."""
    if isinstance(data, (list, tuple)):
        return [_plain(x, leaves, operation) for x in data]
    number = as_scalar(data)
    if number is None:  # tensor-03
        stack = "; ops.stack takes a list of arrays" if hasattr(data, "shape") else ""
        msg = f"{operation}: lists must hold numbers, got a {type(data).__name__} in one{stack}"
        raise TypeError(msg)
    leaves.append(number)
    return number


def _sizes(shape: tuple[Any, ...], operation: str) -> Shape:
    """Return sizes that came as one tuple or as arguments (tensor-31)."""
    whole = len(shape) == 1 and isinstance(shape[0], (tuple, list))
    sizes = tuple(shape[0]) if whole else shape
    if any(isinstance(n, (bool, np.bool)) for n in sizes):
        msg = f"{operation}: the shape must be an int or a tuple of ints, got {shown(sizes)}"
        raise TypeError(msg)
    return check_sizes(sizes, operation)


def _dtype(dtype: DTypeLike | None, operation: str) -> np.dtype[Any]:
    return float32 if dtype is None else check_dtype(dtype, operation)


def _floating(dtype: DTypeLike | None, operation: str) -> np.dtype[Any]:
    wanted = _dtype(dtype, operation)
    if wanted.kind != "f":
        msg = f"{operation}: the dtype must be float32 or float64, got {wanted}"
        raise TypeError(msg)
    return wanted
