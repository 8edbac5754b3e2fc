"""Inputs of tests: O(1), from fixed seeds, rounded to the dtype."""

from typing import Any

import numpy as np


def normal(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return standard normal numbers, rounded to `dtype`."""
    return np.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def positive(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between 0.5 and 1.5, rounded to `dtype`."""
    return np.asarray(np.random.default_rng(seed).uniform(0.5, 1.5, size=shape)).astype(dtype)


def distinct(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between -1 and 1 no two of which are close: no ties, and none near 0."""
    size = int(np.prod(shape))
    numbers = (np.arange(size) + 0.75) / max(size, 1) * 2 - 1
    return np.random.default_rng(seed).permutation(numbers).reshape(shape).astype(dtype)


def in_double(array: Any) -> np.ndarray:
    """Return the same numbers in float64, in which references are computed."""
    return np.asarray(array).astype(np.float64)
