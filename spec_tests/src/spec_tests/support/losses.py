"""The cases of the losses' table, and their stored references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from spec_tests.judge.tables import Row, read
from spec_tests.oracle.stored import load
from spec_tests.support import inputs
from spec_tests.support.calls import Call, calls

REDUCTIONS = ("mean", "sum", "none")


@dataclass(frozen=True)
class Case:
    """One call of a loss with one reduction.

    Attributes
    ----------
    row, call : Row, Call
        The loss and its arguments; `reduction` is not among these.
    reduction : str
        Its name.
    twice : bool
        Whether the second derivative is asked for: of every call with "none", and of the first
        with "mean".
    """

    row: Row
    call: Call
    reduction: str
    twice: bool

    @property
    def text(self) -> str:
        """Return the call as a reader would write it."""
        return f"{self.call.text}, {self.reduction}"

    @property
    def floating(self) -> list[np.ndarray]:
        """Return the arrays that are differentiated: the floating ones, but no weight."""
        return [array for array in self.call.arguments if is_floating(array)]


@dataclass(frozen=True)
class Known:
    """What a case gives, in float64.

    Attributes
    ----------
    value : numpy.ndarray
        The loss.
    first : list of numpy.ndarray
        Its gradients; with "none" those of its sum weighted with `cotangent`.
    second : list of numpy.ndarray
        The gradients of the sum of the squared first ones; empty where they are not asked for.
    """

    value: np.ndarray
    first: list[np.ndarray]
    second: list[np.ndarray]


def is_floating(leaf: Any) -> bool:
    """Say whether something is a floating array."""
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"


def losses() -> list[Row]:
    """Return the rows of the table."""
    return [row for row in read().values() if row.chapter == "loss"]


def reductions(row: Row) -> tuple[str, ...]:
    """Return the names of the reductions that a loss takes."""
    return (*REDUCTIONS, "batchmean") if row.name == "kl_div" else REDUCTIONS


def cases(row: Row, dtype: str) -> list[Case]:
    """Return the cases of a loss, in the order in which their references are stored."""
    return [
        Case(row, call, reduction, reduction == "none" or (reduction == "mean" and not number))
        for number, call in enumerate(calls(row, dtype))
        for reduction in reductions(row)
    ]


def cotangent(shape: tuple[int, ...], dtype: str = "float64") -> np.ndarray:
    """Return what arrives at a loss of this shape: multiples of 1/64."""
    return (np.round(inputs.normal(shape, seed=100) * 64) / 64).astype(dtype)


@cache
def references(row: Row) -> tuple[Known, ...]:
    """Return what the cases of a loss give, in their order."""
    stored = _arrays(load("loss_rows")[row.name])
    found = []
    for case in cases(row, "float64"):
        count = len(case.floating)
        value = next(stored)
        first = [next(stored) for _ in range(count)]
        second = [next(stored) for _ in range(count if case.twice else 0)]
        found.append(Known(value, first, second))
    assert next(stored, None) is None, f"more is stored for {row.name} than its row asks for"
    return tuple(found)


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    """Return arrays as one: of each the number of its axes, its shape and its numbers."""
    parts = [np.array([array.ndim, *array.shape, *array.reshape(-1)], float) for array in arrays]
    return np.concatenate(parts)


def _arrays(numbers: np.ndarray) -> Iterator[np.ndarray]:
    place = 0
    while place < len(numbers):
        start = place + 1 + int(numbers[place])
        shape = tuple(int(size) for size in numbers[place + 1 : start])
        place = start + int(np.prod(shape))
        yield numbers[start:place].reshape(shape)
