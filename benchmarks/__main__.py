"""Measure what the command line asks for, and write ``report/bench.json`` and ``bench.html``."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import kept
from benchmarks.bench import Bench, Plan
from benchmarks.machine import machine, settings
from benchmarks.options import options, rows_of
from benchmarks.report import write_report
from benchmarks.results import Results
from benchmarks.rows import Row
from benchmarks.terminal import print_head, print_measurement, print_summary

__all__ = ["main", "with_data"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit status is 0 however fast or slow anything was.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's, by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = options(given)
    began = time.monotonic()
    out = chosen.out.resolve()
    folder = out / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    plan = Plan(
        environments=chosen.environment,
        missing=chosen.missing,
        ours=chosen.impl,
        peers=chosen.peer,
        threads=chosen.threads,
        seconds=chosen.seconds,
        patience=chosen.patience,
        limit=chosen.limit,
        folder=folder,
    )
    results = Results(
        machine=machine(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "-m", "benchmarks", *shown(given)]),
        threads=chosen.threads,
        settings=settings(os.environ),
    )
    print_head(results)
    with Bench(plan, os.environ) as bench:
        bench.run(with_data(rows_of(chosen), folder / "data"), results, print_measurement)
    earlier = kept.load(results.slug)
    if earlier:
        results.kept = f"{earlier['created']} on {earlier['processor']}"
        results.worse, results.better = kept.compare(kept.figures(results), earlier["figures"])
    results.minutes = round((time.monotonic() - began) / 60, 1)
    places = write_report(out, results)
    if chosen.keep:
        places.append(kept.keep(results))
    print_summary(results, places)
    return 0


def shown(given: Sequence[str]) -> list[str]:
    """Return a command line without what nox adds, which says only where environments are."""
    left = []
    words = iter(given)
    for word in words:
        if word in ("--environment", "--missing", "--out"):
            next(words, None)
        else:
            left.append(word)
    return left


def with_data(rows: Sequence[Row], folder: Path) -> list[Row]:
    """Give rows of the comparison's workloads what these are, and the place of their data."""
    if not any(row.kind == "epoch" for row in rows):
        return list(rows)
    # Needs scikit-learn, which nobody needs who measures something else.
    from spec_tests.compare.data import make_data

    workloads = {workload.name: workload for workload in make_data(folder)[0]}
    filled = []
    for row in rows:
        workload = workloads.get(row.name)
        if row.kind == "epoch" and workload is not None:
            data = str(folder / f"{workload.dataset}.npz")
            row = replace(row, options={"workload": workload.as_dict(), "data": data})
        filled.append(row)
    return filled


if __name__ == "__main__":
    raise SystemExit(main())
