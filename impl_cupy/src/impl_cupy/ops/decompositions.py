"""Factors and singular values of matrices, with their gradients (chapter linalg).

CuPy computes them with cuSOLVER: single matrices by `potrf geqrf gesvd`, stacks by `potrfBatched`,
by Jacobi's method (`gesvdjBatched`, up to 32 rows and columns), or one after the other.

Rules are written on what the operation gave, so that a recorded way back has it as Tensors with
their history, and every further derivative is one of these rules again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from impl_cupy.backend import cp
from impl_cupy.checks import check_choice, check_flag
from impl_cupy.dtypes import parts_of
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import written_in
from impl_cupy.ops.matrices import (
    Known,
    adjoint,
    apart,
    as_matrix,
    chain,
    finite_ones,
    guarded,
    inverse_where,
    lower_ones,
    on_diagonal,
    phase,
    phases_of,
    raw_of,
    record_several,
    refusing,
    solve_either,
    symmetrized,
    tolerance,
)
from impl_cupy.recording import is_wanted, record
from impl_cupy.tape import handles
from impl_cupy.tensor import Tensor


class QRResult(NamedTuple):
    """Of `qr`."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """Of `svd`."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@written_in("linalg")
def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """Return the triangular factor of positive definite matrices, ``x = L L^H`` or ``U^H U``.

    Only the lower triangle is read, and the gradient is Hermitian (Murray 2016, "Differentiation of
    the Cholesky decomposition").

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)
    upper : bool
        Whether to return U, not L.

    Returns
    -------
    Tensor, shape (*, M, M)
        With a real positive diagonal.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix, or one is not positive definite; this waits for the device.
    """
    value = as_matrix("cholesky", x, square=True)
    upper = check_flag("cholesky", "upper", upper)
    made = _factored(value._data)
    lower = record("cholesky", Known(made), _cholesky, (value,), keep_output=True)
    return adjoint(handles, lower) if upper else lower


def _factored(raw: RawArray) -> RawArray:
    if not raw.size:
        return cp.zeros(raw.shape, dtype=raw.dtype)
    finite = finite_ones(raw, True)
    safe = cp.where(finite, lower_ones(raw), cp.eye(raw.shape[-1], dtype=raw.dtype))
    cholesky_of = cp.linalg.cholesky
    wrong = "not positive definite"
    factor = refusing("cholesky", wrong, lambda: cholesky_of(safe), safe, cholesky_of)
    nan = cp.tril(cp.full(raw.shape[-2:], cp.nan, dtype=raw.dtype))
    return cp.where(finite, factor, nan)


def _half_lower(xp: Any, x: Any) -> Any:
    """Return the lower triangle with half of the diagonal."""
    return (xp.tril(x) + xp.tril(x, k=-1)) * 0.5


def _cholesky(node: Any, grad: Any) -> tuple[Any]:
    xp, lower = node.xp, node.output
    turned = adjoint(xp, lower)
    inner = _half_lower(xp, xp.matmul(turned, xp.tril(grad)))
    # L^-H P L^-1 is the adjoint of L^-H (L^-H P)^H.
    left = solve_either(turned, inner)
    return (symmetrized(xp, adjoint(xp, solve_either(turned, adjoint(xp, left)))),)


@written_in("linalg")
def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """Return orthonormal columns and an upper triangle, ``x = Q R``.

    The diagonal of R is real and not negative. Gradients are those of Walter and Lehmann 2018,
    "Algorithmic differentiation of linear algebra functions with application in optimum
    experimental design", and of Roberts and Roberts 2020, "QR and LQ decomposition matrix
    backpropagation algorithms for square, wide, and deep - real or complex - matrices and their
    software implementation".

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)
    mode : str
        ``"reduced"`` or ``"complete"``; of the latter there is no gradient where M > N.

    Returns
    -------
    Q : Tensor, shape (*, M, K), or (*, M, M) if complete
        K is the smaller one of M and N.
    R : Tensor, shape (*, K, N), or (*, M, N) if complete

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no matrix, or `mode` neither of the two.
    """
    value = as_matrix("qr", x)
    check_choice("qr", "mode", mode, ("reduced", "complete"))
    rows, columns = value.shape[-2:]
    rule = _no_qr if mode == "complete" and rows > columns else _qr
    return QRResult(*record_several("qr", lambda raw: _qr_of(raw, mode), rule, value))


def _qr_of(raw: RawArray, mode: str) -> tuple[RawArray, ...]:
    *stack, rows, columns = raw.shape
    width = min(rows, columns) if mode == "reduced" else rows
    if not raw.size:
        q = cp.zeros((*stack, rows, width), dtype=raw.dtype) + cp.eye(rows, width, dtype=raw.dtype)
        return q, cp.zeros((*stack, width, columns), dtype=raw.dtype)

    def positive(safe: RawArray) -> tuple[RawArray, RawArray]:
        q, r = cp.linalg.qr(safe, mode)
        count = min(rows, columns)
        diagonal = cp.diagonal(r, axis1=-2, axis2=-1)
        phases = cp.ones((*stack, width), dtype=raw.dtype)
        phases[..., :count] = phase(diagonal)
        r = r * cp.conj(phases)[..., None]
        on_it = cp.eye(width, columns, dtype=bool)
        # Real, whatever rounding says.
        return q * phases[..., None, :], cp.where(on_it, cp.abs(r).astype(raw.dtype), r)

    return guarded(positive, raw)


def _no_qr(node: Any, grads: Sequence[Any]) -> Any:
    del node, grads
    msg = (
        "qr: mode 'complete' has no gradient where there are more rows than columns, for the last "
        "columns of Q are not a function of x; use mode 'reduced'"
    )
    raise RuntimeError(msg)


def _qr(node: Any, grads: Sequence[Any]) -> Any:
    xp, (q, r) = node.xp, node.results
    to_q, to_r = grads
    rows, columns = q.shape[-2], r.shape[-1]
    if to_q is None:
        to_q = xp.zeros_like(q)
    if to_r is None:
        to_r = xp.zeros_like(r)
    if rows >= columns:
        return _tall_qr(xp, q, r, to_q, to_r)
    # x is [X Y]: R is [R_1 Q^H Y].
    others, to_others = r[..., rows:], to_r[..., rows:]
    to_q = to_q + chain(xp, q, others, adjoint(xp, to_others))
    first = _tall_qr(xp, q, r[..., :rows], to_q, to_r[..., :rows])
    return xp.concat([first, xp.matmul(q, to_others)], axis=-1)


def _tall_qr(xp: Any, q: Any, r: Any, to_q: Any, to_r: Any) -> Any:
    w = xp.matmul(r, adjoint(xp, to_r)) - xp.matmul(adjoint(xp, to_q), q)
    half = _half_lower(xp, w)
    whole = to_q + xp.matmul(q, half + adjoint(xp, half))
    return adjoint(xp, solve_either(r, adjoint(xp, whole)))


@written_in("linalg")
def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """Return singular values and vectors, ``x = U diag(S) Vh``.

    Gradients are those of Townsend 2016, "Differentiating the singular value decomposition", and of
    Wan and Zhang 2019, "Automatic differentiation for complex valued SVD"; those of equal singular
    values, and of 0, are right for what depends on their spaces alone.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)
    full_matrices : bool
        Whether U and Vh are square; the further vectors are some orthonormal basis of what is left.

    Returns
    -------
    U : Tensor, shape (*, M, M) or (*, M, K)
        K is the smaller one of M and N. The first component of largest magnitude of each of the
        first K columns is real and positive.
    S : Tensor, shape (*, K)
        Real and descending.
    Vh : Tensor, shape (*, N, N) or (*, K, N)

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no matrix.
    """
    value = as_matrix("svd", x)
    return _svd("svd", value, check_flag("svd", "full_matrices", full_matrices))


def _svd(name: str, value: Any, full: bool) -> SVDResult:
    return SVDResult(*record_several(name, lambda raw: singular(raw, full), _svd_back, value))


def singular(raw: RawArray, full: bool) -> tuple[RawArray, ...]:
    """Return U, S and Vh of raw matrices, in their gauge."""
    *stack, rows, columns = raw.shape
    count = min(rows, columns)
    if not raw.size:
        left, right = (rows, columns) if full else (count, count)
        u = cp.zeros((*stack, rows, left), dtype=raw.dtype) + cp.eye(rows, left, dtype=raw.dtype)
        vh = cp.eye(right, columns, dtype=raw.dtype) + cp.zeros((*stack, right, columns), raw.dtype)
        return u, cp.zeros((*stack, count), dtype=parts_of(raw.dtype)), vh

    def in_gauge(safe: RawArray) -> tuple[RawArray, ...]:
        u, s, vh = cp.linalg.svd(safe, full_matrices=full)
        u, vh = cp.ascontiguousarray(u), cp.ascontiguousarray(vh)
        phases = phases_of(u[..., :count])
        u[..., :count] *= cp.conj(phases)
        vh[..., :count, :] *= cp.matrix_transpose(phases)
        return u, s, vh

    return guarded(in_gauge, raw, (1,))


def _further(xp: Any, first: Any, further: Any, to_first: Any, to_further: Any) -> Any:
    """Add to the gradient of the first vectors what the basis of what is left has of them."""
    return to_first - chain(xp, further, adjoint(xp, to_further), first)


def _split_vectors(xp: Any, vectors: Any, grad: Any, count: int) -> tuple[Any, Any]:
    """Return the first columns and their gradient, with that of the further ones in it."""
    first = vectors if vectors.shape[-1] == count else vectors[..., :count]
    if grad is None:
        return first, None
    if vectors.shape[-1] == count:
        return first, grad
    further, to_further = vectors[..., count:], grad[..., count:]
    return first, _further(xp, first, further, grad[..., :count], to_further)


def _svd_back(node: Any, grads: Sequence[Any]) -> Any:
    xp, (u, s, vh) = node.xp, node.results
    to_u, to_s, to_vh = grads
    count, shape = s.shape[-1], (*s.shape[:-1], u.shape[-2], vh.shape[-1])
    if 0 in shape:
        return xp.zeros(shape, dtype=u.dtype)
    v, to_v = adjoint(xp, vh), None if to_vh is None else adjoint(xp, to_vh)
    u, to_u = _split_vectors(xp, u, to_u, count)
    v, to_v = _split_vectors(xp, v, to_v, count)
    turned = adjoint(xp, v)
    if to_u is None and to_v is None:
        return xp.matmul(u * xp.expand_dims(to_s, -2), turned)
    near = tolerance(raw_of(s), max(shape[-2:]))
    inner = _inner(xp, (u, s, v), (to_u, to_s, to_v), near)
    inverted = xp.expand_dims(inverse_where(xp, s, cp.logical_not(raw_of(s) <= near)), -2)
    out = chain(xp, u, inner, turned)
    if to_u is not None and shape[-2] > count:
        out = out + xp.matmul(_outside(xp, u, to_u * inverted), turned)
    if to_v is not None and shape[-1] > count:
        out = out + xp.matmul(u, adjoint(xp, _outside(xp, v, to_v * inverted)))
    return out


def _outside(xp: Any, vectors: Any, x: Any) -> Any:
    """Return what of the columns lies outside the space of the vectors."""
    return x - chain(xp, vectors, adjoint(xp, vectors), x)


def _inner(xp: Any, parts: Any, grads: Any, near: RawArray) -> Any:
    """Return the gradient to ``U^H dx V``: that of S, and what E and D make of those of U and V."""
    u, s, v = parts
    to_u, to_s, to_v = grads
    p = None if to_u is None else xp.matmul(adjoint(xp, u), to_u)
    q = None if to_v is None else xp.matmul(adjoint(xp, v), to_v)
    both = p if q is None else q if p is None else p + q
    difference = p if q is None else -q if p is None else p - q
    sums = xp.expand_dims(s, -2) + xp.expand_dims(s, -1)
    d = inverse_where(xp, sums, cp.logical_not(raw_of(sums) <= near[..., None]))
    skew = d * difference
    inner = symmetrized(xp, apart(xp, s, near) * both) + (skew - adjoint(xp, skew)) * 0.5
    return inner if to_s is None else inner + on_diagonal(xp, to_s)


@written_in("linalg")
def svdvals(x: Any, /) -> Tensor:
    """Return singular values.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)

    Returns
    -------
    Tensor, shape (*, K)
        K is the smaller one of M and N; real and descending.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no matrix.
    """
    return singular_values("svdvals", as_matrix("svdvals", x))


def singular_values(name: str, value: Any) -> Any:
    """Return the singular values of a Tensor; the vectors only where a gradient needs them."""
    if is_wanted((value,)):
        return _svd(name, value, False).S
    return record(name, values_alone, None, (value,))


def values_alone(raw: RawArray) -> RawArray:
    """Return the singular values of raw matrices."""
    if not raw.size:
        return singular(raw, False)[1]
    return guarded(lambda safe: (cp.linalg.svd(safe, compute_uv=False),), raw, (0,))[0]
