"""The dtypes of Tensors, which of them a result has, and JAX's mode that allows those of 64 bits.

int64 and float64 are part of the specification, and JAX rounds both to 32 bits unless its x64 mode
is on. The mode is the user's (errors-08): it is switched on around our own calls, in this thread
alone, and code of the user that is called from there (hooks, transformed functions) finds it as it
was. Methods of a Function are the exception: their arrays may be of 64 bits.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

DType = np.dtype[Any]
_F = TypeVar("_F", bound=Callable[..., Any])

# Where JAX has no `enable_x64` at the top, it stands among the experiments.
_X64: Any = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


def _enter(flag: bool) -> Any:
    manager = _X64(flag)
    manager.__enter__()
    return manager


def _leave(manager: Any) -> None:
    manager.__exit__(None, None, None)


# What JAX's own context manager calls, a tenth of the manager's time: an operation is short.
_quick = hasattr(_X64, "swap_local") and hasattr(_X64, "set_local")
swap_x64: Callable[[bool], Any] = _X64.swap_local if _quick else _enter
restore_x64: Callable[[Any], None] = _X64.set_local if _quick else _leave


def x64_is_on() -> bool:
    """Tell whether JAX's x64 mode is on in this thread."""
    return bool(jax.config.jax_enable_x64)


class x64:
    """JAX's x64 mode on, or as `flag` says, for a ``with`` block."""

    __slots__ = ("_before", "_flag")

    def __init__(self, flag: bool = True) -> None:
        self._flag = flag

    def __enter__(self) -> None:
        self._before = swap_x64(self._flag)

    def __exit__(self, *exc: object) -> None:
        restore_x64(self._before)


def in_x64(function: _F) -> _F:
    """Decorate a function to run in JAX's x64 mode."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before = swap_x64(True)
        try:
            return function(*args, **kwargs)
        finally:
            restore_x64(before)

    return cast(_F, wrapped)


def native(array: Any) -> Any:
    """Return an array in the machine's byte order: itself, or a copy of one of NumPy's."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:  # tensor-37
        return array.astype(array.dtype.newbyteorder("="))
    return array


@in_x64
def make_array(values: Any, dtype: DType | None = None) -> Any:
    """Return a jax.Array with a copy of the values, in their own dtype by default."""
    if isinstance(values, np.ndarray):
        # JAX may read the memory of a NumPy array later than this call, even where it copies.
        return jnp.asarray(values.astype(dtype or values.dtype, order="C", copy=True))
    return jnp.array(values, dtype=dtype or values.dtype, copy=True)


@in_x64
def cast_array(array: Any, dtype: DType) -> Any:
    """Return a jax.Array in another dtype."""
    return array.astype(dtype)


float32 = np.dtype("float32")
float64 = np.dtype("float64")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
bool_ = np.dtype("bool")

DTYPES = frozenset({float32, float64, int32, int64, bool_})
FLOATING = frozenset({float32, float64})


def is_floating(dtype: Any) -> bool:
    """Tell whether gradients exist for a dtype."""
    return dtype in FLOATING


def promote(x: DType, y: DType) -> DType:
    """Return the dtype of a result: floating wins over integers, the wider one of two."""
    if x == y or is_floating(x) > is_floating(y):
        return x
    if is_floating(y) > is_floating(x):
        return y
    return np.promote_types(x, y)


def promote_number(number: Any, dtype: DType) -> DType:
    """Return the dtype of a result of a Python number and an array of `dtype`."""
    if is_floating(dtype) or isinstance(number, bool):
        return dtype
    if isinstance(number, float):
        return float32
    return int64 if dtype == bool_ else dtype


def floating(dtype: DType) -> DType:
    """Return the dtype in which a real function of an array of `dtype` is computed."""
    return dtype if is_floating(dtype) else float32  # ops-14


def accumulated(dtype: DType) -> DType:
    """Return the dtype in which elements of `dtype` are added or multiplied up."""
    return int64 if dtype.kind in "bi" else dtype  # ops-15, ops-22
