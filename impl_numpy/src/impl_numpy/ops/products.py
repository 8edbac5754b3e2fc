"""Products and transposes of matrices, and what their inverses and factors are made with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.batched import asarray, every, is_batched
from impl_numpy.checks import check_items, normalize_axis, shown
from impl_numpy.dtypes import Array, Shape, Value, bool_
from impl_numpy.ops.families import REGISTRY, cast_first, registered, reshaped, rule
from impl_numpy.recording import OUT, RULES, Grads, Primitive, binary, record, unary
from impl_numpy.sums import total
from impl_numpy.tape import MODE, Parents
from impl_numpy.tensor import Tensor, as_tensor


def _matmul_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    return (
        None if needs[0] is None else _times(grad, b.mT),
        None if needs[1] is None else _times(a.mT, grad),
    )


def _times(a: Value, b: Value) -> Value:
    return _matmul(a, b) if type(a) is type(b) is np.ndarray else a @ b


# An inner sum of so many terms is added up by blocks where few elements result: a BLAS adds one
# after the other there (ops-25).
_LONG = 1 << 13
_BLOCK = 1 << 11
_FEW = 64


def _matmul(a: Array, b: Array) -> Array:
    inner = a.shape[-1]
    if inner <= _LONG or a.shape[-2] * b.shape[-1] > _FEW or a.dtype.kind not in "fc":
        return np.matmul(a, b)
    whole = inner - inner % _BLOCK
    count = whole // _BLOCK
    left = a[..., :whole].reshape(*a.shape[:-1], count, _BLOCK).swapaxes(-2, -3)
    right = b[..., :whole, :].reshape(*b.shape[:-2], count, _BLOCK, b.shape[-1])
    parts = np.matmul(left, right)
    rest = np.matmul(a[..., whole:], b[..., whole:, :])
    added: Array = total(parts, (parts.ndim - 3,)) + rest
    return added


_product = rule(Primitive("matmul", np.matmul, _matmul_vjp, ((1,), (0,)), stacks=True))
_long_product = Primitive("matmul", _matmul, _matmul_vjp, ((1,), (0,)), stacks=True)

_MATMUL = """Parameters
----------
x1 : Tensor or raw array, shape (..., M, K) or (K,)
x2 : Tensor or raw array, shape (..., K, N) or (K,)
    The leading axes broadcast.

Returns
-------
Tensor, shape (..., M, N), without M or N where a vector came

Raises
------
ValueError
    If the inner sizes differ, an operand has no axis, or the leading axes do not fit.
TypeError
    If an operand is no Tensor or raw array."""


@registered("matmul", "Return the matrix product, as in `x1 @ x2`.", _MATMUL)
def matmul(x1: Any, x2: Any, /) -> Tensor:
    left, right = as_tensor("matmul", x1), as_tensor("matmul", x2)
    before, after = left._data.shape, right._data.shape
    if not before or not after or before[-1] != after[-2:][0]:
        msg = f"matmul: the inner sizes of shapes {before} and {after} must be equal"
        raise ValueError(msg)  # ops-12
    product = _product if before[-1] <= _LONG else _long_product
    if len(before) == len(after) == 2:
        result: Tensor = binary(product, left, right)
        return result
    if len(before) == 1:
        whole = matmul(reshaped(left, (1, -1)), right)
        return reshaped(whole, (*after[:-2], *after[-1:]) if len(after) > 1 else ())
    if len(after) == 1:
        return reshaped(matmul(left, reshaped(right, (-1, 1))), before[:-1])
    if len(after) == 2:
        # One product instead of a stack, and the gradient of `right` without a stack to sum.
        flat = reshaped(left, (math.prod(before[:-1]), before[-1]))
        return reshaped(binary(product, flat, right), (*before[:-1], after[-1]))
    result = record(product, (left, right))
    return result


_TRANSPOSE = """Parameters
----------
x : Tensor or raw array, shape (..., M, N)

Returns
-------
Tensor, shape (..., N, M)

Raises
------
ValueError
    If there are fewer than two axes.
TypeError
    If x is neither."""


@registered("matrix_transpose", "Return the last two axes exchanged.", _TRANSPOSE)
def matrix_transpose(x: Any, /) -> Tensor:
    x = as_tensor("matrix_transpose", x)
    n = x.ndim
    if n < 2:
        msg = f"matrix_transpose: wants at least two axes, got shape {x.shape}"
        raise ValueError(msg)  # tensor-32
    result: Tensor = unary(RULES["permute_dims"], x, ((*range(n - 2), n - 1, n - 2),))
    return result


_TENSORDOT = """Parameters
----------
x1, x2 : Tensor or raw array
axes : int, or a pair of sequences of int
    How many of the last axes of x1 and the first of x2; or which of each.

Returns
-------
Tensor, the axes of x1 and then those of x2 that are left

Raises
------
ValueError
    If the axes do not fit, or their sizes differ.
TypeError
    If an operand is no Tensor or raw array, or an axis no int."""


@registered("tensordot", "Return the sum of products over axes of each.", _TENSORDOT)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Tensor:  # ops-44
    left, right = as_tensor("tensordot", x1), as_tensor("tensordot", x2)
    before, after = left.shape, right.shape
    first, second = _contracted(before, after, axes)
    if tuple(before[k] for k in first) != tuple(after[k] for k in second):
        msg = f"tensordot: the sizes of axes {shown(axes)} of {before} and {after} must be equal"
        raise ValueError(msg)
    rows = tuple(k for k in range(len(before)) if k not in first)
    columns = tuple(k for k in range(len(after)) if k not in second)
    inner = math.prod(before[k] for k in first)
    shape = (*[before[k] for k in rows], *[after[k] for k in columns])
    tall = unary(RULES["permute_dims"], left, ((*rows, *first),))
    wide = unary(RULES["permute_dims"], right, ((*second, *columns),))
    tall = reshaped(tall, (math.prod(before[k] for k in rows), inner))
    wide = reshaped(wide, (inner, math.prod(after[k] for k in columns)))
    result: Tensor = reshaped(binary(_product, tall, wide), shape)
    return result


def _contracted(before: Shape, after: Shape, axes: Any) -> tuple[Shape, Shape]:
    """Return the axes of each operand over which a product is summed."""
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(len(before), len(after)):
            msg = f"tensordot: axes {shown(axes)} is out of range for shapes {before} and {after}"
            raise ValueError(msg)
        return tuple(range(len(before) - int(axes), len(before))), tuple(range(int(axes)))
    pair = check_items("tensordot", "axes", axes, "an int or a pair of sequences of ints")
    if len(pair) != 2:
        msg = f"tensordot: axes must be an int or a pair for {before} and {after}, got {len(pair)}"
        raise ValueError(msg)
    chosen = [
        tuple(
            normalize_axis("tensordot", k, shape)
            for k in check_items("tensordot", "axes", part, "a pair of sequences of ints")
        )
        for part, shape in zip(pair, (before, after), strict=True)
    ]
    if len(chosen[0]) != len(chosen[1]) or any(len(set(c)) < len(c) for c in chosen):
        msg = f"tensordot: axes {shown(axes)} must pair each once those of {before} and {after}"
        raise ValueError(msg)
    return chosen[0], chosen[1]


_VECDOT = """Parameters
----------
x1, x2 : Tensor or raw array, shape (..., K, ...)
    The other axes broadcast.
axis : int
    That of length K, counted from the end.

Returns
-------
Tensor, the common shape without that axis

Raises
------
ValueError
    If the axis is out of range, the sizes differ, or the shapes do not fit.
TypeError
    If an operand is no Tensor or raw array, or the axis no int."""


@registered("vecdot", "Return the inner products along an axis.", _VECDOT)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:  # ops-44
    left, right = as_tensor("vecdot", x1), as_tensor("vecdot", x2)
    shapes = (left.shape, right.shape)
    for shape in shapes:
        normalize_axis("vecdot", axis, shape)
    if axis >= 0:
        msg = f"vecdot: axis {shown(axis)} must be negative for shapes {shapes[0]} and {shapes[1]}"
        raise ValueError(msg)
    sizes = [(*s[:axis], *s[len(s) + axis + 1 :]) for s in shapes]
    try:
        np.broadcast_shapes(*sizes)
    except ValueError:
        sizes = []
    if not sizes or shapes[0][axis] != shapes[1][axis]:
        msg = f"vecdot: shapes {shapes[0]} and {shapes[1]} do not fit along axis {axis}"
        raise ValueError(msg)
    if left.dtype.kind == "c":
        left = unary(RULES["conj"], left)
    row, column = _last(left, axis), _last(right, axis)
    row = reshaped(row, (*row.shape[:-1], 1, row.shape[-1]))
    column = reshaped(column, (*column.shape, 1))
    whole = record(_product, (row, column))
    result: Tensor = reshaped(whole, whole.shape[:-2])
    return result


def _last(x: Tensor, axis: int) -> Any:
    """Return x with an axis, counted from the end, put last."""
    place = x.ndim + axis
    order = (*[k for k in range(x.ndim) if k != place], place)
    return unary(RULES["permute_dims"], x, (order,))


_CROSS = """Parameters
----------
x1, x2 : Tensor or raw array of numbers, shape (..., 3, ...)
    The other axes broadcast.
axis : int
    That of length 3, counted from the end.

Returns
-------
Tensor, the common shape

Raises
------
ValueError
    If the axis is not negative or out of range, a length is not 3, or the shapes do not fit.
TypeError
    If an operand is no Tensor or raw array, or of bool."""


@registered("cross", "Return the vector products along an axis.", _CROSS, extension="linalg")
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:  # linalg-21
    left, right = as_tensor("cross", x1), as_tensor("cross", x2)
    shapes = (left.shape, right.shape)
    for x in (left, right):
        if x.dtype == bool_:
            msg = "cross: wants numbers, got bool; cast with astype first"
            raise TypeError(msg)
        normalize_axis("cross", axis, x.shape)
    if axis >= 0 or any(shape[axis] != 3 for shape in shapes):
        both = f"{shapes[0]} and {shapes[1]}"
        msg = f"cross: axis {shown(axis)} must be negative, and of length 3 in {both}"
        raise ValueError(msg)
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        msg = f"cross: shapes {shapes[0]} and {shapes[1]} do not broadcast"
        raise ValueError(msg) from None
    ahead, behind = np.array([1, 2, 0]), np.array([2, 0, 1])
    a, b = ((slice(None),) * (x.ndim + axis) for x in (left, right))
    result: Tensor = (
        left[(*a, ahead)] * right[(*b, behind)] - left[(*a, behind)] * right[(*b, ahead)]
    )
    return result


_OUTER = """Parameters
----------
x1, x2 : Tensor or raw array, shapes (M,) and (N,)

Returns
-------
Tensor, shape (M, N)

Raises
------
ValueError
    If an operand has another number of axes than one.
TypeError
    If an operand is no Tensor or raw array."""


@registered("outer", "Return the product of every pair of elements.", _OUTER, extension="linalg")
def outer(x1: Any, x2: Any, /) -> Tensor:  # linalg-21
    left, right = as_tensor("outer", x1), as_tensor("outer", x2)
    if left.ndim != 1 or right.ndim != 1:
        msg = f"outer: wants one axis each, got shapes {left.shape} and {right.shape}"
        raise ValueError(msg)
    result: Tensor = binary(RULES["multiply"], reshaped(left, (-1, 1)), right)
    return result


_DIAGONAL = """Parameters
----------
x : Tensor or raw array, shape (..., M, N)
offset : int
    Above the main diagonal, or below it.{more}

Returns
-------
Tensor, {result}

Raises
------
ValueError
    If there are fewer than two axes.
TypeError
    If x is no Tensor or raw array, or the offset no int."""


@registered(
    "diagonal",
    "Return the diagonals of matrices.",
    _DIAGONAL.format(more="", result="shape (..., K), K being as many elements as there are"),
    extension="linalg",
)
def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:  # linalg-21
    return _on_a_diagonal("diagonal", x, offset)


def _on_a_diagonal(name: str, x: Any, offset: int) -> Tensor:
    x = as_tensor(name, x)
    if x.ndim < 2:
        msg = f"{name}: wants at least two axes, got shape {x.shape}"
        raise ValueError(msg)
    if isinstance(offset, (bool, np.bool)) or not isinstance(offset, (int, np.integer)):
        msg = f"{name}: offset must be an int, got {shown(offset)}"
        raise TypeError(msg)
    rows, columns = x.shape[-2:]
    offset = max(-rows, min(int(offset), columns))
    start = (max(-offset, 0), max(offset, 0))
    count = min(rows - start[0], columns - start[1])
    index = np.arange(count)
    result: Tensor = x[(..., start[0] + index, start[1] + index)]
    return result


@registered(
    "trace",
    "Return the sums of the diagonals of matrices.",
    _DIAGONAL.format(
        more="\ndtype : dtype, optional\n    Cast to it first; without it as in `sum`.",
        result="shape (...)",
    ),
    extension="linalg",
)
def trace(x: Any, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:  # linalg-21
    diagonals = cast_first("trace", _on_a_diagonal("trace", x, offset), dtype)
    result: Tensor = REGISTRY["sum"](diagonals, axis=-1, dtype=diagonals.dtype)
    return result


def matrices(name: str, x: Any, *, square: bool = False) -> Tensor:
    """Return one matrix or a stack of them as a Tensor (linalg-04, linalg-06).

    Raises
    ------
    ValueError
        If there are fewer than two axes, or `square` is wanted and is not there.
    TypeError
        If x is no array, or of integers or booleans.
    """
    x = as_tensor(name, x)
    shape = x._data.shape
    if x.dtype.kind not in "fc":
        msg = f"{name}: wants floating or complex matrices, got {x.dtype}; cast with astype first"
        raise TypeError(msg)
    if len(shape) < 2 or (square and shape[-1] != shape[-2]):
        wanted = "square matrices" if square else "at least two axes"
        msg = f"{name}: wants {wanted}, got shape {shape}"
        raise ValueError(msg)
    return x


def on_tape(x: Tensor) -> bool:
    """Tell whether an operation on this Tensor is recorded."""
    return x._node is not None and bool(MODE.recording)


def conjugate(x: Value) -> Value:
    """Return the conjugate of a raw array or Tensor; real numbers as they are."""
    return RULES["conj"](x) if x.dtype.kind == "c" else x


def adjoint(x: Value) -> Value:
    """Return the conjugate transposes of matrices."""
    return conjugate(x.mT)


def real_part(x: Value) -> Value:
    """Return the real part of a raw array or Tensor."""
    return RULES["real"](x) if x.dtype.kind == "c" else x


def selected(where: Array, x: Value, otherwise: Value | None = None) -> Value:
    """Return x where a raw condition holds, else 0 or something else."""
    other = np.zeros((), x.dtype) if otherwise is None else otherwise
    return RULES["where"](x, other, where)


def set_apart(x: Array, lower: bool = False) -> tuple[Array, Array | None]:
    """Put identities in the place of matrices that are not finite (linalg-10).

    Returns
    -------
    array
        With `lower`, the upper triangle does not count.
    array of bool or None
        Which matrices of the stack these are; None for none.
    """
    wrong = ~np.isfinite(np.tril(x) if lower else x).all(axis=(-2, -1))
    if not every(wrong).any():
        return x, None
    if is_batched(x):
        eye = np.eye(*x.shape[-2:], dtype=x.dtype)
        each: Any = wrong
        return np.where(each[..., None, None], eye, x), each
    safe = np.array(x)
    safe[wrong] = np.eye(*x.shape[-2:], dtype=x.dtype)
    return safe, asarray(wrong)


def singular(x: Array) -> Array:
    """Tell of which matrices elimination meets a pivot that is 0 (linalg-09)."""
    return asarray(np.linalg.slogdet(x).sign == 0)


def _quotient(a: Array, b: Array, strict: bool) -> Array:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        pass
    # A matrix of NaN may have a pivot that is 0 and is not singular for that (linalg-10).
    finite = np.isfinite(a).all(axis=(-2, -1))
    wrong = singular(a)
    if strict and (wrong & finite).any():
        raise ValueError(no_inverse(wrong & finite))
    result = np.linalg.solve(
        np.where(wrong[..., None, None], np.eye(a.shape[-1], dtype=a.dtype), a), b
    )
    result[np.broadcast_to(wrong, result.shape[:-2])] = np.nan
    return result


def no_inverse(wrong: Array) -> str:
    """Return a message that names the first singular matrix of a stack."""
    index = tuple(int(k) for k in np.argwhere(wrong)[0])
    return f"the matrix {index} of the stack is singular" if index else "the matrix is singular"


def _quotient_vjp(grad: Value, needs: Parents, a: Value, b: None, out: Value) -> Grads:
    right = quotient(a.mT, grad)  # linalg-18
    return (None if needs[0] is None else -(right @ out.mT), right)


def quotients(name: str, strict: bool) -> Primitive:
    """Return the operation a^-1 b on stacks of matrices.

    With `strict` a singular matrix is refused; otherwise its result is NaN.
    """

    def why(a: Array, b: Array) -> str | None:
        finite = np.isfinite(a).all(axis=(-2, -1))
        wrong = singular(a) & finite
        return no_inverse(wrong) if wrong.any() else None

    return Primitive(
        name,
        lambda a, b: _quotient(a, b, strict),
        _quotient_vjp,
        ((0, OUT), (0,)),
        stacks=True,
        explain=why,
    )


# For rules of derivatives: other matrices of a stack have theirs beside a singular one.
quotient = quotients("solve", strict=False)
