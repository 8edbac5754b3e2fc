"""The kept list of tests that are expected to fail, and what a run says of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spec_tests.judge.expectations import check_keys, check_reason, matches
from spec_tests.standard.outcomes import Outcome

__all__ = ["LIST", "Expectation", "Verdict", "expected_of", "judge"]

LIST = Path(__file__).parent / "expectations.toml"
_KEYS = {"reason", "tests", "implementations", "sometimes"}


@dataclass(frozen=True)
class Expectation:
    """Tests that are expected to fail, by a pattern of their names, and the reason.

    In the pattern ``*`` stands for any text and all else for itself. With `sometimes` it depends on
    the examples whether a test fails, so that one which passes is no fault of the list.
    """

    pattern: str
    reason: str
    sometimes: bool = False

    def matches(self, test: str) -> bool:
        """Tell whether a test is meant."""
        return matches(self.pattern, test)


@dataclass
class Verdict:
    """What a run says of the list.

    Attributes
    ----------
    unexpected : dict of str
        Why each test failed that is not in the list.
    stale : dict of str
        What is wrong with entries of the list: a test passed, or a pattern means no test.
    expected : dict of str
        The reason for each test that failed as expected.
    """

    unexpected: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether nothing happened that the list does not say."""
        return not self.unexpected and not self.stale


def expected_of(implementation: str, path: Path = LIST) -> list[Expectation]:
    """Return what is expected of an implementation.

    The file is a list of tables ``[[group]]`` with ``reason``, ``tests`` (patterns),
    ``implementations`` (all where it is missing) and ``sometimes`` (false where it is missing).

    Raises
    ------
    ValueError
        A group lacks its reason or its tests, or has a key that means nothing.
    """
    groups = tomllib.loads(path.read_text(encoding="utf-8")).get("group", [])
    for number, group in enumerate(groups, start=1):
        _check(group, f"{path.name}: group {number}")
    return [
        Expectation(pattern, group["reason"], group.get("sometimes", False))
        for group in groups
        if implementation in group.get("implementations", [implementation])
        for pattern in group["tests"]
    ]


def judge(
    outcomes: Mapping[str, Outcome], expectations: Iterable[Expectation], complete: bool
) -> Verdict:
    """Hold outcomes to the list.

    Parameters
    ----------
    outcomes : mapping
        The outcomes by test.
    expectations : iterable
        What is expected; of several that mean a test the first counts.
    complete : bool
        Whether every test was run, so that a pattern without a test is a fault.
    """
    listed = list(expectations)
    verdict = Verdict()
    used: set[Expectation] = set()
    for test, outcome in outcomes.items():
        found = [expectation for expectation in listed if expectation.matches(test)]
        used.update(found)
        if outcome.status == "failed" and found:
            verdict.expected[test] = found[0].reason
        elif outcome.status == "failed":
            verdict.unexpected[test] = outcome.why
        elif outcome.status == "passed" and found and not found[0].sometimes:
            verdict.stale[test] = f"passes, and is expected to fail: {found[0].reason}"
    if complete:
        for expectation in listed:
            if expectation not in used:
                verdict.stale[expectation.pattern] = "means no test of the suite"
    return verdict


def _check(group: Mapping[str, Any], where: str) -> None:
    check_keys(group, _KEYS, where)
    check_reason(group, where)
    if not group.get("tests"):
        msg = f"{where}: names no tests"
        raise ValueError(msg)
