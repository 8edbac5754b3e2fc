"""What an emulated array holds, below its methods.

The one subclass of `Storage` is `ndarray.ndarray`; the modules with the functions need only what
is here, so that imports run one way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from .counters import Memory, record
from .host import np

SUPPORTED = frozenset("?bhilqBHILQefdFD")
"""Type characters of the dtypes that CuPy has."""

FUNCTIONS: dict[str, Any] = {}
"""The functions of `namespace` by name, for arrays that NumPy's functions get; filled there."""


class Storage:
    """A NumPy array that nobody outside the emulation gets to see."""

    __slots__ = ("__weakref__", "_array", "_nbytes", "base")

    _array_type: ClassVar[type[Storage]]
    _array: Any
    _nbytes: int
    base: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Storage._array_type = cls

    def __del__(self) -> None:
        nbytes = getattr(self, "_nbytes", 0)
        if nbytes:
            Memory.free(nbytes)


def new(array: Any, base: Storage | None = None) -> Any:
    """Wrap ``array`` as it is: the owner of its data, or a view of ``base``."""
    out = object.__new__(Storage._array_type)
    out._array = array
    if base is None:
        out.base = None
        out._nbytes = nbytes = array.nbytes
        if nbytes:
            Memory.allocate(nbytes)
    else:
        out.base = base if base.base is None else base.base
        out._nbytes = 0
    return out


def result(array: Any, kind: str) -> Any:
    """Wrap what NumPy computed as a new C-contiguous array, as CuPy's kernels write it."""
    record(kind)
    if type(array) is not np.ndarray:
        array = np.asarray(array)
    elif not array.flags.c_contiguous or array.base is not None:
        array = array.copy(order="C")
    return new(array)


def view(array: Any, base: Storage) -> Any:
    """Wrap a view of ``base``'s memory; ``array`` is copied if NumPy had to copy."""
    if not np.may_share_memory(array, base._array) and array.size:
        return result(array, "copy")
    return new(array, base)


def raw(x: Any, name: str = "a") -> Any:
    """Return the NumPy array inside an emulated one.

    Raises
    ------
    TypeError
        If ``x`` is anything else: CuPy converts nothing by itself.
    """
    if isinstance(x, Storage):
        return x._array
    msg = f"Argument '{name}' has incorrect type (expected cupy.ndarray, got {type(x)})"
    raise TypeError(msg)


def raws(xs: Any, name: str = "tup") -> list[Any]:
    """Return the NumPy arrays inside a sequence of emulated ones."""
    if isinstance(xs, Storage):
        return list(xs._array)
    if not isinstance(xs, Iterable):
        msg = f"Argument '{name}' must be a sequence of cupy.ndarray, got {type(xs)}"
        raise TypeError(msg)
    return [raw(x, name) for x in xs]


def get_dtype(dtype: Any) -> Any:
    """Return the NumPy dtype for ``dtype``.

    Raises
    ------
    ValueError
        If CuPy has no such dtype.
    """
    dtype = np.dtype(dtype)
    if dtype.char not in SUPPORTED or dtype.byteorder == ">":
        msg = f"Unsupported dtype {dtype}"
        raise ValueError(msg)
    return dtype


def store(array: Any, out: Any, kind: str, shape: tuple[int, ...] | None = None) -> Any:
    """Return ``array`` as a new emulated array, or written into ``out`` as CuPy's reductions do.

    Raises
    ------
    TypeError
        If ``out`` is no emulated array or its dtype is of a lower kind.
    ValueError
        If ``out`` has another shape.
    """
    if out is None:
        return result(array, kind)
    array = np.asarray(array)
    target = raw(out, "out")
    if target.shape != (array.shape if shape is None else shape):
        msg = f"Out shape is mismatched: expected {array.shape}, got {target.shape}"
        raise ValueError(msg)
    check_cast(array.dtype, target.dtype, "same_kind", "output operand")
    record(kind)
    np.copyto(target, array, casting="unsafe")
    return out


def check_cast(source: Any, target: Any, casting: str, what: str) -> None:
    """Raise TypeError unless ``source`` may be cast to ``target`` by the rule ``casting``."""
    if source != target and not np.can_cast(source, target, casting):
        msg = f"Cannot cast {what} from {source!r} to {target!r} according to the rule '{casting}'"
        raise TypeError(msg)


def uninitialized(shape: Any, dtype: Any, order: str = "C") -> Any:
    """Return a NumPy array full of NaN, -1 or the largest unsigned integer.

    Fresh GPU memory holds leftovers; zeros, which a fresh process often gets, would hide a read
    before a write.
    """
    array = np.empty(shape, dtype, order=order)
    if array.dtype.kind == "b":
        array.fill(True)
    elif array.size:
        array.ravel("K").view(np.uint8).fill(255)
    return array
