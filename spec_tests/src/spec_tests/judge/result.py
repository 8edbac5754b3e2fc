"""What a run found, by clause, function and cell, in the form of the result file."""

import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spec_tests.judge import clauses, options, properties, tables, transforms
from spec_tests.judge.environment import device_of, suite_version, versions_of
from spec_tests.judge.expectations import Expectations
from spec_tests.support import assertions

# Of the result file; a reader refuses a greater one.
FORMAT = 2
# What a test, a clause or a function may be, the worst last where one has several tests.
STATES = ("passed", "unsupported", "xfailed", "incomplete", "failed", "crashed")
_FAULTS = ("failed", "crashed")
# What tests ask for, and what one of them is called.
KINDS = {"clauses": "clause", "functions": "function", "transforms": "cell", "options": "cell"}

# With --quick some of these cells are left out.
_SAMPLED = ("transforms", "options")


@dataclass
class _Test:
    name: str
    outcome: str = "not run"
    why: str = ""
    seconds: float = 0.0


@dataclass
class _Verdict:
    status: str
    why: str
    tests: list[_Test] = field(default_factory=list)


class Subjects:
    """All that a specification has to be asked for.

    Parameters
    ----------
    spec : Path
        The directory of its chapters.

    Attributes
    ----------
    clauses, functions, transforms, options : dict
        By number or key: the clauses, the rows of the tables of functions, the cells of the table
        of transforms and those of the table of recurrent options.
    """

    def __init__(self, spec: Path) -> None:
        self.clauses = clauses.read(spec)
        self.functions = tables.read(spec)
        self.transforms = transforms.read_cells(spec)
        self.options = options.read(spec)

    def of(self, kind: str) -> Mapping[str, Any]:
        """Return those of one of `KINDS`."""
        found: Mapping[str, Any] = getattr(self, kind)
        return found


class Result:
    """Outcomes of tests, gathered by what they ask for.

    Parameters
    ----------
    implementation : str
        The importable name.
    module : module
        The implementation itself.
    subjects : Subjects
        All that there is to ask for.
    """

    seed = 0

    def __init__(self, implementation: str, module: ModuleType, subjects: Subjects) -> None:
        self.implementation = implementation
        self.subjects = subjects
        # Without float64 nothing is asked in it.
        self._narrow = not dict(module.spec_capabilities()).get("float64", False)
        self.device = device_of(module)
        self.versions = versions_of(implementation)
        self.complete = False
        # What kept the run from being a result, in words; "" after a complete run.
        self.why_incomplete = "the run did not end"
        # Of tests that compile much some cases were asked.
        self.quick = False
        self.command: list[str] = []
        self.started = time.time()
        self.expectations = Expectations()
        # What is wrong with the expectations, by name.
        self.stale: dict[str, str] = {}
        # After a complete run: what no test asks for, by kind, and properties of functions.
        self.untested: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self.blank: list[str] = []
        self._tests: dict[str, _Test] = {}
        self._asked: dict[str, list[str]] = {}
        self._asked_of: dict[tuple[str, str], list[str]] = {}

    def describe(self) -> str:
        """Return one line on the implementation and its device."""
        version = self.versions.get(self.implementation)
        emulated = " (emulated)" if self.device["emulated"] else ""
        name = f"{self.implementation} {version}" if version else self.implementation
        return f"{name}, device {self.device['device']}{emulated}"

    def collected(
        self, name: str, ids: list[str], keys: list[str], asked: list[tuple[str, str]]
    ) -> None:
        """Note a test that will run, by file and name.

        Parameters
        ----------
        name : str
        ids, keys : list of str
            The clauses, and the functions and cells, that it asks for.
        asked : list of (str, str)
            Functions, and the properties that it asks of them.
        """
        self._tests[name] = _Test(name)
        for key in [*ids, *keys]:
            self._asked.setdefault(key, []).append(name)
        for pair in asked:
            self._asked_of.setdefault(pair, []).append(name)

    def happened(self, name: str, report: pytest.TestReport, why: str) -> None:
        """Note one phase of a test: a failure of any phase is a failure of the test."""
        test = self._tests[name]
        test.seconds += report.duration
        unsupported = any(key == "unsupported" for key, _ in report.user_properties)
        if report.when not in ("setup", "call", "teardown"):
            # pytest-xdist's own report of a process that died while it ran the test.
            test.outcome, test.why = "crashed", why
        elif report.failed:
            test.outcome, test.why = "failed", why
        elif hasattr(report, "wasxfail"):
            test.outcome, test.why = "xfailed", why
        elif report.skipped:
            outcome = "unsupported" if unsupported else "skipped"
            test.outcome, test.why = outcome, why.removeprefix("unsupported: ")
        elif report.when == "call" and test.outcome == "not run":
            test.outcome = "passed"

    def finish(self, why_incomplete: str) -> None:
        """Close the run.

        After a complete one it is a fault if no test asks for a clause, function, cell or property,
        and so are expectations that are out of date.

        Parameters
        ----------
        why_incomplete : str
            What kept it from being a run of everything; "" if nothing did.
        """
        outcomes = [(test.name, test.outcome) for test in self._tests.values()]
        crashed = [name for name, outcome in outcomes if outcome == "crashed"]
        missed = [name for name, outcome in outcomes if outcome == "not run"]
        if crashed:
            why_incomplete = f"a process died in {', '.join(crashed)}"
        elif missed and not why_incomplete:
            why_incomplete = f"{len(missed)} tests did not run, {missed[0]} among them"
        self.why_incomplete, self.complete = why_incomplete, not why_incomplete
        if self.complete:
            for kind in KINDS:
                if self.quick and kind in _SAMPLED:
                    continue
                keys = self.subjects.of(kind)
                self.untested[kind] = [key for key in keys if key not in self._asked]
            self.blank = [
                f"{key}: {name}"
                for key, row in self.subjects.functions.items()
                for name in properties.of(row)
                if not (self.quick and name in properties.SAMPLED)
                if (key, name) not in self._asked_of and not self._excuse(row, name)
            ]
        if self.complete and not self.quick:
            asked = {
                "clauses": self._outcomes(self.subjects.clauses),
                "functions": self._outcomes(self.subjects.functions),
            }
            self.stale = self.expectations.stale(self._tests, asked)

    def faults(self) -> bool:
        """Return whether something is wrong besides tests that fail."""
        return bool(any(self.untested.values()) or self.blank or self.stale)

    def counts(self, kind: str = "clauses") -> dict[str, int]:
        """Return how many of one of `KINDS` are in each state."""
        statuses = [verdict.status for verdict in self._verdicts(kind).values()]
        return {state: statuses.count(state) for state in STATES}

    def failing(self, kind: str) -> list[str]:
        """Return the keys of those of one of `KINDS` that fail."""
        return [key for key, found in self._verdicts(kind).items() if found.status in _FAULTS]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the result file."""
        return {
            "format": FORMAT,
            "spec_version": clauses.SPEC_VERSION,
            "suite_version": suite_version(),
            "implementation": self.implementation,
            "versions": self.versions,
            "device": self.device["device"],
            "emulated": self.device["emulated"],
            "seed": self.seed,
            "state": "complete" if self.complete else "incomplete",
            "complete": self.complete,
            "why_incomplete": self.why_incomplete,
            "quick": self.quick,
            "environment": self._environment(),
            "expectations": {**self.expectations.as_dict(), "stale": self.stale},
            "counts": self.counts(),
            "function_counts": self.counts("functions"),
            "clauses": {
                number: {
                    **_told(verdict),
                    "title": self.subjects.clauses[number].title,
                    "seconds": round(sum(test.seconds for test in verdict.tests), 4),
                }
                for number, verdict in self._verdicts("clauses").items()
            },
            "functions": {
                key: {**_told(verdict), "properties": self._properties(key)}
                for key, verdict in self._verdicts("functions").items()
            },
            "transforms": self._table(),
            "options": {key: _told(found) for key, found in self._verdicts("options").items()},
            "skips": [
                {"test": test.name, "outcome": test.outcome, "reason": test.why}
                for test in self._tests.values()
                if test.outcome in ("skipped", "unsupported", "xfailed")
            ],
            "largest_ratios": assertions.largest_ratios(),
            "largest_errors": assertions.largest_errors(),
        }

    def _excuse(self, row: tables.Row, name: str) -> str:
        if self._narrow and name == "values float64":
            return "the implementation has no float64"
        return properties.excuse(row, name)

    def _properties(self, key: str) -> dict[str, dict[str, str]]:
        """Return the state of each property of a function, and why it is no other."""
        found = {}
        row = self.subjects.functions[key]
        for name in properties.of(row):
            tests = [self._tests[test] for test in self._asked_of.get((key, name), ())]
            verdict = _verdict(tests) if tests else _Verdict("blank", "no test asks for it")
            reason = self._excuse(row, name)
            if reason and verdict.status not in _FAULTS:
                verdict = _Verdict("not applicable", reason)
            elif verdict.status == "blank" and not self.complete:
                verdict = _Verdict("incomplete", "the run did not ask for it")
            elif verdict.status == "blank" and self.quick:
                verdict = _Verdict("incomplete", "left out by --quick")
            found[name] = {"state": verdict.status, "why": verdict.why}
        return found

    def _table(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return the table of transforms: what came of each cell, by program and column."""
        table: dict[str, dict[str, dict[str, str]]] = {}
        for key, verdict in self._verdicts("transforms").items():
            cell = self.subjects.transforms[key]
            found = {"status": verdict.status, "why": verdict.why}
            table.setdefault(cell.program, {})[cell.column] = found
        return table

    def _environment(self) -> dict[str, Any]:
        return {
            "device": self.device["device"],
            "emulated": self.device["emulated"],
            "versions": self.versions,
            "platform": platform.platform(),
            "machine": platform.machine(),
            "command": self.command,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "seconds": round(time.time() - self.started, 1),
        }

    def _outcomes(self, keys: Iterable[str]) -> dict[str, set[str]]:
        return {
            key: {self._tests[name].outcome for name in self._asked[key]}
            for key in keys
            if key in self._asked
        }

    def _verdicts(self, kind: str) -> dict[str, _Verdict]:
        verdicts = {}
        for key in self.subjects.of(kind):
            tests = [self._tests[name] for name in self._asked.get(key, ())]
            if tests:
                verdicts[key] = _verdict(tests)
            elif key in self.untested[kind]:
                verdicts[key] = _Verdict("failed", f"no test asks for this {KINDS[kind]}")
            if key in self.stale:
                verdicts[key] = _Verdict("failed", self.stale[key], tests)
        return verdicts


def _told(verdict: _Verdict) -> dict[str, Any]:
    return {
        "status": verdict.status,
        "tests": [test.name for test in verdict.tests],
        "outcomes": dict(Counter(test.outcome for test in verdict.tests)),
        "why": verdict.why,
    }


def _verdict(tests: list[_Test]) -> _Verdict:
    by_outcome: dict[str, list[_Test]] = {}
    for test in tests:
        by_outcome.setdefault(test.outcome, []).append(test)
    for status, outcome in (
        ("crashed", "crashed"),
        ("failed", "failed"),
        ("incomplete", "not run"),
    ):
        if outcome in by_outcome:
            faults = [test for test in by_outcome[outcome] if test.why]
            why = "; ".join(f"{test.name}: {test.why}" for test in faults)
            return _Verdict(status, why or "tests of it did not run", tests)
    left_out = [test for test in tests if test.outcome in ("unsupported", "skipped", "xfailed")]
    why = "; ".join(sorted({f"{test.name.partition('[')[0]}: {test.why}" for test in left_out}))
    if "xfailed" in by_outcome:
        return _Verdict("xfailed", why, tests)
    return _Verdict("passed" if "passed" in by_outcome else "unsupported", why, tests)
