"""`RawModule` and `RawKernel`: CUDA sources, compiled for the CPU and run over the whole grid.

A kernel whose threads wait for one another (``__syncthreads``, warp shuffles) runs each block's
threads as fibers; others run them one after the other.
"""

from __future__ import annotations

import ctypes
import math
import operator
import os
import threading
from collections.abc import Sequence
from typing import Any

from .compiler import Library, load
from .counters import record_kernel
from .device import CUDADriverError
from .host import np
from .storage import Storage

_MAX_GRID = (2**31 - 1, 65535, 65535)
_MAX_BLOCK = (1024, 1024, 64)
_MAX_THREADS = 1024
_MAX_SHARED = 48 * 1024
_running = threading.Lock()


class _Shape(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("reverse", ctypes.c_uint),
    )


class RawModule:
    """A CUDA source with kernels.

    Parameters
    ----------
    code : str
        The source.
    path : str
        Refused: the emulation runs no binaries.
    options : tuple of str
        NVRTC's options; see `compiler.load`.
    backend : str
        ``"nvrtc"``.
    name_expressions : sequence of str, optional
        Instances of templates, such as ``"step<float>"``, that `get_function` shall know.
    """

    def __init__(
        self,
        *,
        code: str | None = None,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: Any = None,
    ) -> None:
        if (code is None) == (path is None):
            msg = "Exactly one of `code` and `path` keyword arguments must be given."
            raise TypeError(msg)
        if code is None or translate_cucomplex or enable_cooperative_groups or jitify:
            msg = "RawModule: the emulation takes `code`, `options` and `name_expressions` alone"
            raise NotImplementedError(msg)
        if not isinstance(code, str) or not isinstance(options, tuple):
            got = f"{type(code)}, {type(options)}"
            msg = f"RawModule: code must be a str and options a tuple, got {got}"
            raise TypeError(msg)
        self.code = code
        self.options = options
        self.backend = backend
        self.name_expressions = None if name_expressions is None else tuple(name_expressions)

    def get_function(self, name: str) -> RawKernel:
        """Return the kernel ``name``, compiling the source if need be.

        Raises
        ------
        CUDADriverError
            If the source has no such kernel.
        CompileException
            If it does not compile.
        """
        return RawKernel(self.code, name, self.options, _names=self.name_expressions or ())

    def compile(self, log_stream: Any = None) -> None:
        """Compile the source now rather than at the first `get_function`."""
        load(self.code, self.options, self.name_expressions or ())


class RawKernel:
    """One kernel of a CUDA source: ``kernel(grid, block, args, shared_mem=0)``."""

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        *,
        _names: tuple[str, ...] = (),
    ) -> None:
        self.code = code
        self.name = self.__name__ = name
        self.options = options
        self.backend = backend
        library = load(code, options, _names)
        if name not in library:
            msg = f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}"
            raise CUDADriverError(msg)
        self._library: Library = library
        self._signature = library.signature(name)
        self._launcher = library.launcher(name)

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Any,
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Run the kernel over ``grid`` blocks of ``block`` threads.

        Parameters
        ----------
        grid, block : tuple of up to three ints
            A zero counts as one, as in CuPy.
        args : sequence
            One item a parameter: an array of the parameter's dtype (or None) for a pointer; for a
            number a NumPy scalar of exactly its type, or a Python number where the type has 64
            bits. CuPy passes on the bytes of whatever it gets, so that a Python float given for a
            ``float`` would be read as another number.
        shared_mem : int
            Bytes of dynamic shared memory.

        Raises
        ------
        TypeError
            If an argument is not what its parameter wants, or their numbers differ.
        CUDADriverError
            If a size is beyond CUDA's limits, or threads wait at different barriers.
        """
        words = self._words(args)
        shape = _Shape(
            _sizes("grid", grid, _MAX_GRID),
            _sizes("block", block, _MAX_BLOCK),
            operator.index(shared_mem),
            os.environ.get("CUPY_EMULATION_ORDER") == "reverse",
        )
        if math.prod(shape.block) > _MAX_THREADS or not 0 <= shared_mem <= _MAX_SHARED:
            msg = (
                f"CUDA_ERROR_INVALID_VALUE: invalid argument: {self.name}: a block has at most "
                f"{_MAX_THREADS} threads and {_MAX_SHARED} bytes of shared memory, "
                f"got block={block}, shared_mem={shared_mem}"
            )
            raise CUDADriverError(msg)
        record_kernel(self.name)
        with _running:
            if self._launcher(ctypes.byref(shape), words) != 0:
                msg = f"CUDA_ERROR_LAUNCH_FAILED: {self.name}: {self._library.message()}"
                raise CUDADriverError(msg)

    def compile(self, log_stream: Any = None) -> None:
        """Return: making the object has compiled it."""

    def _words(self, args: Any) -> Any:
        wanted = self._signature
        if len(args) != len(wanted):
            msg = f"{self.name}: takes {len(wanted)} arguments {wanted}, got {len(args)}"
            raise TypeError(msg)
        words = (ctypes.c_uint64 * max(1, len(wanted)))()
        for i, (argument, code) in enumerate(zip(args, wanted, strict=True)):
            word = _pointer(argument) if code[0] == "*" else _number(argument)
            given, words[i] = word
            if not _fits(argument, given, code):
                msg = f"{self.name}: argument {i} must be {code} (kind, bytes), got {given}"
                raise TypeError(msg)
        return words


def _sizes(name: str, sizes: Any, limits: tuple[int, int, int]) -> Any:
    if not isinstance(sizes, tuple):
        msg = f"Argument '{name}' has incorrect type (expected tuple, got {type(sizes)})"
        raise TypeError(msg)
    three = [max(1, operator.index(size)) for size in (*sizes, 1, 1)[:3]]
    if any(size > limit for size, limit in zip(three, limits, strict=True)):
        msg = f"CUDA_ERROR_INVALID_VALUE: invalid argument: {name} is at most {limits}, got {sizes}"
        raise CUDADriverError(msg)
    return (ctypes.c_uint * 3)(*three)


def _pointer(argument: Any) -> tuple[str, int]:
    if argument is None:
        return "*v", 0
    if isinstance(argument, Storage):
        array = argument._array
        owned = argument.base is None
        address = 0 if owned and array.nbytes == 0 else array.ctypes.data
        return f"*{array.dtype.kind}{array.dtype.itemsize}", address
    return type(argument).__name__, 0


def _number(argument: Any) -> tuple[str, int]:
    if type(argument) in (bool, int, float):
        dtype = np.array(argument).dtype
    elif isinstance(argument, np.generic) and argument.dtype.kind in "biuf":
        dtype = argument.dtype
    else:
        return type(argument).__name__, 0
    word = int.from_bytes(np.array(argument, dtype).tobytes(), "little")
    return f"{dtype.kind}{dtype.itemsize}", word


def _fits(argument: Any, given: str, code: str) -> bool:
    if given == code:
        return True
    if code[0] == "*":
        return argument is None or (code == "*v" and given[0] == "*")
    return code == "u8" and given == "i8" and type(argument) is int and argument >= 0
