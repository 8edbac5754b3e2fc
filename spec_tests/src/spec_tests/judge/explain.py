"""What is printed of a failed test: the clause, the call, and a script that fails alike."""

import ast
import copy
import functools
import inspect
import linecache
import math
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr
from _pytest._io import TerminalWriter

from spec_tests.judge import options, transforms
from spec_tests.judge.clauses import Clause
from spec_tests.judge.tables import Row

_STAND_INS = {
    "tmp_path": "pathlib.Path(tempfile.mkdtemp())",
    "monkeypatch": "pytest.MonkeyPatch()",
}
_STAND_IN_IMPORTS = {
    "tmp_path": ["import pathlib", "import tempfile"],
    "monkeypatch": ["import pytest"],
}


class ExplainedFailure(TerminalRepr):
    """The explanation, then pytest's traceback where the fault is not in sight of the test."""

    def __init__(self, text: str, original: Any) -> None:
        self.text = text
        self.original = original
        # The short summary at the end of pytest's output takes its line from here.
        self.reprcrash = getattr(original, "reprcrash", None)

    def __str__(self) -> str:
        return f"{self.text}\n\n{self.original}"

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write the account in place of pytest's own."""
        for line in self.text.splitlines():
            tw.line(line)
        tw.line()
        if hasattr(self.original, "toterminal"):
            self.original.toterminal(tw)
        else:
            tw.line(str(self.original))


def explained(
    item: pytest.Item,
    excinfo: pytest.ExceptionInfo[BaseException] | None,
    wanted: Sequence[Clause],
    implementation: str,
    original: Any,
) -> ExplainedFailure:
    """Put the explanation of a failure before (or in the place of) pytest's own account."""
    text = explanation(item, excinfo, wanted, implementation)
    if excinfo is not None and isinstance(excinfo.value, AssertionError):
        where = [entry for entry in excinfo.traceback if not entry.ishidden(excinfo)]
        if where and where[-1].path == item.path:
            failure = ExplainedFailure(text, f"{item.path.name}:{where[-1].lineno + 1}")
            failure.reprcrash = getattr(original, "reprcrash", None)
            return failure
    return ExplainedFailure(text, original)


def explanation(
    item: pytest.Item,
    excinfo: pytest.ExceptionInfo[BaseException] | None,
    wanted: Sequence[Clause],
    implementation: str,
) -> str:
    """Say which clause failed, for whom, in which call, and how to see it outside pytest."""
    parts = [f"{clause.id} {clause.title}\n{clause.text}".strip() for clause in wanted]
    parts.append(f"implementation: {implementation}")
    if excinfo is not None:
        prefix = "" if isinstance(excinfo.value, AssertionError) else f"{excinfo.typename}: "
        parts.append(f"{prefix}{excinfo.value}")
        call = _failing_call(item, excinfo)
        if call:
            parts.append(call)
    parts.append(f"to reproduce:\n\n{snippet(item, implementation)}")
    return "\n\n".join(parts)


def snippet(item: pytest.Item, implementation: str) -> str:
    """Write a script that runs one test outside pytest, from the source of the test.

    Parameters
    ----------
    item : pytest.Item
        The test, a function of its module.
    implementation : str
        The importable name, bound to ``nn``.
    """
    if not isinstance(item, pytest.Function) or item.cls is not None:
        return f"# {item.nodeid} is a method: its class and module are needed"
    source = _source(inspect.getsource(item.module))
    arguments, imports = {}, []
    needed = {item.function.__name__}
    for name in inspect.signature(item.function).parameters:
        expression, lines = _argument(item, name, implementation, source)
        arguments[name] = expression
        imports += lines
        needed |= _names(ast.parse(expression))
    definitions = source.needed(needed - {"nn"})
    passed = ", ".join(f"{name}={name}" for name in arguments)
    return "\n".join(
        [
            f"import {implementation} as nn",
            *[line for line in dict.fromkeys(imports) if line not in definitions],
            *definitions,
            "",
            *[f"{name} = {value}" for name, value in arguments.items() if name != "nn"],
            *(["expect_dtype(dtype)"] if "dtype" in arguments else []),
            "nn.manual_seed(0)",
            f"{item.function.__name__}({passed})",
        ]
    )


def _argument(
    item: pytest.Function, name: str, implementation: str, source: "_Source"
) -> tuple[str, list[str]]:
    """Say what a test gets for a parameter, and the imports that this needs."""
    imports = ["from spec_tests.support.assertions import expect_dtype"] if name == "dtype" else []
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if name == "nn":
        return "nn", imports
    if name == "implementation":
        return repr(implementation), imports
    row = parameters.get(name)
    if isinstance(row, Row):
        return f"tables.read()[{row.key!r}]", ["from spec_tests.judge import tables"]
    if isinstance(row, options.Cell):
        return f"options.read()[{row.key!r}]", ["from spec_tests.judge import options"]
    if isinstance(row, transforms.Cell):
        return f"transforms.read_cells()[{row.key!r}]", ["from spec_tests.judge import transforms"]
    if name in parameters:
        return _expression(item, name, source.definitions[item.function.__name__]), imports
    if name in _STAND_INS:
        return _STAND_INS[name], _STAND_IN_IMPORTS[name]
    function = source.definitions.get(name)
    if isinstance(function, ast.FunctionDef):
        return _fixture(item, function, implementation, source)
    return f"None  # the pytest fixture {name}", imports


def _fixture(
    item: pytest.Function, function: ast.FunctionDef, implementation: str, source: "_Source"
) -> tuple[str, list[str]]:
    """Say what a fixture of the module gives, and the imports that this needs."""
    passed, imports = [], []
    for argument in function.args.args:
        expression, lines = _argument(item, argument.arg, implementation, source)
        if expression.startswith("None  #"):
            return expression, []
        passed.append(f"{argument.arg}={expression}")
        imports += lines
    call = f"{function.name}({', '.join(passed)})"
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function)):
        # Held by a name, it is not closed before the test.
        call = f"next({function.name}_fixture := {call})"
    return call, imports


class _Source:
    """The top level of a test module, from which the parts that a test needs are taken."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.nodes = ast.parse(text).body
        self.definitions: dict[str, ast.stmt] = {}
        for node in self.nodes:
            for name in _defined(node):
                self.definitions[name] = node

    def needed(self, names: set[str]) -> list[str]:
        """Return the text of everything that `names` stand for and rest on, in file order."""
        wanted: set[str] = set()
        waiting = [name for name in names if name in self.definitions]
        while waiting:
            name = waiting.pop()
            if name in wanted:
                continue
            wanted.add(name)
            node = self.definitions[name]
            if not isinstance(node, ast.Import | ast.ImportFrom):
                used = _names(_without_test_decorators(node))
                waiting += [name for name in used if name in self.definitions]
        return [self._text(node, wanted) for node in self.nodes if wanted & set(_defined(node))]

    def _text(self, node: ast.stmt, wanted: set[str]) -> str:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept = [
                alias
                for alias in node.names
                if (alias.asname or alias.name.split(".")[0]) in wanted
            ]
            if isinstance(node, ast.Import):
                return ast.unparse(ast.Import(kept))
            return ast.unparse(ast.ImportFrom(node.module, kept, node.level))
        first = node.lineno
        decorators = getattr(node, "decorator_list", [])
        if decorators and not _is_test_decorator(decorators[0]):
            first = decorators[0].lineno
        text = "\n".join(self.lines[first - 1 : node.end_lineno])
        return f"\n{text}" if isinstance(node, ast.FunctionDef | ast.ClassDef) else text


@functools.lru_cache
def _source(text: str) -> _Source:
    """Return the source of a module; many failures of one module ask for the same."""
    return _Source(text)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [name for target in targets for name in _names(target)]
    return []


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


_PARAM = type(pytest.param(None))
# What the judge's marks begin with, which say nothing that a script needs.
_TEST_DECORATORS = ("clause", "asks(", "rows(", "cells(", "pytest.")


def _is_test_decorator(node: ast.expr) -> bool:
    text = ast.unparse(node)
    return text.startswith(_TEST_DECORATORS)


def _without_test_decorators(node: ast.stmt) -> ast.AST:
    bare = copy.copy(node)
    if isinstance(bare, ast.FunctionDef | ast.ClassDef):
        bare.decorator_list = [
            decorator for decorator in bare.decorator_list if not _is_test_decorator(decorator)
        ]
    return bare


def _expression(item: pytest.Function, name: str, function: ast.stmt) -> str:
    """Say a parameter's value: as a literal, else as the decorator of the test has it."""
    value = item.callspec.params[name]
    text = repr(value)
    if isinstance(value, float) and not math.isfinite(value):
        # Of equal parameters pytest counts one, and NaN equals none: its index may be too large.
        return f"float({text!r})"
    try:
        if ast.literal_eval(text) == value:
            return text
    except (ValueError, SyntaxError):
        pass
    for node in getattr(function, "decorator_list", []):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("parametrize"):
            names = _split(ast.literal_eval(node.args[0]))
            if name in names:
                place = names.index(name) if len(names) > 1 else None
                return _entry(node.args[1], _row(item, names, place, value), place)
    return f"None  # {' '.join(text.split())}"


def _split(names: str | Sequence[str]) -> list[str]:
    return names.replace(",", " ").split() if isinstance(names, str) else list(names)


def _row(item: pytest.Function, names: list[str], place: int | None, value: Any) -> int:
    """Return where in a table of parameters a value stands.

    The index that pytest keeps is that of the whole case as soon as one parameter is indirect.
    """
    for mark in item.iter_markers("parametrize"):
        if _split(mark.args[0]) != names:
            continue
        for row, entry in enumerate(mark.args[1]):
            bare = (entry,) if place is None else entry
            values = entry.values if isinstance(entry, _PARAM) else bare
            if values[place or 0] is value:
                return row
    return item.callspec.indices[names[0]]


def _entry(table: ast.expr, row: int, place: int | None) -> str:
    if not isinstance(table, ast.List | ast.Tuple):
        text = f"list({ast.unparse(table)})[{row}]"
        return text if place is None else f"{text}[{place}]"
    entry = table.elts[row]
    if isinstance(entry, ast.Call) and ast.unparse(entry.func).endswith("pytest.param"):
        return ast.unparse(entry.args[place or 0])
    if place is None:
        return ast.unparse(entry)
    if isinstance(entry, ast.List | ast.Tuple):
        return ast.unparse(entry.elts[place])
    return f"({ast.unparse(entry)})[{place}]"


def _failing_call(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    path = str(item.path)
    entries = [entry for entry in excinfo.traceback if str(entry.path) == path]
    if not entries:
        return ""
    frame = entries[-1].frame.raw
    statement = _statement(path, entries[-1].lineno + 1)
    lines = [f"call: {statement}"]
    shapes = _shapes(frame, statement)
    if shapes:
        lines.append(f"with  {', '.join(shapes)}")
    return "\n".join(lines)


def _statement(path: str, line: int) -> str:
    statements = _statements("".join(linecache.getlines(path)))
    holding = [node for node in statements if node.lineno <= line <= (node.end_lineno or line)]
    innermost = min(holding, key=lambda node: (node.end_lineno or 0) - node.lineno)
    if isinstance(innermost, ast.With):
        return f"with {', '.join(ast.unparse(item) for item in innermost.items)}"
    return ast.unparse(innermost)


@functools.lru_cache
def _statements(text: str) -> list[ast.stmt]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]


def _shapes(frame: FrameType, statement: str) -> list[str]:
    try:
        used = _names(ast.parse(statement))
    except SyntaxError:
        used = set(frame.f_locals)
    shapes = []
    for name, value in frame.f_locals.items():
        if (
            name in used
            and isinstance(getattr(value, "shape", None), tuple)
            and hasattr(value, "dtype")
        ):
            dtype = str(value.dtype).rpartition(".")[2]
            shapes.append(f"{name} {tuple(value.shape)} {dtype}")
    return shapes
