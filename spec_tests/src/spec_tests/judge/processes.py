"""One run of the suite in several processes of pytest-xdist, with one result.

Each process collects all tests and runs some. Reports of tests go to the first process as they are
made, by pytest-xdist's own way; what tests ask for, and the largest errors, when a process ends.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr
from _pytest._io import TerminalWriter

from spec_tests.judge.result import Result
from spec_tests.support import assertions

_KEY = "spec_tests"
# A test: pytest's name of it, that of the result file, its clauses, its functions and cells, and
# the properties that it asks of functions.
Collected = tuple[str, str, list[str], list[str], list[tuple[str, str]]]


def tell_why(report: pytest.TestReport, why: str) -> None:
    """Send the reason of an outcome along with the report."""
    vars(report)[_KEY] = why


def hand_over(config: pytest.Config, tests: list[Collected], full: bool) -> bool:
    """Leave what this process knows to the first one; return whether there is such a one."""
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is None:
        return False
    output[_KEY] = {
        "tests": [list(test) for test in tests],
        "full": full,
        "ratios": assertions.largest_ratios(),
        "errors": assertions.largest_errors(),
    }
    return True


@dataclass
class _Line:
    message: str


class _Received(TerminalRepr):
    """A failure that another process explained, with the line for pytest's short summary."""

    def __init__(self, text: str, line: str) -> None:
        self.text = text
        self.reprcrash = _Line(line)

    def __str__(self) -> str:
        return self.text

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write the text as it came."""
        tw.line(self.text)


class Gathering:
    """The plugin of the first process; it does nothing where there are no others."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._reports: list[tuple[pytest.TestReport, str]] = []
        self._told: list[dict[str, Any]] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report that came from another process."""
        if not hasattr(report, "node"):
            return
        # Where a process died, pytest-xdist made the report, and nobody told why.
        why = getattr(report, _KEY, None) or next(iter(str(report.longrepr).splitlines()), "")
        self._reports.append((report, why))
        if report.failed and isinstance(report.longrepr, str):
            report.longrepr = _Received(report.longrepr, why)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Keep what a process told as it ended."""
        told = getattr(node, "workeroutput", {}).get(_KEY)
        if told is not None:
            self._told.append(told)

    def merge(self) -> bool | None:
        """Put all into the result; return whether the processes had all tests of the suite to run.

        It is None where there were no other processes.
        """
        if not self._reports and not self._told:
            return None
        names: dict[str, str] = {}
        for nodeid, name, ids, keys, asked in self._told[0]["tests"] if self._told else ():
            names[nodeid] = name
            self._result.collected(name, ids, keys, asked)
        for report, why in self._reports:
            if report.nodeid in names:
                self._result.happened(names[report.nodeid], report, why)
        for told in self._told:
            assertions.note_ratios(told["ratios"])
            assertions.note_errors(told["errors"])
        return any(told["full"] for told in self._told)
