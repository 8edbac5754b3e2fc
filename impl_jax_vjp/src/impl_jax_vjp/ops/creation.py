"""Arrays from nothing, from a shape, or like another."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .. import creation
from ..checks import as_dtype, check_dtype, check_flag, refuse_type
from ..dtypes import make_array
from ..recording import as_operand, dtype_of, shape_of
from ..tape import Traced, wrap
from .families import FUNCTIONS, create

_SHAPE = "shape : int or sequence of int\ndtype : dtype, optional"
_BAD_SHAPE = (
    "ValueError\n    If a size is negative.\n"
    "TypeError\n    If a size is no int, or no Tensor has the dtype."
)
_LIKE = "x : Tensor or raw array, any shape\ndtype : dtype, optional\n    That of x by default."


@create(
    "obj : Tensor, raw array, number or nested lists of numbers\ndtype : dtype, optional\n"
    "copy : bool, optional\n    True copies, False refuses to; None copies where it has to.",
    "the shape of obj",
    "ValueError\n    If ``copy=False`` and a copy is needed.\n"
    "TypeError\n    If `obj` is none of these.",
)
def asarray(obj: Any, /, *, dtype: Any = None, copy: bool | None = None) -> Any:
    """Return a Tensor; gradients pass through one that is given."""
    copy = None if copy is None else check_flag("asarray", "copy", copy)
    if isinstance(obj, Traced | jax.Array):
        # Arrays of JAX cannot change: a copy is not told from the original. # ops-16
        check_dtype("asarray", dtype_of(obj))
        same = dtype is None or dtype_of(obj) == as_dtype("asarray", dtype)
        if same and copy and isinstance(obj, Traced):
            return FUNCTIONS["astype"](obj, obj._data.dtype)
        if same:
            return obj if isinstance(obj, Traced) else creation.from_array(obj)
        if copy is not False:
            return FUNCTIONS["astype"](obj, dtype)
    if copy is False:  # ops-16
        msg = f"asarray: copy must be True or None for this {type(obj).__name__}, got False"
        raise ValueError(msg)
    if not isinstance(obj, bool | int | float | list | tuple | np.ndarray | np.generic):  # ops-21
        refuse_type("asarray", "obj", "a Tensor, a raw array, numbers or lists of them", obj)
    return creation.made("asarray", obj, dtype)


@create(_SHAPE, "of that shape", _BAD_SHAPE)
def zeros(shape: int | Sequence[int], *, dtype: Any = None) -> Any:
    """Return zeros, float32 by default."""
    return creation.zeros(shape, dtype=dtype)


@create(_SHAPE, "of that shape", _BAD_SHAPE)
def ones(shape: int | Sequence[int], *, dtype: Any = None) -> Any:
    """Return ones, float32 by default."""
    return creation.ones(shape, dtype=dtype)


@create(_SHAPE.replace("\n", "\nfill_value : number\n"), "of that shape", _BAD_SHAPE)
def full(shape: int | Sequence[int], fill_value: Any, *, dtype: Any = None) -> Any:
    """Return one value everywhere; its dtype follows the number as in `tensor`."""
    return creation.full(shape, fill_value, dtype=dtype)


@create(
    "start, stop, step : number\n    `start` alone is where to stop.\ndtype : dtype, optional",
    "shape (count,)",
    "ValueError\n    If `step` is 0.",
)
def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None
) -> Any:
    """Return the numbers from `start` (0 if alone) to before `stop`, int64 if all are ints."""
    return creation.arange(start, stop, step, dtype=dtype)


def _like(name: str, x: Any, number: int, dtype: Any) -> Any:
    x = as_operand(name, x)
    wanted = dtype_of(x) if dtype is None else as_dtype(name, dtype)
    return wrap(make_array(np.full(shape_of(x), number, wanted)))


@create(_LIKE, "the shape of x", "TypeError\n    If `x` is no array, or no Tensor has the dtype.")
def zeros_like(x: Any, /, *, dtype: Any = None) -> Any:
    """Return zeros of `x`'s shape and dtype."""
    return _like("zeros_like", x, 0, dtype)


@create(_LIKE, "the shape of x", "TypeError\n    If `x` is no array, or no Tensor has the dtype.")
def ones_like(x: Any, /, *, dtype: Any = None) -> Any:
    """Return ones of `x`'s shape and dtype."""
    return _like("ones_like", x, 1, dtype)
