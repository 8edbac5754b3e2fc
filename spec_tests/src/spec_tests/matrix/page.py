"""The merged tables as one page that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import markupsafe

from spec_tests.compare.findings import Report
from spec_tests.compare.report import FILTERS
from spec_tests.judge import clauses, properties, tables
from spec_tests.judge.transforms import read_cells
from spec_tests.matrix.accuracy import accuracy_of
from spec_tests.matrix.memory import memory_of
from spec_tests.matrix.merge import KINDS, STATES, Cell, Matrix, chapter
from spec_tests.matrix.packing import packed
from spec_tests.matrix.prose import as_html, words
from spec_tests.matrix.training import training_of

__all__ = ["MARKS", "as_page"]

# A sign and a word for each state, so that none is told by colour alone.
MARKS = {
    "passed": "✓",
    "failed": "✗",
    "crashed": "✗✗",
    "unsupported": "–",
    "xfailed": "!",
    "incomplete": "…",
}
SAID = {
    "passed": "every test that applies passed",
    "failed": "a test failed, or what passed was expected to fail",
    "crashed": "the process died in a test",
    "unsupported": "not asked: the implementation says it lacks this, and why",
    "xfailed": "fails as the implementation's own list says, and why",
    "incomplete": "was not run to its end, and so is no result",
}
# What is asked for, by kind: the plural, and what one column's head says of the rows.
NAMES = {
    "functions": ("functions", "Functions", "each number: properties that passed / that apply"),
    "clauses": ("clauses", "Clauses", "the numbered rules of the specification"),
    "transforms": ("transforms", "Transforms", "a program under each transformation, by column"),
    "options": ("options", "Recurrent options", "a layer with an option, by column"),
}
_WORST = ("crashed", "failed", "incomplete", "xfailed", "unsupported")
_TOLD = 1500
_UNSAFE = re.compile(r"[^\w.=:-]+")


@dataclass(frozen=True)
class Row:
    """A row of a table: its place in the page, its key, the words beside it, its cells."""

    id: str
    key: str
    label: str
    title: markupsafe.Markup
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """The rows of a chapter, that fold, and what is said in their place."""

    name: str
    rows: list[Row]
    heads: list[tuple[str, str]]


@dataclass(frozen=True)
class Remark:
    """What did not pass, for one reason."""

    state: str
    why: str
    places: list[tuple[str, str]]


def as_page(
    matrix: Matrix,
    results: Sequence[Mapping[str, Any]],
    measured: Sequence[dict[str, Any]] = (),
    training: tuple[Mapping[str, Any], Report] | None = None,
    memory: Mapping[str, Any] | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    matrix : Matrix
        What `merge` made of the results.
    results : sequence of mapping
        The contents of the files, which the page holds whole.
    measured : sequence of mapping
        Of `spec-tests accuracy`: the page has a part on accuracy if there are any.
    training : tuple of (mapping, Report), optional
        Of `spec_tests.compare.reading.read`, for a part on training.
    memory : mapping, optional
        Of ``bench.json``, for a part on memory.

    Raises
    ------
    ValueError
        If the files are of different specifications, or those on accuracy do not belong together.
    """
    _of_one_specification(
        matrix,
        {
            **{f"accuracy of {file['implementation']}": file for file in measured},
            **({"training": training[0]} if training else {}),
            **({"memory": memory} if memory else {}),
        },
    )
    known = matrix.spec_version == clauses.SPEC_VERSION
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            matrix=matrix,
            style=markupsafe.Markup(_part("page.css")),
            script=markupsafe.Markup(_part("page.js")),
            names=NAMES,
            marks=MARKS,
            said=SAID,
            tables={kind: _groups(matrix, kind) for kind in KINDS if matrix.rows(kind)},
            by_property=_by_property(results),
            totals={
                name: {kind: matrix.totals(kind, name) for kind in KINDS if matrix.rows(kind)}
                for name in matrix.runs
            },
            remarks={name: list(_remarks(matrix, name)) for name in matrix.runs},
            files={str(result["implementation"]): packed(result) for result in results},
            about=_about(matrix, known),
            texts=_texts() if known else {},
            environments={name: _environment(run) for name, run in matrix.runs.items()},
            command=_command,
            accuracy=accuracy_of(measured) if measured else None,
            training=training_of(*training) if training else None,
            memory=memory_of(memory) if memory else None,
        )
    )


def _part(name: str) -> str:
    return resources.files("spec_tests.matrix").joinpath(name).read_text(encoding="utf-8")


def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_part),
    )
    found.filters.update(FILTERS, sum_of=lambda counts: sum(counts.values()))
    return found


def _of_one_specification(matrix: Matrix, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, file in files.items():
        if file["spec_version"] != matrix.spec_version:
            msg = (
                f"{name}: is of version {file['spec_version']} of the specification, "
                f"the results are of {matrix.spec_version}"
            )
            raise ValueError(msg)


def _groups(matrix: Matrix, kind: str) -> list[Group]:
    groups: dict[str, list[Row]] = {}
    for key, cells in matrix.rows(kind).items():
        title = words(matrix.titles.get(key, "")) if kind == "clauses" else markupsafe.Markup("")
        row = Row(_id(key), key, _label(kind, key), title, tuple(cells.values()))
        groups.setdefault(chapter(key, kind), []).append(row)
    return [
        Group(
            name,
            rows,
            [_head([row.cells[place].state for row in rows]) for place in range(len(matrix.runs))],
        )
        for name, rows in groups.items()
    ]


def _head(states: list[str]) -> tuple[str, str]:
    """Return the state of a chapter, and what its line says while it is folded."""
    worst = next((state for state in _WORST if state in states), "passed")
    if worst == "incomplete":
        return worst, worst
    if set(states) == {worst} and worst != "passed":
        return worst, worst
    left = [f"{states.count(state)} {state}" for state in _WORST if state in states]
    return worst, ", ".join([f"{states.count('passed')}/{len(states)}", *left])


def _by_property(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each property of functions: of how many that apply it holds."""
    rows = []
    for what in properties.PROPERTIES:
        cells = []
        for result in results:
            found = [
                function["properties"][what]["state"]
                for function in result["functions"].values()
                if what in (function.get("properties") or {})
            ]
            asked = [
                "failed" if one == "blank" else one for one in found if one != "not applicable"
            ]
            state, text = _head(asked if result["complete"] else ["incomplete"])
            cells.append(Cell(state, text))
        rows.append(Row("", what, what, markupsafe.Markup(""), tuple(cells)))
    return rows if any(row.cells[0].why != "0/0" for row in rows) else []


def _label(kind: str, key: str) -> str:
    """Return what a row is called where the chapter stands above it."""
    if kind == "transforms":
        return key.rpartition(": ")[0]
    if kind == "options":
        return key.removeprefix("rnn.").rpartition(".")[0].replace(".", " ", 1)
    return key


def _id(key: str) -> str:
    return _UNSAFE.sub("_", key)


def _remarks(matrix: Matrix, wanted: str) -> Iterator[Remark]:
    """Yield what did not pass in one implementation, the worst first, by reason."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, name, state, why in matrix.remarks():
        if name == wanted:
            row = key.rpartition(", ")[0] or key
            places = found.setdefault((state, why), [])
            places.append((_id(row if _known(matrix, row) else key), key))
    order = ("crashed", "failed", "blank", "xfailed", "unsupported")
    for (state, why), places in sorted(found.items(), key=lambda one: order.index(one[0][0])):
        told = why if len(why) <= _TOLD else f"{why[:_TOLD]}… (the whole is in the cell)"
        yield Remark(state, told, places)


def _known(matrix: Matrix, key: str) -> bool:
    return any(key in matrix.rows(kind) for kind in KINDS)


def _about(matrix: Matrix, known: bool) -> dict[str, Any]:
    """Return what the page's program is told: of rows, what its files do not say."""
    rows = tables.read() if known else {}
    columns = {
        clause.title.removeprefix("The column "): clause.id
        for clause in (clauses.read().values() if known else ())
        if clause.id.startswith("transforms-") and clause.title.startswith("The column ")
    }
    refused = {cell.key: cell.clause for cell in read_cells().values()} if known else {}
    return {
        "implementations": list(matrix.runs),
        "complete": [bool(run["complete"]) for run in matrix.runs.values()],
        "states": list(STATES),
        "marks": MARKS,
        "clauses": {
            **{key: list(row.clauses) for key, row in rows.items() if key in matrix.functions},
            **{
                key: [
                    one
                    for one in (columns.get(chapter(key, "transforms")), refused.get(key))
                    if one
                ]
                for key in matrix.transforms
            },
        },
        "signatures": {
            key: f"{row.name}{row.signature}"
            for key, row in rows.items()
            if key in matrix.functions
        },
        # A word of what is wrong with a cell, whose run is incomplete, is in no file of results.
        "found": {
            name: {
                key: [list(note) for note in row[name].notes]
                for kind in KINDS
                for key, row in matrix.rows(kind).items()
                if row[name].notes
            }
            for name, run in matrix.runs.items()
            if not run["complete"]
        },
    }


def _texts() -> dict[str, list[tuple[str, markupsafe.Markup, markupsafe.Markup]]]:
    """Return number, title and text of each clause, by chapter."""
    found: dict[str, list[tuple[str, markupsafe.Markup, markupsafe.Markup]]] = {}
    for clause in clauses.read().values():
        asked = f"*Asked only of those with the capability* `{clause.capability}`.\n\n"
        text = (asked.replace("*", "") if clause.capability else "") + clause.text
        entry = (clause.id, words(clause.title), as_html(text))
        found.setdefault(chapter(clause.id), []).append(entry)
    return found


def _environment(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of where a run took place; files of older suites say less."""
    listed = run.get("expectations") or {}
    none = {"started": "", "seconds": 0, "platform": "", "machine": ""}
    own = {"entries": listed.get("entries") or [], "source": listed.get("source") or ""}
    return {**none, **(run.get("environment") or {}), **own}


def _command(run: Mapping[str, Any]) -> str:
    """Return the command line of a run, "" where its file has none."""
    parts = (run.get("environment") or {}).get("command") or []
    if parts and parts[0] == "__main__.py":
        # What `python -m pytest` leaves of itself in the list of arguments.
        parts = ["python", "-m", "pytest", *parts[1:]]
    return " ".join(f"'{part}'" if re.search(r"[^\w./:=+-]", part) else part for part in parts)
