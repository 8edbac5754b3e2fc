"""Memory that is used again.

What the system gives for a large array comes in pages that fault when they are first touched, and
goes back to it when the array goes. In a step of training that is the same memory each time, and
the faults cost as much as the work that is done in it. Here it is kept for the next that asks.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from impl_numpy.dtypes import Array, Shape

# Smaller arrays are in good hands with malloc; larger ones come in large pages, which fault seldom.
LEAST, MOST = 5 << 13, 1 << 24
# So many bytes, and so many arrays, are kept at most while nobody uses them.
KEPT, COUNT = 1 << 26, 48

# From that which has been free longest to that which was used last. Each operation on a deque is
# one step for all threads.
_FREE: deque[Array] = deque(maxlen=COUNT)


class _Lease:
    """What an array has as its base; it lives as long as that and its views."""

    __slots__ = ("__array_struct__", "memory")

    def __init__(self, memory: Array) -> None:
        self.__array_struct__ = memory.__array_struct__
        self.memory = memory

    # Bound here, since the module may have lost its names when the interpreter ends.
    def __del__(self, free: deque[Array] = _FREE, large: int = KEPT >> 6) -> None:
        free.append(self.memory)
        if self.memory.size >= large:
            while sum([memory.size for memory in tuple(free)]) > large << 6:
                free.popleft()


def empty(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Return an array with any values in it, in memory that is free again once nobody holds it.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype

    Returns
    -------
    numpy.ndarray, C-contiguous
    """
    size = math.prod(shape) * dtype.itemsize
    if not LEAST <= size <= MOST:
        return np.empty(shape, dtype)
    array = np.asarray(_Lease(_memory(_rounded(size))))
    return array[:size].view(dtype).reshape(shape)


def _rounded(size: int) -> int:
    """Return the next of eight sizes between powers of two, so that sizes that vary meet again."""
    grain = 1 << (size.bit_length() - 4)
    return -(-size // grain) * grain


def _memory(size: int) -> Array:
    """Return memory of this size: that which was used last, since it may still be in the cache."""
    for passed in range(len(_FREE)):
        try:
            memory = _FREE.pop()
        except IndexError:
            # Another thread took it.
            break
        if memory.size == size:
            _FREE.rotate(-passed)
            return memory
        _FREE.appendleft(memory)
    return np.empty(size, np.uint8)
