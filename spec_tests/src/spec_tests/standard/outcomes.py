"""What happened to each test of the public suite, read from the report of pytest-json-report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Outcome", "by_file", "counts", "is_complete", "read", "share"]

# An expected failure of pytest's own is none of ours: the suite is run without a list of them.
_STATUS = {"passed": "passed", "xpassed": "passed", "skipped": "skipped", "xfailed": "failed"}
_PHASES = ("setup", "call", "teardown")


@dataclass(frozen=True)
class Outcome:
    """How a test ended: ``passed``, ``failed`` or ``skipped``, and the first line of why."""

    status: str
    why: str = ""


def read(report: Mapping[str, Any]) -> dict[str, Outcome]:
    """Return the outcomes by test, named as in ``test_linalg.py::test_det``.

    A file that could not be imported is one failure, by its name.

    Parameters
    ----------
    report : mapping
        The content of a file that ``--json-report`` wrote.
    """
    outcomes = {
        _name(entry["nodeid"]): Outcome("failed", _last_line(str(entry.get("longrepr", ""))))
        for entry in report.get("collectors", ())
        if entry["outcome"] == "failed"
    }
    for test in report.get("tests", ()):
        status = _STATUS.get(test["outcome"], "failed")
        outcomes[_name(test["nodeid"])] = Outcome(status, _why(test, status))
    return outcomes


def is_complete(report: Mapping[str, Any]) -> bool:
    """Tell whether every test that there is was run."""
    summary = report.get("summary", {})
    broken = any(entry["outcome"] == "failed" for entry in report.get("collectors", ()))
    whole = summary.get("total", 0) == summary.get("collected", 0) > 0
    return whole and not broken and not summary.get("deselected")


def counts(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped."""
    found = Counter(outcome.status for outcome in outcomes.values())
    return {status: found[status] for status in ("passed", "failed", "skipped")}


def by_file(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, int]]:
    """Return the counts of each file of the suite."""
    files: dict[str, dict[str, Outcome]] = {}
    for test, outcome in outcomes.items():
        files.setdefault(test.partition("::")[0], {})[test] = outcome
    return {file: counts(tests) for file, tests in sorted(files.items())}


def share(found: Mapping[str, int]) -> float:
    """Return the share of passed tests among those that were not skipped, or 0."""
    asked = found["passed"] + found["failed"]
    return found["passed"] / asked if asked else 0.0


def _name(nodeid: str) -> str:
    return nodeid.removeprefix("array_api_tests/")


def _why(test: Mapping[str, Any], status: str) -> str:
    if status == "passed":
        return ""
    for phase in _PHASES:
        said = test.get(phase, {})
        if said.get("outcome") in ("failed", "skipped", "error"):
            crash = said.get("crash", {}).get("message") or str(said.get("longrepr", ""))
            lines = [line for line in crash.splitlines() if line.strip()]
            return lines[0].strip() if lines else ""
    return ""


def _last_line(text: str) -> str:
    lines = [line.removeprefix("E  ").strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
