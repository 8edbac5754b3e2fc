"""Linear equations, inverses, determinants and norms of matrices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.batched import asarray, every
from impl_numpy.checks import as_number, check_flag, shown
from impl_numpy.dtypes import PART, Array, Value
from impl_numpy.ops.decompositions import singular_values
from impl_numpy.ops.families import REGISTRY, registered, reshaped
from impl_numpy.ops.products import (
    adjoint,
    conjugate,
    matmul,
    matrices,
    no_inverse,
    quotients,
    real_part,
    selected,
    set_apart,
    singular,
)
from impl_numpy.recording import OUT, Grads, Primitive, raw, record, unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor, wrap

# Matrices whose smallest singular value is less than so many times the largest, the size and the
# epsilon have their determinant differentiated without an inverse.
_SINGULAR = 8


class SlogdetResult(NamedTuple):
    """What `slogdet` gives."""

    sign: Tensor
    logabsdet: Tensor


_FRAME = """Parameters
----------
{parameters}

Returns
-------
{result}

Raises
------
ValueError
    If x has fewer than two axes{reason}.
TypeError
    If an operand is no array, or of integers or booleans."""

_SQUARE = "x : Tensor or raw array, floating or complex, shape (..., M, M)"
_ANY = "x : Tensor or raw array, floating or complex, shape (..., M, N)"
_NO_SQUARE = ", or is not square"

_solution = quotients("solve", strict=True)


@registered(
    "solve",
    "Return the X with x1 X = x2.",
    _FRAME.format(
        parameters="x1 : Tensor or raw array, floating or complex, shape (..., M, M)\n"
        "x2 : Tensor or raw array, shape (M,), a vector, or (..., M, K)\n"
        "    The stacks broadcast.",
        result="Tensor, shape (..., M), or (..., M, K)",
        reason=", x1 is not square\n    or singular, or the shapes do not fit",
    ),
    extension="linalg",
)
def solve(x1: Any, x2: Any, /) -> Tensor:  # linalg-06, linalg-18
    left, right = matrices("solve", x1, square=True), as_tensor("solve", x2)
    if right.dtype.kind not in "fc":
        msg = f"solve: wants floating or complex arrays, got {right.dtype}; cast with astype first"
        raise TypeError(msg)
    shapes = (left.shape, right.shape)
    vector = right.ndim == 1
    fits = right.ndim > 0 and shapes[1][0 if vector else -2] == shapes[0][-1]
    try:
        np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    except ValueError:
        fits = False
    if not fits:
        msg = f"solve: shapes {shapes[0]} and {shapes[1]} do not fit"
        raise ValueError(msg)
    if not vector:
        result: Tensor = record(_solution, (left, right))
        return result
    result = record(_solution, (left, reshaped(right, (-1, 1))))
    return reshaped(result, shapes[0][:-1])


def _inverse(x: Array) -> Array:
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        safe, unknown = set_apart(x)
        wrong = singular(safe)
        if wrong.any():
            raise ValueError(no_inverse(wrong)) from None  # linalg-09
        result = np.linalg.inv(safe)
        result[unknown] = np.nan
        return result


def _inverse_vjp(grad: Value, needs: Parents, x: None, out: Value) -> Grads:
    return (-(out.mT @ grad @ out.mT),)  # linalg-18


def _refused(x: Array) -> str | None:
    wrong = singular(set_apart(x)[0])
    return no_inverse(wrong) if wrong.any() else None


def _inverses(name: str) -> Primitive:
    return Primitive(name, _inverse, _inverse_vjp, ((OUT,),), explain=_refused)


_inv, _power_inv = _inverses("inv"), _inverses("matrix_power")


@registered(
    "inv",
    "Return the inverse of matrices.",
    _FRAME.format(
        parameters=_SQUARE,
        result="Tensor, shape (..., M, M)",
        reason=_NO_SQUARE + ", or a\n    matrix is singular",
    ),
    extension="linalg",
)
def inv(x: Any, /) -> Tensor:
    result: Tensor = unary(_inv, matrices("inv", x, square=True))
    return result


@registered(
    "matrix_power",
    "Return the n-th power of matrices.",
    _FRAME.format(
        parameters=f"{_SQUARE}\nn : int\n    A negative one takes the inverse.",
        result="Tensor, shape (..., M, M)",
        reason=_NO_SQUARE + ", or n is\n    negative and a matrix singular",
    ),
    extension="linalg",
)
def matrix_power(x: Any, n: int, /) -> Tensor:  # linalg-18
    x = matrices("matrix_power", x, square=True)
    if isinstance(n, (bool, np.bool)) or not isinstance(n, (int, np.integer)):
        msg = f"matrix_power: n must be an int, got {shown(n)}"
        raise TypeError(msg)
    if n == 0:
        one = np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape)
        return selected(np.zeros((), bool), x, one)
    square: Tensor = unary(_power_inv, x) if n < 0 else x
    result: Tensor | None = None
    bits = abs(int(n))
    while bits:
        if bits & 1:
            result = square if result is None else matmul(result, square)
        bits >>= 1
        square = matmul(square, square) if bits else square
    assert result is not None
    return result


def _rtol(name: str, rtol: Any, x: Tensor) -> Any:
    """Return below what part of the largest a singular value counts as 0 (linalg-19)."""
    if rtol is None:
        return max(x.shape[-2:]) * np.finfo(x.dtype).eps
    number = as_number(rtol)
    values = as_tensor(name, rtol)._data if number is None else np.asarray(number)
    if values.dtype.kind not in "iuf":
        msg = f"{name}: rtol must be a real number or an array of such, got {shown(rtol)}"
        raise TypeError(msg)
    try:
        fits = np.broadcast_shapes(values.shape, x.shape[:-2]) == x.shape[:-2]
    except ValueError:
        fits = False
    if not fits:
        msg = f"{name}: rtol of shape {values.shape} must broadcast to the stack {x.shape[:-2]}"
        raise ValueError(msg)
    return values.astype(PART.get(x.dtype, x.dtype))


def _pseudoinverse(x: Array, rtol: Any) -> Array:
    safe, wrong = set_apart(x)
    result = np.linalg.pinv(safe, rtol=rtol)
    if wrong is not None:
        result[wrong] = np.nan
    return result.astype(x.dtype, copy=False)


def _pseudoinverse_vjp(grad: Value, needs: Parents, x: Value, out: Value, rtol: Any) -> Grads:
    g, p = conjugate(grad), out  # linalg-19
    ph, gh = adjoint(p), adjoint(g)
    left = gh - x @ (p @ gh)
    right = gh - (gh @ p) @ x
    result = left @ p @ ph + ph @ p @ right - ph @ g @ ph
    return (conjugate(result),)


_pinv = Primitive("pinv", _pseudoinverse, _pseudoinverse_vjp, ((0, OUT),))

_RTOL = """\nrtol : number or array of real numbers, shape that broadcasts with (...), optional
    Singular values of at most so many times the largest count as 0; left out, max(M, N) eps."""


@registered(
    "pinv",
    "Return the pseudo-inverse of matrices.",
    _FRAME.format(
        parameters=_ANY + _RTOL,
        result="Tensor, shape (..., N, M)",
        reason=", or rtol does not fit",
    ),
    extension="linalg",
)
def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    x = matrices("pinv", x)
    result: Tensor = unary(_pinv, x, (_rtol("pinv", rtol, x),))
    return result


@registered(
    "matrix_rank",
    "Return the number of singular values that do not count as 0.",
    _FRAME.format(
        parameters=_ANY + _RTOL,
        result="Tensor of int64, shape (...)",
        reason=", or rtol does not fit",
    ),
    extension="linalg",
)
def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    x = matrices("matrix_rank", x)
    least = _rtol("matrix_rank", rtol, x)
    values = np.linalg.svd(set_apart(x._data)[0], compute_uv=False)
    largest = values.max(axis=-1, initial=0)
    counted = (values > (largest * least)[..., None]).sum(axis=-1, dtype=np.int64)
    return wrap(asarray(counted), None)


def _cofactors(x: Array) -> Array:
    """Return the matrix of cofactors, which divides by nothing (linalg-17)."""
    u, s, vh = np.linalg.svd(x)
    others = np.ones_like(s)
    for k in range(s.shape[-1]):
        others[..., k] = np.delete(s, k, axis=-1).prod(axis=-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    whole = (u * others[..., None, :]) @ vh
    return asarray(sign[..., None, None] * whole.conj())


def _det_vjp(grad: Value, needs: Parents, x: Value, out: Value) -> Grads:
    fixed, _ = set_apart(raw(x))
    values = np.linalg.svd(fixed, compute_uv=False)
    n = fixed.shape[-1]
    if not n:
        return (x * grad[..., None, None],)
    least = _SINGULAR * n * np.finfo(fixed.dtype).eps
    near = asarray(values[..., -1] <= least * values[..., 0])[..., None, None]
    safe = selected(~near, x, np.eye(n, dtype=fixed.dtype))
    result = _inv(safe).mT * out[..., None, None]
    if every(near).any():
        result = selected(~near, result, _cofactors(fixed))
    return (grad[..., None, None] * result,)


def _determinant(x: Array) -> Array:
    # A pivot that is 0 ends the elimination, and makes 0 of what holds a NaN (linalg-10).
    unknown = np.isnan(x).any(axis=(-2, -1))
    return np.where(unknown, np.nan, np.linalg.det(x)).astype(x.dtype)


_det = Primitive("det", _determinant, _det_vjp, ((0, OUT),))


@registered(
    "det",
    "Return the determinant of matrices.",
    _FRAME.format(parameters=_SQUARE, result="Tensor, shape (...)", reason=_NO_SQUARE),
    extension="linalg",
)
def det(x: Any, /) -> Tensor:
    result: Tensor = unary(_det, matrices("det", x, square=True))
    return result


def _slogdet(x: Array) -> Array:
    sign, size = np.linalg.slogdet(x)
    unknown = np.isnan(x).any(axis=(-2, -1))
    return np.stack([np.where(unknown, np.nan, v).astype(x.dtype) for v in (sign, size)], axis=-1)


def _slogdet_vjp(grad: Value, needs: Parents, x: Value, out: Value) -> Grads:
    grad = conjugate(grad)  # linalg-17
    n = raw(x).shape[-1]
    fixed, _ = set_apart(raw(x))
    none = singular(fixed)[..., None, None]
    safe = selected(~none, x, np.eye(n, dtype=fixed.dtype))
    sign, size = grad[..., 0], real_part(grad[..., 1])
    factor = size
    if fixed.dtype.kind == "c":
        turned = conjugate(out[..., 0]) * sign
        factor = size + (turned - conjugate(turned)) / 2
    result = factor[..., None, None] * selected(~none, adjoint(_inv(safe)))
    return (conjugate(result),)


_signs = Primitive("slogdet", _slogdet, _slogdet_vjp, ((0, OUT),))


@registered(
    "slogdet",
    "Return the sign, and the logarithm of the magnitude, of the determinant of matrices.",
    _FRAME.format(
        parameters=_SQUARE,
        result="SlogdetResult of sign and logabsdet, real, shapes (...)",
        reason=_NO_SQUARE,
    ),
    extension="linalg",
)
def slogdet(x: Any, /) -> SlogdetResult:
    both = unary(_signs, matrices("slogdet", x, square=True))
    return SlogdetResult(both[..., 0], real_part(both[..., 1]))


_ORDERS = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


@registered(
    "matrix_norm",
    "Return a norm of matrices.",
    _FRAME.format(
        parameters=f"{_ANY}\nkeepdims : bool\n    Keep the two axes, with length 1.\n"
        "ord : one of 'fro', 'nuc', 1, -1, 2, -2, inf, -inf\n"
        "    Frobenius; the sum of the singular values; the largest or smallest sum of magnitudes\n"
        "    of a column, singular value, sum of a row.",
        result="Tensor, real, shape (...)",
        reason=", or `ord` is another",
    ),
    extension="linalg",
)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:  # linalg-20
    x = matrices("matrix_norm", x)
    keepdims = check_flag("matrix_norm", "keepdims", keepdims)
    order = _order(ord)
    stack = x.shape[:-2]
    if not math.prod(x.shape[-2:]):
        if order in (-1, -2, -math.inf):
            msg = f"matrix_norm: ord {shown(ord)} wants an element, got shape {x.shape}"
            raise ValueError(msg)
        result = reshaped(REGISTRY["sum"](REGISTRY["abs"](x), axis=(-2, -1)), stack)
    else:
        # Where a matrix is 0 its gradient is.
        some = (x._data != 0).any(axis=(-2, -1), keepdims=True)
        result = _norm(x if every(some).all() else selected(some, x), order)
    return reshaped(result, (*stack, 1, 1)) if keepdims else result


def _order(order: Any) -> Any:
    if order is None:
        return "fro"
    if isinstance(order, str):
        known = order in ("fro", "nuc")
    else:
        number = as_number(order)
        known = number is not None and not isinstance(number, bool) and number in _ORDERS[2:]
    if not known:
        wanted = ", ".join(map(str, _ORDERS))
        msg = f"matrix_norm: ord must be one of {wanted}, got {shown(order)}"
        raise ValueError(msg)
    return order


def _norm(x: Tensor, order: Any) -> Tensor:
    if order == "fro":
        return REGISTRY["norm"](x, axis=(-2, -1))
    if order in ("nuc", 2, -2):
        values = singular_values("matrix_norm", x)
        if order == "nuc":
            return REGISTRY["sum"](values, axis=-1)
    else:
        inner = -2 if abs(order) == 1 else -1
        values = REGISTRY["sum"](REGISTRY["abs"](x), axis=inner)
    best: Tensor = REGISTRY["max" if order > 0 else "min"](values, axis=-1)
    return best
