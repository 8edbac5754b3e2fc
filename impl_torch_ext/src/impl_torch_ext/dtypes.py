"""The dtypes of the specification, and which of them numbers and NumPy arrays get.

Of the thirteen torch computes with ten: it has `uint16`, `uint32` and `uint64` in name, but neither
adds nor compares nor sorts them.
"""

from typing import Any

import numpy as np
import torch

__all__ = [
    "DTYPES",
    "FIVE",
    "FROM_NUMPY",
    "NAMED",
    "TO_NUMPY",
    "WITH_COMPLEX",
    "bool_",
    "complex64",
    "complex128",
    "dtype_of",
    "dtype_of_numbers",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_inexact",
    "is_integer",
    "plain_number",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

float32 = torch.float32
float64 = torch.float64
complex64 = torch.complex64
complex128 = torch.complex128
int8 = torch.int8
int16 = torch.int16
int32 = torch.int32
int64 = torch.int64
uint8 = torch.uint8
uint16 = torch.uint16
uint32 = torch.uint32
uint64 = torch.uint64
bool_ = torch.bool

NAMED = {
    "bool": bool_,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "uint8": uint8,
    "float32": float32,
    "float64": float64,
    "complex64": complex64,
    "complex128": complex128,
}
# Sets, for each operation asks them. The five are those of Modules, losses and files, and those
# of which an operation has no more to ask.
FIVE = frozenset({float32, float64, int32, int64, bool_})
DTYPES = frozenset(NAMED.values())
FROM_NUMPY: dict["np.dtype[np.generic]", torch.dtype] = {
    np.dtype(name): dtype for name, dtype in NAMED.items()
}
TO_NUMPY = {torchs: numpys for numpys, torchs in FROM_NUMPY.items()}
# What `numpy.dtype` reads, and what is refused by its name (tensor-37).
_READ = FROM_NUMPY | {
    np.dtype(np.uint16): uint16,
    np.dtype(np.uint32): uint32,
    np.dtype(np.uint64): uint64,
}

# Functions of `ops` that take complex arrays (ops-59), and two of autograd (autograd-41,
# autograd-43); all others refuse them.
WITH_COMPLEX = frozenset(
    (
        "negative exp log sqrt square tanh sin cos sign positive reciprocal expm1 log1p log2 log10 "
        "tan asin acos atan sinh cosh asinh acosh atanh round conj add subtract multiply divide "
        "pow where tril triu sum mean prod cumulative_sum cumulative_prod diff matmul "
        "matrix_transpose tensordot vecdot einsum reshape permute_dims expand_dims squeeze "
        "broadcast_to flip roll moveaxis repeat tile pad concat stack take take_along_axis put "
        "scatter_add segment_sum unstack broadcast_arrays meshgrid asarray zeros_like ones_like "
        "full_like empty_like from_dlpack abs real imag norm equal not_equal logical_and "
        "logical_or logical_xor logical_not isnan isfinite isinf all any astype count_nonzero "
        "nonzero unique_all unique_counts unique_inverse unique_values "
        "cholesky cross det diagonal eig eigh eigvals eigvalsh inv matrix_norm matrix_power "
        "matrix_rank outer pinv qr slogdet solve svd svdvals trace "
        "fft ifft fftn ifftn irfft irfftn hfft fftshift ifftshift "
        "grad graph"
    ).split()
)


def dtype_of(spelling: Any) -> torch.dtype | None:
    """Return which of the dtypes NumPy reads in a name, class or dtype; None for no other."""
    if not isinstance(spelling, str | type | np.dtype):  # NumPy takes None for float64.
        return None
    if isinstance(spelling, str) and "a" in spelling[:2]:  # NumPy warns of this name for bytes.
        return None
    try:
        return _READ.get(np.dtype(spelling))  # tensor-37
    except (TypeError, ValueError, SyntaxError):
        return None


def dtype_of_numbers(*numbers: complex) -> torch.dtype:
    """Return the dtype that Python numbers get together: complex64, float32, int64 or bool."""
    if any(isinstance(number, complex) for number in numbers):
        return complex64
    if not numbers or any(isinstance(number, float) for number in numbers):  # tensor-04
        return float32
    return bool_ if all(isinstance(number, bool) for number in numbers) else int64


def plain_number(x: Any) -> Any:
    """Return a NumPy scalar as the Python number of its value; anything else as it is."""
    if not isinstance(x, np.generic):
        return x
    kinds = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
    convert = kinds.get(x.dtype.kind)  # tensor-39
    return x if convert is None else convert(x)


def is_integer(dtype: torch.dtype) -> bool:
    """Return whether `dtype` is one of integers; booleans are not."""
    return not (dtype.is_floating_point or dtype.is_complex or dtype == bool_)


def is_inexact(dtype: torch.dtype) -> bool:
    """Return whether `dtype` is floating or complex, and so has gradients."""
    return dtype.is_floating_point or dtype.is_complex
