"""Linear equations, inverses, determinants and norms of matrices."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impl_torch_ext.checks import check_flag, check_int, shapes_of, shown
from impl_torch_ext.dtypes import plain_number
from impl_torch_ext.ops.decompositions import (
    matrices,
    refuse,
    set_apart,
    singular_values,
    unknown,
)
from impl_torch_ext.ops.families import matrix, operands, registry
from impl_torch_ext.tracing import anywhere

__all__ = [
    "det",
    "inv",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "pinv",
    "slogdet",
    "solve",
]


class Slogdet(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


@matrix(
    "Tensor, shape (..., M) or (..., M, K)",
    ", or a matrix is singular",
    x1="Tensor, floating or complex, shape (..., M, M)",
    x2="Tensor, shape (M,), a vector, or (..., M, K)\nThe stacks broadcast.",
)
def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the X with x1 X = x2."""
    a = matrices("solve", x1, square=True, argument="x1")
    if not isinstance(x2, Tensor):
        a, x2 = operands("solve", a, x2)
    if isinstance(x2, Tensor) and not x2.ndim:
        msg = f"solve: x2 must have an axis, got shapes {shapes_of(x1, x2)}"
        raise ValueError(msg)
    b = matrices("solve", x2.unsqueeze(-1) if _vector(x2) else x2, argument="x2")
    try:
        stack = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        fits = a.shape[-1] == b.shape[-2]
    except RuntimeError:
        fits = False
    if not fits:
        msg = f"solve: shapes must fit, got {shapes_of(x1, x2)}"  # linalg-06
        raise ValueError(msg)
    dtype = torch.promote_types(a.dtype, b.dtype)
    # Spread first: torch would take a stack of fewer axes for one of vectors.
    a, b = (m.to(dtype).expand(*stack, *m.shape[-2:]) for m in (a, b))
    result, info = torch.linalg.solve_ex(a, b)
    wrong = refuse("solve", info, a, "singular")
    result = unknown(wrong, result)[0]
    return result.squeeze(-1) if _vector(x2) else result


def _vector(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 1


def _inverse(name: str, x: Tensor) -> Tensor:
    result, info = torch.linalg.inv_ex(x)
    return unknown(refuse(name, info, x, "singular"), result)[0]


_SQUARE = "Tensor, floating or complex, shape (..., M, M)"
_ANY = "Tensor, floating or complex, shape (..., M, N)"


@matrix("Tensor, shape (..., M, M)", ", or a matrix is singular", x=_SQUARE)
def inv(x: Tensor, /) -> Tensor:
    """Return the inverse of matrices."""
    return _inverse("inv", matrices("inv", x, square=True))


@matrix(
    "Tensor, shape (..., M, M)",
    ", or `n` is negative and a matrix singular",
    x=_SQUARE,
    n="int\nA negative one takes the inverse.",
)
def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """Return the n-th power of matrices."""
    x = matrices("matrix_power", x, square=True)
    power = check_int("matrix_power", "n", None if isinstance(n, bool) else n)  # linalg-18
    if power == 0:
        one = torch.eye(x.shape[-1], dtype=x.dtype)
        return torch.where(torch.zeros((), dtype=torch.bool), x, one)
    if power < 0:
        x, power = _inverse("matrix_power", x), -power
    return torch.linalg.matrix_power(x, power)


def _rtol(name: str, rtol: Any, x: Tensor) -> Tensor:
    """Return below what part of the largest a singular value counts as 0 (linalg-19)."""
    real = x.real.dtype if x.is_complex() else x.dtype
    if rtol is None:
        return torch.tensor(max(x.shape[-2:]) * torch.finfo(real).eps, dtype=real)
    number = plain_number(rtol)
    if isinstance(number, bool) or not isinstance(number, int | float | Tensor):
        number = operands(name, x.detach().real, rtol)[1]
    values = number.detach() if isinstance(number, Tensor) else torch.tensor(number)
    if values.is_complex() or values.dtype == torch.bool:
        msg = f"{name}: rtol must be real numbers, got {shown(rtol)}"
        raise TypeError(msg)
    try:
        fits = torch.broadcast_shapes(values.shape, x.shape[:-2]) == x.shape[:-2]
    except RuntimeError:
        fits = False
    if not fits:
        stack, came = tuple(x.shape[:-2]), tuple(values.shape)
        msg = f"{name}: rtol must broadcast to the stack {stack}, got shape {came}"
        raise ValueError(msg)
    return values.to(real)


_RTOL = (
    "number or Tensor of real numbers, shape that broadcasts with (...), optional\n"
    "Singular values of at most so many times the largest count as 0; max(M, N) eps if left out."
)


@matrix("Tensor, shape (..., N, M)", ", or `rtol` does not", x=_ANY, rtol=_RTOL)
def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """Return the pseudo-inverse of matrices."""
    x = matrices("pinv", x)
    least = _rtol("pinv", rtol, x)
    safe, wrong = set_apart(x)
    return unknown(wrong, _Pinv.apply(safe, least))[0]


class _Pinv(torch.autograd.Function):
    """The pseudo-inverse P, with the derivative at constant rank (linalg-19)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, rtol: Tensor) -> Tensor:
        return torch.linalg.pinv(x, rtol=rtol.expand(x.shape[:-2]))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, p = ctx.saved_tensors
        back = grad.mH
        outside = (back - x @ (p @ back)) @ p @ p.mH + p.mH @ p @ (back - back @ p @ x)
        return outside - p.mH @ grad @ p.mH, None


@matrix("Tensor of int64, shape (...)", ", or `rtol` does not", x=_ANY, rtol=_RTOL)
def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """Return the number of singular values that do not count as 0."""
    x = matrices("matrix_rank", x).detach()
    least = _rtol("matrix_rank", rtol, x)
    values = torch.linalg.svdvals(set_apart(x)[0])
    if not values.shape[-1]:
        return torch.zeros(x.shape[:-2], dtype=torch.int64)
    return (values > (values[..., 0] * least).unsqueeze(-1)).sum(-1)


class _Det(torch.autograd.Function):
    """The determinant; its gradient, the cofactors, is right at singular matrices (linalg-17)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.linalg.det(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, value = ctx.saved_tensors
        n = x.shape[-1]
        if not n:
            return torch.zeros_like(x)
        fixed, _ = set_apart(x.detach())
        s = torch.linalg.svdvals(fixed)
        near = s[..., -1] <= 8 * n * torch.finfo(s.dtype).eps * s[..., 0]
        near = near[..., None, None]
        safe = torch.where(near, torch.eye(n, dtype=x.dtype), x)
        inverse, _ = torch.linalg.inv_ex(safe)
        cofactors = (value[..., None, None] * inverse).mH
        if anywhere(near):
            cofactors = torch.where(near, _cofactors(fixed), cofactors)
        return grad[..., None, None] * cofactors


def _cofactors(x: Tensor) -> Tensor:
    """Return the conjugated matrix of cofactors, made without division."""
    u, s, vh = torch.linalg.svd(x)
    n = s.shape[-1]
    every = torch.where(torch.eye(n, dtype=torch.bool), 1, s.unsqueeze(-2)).prod(-1)
    sign = torch.linalg.det(u) * torch.linalg.det(vh)
    return sign.conj()[..., None, None] * ((u * every.unsqueeze(-2)) @ vh)


@matrix("Tensor, shape (...)", x=_SQUARE)
def det(x: Tensor, /) -> Tensor:
    """Return the determinant of matrices."""
    result: Tensor = _Det.apply(matrices("det", x, square=True))
    return result


@matrix("Slogdet, of sign and logabsdet, which is real, shape (...)", x=_SQUARE)
def slogdet(x: Tensor, /) -> Slogdet:
    """Return sign and logarithm of the magnitude of the determinant of matrices."""
    x = matrices("slogdet", x, square=True)
    unclear = torch.isnan(x.detach()).flatten(-2).any(-1)
    sign, size = torch.linalg.slogdet(x)
    if anywhere(unclear):
        sign, size = unknown(unclear, sign, size)
    return Slogdet(sign, size)


_ORDERS = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


@matrix(
    "Tensor, real, shape (...)",
    ", or `ord` is another",
    x=_ANY,
    keepdims="bool\nWhether the two axes are kept, with length 1.",
    ord=(
        "one of 'fro', 'nuc', 1, -1, 2, -2, inf, -inf\nFrobenius; the sum of the singular values; "
        "the largest (smallest) sum of a column, singular value, sum of a row."
    ),
)
def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Return a norm of matrices."""
    x = matrices("matrix_norm", x)
    kept = check_flag("matrix_norm", "keepdims", keepdims)
    order = _order(ord)
    if not math.prod(x.shape[-2:]):
        if order in (-1, -2, -math.inf):  # linalg-07
            msg = f"matrix_norm: ord {order} needs elements, got shape {tuple(x.shape)}"
            raise ValueError(msg)
        result = x.abs().sum((-2, -1))
    else:
        # At 0 the gradient is 0 with every order (linalg-20).
        nothing = (x.detach() == 0).flatten(-2).all(-1)[..., None, None]
        result = _norm(torch.where(nothing, 0, x) if anywhere(nothing) else x, order)
    return result[..., None, None] if kept else result


def _order(value: Any) -> Any:
    order = "fro" if value is None else plain_number(value)
    known = isinstance(order, str | int | float) and not isinstance(order, bool)
    if not known or order not in _ORDERS:
        msg = f"matrix_norm: ord must be one of {_ORDERS}, got {shown(value)}"
        raise ValueError(msg)
    return order


def _norm(x: Tensor, order: Any) -> Tensor:
    if order == "fro":
        return registry["norm"](x, axis=(-2, -1))
    if order in ("nuc", 2, -2):
        values = singular_values(x)
        if order == "nuc":
            return values.sum(-1)
    else:
        values = x.abs().sum(-2 if abs(order) == 1 else -1)
    return values.amax(-1) if order > 0 else values.amin(-1)
