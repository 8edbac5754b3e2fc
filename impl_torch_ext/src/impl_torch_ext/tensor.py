"""Tensors and their constructors. A Tensor is a `torch.Tensor`, and so is its raw array."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext import random

__all__ = [
    "Tensor",
    "Variable",
    "arange",
    "bool_",
    "check_dtype",
    "check_floating",
    "empty",
    "eye",
    "float32",
    "float64",
    "from_array",
    "from_numpy",
    "full",
    "int32",
    "int64",
    "ones",
    "rand",
    "randn",
    "tensor",
    "zeros",
]

float32 = torch.float32
float64 = torch.float64
int32 = torch.int32
int64 = torch.int64
bool_ = torch.bool

Shape = int | Iterable[int]

_DTYPES = (float32, float64, int32, int64, bool_)
_NUMPY_DTYPES: dict[np.dtype[Any], torch.dtype] = {
    np.dtype(np.float32): float32,
    np.dtype(np.float64): float64,
    np.dtype(np.int32): int32,
    np.dtype(np.int64): int64,
    np.dtype(np.bool_): bool_,
}
_TO_NUMPY = {ours: theirs for theirs, ours in _NUMPY_DTYPES.items()}


def tensor(data: Any, *, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor with a copy of ``data``.

    Parameters
    ----------
    data : number, nested lists or tuples of numbers, numpy.ndarray or Tensor
        Python floats become float32, ints int64, bools bool, a mix of ints and floats float32;
        arrays keep their dtype.
    dtype : dtype, optional
        Takes the place of that choice.
    requires_grad : bool

    Returns
    -------
    Tensor
        A leaf without history.

    Raises
    ------
    ValueError
        If lists are ragged, or a dtype that is not floating is asked to require grad.
    TypeError
        If ``data`` holds anything that is no number.
    """
    if dtype is not None:
        check_dtype("tensor", dtype)
    if isinstance(data, Tensor):
        result = data.detach().clone(memory_format=torch.contiguous_format)
    elif isinstance(data, np.ndarray | np.generic):
        result = from_numpy("tensor", np.asarray(data))
    else:
        numbers: list[bool | int | float] = []
        shape = _collect("tensor", data, numbers)
        kind = dtype or _dtype_of_numbers(numbers)
        try:
            flat = np.array(numbers, _TO_NUMPY[kind])
        except OverflowError:
            msg = f"tensor: an int does not fit {kind}"
            raise ValueError(msg) from None
        result = torch.from_numpy(flat.reshape(shape))
    if dtype is not None:
        result = result.to(dtype)
    return _with_grad("tensor", result, requires_grad)


def from_array(array: Tensor, requires_grad: bool = False) -> Tensor:
    """Make a Tensor that shares the memory of a raw array.

    Parameters
    ----------
    array : torch.Tensor
    requires_grad : bool

    Returns
    -------
    Tensor
        A leaf at the same address.

    Raises
    ------
    TypeError
        If ``array`` is no torch.Tensor.
    ValueError
        If its dtype is not floating and ``requires_grad`` is true.
    """
    if not isinstance(array, Tensor):
        msg = (
            f"from_array: array must be a torch.Tensor, got {type(array).__name__}; "
            "tensor() copies other data"
        )
        raise TypeError(msg)
    return _with_grad("from_array", array.detach(), requires_grad)


Variable = from_array


def zeros(shape: Shape, *, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of zeros of shape ``shape`` (an int or a tuple of ints)."""
    return _with_grad(
        "zeros",
        torch.zeros(_shape("zeros", shape), dtype=_dtype("zeros", dtype)),
        requires_grad,
    )


def ones(shape: Shape, *, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of ones of shape ``shape`` (an int or a tuple of ints)."""
    return _with_grad(
        "ones", torch.ones(_shape("ones", shape), dtype=_dtype("ones", dtype)), requires_grad
    )


def full(
    shape: Shape, value: float, *, dtype: torch.dtype | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor that holds ``value`` everywhere, of the dtype that `tensor` gives it."""
    one = tensor(value, dtype=dtype)
    if one.ndim != 0:
        msg = f"full: value must be a number, got an array of shape {tuple(one.shape)}"
        raise ValueError(msg)
    return _with_grad("full", one.expand(_shape("full", shape)).clone(), requires_grad)


def empty(shape: Shape, *, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor of shape ``shape`` whose contents are unspecified."""
    return _with_grad(
        "empty",
        torch.empty(_shape("empty", shape), dtype=_dtype("empty", dtype)),
        requires_grad,
    )


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: torch.dtype | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor of the numbers from ``start`` (0 if ``stop`` is left out) to below ``stop``.

    Returns
    -------
    Tensor, shape (ceil((stop - start) / step),)
        int64 if all arguments are ints, else float32; empty where ``stop`` is not ahead of
        ``start``.

    Raises
    ------
    ValueError
        If ``step`` is 0.
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        msg = "arange: step must not be 0"
        raise ValueError(msg)
    if dtype is None:
        dtype = int64 if all(isinstance(x, int) for x in (start, stop, step)) else float32
    check_dtype("arange", dtype)
    if (stop - start) / step <= 0:
        return _with_grad("arange", torch.empty(0, dtype=dtype), requires_grad)
    return _with_grad("arange", torch.arange(start, stop, step, dtype=dtype), requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: torch.dtype | None = None, requires_grad: bool = False
) -> Tensor:
    """Make the (n, m) matrix with ones on its diagonal; ``m`` is ``n`` if left out."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    return _with_grad("eye", torch.eye(rows, columns, dtype=_dtype("eye", dtype)), requires_grad)


def rand(shape: Shape, *, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
    """Draw uniform numbers in [0, 1) from the generator of `manual_seed`."""
    dtype = check_floating("rand", dtype)
    return _with_grad(
        "rand", torch.from_numpy(random.uniform(_shape("rand", shape))).to(dtype), requires_grad
    )


def randn(shape: Shape, *, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
    """Draw standard normal numbers from the generator of `manual_seed`."""
    dtype = check_floating("randn", dtype)
    return _with_grad(
        "randn", torch.from_numpy(random.normal(_shape("randn", shape))).to(dtype), requires_grad
    )


def from_numpy(name: str, array: np.ndarray) -> Tensor:
    """Copy a NumPy array, or raise a TypeError in the name of ``name`` for a foreign dtype."""
    native = array.dtype.newbyteorder("=")
    if native not in _NUMPY_DTYPES:
        msg = (
            f"{name}: an array must be of dtype float32, float64, int32, int64 or bool, got "
            f"{array.dtype}"
        )
        raise TypeError(msg)
    return torch.from_numpy(np.array(array, dtype=native, order="C"))


def check_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Return ``dtype``, or raise a TypeError in the name of ``name`` if it is none of the five."""
    if dtype not in _DTYPES:
        msg = f"{name}: dtype must be float32, float64, int32, int64 or bool, got {dtype!r}"
        raise TypeError(msg)
    return dtype


def check_floating(name: str, dtype: torch.dtype | None) -> torch.dtype:
    """Return ``dtype``, float32 for None, or raise in the name of ``name`` if not floating."""
    chosen = _dtype(name, dtype)
    if chosen not in (float32, float64):
        msg = f"{name}: dtype must be float32 or float64, got {chosen}"
        raise ValueError(msg)
    return chosen


def _dtype(name: str, dtype: torch.dtype | None) -> torch.dtype:
    return float32 if dtype is None else check_dtype(name, dtype)


def _with_grad(name: str, result: Tensor, requires_grad: bool) -> Tensor:
    if not requires_grad:
        return result
    if not result.is_floating_point():
        msg = f"{name}: only floating Tensors can require grad, got dtype {result.dtype}"
        raise ValueError(msg)
    return result.requires_grad_()


def _shape(name: str, shape: Shape) -> tuple[int, ...]:
    try:
        sizes = (
            tuple(operator.index(n) for n in shape)
            if isinstance(shape, Iterable)
            else (operator.index(shape),)
        )
    except TypeError:
        msg = f"{name}: shape must be an int or a tuple of ints, got {shape!r}"
        raise TypeError(msg) from None
    if any(n < 0 for n in sizes):
        msg = f"{name}: shape must not have negative sizes, got {sizes}"
        raise ValueError(msg)
    return sizes


def _collect(name: str, data: Any, numbers: list[bool | int | float]) -> tuple[int, ...]:
    """Append the numbers in ``data`` in C order and return its shape."""
    if isinstance(data, np.bool_ | np.integer | np.floating):
        data = data.item()
    if isinstance(data, bool | int | float):
        numbers.append(data)
        return ()
    if not isinstance(data, list | tuple):
        msg = (
            f"{name}: data must be numbers, lists of numbers or an array, got {type(data).__name__}"
        )
        raise TypeError(msg)
    shapes = [_collect(name, item, numbers) for item in data]
    if any(shape != shapes[0] for shape in shapes):
        odd = next(shape for shape in shapes if shape != shapes[0])
        msg = (
            f"{name}: lists must have equal lengths at each depth, got items of shapes {shapes[0]} "
            f"and {odd}"
        )
        raise ValueError(msg)
    return (len(shapes), *(shapes[0] if shapes else ()))


def _dtype_of_numbers(numbers: list[bool | int | float]) -> torch.dtype:
    if not numbers or any(isinstance(x, float) for x in numbers):
        return float32
    if all(isinstance(x, bool) for x in numbers):
        return bool_
    return int64
