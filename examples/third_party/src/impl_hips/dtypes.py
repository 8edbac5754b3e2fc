"""The dtypes of tensor-37, how they meet, and how numbers join in."""

import numpy as np

NAMES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split()
COMPLEX = ("complex64", "complex128")
ALL = {name: np.dtype(name) for name in (*NAMES, *COMPLEX)}


def named(operation, dtype):
    """Return the dtype that was asked for; TypeError names the operation and what came."""
    try:
        found = np.dtype(dtype) if dtype is not None else None
    except TypeError:
        found = None
    return checked(operation, found if found is not None else dtype)


def checked(operation, dtype):
    """Refuse what is none of the dtypes that this implementation has (tensor-37)."""
    if not isinstance(dtype, np.dtype) or dtype.newbyteorder("=").name not in NAMES:
        msg = f"{operation}: the dtype must be one of {', '.join(NAMES)}, got {dtype!r}"
        raise TypeError(msg)
    return dtype.newbyteorder("=")


def meet(operation, one, other):
    """Return the dtype in which two meet (tensor-16)."""
    if {one.kind, other.kind} == {"f"} or one.kind == other.kind:
        return max(one, other, key=lambda dtype: dtype.itemsize)
    for first, second in ((one, other), (other, one)):
        if first.kind == "b" or second.kind == "f":
            return second
    unsigned, signed = (one, other) if one.kind == "u" else (other, one)
    if unsigned.itemsize == 8:
        msg = f"{operation}: {one} and {other} meet in no dtype"
        raise TypeError(msg)
    return np.dtype(f"int{8 * max(2 * unsigned.itemsize, signed.itemsize)}")


def is_number(value):
    """Tell whether a value is a real number of Python's or NumPy's."""
    return isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating))


def of_number(value, beside=None):
    """Return the dtype of a number, alone or beside an array's dtype (tensor-04, tensor-15)."""
    kind = "b" if isinstance(value, (bool, np.bool_)) else "i"
    kind = "f" if isinstance(value, (float, np.floating)) else kind
    if beside is not None and "biuf".index(beside.kind) >= "biuf".index(kind):
        return beside
    if beside is not None and beside.kind == "u" and kind == "i":
        return beside
    return np.dtype({"b": "bool", "i": "int64", "f": "float32"}[kind])
