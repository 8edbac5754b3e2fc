"""Selecting elements, and putting gradients back where they came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.checks import normalize_axis
from impl_numpy.dtypes import Array, Shape, Value, bool_, int64, is_raw
from impl_numpy.memory import own
from impl_numpy.ops.families import registered, rule
from impl_numpy.recording import Grads, Primitive, unary
from impl_numpy.tape import Parents, Scattered
from impl_numpy.tensor import Tensor, as_tensor


def getitem(x: Tensor, key: Any) -> Tensor:
    """Return what `x[key]` selects; repeated elements accumulate gradients (tensor-24)."""
    result: Tensor = unary(_chosen, x, (_plain(key), x._data.shape))
    return result


def _plain(key: Any) -> Any:
    """Return an index without Tensors in it, and without arrays that the caller can change."""
    if isinstance(key, tuple):
        return tuple(_plain(k) for k in key)
    if isinstance(key, Tensor):
        return own(key._data)
    if isinstance(key, np.ndarray):
        return key.copy()
    if isinstance(key, list):
        array = np.asarray([_plain(k) for k in key])
        return array if array.size else array.astype(int64)
    return key


def _getitem_vjp(grad: Value, needs: Parents, x: None, out: None, key: Any, shape: Shape) -> Grads:
    return (Scattered(grad, key, shape, _gathered),)


def _gathered(grads: tuple[Value, ...], keys: tuple[Any, ...], shape: Shape) -> Value:
    if len(grads) == 1:
        grad = grads[0]
        return _put(grad, keys[0], shape) if is_raw(grad) else _placed(grad, keys[0], shape)
    many = Primitive("put", _put_all, _put_all_vjp, ((),) * len(grads))
    return many(*grads, keys, shape)


def _put_all(*args: Any) -> Array:
    *parts, keys, shape = args
    out = np.zeros(shape, parts[0].dtype)
    for part, key in zip(parts, keys, strict=True):
        _put_into(out, part, key)
    return out


def _put_all_vjp(grad: Value, needs: Parents, *saved: Any) -> Grads:
    return tuple(_chosen(grad, key, saved[-1]) for key in saved[-2])


def _put_vjp(grad: Value, needs: Parents, x: None, out: None, key: Any, shape: Shape) -> Grads:
    return (_chosen(grad, key, shape),)


def _put(x: Array, key: Any, shape: Shape) -> Array:
    out = np.zeros(shape, x.dtype)
    if _repeats(key):
        _put_into(out, x, key)
    else:
        out[key] = x
    return out


def _repeats(key: Any) -> bool:
    """Tell whether an index may name an element twice."""
    parts = key if isinstance(key, tuple) else (key,)
    return any([isinstance(k, np.ndarray) and k.dtype != bool_ for k in parts])


def _put_into(out: Array, x: Array, key: Any) -> None:
    """Add to what lies at an index, once for each time that it names an element."""
    if not _repeats(key):
        out[key] += x
    elif isinstance(key, np.ndarray) and key.ndim and x.size:
        _add_rows(out, key, x)
    else:
        np.add.at(out, key, x)


def _add_rows(out: Array, rows: Array, x: Array) -> None:
    # Sorted, the repeats of a row lie together, and one reduction adds them all: many times faster
    # than np.add.at.
    rows = np.where(rows < 0, rows + len(out), rows).ravel()
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    sums = np.add.reduceat(x.reshape(len(rows), *out.shape[1:])[order], starts, axis=0)
    out[rows[starts]] += sums


_chosen = rule(Primitive("getitem", lambda x, key, shape: x[key], _getitem_vjp))
_placed = Primitive("put", _put, _put_vjp)

_TAKE = """Parameters
----------
x : Tensor or raw array, shape (..., N, ...)
indices : Tensor or raw array of integers, shape S
    Negative ones count from the end; repeated ones accumulate gradients.
axis : int, optional
    That of length N; may be left out where there is only one.

Returns
-------
Tensor, shape (..., *S, ...)

Raises
------
ValueError
    If the axis is out of range, or left out where there are several.
IndexError
    If an index is out of range.
TypeError
    If x is no array, or the axis no int."""


@registered("take", "Return the elements at indices on an axis.", _TAKE)
def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    x = as_tensor("take", x)
    if axis is None and x.ndim != 1:
        msg = f"take: axis may be left out for one axis alone, got shape {x.shape}"
        raise ValueError(msg)
    place = 0 if axis is None else normalize_axis("take", axis, x.shape)
    chosen = as_tensor("take", indices, "indices")
    return x[(*(slice(None),) * place, chosen)] if place else x[chosen]
