"""Constructors of Tensors. Values are made on the host, which compiles nothing.

Random numbers come from the generator on the host. In a trace of nn.jit they are inputs of what is
compiled, and in one of JAX's own they are fetched each time that the compiled code runs, so that no
draw is frozen into compiled code.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import io_callback

from . import random
from .checks import (
    Shape,
    as_dtype,
    as_number,
    check_dtype,
    check_floating,
    check_sizes,
    refuse_type,
)
from .dtypes import float32, int64
from .recording import is_array
from .tape import MODE, Traced, unwrap, wrap
from .tensor import Tensor


def draw(distribution: str, shape: Shape, traced: bool = False) -> Any:
    """Draw float64 numbers, ``"uniform"`` or ``"normal"``.

    Parameters
    ----------
    traced : bool
        Whether the numbers will meet values of one of JAX's traces.

    Returns
    -------
    numpy.ndarray or jax.Array, shape `shape`, float64
    """
    source = random.uniform if distribution == "uniform" else random.normal
    if MODE.capture is not None:
        return MODE.capture.draw(distribution, shape)
    if not traced:
        return source(shape)
    result = jax.ShapeDtypeStruct(shape, np.float64)
    return io_callback(lambda: source(shape), result, ordered=True)


def _leaf(name: str, data: Any, requires_grad: bool) -> Tensor:
    check_dtype(name, data.dtype)
    if requires_grad:
        check_floating(name, data.dtype)
    tensor: Tensor = wrap(data)
    tensor._requires_grad = bool(requires_grad)
    return tensor


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
        array = np.asarray(data)  # tensor-30
    else:
        if not isinstance(data, bool | int | float | list | tuple):
            refuse_type("tensor", "data", "numbers, lists of them or an array", data)
        try:
            array = np.array(_without_tensors(data))
        except ValueError:
            msg = "tensor: lists must be of equal lengths at each depth, got ragged ones"
            raise ValueError(msg) from None
        if array.dtype == np.float64 and not _holds_double(data):
            array = array.astype(wanted or float32)
        elif array.dtype.kind == "i":
            array = array.astype(wanted or int64)
    if array.dtype.kind not in "biuf":
        element = type(array.flat[0]).__name__ if array.size else str(array.dtype)
        msg = f"tensor: elements must be numbers or booleans, got {element}"
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
            f"from_array: array must be a jax.Array, got {type(array).__name__}; "
            "use tensor(data) to copy"
        )
        raise TypeError(msg)
    return _leaf("from_array", array, requires_grad)


def Variable(array: Any, requires_grad: bool = False) -> Tensor:
    """Make a Tensor that shares a raw array: another name for `from_array`."""
    return from_array(array, requires_grad)


def _sizes(name: str, shape: tuple[Any, ...]) -> Shape:
    """Return the sizes that were given as arguments, or as one int or sequence."""
    return check_sizes(name, shape[0] if len(shape) == 1 else shape)  # tensor-31


def host(
    name: str, values: np.ndarray[Any, Any], dtype: Any, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of values computed on the host, which nobody else holds."""
    dtype = as_dtype(name, dtype)
    if requires_grad:
        check_floating(name, dtype)
    return _leaf(name, jax.numpy.asarray(values.astype(dtype, copy=False)), requires_grad)


def _filled(
    name: str, fill: Callable[..., Any], shape: Any, dtype: Any, requires_grad: bool
) -> Tensor:
    wanted = as_dtype(name, dtype)
    return host(name, fill(_sizes(name, shape), wanted), wanted, requires_grad)


def zeros(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of zeros, float32 by default."""
    return _filled("zeros", np.zeros, shape, dtype, requires_grad)


def ones(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of ones, float32 by default."""
    return _filled("ones", np.ones, shape, dtype, requires_grad)


def empty(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor whose contents are not specified; here they are zeros."""
    return _filled("empty", np.zeros, shape, dtype, requires_grad)


def full(
    shape: int | Sequence[int], fill_value: Any, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of one value; its dtype follows the number as in `tensor`."""
    number = as_number(fill_value)  # tensor-30
    if not (isinstance(number, bool | int | float) or is_array(number)):
        refuse_type("full", "fill_value", "a number", number)
    single = np.asarray(unwrap(tensor(number, dtype=dtype)))
    values = np.full(check_sizes("full", shape), single)
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


def eye(n: int, m: int | None = None, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a matrix, shape (n, m), with ones on the diagonal; `m` is `n` by default."""
    rows, columns = check_sizes("eye", (n, n if m is None else m))
    return host("eye", np.eye(rows, columns), dtype, requires_grad)


def _random(name: str, distribution: str, shape: Any, dtype: Any, requires_grad: bool) -> Tensor:
    dtype = as_dtype(name, dtype)
    check_floating(name, dtype)
    numbers = draw(distribution, _sizes(name, shape))
    if isinstance(numbers, np.ndarray):
        return host(name, numbers, dtype, requires_grad)
    return _leaf(name, numbers.astype(dtype), requires_grad)


def rand(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Draw uniform numbers in [0, 1) from the generator."""
    return _random("rand", "uniform", shape, dtype, requires_grad)


def randn(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Draw standard normal numbers from the generator."""
    return _random("randn", "normal", shape, dtype, requires_grad)
