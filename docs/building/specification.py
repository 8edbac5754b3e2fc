"""A page for each chapter, clause, function and file of tests."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import spec_tests.suite as suite
from spec_tests.judge import clauses, tables
from spec_tests.matrix.merge import Matrix, merge, read

from . import docstrings

FOUR = ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp")
Asked = Mapping[str, Mapping[str, int]]


class Results:
    """Who passes what, from the result files that there are.

    Parameters
    ----------
    folder : Path
        Where ``nox`` leaves them.
    """

    def __init__(self, folder: Path) -> None:
        found = [read(path) for path in sorted(folder.glob("*.json"))]
        here = [one for one in found if one["spec_version"] == clauses.SPEC_VERSION]
        self.matrix = merge(here) if here else Matrix(clauses.SPEC_VERSION)
        self.names = list(dict.fromkeys([*FOUR, *self.matrix.runs]))

    def of(self, kind: str, key: str) -> Iterator[str]:
        """Yield a table of the implementations with what became of a clause or a function."""
        yield from ("## Who passes", "", "| implementation | result | why |", "| --- | --- | --- |")
        for name in self.names:
            run, cell = self.matrix.runs.get(name), None
            if run:
                cell = getattr(self.matrix, kind).get(key, {}).get(name)
            emulated = " (CPU emulation, no GPU code ran)" if run and run["emulated"] else ""
            said = [] if cell is None else [f"{what}: {why}" for what, _, why in cell.notes]
            why = "; ".join(dict.fromkeys(filter(None, [cell.why if cell else "", *said])))
            shown = " ".join(why.split()).replace("|", "\\|").replace("<", "&lt;")
            yield f"| `{name}`{emulated} | {cell.text if cell else 'not run'} | {shown} |"
        yield ""


def pages(asked: Asked, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and text of every page of the specification and its tests."""
    results, rows = Results(folder), tables.read()
    for chapter in clauses.CHAPTERS:
        yield f"chapters/{chapter}.md", chapter_page(chapter)
    for clause in clauses.read().values():
        yield f"clauses/{clause.id}.md", "\n".join(clause_page(clause, asked, results))
    module = importlib.import_module("impl_numpy")
    for row in rows.values():
        yield f"functions/{row.key}.md", "\n".join(function_page(row, asked, results, module))
    for path in sorted(Path(suite.__path__[0]).glob("test_*.py")):
        yield f"tests/{path.stem}.md", "\n".join(tests_page(path))


def chapter_page(chapter: str) -> str:
    """Return a chapter as it stands, its clauses' numbers and its rows made links."""
    text = (clauses.SPEC_DIRECTORY / f"{chapter}.md").read_text(encoding="utf-8")
    for clause in clauses.read().values():
        number = f"### {clause.id} "
        text = text.replace(number, f"### [{clause.id}](../clauses/{clause.id}.md) ")
    rows = [row for row in tables.read().values() if row.chapter == chapter]
    if rows:
        links = ", ".join(f"[{row.name}](../functions/{row.key}.md)" for row in rows)
        text += f"\n\n## Every function by itself\n\n{links}\n"
    return text


def clause_page(clause: clauses.Clause, asked: Asked, results: Results) -> Iterator[str]:
    """Yield the lines of a clause's page."""
    chapter = clause.id.partition("-")[0]
    yield from (f"# {clause.id} {clause.title}", "", clause.text, "")
    if clause.capability:
        yield from (f"Asked of who has the capability `{clause.capability}`.", "")
    rows = [row for row in tables.read().values() if clause.id in row.clauses]
    if rows:
        links = ", ".join(f"[{row.key}](../functions/{row.key}.md)" for row in rows)
        yield from (f"It decides edges of {links}.", "")
    yield from (f"Of the chapter [{chapter}](../chapters/{chapter}.md).", "")
    yield from results.of("clauses", clause.id)
    yield from tests_of(clause.id, asked)


def function_page(row: tables.Row, asked: Asked, results: Results, module: Any) -> Iterator[str]:
    """Yield the lines of a function's page."""
    found = module
    for name in row.key.split("."):
        found = getattr(found, name, None)
    yield from (f"# nn.{row.key}", "")
    about = {
        "signature": f"`{row.name}{row.signature}`",
        "Module": f"`{row.module}{row.module_signature}`" if row.module else "",
        "value": f"`{row.formula}`" if row.formula else "",
        "gradient": row.gradient or "",
        "class of tolerance": row.tolerance or "",
        "source": row.source,
        "clauses": ", ".join(f"`{number}`" for number in row.clauses),
        "chapter": f"[{row.chapter}](../chapters/{row.chapter}.md)",
    }
    yield from ("| | |", "| --- | --- |")
    for key, value in about.items():
        if value:
            yield f"| {key} | {value.replace('|', chr(92) + '|')} |"
    yield ""
    if found is None:
        found = getattr(module, row.name, None)
    if found is not None:
        yield from ("## What it does", "", *docstrings.entry(f"nn.{row.key}", found, "###"))
    yield from ("", *results.of("functions", row.key), *tests_of(row.key, asked))


def tests_of(key: str, asked: Asked) -> Iterator[str]:
    """Yield the list of the tests that ask for a clause or a function."""
    yield from ("## Tests", "")
    for test, cases in asked.get(key, {}).items():
        file, _, name = test.partition("::")
        times = f", {cases} cases" if cases > 1 else ""
        yield f"- [`{name}`](../tests/{file}.md#{name}) in `{file}.py`{times}"


def tests_page(path: Path) -> Iterator[str]:
    """Yield a file of tests: what comes first, then each test under a heading of its name."""
    text = path.read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    yield from (f"# {path.stem}", "", ast.get_docstring(tree) or "", "")
    start = 0
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)]) - 1
        assert node.end_lineno is not None
        yield from _code(lines[start:first])
        yield from (f"## {node.name} {{ #{node.name} }}", "")
        yield from _code(lines[first : node.end_lineno])
        start = node.end_lineno
    yield from _code(lines[start:])


def _code(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip("\n")
    if text:
        yield from ("````python", text, "````", "")
