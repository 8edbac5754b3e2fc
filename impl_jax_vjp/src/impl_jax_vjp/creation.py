"""Constructors of Tensors. Values are made on the host, which compiles nothing."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .arithmetic import as_dtype, check_dtype
from .draws import draw
from .tape import Traced, make, unwrap
from .tensor import Tensor, check_floating, float32, int64


def _leaf(name: str, data: Any, requires_grad: bool) -> Tensor:
    check_dtype(name, data.dtype)
    if requires_grad:
        check_floating(name, data.dtype)
    made: Tensor = make(data)
    made._requires_grad = bool(requires_grad)
    return made


def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor with a copy of the data.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, numpy.ndarray, jax.Array or Tensor
    dtype : dtype, optional
        By default floats become float32, ints int64, bools bool; arrays keep theirs.
    requires_grad : bool

    Raises
    ------
    ValueError
        If lists are ragged, or `requires_grad` is asked of a dtype that is not floating.
    TypeError
        If `data` is none of these, or no Tensor has the dtype.
    """
    wanted = None if dtype is None else as_dtype("tensor", dtype)
    if isinstance(data, Traced | jax.Array):
        raw = unwrap(data)
        raw = jax.numpy.array(raw, dtype=wanted or raw.dtype, copy=True)
    else:
        array = _host_array(data, wanted)
        check_dtype("tensor", array.dtype)
        raw = jax.numpy.array(array)
    return _leaf("tensor", raw, requires_grad)


def _host_array(data: Any, wanted: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
    else:
        if not isinstance(data, bool | int | float | list | tuple):
            msg = f"tensor: got {type(data).__name__}, wanted numbers, lists of them or an array"
            raise TypeError(msg)
        try:
            array = np.array(_without_tensors(data))
        except ValueError:
            msg = "tensor: got ragged lists, wanted lists of equal lengths at each depth"
            raise ValueError(msg) from None
        if array.dtype == np.float64 and not _holds_double(data):
            array = array.astype(wanted or float32)
        elif array.dtype.kind == "i":
            array = array.astype(wanted or int64)
    if array.dtype.kind not in "biuf":
        kind = type(array.flat[0]).__name__ if array.size else str(array.dtype)
        msg = f"tensor: got elements of type {kind}, wanted numbers or booleans"
        raise TypeError(msg)
    return array if wanted is None else array.astype(wanted)


def _without_tensors(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_without_tensors(item) for item in data]
    if isinstance(data, Traced | jax.Array):
        return np.asarray(unwrap(data))
    # NumPy's scalars have a width of their own, and count as the Python numbers they are.
    return data.item() if isinstance(data, np.generic) else data


def _holds_double(data: Any) -> bool:
    if isinstance(data, list | tuple):
        return any(_holds_double(item) for item in data)
    return not isinstance(data, np.generic) and getattr(data, "dtype", None) == np.float64


def from_array(array: Any, requires_grad: bool = False) -> Tensor:
    """Make a Tensor that shares a raw array.

    Raises
    ------
    TypeError
        If `array` is no jax.Array, or no Tensor has its dtype.
    """
    if not isinstance(array, jax.Array):
        msg = (
            f"from_array: wanted a jax.Array, got {type(array).__name__}; use tensor(data) to copy"
        )
        raise TypeError(msg)
    return _leaf("from_array", array, requires_grad)


def Variable(array: Any, requires_grad: bool = False) -> Tensor:
    """Make a Tensor that shares a raw array: another name for `from_array`."""
    return from_array(array, requires_grad)


def _shape(name: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        found = tuple(operator.index(size) for size in sizes)
    except TypeError:
        msg = f"{name}: shape must be an int or a tuple of ints, got {shape!r}"
        raise TypeError(msg) from None
    if any(size < 0 for size in found):
        msg = f"{name}: shape must not be negative, got {found}"
        raise ValueError(msg)
    return found


def host(name: str, values: np.ndarray[Any, Any], dtype: Any, requires_grad: bool) -> Tensor:
    """Make a Tensor of values computed on the host, which nobody else holds."""
    dtype = as_dtype(name, dtype)
    if requires_grad:
        check_floating(name, dtype)
    return _leaf(name, jax.numpy.asarray(values.astype(dtype, copy=False)), requires_grad)


def _filled(
    name: str, fill: Callable[..., Any], shape: Any, dtype: Any, requires_grad: bool
) -> Tensor:
    wanted = as_dtype(name, dtype)
    return host(name, fill(_shape(name, shape), wanted), wanted, requires_grad)


def zeros(
    shape: int | Sequence[int], *, dtype: Any = float32, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of zeros, float32 by default."""
    return _filled("zeros", np.zeros, shape, dtype, requires_grad)


def ones(
    shape: int | Sequence[int], *, dtype: Any = float32, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of ones, float32 by default."""
    return _filled("ones", np.ones, shape, dtype, requires_grad)


def empty(
    shape: int | Sequence[int], *, dtype: Any = float32, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor whose contents are not specified; here they are zeros."""
    return _filled("empty", np.zeros, shape, dtype, requires_grad)


def full(
    shape: int | Sequence[int], value: Any, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of one value; its dtype follows the value as in `tensor`."""
    single = np.asarray(unwrap(tensor(value, dtype=dtype)))
    values = np.full(_shape("full", shape), single)
    return host("full", values, single.dtype, requires_grad)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make the numbers from `start` (0 if alone) to before `stop`, int64 if all are ints."""
    first, last = (0, start) if stop is None else (start, stop)
    if step == 0:
        msg = "arange: step must not be 0"
        raise ValueError(msg)
    if dtype is None:
        whole = all(hasattr(v, "__index__") for v in (first, last, step))
        dtype = int64 if whole else float32
    return host("arange", np.arange(first, last, step), dtype, requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: Any = float32, requires_grad: bool = False
) -> Tensor:
    """Make a matrix, shape (n, m), with ones on the diagonal; `m` is `n` by default."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    return host("eye", np.eye(rows, columns), dtype, requires_grad)


def _random(name: str, kind: str, shape: Any, dtype: Any, requires_grad: bool) -> Tensor:
    dtype = as_dtype(name, dtype)
    check_floating(name, dtype)
    numbers = draw(kind, _shape(name, shape))
    if isinstance(numbers, np.ndarray):
        return host(name, numbers, dtype, requires_grad)
    return _leaf(name, numbers.astype(dtype), requires_grad)


def rand(
    shape: int | Sequence[int], *, dtype: Any = float32, requires_grad: bool = False
) -> Tensor:
    """Draw uniform numbers in [0, 1) from the generator."""
    return _random("rand", "uniform", shape, dtype, requires_grad)


def randn(
    shape: int | Sequence[int], *, dtype: Any = float32, requires_grad: bool = False
) -> Tensor:
    """Draw standard normal numbers from the generator."""
    return _random("randn", "normal", shape, dtype, requires_grad)
