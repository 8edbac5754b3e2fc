"""The emulated device behind `cuda`: one device, one stream, the pool's figures."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from .counters import Memory


class CUDARuntimeError(RuntimeError):
    """What CuPy raises when a call of the CUDA runtime fails."""


class CUDADriverError(RuntimeError):
    """What CuPy raises when a call of the CUDA driver, such as a launch, fails."""


class MemoryPointer:
    """An address, as CuPy's arrays carry it."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr
        self.device_id = 0

    @property
    def device(self) -> Device:
        """The device that the memory belongs to."""
        return Device(0)


class Device:
    """The one emulated device; a context manager as in CuPy."""

    def __init__(self, device: Any = None) -> None:
        number = 0 if device is None else int(device)
        if number != 0:
            msg = f"cudaErrorInvalidDevice: invalid device ordinal {number}"
            raise CUDARuntimeError(msg)
        self.id = number

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def synchronize(self) -> None:
        """Return: every emulated operation has ended before its call returned."""


class Stream:
    """The one emulated stream; a context manager as in CuPy."""

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: Any = None,
    ) -> None:
        self.ptr = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    @property
    def done(self) -> bool:
        """Whether all work has ended; it always has."""
        return True

    def synchronize(self) -> None:
        """Return: every emulated operation has ended before its call returned."""


_stream = Stream(null=True)


def get_current_stream(device_id: int = -1) -> Stream:
    """Return the one stream."""
    return _stream


def get_device_id() -> int:
    """Return the number of the one device."""
    return 0


def is_available() -> bool:
    """Return True: the emulation stands where a device would be."""
    return True


class runtime:
    """The corner of `cupy.cuda.runtime` that an implementation needs."""

    CUDARuntimeError = CUDARuntimeError

    @staticmethod
    def getDeviceCount() -> int:
        """Return 1."""
        return 1

    @staticmethod
    def getDevice() -> int:
        """Return 0."""
        return 0


class driver:
    """The corner of `cupy.cuda.driver` that an implementation needs."""

    CUDADriverError = CUDADriverError


class CompileException(Exception):
    """What CuPy raises when a kernel's source does not compile; its text is the compiler's."""


class compiler:
    """The corner of `cupy.cuda.compiler` that an implementation needs."""

    CompileException = CompileException


class MemoryPool:
    """The figures of the emulated device's memory."""

    def used_bytes(self) -> int:
        """Return the bytes that live arrays hold, each rounded up to 512."""
        return Memory.used

    def total_bytes(self) -> int:
        """Return the most that `used_bytes` was since the last `free_all_blocks`."""
        return Memory.total

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give back what no array uses."""
        Memory.trim()


_pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    """Return the one pool."""
    return _pool
