"""The generator behind every random number: NumPy's Philox 4x64-10 (Salmon et al., SC 2011)."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.random import Philox


class _Stream:
    """The generator in use; without a seed the first draw starts it from the system's entropy."""

    bits: Philox | None = None


class _Replay(threading.local):
    """What a thread draws from instead, while it draws again what was drawn before."""

    bits: Philox | None = None


_REPLAY = _Replay()


def _generator() -> Philox:
    if _REPLAY.bits is not None:
        return _REPLAY.bits
    if _Stream.bits is None:
        _Stream.bits = np.random.Philox()
    return _Stream.bits


def place() -> Any:
    """Return where the generator stands, for `replayed` and `resume`."""
    return _generator().state


def resume(start: Any) -> None:
    """Go on from a former place."""
    _generator().state = start


def words() -> NDArray[np.int64]:
    """Return the place as 11 numbers: counter, key, buffer and the place in it (init-11)."""
    state = place()
    parts = state["state"]["counter"], state["state"]["key"], state["buffer"]
    position = np.array([state["buffer_pos"]], np.uint64)
    return np.concatenate([*parts, position]).astype(np.uint64, copy=False).view(np.int64)


def resume_words(numbers: NDArray[np.int64]) -> None:
    """Go on from the place that 11 numbers say, of which the last is from 0 to 4."""
    parts = np.ascontiguousarray(numbers).view(np.uint64)
    state = np.random.Philox(key=0).state
    state["state"] = {"counter": parts[:4].copy(), "key": parts[4:6].copy()}
    state["buffer"] = parts[6:10].copy()
    state["buffer_pos"] = int(parts[10])
    resume(state)


@contextmanager
def replayed(start: Any) -> Iterator[None]:
    """Draw from a former place on; afterwards the generator stands where it stood."""
    before = _REPLAY.bits
    _REPLAY.bits = np.random.Philox(key=0)
    _REPLAY.bits.state = start
    try:
        yield
    finally:
        _REPLAY.bits = before


def manual_seed(seed: int) -> None:
    """Start the generator anew: the same seed and the same calls give the same bits.

    Parameters
    ----------
    seed : int
        0 <= seed < 2**64.

    Raises
    ------
    TypeError, ValueError
        If `seed` is no int or out of range; the generator goes on as it was.
    """
    bits = philox("manual_seed", seed)
    (_Stream if _REPLAY.bits is None else _REPLAY).bits = bits


def philox(operation: str, seed: Any) -> Philox:
    """Return a generator of its own for a seed; raise as `manual_seed` does, in another's name."""
    try:
        key = None if isinstance(seed, (bool, np.bool)) else operator.index(seed)
    except (TypeError, ValueError):
        key = None
    if key is None:
        msg = f"{operation}: the seed must be an int, got {type(seed).__name__}"
        raise TypeError(msg)
    if not 0 <= key < 2**64:
        msg = f"{operation}: the seed must be at least 0 and less than 2**64, got {key}"
        raise ValueError(msg)
    return np.random.Philox(key=key)


def uniform(shape: tuple[int, ...], bits: Philox | None = None) -> NDArray[np.float64]:
    """Return the next numbers in [0, 1), in C order: 53 bits of each 64-bit word.

    They come from the one generator, or from another that is given.
    """
    raw: Any = (_generator() if bits is None else bits).random_raw(_count(shape))
    return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)


def normal(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the next standard normal numbers, pairs from two uniform ones (Box, Muller 1958)."""
    n = _count(shape)
    u = uniform(((n + 1) // 2, 2))
    radius = np.sqrt(-2.0 * np.log(1.0 - u[:, 0]))
    angle = 2.0 * np.pi * u[:, 1]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.ravel()[:n].reshape(shape)


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n
