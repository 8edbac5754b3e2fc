"""Write the test vectors of the ``init`` chapter, from its text and NumPy alone.

Run with the NumPy version that ``data/provenance.json`` names::

    python make_init_vectors.py
"""

from __future__ import annotations

import math

import numpy as np
from draws import Draws
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


if __name__ == "__main__":
    main()
