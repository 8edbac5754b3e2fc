"""The corner of `cupy.linalg` that an implementation needs.

As on a GPU, a matrix that a solver cannot solve is no error unless `cupyx.errstate` says so: its
results are nonsense (here NaN), and those of the others in the stack are right. Integers become
float64, stacks of equal lengths are wanted, and eigenvalues of general matrices come in no order
(here descending), complex also where the matrix is real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import storage as _storage
from .cupyx import get_config_linalg as _get_config_linalg
from .host import np as _np
from .manipulation import matrix_transpose
from .products import matmul

LinAlgError = _np.linalg.LinAlgError

__all__ = [
    "LinAlgError",
    "cholesky",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_transpose",
    "norm",
    "qr",
    "slogdet",
    "solve",
    "svd",
]


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Return a norm of vectors or matrices."""
    made = _np.linalg.norm(_storage.raw(x, "x"), ord, axis, keepdims)
    return _storage.result(made, "reduction")


def solve(a: Any, b: Any) -> Any:
    """Solve ``a x = b``; stacks must have the same lengths.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    left, right = _square(a), _storage.raw(b, "b")
    if right.ndim == 0:
        msg = "b must have at least one dimension"
        raise ValueError(msg)
    if right.ndim == 1:
        if left.shape[-1] != right.size:
            msg = "a must have (..., M, M) shape and b must have (M,) for one-dimensional b"
            raise ValueError(msg)
        vectors = _np.broadcast_to(right, left.shape[:-1])
        solved = _stacked(_np.linalg.solve, left, _common(vectors, left)[..., None])
        return _new(solved[..., 0])
    if left.shape[:-1] != right.shape[:-1]:
        msg = "a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b"
        raise ValueError(msg)
    return _new(_stacked(_np.linalg.solve, left, _common(right, left)))


def inv(a: Any) -> Any:
    """Return inverses."""
    return _new(_stacked(_np.linalg.inv, _square(a)))


def cholesky(a: Any) -> Any:
    """Return the lower factors of matrices whose lower triangle is read."""
    return _new(_stacked(_np.linalg.cholesky, _square(a)))


def qr(a: Any, mode: str = "reduced") -> Any:
    """Return Q and R."""
    if mode not in ("reduced", "complete", "r", "raw"):
        msg = f"Unrecognized mode '{mode}'"
        raise ValueError(msg)
    made = _np.linalg.qr(_floating(_storage.raw(a)), mode)
    return _new(made) if mode == "r" else tuple(_new(part) for part in made)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Return U, S and Vh, or S alone."""
    made = _stacked(lambda x: _np.linalg.svd(x, full_matrices, compute_uv), _floating(_stack_of(a)))
    return tuple(_new(part) for part in made) if compute_uv else _new(made)


def eigh(a: Any, UPLO: str = "L") -> Any:
    """Return eigenvalues and eigenvectors of Hermitian matrices."""
    return tuple(_new(part) for part in _stacked(lambda x: _np.linalg.eigh(x, UPLO), _square(a)))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Return eigenvalues of Hermitian matrices."""
    return _new(_stacked(lambda x: _np.linalg.eigvalsh(x, UPLO), _square(a)))


def eig(a: Any) -> Any:
    """Return eigenvalues and eigenvectors; of no matrices, or empty ones, in the dtype of ``a``."""
    source = _square(a)
    if not source.size:
        return tuple(_new(_np.empty(shape, source.dtype)) for shape in (a.shape[:-1], a.shape))
    values, vectors = _stacked(_np.linalg.eig, source)
    dtype = _complex_of(source.dtype)
    return _new(values[..., ::-1].astype(dtype)), _new(vectors[..., ::-1].astype(dtype))


def eigvals(a: Any) -> Any:
    """Return eigenvalues; see `eig`."""
    source = _square(a)
    if not source.size:
        return _new(_np.empty(a.shape[:-1], source.dtype))
    values = _stacked(_np.linalg.eigvals, source)
    return _new(values[..., ::-1].astype(_complex_of(source.dtype)))


def slogdet(a: Any) -> Any:
    """Return the sign, 0 of singular matrices, and the logarithm of determinants."""
    with _np.errstate(all="ignore"):
        sign, logarithm = _np.linalg.slogdet(_square(a))
    return _new(sign), _new(logarithm)


def det(a: Any) -> Any:
    """Return determinants, from the logarithm as CuPy has them."""
    sign, logarithm = slogdet(a)
    return sign * _exp(logarithm)


def _exp(x: Any) -> Any:
    return _storage.FUNCTIONS["exp"](x)


def _new(array: Any) -> Any:
    return _storage.result(_np.asarray(array), "other")


def _floating(array: Any) -> Any:
    if array.dtype == _np.float16:
        msg = "float16 is unsupported in linalg"
        raise TypeError(msg)
    return array if array.dtype.kind in "fc" else array.astype(_np.float64)


def _complex_of(dtype: Any) -> Any:
    return _np.result_type(dtype, _np.complex64)


def _common(right: Any, left: Any) -> Any:
    return right.astype(_np.result_type(_floating(right).dtype, left.dtype))


def _stack_of(a: Any) -> Any:
    source = _storage.raw(a)
    if source.ndim < 2:
        msg = f"{source.ndim}-dimensional array given. Array must be at least two-dimensional"
        raise LinAlgError(msg)
    return source


def _square(a: Any) -> Any:
    source = _stack_of(a)
    if source.shape[-1] != source.shape[-2]:
        msg = "Last 2 dimensions of the array must be square"
        raise LinAlgError(msg)
    return _floating(source)


def _stacked(function: Callable[..., Any], *arrays: Any) -> Any:
    """Apply NumPy's function; where a matrix fails, give NaN for it, or raise if that is chosen."""
    with _np.errstate(all="ignore"):
        try:
            return function(*arrays)
        except LinAlgError:
            if _get_config_linalg() == "raise":
                raise
        return _one_by_one(function, arrays)


def _one_by_one(function: Callable[..., Any], arrays: Any) -> Any:
    stack = arrays[0].shape[:-2]
    regular = _np.zeros_like(arrays[0]) + _np.eye(*arrays[0].shape[-2:], dtype=arrays[0].dtype)
    model = function(regular, *arrays[1:])
    single = not isinstance(model, tuple)
    parts = [_np.full_like(part, _np.nan) for part in ([model] if single else model)]
    for index in _np.ndindex(stack):
        try:
            made = function(*(array[index] for array in arrays))
        except LinAlgError:
            continue
        for part, value in zip(parts, [made] if single else made, strict=True):
            part[index] = value
    return parts[0] if single else tuple(parts)
