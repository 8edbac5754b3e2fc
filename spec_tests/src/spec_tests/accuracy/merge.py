"""Files of several implementations beside one another: each against float64, and pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from spec_tests.accuracy.measure import summary, unpacked
from spec_tests.judge.written import ACCURACY

__all__ = ["STATISTICS", "Cell", "Heat", "merge", "read"]

STATISTICS = ("median", "99.9%", "largest")
# Units in the last place up to which a cell has the next colour.
_STEPS = (0.0, 0.501, 1.0, 2.0, 4.0, 16.0, 256.0)


@dataclass(frozen=True)
class Cell:
    """One function in one column: the errors by `STATISTICS`, or why there are none."""

    errors: tuple[float, ...]
    why: str = ""

    @property
    def levels(self) -> list[int]:
        """The colour of each of the errors, the paler the smaller."""
        return [sum(error > step for step in _STEPS) for error in self.errors]


@dataclass(frozen=True)
class Heat:
    """Functions by columns.

    Attributes
    ----------
    columns : list of tuple of str
        An implementation alone, against float64, or two of them.
    rows : dict of list of Cell
        By the functions' keys, in the order of the specification.
    """

    columns: list[tuple[str, ...]]
    rows: dict[str, list[Cell]]


def read(path: Path) -> dict[str, Any]:
    """Read a file.

    Raises
    ------
    ValueError
        If it is not one that `spec-tests accuracy` wrote; the message names it.
    """
    return ACCURACY.read(path)


def merge(files: Sequence[dict[str, Any]]) -> Heat:
    """Put the functions of several files beside one another.

    Raises
    ------
    ValueError
        If two files are of one implementation, or of different versions of the specification.
    """
    names = [file["implementation"] for file in files]
    if len(set(names)) < len(names):
        msg = f"accuracy: two files are of one implementation: {', '.join(names)}"
        raise ValueError(msg)
    versions = {file["spec_version"] for file in files}
    if len(versions) > 1:
        msg = f"accuracy: files of versions {', '.join(sorted(versions))} of the specification"
        raise ValueError(msg)
    keys = list(dict.fromkeys(key for file in files for key in file["functions"]))
    alone: list[tuple[str, ...]] = [(name,) for name in names]
    return Heat(
        columns=alone + list(combinations(names, 2)),
        rows={key: _row([file["functions"].get(key) for file in files]) for key in keys},
    )


def _row(found: list[dict[str, Any] | None]) -> list[Cell]:
    cells = [_own(one) for one in found]
    return cells + [_between(one, other) for one, other in combinations(found, 2)]


def _own(one: dict[str, Any] | None) -> Cell:
    if one is None:
        return Cell((), "not measured")
    return Cell((), one["why"]) if "why" in one else Cell(tuple(one["ulp"]))


def _between(one: dict[str, Any] | None, other: dict[str, Any] | None) -> Cell:
    if not one or not other or "errors" not in one or "errors" not in other:
        return Cell((), "not measured in both")
    errors = unpacked(one["errors"]), unpacked(other["errors"])
    if errors[0].shape != errors[1].shape:
        return Cell((), "results of other sizes")
    return Cell(tuple(summary(errors[0] - errors[1])))
