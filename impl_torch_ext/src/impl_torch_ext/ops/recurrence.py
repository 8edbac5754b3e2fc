"""The linear recurrence along an axis, whose kernels are those of `csrc/recurrence.cpp`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_fits, check_flag, explain, normalize_axis
from impl_torch_ext.native import native
from impl_torch_ext.ops.families import Operand, operands, recurrence
from impl_torch_ext.tracing import in_graph, pushed_with, save_for_forward


@recurrence(
    "Tensor, the shape that `a` and `b` broadcast to",
    **{"a, b": "Tensor, or one of them a number\nTheir shapes broadcast."},
    h0="Tensor or number, optional\nIts shape broadcasts to that of the result without `axis`.",
    axis="int, one of the result's",
    reverse="bool\nWhether to run from the last element to the first.",
)
def linear_recurrence(
    a: Operand, b: Operand, /, h0: Operand | None = None, *, axis: int = 0, reverse: bool = False
) -> Tensor:
    """Return h with h[t] = a[t] h[t-1] + b[t] along an axis; without h0 h[0] is b[0] alone."""
    name = "linear_recurrence"
    given = operands(name, a, b, *(() if h0 is None else (h0,)))
    first, second, *start = _reals(name, given)
    try:
        first, second = torch.broadcast_tensors(first, second)
    except RuntimeError as error:
        explain(name, error, first, second)
    if not second.ndim:
        msg = f"{name}: a and b must have an axis together, got shapes () and ()"
        raise ValueError(msg)
    place = normalize_axis(name, axis, second)
    reverse = check_flag(name, "reverse", reverse)
    shape = [*second.shape[:place], *second.shape[place + 1 :]]
    try:
        state = start[0].expand(shape) if start else None
    except RuntimeError:
        msg = f"{name}: h0 must broadcast to shape {tuple(shape)}, got {tuple(start[0].shape)}"
        raise ValueError(msg) from None
    if torch.is_grad_enabled():
        result: Tensor = _recur(first, second, state, place, reverse)
        return result
    return native.linear_recurrence.default(first, second, state, place, reverse)


def _reals(name: str, given: list[Any]) -> list[Tensor]:
    """Return operands as Tensors of the floating dtype that they have in common, or raise."""
    tensors = [x for x in given if isinstance(x, Tensor)]
    dtype = tensors[0].dtype
    for x in tensors:
        if not x.is_floating_point():  # ops-54
            msg = f"{name}: operands must be of a floating dtype, got {x.dtype}"
            raise TypeError(msg)
        dtype = torch.promote_types(dtype, x.dtype)
    return [x.to(dtype) if isinstance(x, Tensor) else _full(name, x, dtype) for x in given]


def _full(name: str, number: Any, dtype: torch.dtype) -> Tensor:
    if isinstance(number, int):
        check_fits(name, number, dtype)
    return torch.full((), float(number), dtype=dtype)


class _Recurrence(torch.autograd.Function):
    """The recurrence of a and b of one shape, and of h0, that shape without the axis, or None.

    The gradient of b is a recurrence too, `s[t] = g[t] + a[t+1] s[t+1]`, against the order of the
    first; that of a is `s[t] h[t-1]`, that of h0 `a[0] s[0]`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, h0: Tensor | None, axis: int, reverse: bool) -> Tensor:
        h: Tensor = native.linear_recurrence.default(a, b, h0, axis, reverse)
        return h

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, _, h0, ctx.axis, ctx.reverse = inputs
        save_for_forward(ctx, a, h0, output)

    @staticmethod
    @pushed_with
    def jvp(ctx: Any, saved: Sequence[Any], tangents: Sequence[Tensor | None]) -> Tensor:
        """Return t with t[s] = a[s] t[s-1] + a'[s] h[s-1] + b'[s]."""
        (a, h0, h), (to_a, to_b, to_h0) = saved, tangents[:3]
        added = torch.zeros_like(h) if to_b is None else to_b
        if to_a is not None:
            added = added + to_a * _before(h, h0, ctx.axis, ctx.reverse)
        result: Tensor = _recur(a, added, to_h0, ctx.axis, ctx.reverse)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        a, h0, h = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            found = _derivatives(grads[0], a, h0, h, ctx.axis, ctx.reverse)
        else:
            found = native.linear_recurrence_backward.default(
                grads[0], a, h, h0, ctx.axis, ctx.reverse, wanted
            )
        kept = [g if want else None for g, want in zip(found, wanted, strict=True)]
        return *kept, None, None


_recur = in_graph(_Recurrence)


def _before(h: Tensor, h0: Tensor | None, axis: int, reverse: bool) -> Tensor:
    """Return what stands one step before each element."""
    count = h.shape[axis]
    first = h.narrow(axis, 0, min(count, 1))
    start = torch.zeros_like(first) if h0 is None or not count else h0.unsqueeze(axis)
    rest = h.narrow(axis, 1 if reverse else 0, max(count - 1, 0))
    return torch.cat([rest, start] if reverse else [start, rest], axis)


def _derivatives(
    grad: Tensor, a: Tensor, h0: Tensor | None, h: Tensor, axis: int, reverse: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of a, b and h0, made of operations that have derivatives."""
    steps = a.shape[axis]
    if not steps:
        return grad, grad, None if h0 is None else torch.zeros_like(h0)
    s: Tensor = _recur(torch.roll(a, 1 if reverse else -1, axis), grad, None, axis, not reverse)
    # The step that is computed first, those after it, and those before one of these.
    first, after, before = (steps - 1, 0, 1) if reverse else (0, 1, 0)
    at_first = s.narrow(axis, first, 1)
    parts = [
        torch.zeros_like(at_first) if h0 is None else at_first * h0.unsqueeze(axis),
        s.narrow(axis, after, steps - 1) * h.narrow(axis, before, steps - 1),
    ]
    to_h0 = None if h0 is None else (a.narrow(axis, first, 1) * at_first).squeeze(axis)
    return torch.cat(parts[::-1] if reverse else parts, axis), s, to_h0
