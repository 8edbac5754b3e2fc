"""What a person sees in the terminal: each row as it is measured, and what to know in the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.kept import WORSE
from benchmarks.peers.table import OURS
from benchmarks.players import EMULATED
from benchmarks.results import Entry, Measurement, Results
from benchmarks.rows import KINDS
from spec_tests.compare.verdicts import in_digits

__all__ = ["print_head", "print_measurement", "print_summary", "said"]


def said(measurement: Measurement) -> list[str]:
    """Return a measurement's lines: who takes how long, and the peers' times over that."""
    lines = [f"{measurement.row.key}"]
    for entry in measurement.entries:
        if entry.contestant not in OURS:
            continue
        ratios = [
            f"{ratio.peer} {ratio.value.median:.2f} ({ratio.value.low:.2f}–{ratio.value.high:.2f})"
            for ratio in measurement.ratios
            if (ratio.ours, ratio.threads) == (entry.contestant, entry.threads)
        ]
        lines.append(f"  {_number(measurement, entry)}  {', '.join(ratios)}".rstrip())
    # Peers stand alone where nothing of ours was measured.
    if len(lines) == 1:
        lines += [f"  {_number(measurement, entry)}" for entry in measurement.entries]
    # Whole kinds that someone lacks are on the page; here they would stand in every row.
    silent = ("has no ", EMULATED)
    failed = [f for f in measurement.failures if not f.reason.startswith(silent)]
    reasons = {failure.contestant: failure.reason for failure in failed}
    return lines + [f"  {name} cannot: {reason}" for name, reason in reasons.items()]


def _number(measurement: Measurement, entry: Entry) -> str:
    kind = KINDS[measurement.row.kind]
    number = in_digits(entry.value.median * kind.scale)
    text = f"{entry.contestant:16} {entry.threads} {number:>9} {kind.unit}"
    if entry.efficiency is not None:
        text += f"  efficiency {entry.efficiency.median:.2f}"
    if entry.emulated:
        text += f"  ({EMULATED})"
    if kind.measure == "time":
        text += f"  CPU/wall {entry.cpu:.2f}"
    return text


def print_head(results: Results) -> None:
    """Print what the run is on."""
    machine = results.machine
    threads = " and ".join(map(str, results.threads))
    print(f"{machine.processor}, {machine.instruction_set}, {machine.cores} cores")
    print(f"{threads} threads, float32; ratios: the peer's time over ours, median (quartiles)")
    for name, value in results.settings.items():
        print(f"{name}={value}")
    print(flush=True)


def print_measurement(measurement: Measurement) -> None:
    """Print a measurement's lines."""
    print("\n".join(said(measurement)), flush=True)


def print_summary(results: Results, places: Sequence[Path]) -> None:
    """Print who was missing, what is worse than what was kept, and where the report is."""
    print()
    for name, fact in results.facts.items():
        versions = (f"{package} {version}" for package, version in fact.versions.items())
        print(f"{name}: {', '.join(versions)}")
        if fact.emulated:
            print(f"{name}: {EMULATED}; nothing of it is timed")
    for name, reason in results.missing.items():
        print(f"not measured: {name}: {reason}")
    if results.kept:
        print(f"Compared with the result kept from {results.kept}:")
        for line in results.worse:
            print(f"  worse: {line}")
        print(f"  {len(results.worse)} worse by {WORSE:.0%} or more, {len(results.better)} better")
    else:
        print("No result is kept for this processor; --keep keeps this one.")
    for place in places:
        print(place)
