"""Inputs of tests: O(1), from fixed seeds, rounded to the dtype."""

from typing import Any

import numpy as np


def normal(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return standard normal numbers, rounded to `dtype`."""
    return np.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def positive(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between 0.5 and 1.5, rounded to `dtype`."""
    return np.asarray(np.random.default_rng(seed).uniform(0.5, 1.5, size=shape)).astype(dtype)


def unit(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between 1/8 and 7/8, such as probabilities are, rounded to `dtype`."""
    return np.asarray(np.random.default_rng(seed).uniform(0.125, 0.875, size=shape)).astype(dtype)


def distinct(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between -1 and 1 no two of which are close: no ties, and none near 0."""
    size = int(np.prod(shape))
    numbers = (np.arange(size) + 0.75) / max(size, 1) * 2 - 1
    return np.random.default_rng(seed).permutation(numbers).reshape(shape).astype(dtype)


def in_double(array: Any) -> np.ndarray:
    """Return the same numbers in float64, in which references are computed."""
    return np.asarray(array).astype(np.float64)


def foreign(raw: Any) -> dict[str, Any]:
    """Return the numbers of a raw array of float32 in dtypes that no Tensor has, by name."""
    half = raw.half() if hasattr(raw, "half") else raw.astype("float16")
    return {"float16": half, "complex64": raw * (1 + 0j)}


NO_DTYPES: dict[str, np.ndarray] = {
    "float16": np.array([1.0, 2.0], np.float16),
    "longdouble": np.array([1.0, 2.0], np.longdouble),
    "complex64": np.array([1.0, 2.0], np.complex64),
    "complex128": np.array([1.0, 2.0], np.complex128),
    "int8": np.array([1, 2], np.int8),
    "int16": np.array([1, 2], np.int16),
    "uint8": np.array([1, 2], np.uint8),
    "uint16": np.array([1, 2], np.uint16),
    "uint32": np.array([1, 2], np.uint32),
    "uint64": np.array([1, 2], np.uint64),
    "str": np.array(["a", "b"]),
    "bytes": np.array([b"a", b"b"]),
    "datetime64": np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"),
    "timedelta64": np.array([1, 2], "timedelta64[s]"),
    "object": np.array([1.0, None], object),
    "structured": np.zeros(2, [("a", "f4")]),
}
