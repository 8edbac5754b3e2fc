"""The result file of one implementation, and the table that shows several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spec_tests.standard import VERSION
from spec_tests.standard.expectations import Verdict
from spec_tests.standard.outcomes import Outcome, by_file, counts, share

__all__ = ["as_dict", "findings", "table"]

_EMULATED = "on the CPU emulation of CuPy: the code is right, no GPU ran it"


def as_dict(
    outcomes: Mapping[str, Outcome], verdict: Verdict, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of a result file.

    Parameters
    ----------
    outcomes : mapping
        The outcomes by test.
    verdict : Verdict
        What the list of expected failures says of them.
    about : mapping
        What else is known of the run: ``implementation``, ``emulated``, ``complete``, versions.
    """
    found = counts(outcomes)
    return {
        **about,
        "standard": VERSION,
        "counts": found,
        "share_passed": round(share(found), 4),
        "kept": verdict.kept,
        "files": by_file(outcomes),
        "unexpected": verdict.unexpected,
        "stale": verdict.stale,
        "expected": verdict.expected,
        "tests": {test: outcome.status for test, outcome in sorted(outcomes.items())},
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of several results: a row for each file, a column for each implementation.

    A cell is ``passed/failed/skipped``.
    """
    names = [str(result["implementation"]) for result in results]
    files = sorted({file for result in results for file in result["files"]})
    rows = [
        ["passed/failed/skipped", *names],
        *([file, *(_cell(result["files"].get(file)) for result in results)] for file in files),
        ["all", *(_cell(result["counts"]) for result in results)],
        ["passed of those not skipped", *(f"{result['share_passed']:.1%}" for result in results)],
        ["failed as expected", *(str(len(result["expected"])) for result in results)],
        ["failed, not expected", *(str(len(result["unexpected"])) for result in results)],
        ["expected, did not fail", *(str(len(result["stale"])) for result in results)],
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
    lines = [
        row[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    notes = [
        f"{result['implementation']}: {_EMULATED}" for result in results if result.get("emulated")
    ]
    notes += [
        f"{result['implementation']}: part of the suite" for result in results if _partial(result)
    ]
    notes += [
        f"{result['implementation']}: not asked for {', '.join(result['without_dtypes'])}"
        for result in results
        if result.get("without_dtypes")
    ]
    return "\n".join([f"the public suite of the array API standard {VERSION}", *lines, *notes])


def findings(result: Mapping[str, Any]) -> list[str]:
    """Return a line for each unexpected failure and each entry of the list that is out of date."""
    name = result["implementation"]
    return [
        *(f"{name}: UNEXPECTED {test}: {why}" for test, why in result["unexpected"].items()),
        *(f"{name}: OUT OF DATE {entry}: {what}" for entry, what in result["stale"].items()),
    ]


def _cell(found: Mapping[str, int] | None) -> str:
    return "-" if found is None else f"{found['passed']}/{found['failed']}/{found['skipped']}"


def _partial(result: Mapping[str, Any]) -> bool:
    return not result.get("complete", True)
