"""Products of arrays."""

from __future__ import annotations

from typing import Any

from .counters import record
from .host import np
from .storage import Storage, new, raw, result, store
from .ufunc import UFUNCS


def matmul(a: Any, b: Any, /, out: Any = None, *, dtype: Any = None) -> Any:
    """Multiply matrices, or stacks of them."""
    left, right = _operand(a), _operand(b)
    if left.ndim == 0 or right.ndim == 0:
        msg = "Scalar operands are not allowed, use '*' instead"
        raise ValueError(msg)
    return _product(np.matmul, left, right, out, dtype)


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Return the dot product.

    Raises
    ------
    ValueError
        If ``out`` is not C-contiguous or not of the product's dtype, which CuPy insists on.
    """
    left, right = raw(a), raw(b, "b")
    if out is not None:
        target = raw(out, "out")
        if np.result_type(left.dtype, right.dtype) != target.dtype:
            msg = "Not supported dtype combination."
            raise ValueError(msg)
        if not target.flags.c_contiguous:
            msg = "Output array must be C-contiguous"
            raise ValueError(msg)
    if left.ndim == 0 or right.ndim == 0:
        return UFUNCS["multiply"](a, b, out=out)
    return _product(np.dot, left, right, out, None)


def vdot(a: Any, b: Any) -> Any:
    """Return the dot product of two flattened arrays."""
    return result(np.vdot(raw(a), raw(b, "b")), "gemm")


def inner(a: Any, b: Any) -> Any:
    """Return the product over the last axes."""
    return result(np.inner(raw(a), raw(b, "b")), "gemm")


def outer(a: Any, b: Any, out: Any = None) -> Any:
    """Return all products of two vectors' elements."""
    return store(np.outer(raw(a), raw(b, "b")), out, "gemm")


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Return the product over given axes."""
    return result(np.tensordot(raw(a), raw(b, "b"), axes), "gemm")


def einsum(*operands: Any, **kwargs: Any) -> Any:
    """Evaluate a product in Einstein's notation."""
    unknown = set(kwargs) - {"dtype", "optimize"}
    if unknown:
        msg = f"Did not understand the following kwargs: {sorted(unknown)}"
        raise TypeError(msg)
    if not operands or not isinstance(operands[0], str):
        msg = "einsum: the first operand must be the subscripts as a string"
        raise ValueError(msg)
    arrays = [raw(x, "operands") for x in operands[1:]]
    return result(np.asarray(np.einsum(operands[0], *arrays, **kwargs)), "gemm")


def kron(a: Any, b: Any) -> Any:
    """Return the Kronecker product."""
    return result(np.kron(raw(a), raw(b, "b")), "gemm")


def _operand(x: Any) -> Any:
    if isinstance(x, Storage):
        return x._array
    msg = f"Unsupported type {type(x)}"
    raise TypeError(msg)


def _product(function: Any, left: Any, right: Any, out: Any, dtype: Any) -> Any:
    if dtype is not None:
        left, right = left.astype(dtype), right.astype(dtype)
    with np.errstate(all="ignore"):
        if out is not None:
            return store(function(left, right), out, "gemm")
        record("gemm")
        made = np.asarray(function(left, right))
    return new(made if made.flags.c_contiguous else made.copy(order="C"))
