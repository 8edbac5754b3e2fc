"""Several result files as one table: a state for each thing asked for, by implementation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spec_tests.judge.clauses import CHAPTERS
from spec_tests.judge.result import FORMAT

__all__ = ["KINDS", "STATES", "Cell", "Matrix", "chapter", "merge", "read"]

# What is asked for, in the order of the tables, as the result file names it.
KINDS = ("functions", "clauses", "transforms", "options")
STATES = ("passed", "failed", "unsupported", "xfailed", "crashed", "incomplete")
# Of a property of a function there are two states more.
_NOT_APPLICABLE, _BLANK = "not applicable", "blank"
_FAULTS = ("failed", "crashed", _BLANK)
_KEYS = ("spec_version", "implementation", "complete", "clauses", "functions")
# What is kept of a run beside its tables.
_ABOUT = (
    "complete",
    "why_incomplete",
    "quick",
    "emulated",
    "device",
    "versions",
    "suite_version",
    "seed",
    "environment",
    "expectations",
)


@dataclass(frozen=True)
class Cell:
    """What became of one thing that is asked for, in one implementation.

    Attributes
    ----------
    state : str
        One of `STATES`.
    why : str
        Why it is no other, where it did not pass.
    passed, asked : int
        The properties that passed, and those that apply; 0 where none are kept apart.
    notes : tuple of (str, str, str)
        The property, its state and the reason, of each that did not pass, those that do not apply
        included.
    """

    state: str
    why: str = ""
    passed: int = 0
    asked: int = 0
    notes: tuple[tuple[str, str, str], ...] = ()

    @property
    def text(self) -> str:
        """The cell of the table."""
        if self.state == "incomplete" or not self.asked:
            return self.state
        share = f"{self.passed}/{self.asked}"
        return share if self.state == "passed" else f"{share} {self.state}"


@dataclass
class Matrix:
    """Functions, clauses and the cells of two tables, by implementation.

    Attributes
    ----------
    runs : dict of dict
        By implementation: ``complete``, ``why_incomplete``, ``quick``, ``emulated``, ``device``,
        ``versions``, ``environment`` and more that its file tells of the run.
    functions, clauses, transforms, options : dict of dict of Cell
        By key and implementation, in the order of the specification; a key of the table of
        transforms is ``"GRU: vmap"``, of recurrent options ``"rnn.GRU.batch_first.vmap"``.
    titles : dict of str
        Of clauses.
    """

    spec_version: str
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: dict[str, dict[str, Cell]] = field(default_factory=dict)
    clauses: dict[str, dict[str, Cell]] = field(default_factory=dict)
    transforms: dict[str, dict[str, Cell]] = field(default_factory=dict)
    options: dict[str, dict[str, Cell]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    def rows(self, kind: str) -> dict[str, dict[str, Cell]]:
        """Return the rows of one of `KINDS`."""
        found: dict[str, dict[str, Cell]] = getattr(self, kind)
        return found

    def totals(self, kind: str, name: str) -> dict[str, int]:
        """Return how many of one of `KINDS` have each state in one implementation."""
        cells = [row[name].state for row in self.rows(kind).values()]
        return {state: cells.count(state) for state in STATES}

    def faults(self) -> list[str]:
        """Return a line for each failure, of incomplete runs too, and each incomplete run."""
        lines = [
            f"{key}: {name}: {state}: {why}"
            for key, name, state, why in self.remarks()
            if state in _FAULTS
        ]
        cut = [name for name, run in self.runs.items() if not run["complete"]]
        return [*lines, *(f"{name}: incomplete: {self.why_incomplete(name)}" for name in cut)]

    def why_incomplete(self, name: str) -> str:
        """Return why the run of one was no run of everything."""
        return str(self.runs[name].get("why_incomplete") or "a part of the suite was run")

    def remarks(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield key, implementation, state and reason of all that did not pass."""
        for kind in KINDS:
            for key, row in self.rows(kind).items():
                for name, cell in row.items():
                    properties = [note for note in cell.notes if note[1] != _NOT_APPLICABLE]
                    for what, state, why in properties:
                        yield f"{key}, {what}", name, state, why
                    known = {why for _, _, why in properties}
                    if cell.state not in ("passed", "incomplete") and cell.why not in known:
                        yield key, name, cell.state, cell.why

    def excuses(self) -> dict[str, int]:
        """Return the reasons why properties do not apply, with the number of functions of each."""
        found: dict[str, set[tuple[str, str]]] = {}
        for key, row in self.functions.items():
            for cell in row.values():
                for what, state, why in cell.notes:
                    if state == _NOT_APPLICABLE:
                        found.setdefault(why, set()).add((key, what))
        return {why: len(cells) for why, cells in sorted(found.items())}


def read(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises
    ------
    ValueError
        Where it is none, or of a later format; the message names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        msg = f"{path}: cannot be read as a result file: {reason}"
        raise ValueError(msg) from None
    missing = [key for key in _KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        msg = f"{path}: a result file of `--result` has {', '.join(missing)}; this one lacks them"
        raise ValueError(msg)
    if content.get("format", FORMAT) > FORMAT:
        msg = f"{path}: this program reads format {FORMAT} and before, got {content['format']}"
        raise ValueError(msg)
    return dict(content)


def merge(results: Sequence[Mapping[str, Any]]) -> Matrix:
    """Put the results of several implementations side by side.

    Raises
    ------
    ValueError
        Where they are of different specifications, or two are of one implementation.
    """
    versions = sorted({str(result["spec_version"]) for result in results})
    if len(versions) != 1:
        msg = f"the results must be of one specification, got {', '.join(versions) or 'none'}"
        raise ValueError(msg)
    matrix = Matrix(versions[0])
    for result in results:
        name = str(result["implementation"])
        if name in matrix.runs:
            msg = f"an implementation must have one result, got two of {name}"
            raise ValueError(msg)
        matrix.runs[name] = {key: result.get(key) for key in _ABOUT}
        for number, clause in result["clauses"].items():
            matrix.titles.setdefault(number, str(clause.get("title", "")))
    for kind in KINDS:
        found = {str(result["implementation"]): _said(result, kind) for result in results}
        keys = dict.fromkeys(key for said in found.values() for key in said)
        # A part of the suite has other chapters first.
        ordered = list(keys)
        if kind == "functions":
            ordered.sort(key=chapter)
        elif kind == "clauses":
            ordered.sort(key=_place)
        for key in ordered:
            matrix.rows(kind)[key] = {
                name: _cell(said.get(key), matrix.runs[name]["complete"])
                for name, said in found.items()
            }
    return matrix


def chapter(key: str, kind: str = "functions") -> str:
    """Return the chapter of a row: ``ops.fft.rfft`` stands in fft.

    Of the tables of transforms and recurrent options it is the column, as in ``vmap``.
    """
    if kind == "transforms":
        return key.rpartition(": ")[2]
    if kind == "options":
        return key.rpartition(".")[2]
    return key.split(".")[-2] if "." in key else key.partition("-")[0]


def _place(number: str) -> tuple[int, str]:
    own = chapter(number)
    return (CHAPTERS.index(own) if own in CHAPTERS else len(CHAPTERS)), number


def _said(result: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what a file says of one of `KINDS`, by key; one of an older suite may lack it."""
    said = result.get(kind) or {}
    if kind != "transforms":
        return dict(said)
    return {
        f"{row}: {column}": cell for row, cells in said.items() for column, cell in cells.items()
    }


def _cell(found: Mapping[str, Any] | None, complete: bool) -> Cell:
    if found is None:
        return Cell("incomplete", "" if not complete else "the run did not ask for it")
    state, why = str(found["status"]), str(found.get("why", ""))
    properties = found.get("properties") or {}
    notes = [
        (what, said["state"], said["why"])
        for what, said in properties.items()
        if said["state"] not in ("passed", "incomplete")
    ]
    states = [said["state"] for said in properties.values()]
    if any(what == _BLANK for what in states):
        state = "failed"
    if state == "unsupported" and not why:
        # What is left out without a reason is a fault, whoever wrote the file.
        state, why = "failed", "unsupported without a reason"
    if not complete:
        # An incomplete run has no results; its faults are told beside the table.
        faults = [note for note in notes if note[1] in _FAULTS]
        if state in _FAULTS and not faults:
            faults = [("the whole", state, why)]
        return Cell("incomplete", "", notes=tuple(faults))
    asked = [one for one in states if one != _NOT_APPLICABLE]
    return Cell(state, why, asked.count("passed"), len(asked), tuple(notes))
