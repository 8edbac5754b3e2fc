"""Making arrays, under the signatures of the array API."""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike

from impl_numpy import creation
from impl_numpy.checks import check_dtype, check_flag
from impl_numpy.dtypes import DTYPES, is_raw
from impl_numpy.ops.elementwise import astype
from impl_numpy.ops.families import create, registered, spread_to
from impl_numpy.tensor import Tensor, as_tensor, wrap

zeros = create("zeros", creation.zeros, "(shape, *, dtype=None)", "Return zeros.")
ones = create("ones", creation.ones, "(shape, *, dtype=None)", "Return ones.")
full = create(
    "full", creation.full, "(shape, fill_value, *, dtype=None)", "Return one value everywhere."
)
arange = create(
    "arange",
    creation.arange,
    "(start, /, stop=None, step=1, *, dtype=None)",
    "Return numbers from start, or 0, to before stop.",
)
zeros_like = create(
    "zeros_like",
    lambda x, dtype=None: _like("zeros_like", creation.zeros, x, dtype),
    "(x, /, *, dtype=None)",
    "Return zeros of the shape and dtype of x.",
)
ones_like = create(
    "ones_like",
    lambda x, dtype=None: _like("ones_like", creation.ones, x, dtype),
    "(x, /, *, dtype=None)",
    "Return ones of the shape and dtype of x.",
)


def _like(name: str, constructor: Any, x: Any, dtype: DTypeLike | None) -> Tensor:
    x = as_tensor(name, x)
    wanted = x.dtype if dtype is None else check_dtype(dtype, name)
    result: Tensor = constructor(x.shape, dtype=wanted)
    return result


_ASARRAY = """Parameters
----------
obj : what `tensor` takes
dtype : dtype, optional
copy : bool, optional
    True always copies, False never does, None only where it must.

Returns
-------
Tensor; gradients pass through a Tensor that is given

Raises
------
ValueError
    If a copy is needed and forbidden.
TypeError
    If obj holds what is no number."""


@registered("asarray", "Return a Tensor of what `tensor` takes.", _ASARRAY)
def asarray(
    obj: Any, /, *, dtype: DTypeLike | None = None, copy: bool | None = None
) -> Tensor:  # ops-16
    copy = None if copy is None else check_flag("asarray", "copy", copy)
    wanted = None if dtype is None else check_dtype(dtype, "asarray")
    foreign = wanted is not None and is_raw(obj) and obj.dtype not in DTYPES  # tensor-37
    if not isinstance(obj, Tensor) and (foreign or not is_raw(obj)):
        if copy is False:
            msg = f"asarray: copy=False, but a {type(obj).__name__} needs a copy"
            raise ValueError(msg)
        return wrap(creation.from_data(obj, wanted, "asarray"), None)
    x = as_tensor("asarray", obj)
    if wanted is not None and wanted != x.dtype:
        if copy is False:
            msg = f"asarray: copy=False, but {x.dtype} to {wanted} needs a copy"
            raise ValueError(msg)
        return astype(x, wanted)
    if not copy:
        return x
    result = spread_to(x, x.shape, x.dtype)
    result._data = x._data.copy()
    return result
