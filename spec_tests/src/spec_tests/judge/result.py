"""What a run found, clause by clause and function by function, in the form of the result file."""

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from spec_tests.judge import properties
from spec_tests.judge.clauses import SPEC_VERSION, Clause
from spec_tests.judge.tables import Row
from spec_tests.support import assertions

# From the worst: what became of several tests is the first of these that became of one of them, but
# that one test that passed counts for more than others that were left out.
_STATES = ("crashed", "failed", "passed", "xfailed", "unsupported")
# The outcomes of tests that are faults; pytest-xdist reports a process that died by this phase.
_FAULTS = ("crashed", "failed")
_DIED = "???"
_BACKENDS = ("torch", "jax", "jaxlib", "cupy", "array_api_compat", "safetensors")


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


class Result:
    """Outcomes of tests, gathered by clause and by the rows of the tables.

    Parameters
    ----------
    implementation : str
        The importable name.
    module : module
        The implementation itself.
    clauses : dict
        Every clause, by number.
    rows : dict
        Every row of the tables, by key.
    """

    seed = 0

    def __init__(
        self,
        implementation: str,
        module: ModuleType,
        clauses: dict[str, Clause],
        rows: dict[str, Row],
    ) -> None:
        self.implementation = implementation
        self.clauses = clauses
        self.rows = rows
        self.device = device_of(module)
        self.versions = versions_of(implementation)
        self.complete = False
        # Of tests with very many cases some were asked.
        self.quick = False
        self.untested: list[str] = []
        self.untested_functions: list[str] = []
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
        self, name: str, ids: list[str], functions: list[str], asked: list[tuple[str, str]]
    ) -> None:
        """Note a test that will run, by file and name, and the properties asked of functions."""
        self._tests[name] = _Test(name)
        for key in [*ids, *functions]:
            self._asked.setdefault(key, []).append(name)
        for key, what in asked:
            self._asked_of.setdefault((key, what), []).append(name)

    def happened(self, name: str, report: pytest.TestReport, why: str) -> None:
        """Note one phase of a test: a failure of any phase is a failure of the test."""
        test = self._tests[name]
        test.seconds += report.duration
        unsupported = any(key == "unsupported" for key, _ in report.user_properties)
        if report.failed:
            test.outcome, test.why = "crashed" if report.when == _DIED else "failed", why
        elif report.skipped:
            expected = "xfailed" if hasattr(report, "wasxfail") else "skipped"
            outcome = "unsupported" if unsupported else expected
            test.outcome, test.why = outcome, why.removeprefix("unsupported: ")
        elif report.when == "call" and test.outcome == "not run":
            test.outcome = "passed"

    def finish(self, complete: bool) -> None:
        """Close the run; after a complete one, clauses and rows without a test are faults."""
        self.complete = complete
        if complete:
            self.untested = [number for number in self.clauses if number not in self._asked]
            self.untested_functions = [key for key in self.rows if key not in self._asked]
            self.blank = [
                f"{key}: {name}"
                for key, row in self.rows.items()
                for name in properties.of(row)
                if (key, name) not in self._asked_of and not properties.excuse(row, name)
            ]

    def counts(self) -> dict[str, int]:
        """Return how many clauses passed, failed and are unsupported."""
        return _counts(self._verdicts())

    def function_counts(self) -> dict[str, int]:
        """Return how many rows of the tables passed, failed and are unsupported."""
        return _counts(self._function_verdicts())

    def failing_functions(self) -> list[str]:
        """Return the keys of the rows that fail."""
        verdicts = self._function_verdicts()
        return [key for key, verdict in verdicts.items() if verdict.status in _FAULTS]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the result file."""
        return {
            "spec_version": SPEC_VERSION,
            "implementation": self.implementation,
            "versions": self.versions,
            "device": self.device["device"],
            "emulated": self.device["emulated"],
            "seed": self.seed,
            "complete": self.complete,
            "quick": self.quick,
            "counts": self.counts(),
            "clauses": {
                number: {
                    "status": verdict.status,
                    "title": self.clauses[number].title,
                    "tests": [test.name for test in verdict.tests],
                    "why": verdict.why,
                    "seconds": round(sum(test.seconds for test in verdict.tests), 4),
                }
                for number, verdict in self._verdicts().items()
            },
            "functions": {
                key: {
                    "status": verdict.status,
                    "tests": [test.name for test in verdict.tests],
                    "why": verdict.why,
                    "properties": self._properties(key),
                }
                for key, verdict in self._function_verdicts().items()
            },
            "skips": [
                {"test": test.name, "outcome": test.outcome, "reason": test.why}
                for test in self._tests.values()
                if test.outcome in ("skipped", "unsupported", "xfailed")
            ],
            "largest_ratios": assertions.largest_ratios(),
        }

    def _properties(self, key: str) -> dict[str, dict[str, str]]:
        """Return the state of each property of a function, and why it is no other."""
        found = {}
        for name in properties.of(self.rows[key]):
            tests = [self._tests[test] for test in self._asked_of.get((key, name), ())]
            verdict = _verdict([test for test in tests if test.outcome != "not run"])
            reason = properties.excuse(self.rows[key], name)
            if not tests and not reason:
                verdict = _Verdict("blank", "no test asks for it")
            elif reason and verdict.status not in _FAULTS:
                verdict = _Verdict("not applicable", reason)
            if not self.complete and verdict.status in ("blank", "incomplete"):
                verdict = _Verdict("incomplete", "the run did not ask for it")
            found[name] = {"state": verdict.status, "why": verdict.why}
        return found

    def _verdicts(self) -> dict[str, _Verdict]:
        return self._judged(self.clauses, self.untested, "no test asks for this clause")

    def _function_verdicts(self) -> dict[str, _Verdict]:
        return self._judged(self.rows, self.untested_functions, "no test asks for this function")

    def _judged(self, keys: Iterable[str], untested: list[str], why: str) -> dict[str, _Verdict]:
        verdicts = {}
        for key in keys:
            tests = [self._tests[name] for name in self._asked.get(key, ())]
            if any(test.outcome != "not run" for test in tests):
                verdicts[key] = _verdict(tests)
            elif key in untested:
                verdicts[key] = _Verdict("failed", why)
        return verdicts


def _counts(verdicts: dict[str, _Verdict]) -> dict[str, int]:
    statuses = [verdict.status for verdict in verdicts.values()]
    counts = {status: statuses.count(status) for status in ("passed", "failed", "unsupported")}
    # These are rare, and nothing is said of them where there are none.
    rare = {status: statuses.count(status) for status in ("xfailed", "crashed")}
    return {**counts, **{status: count for status, count in rare.items() if count}}


def _verdict(tests: list[_Test]) -> _Verdict:
    outcomes = {"unsupported" if t.outcome == "skipped" else t.outcome for t in tests}
    status = next((state for state in _STATES if state in outcomes), "incomplete")
    faults = [test for test in tests if test.outcome in _FAULTS]
    if faults:
        why = "; ".join(f"{test.name}: {test.why}" for test in faults)
        return _Verdict(status, why, tests)
    left_out = [t for t in tests if t.outcome in ("unsupported", "skipped", "xfailed")]
    why = "; ".join(sorted({f"{test.name.partition('[')[0]}: {test.why}" for test in left_out}))
    return _Verdict(status, why, tests)


def device_of(module: ModuleType) -> dict[str, Any]:
    """Return ``device``, its name, and whether it is ``emulated``, as an implementation says."""
    if not hasattr(module, "spec_device"):
        return {"device": "CPU", "emulated": False}
    said = module.spec_device()
    return {"device": str(said["device"]), "emulated": bool(said["emulated"])}


def versions_of(implementation: str) -> dict[str, str]:
    """Return the versions of Python, the implementation and what it is built on."""
    versions = {"python": platform.python_version()}
    names = {"numpy", "pytest", "spec_tests", implementation.partition(".")[0]}
    names |= {name for name in _BACKENDS if name in sys.modules}
    for package in sorted(names):
        version = _version(package)
        if version:
            versions[package] = version
    return versions


def _version(package: str) -> str | None:
    stated = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(stated, str):
        return stated
    # A distribution's name may have hyphens where the package has underscores.
    for name in (package, re.sub("_", "-", package)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
