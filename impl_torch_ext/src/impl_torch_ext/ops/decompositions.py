"""Matrices as products of factors, with the gauges and derivatives of the chapter linalg.

Values are torch's (LAPACK's). Derivatives are written out where torch's are not those of the
specification: they divide by the distance of equal eigenvalues, or know of another gauge. Each
backward is made of operations that have derivatives, on outputs that torch ties to the graph.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import check_choice, check_flag, check_tensor
from impl_torch_ext.ops.families import matrix
from impl_torch_ext.tracing import anywhere, numbers

__all__ = ["cholesky", "eig", "eigh", "eigvals", "eigvalsh", "qr", "svd", "svdvals"]

Grad: TypeAlias = Tensor | None


class Eigen(NamedTuple):
    """What `eigh` and `eig` return."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QR(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def matrices(name: str, x: Any, square: bool = False, argument: str = "x") -> Tensor:
    """Return a matrix or stack of them, or raise (linalg-04, linalg-06)."""
    x = check_tensor(name, x, argument)
    if not (x.is_floating_point() or x.is_complex()):
        msg = f"{name}: {argument} must be floating or complex, got {x.dtype}"
        raise TypeError(msg)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        wanted = "be square matrices" if square else "have at least two axes"
        msg = f"{name}: {argument} must {wanted}, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return x


def set_apart(x: Tensor, lower: bool = False) -> tuple[Tensor, Tensor | None]:
    """Return `x` with identities for matrices that are not finite, and which these are.

    With `lower` only the lower triangle counts. LAPACK stops at such a matrix, and with it the
    whole stack would (linalg-10).
    """
    read = x.detach()
    wrong = ~torch.isfinite(read.tril() if lower else read).flatten(-2).all(-1)
    if not anywhere(wrong):
        return x, None
    one = torch.eye(*x.shape[-2:], dtype=x.dtype)
    return torch.where(wrong[..., None, None], one, x), wrong


def unknown(wrong: Tensor | None, *results: Tensor) -> tuple[Tensor, ...]:
    """Return the results with NaN where the matrix was set apart."""
    if wrong is None:
        return results
    depth = wrong.ndim
    return tuple(
        torch.where(wrong.reshape((*wrong.shape, *[1] * (x.ndim - depth))), torch.nan, x)
        for x in results
    )


def first(wrong: Tensor) -> str:
    """Return the index of the first matrix of a stack that is wrong, for a message."""
    index = tuple(np.argwhere(numbers(wrong))[0].tolist())
    return f"the matrix {index} of the stack" if index else "the matrix"


def refuse(name: str, info: Tensor, x: Tensor, what: str, lower: bool = False) -> Tensor | None:
    """Raise a ValueError for matrices that LAPACK refused; return which are but not finite."""
    if not anywhere(info):
        return None
    read = x.detach()
    finite = torch.isfinite(read.tril() if lower else read).flatten(-2).all(-1)
    refused = (info != 0) & finite
    if anywhere(refused):
        msg = f"{name}: {first(refused)} is {what}"  # linalg-09
        raise ValueError(msg)
    return ~finite


def _hermitian(x: Tensor) -> Tensor:
    return (x + x.mH) / 2


def _real(x: Tensor) -> Tensor:
    return x.real if x.is_complex() else x


def _inverse(x: Tensor, zero: Tensor) -> Tensor:
    """Return 1 / x, but 0 where `zero` says so, with a derivative that is 0 there too."""
    return torch.where(zero, 0, 1 / torch.where(zero, 1, x))


def _near(x: Tensor, size: int, largest: Tensor) -> Tensor:
    """Return where numbers are 0 within rounding beside the largest (linalg-16)."""
    return x.detach().abs() <= 8 * size * torch.finfo(x.dtype).eps * largest


def _largest(values: Tensor) -> Tensor:
    if not values.shape[-1]:
        return values.detach().abs().sum(-1, keepdim=True)
    return values.detach().abs().amax(-1, keepdim=True)


def _apart(values: Tensor, size: int) -> Tensor:
    """Return 1 / (w_j - w_i), 0 where the two are equal (linalg-16)."""
    differences = values.unsqueeze(-2) - values.unsqueeze(-1)
    return _inverse(differences, _near(differences, size, _largest(values).unsqueeze(-1)))


def _turn(x: Tensor) -> Tensor:
    """Return conj(x) / abs(x), and 1 where x is 0."""
    size = x.abs()
    return torch.where(size > 0, x.conj() / torch.where(size > 0, size, 1), 1).to(x.dtype)


def _turned(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return columns whose first largest component is real and positive, and by what factors."""
    if not vectors.numel():
        return vectors, vectors.new_ones((*vectors.shape[:-2], 1, vectors.shape[-1]))
    place = vectors.abs().argmax(-2, keepdim=True)
    largest = vectors.gather(-2, place)
    phases = _turn(largest)
    # Rounding leaves nothing beside the real part.
    turned = (vectors * phases).scatter(-2, place, largest.abs().to(vectors.dtype))
    return turned, phases


def _plus(*terms: Tensor | None) -> Tensor:
    """Return the sum of those terms that there are."""
    there = [term for term in terms if term is not None]
    total = there[0]
    for term in there[1:]:
        total = total + term
    return total


class _Decomposition(torch.autograd.Function):
    """What these Functions share: outputs are saved, and vmap runs them on the whole batch."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        outputs = output if isinstance(output, tuple) else (output,)
        ctx.save_for_backward(*outputs)
        ctx.set_materialize_grads(False)


class _Cholesky(_Decomposition):
    """The lower triangular L with x = L L^H (linalg-11)."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        factor, info = torch.linalg.cholesky_ex(x)
        wrong = refuse("cholesky", info, x, "not positive definite", lower=True)
        return factor.tril() if wrong is None else unknown(wrong, factor)[0].tril()

    @staticmethod
    def backward(ctx: Any, grad: Grad) -> Grad:
        if grad is None:
            return None
        (factor,) = ctx.saved_tensors
        product = factor.mH @ grad
        half = torch.diag_embed(_real(product).diagonal(dim1=-2, dim2=-1)) / 2
        inner = product.tril(-1) + half
        left = torch.linalg.solve_triangular(factor.mH, inner, upper=True)
        whole = torch.linalg.solve_triangular(factor, left, upper=False, left=False)
        return _hermitian(whole)


@matrix(
    "Tensor, shape (..., M, M)",
    ", or a matrix is not positive definite",
    x="Tensor, floating or complex, shape (..., M, M)\nIts lower triangle is read.",
    upper="bool\nWhether to return U = L^H.",
)
def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """Return the triangular L, of positive diagonal, with x = L L^H."""
    upper = check_flag("cholesky", "upper", upper)
    factor: Tensor = _Cholesky.apply(matrices("cholesky", x, square=True))
    return factor.mH.resolve_conj() if upper else factor


class _QR(_Decomposition):
    """Q and R with x = Q R and a diagonal of R that is real and not negative (linalg-12)."""

    @staticmethod
    def forward(x: Tensor, mode: str) -> tuple[Tensor, Tensor]:
        q, r = torch.linalg.qr(x, mode)
        size = min(x.shape[-2:])
        diagonal = r.diagonal(dim1=-2, dim2=-1)
        turns = _turn(diagonal)
        r = torch.cat([r[..., :size, :] * turns.unsqueeze(-1), r[..., size:, :]], -2).triu()
        q = torch.cat([q[..., :size] * turns.conj().unsqueeze(-2), q[..., size:]], -1)
        # Rounding leaves nothing beside the real part.
        on = torch.eye(*r.shape[-2:], dtype=torch.bool)
        return q, torch.where(on, r.abs(), r).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _Decomposition.setup_context(ctx, inputs, output)
        ctx.shape, ctx.mode = inputs[0].shape[-2:], inputs[1]

    @staticmethod
    def backward(ctx: Any, grad_q: Grad, grad_r: Grad) -> tuple[Grad, None]:
        rows, columns = ctx.shape
        if ctx.mode == "complete" and rows > columns:
            msg = (
                "qr: the last columns of Q in mode 'complete' are no function of x and have no "
                "gradient; use mode 'reduced'"
            )
            raise RuntimeError(msg)
        q, r = ctx.saved_tensors
        if grad_q is None and grad_r is None:
            return None, None
        grad_q = torch.zeros_like(q) if grad_q is None else grad_q
        grad_r = torch.zeros_like(r) if grad_r is None else grad_r
        if rows >= columns:
            return _tall(q, r, grad_q, grad_r), None
        behind = grad_r[..., rows:]
        grad_q = grad_q + q @ r[..., rows:] @ behind.mH
        head = _tall(q, r[..., :rows], grad_q, grad_r[..., :rows])
        return torch.cat([head, q @ behind], -1), None


def _tall(q: Tensor, r: Tensor, grad_q: Tensor, grad_r: Tensor) -> Tensor:
    inner = r @ grad_r.mH - grad_q.mH @ q
    below = inner.tril(-1)
    diagonal = torch.diag_embed(_real(inner).diagonal(dim1=-2, dim2=-1))
    whole = grad_q + q @ (below + below.mH + diagonal)
    return torch.linalg.solve_triangular(r.mH, whole, upper=False, left=False)


@matrix(
    "QR, of Q, shape (..., M, K), and R, shape (..., K, N)",
    ", or the mode is another word",
    x="Tensor, floating or complex, shape (..., M, N)",
    mode="'reduced' or 'complete'\nWhether K is the smaller of M and N, or M.",
)
def qr(x: Tensor, /, *, mode: str = "reduced") -> QR:
    """Return Q, of orthonormal columns, and R, triangular with a diagonal >= 0: x = Q R."""
    check_choice("reduced", "complete")("qr", "mode", mode)
    return QR(*_QR.apply(matrices("qr", x), mode))


class _Eigh(_Decomposition):
    """Eigenvalues and eigenvectors of Hermitian matrices (linalg-13)."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        safe, wrong = set_apart(x, lower=True)
        values, vectors = torch.linalg.eigh(safe)
        return unknown(wrong, values, _turned(vectors)[0])

    @staticmethod
    def backward(ctx: Any, grad_values: Grad, grad_vectors: Grad) -> Grad:
        values, vectors = ctx.saved_tensors
        if grad_values is None and grad_vectors is None:
            return None
        inner = None if grad_values is None else torch.diag_embed(grad_values).to(vectors.dtype)
        if grad_vectors is not None:
            inner = _plus(inner, _apart(values, values.shape[-1]) * (vectors.mH @ grad_vectors))
        return _hermitian(vectors @ inner @ vectors.mH)


@matrix(
    "Eigen, of eigenvalues, real, shape (..., M), and eigenvectors, shape (..., M, M)",
    x="Tensor, floating or complex, shape (..., M, M)\nIts lower triangle is read.",
)
def eigh(x: Tensor, /) -> Eigen:
    """Return the eigenvalues of Hermitian matrices, ascending, and eigenvectors, in columns."""
    return Eigen(*_Eigh.apply(matrices("eigh", x, square=True)))


@matrix(
    "Tensor, real, shape (..., M)",
    x="Tensor, floating or complex, shape (..., M, M)\nIts lower triangle is read.",
)
def eigvalsh(x: Tensor, /) -> Tensor:
    """Return the eigenvalues of Hermitian matrices, ascending."""
    x = matrices("eigvalsh", x, square=True)
    if x.requires_grad and torch.is_grad_enabled():
        values: Tensor = _Eigh.apply(x)[0]
        return values
    safe, wrong = set_apart(x, lower=True)
    return unknown(wrong, torch.linalg.eigvalsh(safe))[0]


class _Eig(_Decomposition):
    """Eigenvalues, by real and then imaginary parts, and eigenvectors (linalg-15)."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        safe, wrong = set_apart(x)
        values, vectors = torch.linalg.eig(safe)
        order = values.imag.argsort(dim=-1, stable=True)
        order = order.gather(-1, values.real.gather(-1, order).argsort(dim=-1, stable=True))
        values = values.gather(-1, order)
        vectors = vectors.gather(-1, order.unsqueeze(-2).expand(vectors.shape))
        vectors = vectors / torch.linalg.vector_norm(vectors, dim=-2, keepdim=True)
        return unknown(wrong, values, _turned(vectors)[0])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _Decomposition.setup_context(ctx, inputs, output)
        ctx.real = not inputs[0].is_complex()

    @staticmethod
    def backward(ctx: Any, grad_values: Grad, grad_vectors: Grad) -> Grad:
        values, vectors = ctx.saved_tensors
        if grad_values is None and grad_vectors is None:
            return None
        inner = None if grad_values is None else torch.diag_embed(grad_values)
        if grad_vectors is not None:
            gram = vectors.mH @ grad_vectors
            along = _real(gram).diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
            factors = _apart(values, values.shape[-1]).conj()
            inner = _plus(inner, factors * (gram - vectors.mH @ vectors * along))
        result, _ = torch.linalg.solve_ex(vectors.mH, inner @ vectors.mH)
        return _real(result) if ctx.real else result


@matrix(
    "Eigen, of eigenvalues, complex, shape (..., M), and eigenvectors, shape (..., M, M)",
    x="Tensor, floating or complex, shape (..., M, M)",
)
def eig(x: Tensor, /) -> Eigen:
    """Return the eigenvalues, by real and then imaginary parts, and eigenvectors of length 1."""
    return Eigen(*_Eig.apply(matrices("eig", x, square=True)))


@matrix("Tensor, complex, shape (..., M)", x="Tensor, floating or complex, shape (..., M, M)")
def eigvals(x: Tensor, /) -> Tensor:
    """Return the eigenvalues, by real and then imaginary parts."""
    values: Tensor = _Eig.apply(matrices("eigvals", x, square=True))[0]
    return values


class _SVD(_Decomposition):
    """Singular vectors and values (linalg-14)."""

    @staticmethod
    def forward(x: Tensor, full: bool) -> tuple[Tensor, Tensor, Tensor]:
        safe, wrong = set_apart(x)
        u, s, vh = torch.linalg.svd(safe, full_matrices=full)
        k = s.shape[-1]
        head, phases = _turned(u[..., :k])
        u = torch.cat([head, u[..., k:]], -1)
        vh = torch.cat([vh[..., :k, :] * phases.mH, vh[..., k:, :]], -2)
        return unknown(wrong, u, s, vh)

    @staticmethod
    def backward(ctx: Any, grad_u: Grad, grad_s: Grad, grad_vh: Grad) -> tuple[Grad, None]:
        u, s, vh = ctx.saved_tensors
        if grad_u is None and grad_s is None and grad_vh is None:
            return None, None
        k, (rows, columns) = s.shape[-1], (u.shape[-2], vh.shape[-1])
        v = vh.mH
        inner = None if grad_s is None else torch.diag_embed(grad_s).to(u.dtype)
        u, grad_u = _heads(u, grad_u, k)
        v, grad_v = _heads(v, None if grad_vh is None else grad_vh.mH, k)
        terms: list[Tensor] = []
        if grad_u is not None or grad_v is not None:
            size = max(rows, columns)
            sums = s.unsqueeze(-2) + s.unsqueeze(-1)
            largest = _largest(s)
            across = _inverse(sums, _near(sums, size, largest.unsqueeze(-1)))
            scale = _inverse(s, _near(s, size, largest)).unsqueeze(-2)
            p = torch.zeros_like(v[..., :k, :]) if grad_u is None else u.mH @ grad_u
            q = torch.zeros_like(u[..., :k, :]) if grad_v is None else v.mH @ grad_v
            even, odd = _apart(s, size) * (p + q), across * (p - q)
            inner = _plus(inner, (even + even.mH + odd - odd.mH) / 2)
            if grad_u is not None and rows > k:
                terms.append(((grad_u - u @ p) * scale) @ v.mH)
            if grad_v is not None and columns > k:
                terms.append((u * scale) @ (grad_v - v @ q).mH)
        return _plus(u @ inner @ v.mH, *terms), None


def _heads(x: Tensor, grad: Grad, k: int) -> tuple[Tensor, Grad]:
    """Return the first k columns and their gradient, which that of the further ones moves."""
    if x.shape[-1] == k:
        return x, grad
    head, further = x[..., :k], x[..., k:]
    if grad is None:
        return head, None
    return head, grad[..., :k] - further @ (grad[..., k:].mH @ head)


@matrix(
    "SVD, of U, shape (..., M, M), S, real, shape (..., K), and Vh, shape (..., N, N)",
    x="Tensor, floating or complex, shape (..., M, N)",
    full_matrices="bool\nIf false, U has K columns and Vh K rows, K the smaller of M and N.",
)
def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVD:
    """Return singular vectors and values, descending: x = U diag(S) Vh."""
    full = check_flag("svd", "full_matrices", full_matrices)
    return SVD(*_SVD.apply(matrices("svd", x), full))


@matrix("Tensor, real, shape (..., K)", x="Tensor, floating or complex, shape (..., M, N)")
def svdvals(x: Tensor, /) -> Tensor:
    """Return the singular values, descending, the smaller of M and N of them."""
    return singular_values(matrices("svdvals", x))


def singular_values(x: Tensor) -> Tensor:
    """Return the singular values of what is known to be matrices."""
    if x.requires_grad and torch.is_grad_enabled():
        values: Tensor = _SVD.apply(x, False)[1]
        return values
    safe, wrong = set_apart(x)
    return unknown(wrong, torch.linalg.svdvals(safe))[0]
