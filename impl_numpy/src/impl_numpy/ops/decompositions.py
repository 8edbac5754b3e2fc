"""Matrices as products of factors, their eigenvalues and singular values.

A decomposition is one operation whose result holds all its factors, flattened and joined; the
Tensors that a program gets are parts of it. So its derivative sees the gradients of all of them.

The rules are written for gradients dL/da + i dL/db, in which the papers and the specification have
them, and `conventional` turns those of the tape round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.batched import asarray
from impl_numpy.checks import check_choice, check_flag
from impl_numpy.dtypes import PART, WHOLE, Array, Shape, Value
from impl_numpy.ops.families import registered
from impl_numpy.ops.products import (
    adjoint,
    conjugate,
    matrices,
    on_tape,
    quotient,
    real_part,
    selected,
    set_apart,
)
from impl_numpy.recording import OUT, Grads, Primitive, raw, unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, wrap

# Numbers that differ by less than so many times the largest, the size and the epsilon are equal.
_EQUAL = 8


class EighResult(NamedTuple):
    """What `eigh` and `eig` give."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """What `qr` gives."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """What `svd` gives."""

    U: Tensor
    S: Tensor
    Vh: Tensor


_FRAME = """Parameters
----------
x : Tensor or raw array, floating or complex, shape (..., {sizes})
    A matrix or a stack of them.{more}

Returns
-------
{result}

Raises
------
ValueError
    If x has fewer than two axes{reason}.
TypeError
    If x is no array, or of integers or booleans."""


def _frame(sizes: str, result: str, more: str = "", reason: str = "") -> str:
    return _FRAME.format(sizes=sizes, result=result, more=more, reason=reason)


_SQUARE = ", or is not square"


def _joined(stack: Shape, dtype: np.dtype[Any], wrong: Array | None, *parts: Array) -> Array:
    """Return the factors in one array, NaN where the matrix was not finite (linalg-10)."""
    n = len(stack)
    flat = [part.reshape(*stack, math.prod(part.shape[n:])) for part in parts]
    whole: Array = np.concatenate(flat, axis=-1, dtype=dtype)
    if wrong is not None:
        whole[wrong] = np.nan
    return whole


def _parts(whole: Value, *shapes: Shape) -> list[Value]:
    """Return the factors of these shapes that were joined."""
    stack, parts, start = whole.shape[:-1], [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        parts.append(whole[..., start:stop].reshape((*stack, *shape)))
        start = stop
    return parts


def conventional(vjp: Callable[..., Value]) -> Callable[..., Grads]:
    """Turn a rule of one operand into one of the tape, whose gradients are conjugated."""

    def turned(grad: Value, needs: Parents, x: Value, out: Value, *config: Any) -> Grads:
        return (conjugate(vjp(conjugate(grad), x, out, *config)),)

    return turned


def _diagonal(values: Value, n: int) -> Value:
    """Return diagonal matrices."""
    return selected(np.eye(n, dtype=bool), values[..., None, :])


def _on_diagonal(x: Value) -> Value:
    """Return the real parts of the diagonals."""
    return selected(np.eye(*x.shape[-2:], dtype=bool), real_part(x)).sum(axis=-1)


def _hermitian(x: Value) -> Value:
    return (x + adjoint(x)) / 2


def _inverse(x: Value, zero: Array) -> Value:
    """Return 1 / x, and 0 where `zero` says so (linalg-16)."""
    one = np.ones((), x.dtype)
    return selected(~zero, one / selected(~zero, x, one))


def _small(values: Array, n: int, of: Array | None = None) -> Array:
    """Return which values count as 0 beside the largest of `of` (linalg-16)."""
    of = np.abs(values if of is None else of)
    largest = of.max(axis=tuple(range(of.ndim))[-1:], keepdims=True, initial=0)
    least = _EQUAL * n * np.finfo(values.dtype).eps * largest
    return asarray(np.abs(values) <= least.reshape(*least.shape, *[1] * (values.ndim - of.ndim)))


def _gauge(vectors: Array) -> Array:
    """Turn columns in place: their first largest component is positive; return by what factors."""
    if not vectors.size:
        return np.ones((*vectors.shape[:-2], 1, vectors.shape[-1]), vectors.dtype)
    place = np.abs(vectors).argmax(axis=-2, keepdims=True)
    largest = np.take_along_axis(vectors, place, -2)
    size = np.abs(largest)
    phase = np.where(size > 0, largest.conj() / np.where(size > 0, size, 1), 1)
    phase = phase.astype(vectors.dtype)
    vectors *= phase
    np.put_along_axis(vectors, place, size.astype(vectors.dtype), -2)
    return phase


def _cholesky(x: Array) -> Array:
    safe, wrong = set_apart(x, lower=True)
    try:
        factor = np.linalg.cholesky(safe)
    except np.linalg.LinAlgError:
        raise ValueError(_indefinite(safe)) from None
    if wrong is not None:
        factor[wrong] = np.tril(np.full(x.shape[-2:], np.nan, x.dtype))
    return factor


def _indefinite(x: Array) -> str | None:
    """Return a message that names the first matrix that is not positive definite (linalg-09)."""
    for index in np.ndindex(x.shape[:-2]):
        try:
            np.linalg.cholesky(x[index])
        except np.linalg.LinAlgError:
            which = f" {index} of the stack" if index else ""
            return f"the matrix{which} is not positive definite"
    return None


@conventional
def _cholesky_vjp(grad: Value, x: None, out: Value) -> Value:  # linalg-11
    n = out.shape[-1]
    product = adjoint(out) @ grad
    half = selected(np.tri(n, k=-1, dtype=bool), product) + _diagonal(_on_diagonal(product) / 2, n)
    left = quotient(adjoint(out), half)
    return _hermitian(adjoint(quotient(adjoint(out), adjoint(left))))


_factor = Primitive(
    "cholesky",
    _cholesky,
    _cholesky_vjp,
    ((OUT,),),
    explain=lambda x: _indefinite(set_apart(x, lower=True)[0]),
)


@registered(
    "cholesky",
    "Return the triangular L with x = L L^H, or U = L^H; the lower triangle of x is read.",
    _frame(
        "M, M",
        "Tensor, shape (..., M, M)",
        "\nupper : bool\n    Return U.",
        _SQUARE + ", or a\n    matrix is not positive definite",
    ),
    extension="linalg",
)
def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:  # linalg-11
    x = matrices("cholesky", x, square=True)
    upper = check_flag("cholesky", "upper", upper)
    result = unary(_factor, x)
    return adjoint(result) if upper else result


def _qr(x: Array, mode: str) -> Array:
    q, r = np.linalg.qr(x, mode)  # type: ignore[call-overload]
    k = min(x.shape[-2:])
    if k:
        diagonal = np.diagonal(r, axis1=-2, axis2=-1)
        size = np.abs(diagonal)
        phase = np.where(size > 0, diagonal.conj() / np.where(size > 0, size, 1), 1)
        phase = np.where(np.isnan(size), 1, phase).astype(x.dtype)
        r[..., :k, :] *= phase[..., :, None]
        q[..., :, :k] *= phase.conj()[..., None, :]
        index = np.arange(k)
        r[..., index, index] = size
    return _joined(x.shape[:-2], x.dtype, None, q, r)


def _qr_shapes(shape: Shape, mode: str) -> tuple[Shape, Shape]:
    rows, columns = shape[-2:]
    inner = rows if mode == "complete" else min(rows, columns)
    return (rows, inner), (inner, columns)


@conventional
def _qr_vjp(grad: Value, x: None, out: Value, shape: Shape, mode: str) -> Value:  # linalg-12
    shapes = _qr_shapes(shape, mode)
    rows, columns = shape[-2:]
    if shapes[0][1] > columns:
        msg = (
            "qr: the last columns of Q with mode 'complete' are no function of x, so there is no "
            "gradient; use mode 'reduced'"
        )
        raise RuntimeError(msg)
    (q, r), (grad_q, grad_r) = _parts(out, *shapes), _parts(grad, *shapes)
    if rows >= columns:
        return _tall_qr_vjp(q, r, grad_q, grad_r)
    rest = grad_r[..., rows:]
    grad_q = grad_q + q @ (r[..., rows:] @ adjoint(rest))
    first = _tall_qr_vjp(q, r[..., :rows], grad_q, grad_r[..., :rows])
    # Side by side, as sums of products, which raw arrays and Tensors have alike.
    place = np.eye(columns, dtype=raw(q).dtype)
    return first @ place[:rows] + (q @ rest) @ place[rows:]


def _tall_qr_vjp(q: Value, r: Value, grad_q: Value, grad_r: Value) -> Value:
    n = r.shape[-1]
    w = r @ adjoint(grad_r) - adjoint(grad_q) @ q
    below = selected(np.tri(n, k=-1, dtype=bool), w)
    whole = below + adjoint(below) + _diagonal(_on_diagonal(w), n)
    return adjoint(quotient(r, adjoint(grad_q + q @ whole)))


_factors_qr = Primitive("qr", lambda x, shape, mode: _qr(x, mode), _qr_vjp, ((OUT,),))


@registered(
    "qr",
    "Return the Q with orthonormal columns and the triangular R, of real diagonal >= 0: x = Q R.",
    _frame(
        "M, N",
        "QRResult of Q, shape (..., M, K), and R, shape (..., K, N)",
        "\nmode : 'reduced' or 'complete'\n    K is the smaller of M and N, or M.",
        ", or the mode is another word",
    ),
    extension="linalg",
)
def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:  # linalg-12
    x = matrices("qr", x)
    check_choice("qr", "mode", mode, ("reduced", "complete"))
    whole = unary(_factors_qr, x, (x.shape, mode))
    return QRResult(*_parts(whole, *_qr_shapes(x.shape, mode)))


def _eigh(x: Array) -> Array:
    safe, wrong = set_apart(x, lower=True)
    values, vectors = np.linalg.eigh(safe)
    _gauge(vectors)
    return _joined(x.shape[:-2], x.dtype, wrong, values, vectors)


def _between(values: Value, n: int) -> Value:
    """Return 1 / (w_j - w_i), and 0 where they are equal (linalg-16)."""
    differences = values[..., None, :] - values[..., :, None]
    return _inverse(differences, _small(raw(differences), n, raw(values)))


@conventional
def _eigh_vjp(grad: Value, x: None, out: Value, n: int) -> Value:  # linalg-13
    (values, vectors), (grad_values, grad_vectors) = (_parts(v, (n,), (n, n)) for v in (out, grad))
    turned = _between(real_part(values), n) * (adjoint(vectors) @ grad_vectors)
    inner = turned + _diagonal(real_part(grad_values), n)
    return _hermitian(vectors @ inner @ adjoint(vectors))


_spectrum, _spectrum_alone = (
    Primitive(name, lambda x, n: _eigh(x), _eigh_vjp, ((OUT,),)) for name in ("eigh", "eigvalsh")
)


@registered(
    "eigh",
    "Return the eigenvalues, ascending, and eigenvectors of Hermitian matrices.",
    _frame(
        "M, M",
        "EighResult of eigenvalues, real, shape (..., M), and eigenvectors, in columns, shape\n"
        "(..., M, M), whose first largest component is positive",
        "\n    The lower triangle is read.",
        _SQUARE,
    ),
    extension="linalg",
)
def eigh(x: Any, /) -> EighResult:  # linalg-13
    x = matrices("eigh", x, square=True)
    n = x.shape[-1]
    values, vectors = _parts(unary(_spectrum, x, (n,)), (n,), (n, n))
    return EighResult(real_part(values), vectors)


@registered(
    "eigvalsh",
    "Return the eigenvalues, ascending, of Hermitian matrices, whose lower triangle is read.",
    _frame("M, M", "Tensor, real, shape (..., M)", reason=_SQUARE),
    extension="linalg",
)
def eigvalsh(x: Any, /) -> Tensor:  # linalg-13
    x = matrices("eigvalsh", x, square=True)
    n = x.shape[-1]
    if not on_tape(x):
        safe, wrong = set_apart(x._data, lower=True)
        return _plain(np.linalg.eigvalsh(safe), wrong)
    result: Tensor = real_part(_parts(unary(_spectrum_alone, x, (n,)), (n,))[0])
    return result


def _plain(values: Array, wrong: Array | None) -> Tensor:
    if wrong is not None:
        values[wrong] = np.nan
    return wrap(values, None)


def _eig(x: Array, n: int) -> Array:
    safe, wrong = set_apart(x)
    dtype = WHOLE[x.dtype]
    values, vectors = (v.astype(dtype) for v in np.linalg.eig(safe))
    order = np.lexsort((values.imag, values.real), axis=-1)
    values = np.take_along_axis(values, order, -1)
    vectors = np.take_along_axis(vectors, order[..., None, :], -1)
    if n:
        vectors /= np.linalg.norm(vectors, axis=-2, keepdims=True)
    _gauge(vectors)
    return _joined(x.shape[:-2], dtype, wrong, values, vectors)


def _eig_vjp(grad: Value, needs: Parents, x: None, out: Value, n: int, real: bool) -> Grads:
    grad = conjugate(grad)  # linalg-15
    (values, v), (grad_values, grad_v) = (_parts(part, (n,), (n, n)) for part in (out, grad))
    factors = conjugate(_between(values, n))
    gram = adjoint(v) @ grad_v
    inner = factors * (gram - (adjoint(v) @ v) * _on_diagonal(gram)[..., None, :])
    inner = inner + _diagonal(grad_values, n)
    result = quotient(adjoint(v), inner @ adjoint(v))
    return (real_part(result) if real else conjugate(result),)


_general = Primitive("eig", lambda x, n, real: _eig(x, n), _eig_vjp, ((OUT,),))
_general_values = Primitive("eigvals", lambda x, n, real: _eig(x, n), _eig_vjp, ((OUT,),))


@registered(
    "eig",
    "Return the eigenvalues, in order of real and then imaginary parts, and eigenvectors.",
    _frame(
        "M, M",
        "EighResult of eigenvalues, complex, shape (..., M), and eigenvectors, of length 1, in\n"
        "columns, shape (..., M, M), whose first largest component is real and positive",
        reason=_SQUARE,
    ),
    extension="linalg",
)
def eig(x: Any, /) -> EighResult:  # linalg-15
    x = matrices("eig", x, square=True)
    n = x.shape[-1]
    whole = unary(_general, x, (n, x.dtype in PART.values()))
    return EighResult(*_parts(whole, (n,), (n, n)))


@registered(
    "eigvals",
    "Return the eigenvalues, in order of real and then imaginary parts.",
    _frame("M, M", "Tensor, complex, shape (..., M)", reason=_SQUARE),
    extension="linalg",
)
def eigvals(x: Any, /) -> Tensor:  # linalg-15
    x = matrices("eigvals", x, square=True)
    n = x.shape[-1]
    result: Tensor = _parts(unary(_general_values, x, (n, x.dtype in PART.values())), (n,))[0]
    return result


def _svd_shapes(shape: Shape, full: bool) -> tuple[Shape, Shape, Shape]:
    rows, columns = shape[-2:]
    k = min(rows, columns)
    return (rows, rows if full else k), (k,), (columns if full else k, columns)


def _svd(x: Array, shape: Shape, full: bool) -> Array:
    safe, wrong = set_apart(x)
    u, s, vh = np.linalg.svd(safe, full_matrices=full)
    k = s.shape[-1]
    phase = _gauge(u[..., :k])
    vh[..., :k, :] *= phase.conj().swapaxes(-1, -2)
    return _joined(x.shape[:-2], x.dtype, wrong, u, s, vh)


@conventional
def _svd_vjp(grad: Value, x: None, out: Value, shape: Shape, full: bool) -> Value:  # linalg-14
    shapes = _svd_shapes(shape, full)
    (rows, columns), k = shape[-2:], min(shape[-2:])
    (u, s, vh), (grad_u, grad_s, grad_vh) = _parts(out, *shapes), _parts(grad, *shapes)
    v, grad_v = adjoint(vh), adjoint(grad_vh)
    u, grad_u = _first_columns(u, grad_u, k)
    v, grad_v = _first_columns(v, grad_v, k)
    s = real_part(s)
    fixed = raw(s)
    sums = s[..., None, :] + s[..., :, None]
    n = max(rows, columns)
    apart, across = _between(s, n), _inverse(sums, _small(raw(sums), n, fixed))
    p, q = adjoint(u) @ grad_u, adjoint(v) @ grad_v
    even, odd = apart * (p + q), across * (p - q)
    inner = (even + adjoint(even) + odd - adjoint(odd)) / 2
    result = u @ (inner + _diagonal(real_part(grad_s), k)) @ adjoint(v)
    scale = _inverse(s, _small(fixed, n))[..., None, :]
    if rows > k:
        result = result + ((grad_u - u @ p) * scale) @ adjoint(v)
    if columns > k:
        result = result + (u * scale) @ adjoint(grad_v - v @ q)
    return result


def _first_columns(x: Value, grad: Value, k: int) -> tuple[Value, Value]:
    """Return the first k columns and their gradient, that of the further ones included."""
    if x.shape[-1] == k:
        return x, grad
    first, further = x[..., :k], x[..., k:]
    return first, grad[..., :k] - further @ (adjoint(grad[..., k:]) @ first)


_singular = Primitive("svd", _svd, _svd_vjp, ((OUT,),))
_singular_values = Primitive("svdvals", _svd, _svd_vjp, ((OUT,),))


@registered(
    "svd",
    "Return the singular vectors and values, descending: x = U diag(S) Vh.",
    _frame(
        "M, N",
        "SVDResult of U, shape (..., M, M), S, real, shape (..., K), and Vh, shape (..., N, N), K\n"
        "being the smaller of M and N; the first largest component of the columns of U is positive",
        "\nfull_matrices : bool\n    If false, U has K columns and Vh K rows.",
    ),
    extension="linalg",
)
def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:  # linalg-14
    x = matrices("svd", x)
    full = check_flag("svd", "full_matrices", full_matrices)
    u, s, vh = _parts(unary(_singular, x, (x.shape, full)), *_svd_shapes(x.shape, full))
    return SVDResult(u, real_part(s), vh)


@registered(
    "svdvals",
    "Return the singular values, descending.",
    _frame("M, N", "Tensor, real, shape (..., K), K being the smaller of M and N"),
    extension="linalg",
)
def svdvals(x: Any, /) -> Tensor:  # linalg-14
    return singular_values("svdvals", x)


def singular_values(name: str, x: Any) -> Tensor:
    """Return the singular values for the function of this name."""
    x = matrices(name, x)
    if not on_tape(x):
        safe, wrong = set_apart(x._data)
        return _plain(np.linalg.svd(safe, compute_uv=False), wrong)
    whole = unary(_singular_values, x, (x.shape, False))
    result: Tensor = real_part(_parts(whole, *_svd_shapes(x.shape, False))[1])
    return result
