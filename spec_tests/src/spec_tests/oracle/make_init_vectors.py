"""Write the test vectors of the ``init`` chapter, from its text and NumPy alone.

Run with the NumPy version that ``data/provenance.json`` names::

    python make_init_vectors.py
"""

from __future__ import annotations

import math

import numpy as np
from stored import store

DTYPES = ("float32", "float64")


def main() -> None:
    """Write the first draws of three seeds, and the parameters of three layers for seed 0."""
    vectors: dict[str, np.ndarray] = {}
    for seed in (0, 1, 2**63):
        vectors[f"words/{seed}"] = np.random.Philox(key=seed).random_raw(8)
        for dtype in DTYPES:
            vectors[f"rand/{seed}/{dtype}"] = Draws(seed).uniform((2, 4), 0.0, 1.0, dtype)
            vectors[f"randn/{seed}/{dtype}"] = Draws(seed).normal((7,), 0.0, 1.0, dtype)
    for dtype in DTYPES:
        linear, embedding, lstm = Draws(0), Draws(0), Draws(0)
        k = 1 / math.sqrt(3)
        vectors[f"linear/{dtype}/weight"] = linear.uniform((2, 3), -k, k, dtype)
        vectors[f"linear/{dtype}/bias"] = linear.uniform((2,), -k, k, dtype)
        vectors[f"embedding/{dtype}/weight"] = embedding.normal((5, 3), 0.0, 1.0, dtype)
        k = 1 / math.sqrt(2)
        for name, shape in {
            "weight_ih_l0": (8, 3),
            "weight_hh_l0": (8, 2),
            "bias_ih_l0": (8,),
            "bias_hh_l0": (8,),
        }.items():
            vectors[f"lstm/{dtype}/{name}"] = lstm.uniform(shape, -k, k, dtype)
    store("init_vectors", vectors)


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


if __name__ == "__main__":
    main()
