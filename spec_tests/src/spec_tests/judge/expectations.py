"""What an implementation says beforehand that it does not support, or gets wrong.

The list is a file ``spec_expectations.toml`` in the implementation's own package, or the one that
``--expectations`` names::

    suite = "2026.12.0"  # the version of spec-tests that the list was written for

    [[unsupported]]  # is not run
    reason = "there is no FFT in it"
    clauses = ["fft-*"]
    functions = ["ops.fft.*"]

    [[xfail]]  # is run, and must fail
    reason = "counts in float32"
    tests = ["test_ops_sums.py::test_a_sum_of_many*"]

In a name ``*`` stands for any text and all else for itself. A test belongs to a clause or a
function if it asks for it. Lists are strict: of an xfail's `tests` each must fail, of each of its
`clauses` and `functions` at least one test, and what means nothing is a fault.
"""

import difflib
import importlib.resources
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "spec_expectations.toml"
STATES = ("unsupported", "xfail")
_FAULTS = {"xfailed", "failed", "crashed"}
KINDS = ("clauses", "functions", "tests")


@dataclass(frozen=True)
class Expectation:
    """One name of the list.

    Attributes
    ----------
    state : str
        ``"unsupported"`` or ``"xfail"``.
    kind : str
        What the pattern names: ``"clauses"``, ``"functions"`` or ``"tests"``.
    pattern, reason : str
        As the list has them.
    """

    state: str
    kind: str
    pattern: str
    reason: str

    def means(self, name: str) -> bool:
        """Tell whether a clause, a function or a test is meant."""
        return matches(self.pattern, name)


@dataclass(frozen=True)
class Expectations:
    """A list of what is unsupported or expected to fail.

    Attributes
    ----------
    source : str
        Where the list is from, as a person would say it; "" where there is none.
    suite : str
        The version of the suite that it was written for.
    entries : tuple of Expectation
        In the order of the file; of several that mean a test the first counts.
    """

    source: str = ""
    suite: str = ""
    entries: tuple[Expectation, ...] = ()

    def of(
        self, state: str, test: str, clauses: Iterable[str], functions: Iterable[str]
    ) -> Expectation | None:
        """Return the entry of a state that means a test, by its name or by what it asks for."""
        names = {"clauses": tuple(clauses), "functions": tuple(functions), "tests": (test,)}
        for entry in self.entries:
            if entry.state == state and any(entry.means(name) for name in names[entry.kind]):
                return entry
        return None

    def check_names(self, clauses: Collection[str], functions: Collection[str]) -> None:
        """Refuse names of clauses and functions that the suite does not have.

        Raises
        ------
        ValueError
            With the nearest name that there is.
        """
        known = {"clauses": clauses, "functions": functions}
        for entry in self.entries:
            names = known.get(entry.kind)
            if names is None or any(entry.means(name) for name in names):
                continue
            near = difflib.get_close_matches(entry.pattern, names, 1)
            advice = f", did you mean {near[0]!r}?" if near else ""
            what = {"clauses": "clause", "functions": "function"}[entry.kind]
            msg = f"{self.source}: there is no {what} {entry.pattern!r}{advice}"
            raise ValueError(msg)

    def stale(
        self, tests: Collection[str], outcomes: Mapping[str, Mapping[str, Collection[str]]]
    ) -> dict[str, str]:
        """Return what is wrong with the list after a run of everything, by name.

        Parameters
        ----------
        tests : collection of str
            The names of all tests.
        outcomes : mapping
            ``{"clauses": {number: outcomes of its tests}, "functions": {...}}``.
        """
        found: dict[str, str] = {}
        for entry in self.entries:
            if entry.kind == "tests":
                if not any(entry.means(test) for test in tests):
                    found[entry.pattern] = "means no test of the suite"
            elif entry.state == "xfail":
                ended = {name: set(of) for name, of in outcomes[entry.kind].items()}
                passing = [
                    name for name, of in ended.items() if "passed" in of and not of & _FAULTS
                ]
                why = f"passes, and is expected to fail: {entry.reason}"
                found.update({name: why for name in passing if entry.means(name)})
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return what the result file says of the list."""
        return {
            "source": self.source,
            "suite": self.suite,
            "entries": [
                {"state": e.state, e.kind: e.pattern, "reason": e.reason} for e in self.entries
            ],
        }


def matches(pattern: str, name: str) -> bool:
    """Tell whether a name is meant by a pattern in which ``*`` stands for any text."""
    return _compiled(pattern).fullmatch(name) is not None


def find(module: ModuleType, path: Path | None = None) -> Expectations:
    """Return the list in a file, or else that in an implementation's package, or an empty one.

    Raises
    ------
    ValueError
        The list cannot be read, or says something that means nothing.
    """
    if path is not None:
        if not path.is_file():
            msg = f"--expectations: there is no file {path}"
            raise ValueError(msg)
        return parse(path.read_text(encoding="utf-8"), str(path))
    if module.__spec__ is None or module.__spec__.submodule_search_locations is None:
        return Expectations()  # a module of one file ships none
    shipped = importlib.resources.files(module) / NAME
    if not shipped.is_file():
        return Expectations()
    return parse(shipped.read_text(encoding="utf-8"), f"{module.__name__}/{NAME}")


def parse(text: str, source: str) -> Expectations:
    """Read a list.

    Raises
    ------
    ValueError
        In one line that names `source` and the group.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{source}: {error}"
        raise ValueError(msg) from error
    check_keys(content, {"suite", *STATES}, source)
    suite = content.get("suite")
    if not isinstance(suite, str) or not suite.strip():
        msg = f"{source}: suite must be the version of spec-tests that it was written for"
        raise ValueError(msg)
    return Expectations(source, suite, tuple(_entries(content, source)))


def check_keys(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse keys that mean nothing.

    Raises
    ------
    ValueError
        With the keys that there are.
    """
    unknown = sorted(set(table) - set(known))
    if unknown:
        msg = f"{where}: there is no key {', '.join(unknown)}; the keys are {sorted(known)}"
        raise ValueError(msg)


def check_reason(table: Mapping[str, Any], where: str) -> None:
    """Refuse a group without a reason.

    Raises
    ------
    ValueError
        Naming the group.
    """
    if not str(table.get("reason", "")).strip():
        msg = f"{where}: an expected failure needs a reason"
        raise ValueError(msg)


def _entries(content: Mapping[str, Any], source: str) -> Iterator[Expectation]:
    for state in STATES:
        groups = content.get(state, [])
        if not isinstance(groups, list):
            msg = f"{source}: a group must begin with [[{state}]]"
            raise ValueError(msg)
        for number, group in enumerate(groups, start=1):
            where = f"{source}: {state} {number}"
            check_keys(group, {"reason", *KINDS}, where)
            check_reason(group, where)
            named = [(kind, pattern) for kind in KINDS for pattern in _names(group, kind, where)]
            if not named:
                msg = f"{where}: names no clauses, functions or tests"
                raise ValueError(msg)
            for kind, pattern in named:
                yield Expectation(state, kind, pattern, group["reason"])


def _names(group: Mapping[str, Any], kind: str, where: str) -> list[str]:
    names = group.get(kind, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f"{where}: {kind} must be a list of names, got {names!r}"
        raise ValueError(msg)
    return names


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*"))
