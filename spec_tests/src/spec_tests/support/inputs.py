"""Inputs of tests: O(1), from fixed seeds, rounded to the dtype."""

from collections.abc import Callable
from typing import Any

import numpy as np


def normal(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return standard normal numbers, rounded to `dtype`; of integers all that it holds."""
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        draw = np.random.default_rng(seed)
        return np.asarray(draw.integers(limits.min, limits.max, shape, dtype, endpoint=True))
    return _of_parts(dtype, seed, lambda draw: draw.normal(size=shape))


def positive(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between 0.5 and 1.5, rounded to `dtype`; of integers from 1 to 5."""
    if np.dtype(dtype).kind in "iu":
        return np.asarray(np.random.default_rng(seed).integers(1, 6, shape, dtype))
    return _of_parts(dtype, seed, lambda draw: draw.uniform(0.5, 1.5, size=shape))


def unit(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between 1/8 and 7/8, such as probabilities are, rounded to `dtype`."""
    return np.asarray(np.random.default_rng(seed).uniform(0.125, 0.875, size=shape)).astype(dtype)


def distinct(shape: int | tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Return numbers between -1 and 1 no two of which are close: no ties, and none near 0.

    Integers are the first ones, from below 0 where the dtype is signed.
    """
    size = int(np.prod(shape))
    if np.dtype(dtype).kind in "iu":
        whole = np.arange(size) - (size // 2 if np.dtype(dtype).kind == "i" else 0)
        return np.random.default_rng(seed).permutation(whole).reshape(shape).astype(dtype)
    numbers = (np.arange(size) + 0.75) / max(size, 1) * 2 - 1
    return _of_parts(dtype, seed, lambda draw: draw.permutation(numbers).reshape(shape))


def in_double(array: Any) -> np.ndarray:
    """Return the same numbers in float64 or complex128, in which references are computed."""
    values = np.asarray(array)
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def _of_parts(dtype: str, seed: int, draw: Callable[[np.random.Generator], Any]) -> np.ndarray:
    """Return what is drawn; of a complex dtype as the real part, with another imaginary one."""
    real = np.asarray(draw(np.random.default_rng(seed)))
    if np.dtype(dtype).kind == "c":
        real = real + 1j * np.asarray(draw(np.random.default_rng(seed + 100)))
    return real.astype(dtype)


def foreign(raw: Any) -> dict[str, Any]:
    """Return the numbers of a raw array of float32 in dtypes that no Module has, by name."""
    half = raw.half() if hasattr(raw, "half") else raw.astype("float16")
    return {"float16": half, "complex64": raw * (1 + 0j)}


# Arrays of none of the five dtypes that Modules and files are made of.
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
# Arrays of a dtype that there is not at all.
OUTSIDE = {
    name: array
    for name, array in NO_DTYPES.items()
    if name == "float16" or name == "longdouble" or array.dtype.kind not in "iufc"
}
