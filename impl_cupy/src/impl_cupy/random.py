"""The one generator that every random number comes from: Philox 4x64-10, on the host.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any, TypeAlias

import numpy as np

# A Philox counter step gives four words; a jump is possible to whole steps only.
_WORDS_PER_STEP = 4

_HostArray = np.ndarray[Any, np.dtype[Any]]


class _Generator:
    """Philox with a position that can be read and set for the cost of an integer."""

    def __init__(self, seed: int, position: int = 0) -> None:
        self.lock = threading.Lock()
        self.restart(seed, position)

    def restart(self, seed: int, position: int) -> None:
        self.seed = seed
        self.position = position
        bits = np.random.Philox(key=seed)
        bits.advance(position // _WORDS_PER_STEP)
        bits.random_raw(position % _WORDS_PER_STEP)
        self.bits = bits

    def words(self, count: int) -> _HostArray:
        with self.lock:
            self.position += count
            return np.asarray(self.bits.random_raw(count), dtype=np.uint64)


_generator = _Generator(int.from_bytes(os.urandom(8), "little"))


class _Own(threading.local):
    """The generator that a thread draws from in the place of the common one."""

    generator: _Generator | None = None


_own = _Own()


def _current() -> _Generator:
    return _own.generator or _generator


def manual_seed(seed: int) -> None:
    """Start the generator anew: ``numpy.random.Philox(key=seed)``.

    Parameters
    ----------
    seed : int
        ``0 <= seed < 2**64``.

    Raises
    ------
    TypeError
        If `seed` is no int.
    ValueError
        If `seed` is out of range.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        msg = f"manual_seed: seed must be an int, got {type(seed).__name__}"
        raise TypeError(msg)
    if not 0 <= seed < 2**64:
        msg = f"manual_seed: seed must be in 0 <= seed < 2**64, got {seed}"
        raise ValueError(msg)
    _current().restart(int(seed), 0)


def uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> _HostArray:
    """Draw float64 numbers ``low + (high - low) * u``, ``u = (w >> 11) * 2**-53``, in C order.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result, one 64-bit word `w` per element.
    low, high : float
        Ends of the half-open interval.
    """
    words = _current().words(math.prod(shape))
    unit = (words >> np.uint64(11)) * 2.0**-53
    return (low + (high - low) * unit).reshape(shape)


def normal(shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> _HostArray:
    """Draw float64 normal numbers in pairs: ``r cos(2π u2)``, ``r sin(2π u2)``.

    ``r = sqrt(-2 ln(1 - u1))``: Box and Muller, "A note on the generation of random normal
    deviates", 1958.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result; ``ceil(n / 2)`` pairs are drawn for n elements.
    mean, std : float
        Applied in float64.
    """
    count = math.prod(shape)
    pairs = uniform(((count + 1) // 2, 2))
    radius = np.sqrt(-2.0 * np.log(1.0 - pairs[:, 0]))
    angle = 2.0 * np.pi * pairs[:, 1]
    unit = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    return (mean + std * unit[:count]).reshape(shape)


Mark: TypeAlias = "tuple[int, int]"
"""A seed, and how many words have been drawn since."""


def mark() -> Mark:
    """Return where the generator stands."""
    generator = _current()
    return generator.seed, generator.position


class RestoredOnError:
    """Context manager that puts the generator back where it was if the body raises; used once."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = mark()

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is not None and self._before != mark():
            _current().restart(*self._before)


class DrawnAgain:
    """Context manager in which this thread draws what was drawn from a mark on; used once.

    The common generator is left alone. With None the thread draws from it as ever.
    """

    __slots__ = ("_mark", "_outer")

    def __init__(self, start: Mark | None) -> None:
        self._mark = start

    def __enter__(self) -> None:
        self._outer = _own.generator
        if self._mark is not None:
            _own.generator = _Generator(*self._mark)

    def __exit__(self, *_: object) -> None:
        _own.generator = self._outer
