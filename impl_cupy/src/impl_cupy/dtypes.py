"""The dtypes of Tensors and of numbers, and which one an operation on two of them has."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

bool_ = np.dtype("bool")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
uint16 = np.dtype("uint16")
uint32 = np.dtype("uint32")
uint64 = np.dtype("uint64")
float32 = np.dtype("float32")
float64 = np.dtype("float64")
complex64 = np.dtype("complex64")
complex128 = np.dtype("complex128")

DTypeLike = Any

signed = (int8, int16, int32, int64)
unsigned = (uint8, uint16, uint32, uint64)
floats = (float32, float64)
complexes = (complex64, complex128)
dtypes = (bool_, *signed, *unsigned, *floats, *complexes)
THE_FIVE = (bool_, int32, int64, float32, float64)
"""What Modules, losses, optimizers, `init`, `data` and files are made of (tensor-37)."""

_PARTS: dict[np.dtype[Any], np.dtype[Any]] = {complex64: float32, complex128: float64}
_LIMITS = {
    dtype: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) for dtype in (*signed, *unsigned)
}


def _meet(first: np.dtype[Any], second: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the dtype of tensor-16, where NumPy would have float64 of int64 with float32."""
    low, high = sorted((first, second), key=dtypes.index)
    if low.kind in "biu" and high.kind in "fc":
        return high
    common = np.promote_types(low, high)
    return None if low.kind in "iu" and common.kind == "f" else common


_MEET = {(first, second): _meet(first, second) for first in dtypes for second in dtypes}

TAKE_COMPLEX = frozenset(
    (
        # ops-59, and what transformations and indexing are called.
        "negative exp log sqrt square tanh sin cos sign positive reciprocal expm1 log1p log2 log10 "
        "tan asin acos atan sinh cosh asinh acosh atanh round conj add subtract multiply divide "
        "pow where tril triu sum mean prod cumulative_sum cumulative_prod diff matmul "
        "matrix_transpose tensordot vecdot einsum reshape permute_dims expand_dims squeeze "
        "broadcast_to flip roll moveaxis repeat tile pad concat stack take take_along_axis put "
        "scatter_add segment_sum unstack broadcast_arrays meshgrid asarray zeros_like ones_like "
        "full_like empty_like from_dlpack abs real imag norm equal not_equal logical_and "
        "logical_or logical_xor logical_not isnan isfinite isinf all any astype count_nonzero "
        "nonzero unique_all unique_counts unique_inverse unique_values getitem T mT grad "
        "value_and_grad vjp jvp linearize jacrev jacfwd jacobian hessian hvp checkpoint "
        # linalg-05, fft-03
        "cross outer diagonal trace solve inv pinv det slogdet matrix_power matrix_norm "
        "matrix_rank cholesky qr eigh eigvalsh svd svdvals eig eigvals fft ifft fftn ifftn irfft "
        "irfftn hfft fftshift ifftshift"
    ).split()
)
"""The operations, by the names that messages have for them, that take complex arrays."""


def promote(name: str, first: np.dtype[Any], second: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of an operation between two arrays (tensor-16).

    Raises
    ------
    TypeError
        That names the operation and both, if they do not meet.
    """
    common = _MEET[first, second]
    if common is None:
        msg = f"{name}: dtypes {first.name} and {second.name} do not meet; cast one with astype"
        raise TypeError(msg)
    return common


def is_supported(dtype: np.dtype[Any]) -> bool:
    """Tell whether a Tensor can have this dtype."""
    return (dtype, dtype) in _MEET


def parts_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the parts of complex numbers; of other numbers their own."""
    return _PARTS.get(dtype, dtype)


def check_fits(operation: str, number: Any, dtype: np.dtype[Any]) -> None:
    """Refuse a number that a dtype of integers does not hold (tensor-38).

    Raises
    ------
    OverflowError
        That names the number and the dtype.
    """
    if dtype.kind not in "iu":
        return
    least, greatest = _LIMITS[dtype]
    if not least <= number <= greatest:
        msg = f"{operation}: the number {number} does not fit dtype {dtype.name}"
        raise OverflowError(msg)


def check_five(operation: str, dtype: np.dtype[Any]) -> None:
    """Refuse a dtype that Modules, losses and files are not made of (tensor-37).

    Raises
    ------
    TypeError
        That names it.
    """
    if dtype not in THE_FIVE:
        names = ", ".join(each.name for each in THE_FIVE)
        msg = f"{operation}: dtype must be one of {names}, got {dtype.name}"
        raise TypeError(msg)


def refuse_complex(operation: str, name: str) -> NoReturn:
    """Raise the error for a complex array or number where there must be real ones (ops-59).

    Raises
    ------
    TypeError
        That names the operation and the dtype, or what stands for it.
    """
    msg = f"{operation}: must be real, got {name}; take ops.real and ops.imag"
    raise TypeError(msg)


def native(host: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a NumPy array in the machine's byte order: itself, or a copy (tensor-37)."""
    return host if host.dtype.isnative else host.astype(host.dtype.newbyteorder("="))


def number_dtype(number: complex) -> np.dtype[Any]:
    """Return the dtype of an array of a Python number."""
    if isinstance(number, bool):
        return bool_
    if isinstance(number, complex):
        return complex64
    return int64 if isinstance(number, int) else float32


def with_number(dtype: np.dtype[Any], number: Any) -> np.dtype[Any]:
    """Return the dtype of an operation between an array and a Python number (tensor-15)."""
    if isinstance(number, complex):
        return complex128 if dtype in (float64, complex128) else complex64
    if isinstance(number, bool) or dtype.kind in "fc":
        return dtype
    if isinstance(number, int):
        return int64 if dtype == bool_ else dtype
    return float32


def plain(value: np.generic) -> Any:
    """Return a NumPy scalar as a number of Python's; itself if it is no number."""
    # item() of a longdouble is a longdouble.
    made: Any = {"b": bool, "i": int, "u": int, "f": float, "c": complex}.get(value.dtype.kind)
    return value if made is None else made(value)


def held(dtype: np.dtype[Any], value: Any) -> Any:
    """Return what a number becomes in a dtype of integers or booleans, None if it does not fit."""
    try:
        made = dtype.type(int(value))
    except (OverflowError, ValueError):
        return None
    return made if made == value else None
