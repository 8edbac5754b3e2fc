"""What stands where an array is wanted, made into Tensors (tensor-03, tensor-15, ops-21)."""

import numpy as np

from impl_hips import dtypes
from impl_hips.tensor import Tensor


def tensor_of(operation, value):
    """Return a Tensor, or a constant of an array; refuse all else."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        dtypes.checked(operation, value.dtype)
        return Tensor(value)
    msg = f"{operation}: wants a Tensor or an array, got {type(value).__name__}"
    raise TypeError(msg)


def constant(operation, value, dtype):
    """Return a number as a constant of a dtype that must hold it (tensor-38)."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if not info.min <= value <= info.max:
            msg = f"{operation}: {value} does not fit into {dtype}"
            raise OverflowError(msg)
    with np.errstate(over="ignore"):
        return Tensor(np.asarray(value, dtype=dtype))


def together(operation, *values):
    """Return Tensors of the operands and the dtype in which they meet (tensor-15, tensor-16)."""
    number = [dtypes.is_number(value) and not isinstance(value, np.ndarray) for value in values]
    arrays = [None if n else tensor_of(operation, v) for v, n in zip(values, number, strict=True)]
    present = [t.dtype for t in arrays if t is not None]
    if not present:
        msg = f"{operation}: wants a Tensor or an array, got {type(values[0]).__name__}"
        raise TypeError(msg)
    common = present[0]
    for dtype in present[1:]:
        common = dtypes.meet(operation, common, dtype)
    for value, alone in zip(values, number, strict=True):
        common = dtypes.of_number(value, common) if alone else common
    tensors = [
        constant(operation, value, common) if tensor is None else tensor
        for value, tensor in zip(values, arrays, strict=True)
    ]
    return tensors, common


def array_of(data, dtype=None, operation="tensor"):
    """Return a new NumPy array of what `tensor` takes (tensor-03, tensor-04)."""
    if isinstance(data, Tensor):
        data = data.data
    wanted = dtypes.named(operation, dtype) if dtype is not None else None
    if isinstance(data, np.generic) and data.dtype.name not in dtypes.NAMES:
        data = data.item()
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.array(data)
        dtypes.checked(operation, array.dtype)
    else:
        array = _of_lists(operation, data)
        if wanted is None:
            wanted = np.dtype(
                {"b": "bool", "i": "int64", "u": "int64", "f": "float32"}[array.dtype.kind]
            )
    if wanted is None:
        wanted = array.dtype.newbyteorder("=")
    if wanted.kind in "iu" and array.dtype.kind in "iuf" and array.size:
        if not np.isfinite(array).all():
            msg = f"{operation}: {array.ravel()[0]} does not fit into {wanted}"
            raise ValueError(msg)
        for value in (array.min(), array.max()):
            constant(operation, value.item(), wanted)
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def _of_lists(operation, data):
    _check_items(operation, data)
    try:
        array = np.array(data)
    except ValueError as error:
        msg = (
            f"{operation}: the lists are ragged or hold no numbers: {' '.join(str(error).split())}"
        )
        raise ValueError(msg) from None
    if array.size == 0 and array.dtype.kind == "f":
        return array
    if array.dtype == object and all(isinstance(value, int) for value in array.ravel()):
        msg = f"{operation}: {array.ravel()[0]} does not fit into int64"
        raise OverflowError(msg)
    if array.dtype.kind not in "biuf":
        came = f"{type(data).__name__} of {array.dtype}"
        msg = f"{operation}: takes numbers, lists and arrays, got {came}"
        raise TypeError(msg)
    return array


def _check_items(operation, data):
    if isinstance(data, (list, tuple)):
        for item in data:
            if isinstance(item, (Tensor, np.ndarray)):
                msg = f"{operation}: lists hold numbers; of arrays and Tensors ops.stack makes one"
                raise TypeError(msg)
            _check_items(operation, item)
    elif not dtypes.is_number(data):
        msg = f"{operation}: takes numbers, lists and arrays, got {type(data).__name__}"
        raise TypeError(msg)


def size_of(operation, sizes):
    """Return a shape from one tuple or from sizes (tensor-31)."""
    shape = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    for size in shape:
        if isinstance(size, (bool, np.bool_)) or not isinstance(size, (int, np.integer)):
            msg = f"{operation}: sizes must be ints, got {type(size).__name__}"
            raise TypeError(msg)
        if size < 0:
            msg = f"{operation}: sizes must not be negative, got {size}"
            raise ValueError(msg)
    return tuple(int(size) for size in shape)
