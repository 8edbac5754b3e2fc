"""Matrices of known spectra, and NumPy's decompositions in the gauges of the chapter linalg."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spec_tests.support.assertions import agrees, to_numpy

Shape = tuple[int, ...]
# Components whose magnitudes are closer than this leave it to rounding which one is the largest.
_APART = 1e-3
FIELDS = {
    "eigh": ("eigenvalues", "eigenvectors"),
    "eig": ("eigenvalues", "eigenvectors"),
    "qr": ("Q", "R"),
    "svd": ("U", "S", "Vh"),
    "slogdet": ("sign", "logabsdet"),
}


def adjoint(x: np.ndarray) -> np.ndarray:
    """Return the conjugate transposes."""
    return np.conj(np.swapaxes(x, -1, -2))


def symmetrized(x: np.ndarray) -> np.ndarray:
    """Return the Hermitian parts."""
    return (x + adjoint(x)) / 2


def drawn(shape: int | Shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Return standard normal numbers, rounded to a floating dtype, real or complex."""
    rng = np.random.default_rng(seed)
    x = np.asarray(rng.normal(size=shape))
    return (x + 1j * rng.normal(size=shape) if _is_complex(dtype) else x).astype(dtype)


def regular(shape: Shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Return matrices with singular values from 2.5 to 1 in even steps."""
    *stack, m, n = shape
    k = min(m, n)
    left = _unitary((*stack, m, m), dtype, seed)[..., :, :k]
    right = _unitary((*stack, n, n), dtype, seed + 100)[..., :k, :]
    return np.asarray((left * np.linspace(2.5, 1, k)) @ right).astype(dtype)


def definite(shape: Shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Return Hermitian matrices with eigenvalues from 1 to 3."""
    return _with_spectrum(shape, dtype, seed, 1, 3)


def hermitian(shape: Shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Return Hermitian matrices with eigenvalues from -1.5 to 2.5."""
    return _with_spectrum(shape, dtype, seed, -1.5, 2.5)


def general(shape: Shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Return matrices whose eigenvalues stand apart, a conjugate pair among those of real ones."""
    *_, m, _ = shape
    middle = np.diag(np.linspace(-1.5, 2.5, m) + 0j)
    if _is_complex(dtype):
        middle += np.diag(1j * np.cos(np.arange(m)))
    elif m >= 2:
        middle[:2, :2] = [[0.6, 1.2], [-1.2, 0.6]]
    # Not far from unitary, so that the eigenvalues are well conditioned.
    change = regular(shape, "complex128" if _is_complex(dtype) else "float64", seed)
    product = np.linalg.solve(change, middle @ change)
    return (product if _is_complex(dtype) else product.real).astype(dtype)


def makers(dtype: str, seeded: Callable[..., Any]) -> dict[str, Any]:
    """Return what the tables of the chapter draw inputs with, by name."""
    made = {make.__name__: seeded(make) for make in (regular, definite, hermitian, general)}
    return {**made, "normal": seeded(drawn)} if _is_complex(dtype) else made


def cholesky(x: np.ndarray, upper: bool = False) -> np.ndarray:
    """Return the factor of the Hermitian part, whose gradient is the one that is specified."""
    factor = np.linalg.cholesky(symmetrized(x))
    return adjoint(factor) if upper else factor


def qr(x: np.ndarray, mode: Any = "reduced") -> tuple[np.ndarray, np.ndarray]:
    """Return Q and R with a diagonal of R that is real and not negative."""
    q, r = np.linalg.qr(x, mode)
    phases = np.ones((*x.shape[:-2], q.shape[-1]), x.dtype)
    diagonal = np.diagonal(r, axis1=-2, axis2=-1)
    phases[..., : diagonal.shape[-1]] = _phase(diagonal)
    return q * phases[..., None, :], r * np.conj(phases)[..., :, None]


def eigh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues and the eigenvectors, in their gauge, of the Hermitian part."""
    values, vectors = np.linalg.eigh(symmetrized(x))
    return values, vectors / _phases(vectors)


def svd(x: np.ndarray, full_matrices: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return U, S and Vh with the left vectors in their gauge."""
    u, s, vh = np.linalg.svd(x, full_matrices=full_matrices)
    k = s.shape[-1]
    phases = _phases(u[..., :k])
    u[..., :k] /= phases
    vh[..., :k, :] *= np.swapaxes(phases, -1, -2)
    return u, s, vh


def eig(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues in their order and the eigenvectors in their gauge, complex both."""
    values, vectors = (part.astype(complex) for part in np.linalg.eig(x))
    order = np.lexsort((values.imag, values.real), axis=-1)
    vectors = np.take_along_axis(vectors, order[..., None, :], axis=-1)
    return np.take_along_axis(values, order, axis=-1), vectors / _phases(vectors)


def eigvals(x: np.ndarray) -> np.ndarray:
    """Return the eigenvalues in their order."""
    return eig(x)[0]


def matrix_norm(x: np.ndarray, keepdims: bool = False, ord: Any = "fro") -> np.ndarray:
    """Return NumPy's, and 0 for matrices without elements."""
    if 0 in x.shape[-2:] and ord not in (-1, -2, -np.inf):
        return np.zeros((*x.shape[:-2], 1, 1) if keepdims else x.shape[:-2])
    if 0 in x.shape[-2:]:
        msg = "the smallest of nothing"
        raise ValueError(msg)
    return np.asarray(np.linalg.matrix_norm(x, keepdims=keepdims, ord=ord))


FORMULAS = {
    function.__name__: function
    for function in (symmetrized, cholesky, qr, eigh, svd, eig, eigvals, matrix_norm)
}


def agree(nn: Any, got: Any, want: Any, tolerance: str, *, call: str, dtype: str) -> None:
    """Compare as `assertions.agrees` does; complex numbers as pairs of real ones.

    Parameters
    ----------
    nn, got, want, tolerance, call
        As there.
    dtype : str
        That the result must have, real or complex.
    """
    __tracebackhide__ = True
    x, r = to_numpy(nn, got), np.asarray(want)
    if not _is_complex(dtype):
        agrees(nn, x, r, tolerance, call=call, dtype=dtype)
        return
    assert x.dtype.name == dtype, f"{call}: got dtype {x.dtype.name} but should be {dtype}"
    assert x.shape == r.shape, f"{call}: got shape {x.shape} but should be {r.shape}"
    parts = np.stack([x.real, x.imag], -1)
    wide = np.stack([r.real, r.imag], -1).astype(np.float64)
    agrees(nn, parts, wide, tolerance, call=call, dtype=real_of(dtype))


def real_of(dtype: str) -> str:
    """Return the real dtype of the same width."""
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def complex_of(dtype: str) -> str:
    """Return the complex dtype of the same width."""
    return {"float32": "complex64", "float64": "complex128"}.get(dtype, dtype)


def dtype_like(want: np.ndarray, dtype: str) -> str:
    """Return the dtype of a result whose reference is `want`, for operands of `dtype`."""
    kind = want.dtype.kind
    return {"f": real_of(dtype), "c": complex_of(dtype)}.get(kind, want.dtype.name)


def without_phases(name: str, results: list[Any], squared: Callable[[Any], Any]) -> list[Any]:
    """Return what of a function's results does not depend on the phases of vectors.

    Parameters
    ----------
    name : str
        The function's.
    results : list of array
        Of any library, which has ``@`` and indexing.
    squared : callable
        The squares of the magnitudes of an array of that library.
    """
    if name in ("eigh", "eig"):
        values, vectors = results
        return [values, squared(vectors)]
    if name == "svd":
        u, s, vh = results
        pairs = [u[..., :, k : k + 1] @ vh[..., k : k + 1, :] for k in range(s.shape[-1])]
        return [squared(u), s, squared(vh), *pairs]
    return results


def _is_complex(dtype: str) -> bool:
    return dtype.startswith("complex")


def _unitary(shape: Shape, dtype: str, seed: int) -> np.ndarray:
    wide = "complex128" if _is_complex(dtype) else "float64"
    return qr(drawn(shape, wide, seed))[0]


def _with_spectrum(shape: Shape, dtype: str, seed: int, low: float, high: float) -> np.ndarray:
    vectors = _unitary(shape, dtype, seed)
    values = np.linspace(low, high, shape[-1])
    return symmetrized((vectors * values) @ adjoint(vectors)).astype(dtype)


def _phase(x: np.ndarray) -> np.ndarray:
    size = np.abs(x)
    return np.where(size == 0, 1, x / np.where(size == 0, 1, size))


def _phases(vectors: np.ndarray) -> np.ndarray:
    """Return the phase of the first component of largest magnitude of each column, as a row."""
    if not vectors.size:
        return np.ones((*vectors.shape[:-2], 1, vectors.shape[-1]), vectors.dtype)
    sizes = np.sort(np.abs(vectors), axis=-2)
    if sizes.shape[-2] > 1:
        distance = np.min(sizes[..., -1, :] - sizes[..., -2, :])
        assert distance > _APART, f"draw other matrices: components are as close as {distance}"
    place = np.argmax(np.abs(vectors), axis=-2, keepdims=True)
    return _phase(np.take_along_axis(vectors, place, axis=-2))
