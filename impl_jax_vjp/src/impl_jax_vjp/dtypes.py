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


bool_ = np.dtype("bool")
int8, int16, int32, int64 = [np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)]
uint8, uint16, uint32, uint64 = [np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)]
float32, float64 = np.dtype("float32"), np.dtype("float64")
complex64, complex128 = np.dtype("complex64"), np.dtype("complex128")

Kind = frozenset[DType]

SIGNED: Kind = frozenset({int8, int16, int32, int64})
UNSIGNED: Kind = frozenset({uint8, uint16, uint32, uint64})
FLOATING: Kind = frozenset({float32, float64})
COMPLEX: Kind = frozenset({complex64, complex128})
# What has gradients.
INEXACT: Kind = FLOATING | COMPLEX
DTYPES: Kind = SIGNED | UNSIGNED | INEXACT | {bool_}
NAMED: dict[str, DType] = {
    str(dtype): dtype
    for dtype in (
        *(bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
        *(float32, float64, complex64, complex128),
    )
}
# What Modules, losses, optimizers and files are made of.
FIVE: Kind = FLOATING | {bool_, int32, int64}


def is_floating(dtype: Any) -> bool:
    """Tell whether a dtype is of real numbers that have gradients."""
    return dtype in FLOATING


def is_inexact(dtype: Any) -> bool:
    """Tell whether gradients exist for a dtype: whether it is floating or complex."""
    return dtype in INEXACT


def promote(name: str, x: DType, y: DType) -> DType:
    """Return the dtype in which two meet; raise `TypeError` that names the function and both."""
    if x == y:
        return x
    met = _MEETINGS[x, y]
    if met is None:  # tensor-16
        msg = f"{name}: dtypes {x} and {y} do not meet in one; convert one of the operands"
        raise TypeError(msg)
    return met


def meeting(x: DType, y: DType) -> DType | None:
    """Return the dtype in which two meet, None where they do not."""
    return _MEETINGS[x, y]


def _meet(x: DType, y: DType) -> DType | None:
    ranks = ["biufc".index(dtype.kind.replace("u", "i")) for dtype in (x, y)]
    low, high = (x, y) if ranks[0] <= ranks[1] else (y, x)
    if ranks[0] != ranks[1] and (low.kind in "biu" or high.kind != "c"):
        return high
    joint: DType = np.promote_types(x, y)
    return joint if joint in DTYPES and joint.kind in (x.kind, y.kind) else None


_MEETINGS = {(x, y): _meet(x, y) for x in DTYPES for y in DTYPES}


def promote_number(number: Any, dtype: DType) -> DType:
    """Return the dtype of a result of a Python number and an array of `dtype`."""
    if isinstance(number, complex):
        return complex128 if dtype in (float64, complex128) else complex64
    if dtype in INEXACT or isinstance(number, bool):
        return dtype
    if isinstance(number, float):
        return float32
    return int64 if dtype == bool_ else dtype


def floating(dtype: DType) -> DType:
    """Return the dtype in which a function that has no integer results is computed."""
    return dtype if dtype in INEXACT else float32  # ops-14


_PARTS: dict[DType, DType] = {complex64: float32, complex128: float64}


def parts_of(dtype: DType) -> DType:
    """Return the dtype of the absolute value of a number that has gradients."""
    return _PARTS.get(dtype, dtype)


def accumulated(dtype: DType) -> DType:
    """Return the dtype in which elements of `dtype` are added or multiplied up."""
    if dtype.kind == "u":
        return uint64
    return int64 if dtype.kind in "bi" else dtype  # ops-15, ops-22
