"""The numbers that every contestant gets, from one seed, and what several makers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rows import EXPRESSIONS, Row

__all__ = ["arrays", "expression", "integers", "lengths", "resets", "sequence"]

# How often, on average, an episode of a row with resets ends.
EPISODE = 100


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return normal float32 arrays, the same in every call and every environment."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def integers(high: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return int64 numbers from 0 up to ``high``, the same in every call and environment."""
    return np.random.default_rng(0).integers(0, high, shape)


def sequence(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """Return an input (T, N, I) and a gradient of the output (T, N, D P)."""
    steps, batch, inputs, _ = row.shape
    shapes = (steps, batch, inputs), (steps, batch, row.directions * row.shown)
    x, cotangent = arrays(*shapes)
    return x, cotangent


def lengths(row: Row) -> np.ndarray | None:
    """Return the lengths of a row's sequences, from 1 to T, if it has any."""
    if not row.options.get("lengths"):
        return None
    return integers(row.shape[0], (row.shape[1],)) + 1


def resets(row: Row) -> np.ndarray | None:
    """Return where episodes begin, (T, N), one in `EPISODE` steps, if the row has any."""
    if not row.options.get("resets"):
        return None
    return integers(EPISODE, row.shape[:2]) == 0


def expression(row: Row) -> Callable[[Any, Any, Any], Any]:
    """Return an eager row's operation as a function of ``ops`` and two arrays."""
    function: Callable[[Any, Any, Any], Any] = eval(f"lambda ops, x, y: {EXPRESSIONS[row.name]}")
    return function
