"""What a person sees in the terminal: progress while it works, then a table."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from spec_tests.compare.findings import Report
from spec_tests.compare.report import EMULATED, summary

__all__ = ["Display", "print_report"]

PLAIN_WIDTH = 110
# The page shows more of what a failed process wrote.
LAST_LINES = 4
MARKS = {True: "[green]kept[/]     ", False: "[bold red]NOT KEPT[/] ", None: "not asked"}


class Display:
    """One line per implementation: what it does, how far it is, and how long it will take.

    Where standard output is no terminal, plain lines say when something begins and ends.

    Parameters
    ----------
    owners : dict of int
        The work of each line, in the units that messages count.
    """

    def __init__(self, owners: dict[str, int]) -> None:
        self.console = Console()
        self.plain = not self.console.is_terminal
        if self.plain:
            self.console = Console(width=PLAIN_WIDTH)
        self.lock = threading.Lock()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[doing]}"),
            console=self.console,
            disable=self.plain,
        )
        self.lines: dict[str, TaskID] = {
            owner: self.progress.add_task(owner, total=units, doing="waits", start=False)
            for owner, units in owners.items()
        }
        self.percent: dict[str, int] = {}

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def begin(self, owner: str, what: str) -> None:
        """Say that a process begins."""
        with self.lock:
            self.progress.start_task(self.lines[owner])
            self._say(owner, what, "begins")

    def hear(self, owner: str, what: str, suite_units: int, message: dict[str, Any]) -> None:
        """Take a process's message in."""
        if message["event"] == "step":
            doing = "{workload} {stage} {done}/{steps}".format(**message)
            self.progress.update(self.lines[owner], advance=message["units"], doing=doing)
        elif message["event"] == "percent":
            with self.lock:
                before, now = self.percent.get(owner, 0), message["percent"]
                self.percent[owner] = now
            units = suite_units * (now - before) / 100
            self.progress.update(self.lines[owner], advance=units, doing=f"{what} {now}%")

    def end(self, owner: str, what: str, fault: str) -> None:
        """Say how a process ended."""
        with self.lock:
            self._say(owner, what, f"[bold red]{fault}[/]" if fault else "done")
            if fault and not self.plain:
                self.console.print(f"[bold red]{owner}: {what} {fault}[/]")

    def finished(self, owner: str) -> None:
        """Fill an owner's line up, also where a failed process left it short."""
        task = next(task for task in self.progress.tasks if task.id == self.lines[owner])
        self.progress.update(self.lines[owner], completed=task.total, doing="done")

    def _say(self, owner: str, what: str, how: str) -> None:
        if self.plain:
            self.console.print(f"{owner}: {what} {how}", highlight=False)
        else:
            self.progress.update(self.lines[owner], doing=f"{what} {how}")


def print_report(console: Console, report: Report, places: Sequence[str]) -> None:
    """Print what was found.

    Parameters
    ----------
    console : Console
    report : Report
    places : sequence of str
        Files to name at the end.
    """
    console.print()
    console.print(_implementations(report))
    if report.functions:
        console.print(_functions(report))
    console.print(_workloads(report))
    for failure in report.failures:
        console.print(f"[bold red]{failure.owner}: {failure.what} {failure.fault}[/]")
        last = failure.last_lines.splitlines()[-LAST_LINES:]
        console.print("\n".join(last), markup=False, highlight=False)
    for verdict in report.verdicts:
        line = f"{MARKS[verdict.kept]}  {verdict.promise}: {verdict.detail}"
        console.print(line, highlight=False)
    console.print()
    console.print(" ".join(summary(report)), markup=False, highlight=False)
    for place in places:
        console.print(place, markup=False, highlight=False, soft_wrap=True)


def _implementations(report: Report) -> Table:
    table = Table(title="Clauses of the specification", title_justify="left")
    for heading in ("implementation", "passed", "failed", "unsupported", "device"):
        aligned: Any = "left" if heading in ("implementation", "device") else "right"
        table.add_column(heading, justify=aligned, no_wrap=heading == "implementation")
    for name, implementation in report.implementations.items():
        counts = implementation.clauses
        numbers = [
            "–" if count is None else str(count)
            for count in (counts.passed, counts.failed, counts.unsupported)
        ]
        device = implementation.device
        if implementation.emulated and EMULATED not in device:
            device = f"{device} ({EMULATED})"
        if implementation.quick:
            numbers[0] += ", quick"
        table.add_row(name, *numbers, device, style="yellow" if implementation.emulated else "")
    return table


def _functions(report: Report) -> Table:
    title = f"The {len(report.functions)} functions of the chapters"
    table = Table(title=title, title_justify="left")
    table.add_column("implementation", no_wrap=True)
    for heading in ("passed", "failed", "unsupported"):
        table.add_column(heading, justify="right")
    table.add_column("which failed")
    for name in report.implementations:
        counts = [str(count) for count in report.function_counts(name).values()]
        table.add_row(name, *counts, ", ".join(report.failed_functions(name)) or "–")
    return table


def _workloads(report: Report) -> Table:
    emulated = {name for name, made in report.implementations.items() if made.emulated}
    caption = f"* {EMULATED}: times and memory are the emulation's." if emulated else None
    table = Table(title="Training, float32", title_justify="left", caption=caption)
    table.add_column("workload", no_wrap=True)
    table.add_column("implementation", no_wrap=True)
    for heading in ("accuracy", "held-out loss", "ms/step", "MiB", "leaves reference"):
        table.add_column(heading, justify="right")
    for key, trainings in report.workloads.items():
        for number, (name, training) in enumerate(trainings.items()):
            divergence = report.agreement[key].divergence.get(name)
            table.add_row(
                key if number == 0 else "",
                f"{name} *" if name in emulated else name,
                _number(training.final_accuracy, 100, ".1f", "%"),
                _number(report.details[key][name].held_out_loss, 1, ".4f"),
                _number(training.seconds_per_step, 1e3, ".2f"),
                _number(training.peak_bytes, 2**-20, ".1f"),
                "–" if divergence is None else _left(divergence.first_step),
                end_section=number == len(trainings) - 1,
            )
    return table


def _left(step: int | None) -> str:
    return "never" if step is None else f"[bold red]at step {step}[/]"


def _number(value: float | None, factor: float, form: str, unit: str = "") -> str:
    return "–" if value is None else format(value * factor, form) + unit
