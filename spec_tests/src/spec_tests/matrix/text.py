"""The merged table as plain text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spec_tests.matrix.merge import KINDS, Cell, Matrix, chapter

__all__ = ["as_dict", "as_text"]

_WIDE = 46
_TOLD = 160


def as_text(matrix: Matrix) -> str:
    """Return the tables chapter by chapter, then what did not pass, and the totals."""
    lines = [f"specification {matrix.spec_version}: functions by implementation"]
    lines += ["a cell: properties that passed / those that apply", ""]
    lines += _tables(matrix, matrix.functions, {})
    lines += ["clauses by implementation", ""]
    lines += _tables(matrix, matrix.clauses, matrix.titles)
    lines += _named(matrix)
    for kind in KINDS:
        for name in matrix.runs if matrix.rows(kind) else ():
            counts = matrix.totals(kind, name)
            said = ", ".join(f"{count} {state}" for state, count in counts.items())
            lines.append(f"all {kind}, {name}{_mark(matrix, name)}: {said}")
    return "\n".join(lines)


def as_dict(matrix: Matrix) -> dict[str, Any]:
    """Return all that the text shows, for programs."""
    return {
        "spec_version": matrix.spec_version,
        "implementations": matrix.runs,
        **{kind: {key: _plain(row) for key, row in matrix.rows(kind).items()} for kind in KINDS},
        "titles": matrix.titles,
        "totals": {
            kind: {name: matrix.totals(kind, name) for name in matrix.runs} for kind in KINDS
        },
        "not applicable": matrix.excuses(),
        "faults": matrix.faults(),
    }


def _plain(row: Mapping[str, Cell]) -> dict[str, Any]:
    return {
        name: {
            "state": cell.state,
            "why": cell.why,
            "passed": cell.passed,
            "asked": cell.asked,
            "not passed": {what: {"state": state, "why": why} for what, state, why in cell.notes},
        }
        for name, cell in row.items()
    }


def _tables(
    matrix: Matrix, rows: Mapping[str, Mapping[str, Cell]], titles: Mapping[str, str]
) -> Iterable[str]:
    names = list(matrix.runs)
    labels = {key: f"{key} {titles.get(key, '')}".strip() for key in rows}
    cells = [cell.text for row in rows.values() for cell in row.values()]
    heads = [f"{name}{_mark(matrix, name)}" for name in names]
    first = min(_WIDE, max(map(len, labels.values()), default=0))
    width = max(map(len, [*cells, *heads]), default=0)
    for name in dict.fromkeys(map(chapter, rows)):
        yield name.ljust(first) + "".join(f"  {head:>{width}}" for head in heads)
        for key, row in rows.items():
            if chapter(key) == name:
                label = labels[key]
                label = label if len(label) <= first else f"{label[: first - 3]}..."
                yield label.ljust(first) + "".join(f"  {row[n].text:>{width}}" for n in names)
        yield ""


def _named(matrix: Matrix) -> Iterable[str]:
    for state in ("crashed", "failed", "blank", "xfailed", "unsupported"):
        found = [remark for remark in matrix.remarks() if remark[2] == state]
        if found:
            yield f"{state}:"
            for key, name, _, why in found:
                told = why if len(why) <= _TOLD else f"{why[:_TOLD]}..."
                yield f"  {key}: {name}: {told}"
            yield ""
    excuses = matrix.excuses()
    if excuses:
        yield "not applicable, by what the rows say:"
        yield from (f"  {count:4} {why}" for why, count in excuses.items())
        yield ""
    for name, run in matrix.runs.items():
        if not run["complete"]:
            yield f"{name}: incomplete, which is no result: {matrix.why_incomplete(name)}"
        if run["emulated"]:
            yield f"{name}: on the CPU emulation of CuPy: the code is right, no GPU ran it"
        if run["quick"]:
            yield f"{name}: quick: of tests that compile much some cases were run"
    yield ""


def _mark(matrix: Matrix, name: str) -> str:
    run = matrix.runs[name]
    words = [word for word in ("quick", "emulated") if run[word]]
    words += ["incomplete"] * (not run["complete"])
    return f" ({', '.join(words)})" if words else ""
