"""The random numbers of the ``init`` chapter, from its text and NumPy alone."""

from __future__ import annotations

import math

import numpy as np


class Draws:
    """The stream of random numbers that belongs to one seed."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.Philox(key=seed)

    def units(self, count: int) -> np.ndarray:
        """Return the next float64 numbers in [0, 1)."""
        words = np.asarray(self.bits.random_raw(count), dtype=np.uint64)
        return (words >> np.uint64(11)) * 2.0**-53

    def uniform(self, shape: tuple[int, ...], a: float, b: float, dtype: str) -> np.ndarray:
        """Return numbers uniform in [a, b), in C order."""
        return (a + (b - a) * self.units(math.prod(shape))).reshape(shape).astype(dtype)

    def normal(self, shape: tuple[int, ...], mean: float, std: float, dtype: str) -> np.ndarray:
        """Return normal numbers, in pairs of which an odd last one is dropped."""
        count = math.prod(shape)
        pairs = self.units(2 * math.ceil(count / 2)).reshape(-1, 2)
        r = np.sqrt(-2 * np.log(1 - pairs[:, 0]))
        angle = 2 * np.pi * pairs[:, 1]
        z = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1).reshape(-1)[:count]
        return (mean + std * z).reshape(shape).astype(dtype)
