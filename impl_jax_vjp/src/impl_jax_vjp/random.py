"""The one generator of random numbers: Philox 4x64-10 on the host.

Every implementation draws the same numbers in the same order (Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011).
"""

import math
import operator
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

_WORDS_PER_BLOCK = 4


# A seed, or the eleven words of a state.
Origin = int | tuple[int, ...]


class _Stream:
    """Words of Philox from a seed or a state on, with a position that can be read and set again.

    A position is a plain int, so that remembering it before a call that may fail costs nothing.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.start(int.from_bytes(os.urandom(8), "little"))

    def start(self, origin: Origin, position: int = 0) -> None:
        """Begin at a seed or a state, some words in."""
        self.origin = origin
        self.position = position
        self._bits = np.random.Philox(key=origin) if isinstance(origin, int) else _placed(origin)
        rest = position - (_WORDS_PER_BLOCK - self._bits.state["buffer_pos"])
        if rest > 0:
            # The last block is drawn, so that the buffer is what it was.
            self._bits.advance((rest - 1) // _WORDS_PER_BLOCK)
            position = (rest - 1) % _WORDS_PER_BLOCK + 1
        self._bits.random_raw(position)

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return the next `count` words, shape (count,)."""
        with self.lock:
            self.position += count
            return self._bits.random_raw(count)

    def state(self) -> NDArray[np.uint64]:
        """Return the eleven words of the state."""
        with self.lock:
            state = self._bits.state
        words = [*state["state"]["counter"], *state["state"]["key"], *state["buffer"]]
        return np.array([*words, state["buffer_pos"]], np.uint64)


def _placed(words: tuple[int, ...]) -> Any:
    """Return the generator in a state."""
    bits = np.random.Philox(key=0)
    state: Any = bits.state
    for target, part in (
        (state["state"]["counter"], words[:4]),
        (state["state"]["key"], words[4:6]),
        (state["buffer"], words[6:10]),
    ):
        target[...] = np.array(part, np.uint64)
    state["buffer_pos"] = words[10]
    bits.state = state
    return bits


_stream = _Stream()


def manual_seed(seed: int) -> None:
    """Start the generator again at a seed.

    Parameters
    ----------
    seed : int, ``0 <= seed < 2**64``
        The key of Philox.

    Raises
    ------
    TypeError
        If `seed` is no int.
    ValueError
        If `seed` is outside the range.
    """
    value = check_seed("manual_seed", seed)
    with _stream.lock:
        _stream.start(value)


def check_seed(name: str, seed: Any) -> int:
    """Return a seed as an int; raise `TypeError` if it is none, `ValueError` if out of range."""
    try:
        if isinstance(seed, bool):
            raise TypeError
        value = operator.index(seed)
    except (TypeError, ValueError):
        msg = f"{name}: seed must be an int, got {type(seed).__name__}"
        raise TypeError(msg) from None
    if not 0 <= value < 2**64:
        msg = f"{name}: seed must be in 0 <= seed < 2**64, got {value}"
        raise ValueError(msg)
    return value


def state_words() -> NDArray[np.uint64]:
    """Return the state: the counter, the key, the buffer and the place in it, eleven words."""
    return _stream.state()


def place_at(words: NDArray[np.uint64]) -> None:
    """Go on from a state as `state_words` returns it."""
    with _stream.lock:
        _stream.start(tuple(map(int, words)))


class Draws:
    """Uniform numbers in [0, 1) from a generator of their own."""  # data-01

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=seed)

    def units(self, count: int) -> Float64Array:
        """Return the next numbers, shape (count,)."""
        return _units(self._bits.random_raw(count))

    def order(self, count: int) -> NDArray[np.intp]:
        """Return an order of so many things, by the next numbers."""
        return np.argsort(self.units(count), kind="stable")


def _units(words: NDArray[np.uint64]) -> Float64Array:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniform(shape: tuple[int, ...]) -> Float64Array:
    """Draw uniform numbers in [0, 1), one word each, in C order.

    Returns
    -------
    numpy.ndarray, shape `shape`, float64
        ``(w >> 11) * 2**-53`` for the next words ``w``.
    """
    return _units(_stream.words(math.prod(shape))).reshape(shape)


def normal(shape: tuple[int, ...]) -> Float64Array:
    """Draw standard normal numbers by pairs (Box and Muller, 1958).

    ``r = sqrt(-2 ln(1 - u1))``; a pair is ``r cos(2π u2)``, ``r sin(2π u2)``. An odd last one is
    dropped.

    Returns
    -------
    numpy.ndarray, shape `shape`, float64
    """
    count = math.prod(shape)
    pairs = uniform(((count + 1) // 2, 2))
    radius = np.sqrt(-2.0 * np.log(1.0 - pairs[:, 0]))
    angle = 2.0 * np.pi * pairs[:, 1]
    numbers = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return numbers.reshape(-1)[:count].reshape(shape)


# A distribution and a shape; or a number of rounds, and what each of them draws in order.
Request = tuple[Any, tuple[Any, ...]]


def shapes(request: Request) -> list[tuple[int, ...]]:
    """Return the shapes of the arrays that a request draws; the rounds are their first axis."""
    first, rest = request
    if isinstance(first, str):
        return [rest]
    return [(first, *shape) for item in rest for shape in shapes(item)]


def drawn(request: Request) -> list[Float64Array]:
    """Draw what is asked for, round after round.

    Parameters
    ----------
    request : tuple
        ``("uniform", shape)``, ``("normal", shape)``, or ``(rounds, requests)``.

    Returns
    -------
    list of numpy.ndarray
        An array for each distribution, whose first axes are the rounds.
    """
    first, rest = request
    if isinstance(first, str):
        return [uniform(rest) if first == "uniform" else normal(rest)]
    made = [np.empty(shape) for shape in shapes(request)]
    if all(item[0] == "uniform" for item in rest):
        # One word each: all rounds are one draw.
        sizes = [math.prod(item[1]) for item in rest]
        parts = np.split(uniform((first, sum(sizes))), np.cumsum(sizes)[:-1], axis=1)
        return [part.reshape(array.shape) for part, array in zip(parts, made, strict=True)]
    for place in range(first):
        numbers = [part for item in rest for part in drawn(item)]
        for array, part in zip(made, numbers, strict=True):
            array[place] = part
    return made


def get_state() -> tuple[Origin, int]:
    """Return the seed, or the state that was set, and the number of words drawn since."""
    return _stream.origin, _stream.position


def set_state(state: tuple[Origin, int]) -> None:
    """Take the generator back to what `get_state` returned."""
    if state != get_state():
        with _stream.lock:
            _stream.start(*state)
