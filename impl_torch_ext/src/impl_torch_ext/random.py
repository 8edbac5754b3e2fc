"""The one generator of random numbers, on the host: a seed means the same everywhere.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1,
2, 3. SC 2011.
"""

import math
import operator
import reprlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias

import numpy as np

__all__ = [
    "Draw",
    "check_seed",
    "manual_seed",
    "normal",
    "noted",
    "repeated",
    "restore",
    "state",
    "stream",
    "uniform",
]

Draw: TypeAlias = tuple[Any, int]
"""Where the generator stood before it gave words, and how many."""


class _Again:
    """Draws that a thread repeats."""

    def __init__(self, name: str, draws: Sequence[Draw]) -> None:
        self.name = name
        self.left = list(reversed(draws))

    def generator(self, count: int) -> Any:
        """Return a generator that stands where the one did that gave the next `count` words."""
        state, drawn = self.left.pop() if self.left else (None, 0)
        if state is None or drawn != count:
            self.refuse(f"{count} in the place of {drawn}")
        generator = np.random.Philox(key=0)
        generator.state = state
        return generator

    def refuse(self, came: str) -> NoReturn:
        msg = f"{self.name}: the same numbers must be drawn again, got {came}"
        raise RuntimeError(msg)


class _Thread(threading.local):
    # Where this thread notes what it draws, and what it repeats.
    notes: tuple[list[Draw], ...] = ()
    again: _Again | None = None


_thread = _Thread()
_lock = threading.Lock()
_generator = np.random.Philox()


def manual_seed(seed: int) -> None:
    """Start the generator anew from `seed`.

    Parameters
    ----------
    seed : int
        `0 <= seed < 2**64`, the key of the Philox 4x64-10 generator.

    Raises
    ------
    TypeError
        If `seed` is no int.
    ValueError
        If it is out of range.
    """
    global _generator
    key = check_seed("manual_seed", seed)
    if _thread.again is not None:
        return  # What is repeated begins where it began the first time.
    with _lock:
        _generator = np.random.Philox(key=key)


def check_seed(name: str, seed: Any) -> int:
    """Return a seed as an int, or raise in the name of `name`."""
    try:
        key = None if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        key = None
    if key is None:
        msg = f"{name}: seed must be an int, got {' '.join(reprlib.repr(seed).split())}"
        raise TypeError(msg)
    if not 0 <= key < 2**64:  # init-01
        came = key if key.bit_length() < 256 else f"an int of {key.bit_length()} bits"
        msg = f"{name}: seed must be at least 0 and below 2**64, got {came}"
        raise ValueError(msg)
    return key


def stream(seed: int) -> Callable[[int], np.ndarray]:
    """Return what draws so many numbers in [0, 1) from a new generator of a seed (data-01)."""
    generator = np.random.Philox(key=seed)
    return lambda count: _floats(generator.random_raw(count))


def state() -> np.ndarray:
    """Return the state of the generator as 11 words of int64 (init-11)."""
    with _lock:
        again = _thread.again
        there = again.left[-1][0] if again is not None and again.left else _generator.state
    words = [*there["state"]["counter"], *there["state"]["key"], *there["buffer"]]
    return np.array([*words, np.uint64(there["buffer_pos"])], np.uint64).view(np.int64)


def restore(words: np.ndarray) -> None:
    """Let the generator go on from what `state` returned."""
    global _generator
    if _thread.again is not None:
        return
    whole = words.astype(np.int64).view(np.uint64)
    generator = np.random.Philox(key=0)
    generator.state = {
        "bit_generator": "Philox",
        "state": {"counter": whole[:4], "key": whole[4:6]},
        "buffer": whole[6:10],
        "buffer_pos": int(whole[10]),
        "has_uint32": 0,
        "uinteger": 0,
    }
    with _lock:
        _generator = generator


def uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Draw uniform numbers in `[low, high)`.

    Parameters
    ----------
    shape : tuple of int
        Filled in C order, one 64-bit word for each number.
    low, high : float

    Returns
    -------
    numpy.ndarray, float64
        `low + (high - low) u` with `u = (w >> 11) 2**-53`.
    """
    return np.asarray(low + (high - low) * _unit(math.prod(shape)).reshape(shape))


def normal(shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """Draw normal numbers by the method of Box and Muller (1958).

    Parameters
    ----------
    shape : tuple of int
        Filled in C order, two numbers from each pair of uniform ones; an odd last one is dropped.
    mean, std : float

    Returns
    -------
    numpy.ndarray, float64
        `mean + std z` with `z = r cos(2 pi u2), r sin(2 pi u2)` and `r = sqrt(-2 ln(1 -
        u1))`.
    """
    count = math.prod(shape)
    # init-03
    pairs = _unit(2 * ((count + 1) // 2)).reshape(-1, 2)
    radius = np.sqrt(-2.0 * np.log(1.0 - pairs[:, 0]))
    angle = 2.0 * np.pi * pairs[:, 1]
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    # A 0-d result of arithmetic would be a NumPy scalar.
    return np.asarray(mean + std * both.reshape(-1)[:count].reshape(shape))


@contextmanager
def noted() -> Iterator[list[Draw]]:
    """Note what this thread draws, in a list that is yielded."""
    before, notes = _thread.notes, list[Draw]()
    _thread.notes = (*before, notes)
    try:
        yield notes
    finally:
        _thread.notes = before


@contextmanager
def repeated(name: str, draws: Sequence[Draw]) -> Iterator[None]:
    """Let this thread draw again what it drew, while the generator stands still.

    Raises
    ------
    RuntimeError
        In the name of `name`, if other numbers are asked for, at the latest at the end.
    """
    before, again = _thread.again, _Again(name, draws)
    _thread.again = again
    try:
        yield
        if again.left:
            again.refuse(f"none in the place of {again.left[-1][1]}")
    finally:
        _thread.again = before


def _unit(count: int) -> np.ndarray:
    with _lock:
        generator = _generator if _thread.again is None else _thread.again.generator(count)
        for notes in _thread.notes:
            notes.append((generator.state, count))
        words = generator.random_raw(count)
    return _floats(words)


def _floats(words: Any) -> np.ndarray:
    return (np.asarray(words, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
