"""The linear recurrence: two operands and a first state, along one axis."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import Shape, check_broadcast, check_flag, check_real, normalize_axis, refuse
from ..dtypes import is_floating, promote
from ..recording import Primitive, as_operand, as_pair, dtype_of, is_array, shape_of
from . import formulas as F
from .families import NO_BROADCAST, listed

Array = Any
_NAME = "linear_recurrence"


def _states(
    axis: int, reverse: bool, dtype: Any, shape: Shape, a: Array, b: Array, *h0: Array
) -> Array:
    a, b = [jnp.moveaxis(F.stretch(v.astype(dtype), shape), axis, 0) for v in (a, b)]
    if h0:
        first = F.stretch(h0[0].astype(dtype), b.shape[1:])
    else:
        first = jnp.zeros(b.shape[1:], dtype)
        # ops-54: the first of a is not used.
        a = a.at[-1 if reverse else 0].set(0) if len(a) else a

    def step(h: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        h = at[0] * h + at[1]
        return h, h

    # Measured on a CPU, of (64..4096, 1..64, 64): a scan takes from a third to two thirds of the
    # time of lax.associative_scan, forward and backward, and its program compiles in a fifth.
    return jnp.moveaxis(lax.scan(step, first, (a, b), reverse=reverse)[1], 0, axis)


_recurrence = Primitive(_states, _NAME)


@listed(
    "a, b : Tensor, raw array or number\n    Floating; the shapes broadcast.\n"
    "h0 : Tensor, raw array or number, optional\n    What stands before the first step, of the "
    "result's shape without `axis`;\n    left out, the first step is b alone.\n"
    "axis : int\n    One of the result's.\nreverse : bool\n    Whether it runs from the last.",
    "the common shape of a and b",
    "ValueError\n    If there is no such axis.\n"
    f"{NO_BROADCAST.rstrip()}\n    Or if one is of integers or booleans.",
    "paper of Blelloch 1990, section 1.4",
)
def linear_recurrence(
    a: Any, b: Any, /, h0: Any = None, *, axis: int = 0, reverse: bool = False
) -> Any:
    """Return ``h_t = a_t h_{t-1} + b_t`` along an axis, in time that grows with its length."""
    for value in (a, b, h0):
        if is_array(value) and not is_floating(dtype_of(as_operand(_NAME, value))):
            msg = f"{_NAME}: each operand must be floating, got dtype {dtype_of(value)}"
            raise TypeError(msg)
    a, b, dtype = as_pair(_NAME, a, b)
    shape = check_broadcast(_NAME, shape_of(a), shape_of(b))
    if not shape:
        refuse(_NAME, "the common shape of a and b", "of at least one axis", shape)
    place = normalize_axis(_NAME, axis, shape)
    flag = check_flag(_NAME, "reverse", reverse)
    operands = [a, b]
    if h0 is not None:
        if is_array(h0):
            h0 = as_operand(_NAME, h0)
            dtype = promote(_NAME, dtype, dtype_of(h0))
        else:
            _, h0, joint = as_pair(_NAME, a if is_array(a) else b, h0)
            check_real(_NAME, joint)
        rest = (*shape[:place], *shape[place + 1 :])
        try:
            fits = np.broadcast_shapes(rest, shape_of(h0)) == rest
        except ValueError:
            fits = False
        if not fits:
            refuse(_NAME, "h0", f"one that broadcasts to {rest}", f"shape {shape_of(h0)}")
        operands.append(h0)
    check_real(_NAME, dtype)
    return _recurrence(operands, place, flag, dtype, shape)
