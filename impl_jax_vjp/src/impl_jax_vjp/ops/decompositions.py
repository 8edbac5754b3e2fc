"""Matrices as products of simpler ones: `cholesky`, `qr`, `svd`, and eigenvalues."""

from typing import Any, NamedTuple

import jax
import numpy as np

from ..checks import check_choice, check_flag, refuse, shown
from ..dtypes import is_inexact
from ..recording import Primitive, as_operand, dtype_of, shape_of
from ..tape import unwrap
from . import factors
from .families import STANDARD, listed

_MATRIX = "x : Tensor or raw array, shape (..., M, {n}), floating or complex"
SQUARE, ANY = _MATRIX.format(n="M"), _MATRIX.format(n="N")
NO_MATRIX = (
    "ValueError\n    If `x` has fewer than two axes{or_}.\n"
    "TypeError\n    If `x` is no array, or of integers or booleans."
)
NOT_SQUARE = NO_MATRIX.format(or_=" or is not square")
FEW_AXES = NO_MATRIX.format(or_="")
_HERMITIAN = SQUARE + ".\n    Only the lower triangle is read."


class Eigh(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class Eig(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


class QR(NamedTuple):
    """What `qr` returns."""

    Q: Any
    R: Any


class SVD(NamedTuple):
    """What `svd` returns."""

    U: Any
    S: Any
    Vh: Any


def as_matrix(name: str, x: Any, square: bool = False, argument: str = "x") -> Any:
    """Return a Tensor or a raw array of matrices.

    Raises
    ------
    TypeError
        If it is neither, or of integers or booleans.
    ValueError
        If it has fewer than two axes, or is to be `square` and is not.
    """
    x = as_operand(name, x)
    dtype, shape = dtype_of(x), shape_of(x)
    if not is_inexact(dtype):  # linalg-04
        msg = f"{name}: {argument} must be floating or complex, got dtype {dtype}"
        raise TypeError(msg)
    if len(shape) < 2:
        refuse(name, argument, "of at least two axes", f"shape {shape}")
    if square and shape[-1] != shape[-2]:
        refuse(name, argument, "of square matrices", f"shape {shape}")
    return x


def check_matrices(name: str, flags: Any, wanted: str, fault: str) -> None:
    """Raise `ValueError` that names the first matrix with a flag, where values are known."""
    array = unwrap(flags)
    if isinstance(array, jax.core.Tracer):
        return
    places = np.argwhere(np.asarray(array))
    if len(places):
        index = tuple(places[0].tolist())
        which = f"the matrix at {index}" if index else "one"
        refuse(name, "x", wanted, f"{which} that is {fault}")


def _lower(upper: bool, x: Any) -> Any:
    hermitian = factors.triangle(x)
    factor = factors.cholesky(hermitian)
    diagonal = factors.across(factor)
    bad = (diagonal != diagonal).any(-1) & factors.finite(hermitian)
    return (factors.adjoint(factor) if upper else factor), bad


def _reduced(x: Any) -> Any:
    return factors.qr(x)


def _complete(x: Any) -> Any:
    return factors.complete(x)


def _singular(full: bool, x: Any) -> Any:
    return factors.svd(full, x)


_cholesky = Primitive(_lower, "cholesky")
_qr, _qr_complete = Primitive(_reduced, "qr"), Primitive(_complete, "qr")
_svd = Primitive(_singular, "svd")
_svdvals = Primitive(factors.svdvals, "svdvals")
_eigh = Primitive(lambda x: factors.eigh(factors.triangle(x)), "eigh")
_eigvalsh = Primitive(lambda x: factors.eigh(factors.triangle(x))[0], "eigvalsh")
_eig = Primitive(factors.eig, "eig")
_eigvals = Primitive(lambda x: factors.eig(x)[0], "eigvals")


@listed(
    _HERMITIAN + "\nupper : bool\n    Whether the adjoint of the factor is returned.",
    "shape of x, a triangle with a positive diagonal",
    "ValueError\n    If a matrix is not positive definite, where values are known; under `jit`\n"
    "    its factor is NaN.\n" + NOT_SQUARE,
    f"{STANDARD}; the derivative is that of Murray 2016",
    space="linalg",
)
def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """Return L of ``x = L L^H``."""
    x = as_matrix("cholesky", x, square=True)
    factor, bad = _cholesky((x,), check_flag("cholesky", "upper", upper))
    check_matrices("cholesky", bad, "positive definite", "not positive definite")
    return factor


@listed(
    ANY + "\nmode : {'reduced', 'complete'}\n    How many columns Q has, the smaller size or M.",
    "Q of shape (..., M, K) and R of shape (..., K, N),\n    whose diagonal is not negative",
    "ValueError\n    If `mode` is none of the two.\n"
    "RuntimeError\n    In backward, if there are columns in 'complete' that x does not tell.\n"
    + FEW_AXES,
    f"{STANDARD}; the derivative is that of Walter and Lehmann 2018",
    kind="named tuple of Tensors, ",
    space="linalg",
)
def qr(x: Any, /, *, mode: str = "reduced") -> Any:
    """Return orthonormal columns and an upper triangle whose product is x."""
    x = as_matrix("qr", x)
    if not isinstance(mode, str):
        refuse("qr", "mode", "one of reduced, complete", shown(mode))
    check_choice("qr", "mode", mode, ("reduced", "complete"))
    m, n = shape_of(x)[-2:]
    return QR(*(_qr_complete if mode == "complete" and m > n else _qr)((x,)))


@listed(
    _HERMITIAN,
    "eigenvalues of shape (..., M), real, ascending,\n"
    "    and eigenvectors of shape (..., M, M), in columns of length 1 whose first component of\n"
    "    largest magnitude is positive",
    NOT_SQUARE,
    f"{STANDARD}; the derivative is that of Giles 2008",
    kind="named tuple of Tensors, ",
    space="linalg",
)
def eigh(x: Any, /) -> Any:
    """Return the eigenvalues and eigenvectors of Hermitian matrices."""
    return Eigh(*_eigh((as_matrix("eigh", x, square=True),)))


@listed(_HERMITIAN, "shape (..., M), real, ascending", NOT_SQUARE, space="linalg")
def eigvalsh(x: Any, /) -> Any:
    """Return the eigenvalues of Hermitian matrices."""
    return _eigvalsh((as_matrix("eigvalsh", x, square=True),))


@listed(
    ANY + "\nfull_matrices : bool\n    Whether U and Vh are square; else they have K = min(M, N)\n"
    "    columns and rows.",
    "U, the singular values S of shape (..., K),\n    descending, and Vh; of each of the first K "
    "columns of U the first component of largest\n    magnitude is positive",
    FEW_AXES,
    f"{STANDARD}; the derivative is that of Townsend 2016, and of Wan and Zhang 2019",
    kind="named tuple of Tensors, ",
    space="linalg",
)
def svd(x: Any, /, *, full_matrices: bool = True) -> Any:
    """Return the singular value decomposition ``x = U diag(S) Vh``."""
    x = as_matrix("svd", x)
    return SVD(*_svd((x,), check_flag("svd", "full_matrices", full_matrices)))


@listed(ANY, "shape (..., min(M, N)), real, descending", FEW_AXES, space="linalg")
def svdvals(x: Any, /) -> Any:
    """Return the singular values."""
    return _svdvals((as_matrix("svdvals", x),))


@listed(
    SQUARE,
    "eigenvalues of shape (..., M), complex, ascending by\n"
    "    their real and then their imaginary parts, and eigenvectors in the gauge of `eigh`",
    NOT_SQUARE,
    f"{STANDARD}; the derivative is that of Boeddeker et al. 2017",
    kind="named tuple of Tensors, ",
    space="linalg",
)
def eig(x: Any, /) -> Any:
    """Return the eigenvalues and eigenvectors of square matrices, complex both."""
    return Eig(*_eig((as_matrix("eig", x, square=True),)))


@listed(SQUARE, "shape (..., M), complex, in the order of `eig`", NOT_SQUARE, space="linalg")
def eigvals(x: Any, /) -> Any:
    """Return the eigenvalues of square matrices."""
    return _eigvals((as_matrix("eigvals", x, square=True),))
