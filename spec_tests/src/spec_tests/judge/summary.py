"""What the terminal shows of a run, below pytest's own lines."""

from collections.abc import Iterable
from typing import Any

from spec_tests.judge.result import Result
from spec_tests.support import assertions

_NAMES = {
    "functions": "functions",
    "transforms": "transforms",
    "options": "options of recurrent layers",
}
_ALWAYS = ("passed", "failed", "unsupported")


def summarize(terminal: Any, result: Result) -> None:
    """Write what is unsupported, what has no test or is out of date, and the counts.

    Parameters
    ----------
    terminal : pytest's TerminalReporter
        Where to.
    result : Result
        Of a run that has ended.
    """
    lacking = terminal.stats.get("unsupported", [])
    if lacking:
        _section(terminal, "unsupported", _unsupported(lacking))
    for title, lines in _faults(result):
        if lines:
            _section(terminal, title, lines, red=True)
    for kind, name in _NAMES.items():
        if result.subjects.of(kind):
            terminal.line(f"{name}: {_in_words(result.counts(kind))}")
            failing = result.failing(kind)
            if failing:
                terminal.line(f"{name} that fail: {', '.join(failing)}")
    errors = assertions.largest_errors()
    for dtype in sorted({dtype for row in errors.values() for dtype in row}):
        told = [f"{name} {row[dtype]:.2f}" for name, row in errors.items() if dtype in row]
        terminal.line(f"largest errors in eps of {dtype}: {', '.join(told)}")
    device = result.device
    # With -q there is no header to say that these are not the results of a real device.
    emulation = f"; device {device['device']} (emulated)" if device["emulated"] else ""
    terminal.line(f"clauses: {_in_words(result.counts())}{emulation}")
    if not result.complete:
        terminal.line(f"incomplete, so no result: {result.why_incomplete}")


def _faults(result: Result) -> Iterable[tuple[str, list[str]]]:
    titles = result.subjects.clauses
    yield "clauses without a test", [f"{n} {titles[n].title}" for n in result.untested["clauses"]]
    for kind, name in _NAMES.items():
        yield f"{name} without a test", result.untested[kind]
    yield "properties of functions without a test", result.blank
    yield "expectations out of date", [f"{name}: {what}" for name, what in result.stale.items()]


def _section(terminal: Any, title: str, lines: Iterable[str], **markup: bool) -> None:
    terminal.section(title, **markup)
    for line in lines:
        terminal.line(line)


def _unsupported(reports: Iterable[Any]) -> Iterable[str]:
    needed = [
        name for report in reports for key, name in report.user_properties if key == "unsupported"
    ]
    names = sorted({name for name in needed if name})
    if names:
        yield f"{len(needed) - needed.count('')} tests need {', '.join(names)}: not passed"
    if "" in needed:
        yield f"{needed.count('')} tests are listed as unsupported: not passed"


def _in_words(counts: dict[str, int]) -> str:
    """Say how many there are in each state: of three states always, of the others if any."""
    states = [*_ALWAYS, *(state for state in counts if state not in _ALWAYS and counts[state])]
    return ", ".join(f"{counts[state]} {state}" for state in states)
