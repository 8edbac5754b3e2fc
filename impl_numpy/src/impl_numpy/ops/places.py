"""Values put or added where an index says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy.batched import USED
from impl_numpy.checks import check_count, check_indices, check_sizes, normalize_axis, shown
from impl_numpy.dtypes import Array, Shape, Value, bool_, int64, met, promoted
from impl_numpy.operands import operand
from impl_numpy.ops.families import meet, meet_into, registered, reshaped
from impl_numpy.ops.indexing import (
    key_along,
    listed,
    may_repeat,
    over,
    placing,
    plain_key,
    put_into,
    repeats,
    rows_at,
    rows_axes,
    selecting,
)
from impl_numpy.recording import RULES, Grads, Primitive, record, unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor, wrap


def _cover(x: Array, values: Array, key: Any, shape: Shape) -> Array:
    if USED and (found := over(_cover, (x, values), key, shape)) is not None:
        return found
    out = x.copy()
    out[key] = values
    return out


def _cover_vjp(
    grad: Value, needs: Parents, x: None, values: None, out: None, key: Any, shape: Shape
) -> Grads:
    return (
        None if needs[0] is None else _covered(grad, np.zeros((), grad.dtype), key, shape),
        None if needs[1] is None else RULES["getitem"](grad, key, shape),
    )


# The index names no element twice.
_covered = Primitive("put", _cover, _cover_vjp, ((), ()))
_named = selecting("put")

_PUT = """Parameters
----------
x : Tensor or raw array
key : index
    All that ``x[key]`` takes.
values : Tensor, raw array or Python number
    Broadcast to the shape of ``x[key]``. Where a key names a place several times, the last of them
    stays, and it alone has a gradient.

Returns
-------
Tensor, the shape and dtype of x

Raises
------
ValueError
    If the values do not broadcast to the shape of ``x[key]``.
IndexError
    If an index is out of range.
TypeError
    If x is no array, the key no index, or the values do not go into the dtype of x."""


@registered("put", "Return x with values at x[key].", _PUT, "jax.numpy.ndarray.at")
def put(x: Any, key: Any, values: Any, /) -> Tensor:  # ops-56
    x = as_tensor("put", x, "x", passing=True)
    key = plain_key("put", key, x.shape)
    axes = rows_axes(key, x.shape)
    lead, rest = x.shape[:axes], x.shape[axes:]
    # One element in the shape of all tells the shape of `x[key]`, and what is out of range.
    one: Tensor = unary(_named, wrap(np.broadcast_to(np.False_, lead), None), (key, lead))
    given = _given(x, values, (*one.shape, *rest))
    if not may_repeat(key) or not repeats(key, x.shape, given.size):
        result: Tensor = record(_covered, (x, given), (key, x.shape))
        return result
    whole, flat = (math.prod(lead), *rest), (one.size, *rest)
    rows, last = _last(rows_at(key, x.shape), whole[0])
    given = RULES["getitem"](reshaped(given, flat), last, flat)
    result = record(_covered, (reshaped(x, whole), given), (rows, whole))
    return reshaped(result, x.shape)


def _given(x: Tensor, values: Any, shape: Shape) -> Tensor:
    """Return what is to be put, of the dtype of x and the shape of the places."""
    if not isinstance(values, Tensor):
        array = operand(values, x.dtype, "put")
        if array is None:
            msg = (
                "put: values must be a Tensor, a raw array or a number, "
                f"got {type(values).__name__} {shown(values)}"
            )
            raise TypeError(msg)
        values = wrap(array, None)
    if met(x.dtype, values.dtype) != x.dtype:
        msg = f"put: values must go into x of {x.dtype}, got {values.dtype}; cast with astype"
        raise TypeError(msg)
    return meet_into("put", "values", values, shape, x.dtype)


def _last(rows: Array, count: int) -> tuple[Array, Array]:
    """Return the numbers below `count` in `rows`, each once, and where each stands last."""
    latest = np.full(count, -1, int64)
    # Not by assignment, for which NumPy promises no order.
    np.maximum.at(latest, rows, np.arange(len(rows)))
    named = np.flatnonzero(latest >= 0)
    return named, latest[named]


def _add(x: Array, values: Array, key: Any, shape: Shape) -> Array:
    if USED and (found := over(_add, (x, values), key, shape)) is not None:
        return found
    out = x.copy()
    if repeats(key, shape, values.size):
        put_into(out, values, key)
    else:
        out[key] += values
    return out


def _add_vjp(
    grad: Value, needs: Parents, x: None, values: None, out: None, key: Any, shape: Shape
) -> Grads:
    return grad, None if needs[1] is None else RULES["getitem"](grad, key, shape)


_added = Primitive("scatter_add", _add, _add_vjp, ((), ()))

_SCATTER = """Parameters
----------
x : Tensor or raw array, shape (..., N, ...)
indices : Tensor or raw array of integers, shape (..., K, ...)
    Of as many axes as x. All but `axis` are those of x, or 1, which stands for all. Negative ones
    count from the end; values at repeated ones add up.
values : Tensor or raw array, the shape of indices
axis : int
    That of length N.

Returns
-------
Tensor, shape (..., N, ...), of the common dtype

Raises
------
ValueError
    If the axis is out of range, or the shapes do not fit.
IndexError
    If an index is out of range.
TypeError
    If an operand is no array, or of bool, the indices are no integers, or the axis no int."""


@registered("scatter_add", "Return x with values added at indices.", _SCATTER, "torch.scatter_add")
def scatter_add(x: Any, indices: Any, values: Any, /, *, axis: int = -1) -> Tensor:  # ops-57
    name = "scatter_add"
    x, values = _summand(name, "x", x), _summand(name, "values", values)
    place = normalize_axis(name, axis, x.shape)
    given = check_indices(name, "indices", indices, length=f"length {x.shape[place]}")
    shape = (*x.shape[:place], *given.shape[place : place + 1], *x.shape[place + 1 :])
    same = given.ndim == x.ndim and values.shape == given.shape
    if not same or any([n not in (1, m) for n, m in zip(given.shape, shape, strict=True)]):
        shapes = f"{x.shape}, {given.shape} and {values.shape}"
        msg = f"{name}: shapes {shapes} of x, indices and values do not fit along axis {axis}"
        raise ValueError(msg)
    dtype = promoted(name, x.dtype, values.dtype)
    operands = meet(x, x.shape, dtype), meet(values, shape, dtype)
    result: Tensor = record(_added, operands, (key_along(x.shape, shape, place, given), x.shape))
    return result


_summed = placing("segment_sum")

_SEGMENT = """Parameters
----------
x : Tensor or raw array, shape (N, ...)
segment_ids : Tensor, raw array or sequence of integers, shape (N,)
    The segment of each row, in any order.
num_segments : int

Returns
-------
Tensor, shape (num_segments, ...), of the dtype of x; 0 where a segment has no row

Raises
------
ValueError
    If there is not one id for each row, or num_segments is negative.
IndexError
    If an id is negative, or not less than num_segments.
TypeError
    If x is no array or of bool, the ids are no integers, or num_segments is no int."""


@registered("segment_sum", "Return the sum of each segment.", _SEGMENT, "jax.ops.segment_sum")
def segment_sum(x: Any, segment_ids: Any, /, num_segments: int) -> Tensor:  # ops-58
    name = "segment_sum"
    x = _summand(name, "x", x)
    count = check_count(name, "num_segments", num_segments)
    given = listed(name, segment_ids)
    ids = check_indices(name, "segment_ids", given, 0, count, "num_segments")
    if not x.ndim or ids.shape != x.shape[:1]:
        msg = f"{name}: segment_ids must have one id for each row of {x.shape}, got {ids.shape}"
        raise ValueError(msg)
    result: Tensor = unary(_summed, x, (ids, check_sizes((count, *x.shape[1:]), name)))
    return result


def _summand(name: str, argument: str, x: Any) -> Tensor:
    """Return an argument as a Tensor of numbers."""
    tensor = as_tensor(name, x, argument, passing=True)
    if tensor.dtype == bool_:  # tensor-40
        msg = f"{name}: {argument} must be of numbers, got bool; cast with astype first"
        raise TypeError(msg)
    return tensor
