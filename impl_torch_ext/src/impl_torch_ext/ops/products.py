"""Products of vectors and matrices, transposes and diagonals."""

import math
from typing import Any

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.checks import check_dtype, check_int, check_tensor, explain, shapes_of, shown
from impl_torch_ext.dtypes import bool_, float32, is_inexact
from impl_torch_ext.ops.families import linalg, matrix, operands, registry
from impl_torch_ext.tracing import conjugated


@linalg(
    "Tensor, shape (..., M, N)",
    x1="Tensor, shape (..., M, K) or (K,)",
    x2="Tensor, shape (..., K, N) or (K,)",
)
def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the product of matrices, or of vectors as in NumPy."""
    if not (isinstance(x1, Tensor) and isinstance(x2, Tensor)):
        x1, x2 = operands("matmul", x1, x2)
    if check_tensor("matmul", x1, "x1").ndim == 0 or check_tensor("matmul", x2, "x2").ndim == 0:
        msg = f"matmul: operands must have at least one axis, got shapes {shapes_of(x1, x2)}"
        raise ValueError(msg)
    if x1.shape[-1] != x2.shape[-2 if x2.ndim > 1 else -1]:  # ops-12
        msg = f"matmul: the inner sizes must be equal, got shapes {shapes_of(x1, x2)}"
        raise ValueError(msg)
    try:
        if (dtype := x1.dtype) is not x2.dtype:
            return compat.matmul(x1, x2)
        if dtype is bool_:  # tensor-40
            return torch.matmul(x1.to(float32), x2.to(float32)) > 0
        return product(x1, x2)
    except RuntimeError as error:
        explain("matmul", error, x1, x2, shapes=(x1.shape[:-2], x2.shape[:-2]))


# torch adds a long inner sum one term after the other where few elements result: here it adds
# blocks up, in the product itself or in its gradients (ops-25).
_LONG = 1 << 13
_BLOCK = 1 << 11
_FEW = 64


def product(x1: Tensor, x2: Tensor) -> Tensor:
    """Return ``torch.matmul(x1, x2)``, with inner sums that do not lose digits by their length."""
    sizes = (x1.numel(), x2.numel())
    if max(sizes) <= _LONG or x1.ndim == 0 or not is_inexact(x1.dtype):
        return torch.matmul(x1, x2)
    if x1.ndim == 1:
        return product(x1.unsqueeze(0), x2).squeeze(-2)
    if x2.ndim > 2:
        return _stack(x1, x2)
    if x2.ndim == 1:
        return product(x1, x2.unsqueeze(1)).squeeze(-1)
    if x1.ndim > 2:
        rows = product(x1.reshape(-1, x1.shape[-1]), x2)
        return rows.reshape(*x1.shape[:-1], x2.shape[-1])
    (rows, inner), columns = x1.shape, x2.shape[1]
    if inner > _LONG and rows * columns <= _FEW:
        left, left_rest = _blocks(x1, 1)
        right, right_rest = _blocks(x2, 0)
        return torch.matmul(left.transpose(0, 1), right).sum(0) + left_rest @ right_rest
    if rows > _LONG and inner * columns <= _FEW and x2.requires_grad:
        # One factor for each block: the gradients of all are added up.
        blocks, rest = _blocks(x1, 0)
        head = torch.matmul(blocks, x2.expand(len(blocks), inner, columns))
        return torch.cat([head.flatten(0, 1), rest @ x2])
    if columns > _LONG and rows * inner <= _FEW and x1.requires_grad:
        return product(x2.mT, x1.mT).mT
    return torch.matmul(x1, x2)


def _stack(x1: Tensor, x2: Tensor) -> Tensor:
    """Return the products of stacks, one by one where they are few with a long sum."""
    lead = torch.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    rows, inner, columns = x1.shape[-2], x1.shape[-1], x2.shape[-1]
    short, middle, long = sorted((rows, inner, columns))
    if long <= _LONG or not 0 < math.prod(lead) * short * middle <= _FEW:
        return torch.matmul(x1, x2)
    lefts = x1.expand(*lead, rows, inner).reshape(-1, rows, inner)
    rights = x2.expand(*lead, inner, columns).reshape(-1, inner, columns)
    made = [product(left, right) for left, right in zip(lefts, rights, strict=True)]
    return torch.stack(made).reshape(*lead, rows, columns)


def _blocks(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return an axis cut into (number, _BLOCK), and what is left over."""
    whole = x.shape[axis] - x.shape[axis] % _BLOCK
    head = x.narrow(axis, 0, whole).unflatten(axis, (-1, _BLOCK))
    return head, x.narrow(axis, whole, x.shape[axis] - whole)


@linalg(
    "Tensor, shape (..., N, M)",
    x="Tensor, shape (..., M, N)",
)
def matrix_transpose(x: Tensor, /) -> Tensor:
    """Return `x` with its last two axes exchanged."""
    if check_tensor("matrix_transpose", x).ndim < 2:
        msg = f"matrix_transpose: x must have at least two axes, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return x.mT


@linalg(
    "Tensor, the axes of `x1` and then those of `x2` that are left",
    **{"x1, x2": "Tensor, any shape"},
    axes="int, or pair of sequences of ints\nThe last of `x1` and first of `x2`, or which of each.",
)
def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """Return the sums of products over axes that both have."""
    x1, x2 = (check_tensor("tensordot", x, "each") for x in operands("tensordot", x1, x2))
    first, second = _contracted(axes, x1, x2)
    left = [place for place in range(x1.ndim) if place not in first]
    right = [place for place in range(x2.ndim) if place not in second]
    inner = math.prod(x1.shape[place] for place in first)
    rows, columns = ([x.shape[i] for i in free] for x, free in ((x1, left), (x2, right)))
    a = x1.permute([*left, *first]).reshape(math.prod(rows), inner)
    b = x2.permute([*second, *right]).reshape(inner, math.prod(columns))
    return matmul(a, b).reshape([*rows, *columns])


def _contracted(axes: Any, x1: Tensor, x2: Tensor) -> tuple[list[int], list[int]]:
    """Return the axes of both that are summed over, or raise (ops-44)."""
    if isinstance(axes, tuple | list):
        if len(axes) != 2 or not all(isinstance(part, tuple | list) for part in axes):
            msg = f"tensordot: axes must be an int or two sequences of ints, got {shown(axes)}"
            raise ValueError(msg)
        first, second = ([check_int("tensordot", "each of axes", i) for i in part] for part in axes)
    else:
        count = check_int("tensordot", "axes", axes)
        if not 0 <= count <= min(x1.ndim, x2.ndim):
            msg = f"tensordot: axes {count} is out of range for shapes {shapes_of(x1, x2)}"
            raise ValueError(msg)
        first, second = [*range(-count, 0)], [*range(count)]
    for places, x in ((first, x1), (second, x2)):
        inside = all(-x.ndim <= place < x.ndim for place in places)
        if not inside or len({place % x.ndim for place in places}) < len(places):
            msg = f"tensordot: axes {shown(axes)} do not fit shapes {shapes_of(x1, x2)}"
            raise ValueError(msg)
    if [x1.shape[i] for i in first] != [x2.shape[i] for i in second]:
        msg = (
            f"tensordot: the axes {shown(axes)} must have equal sizes, got shapes "
            f"{shapes_of(x1, x2)}"
        )
        raise ValueError(msg)
    return [i % x1.ndim for i in first], [i % x2.ndim for i in second]


@linalg(
    "Tensor, the shape that both broadcast to, without the axis",
    **{"x1, x2": "Tensor, at least one axis"},
    axis="int, negative",
)
def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return the inner products of vectors along an axis, the first of them conjugated."""
    x1, x2 = (check_tensor("vecdot", x, "each") for x in operands("vecdot", x1, x2))
    place = check_int("vecdot", "axis", axis)
    if not -min(x1.ndim, x2.ndim) <= place < 0:
        msg = f"vecdot: axis {place} is out of range for shapes {shapes_of(x1, x2)}"
        raise ValueError(msg)
    a, b = x1.movedim(place, -1), x2.movedim(place, -1)
    if a.is_complex():  # ops-59
        a = conjugated(a)
    try:
        torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
        fits = a.shape[-1] == b.shape[-1]
    except RuntimeError:
        fits = False
    if not fits:
        msg = f"vecdot: shapes must broadcast beside axis {place}, got {shapes_of(x1, x2)}"
        raise ValueError(msg)
    return matmul(a.unsqueeze(-2), b.unsqueeze(-1)).squeeze((-2, -1))


@matrix(
    "Tensor, the shape that both broadcast to",
    **{"x1, x2": "Tensor of numbers, of length 3 along the axis"},
    axis="int, negative",
)
def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:  # linalg-21
    """Return the vector products along an axis."""
    x1, x2 = (check_tensor("cross", x, "each") for x in operands("cross", x1, x2))
    place = check_int("cross", "axis", axis)
    if bool_ in (x1.dtype, x2.dtype):
        msg = "cross: operands must be numbers, got dtype torch.bool"
        raise TypeError(msg)
    inside = -min(x1.ndim, x2.ndim) <= place < 0
    if not inside or x1.shape[place] != 3 or x2.shape[place] != 3:
        msg = f"cross: axis {place} must be negative, of length 3, for {shapes_of(x1, x2)}"
        raise ValueError(msg)
    try:
        torch.broadcast_shapes(x1.shape, x2.shape)
    except RuntimeError:
        msg = f"cross: shapes must broadcast, got {shapes_of(x1, x2)}"
        raise ValueError(msg) from None
    dtype = registry["add"](x1[..., :0], x2[..., :0]).dtype if x1.dtype != x2.dtype else x1.dtype
    first, second = torch.broadcast_tensors(x1.to(dtype), x2.to(dtype))
    return torch.linalg.cross(first, second, dim=place)


@matrix("Tensor, shape (M, N)", x1="Tensor, shape (M,)", x2="Tensor, shape (N,)")
def outer(x1: Tensor, x2: Tensor, /) -> Tensor:  # linalg-21
    """Return the products of every element of one vector with every one of another."""
    x1, x2 = (check_tensor("outer", x, "each") for x in operands("outer", x1, x2))
    if x1.ndim != 1 or x2.ndim != 1:
        msg = f"outer: operands must have one axis, got shapes {shapes_of(x1, x2)}"
        raise ValueError(msg)
    return registry["multiply"](x1.unsqueeze(1), x2)


@matrix("Tensor, shape (..., K)", x="Tensor, shape (..., M, N)", offset="int, above 0 or below")
def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:  # linalg-21
    """Return the diagonals of matrices."""
    return _diagonal("diagonal", x, offset)


def _diagonal(name: str, x: Tensor, offset: int) -> Tensor:
    if check_tensor(name, x).ndim < 2:
        msg = f"{name}: x must have at least two axes, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    if isinstance(offset, bool):
        check_int(name, "offset", None)
    place = max(-x.shape[-2], min(check_int(name, "offset", offset), x.shape[-1]))
    return torch.diagonal(x, place, -2, -1)


@matrix(
    "Tensor, shape (...)",
    x="Tensor, shape (..., M, N)",
    offset="int, above 0 or below",
    dtype="dtype, optional\nWhat the elements are cast to first; integers give int64 if left out.",
)
def trace(x: Tensor, /, *, offset: int = 0, dtype: torch.dtype | None = None) -> Tensor:
    """Return the sums of the diagonals of matrices."""
    wanted = None if dtype is None else check_dtype("trace", dtype)
    return registry["sum"](_diagonal("trace", x, offset), axis=-1, dtype=wanted)  # linalg-21
