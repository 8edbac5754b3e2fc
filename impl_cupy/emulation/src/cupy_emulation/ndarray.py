"""The array class: CuPy's ndarray with its refusals, over NumPy."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Iterator
from typing import Any

from . import creation, elementwise, indexing, manipulation, products, reductions, sorting
from .counters import record
from .device import Device, MemoryPointer
from .host import np
from .operators import COMPARISONS, NUMBERS, Operators
from .storage import FUNCTIONS, get_dtype, new, result, uninitialized
from .ufunc import UFUNCS


class Flags:
    """Memory layout of an array."""

    def __init__(self, array: Any, owndata: bool) -> None:
        self.c_contiguous = bool(array.flags.c_contiguous)
        self.f_contiguous = bool(array.flags.f_contiguous)
        self.owndata = owndata

    @property
    def fnc(self) -> bool:
        """Whether the array is in Fortran order and not in C order."""
        return self.f_contiguous and not self.c_contiguous

    @property
    def forc(self) -> bool:
        """Whether the array is contiguous in some order."""
        return self.f_contiguous or self.c_contiguous

    def __getitem__(self, name: str) -> bool:
        known = {"C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA"}
        if name not in known:
            msg = f"{name} is not defined for cupy.ndarray.flags"
            raise KeyError(msg)
        return bool(getattr(self, name.lower()))


class ndarray(Operators):
    """An array on the emulated device.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : dtype, default float64
    order : {"C", "F"}
    """

    __slots__ = ()

    def __new__(cls, shape: Any, dtype: Any = float, *, order: str = "C") -> Any:
        """Make an array of unspecified contents."""
        return new(uninitialized(shape, get_dtype(dtype), order))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes; assigning reshapes in place."""
        return tuple(self._array.shape)

    @shape.setter
    def shape(self, newshape: Any) -> None:
        made = self._array.reshape(newshape)
        if self._array.size and not np.may_share_memory(made, self._array):
            msg = (
                "Incompatible shape for in-place modification. Use `.reshape()` to make a copy "
                "with the desired shape."
            )
            raise AttributeError(msg)
        self._array = made

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return int(self._array.ndim)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self._array.size)

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return int(self._array.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return int(self._array.nbytes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis."""
        return tuple(self._array.strides)

    @property
    def flags(self) -> Flags:
        """Memory layout."""
        return Flags(self._array, self.base is None)

    @property
    def data(self) -> MemoryPointer:
        """Where the first element lies."""
        empty = self.base is None and self._array.nbytes == 0
        return MemoryPointer(0 if empty else self._array.ctypes.data)

    @property
    def device(self) -> Device:
        """The device."""
        return Device(0)

    @property
    def T(self) -> Any:
        """View with the axes reversed; the array itself below two axes."""
        return self if self._array.ndim < 2 else new(self._array.T, self)

    @property
    def mT(self) -> Any:
        """View with the last two axes exchanged."""
        if self._array.ndim < 2:
            msg = "matrix transpose with ndim < 2 is undefined"
            raise ValueError(msg)
        return new(self._array.swapaxes(-1, -2), self)

    @property
    def real(self) -> Any:
        """Real part, a view."""
        return new(self._array.real, self) if self._array.dtype.kind == "c" else self

    @property
    def imag(self) -> Any:
        """Imaginary part, a view; zeros of a real array."""
        if self._array.dtype.kind == "c":
            return new(self._array.imag, self)
        return creation.zeros_like(self)

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> Any:
        """Return a NumPy copy; synchronizes."""
        record("copy")
        if out is None:
            return np.array(self._array, order=order.upper())
        if not isinstance(out, np.ndarray):
            msg = "Only numpy.ndarray can be obtained from cupy.ndarray"
            raise TypeError(msg)
        if out.dtype != self.dtype:
            msg = f"{out.dtype} array cannot be obtained from {self.dtype} array"
            raise TypeError(msg)
        if out.shape != self.shape:
            msg = f"Shape mismatch. Expected shape: {self.shape}, actual shape: {out.shape}"
            raise ValueError(msg)
        out[...] = self._array
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        """Copy a NumPy array of the same shape and dtype to the device."""
        if not isinstance(arr, np.ndarray):
            msg = "Only numpy.ndarray can be set to cupy.ndarray"
            raise TypeError(msg)
        if arr.dtype != self.dtype:
            msg = f"{arr.dtype} array cannot be set to {self.dtype} array"
            raise TypeError(msg)
        if arr.shape != self.shape:
            msg = f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}"
            raise ValueError(msg)
        if not self._array.flags.forc:
            msg = "Cannot set to non-contiguous array"
            raise RuntimeError(msg)
        record("copy")
        self._array[...] = arr

    def item(self) -> Any:
        """Return the one element as a Python number; synchronizes."""
        if self._array.size != 1:
            msg = "can only convert an array of size 1 to a Python scalar"
            raise ValueError(msg)
        return self.get().item()

    def tolist(self) -> Any:
        """Return nested lists; synchronizes."""
        return self.get().tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        """Return the bytes; synchronizes."""
        return bytes(self.get().tobytes(order))

    def astype(
        self,
        dtype: Any,
        order: Any = "K",
        casting: None = None,
        subok: None = None,
        copy: Any = True,
    ) -> Any:
        """Return the array cast to ``dtype``."""
        if casting is not None or subok is not None:
            msg = "casting and subok are not supported yet"
            raise TypeError(msg)
        return creation.astype_array(self, dtype, order, True if copy else None)

    def copy(self, order: Any = "C") -> Any:
        """Return a copy."""
        return creation.astype_array(self, self._array.dtype, order, True)

    def view(self, dtype: Any = None, type: None = None) -> Any:
        """Return a view, of another dtype if given."""
        if type is not None:
            msg = "Type must be a sub-type of ndarray type"
            raise ValueError(msg)
        return new(self._array.view() if dtype is None else self._array.view(dtype), self)

    def fill(self, value: Any) -> None:
        """Write one number everywhere."""
        indexing.fill(self, value)

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Any:
        """Return the array in another shape: a view if its memory allows."""
        return manipulation.reshape(self, shape[0] if len(shape) == 1 else shape, order, copy=copy)

    def transpose(self, *axes: Any) -> Any:
        """Return a view with the axes permuted."""
        return new(self._array.transpose(*axes), self)

    def swapaxes(self, axis1: int, axis2: int) -> Any:
        """Return a view with two axes exchanged."""
        return new(self._array.swapaxes(axis1, axis2), self)

    def flatten(self, order: str = "C") -> Any:
        """Return a copy with one axis."""
        return result(self._array.flatten(order), "copy")

    def ravel(self, order: str = "C") -> Any:
        """Return the array with one axis: a view if it is contiguous."""
        return manipulation.ravel(self, order)

    def squeeze(self, axis: Any = None) -> Any:
        """Return a view without axes of length one."""
        return new(self._array.squeeze(axis), self)

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        """Sort in place, stably."""
        self._array[...] = sorting.sort(self, axis, kind)._array

    def round(self, decimals: int = 0, out: Any = None) -> Any:
        """Round to a number of decimals."""
        return elementwise.around(self, decimals, out)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Any:
        """Limit elements to an interval."""
        return elementwise.clip(self, min, max, out)

    def argmax(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the index of the first maximum."""
        return reductions.argmax(self, axis, dtype, out, keepdims)

    def argmin(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the index of the first minimum."""
        return reductions.argmin(self, axis, dtype, out, keepdims)

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        """Return the slices where ``condition`` holds."""
        return indexing.compress(condition, self, axis, out)

    sum = reductions.sum
    prod = reductions.prod
    mean = reductions.mean
    var = reductions.var
    std = reductions.std
    max = reductions.amax
    min = reductions.amin
    ptp = reductions.ptp
    all = reductions.all
    any = reductions.any
    cumsum = reductions.cumsum
    cumprod = reductions.cumprod
    trace = reductions.trace
    argsort = sorting.argsort
    searchsorted = sorting.searchsorted
    take = indexing.take
    diagonal = indexing.diagonal
    nonzero = indexing.nonzero
    repeat = manipulation.repeat
    dot = products.dot

    def conj(self) -> Any:
        """Return the complex conjugate."""
        return UFUNCS["conjugate"](self) if self._array.dtype.kind == "c" else self

    conjugate = conj

    def _scatter_op(self, slices: Any, value: Any, op: str) -> None:
        indexing.scatter(self, slices, value, op)

    def __dlpack__(
        self, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        """Return a DLPack capsule of the host memory that stands for the device's.

        Raises
        ------
        BufferError
            If the device is another one.
        """
        return self._array.__dlpack__(max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> Any:
        """Return the host's type of device: no GPU's memory is there."""
        return self._array.__dlpack_device__()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        msg = (
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )
        raise TypeError(msg)

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        operands = inputs
        if "out" in kwargs:
            out = kwargs["out"]
            if len(out) != 1:
                msg = "The 'out' parameter must have exactly one array value"
                raise ValueError(msg)
            operands += out
            kwargs["out"] = out[0]
        own = UFUNCS.get(function.__name__, products.matmul if function is np.matmul else None)
        chosen = own if method == "__call__" else getattr(own, method, None)
        if chosen is None:
            return NotImplemented
        for x in operands:
            if type(x) not in NUMBERS and not isinstance(x, (ndarray, np.ndarray, np.generic)):
                return NotImplemented
        if function.__name__ in COMPARISONS:
            inputs = tuple(
                [x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs]
            )
        return chosen(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        own = FUNCTIONS.get(func.__name__)
        known = (ndarray, np.ndarray)
        if own is None or own is func or not builtins.all(issubclass(t, known) for t in types):
            return NotImplemented
        return own(*args, **kwargs)

    def __getitem__(self, slices: Any) -> Any:
        return indexing.getitem(self, slices)

    def __setitem__(self, slices: Any, value: Any) -> None:
        indexing.setitem(self, slices, value)

    def __len__(self) -> int:
        if self._array.ndim == 0:
            msg = "len() of unsized object"
            raise TypeError(msg)
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        if self._array.ndim == 0:
            msg = "iteration over a 0-d array"
            raise TypeError(msg)
        return (self[i] for i in range(len(self._array)))

    def __bool__(self) -> bool:
        if self._array.size == 0:
            msg = "The truth value of an empty array is ambiguous. Use `array.size > 0`."
            warnings.warn(msg, DeprecationWarning, stacklevel=2)
            return False
        if self._array.size > 1:
            msg = (
                "The truth value of an array with more than one element is ambiguous. "
                "Use a.any() or a.all()"
            )
            raise ValueError(msg)
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, format_spec: str) -> str:
        return format(self.get(), format_spec)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __reduce__(self) -> Any:
        return creation.array, (self.get(order="A"),)
