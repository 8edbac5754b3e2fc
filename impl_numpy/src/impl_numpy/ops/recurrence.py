"""The linear recurrence along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.checks import check_flag, normalize_axis, shown
from impl_numpy.dtypes import Array, Value
from impl_numpy.ops.families import meet, meet_into, registered
from impl_numpy.ops.reduction import joined, linear_scan, recur
from impl_numpy.recording import OUT, RULES, Grads, Primitive, record
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor, wrap

_NAME = "linear_recurrence"
_FRAME = """Parameters
----------
a, b : Tensor, raw array or Python number, shapes that broadcast to (..., T, ...)
h0 : Tensor, raw array or Python number, optional
    What stands before the first step, broadcast to that shape without the axis. Left out, the first
    step is b alone, and its a is not used.
axis : int
    That of length T.
reverse : bool
    Go from the last step to the first.

Returns
-------
Tensor, shape (..., T, ...)
    h_t = a_t h_{t-1} + b_t; in reverse h_t = a_t h_{t+1} + b_t.

Raises
------
ValueError
    If the shapes do not broadcast, or the axis is out of range.
TypeError
    If an operand is not floating, none is an array, or the axis is no int."""


@registered(
    _NAME,
    "Return h_t = a_t h_{t-1} + b_t along an axis.",
    _FRAME,
    "Blelloch 1990, section 1.4",
)
def linear_recurrence(
    a: Any, b: Any, /, h0: Any = None, *, axis: int = 0, reverse: bool = False
) -> Tensor:  # ops-54
    given = _operands({"a": a, "b": b} if h0 is None else {"a": a, "b": b, "h0": h0})
    try:
        shape = np.broadcast_shapes(given[0].shape, given[1].shape)
    except ValueError:
        msg = f"{_NAME}: the shapes {given[0].shape} and {given[1].shape} do not broadcast"
        raise ValueError(msg) from None
    place = normalize_axis(_NAME, axis, shape)
    reverse = check_flag(_NAME, "reverse", reverse)
    dtype = max([x.dtype for x in given], key=lambda d: d.itemsize)
    factors, terms = [meet(x, shape, dtype) for x in given[:2]]
    if reverse:
        factors, terms = [RULES["flip"](x, (place,)) for x in (factors, terms)]
    if h0 is None or not shape[place]:
        h: Tensor = record(linear_scan, (terms, factors), (place, False))
    else:
        first = meet_into(_NAME, "h0", given[2], (*shape[:place], *shape[place + 1 :]), dtype)
        h = record(_scan_from, (terms, factors, first), (place,))
    return RULES["flip"](h, (place,)) if reverse else h


def _recur_from(b: Array, a: Array, h0: Array, axis: int) -> Array:
    return recur(b, a, axis, False, h0)


def _recur_from_vjp(
    grad: Value, needs: Parents, b: None, a: Value, h0: Value, out: Value, axis: int
) -> Grads:
    s = linear_scan(grad, a, axis, True)
    ahead = (slice(None),) * axis
    da = None
    if needs[1] is not None:
        start = h0.reshape((*h0.shape[:axis], 1, *h0.shape[axis:]))
        da = s * joined(start, out[(*ahead, slice(0, -1))], axis)
    return s, da, None if needs[2] is None else a[(*ahead, 0)] * s[(*ahead, 0)]


_scan_from = Primitive(_NAME, _recur_from, _recur_from_vjp, ((1,), (1, 2, OUT), (1,)))


def _operands(given: dict[str, Any]) -> list[Tensor]:
    """Return operands as Tensors; Python numbers get the widest dtype of the others."""
    operands: dict[str, Any] = {}
    for name, x in given.items():
        number = isinstance(x, (int, float)) and not isinstance(x, (bool, np.generic))
        operands[name] = x if number else as_tensor(_NAME, x, name)
        if not number and operands[name].dtype.kind != "f":
            msg = f"{_NAME}: {name} must be floating, got {operands[name].dtype}; cast with astype"
            raise TypeError(msg)
    dtypes = [x.dtype for x in operands.values() if isinstance(x, Tensor)]
    if not dtypes:
        msg = f"{_NAME}: one of the operands must be a Tensor or a raw array, got {shown(given)}"
        raise TypeError(msg)
    dtype = max(dtypes, key=lambda d: d.itemsize)
    return [
        x if isinstance(x, Tensor) else wrap(np.array(x, dtype), None) for x in operands.values()
    ]
