"""The chapters of the specification, read as numbered clauses and as a table of tolerances."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SPEC_VERSION = "2026.12"
SPEC_DIRECTORY = Path(__file__).parents[1] / "spec"
CHAPTERS = (
    "tensor",
    "function",
    "autograd",
    "ops",
    "linalg",
    "fft",
    "module",
    "nn",
    "rnn",
    "loss",
    "optim",
    "init",
    "serialization",
    "data",
    "errors",
    "numerics",
    "transforms",
)

_HEADING = re.compile(r"^### (?P<id>(?P<chapter>[a-z]+)-\d\d) (?P<title>.+)$")
_CAPABILITY = re.compile(r"\*Capability: (?P<name>\w+)\.\*\s*")
_ROW = re.compile(r"^\| (?P<name>[a-z]+) \| (?P<single>[^|]+) \| (?P<double>[^|]+) \|")
_EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


@dataclass(frozen=True)
class Clause:
    """One numbered rule of a chapter.

    Attributes
    ----------
    id : str
        Chapter and number, as in ``rnn-07``.
    title, text : str
        The heading and what follows it.
    capability : str or None
        The capability without which the clause is not asked of an implementation.
    """

    id: str
    title: str
    text: str
    capability: str | None


def clause(*ids: str, needs: str | tuple[str, ...] | None = None) -> pytest.MarkDecorator:
    """Mark a test with the clauses it asks for.

    Parameters
    ----------
    *ids : str
        Numbers of clauses, as in ``"rnn-07"``.
    needs : str or tuple of str, optional
        What this one test needs beyond the capability of the clause, as in ``"float64"``.

    Raises
    ------
    TypeError
        Where no number is given, as in a bare ``@clause``.
    """
    if not ids or not all(isinstance(number, str) for number in ids):
        msg = f"clause takes the numbers of clauses, as in @clause('rnn-07'), got {ids}"
        raise TypeError(msg)
    names = (needs,) if isinstance(needs, str) else needs or ()
    return pytest.mark.clause(*ids, needs=names)


def rows(
    chapter: str,
    *,
    where: Callable[[Any], bool] | None = None,
    asks: str | tuple[str, ...] = (),
) -> pytest.MarkDecorator:
    """Mark a test that is asked of every row of a chapter's table, as its argument `row`.

    Parameters
    ----------
    chapter : str
        As in ``"ops"``.
    where : callable, optional
        ``where(row)`` says whether the test is asked of the row.
    asks : str or tuple of str, optional
        The properties (`judge.properties`) that it asks of the row, as in ``"gradient"``; "values"
        are those in the dtype that the test is run in.
    """
    return pytest.mark.rows(chapter, where=where, asks=_names(asks))


def asks(properties: str | tuple[str, ...], *keys: str) -> pytest.MarkDecorator:
    """Mark a test of no table's rows with the properties that it asks of these functions.

    Parameters
    ----------
    properties : str or tuple of str
        As in `rows`.
    *keys : str
        The functions, as in ``"ops.eye"``.
    """
    return pytest.mark.function(*keys, asks=_names(properties))


def _names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def cells(column: str) -> pytest.MarkDecorator:
    """Mark a test that is asked of every program of the table of transforms, as its `cell`.

    Parameters
    ----------
    column : str
        As in ``"vmap"``.
    """
    return pytest.mark.cells(column)


@cache
def read(directory: Path = SPEC_DIRECTORY) -> dict[str, Clause]:
    """Read every clause of the chapters in `directory`, in the order of the chapters.

    Raises
    ------
    ValueError
        Where a number stands twice or in the chapter of another name.
    """
    clauses: dict[str, Clause] = {}
    for path in sorted(directory.glob("*.md"), key=_place):
        for clause in _chapter(path):
            if clause.id in clauses:
                msg = f"{path.name}: clause {clause.id} stands there twice"
                raise ValueError(msg)
            clauses[clause.id] = clause
    return clauses


@cache
def tolerances(directory: Path = SPEC_DIRECTORY) -> dict[str, dict[str, float | None]]:
    """Read the table of ``numerics.md``: a number by class and dtype, None where there is none."""
    table: dict[str, dict[str, float | None]] = {}
    for line in (directory / "numerics.md").read_text(encoding="utf-8").splitlines():
        row = _ROW.match(line)
        if row and row["name"] != "class":
            table[row["name"]] = {
                "float32": _figure(row["single"], "float32"),
                "float64": _figure(row["double"], "float64"),
            }
    return table


def _place(path: Path) -> tuple[int, str]:
    known = CHAPTERS.index(path.stem) if path.stem in CHAPTERS else len(CHAPTERS)
    return known, path.stem


def _chapter(path: Path) -> list[Clause]:
    clauses = []
    heading: re.Match[str] | None = None
    body: list[str] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), "# end"]:
        if line.startswith("#"):
            if heading:
                clauses.append(_clause(heading, "\n".join(body).strip()))
            heading, body = _HEADING.match(line), []
            if line.startswith("### ") and (heading is None or heading["chapter"] != path.stem):
                msg = f"{path.name}: a heading must read '### {path.stem}-NN title', got {line!r}"
                raise ValueError(msg)
        else:
            body.append(line)
    return clauses


def _clause(heading: re.Match[str], text: str) -> Clause:
    capability = _CAPABILITY.search(text)
    return Clause(
        heading["id"],
        heading["title"],
        _CAPABILITY.sub("", text),
        capability["name"] if capability else None,
    )


def _figure(text: str, dtype: str) -> float | None:
    number = text.strip()
    if number == "none":
        return None
    if number.endswith(" eps"):
        return float(number.removesuffix(" eps")) * _EPS[dtype]
    return float(number)
