"""The constructors of Tensors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext import random
from impl_torch_ext.checks import (
    Shape,
    check_dtype,
    check_fits,
    check_floating_dtype,
    check_number,
    check_shape,
)
from impl_torch_ext.dtypes import (
    DTYPES,
    FIVE,
    FROM_NUMPY,
    TO_NUMPY,
    bool_,
    dtype_of_numbers,
    float32,
    float64,
    int64,
    is_integer,
    plain_number,
)
from impl_torch_ext.tensor import from_numpy, with_grad

__all__ = [
    "Variable",
    "arange",
    "as_dtype",
    "converted",
    "copied",
    "empty",
    "eye",
    "from_array",
    "full",
    "get_rng_state",
    "ones",
    "rand",
    "randn",
    "set_rng_state",
    "tensor",
    "zeros",
]


def tensor(data: Any, *, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
    """Return a Tensor with a copy of `data`.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, numpy.ndarray or Tensor
        Python floats become float32, ints int64, bools bool, a mix of ints and floats float32,
        anything with a complex number complex64; arrays keep their dtype.
    dtype : dtype, optional
        Takes the place of that choice.
    requires_grad : bool

    Returns
    -------
    Tensor
        A leaf without history.

    Raises
    ------
    ValueError
        If lists are ragged, or a dtype that is not floating is asked to require grad.
    TypeError
        If `data` holds anything that is no number.
    """
    return with_grad("tensor", copied("tensor", data, dtype), requires_grad)


def from_array(array: Tensor, requires_grad: bool = False) -> Tensor:
    """Return a Tensor that shares the memory of a raw array.

    Parameters
    ----------
    array : torch.Tensor
    requires_grad : bool

    Returns
    -------
    Tensor
        A leaf at the same address.

    Raises
    ------
    TypeError
        If `array` is no torch.Tensor.
    ValueError
        If its dtype is not floating and `requires_grad` is true.
    """
    if not isinstance(array, Tensor):  # tensor-05
        msg = (
            f"from_array: array must be a torch.Tensor, got {type(array).__name__}; "
            "tensor() copies other data"
        )
        raise TypeError(msg)
    check_dtype("from_array", array.dtype)  # tensor-37
    return with_grad("from_array", array.detach(), requires_grad)


Variable = from_array


def _filled(name: str, values: str, make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make the constructor of a Tensor from its sizes; `make` gets shape and dtype."""

    def constructor(
        *shape: Any, dtype: torch.dtype | None = None, requires_grad: bool = False
    ) -> Tensor:
        sizes = shape[0] if len(shape) == 1 else shape  # tensor-31
        dtype = float32 if dtype is None else check_dtype(name, dtype)
        return with_grad(name, make(check_shape(name, sizes), dtype=dtype), requires_grad)

    constructor.__name__ = constructor.__qualname__ = name
    constructor.__doc__ = f"""Return a Tensor of {values}.

    Parameters
    ----------
    *shape : int, or one tuple of ints
        The sizes.
    dtype : dtype, optional
        float32 if left out or None.
    requires_grad : bool

    Returns
    -------
    Tensor, shape `shape`
        A leaf.

    Raises
    ------
    ValueError
        If a size is negative, or the dtype does not fit.
    TypeError
        If a size is no int, or `dtype` is none that there is.
    """
    return constructor


def _drawn(
    name: str, draw: Callable[[tuple[int, ...]], "np.ndarray[Any, Any]"]
) -> Callable[..., Tensor]:
    """Make what fills a shape with random numbers of a floating dtype."""

    def make(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(draw(shape)).to(check_floating_dtype(name, dtype))

    return make


zeros = _filled("zeros", "zeros", torch.zeros)
ones = _filled("ones", "ones", torch.ones)
empty = _filled("empty", "unspecified contents", torch.empty)
rand = _filled(
    "rand",
    "uniform numbers in [0, 1), drawn from the generator of `manual_seed`",
    _drawn("rand", random.uniform),
)
randn = _filled(
    "randn",
    "standard normal numbers, drawn from the generator of `manual_seed`",
    _drawn("randn", random.normal),
)


def get_rng_state() -> Tensor:
    """Return where the generator of `manual_seed` stands.

    Returns
    -------
    Tensor, int64, shape (11,)
        The four words of the Philox counter, the two of its key, the four of its buffer and
        `buffer_pos`, in NumPy's order.
    """
    return with_grad("get_rng_state", torch.from_numpy(random.state()), False)


def set_rng_state(state: Tensor | np.ndarray) -> None:
    """Let the generator go on from a state of this or of another implementation.

    Parameters
    ----------
    state : Tensor, raw array or numpy.ndarray, int64, shape (11,)
        What `get_rng_state` returned; it is copied.

    Raises
    ------
    TypeError
        If it is no array of int64.
    ValueError
        If it has another shape, or a `buffer_pos` that is not from 0 to 4.
    """
    wanted = "set_rng_state: state must be an array of int64 of shape (11,)"
    if not isinstance(state, Tensor | np.ndarray):
        msg = f"{wanted}, got {type(state).__name__}"
        raise TypeError(msg)
    there = FROM_NUMPY.get(state.dtype) if isinstance(state, np.ndarray) else state.dtype
    if there is not int64:  # init-11
        msg = f"{wanted}, got {state.dtype}"
        raise TypeError(msg)
    words = state if isinstance(state, np.ndarray) else state.detach().numpy()
    if words.shape != (11,):
        msg = f"{wanted}, got {words.shape}"
        raise ValueError(msg)
    if not 0 <= words[10] <= 4:
        msg = f"{wanted} with a buffer_pos from 0 to 4, got {words[10]}"
        raise ValueError(msg)
    random.restore(words)


def full(
    shape: Shape,
    fill_value: float,
    *,
    dtype: torch.dtype | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a Tensor that holds `fill_value` everywhere, of the dtype that `tensor` gives it.

    Parameters
    ----------
    shape : int or tuple of ints
    fill_value : number
    dtype : dtype, optional
        Takes the place of the dtype that the number has.
    requires_grad : bool

    Raises
    ------
    ValueError
        If `fill_value` is an array with axes, a size is negative, or the dtype does not fit.
    """
    value = copied("full", plain_number(fill_value), dtype)  # tensor-30
    if value.ndim != 0:
        msg = f"full: fill_value must be a number, got an array of shape {tuple(value.shape)}"
        raise ValueError(msg)
    return with_grad("full", value.expand(check_shape("full", shape)).clone(), requires_grad)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: torch.dtype | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the numbers from `start` (0 if `stop` is left out) to below `stop`.

    Returns
    -------
    Tensor, shape (ceil((stop - start) / step),)
        int64 if all arguments are ints, else float32; empty where `stop` is not ahead of `start`.

    Raises
    ------
    ValueError
        If `step` is 0.
    """
    if stop is None:
        start, stop = 0, start
    start = check_number("arange", "start", start)
    stop = check_number("arange", "stop", stop)
    step = check_number("arange", "step", step)
    if step == 0:
        msg = "arange: step must not be 0, got 0"
        raise ValueError(msg)
    if dtype is None:
        ints = all(isinstance(x, int) for x in (start, stop, step))
        dtype = int64 if ints else float32
    kind = check_dtype("arange", dtype)
    if kind.is_complex:  # tensor-06
        msg = f"arange: dtype must not be complex, got {kind}"
        raise TypeError(msg)
    values = _counted(start, stop, step, kind)
    return with_grad("arange", values, requires_grad)


def _counted(start: float, stop: float, step: float, dtype: torch.dtype) -> Tensor:
    """Return the numbers of `arange`, or raise a ValueError if `dtype` does not hold them."""
    exact = not dtype.is_floating_point and all(isinstance(x, int) for x in (start, stop, step))
    wide = int64 if exact else float64
    for number in (start, stop, step):  # tensor-38
        check_fits("arange", _whole("arange", number), wide)
    if not exact:
        start, stop, step = float(start), float(stop), float(step)
    count = -((start - stop) // step) if exact else math.ceil((stop - start) / step)
    if count <= 0:
        return torch.empty(0, dtype=dtype)
    if count >= 2**59:
        msg = f"arange: no memory holds {count} numbers, from {start} to {stop} by {step}"
        raise ValueError(msg)
    for number in (start, start + (count - 1) * step):
        check_fits("arange", int(number), dtype)
    return torch.arange(start, stop, step, dtype=wide).to(dtype)  # Rounded once: tensor-06.


def eye(
    n: int, m: int | None = None, *, dtype: torch.dtype | None = None, requires_grad: bool = False
) -> Tensor:
    """Return the (n, m) matrix with ones on its diagonal; `m` is `n` if left out.

    Raises
    ------
    ValueError
        If a size is negative, or the dtype does not fit.
    """
    rows, columns = check_shape("eye", (n, n if m is None else m))
    dtype = float32 if dtype is None else check_dtype("eye", dtype)
    return with_grad("eye", torch.eye(rows, columns, dtype=dtype), requires_grad)


def as_dtype(name: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `x` in `dtype`, or raise a TypeError where a complex number would lose a part."""
    if x.is_complex() and not dtype.is_complex:
        if dtype == bool_:
            return x != 0
        msg = (  # ops-11
            f"{name}: complex numbers do not become {dtype}, got {x.dtype}; real() takes their "
            "real parts"
        )
        raise TypeError(msg)
    return x.to(dtype)


def copied(name: str, data: Any, dtype: torch.dtype | None) -> Tensor:
    """Return a copy of what `tensor` takes, or raise in the name of `name`."""
    if dtype is not None:
        dtype = check_dtype(name, dtype)
    if isinstance(data, np.ndarray | Tensor) and dtype is not None:
        data = _real(name, data, dtype)
    if isinstance(data, Tensor):
        check_dtype(name, data.dtype)  # tensor-37
        result = data.detach().clone(memory_format=torch.contiguous_format)
    elif isinstance(data, np.ndarray) or (  # tensor-30
        isinstance(data, np.generic) and data.dtype in FROM_NUMPY
    ):
        result = from_numpy(name, np.asarray(data))
    else:
        numbers: list[Any] = []
        shape = _collect(name, data, numbers)
        flat = _flat(name, numbers, dtype or dtype_of_numbers(*numbers))
        result = torch.from_numpy(flat.reshape(shape))
    return result if dtype is None else converted(name, result, dtype)


def _real(name: str, data: Any, dtype: torch.dtype) -> Any:
    """Return an array of float16, or of integers that torch does not compute with, in `dtype`.

    Raises
    ------
    ValueError
        If `dtype` does not hold an integer.
    """
    if isinstance(data, Tensor):
        if data.dtype in DTYPES or not (data.dtype == torch.float16 or is_integer(data.dtype)):
            return data
        data = data.detach().cpu().numpy()
    if data.dtype.newbyteorder("=") == np.float16:
        return data.astype(np.float32)
    if data.dtype.kind not in "iu" or data.dtype.newbyteorder("=") in FROM_NUMPY:
        return data
    if is_integer(dtype) and data.size:  # tensor-38
        for extreme in (data.min(), data.max()):
            check_fits(name, int(extreme), dtype)
    return data.astype(TO_NUMPY[dtype])


def _flat(name: str, numbers: list[Any], dtype: torch.dtype) -> "np.ndarray[Any, Any]":
    """Return numbers as an array, or raise if `dtype` does not hold one."""
    if not dtype.is_complex and complex in map(type, numbers):
        came = next(number for number in numbers if type(number) is complex)
        msg = f"{name}: data must be of real numbers for {dtype}, got {came}, which is complex"
        raise TypeError(msg)  # tensor-37
    if dtype not in FIVE and is_integer(dtype):  # NumPy lets floats wrap around there.
        for number in numbers:
            check_fits(name, _whole(name, number), dtype)
    try:
        with np.errstate(over="ignore"):  # tensor-04
            return np.array(numbers, TO_NUMPY[dtype])
    except (OverflowError, ValueError):
        for number in numbers:
            if is_integer(dtype) or isinstance(number, int):
                check_fits(name, _whole(name, number), dtype)
        raise


def _whole(name: str, number: float) -> int:
    """Return a number as an int, or raise a ValueError if it is infinite or NaN."""
    if isinstance(number, float) and not math.isfinite(number):  # tensor-38
        msg = f"{name}: each number must be finite, got {number}"
        raise ValueError(msg)
    return int(number)


def converted(name: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `x` in `dtype`, or raise a ValueError if no integer of that dtype is near."""
    if x.is_complex() and not dtype.is_complex:
        msg = f"{name}: complex numbers do not become {dtype}, got {x.dtype}"
        raise TypeError(msg)  # tensor-37
    if is_integer(dtype) and x.numel() and not _held(x.dtype, dtype):
        for extreme in torch.aminmax(x):
            check_fits(name, _whole(name, extreme.item()), dtype)
    return x.to(dtype)


def _held(before: torch.dtype, after: torch.dtype) -> bool:
    """Return whether a dtype of integers holds each number of another dtype."""
    return before == bool_ or torch.promote_types(before, after) == after


def _collect(name: str, data: Any, numbers: list[Any]) -> tuple[int, ...]:
    """Append the numbers in `data` in C order and return its shape."""
    if isinstance(data, np.generic):
        data = plain_number(data)  # tensor-39
    if isinstance(data, bool | int | float | complex):
        numbers.append(data)
        return ()
    if not isinstance(data, list | tuple):
        inside = " in a list; ops.stack takes a list of arrays" if hasattr(data, "shape") else ""
        msg = (
            f"{name}: data must be numbers, lists of numbers or an array, "
            f"got {type(data).__name__}{inside}"
        )
        raise TypeError(msg)
    shapes = [_collect(name, item, numbers) for item in data]
    if any(shape != shapes[0] for shape in shapes):
        odd = next(shape for shape in shapes if shape != shapes[0])
        msg = (
            f"{name}: lists must have equal lengths at each depth, got items of shapes {shapes[0]} "
            f"and {odd}"
        )
        raise ValueError(msg)
    return (len(shapes), *(shapes[0] if shapes else ()))
