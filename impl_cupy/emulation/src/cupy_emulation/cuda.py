"""The corner of `cupy.cuda` that an implementation needs."""

from .device import (
    Device,
    MemoryPointer,
    MemoryPool,
    Stream,
    compiler,
    driver,
    get_current_stream,
    get_device_id,
    is_available,
    runtime,
)

__all__ = [
    "Device",
    "MemoryPointer",
    "MemoryPool",
    "Stream",
    "compiler",
    "driver",
    "get_current_stream",
    "get_device_id",
    "is_available",
    "runtime",
]
