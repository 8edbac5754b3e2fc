"""Linear recurrences along an axis: one kernel each way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_cupy import checks
from impl_cupy.backend import cp
from impl_cupy.dtypes import promote
from impl_cupy.launch import launch
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import written
from impl_cupy.recording import OpNode, as_operand, cast, compute, is_wanted, sum_to
from impl_cupy.sums import cut
from impl_cupy.tape import at_edge, edge_of, handles, keep, wrap
from impl_cupy.tensor import Tensor

_NAME = "linear_recurrence"


@written('Blelloch, "Prefix sums and their applications", 1990, section 1.4')
def linear_recurrence(
    a: Any, b: Any, /, h0: Any = None, *, axis: int = 0, reverse: bool = False
) -> Tensor:
    """Return h with ``h_t = a_t h_{t-1} + b_t`` along an axis.

    Parameters
    ----------
    a, b : Tensor, raw array or number
        Floating; their shapes broadcast to the result's.
    h0 : Tensor, raw array or number, optional
        What comes before the first step, broadcast to the result's shape without the axis. Without
        it the first step is `b` alone.
    axis : int
        One of the result's.
    reverse : bool
        Whether the steps run from the last down, each after the one behind it.

    Returns
    -------
    Tensor, the shape that `a` and `b` broadcast to

    Raises
    ------
    TypeError
        If none is an array, one is not floating, or `axis` is no int.
    ValueError
        If the shapes do not broadcast, or there is no such axis.
    """
    operands = _operands((a, b) if h0 is None else (a, b, h0))
    try:
        shape = np.broadcast_shapes(operands[0].shape, operands[1].shape)
    except ValueError:
        checks.refuse_shapes(_NAME, operands[:2])
    place = checks.normalize_axis(_NAME, axis, shape)
    line = _Line(shape, place, checks.check_flag(_NAME, "reverse", reverse))
    for first in operands[2:]:
        if not line.takes(first.shape):
            msg = f"{_NAME}: h0 must broadcast to shape {line.rest}, got {first.shape}"
            raise ValueError(msg)
    out = compute(_NAME, line.run, tuple([value._data for value in operands]))
    if not is_wanted(operands):
        return wrap(out)
    # b is not needed.
    kept = tuple([None if at == 1 else keep(value) for at, value in enumerate(operands)])
    edges = tuple([edge_of(value) for value in operands])
    config = line, [value.shape for value in operands]
    return at_edge(out, (OpNode(_NAME, edges, _back, kept, out, config), 0))


def _operands(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Bring operands to one floating dtype, numbers too."""
    values = [as_operand(_NAME, value) for value in given]
    arrays = [value for value in values if isinstance(value, Tensor)]
    kinds = {value.dtype.name for value in arrays if value.dtype.kind != "f"}
    if not arrays or kinds or any(isinstance(value, bool) for value in values):
        got = ", ".join(sorted(kinds)) or ", ".join(map(checks.type_name, given))
        msg = f"{_NAME}: operands must be floating, or numbers beside a floating array, got {got}"
        raise TypeError(msg)
    dtype = arrays[0].dtype
    for value in arrays:
        dtype = promote(_NAME, dtype, value.dtype)
    return tuple(
        [
            cast(value, dtype) if isinstance(value, Tensor) else wrap(cp.full((), value, dtype))
            for value in values
        ]
    )


class _Line:
    """Along which axis of a shape the steps run, and from which end.

    Attributes
    ----------
    rest : tuple of int
        The shape without the axis.
    """

    __slots__ = ("axis", "is_reverse", "length", "rest", "shape")

    def __init__(self, shape: tuple[int, ...], axis: int, is_reverse: bool) -> None:
        self.shape = shape
        self.axis = axis
        self.is_reverse = is_reverse
        self.length = shape[axis]
        self.rest = shape[:axis] + shape[axis + 1 :]

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Tell whether a first state of this shape broadcasts."""
        try:
            return np.broadcast_shapes(shape, self.rest) == self.rest
        except ValueError:
            return False

    def run(self, a: RawArray, b: RawArray, h0: RawArray = None) -> RawArray:
        """Run the steps on raw arrays."""
        h = cp.empty(self.shape, dtype=b.dtype)
        arrays = (_whole(a, self.shape), _whole(b, self.shape), self._first(h0, h), h)
        self._launch("recurrence_forward", h, *arrays, h0 is not None)
        return h

    def run_back(
        self, a: RawArray, h: RawArray, h0: RawArray, grad: RawArray, wants_a: bool
    ) -> tuple[RawArray, ...]:
        """Return the gradients of a, b and h0 from that of h."""
        to_b = cp.empty(self.shape, dtype=h.dtype)
        to_a = cp.empty_like(to_b) if wants_a else to_b
        to_h0 = to_b if h0 is None else cp.empty(self.rest, dtype=h.dtype)
        arrays = (_whole(a, self.shape), h, self._first(h0, h), cp.ascontiguousarray(grad))
        flags = (h0 is not None, wants_a)
        self._launch("recurrence_backward", h, *arrays, to_a, to_b, to_h0, *flags)
        return to_a, to_b, to_h0

    def _first(self, h0: RawArray, unread: RawArray) -> RawArray:
        return unread if h0 is None else _whole(h0, self.rest)

    def _launch(self, kernel: str, like: RawArray, *arrays: Any) -> None:
        inner = math.prod(self.shape[self.axis + 1 :])
        numbers = (self.is_reverse, self.length, inner)
        launch("recurrence", kernel, like.dtype, math.prod(self.rest), *arrays, *numbers)

    def head(self, x: Any) -> Any:
        """Return the first step to run, with its axis."""
        return cut(x, self.axis, self.length - 1) if self.is_reverse else cut(x, self.axis, 0, 1)

    def tail(self, x: Any) -> Any:
        """Return all steps but the first to run."""
        return cut(x, self.axis, 0, self.length - 1) if self.is_reverse else cut(x, self.axis, 1)

    def before(self, x: Any) -> Any:
        """Return all steps but the last to run."""
        return cut(x, self.axis, 1) if self.is_reverse else cut(x, self.axis, 0, self.length - 1)

    def joined(self, xp: Any, head: Any, tail: Any) -> Any:
        """Put the first step and the others together."""
        return xp.concat([tail, head] if self.is_reverse else [head, tail], axis=self.axis)


def _whole(raw: RawArray, shape: tuple[int, ...]) -> RawArray:
    """Return a raw array of this shape, each of its elements in its own place."""
    return cp.ascontiguousarray(cp.broadcast_to(raw, shape))


def _back(node: Any, grad: Any) -> list[Any]:
    """Return the gradients of the operands, summed to their shapes; nothing is divided."""
    line, shapes = node.config
    a, _, *rest = node.inputs
    if isinstance(grad, cp.ndarray):
        first = rest[0] if rest else None
        found = line.run_back(a, node.output, first, grad, node.edges[0] is not None)
    else:
        found = _back_recorded(node.xp, line, a, rest, node.output, grad)
    each = zip(found, shapes, node.edges, strict=False)
    return [sum_to(node.xp, to, shape) if edge else None for to, shape, edge in each]


def _back_recorded(xp: Any, line: _Line, a: Any, rest: Any, h: Any, grad: Any) -> list[Any]:
    """Do the same on Tensors: ``s_t = g_t + a_{t+1} s_{t+1}`` runs from the other end."""
    if not line.length:
        return [grad, grad, *(xp.zeros(line.rest, dtype=h.dtype) for _ in rest)]
    a = xp.broadcast_to(a, line.shape)
    # What comes round is that of the first step, which is not used.
    ahead = xp.roll(a, 1 if line.is_reverse else -1, axis=line.axis)
    s = handles.linear_recurrence(ahead, grad, axis=line.axis, reverse=not line.is_reverse)
    head, tail = line.head(s), line.tail(s) * line.before(h)
    if not rest:
        return [line.joined(xp, xp.zeros_like(head), tail), s]
    first = xp.expand_dims(xp.broadcast_to(rest[0], line.rest), axis=line.axis)
    to_h0 = xp.reshape(line.head(a) * head, line.rest)
    return [line.joined(xp, head * first, tail), s, to_h0]
