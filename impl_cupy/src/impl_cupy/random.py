"""The one generator that every random number comes from: Philox 4x64-10, on the host.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

# A Philox counter step gives four words; a jump is possible to whole steps only.
_WORDS_PER_STEP = 4

_HostArray = np.ndarray[Any, np.dtype[Any]]

State: TypeAlias = "tuple[int, ...]"
"""Four words of the counter, two of the key, four of the buffer, and the place in the buffer."""

STATE_SIZE = 11


def seeded(seed: int) -> State:
    """Return the state of ``numpy.random.Philox(key=seed)``."""
    return (0, 0, 0, 0, seed, 0, 0, 0, 0, 0, _WORDS_PER_STEP)


class _Generator:
    """Philox with a position that can be read and set for the cost of an integer.

    The position counts the words since `origin`.
    """

    def __init__(self, origin: State, position: int = 0) -> None:
        self.lock = threading.Lock()
        self.bits = np.random.Philox(key=0)
        self.restart(origin, position)

    def restart(self, origin: State, position: int) -> None:
        words = np.array(origin[:-1], np.uint64)
        with self.lock:
            self.origin = origin
            self.position = position
            self.bits.state = {
                "bit_generator": "Philox",
                "state": {"counter": words[:4], "key": words[4:6]},
                "buffer": words[6:],
                "buffer_pos": origin[-1],
                "has_uint32": 0,
                "uinteger": 0,
            }
            beyond = position - (_WORDS_PER_STEP - origin[-1])
            if beyond > 0:
                # The last step is drawn, so that the buffer holds what it held (errors-03).
                steps, position = divmod(beyond - 1, _WORDS_PER_STEP)
                self.bits.advance(steps)
                position += 1
            self.bits.random_raw(position)

    def words(self, count: int) -> _HostArray:
        with self.lock:
            self.position += count
            return np.asarray(self.bits.random_raw(count), dtype=np.uint64)

    def units(self, count: int) -> _HostArray:
        return np.asarray((self.words(count) >> np.uint64(11)) * 2.0**-53)

    def state(self) -> State:
        with self.lock:
            held: Any = self.bits.state
        parts = (*held["state"]["counter"], *held["state"]["key"], *held["buffer"])
        return (*map(int, parts), int(held["buffer_pos"]))


_generator = _Generator(seeded(int.from_bytes(os.urandom(8), "little")))


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
    _current().restart(seeded(check_seed("manual_seed", seed)), 0)


def check_seed(operation: str, seed: Any) -> int:
    """Return a seed as an int (init-01).

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is out of range.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        msg = f"{operation}: seed must be an int, got {type(seed).__name__}"
        raise TypeError(msg)
    if not 0 <= seed < 2**64:
        msg = f"{operation}: seed must be in 0 <= seed < 2**64, got {seed}"
        raise ValueError(msg)
    return int(seed)


def stream(seed: int) -> Callable[[int], _HostArray]:
    """Return what draws the next uniform numbers of a seed, apart from the generator (data-01)."""
    return _Generator(seeded(seed)).units


def state() -> State:
    """Return the state of the generator (init-11)."""
    return _current().state()


def set_state(state: State) -> None:
    """Let the generator go on from a state."""
    _current().restart(state, 0)


def uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> _HostArray:
    """Draw float64 numbers ``low + (high - low) * u``, ``u = (w >> 11) * 2**-53``, in C order.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result, one 64-bit word `w` per element.
    low, high : float
        Ends of the half-open interval.
    """
    return (low + (high - low) * _current().units(math.prod(shape))).reshape(shape)


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


Mark: TypeAlias = "tuple[State, int]"
"""A state, and how many words have been drawn since."""


def mark() -> Mark:
    """Return where the generator stands."""
    generator = _current()
    return generator.origin, generator.position


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
