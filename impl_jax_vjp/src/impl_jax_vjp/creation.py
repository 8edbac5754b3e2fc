"""Constructors of Tensors. Values are made on the host, which compiles nothing.

Random numbers come from the generator on the host. In a trace of nn.jit they are inputs of what is
compiled, and in one of JAX's own they are fetched each time that the compiled code runs, so that no
draw is frozen into compiled code.
"""

import math
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
    as_scalar,
    cast,
    check_broadcast,
    check_cast,
    check_dtype,
    check_flag,
    check_floating,
    check_number,
    check_real,
    check_sizes,
    floating_dtype,
    known,
    refuse,
    refuse_type,
    shown,
)
from .dtypes import (
    DTYPES,
    bool_,
    cast_array,
    complex64,
    float32,
    float64,
    int64,
    is_inexact,
    make_array,
    native,
    uint64,
    x64,
)
from .protocols import OPS
from .recording import Operation, is_array, record
from .tape import MODE, Traced, unwrap, wrap
from .tensor import Tensor


def draw(distribution: str, shape: Shape, traced: bool = False) -> Any:
    """Draw float64 numbers, ``"uniform"`` or ``"normal"``; `traced` is as for `drawn`.

    Returns
    -------
    numpy.ndarray or jax.Array, shape `shape`, float64
    """
    return drawn((distribution, shape), traced)[0]


def drawn(request: random.Request, traced: bool = False) -> list[Any]:
    """Draw the arrays of numbers that are asked for, float64.

    Parameters
    ----------
    request : tuple
        As for `random.drawn`.
    traced : bool
        Whether the numbers will meet values of one of JAX's traces.

    Returns
    -------
    list of numpy.ndarray or jax.Array
    """
    if MODE.capture is not None:
        return MODE.capture.draw(request)
    if not traced:
        return random.drawn(request)
    # As words of 32 bits: the thread that fetches them may not be in JAX's x64 mode.
    words = [jax.ShapeDtypeStruct((*s, 2), np.uint32) for s in random.shapes(request)]
    fetched = io_callback(lambda: list(map(_words, random.drawn(request))), words, ordered=True)
    with x64():
        return [jax.lax.bitcast_convert_type(each, np.float64) for each in fetched]


def _words(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return float64 numbers as pairs of words, shape (..., 2)."""
    return numbers[..., None].view(np.uint32)


def _leaf(name: str, data: Any, requires_grad: bool) -> Tensor:
    check_dtype(name, data.dtype)
    requires_grad = check_flag(name, "requires_grad", requires_grad)
    if requires_grad:
        check_floating(name, data.dtype)
    tensor: Tensor = wrap(data)
    tensor._requires_grad = requires_grad
    return tensor


def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor with a copy of the data.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, numpy.ndarray, jax.Array or Tensor
    dtype : dtype, optional
        By default floats become float32, ints int64, bools bool, complex numbers complex64;
        arrays keep theirs.
    requires_grad : bool

    Raises
    ------
    ValueError
        If lists are ragged, or `requires_grad` is asked of a dtype that is not floating.
    TypeError
        If `data` is none of these, or no Tensor has the dtype.
    """
    return made("tensor", data, dtype, requires_grad)


def made(name: str, data: Any, dtype: Any, requires_grad: bool = False) -> Tensor:
    """Make a Tensor as `tensor` does, in the name of another operation."""
    wanted = None if dtype is None else as_dtype(name, dtype)
    if isinstance(data, Traced | jax.Array):
        raw = unwrap(data)
        if wanted is None:
            check_dtype(name, raw.dtype)
        elif wanted.kind in "iub" and not isinstance(raw, jax.core.Tracer):
            raw = cast(name, np.asarray(raw), wanted)
        else:
            check_cast(name, raw.dtype, wanted)
        raw = make_array(raw, wanted)
    else:
        raw = make_array(_host_array(name, data, wanted))
    return _leaf(name, raw, requires_grad)


def _host_array(name: str, data: Any, wanted: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
    """Return numbers, lists of them or an array as a NumPy array of a dtype that Tensors have."""
    if isinstance(data, np.generic) and data.dtype not in DTYPES:
        data = as_number(data)
    if isinstance(data, np.ndarray | np.generic):
        array = native(np.asarray(data))  # tensor-30
        if wanted is None or array.dtype.kind not in "biufc":
            check_dtype(name, array.dtype)
        return array if wanted is None else cast(name, array, wanted)
    if not isinstance(data, bool | int | float | complex | list | tuple):
        refuse_type(name, "data", "numbers, lists of them or an array", data)
    plain = _numbers(name, data)
    try:
        array = np.array(plain)
    except ValueError:
        msg = f"{name}: lists must be of equal lengths at each depth, got ragged ones"
        raise ValueError(msg) from None
    if array.dtype.kind in "ufO":
        array = _with_large_ints(name, array, plain, wanted)
    if array.dtype.kind not in "biufc":
        others = [item for item in array.flat if not isinstance(item, int | float | complex)]
        element = type(others[0]).__name__ if others else str(array.dtype)
        msg = f"{name}: elements must be numbers or booleans, got {element}"
        raise TypeError(msg)
    wanted = wanted or {"f": float32, "b": bool_, "c": complex64}.get(array.dtype.kind, int64)
    return cast(name, array, wanted)


def _with_large_ints(
    name: str, array: np.ndarray[Any, Any], plain: Any, wanted: np.dtype[Any] | None
) -> np.ndarray[Any, Any]:
    """Return the array that NumPy made of lists, where it may have rounded ints; or refuse them."""
    if array.dtype.kind == "f" and not (np.abs(array) >= 2.0**63).any():
        return array
    numbers = np.array(plain, object)
    flat = numbers.ravel().tolist()
    if not all([isinstance(number, int | float) for number in flat]):
        return array
    floats = any([isinstance(number, float) for number in flat])
    if floats or (wanted is not None and is_inexact(wanted)):
        return np.array([as_scalar(name, n, float64) for n in flat]).reshape(numbers.shape)
    for number in flat:
        as_scalar(name, number, wanted or int64)
    return numbers.astype(wanted or np.int64)


def _numbers(name: str, data: Any) -> Any:
    """Return nested lists with Python's numbers in the place of NumPy's scalars."""
    if isinstance(data, list | tuple):
        return [_numbers(name, item) for item in data]
    if is_array(data):  # tensor-03
        msg = (
            f"{name}: lists must hold numbers, got {type(data).__name__} in one; "
            "ops.stack takes a list of arrays"
        )
        raise TypeError(msg)
    return as_number(data)


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


def default_device() -> Any:
    """Return the device of a Tensor that is made without naming one."""
    chosen = jax.config.jax_default_device
    if isinstance(chosen, str):
        return jax.local_devices(backend=chosen)[0]
    return chosen or jax.local_devices()[0]


def on_device(name: str, tensor: Any, device: Any) -> Any:
    """Return a Tensor, if any, on a device, None for where it is; gradients come back from there.

    Raises
    ------
    TypeError
        If `device` is no device of JAX.
    ValueError
        If it is none of this process.
    """
    if device is None:
        return tensor
    if not isinstance(device, jax.Device):  # ops-31
        msg = f"{name}: device must be a device of JAX or None, got {shown(device)}"
        raise TypeError(msg)
    if device not in jax.local_devices(backend=device.platform):
        refuse(name, "device", "one of this process", device)
    raw = unwrap(tensor)
    if tensor is None or isinstance(raw, jax.core.Tracer) or raw.devices() == {device}:
        return tensor
    operation = Operation(lambda x: jax.device_put(x, device), name, lambda _: (False,), False)
    return record(operation, (tensor,))


# What a Tensor has of this room, which stands above its own.
OPS.default_device = default_device
OPS.on_device = on_device


def _sizes(name: str, shape: tuple[Any, ...]) -> Shape:
    """Return the sizes that were given as arguments, or as one int or sequence."""
    return check_sizes(name, shape[0] if len(shape) == 1 else shape)  # tensor-31


def host(
    name: str, values: np.ndarray[Any, Any], dtype: Any, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of values computed on the host, which nobody else holds."""
    dtype = as_dtype(name, dtype)
    return _leaf(name, make_array(values, dtype), requires_grad)


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
    return filled("full", shape, fill_value, dtype, requires_grad)


def filled(
    name: str, shape: Any, fill_value: Any, dtype: Any, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of one value as `full` does, in the name of another operation."""
    number = as_number(fill_value)  # tensor-30
    if not (isinstance(number, int | float | complex) or is_array(number)):
        refuse_type(name, "fill_value", "a number", number)
    wanted = None if dtype is None else as_dtype(name, dtype)
    single = np.asarray(unwrap(number)) if is_array(number) else _host_array(name, number, wanted)
    check_dtype(name, single.dtype)
    single = single if wanted is None else cast(name, single, wanted)
    sizes = check_sizes(name, shape)
    if check_broadcast(name, single.shape, sizes) != sizes:
        refuse(name, "fill_value", f"one that broadcasts to {sizes}", f"shape {single.shape}")
    return host(name, np.full(sizes, single), single.dtype, requires_grad)


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
    named = zip(("start", "stop", "step"), (first, last, step), strict=True)
    first, last, step = [check_number("arange", argument, value) for argument, value in named]
    if step == 0:
        msg = "arange: step must not be 0"
        raise ValueError(msg)
    count = _count(first, last, step)
    whole = all([isinstance(number, int) for number in (first, last, step)])
    wanted = as_dtype("arange", dtype, int64 if whole else float32)
    check_real("arange", wanted)
    if whole:
        ends = [first, first + (count - 1) * step] if count else []
        wide = uint64 if wanted == uint64 else int64
        for end in ends:
            as_scalar("arange", end, wide)
        values: np.ndarray[Any, Any] = np.array(ends[:count], wide)
        if count > 2:
            # With more than two, the step fits too; in uint64 a negative one wraps around.
            turn = np.array(step % 2**64, np.uint64).astype(wide)
            values = np.arange(count).astype(wide) * turn + wide.type(first)
    else:
        values = np.arange(first, last, step)
    return host("arange", cast("arange", values, wanted), wanted, requires_grad)


def _count(first: float, last: float, step: float) -> int:
    """Return how many numbers there are from `first` to before `last`."""
    finite = all([math.isfinite(number) for number in (first, last, step)])
    length = max(0, -((first - last) // step)) if finite else math.inf
    if not length < 2**60:
        numbers = f"{first}, {last} and {step}"
        refuse("arange", "start, stop and step", "numbers with a length between them", numbers)
    return int(length)


def eye(n: int, m: int | None = None, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a matrix, shape (n, m), with ones on the diagonal; `m` is `n` by default."""
    rows, columns = check_sizes("eye", (n, n if m is None else m))
    return host("eye", np.eye(rows, columns), dtype, requires_grad)


def _random(name: str, distribution: str, shape: Any, dtype: Any, requires_grad: bool) -> Tensor:
    dtype = floating_dtype(name, dtype)
    numbers = draw(distribution, _sizes(name, shape))
    if isinstance(numbers, np.ndarray):
        return host(name, numbers, dtype, requires_grad)
    return _leaf(name, cast_array(numbers, dtype), requires_grad)


def rand(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Draw uniform numbers in [0, 1) from the generator."""
    return _random("rand", "uniform", shape, dtype, requires_grad)


def randn(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Draw standard normal numbers from the generator."""
    return _random("randn", "normal", shape, dtype, requires_grad)


def get_rng_state() -> Tensor:
    """Return the state of the generator, which `set_rng_state` takes and `save` writes.

    Returns
    -------
    Tensor, shape (11,), int64
        The four words of Philox's counter, two of its key, four of its buffer, and the place there.

    Raises
    ------
    RuntimeError
        In a function under `jit`, which would keep what it was at first.
    """
    _check_outside("get_rng_state")
    state: Tensor = wrap(make_array(random.state_words().view(np.int64)))
    return state


def set_rng_state(state: Any) -> None:
    """Let the generator go on from a state, of this or of another implementation.

    Parameters
    ----------
    state : Tensor, jax.Array or numpy.ndarray, shape (11,), int64
        What `get_rng_state` returned.

    Raises
    ------
    TypeError
        If it is no array of int64.
    ValueError
        If it is of another shape, or the place in the buffer is not from 0 to 4.
    RuntimeError
        In a function under `jit`.
    """
    _check_outside("set_rng_state")
    raw = native(unwrap(state))
    if not isinstance(raw, jax.Array | np.ndarray):
        refuse_type("set_rng_state", "state", "an int64 array of shape (11,)", state)
    if raw.dtype != int64:
        msg = f"set_rng_state: state must be an int64 array of shape (11,), got dtype {raw.dtype}"
        raise TypeError(msg)
    if raw.shape != (11,):
        refuse("set_rng_state", "state", "of shape (11,)", raw.shape)
    words = known("set_rng_state", raw).astype(np.int64)
    if not 0 <= words[-1] <= 4:
        refuse("set_rng_state", "the last of state, a place in the buffer,", "0 to 4", words[-1])
    random.place_at(words.view(np.uint64))


def _check_outside(name: str) -> None:
    if MODE.capture is not None and MODE.capture.compiles:  # autograd-20
        msg = f"{name}: the state of the generator is not known in a compiled function"
        raise RuntimeError(msg)
