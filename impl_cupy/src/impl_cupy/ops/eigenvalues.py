"""Eigenvalues and eigenvectors of matrices, with their gradients (chapter linalg).

CuPy computes those of Hermitian matrices by `syevd`, of stacks by Jacobi's method (`syevjBatched`),
and those of other matrices one after the other by `geev`, which cuSOLVER has since 11.7.1. Where it
lacks that, `eig` and `eigvals` are computed on the host, by NumPy's LAPACK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.dtypes import complex64, parts_of
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import written_in
from impl_cupy.ops.matrices import (
    adjoint,
    apart,
    as_matrix,
    chain,
    guarded,
    lower_ones,
    on_diagonal,
    phases_of,
    raw_of,
    record_several,
    solve_either,
    symmetrized,
    tolerance,
)
from impl_cupy.recording import cast, is_wanted, record
from impl_cupy.tensor import Tensor


class EighResult(NamedTuple):
    """Of `eigh`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EigResult(NamedTuple):
    """Of `eig`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@written_in("linalg")
def eigh(x: Any, /) -> EighResult:
    """Return the eigenvalues and eigenvectors of Hermitian matrices, ``x = V diag(w) V^H``.

    Only the lower triangle is read, and the gradient is Hermitian (Giles 2008, "An extended
    collection of matrix derivative results for forward and reverse mode algorithmic
    differentiation"). That of equal eigenvalues is right for what depends on their space alone.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)

    Returns
    -------
    eigenvalues : Tensor, shape (*, M)
        Real and ascending.
    eigenvectors : Tensor, shape (*, M, M)
        In columns of length 1, whose first component of largest magnitude is real and positive.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix.
    """
    return _eigh("eigh", as_matrix("eigh", x, square=True))


def _eigh(name: str, value: Any) -> EighResult:
    return EighResult(*record_several(name, _hermitian, _eigh_back, value))


def _hermitian(raw: RawArray) -> tuple[RawArray, ...]:
    if not raw.size:
        return cp.zeros(raw.shape[:-1], dtype=parts_of(raw.dtype)), raw.copy()

    def in_gauge(safe: RawArray) -> tuple[RawArray, RawArray]:
        values, vectors = cp.linalg.eigh(lower_ones(safe))
        return values, vectors * cp.conj(phases_of(vectors))

    return guarded(in_gauge, raw, (0,), lower=True)


def _eigh_back(node: Any, grads: Sequence[Any]) -> Any:
    xp, (values, vectors) = node.xp, node.results
    to_values, to_vectors = grads
    turned = adjoint(xp, vectors)
    if not vectors.size:
        return xp.zeros_like(vectors)
    if to_vectors is None:
        return xp.matmul(vectors * xp.expand_dims(to_values, -2), turned)
    near = tolerance(raw_of(values), vectors.shape[-1])
    inner = apart(xp, values, near) * xp.matmul(turned, to_vectors)
    if to_values is not None:
        inner = inner + on_diagonal(xp, to_values)
    return symmetrized(xp, chain(xp, vectors, inner, turned))


@written_in("linalg")
def eigvalsh(x: Any, /) -> Tensor:
    """Return the eigenvalues of Hermitian matrices, of which the lower triangle is read.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)

    Returns
    -------
    Tensor, shape (*, M)
        Real and ascending.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix.
    """
    value = as_matrix("eigvalsh", x, square=True)
    if is_wanted((value,)):
        return _eigh("eigvalsh", value).eigenvalues
    if not value.size:
        return record("eigvalsh", lambda raw: _hermitian(raw)[0], None, (value,))

    def alone(raw: RawArray) -> RawArray:
        return guarded(lambda safe: (cp.linalg.eigvalsh(lower_ones(safe)),), raw, (0,), lower=True)[
            0
        ]

    return record("eigvalsh", alone, None, (value,))


@written_in("linalg")
def eig(x: Any, /) -> EigResult:
    """Return the eigenvalues and eigenvectors of any square matrices, ``x V = V diag(w)``.

    The gradient is that of Boeddeker, Hanebrink, Drude, Heymann and Haeb-Umbach 2017, "On the
    computation of complex-valued gradients with application to statistically optimum beamforming".

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)

    Returns
    -------
    eigenvalues : Tensor, shape (*, M), complex
        Ascending by their real parts, and where these are equal by their imaginary parts.
    eigenvectors : Tensor, shape (*, M, M), complex
        In columns of length 1, whose first component of largest magnitude is real and positive.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix.
    """
    return EigResult(*_eig("eig", as_matrix("eig", x, square=True)))


def _eig(name: str, value: Any) -> tuple[Any, ...]:
    # A real matrix is solved as such, so that conjugate pairs are exact.
    source = value._data
    dtype = np.promote_types(source.dtype, complex64)
    operand = cast(value, dtype) if is_wanted((value,)) else value
    return record_several(name, lambda _: _general(source, dtype), _eig_back, operand)


def _general(raw: RawArray, dtype: np.dtype[Any]) -> tuple[RawArray, ...]:
    if not raw.size:
        return cp.zeros(raw.shape[:-1], dtype=dtype), cp.zeros(raw.shape, dtype=dtype)

    def in_order(safe: RawArray) -> tuple[RawArray, RawArray]:
        values, vectors = _on_device_or_host("eig", safe, dtype)
        order = _ascending(values)
        vectors = cp.take_along_axis(vectors, order[..., None, :], axis=-1)
        length = cp.sqrt(cp.sum(cp.square(cp.abs(vectors)), axis=-2, keepdims=True))
        vectors = vectors * cp.conj(phases_of(vectors)) / length
        return cp.take_along_axis(values, order, axis=-1), vectors

    return guarded(in_order, raw, (0,))


def _values_alone(raw: RawArray, dtype: np.dtype[Any]) -> RawArray:
    if not raw.size:
        return cp.zeros(raw.shape[:-1], dtype=dtype)

    def in_order(safe: RawArray) -> tuple[RawArray]:
        (values,) = _on_device_or_host("eigvals", safe, dtype)
        return (cp.take_along_axis(values, _ascending(values), axis=-1),)

    return guarded(in_order, raw, (0,))[0]


def _ascending(values: RawArray) -> RawArray:
    """Return where complex numbers ascend by their real and then their imaginary parts."""
    order = cp.argsort(values.imag, axis=-1)
    real = cp.take_along_axis(values.real, order, axis=-1)
    return cp.take_along_axis(order, cp.argsort(real, axis=-1), axis=-1)


def _on_device_or_host(name: str, raw: RawArray, dtype: np.dtype[Any]) -> tuple[RawArray, ...]:
    """Solve on the device, or on the host where cuSOLVER has no `geev` yet."""
    is_whole = name == "eig"
    try:
        made = cp.linalg.eig(raw) if is_whole else cp.linalg.eigvals(raw)
    except RuntimeError as error:
        if "geev" not in str(error):
            raise
        host = cp.asnumpy(raw)
        found = np.linalg.eig(host) if is_whole else (np.linalg.eigvals(host),)
        return tuple(cp.asarray(part.astype(dtype)) for part in found)
    return tuple(made) if is_whole else (made,)


def _eig_back(node: Any, grads: Sequence[Any]) -> Any:
    xp, (values, vectors) = node.xp, node.results
    to_values, to_vectors = grads
    if not vectors.size:
        return xp.zeros_like(vectors)
    turned = adjoint(xp, vectors)
    inner = None if to_values is None else on_diagonal(xp, to_values)
    if to_vectors is not None:
        near = tolerance(raw_of(values), vectors.shape[-1])
        mixed = xp.matmul(turned, to_vectors)
        # Columns stay at length 1.
        along = xp.real(xp.sum(xp.conj(vectors) * to_vectors, axis=-2, keepdims=True))
        mixed = mixed - xp.matmul(turned, vectors) * along
        mixed = xp.conj(apart(xp, values, near)) * mixed
        inner = mixed if inner is None else inner + mixed
    return solve_either(turned, xp.matmul(inner, turned))


@written_in("linalg")
def eigvals(x: Any, /) -> Tensor:
    """Return the eigenvalues of any square matrices.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)

    Returns
    -------
    Tensor, shape (*, M), complex
        In the order of `eig`.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix.
    """
    value = as_matrix("eigvals", x, square=True)
    if is_wanted((value,)):
        return _eig("eigvals", value)[0]
    dtype = np.promote_types(value.dtype, complex64)
    return record("eigvals", lambda raw: _values_alone(raw, dtype), None, (value,))
