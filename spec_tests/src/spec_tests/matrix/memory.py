"""The page's part on memory: peak memory over the length of a sequence, from the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spec_tests.compare.plots import data_uri, growth_figure
from spec_tests.compare.report import EMULATED
from spec_tests.compare.verdicts import in_digits
from spec_tests.matrix.packing import packed

__all__ = ["memory_of"]

MEBIBYTE = 2.0**20
# Kinds of rows whose shapes begin with T.
_KINDS = ("memory", "states")


@dataclass(frozen=True)
class Number:
    """A median in MiB, its quartiles, and its place in the file."""

    median: float
    low: float
    high: float
    place: list[Any]


@dataclass
class Plot:
    """What one figure shows.

    Attributes
    ----------
    title : str
    root : bool
        Whether memory should grow as the square root of T.
    lines : dict of dict of Number
        By contestant and T.
    """

    title: str
    root: bool
    lines: dict[str, dict[int, Number]] = field(default_factory=dict)

    @property
    def lengths(self) -> list[int]:
        """Every T of any line."""
        return sorted({steps for line in self.lines.values() for steps in line})

    @property
    def words(self) -> str:
        """What is seen, in words."""
        ends = []
        for name, line in self.lines.items():
            (first, least), *_, (last, most) = [*line.items(), *line.items()]
            start, end = in_digits(least.median), in_digits(most.median)
            ends.append(f"{name} {start} at T = {first}, {end} at {last}")
        return f"Peak memory of {self.title}, in MiB: {'; '.join(ends)}."

    def picture(self) -> str:
        """Return the figure as an address that holds it."""
        series = {
            name: (list(line), [number.median for number in line.values()])
            for name, line in self.lines.items()
        }
        return data_uri(growth_figure("T, steps of the sequence", "MiB", series, root=self.root))


def memory_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of ``bench.json``: its rows on memory, at the fewest threads."""
    measurements = [one for one in content["measurements"] if one["row"]["kind"] in _KINDS]
    threads = [entry["threads"] for one in measurements for entry in one["entries"]]
    plots: dict[str, Plot] = {}
    for place, measurement in enumerate(measurements):
        plot = _plot(measurement["row"])
        for at, entry in enumerate(measurement["entries"]):
            if entry["threads"] == min(threads):
                spread = {name: value / MEBIBYTE for name, value in entry["value"].items()}
                number = Number(**spread, place=["measurements", place, "entries", at])
                line = plots.setdefault(plot.title, plot).lines.setdefault(entry["contestant"], {})
                line[measurement["row"]["shape"][0]] = number
    failures = dict.fromkeys(
        (one["contestant"], one["reason"]) for found in measurements for one in found["failures"]
    )
    known = dict.fromkeys(name for plot in plots.values() for name in plot.lines)
    return {
        "plots": list(plots.values()),
        "emulated": EMULATED,
        "threads": min(threads, default=0),
        "facts": {name: content["facts"].get(name) for name in known},
        "about": content,
        "failures": failures,
        # Times of everything are most of the file, and are not on the page.
        "file": packed({**content, "measurements": measurements}),
    }


def _plot(row: Mapping[str, Any]) -> Plot:
    """Return the figure, still empty, that a row belongs to."""
    if row["kind"] == "memory":
        return Plot(f"a training step of {row['name']}", root=False)
    root = bool(row["options"].get("sqrt"))
    way = ', by unroll with checkpoint="sqrt"' if root else ", by unroll"
    return Plot(f"a training step of the user's own cell over a sequence{way}", root)
