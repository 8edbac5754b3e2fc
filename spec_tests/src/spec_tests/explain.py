"""``spec-tests explain NAME...``: what a clause or function asks for, by which tests."""

from __future__ import annotations

import argparse
import ast
import difflib
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from spec_tests.judge import clauses, tables
from spec_tests.judge.clauses import Clause
from spec_tests.judge.tables import Row
from spec_tests.matrix.merge import read as read_result

__all__ = ["explain", "main"]

_EXAMPLES = """examples:
  spec-tests explain ops-27                      a clause: its text, and the tests that ask for it
  spec-tests explain ops.tanh nn.LayerNorm       a function or Module: its row in the tables
  spec-tests explain test_gradients_of_sums      a test: where it stands, what it asks for
  spec-tests explain rnn-26 --results report/clauses/*.json
                                                 who passes it, and what failed of it
"""
_WIDTH = 100


@dataclass(frozen=True)
class Test:
    """A test of the suite, as its source has it.

    Attributes
    ----------
    file, name : str
    line : int
    clauses : tuple of str
        The numbers of clauses that it asks for.
    chapter : str
        Of whose tables it is asked row by row; "" for a test of none.
    said : str
        The first line of its docstring.
    """

    file: str
    name: str
    line: int
    clauses: tuple[str, ...]
    chapter: str
    said: str


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is known of each name.

    Returns
    -------
    int
        0, or 2 where a name is not known or a file cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="spec-tests explain",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="+", help="a clause, a function of the tables, or a test")
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="what --result wrote: who passes",
    )
    options = parser.parse_args(argv)
    try:
        results = [read_result(path) for path in options.results]
        texts = ["\n".join(explain(name, results)) for name in options.name]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n\n".join(texts))
    return 0


def explain(name: str, results: Sequence[Mapping[str, Any]] = ()) -> Iterator[str]:
    """Yield lines on a clause, a function or a test.

    Parameters
    ----------
    name : str
        As in ``"ops-27"``, ``"ops.tanh"``, or the name of a test with or without its file and case.
    results : sequence of mapping
        Contents of result files.

    Raises
    ------
    ValueError
        There is no such name; the message has the nearest one.
    """
    known, rows = clauses.read(), tables.read()
    test = name.rpartition("::")[2].partition("[")[0]
    if name in known:
        return _of_clause(known[name], rows, results)
    if name in rows:
        return _of_row(rows[name], results)
    found = [one for one in tests() if one.name == test and one.file == (_file(name) or one.file)]
    if found:
        return _of_tests(found, results)
    names = [*known, *rows, *{one.name for one in tests()}]
    near = difflib.get_close_matches(name, names, 1)
    # A function by its bare name.
    near = [key for key in rows if key.rpartition(".")[2] == name] or near
    advice = f", did you mean {' or '.join(near)}?" if near else ""
    msg = f"explain: there is no clause, function or test {name!r}{advice}"
    raise ValueError(msg)


def _file(name: str) -> str:
    return name.partition("::")[0].rpartition("/")[2] if "::" in name else ""


@cache
def _sources() -> tuple[tuple[str, str], ...]:
    folder = resources.files("spec_tests.suite")
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("test_"))
    return tuple((file, folder.joinpath(file).read_text(encoding="utf-8")) for file in files)


@cache
def tests() -> tuple[Test, ...]:
    """Return the tests of the suite, in the order of its files."""
    found = []
    for file, text in _sources():
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                asked = _literals(node, "clause")
                chapter = next(iter((*_literals(node, "rows"), *_literals(node, "cells"))), "")
                said = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append(Test(file, node.name, node.lineno, asked, chapter, said))
    return tuple(found)


def _literals(node: ast.FunctionDef, decorator: str) -> tuple[str, ...]:
    """Return the texts that a decorator is called with."""
    return tuple(
        argument.value
        for call in node.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func) == decorator
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def _of_clause(
    clause: Clause, rows: Mapping[str, Row], results: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    yield f"{clause.id} {clause.title}"
    if clause.capability:
        yield f"Asked of implementations with the capability {clause.capability}."
    yield ""
    yield clause.text
    of = [key for key, row in rows.items() if clause.id in row.clauses]
    if of:
        yield ""
        yield from _wrapped("functions", ", ".join(of))
    yield ""
    yield "asked by"
    asked = [_line(test) for test in tests() if clause.id in test.clauses]
    # Else a table of the file gives each case its clause.
    yield from asked or [f"  {file}" for file, text in _sources() if f'"{clause.id}"' in text]
    yield from _states("clauses", clause.id, results)


def _of_row(row: Row, results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"{row.key}{row.signature}"
    known = clauses.read()
    facts = {
        "as a Module": f"nn.{row.module}{row.module_signature}" if row.module else None,
        "call": row.call and f"{row.name}{row.call}",
        "value": row.formula,
        "gradient": row.gradient,
        "tolerance": row.tolerance and _tolerance(row.tolerance),
        "asked with": "; ".join(row.inputs),
        "source": row.source,
        "clauses": "; ".join(f"{number} {known[number].title}" for number in row.clauses),
    }
    for name, text in facts.items():
        if text:
            yield from _wrapped(name, str(text))
    yield ""
    yield f"asked row by row of functions of the chapter {row.chapter}, where it applies"
    yield from (_line(test) for test in tests() if test.chapter == row.chapter)
    yield from _states("functions", row.key, results)


def _of_tests(found: Sequence[Test], results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    known = clauses.read()
    for test in found:
        yield f"{test.file}::{test.name}, line {test.line}"
        if test.said:
            yield test.said
        for number in test.clauses:
            yield f"  {number} {known[number].title}" if number in known else f"  {number}"
        yield f"  python -m pytest --pyargs spec_tests.suite.{test.file[:-3]} -k {test.name} \\"
        yield "      --impl MODULE"
        for result in results:
            of = [
                skip
                for skip in result.get("skips", [])
                if skip["test"].partition("[")[0] == f"{test.file}::{test.name}"
            ]
            if of:
                yield from _wrapped(
                    result["implementation"],
                    f"{len(of)} cases {of[0]['outcome']}: {of[0]['reason']}",
                )


def _tolerance(name: str) -> str:
    figures = [
        f"{figure:.3g} in {dtype}"
        for dtype, figure in clauses.tolerances()[name].items()
        if figure is not None
    ]
    return f"{name}{': ' if figures else ''}{', '.join(figures)}"


def _line(test: Test) -> str:
    said = f": {test.said}" if test.said else ""
    return f"  {textwrap.shorten(f'{test.file}::{test.name}{said}', _WIDTH, placeholder=' ...')}"


def _states(kind: str, name: str, results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield who passes; nothing of it where there are no results."""
    if results:
        yield ""
    for result in results:
        found = result[kind].get(name, {"status": "not asked", "why": ""})
        whole = "" if result.get("complete") else " (an incomplete run)"
        emulated = ", emulated" if result.get("emulated") else ""
        yield f"{result['implementation']}{emulated}: {found['status']}{whole}"
        if found["why"]:
            yield from _wrapped("", found["why"])


def _wrapped(head: str, text: str) -> list[str]:
    head = f"{head}: " if head else "  "
    return textwrap.wrap(head + " ".join(text.split()), _WIDTH, subsequent_indent="    ")


if __name__ == "__main__":
    sys.exit(main())
