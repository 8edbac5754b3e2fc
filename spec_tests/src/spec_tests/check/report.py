"""What a check found, as a person reads it and as JSON."""

import textwrap
from typing import Any

from spec_tests.check.properties import AGREEMENT, FAILED, NOT_ASKED, PASSED, PROPERTIES, REFUSED
from spec_tests.check.run import Report

_WIDTH = 100
_ASKS = {p.name: p.asks for p in PROPERTIES} | {AGREEMENT: "the backends give the same numbers"}
_SENTENCES = ("is right", "is wrong", "could not be checked")


def text(report: Report, *, scripts: bool = True, notes: bool = False) -> str:
    """Return the table, the verdict on each property that fails, and scripts that show it.

    Parameters
    ----------
    report : Report
    scripts : bool
        Whether scripts are printed: one for each property that fails, on the first backend.
    notes : bool
        Whether what was found is printed for what passes too.
    """
    blocks = [headline(report), _table(report)]
    blocks += [f"{label}: not checked: {why}" for label, why in report.obstacles.items()]
    blocks.append(_failures(report, scripts))
    if notes:
        blocks.append(_notes(report, (PASSED, REFUSED, NOT_ASKED)))
    elif any(
        v.state in (REFUSED, NOT_ASKED) for row in report.verdicts.values() for v in row.values()
    ):
        blocks.append(_notes(report, (REFUSED, NOT_ASKED)))
    return "\n\n".join(block for block in blocks if block)


def headline(report: Report) -> str:
    """Return one sentence: what was checked, with what, and what came of it."""
    how = " (found by Hypothesis)" if report.drawn else ""
    what = f": {', '.join(report.failed)}" if report.failed else ""
    return f"{report.name} on {report.signature}{how} {_SENTENCES[report.status]}{what}"


def _table(report: Report) -> str:
    labels = list(report.verdicts)
    if not labels:
        return ""
    names = [name for name in _ASKS if any(name in report.verdicts[label] for label in labels)]
    widths = [max(len(label), 9) for label in labels]
    first = max(map(len, names))
    head = (
        " " * first
        + "  "
        + "  ".join(f"{label:{w}}" for label, w in zip(labels, widths, strict=True))
    )
    lines = [head]
    for name in names:
        cells = [
            f"{report.verdicts[label][name].state if name in report.verdicts[label] else '':{w}}"
            for label, w in zip(labels, widths, strict=True)
        ]
        lines.append(f"{name:{first}}  {'  '.join(cells)}  {_ASKS[name]}".rstrip())
    return "\n".join(lines)


def _failures(report: Report, scripts: bool) -> str:
    blocks, shown = [], set()
    for label, name, verdict in report.failures():
        at = f" at {verdict.sizes}" if verdict.sizes else ""
        lines = textwrap.wrap(f"{name} on {label}{at}: {verdict.says}", _WIDTH)
        if scripts and verdict.script and name not in shown:
            shown.add(name)
            lines += ["", "to reproduce:", "", *verdict.script.splitlines()]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _notes(report: Report, states: tuple[str, ...]) -> str:
    """Return what was found, once where several backends say the same."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for label, row in report.verdicts.items():
        for name, verdict in row.items():
            if verdict.state in states and verdict.says:
                said.setdefault((name, verdict.state, verdict.says), []).append(label)
    every = len(report.verdicts)
    lines = []
    for (name, state, says), labels in said.items():
        where = "" if len(labels) == every else f" on {', '.join(labels)}"
        lines.append(
            f"{name}{where}: {says}" if state == PASSED else f"{name} {state}{where}: {says}"
        )
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON holds it.

    ``status`` 0, 1 or 2; ``failed``, the names of properties; ``backends``, by name the verdicts,
    by property, with ``state``, ``says``, ``sizes`` and ``script``; ``obstacles``.
    """
    return {
        "function": report.name,
        "inputs": report.signature,
        "inputs_found_by_hypothesis": report.drawn,
        "status": report.status,
        "failed": report.failed,
        "properties": _ASKS,
        "backends": {
            label: {
                name: {"state": v.state, "says": v.says, "sizes": v.sizes, "script": v.script}
                for name, v in row.items()
            }
            for label, row in report.verdicts.items()
        },
        "obstacles": report.obstacles,
    }


__all__ = ["FAILED", "as_json", "headline", "text"]
