"""Results that are kept for each processor, and what became worse since.

A kept result has ratios to peers where there are any, and else the bytes or the launches: numbers
that another day, or another load on the machine, should not change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.table import OURS
from benchmarks.results import Measurement, Results
from benchmarks.rows import KINDS

__all__ = ["FOLDER", "compare", "figures", "keep", "load"]

FOLDER = Path(__file__).parent / "kept"
# A figure that is worse by this share is printed.
WORSE = 0.15


def figures(results: Results) -> dict[str, float]:
    """Return the figures to keep by key; more is better, so bytes and launches are inverted."""
    found: dict[str, float] = {}
    for measurement in results.measurements:
        if KINDS[measurement.row.kind].measure in ("peak", "count"):
            found |= _inverse(measurement)
        for ratio in measurement.ratios:
            key = f"{measurement.row.key} | {ratio.ours} / {ratio.peer} | {ratio.threads}"
            found[key] = ratio.value.median
    return found


def _inverse(measurement: Measurement) -> dict[str, float]:
    return {
        f"{measurement.row.key} | {entry.contestant} | {entry.threads}": 1 / entry.value.median
        for entry in measurement.entries
        if entry.contestant in OURS and entry.value.median > 0
    }


def compare(now: Mapping[str, float], then: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return what is worse by `WORSE` or more, and what is better by as much, in words.

    Figures that only one of them has are not compared: another choice of rows, a new peer.
    """
    worse, better = [], []
    for key in now.keys() & then.keys():
        change = now[key] / then[key]
        words = f"{key}: {change:.2f} times what was kept"
        if change <= 1 - WORSE:
            worse.append((change, words))
        elif change >= 1 / (1 - WORSE):
            better.append((-change, words))
    return [words for _, words in sorted(worse)], [words for _, words in sorted(better)]


def load(slug: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return what is kept for a processor: ``created`` and ``figures``; empty if nothing is."""
    path = folder / f"{slug}.json"
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def keep(results: Results, folder: Path = FOLDER) -> Path:
    """Keep a run's figures in the place of those with the same keys; return the file."""
    earlier = load(results.slug, folder)
    content = {
        "created": results.created,
        "processor": results.machine.processor,
        "instruction_set": results.machine.instruction_set,
        "versions": {name: fact.versions for name, fact in results.facts.items()},
        "figures": {
            key: float(f"{value:.4g}")
            for key, value in sorted({**earlier.get("figures", {}), **figures(results)}.items())
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results.slug}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
