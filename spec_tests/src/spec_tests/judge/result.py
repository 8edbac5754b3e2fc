"""What a run found, clause by clause and function by function, in the form of the result file."""

import importlib.metadata
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from spec_tests.judge.clauses import SPEC_VERSION, Clause
from spec_tests.judge.expectations import Expectations
from spec_tests.judge.tables import Row
from spec_tests.support import assertions

# Of the result file; a reader refuses a greater one.
FORMAT = 2
# What a test, a clause or a function may be, the worst last where one has several tests.
STATES = ("passed", "unsupported", "xfailed", "incomplete", "failed", "crashed")
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
        # What kept the run from being a result, in words; "" after a complete run.
        self.why_incomplete = "the run did not end"
        # Of tests with very many cases some were asked.
        self.quick = False
        self.command: list[str] = []
        self.started = time.time()
        self.expectations = Expectations()
        # What is wrong with the expectations, by name.
        self.stale: dict[str, str] = {}
        self.untested: list[str] = []
        self.untested_functions: list[str] = []
        self._tests: dict[str, _Test] = {}
        self._asked: dict[str, list[str]] = {}

    def describe(self) -> str:
        """Return one line on the implementation and its device."""
        version = self.versions.get(self.implementation)
        emulated = " (emulated)" if self.device["emulated"] else ""
        name = f"{self.implementation} {version}" if version else self.implementation
        return f"{name}, device {self.device['device']}{emulated}"

    def collected(self, name: str, ids: list[str], functions: list[str]) -> None:
        """Note a test that will run, by file and name."""
        self._tests[name] = _Test(name)
        for key in [*ids, *functions]:
            self._asked.setdefault(key, []).append(name)

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

        After a complete one, clauses and rows without a test are faults, and so are expectations
        that are out of date.

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
            self.untested = [number for number in self.clauses if number not in self._asked]
            self.untested_functions = [key for key in self.rows if key not in self._asked]
        if self.complete and not self.quick:
            asked = {
                "clauses": self._outcomes(self.clauses),
                "functions": self._outcomes(self.rows),
            }
            self.stale = self.expectations.stale(self._tests, asked)

    def counts(self) -> dict[str, int]:
        """Return how many clauses are in each state."""
        return _counts(self._verdicts())

    def function_counts(self) -> dict[str, int]:
        """Return how many rows of the tables are in each state."""
        return _counts(self._function_verdicts())

    def failing_functions(self) -> list[str]:
        """Return the keys of the rows that fail."""
        verdicts = self._function_verdicts()
        return [key for key, verdict in verdicts.items() if verdict.status in ("failed", "crashed")]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the result file."""
        return {
            "format": FORMAT,
            "spec_version": SPEC_VERSION,
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
            "function_counts": self.function_counts(),
            "clauses": {
                number: {
                    "status": verdict.status,
                    "title": self.clauses[number].title,
                    "tests": [test.name for test in verdict.tests],
                    "outcomes": _outcomes(verdict.tests),
                    "why": verdict.why,
                    "seconds": round(sum(test.seconds for test in verdict.tests), 4),
                }
                for number, verdict in self._verdicts().items()
            },
            "functions": {
                key: {
                    "status": verdict.status,
                    "tests": [test.name for test in verdict.tests],
                    "outcomes": _outcomes(verdict.tests),
                    "why": verdict.why,
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

    def _verdicts(self) -> dict[str, _Verdict]:
        return self._judged(self.clauses, self.untested, "no test asks for this clause")

    def _function_verdicts(self) -> dict[str, _Verdict]:
        return self._judged(self.rows, self.untested_functions, "no test asks for this function")

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

    def _judged(self, keys: Iterable[str], untested: list[str], why: str) -> dict[str, _Verdict]:
        verdicts = {}
        for key in keys:
            tests = [self._tests[name] for name in self._asked.get(key, ())]
            if tests:
                verdicts[key] = _verdict(tests)
            elif key in untested:
                verdicts[key] = _Verdict("failed", why)
            if key in self.stale:
                verdicts[key] = _Verdict("failed", self.stale[key], tests)
        return verdicts


def _counts(verdicts: dict[str, _Verdict]) -> dict[str, int]:
    statuses = [verdict.status for verdict in verdicts.values()]
    return {state: statuses.count(state) for state in STATES}


def _outcomes(tests: list[_Test]) -> dict[str, int]:
    return dict(Counter(test.outcome for test in tests))


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


def suite_version() -> str:
    """Return the version of the suite's distribution, "" where it runs from its sources."""
    return _version("spec_tests") or ""


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
