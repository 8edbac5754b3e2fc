"""Arithmetic where torch has no answer, or another one than the limit."""

from typing import Any, TypeAlias

import array_api_compat.torch as compat
import torch
from torch import Tensor

__all__ = ["power", "promoted", "subtract"]

Operand: TypeAlias = Tensor | float


def subtract(x1: Operand, x2: Operand) -> Tensor:
    """Return x1 - x2, one of which may be of dtype bool; shapes broadcast."""
    if isinstance(x1, Tensor) and x1.dtype == torch.bool:
        x1 = x1.to(_dtype(x2))
    elif isinstance(x2, Tensor) and x2.dtype == torch.bool:
        x2 = x2.to(_dtype(x1))
    return compat.subtract(x1, x2)


def power(x1: Operand, x2: Operand) -> Tensor:
    """Return x1 ** x2 with derivatives of any order; shapes broadcast.

    Those of torch with respect to the exponent are NaN at base 0, and 0 where the exponent is 0.
    """
    if not (isinstance(x2, Tensor) and x2.requires_grad and torch.is_grad_enabled()):
        return compat.pow(x1, x2)
    if isinstance(x1, int | float):
        x1 = torch.full_like(x2, x1, requires_grad=False)
    elif not isinstance(x1, Tensor):
        return compat.pow(x1, x2)
    return _Power.apply(*torch.broadcast_tensors(*promoted(x1, x2)))


def promoted(*arrays: Tensor) -> list[Tensor]:
    """Return the arrays in the dtype that they have in common, whatever their shapes."""
    dtype = arrays[0].dtype
    for x in arrays[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return [x.to(dtype) for x in arrays]


def _dtype(operand: Operand) -> torch.dtype:
    """Return the dtype that a Tensor of dtype bool takes beside ``operand``."""
    if isinstance(operand, Tensor):
        return operand.dtype
    if isinstance(operand, bool):
        return torch.bool
    return torch.int64 if isinstance(operand, int) else torch.float32


class _Power(torch.autograd.Function):
    """``a ** b`` of two Tensors of one shape and dtype.

    ``d/da = b a**(b - 1)`` and ``d/db = a**b ln a``, made of the same power again, so that each
    order has its limits: 0 at base 0 where the exponent allows one.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.pow(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        (g,) = grads
        for_a = for_b = None
        if ctx.needs_input_grad[0]:
            # 0 * inf would be NaN: in the value, and through `where` in the next derivative.
            flat = (b == 0) & ~torch.isfinite(1 / a)
            slope = b * _Power.apply(torch.where(flat, 1.0, a), b - 1)
            for_a = g * torch.where(flat, 0.0, slope)
        if ctx.needs_input_grad[1]:
            flat = (a == 0) & (b >= 0)
            base = torch.where(flat, 1.0, a)
            for_b = g * torch.where(flat, 0.0, _Power.apply(base, b) * torch.log(base))
        return for_a, for_b
