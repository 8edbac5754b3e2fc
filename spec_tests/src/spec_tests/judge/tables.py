"""The tables of the chapters, read as rows: what there is, with signature, formula and inputs."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spec_tests.judge.clauses import SPEC_DIRECTORY

GRADIENTS = ("yes", "zero", "none")
# What the first column may be called in a chapter that has several tables.
_ALSO_FIRST = {"optim": ("scheduler", "function")}
MAKERS = ("normal", "positive", "distinct")
_COLUMNS = {
    "ops": ("function", "formula", "inputs", "class", "gradient", "source", "clauses"),
    "linalg": ("function", "formula", "inputs", "class", "gradient", "source", "clauses"),
    "fft": ("function", "formula", "inputs", "class", "gradient", "source", "clauses"),
    "nn": ("module", "call", "equation", "inputs", "class", "source", "clauses"),
    "loss": ("function", "module", "formula", "inputs", "class", "source", "clauses"),
    "optim": ("optimizer", "step", "source", "clauses"),
    "init": ("function", "values", "source", "clauses"),
    "data": ("function", "values", "source", "clauses"),
}
# Where the functions of a chapter are, if not in the namespace of its name.
_PLACES = {"fft": "ops.fft"}
# The calls of a family whose rows name only what their arrays are made of.
_CALLS = {
    "unary": ("{0}(3, 4)", "{0}()"),
    "predicate": ("{0}(3, 4)", "{0}()"),
    "binary": ("{0}(3, 1), {0}(3, 4)", "{0}(), {0}(4)"),
    "compare": ("{0}(3, 1), {0}(3, 4)", "{0}(), {0}(4)"),
    "reduce": ("{0}(2, 3, 4)", "{0}(2, 3, 4), axis=1", "{0}(2, 3, 4), axis=(0, -1), keepdims=True"),
    "along": ("{0}(3, 5)", "{0}(3, 5), axis=0"),
}
_FAMILY = re.compile(r"^## (?P<name>[a-z]+):")
_CLAUSE = re.compile(r"^[a-z]+-\d\d$")
# Between the constructor's arguments and the call's; not the arrow of `einsum`.
ARROW = re.compile(r"(?:^|\s)->\s")
_CLAUSES = re.compile(r"^### [a-z]+-\d\d ")


@dataclass(frozen=True)
class Row:
    """One row of a chapter's table.

    Attributes
    ----------
    chapter, family, name : str
        Where the row stands and what it defines; the family is "" outside the chapter ops.
    signature : inspect.Signature
        Of the function, or of the constructor without ``self``.
    module, module_signature : str and inspect.Signature, or None
        The Module beside a loss.
    call : inspect.Signature or None
        Of a Module's `forward`, without ``self``; None outside the chapter nn.
    formula : str or None
        The value as a NumPy expression, None where the chapter says it in prose.
    inputs : tuple of str
        The arguments of each call, in Python.
    tolerance, gradient : str or None
        The class of numerics.md; "yes", "zero" or "none". None in a chapter without that column.
    source : str
        What defines the row.
    clauses : tuple of str
        The clauses that decide its edges.
    """

    chapter: str
    family: str
    name: str
    signature: inspect.Signature
    module: str | None
    module_signature: inspect.Signature | None
    call: inspect.Signature | None
    formula: str | None
    inputs: tuple[str, ...]
    tolerance: str | None
    gradient: str | None
    source: str
    clauses: tuple[str, ...]

    @property
    def key(self) -> str:
        """The path of what the row defines, as in ``ops.tanh`` or ``ops.fft.rfft``."""
        return f"{_PLACES.get(self.chapter, self.chapter)}.{self.name}"


@cache
def read(directory: Path = SPEC_DIRECTORY) -> dict[str, Row]:
    """Read the rows of every table in `directory`, by their keys.

    Raises
    ------
    ValueError
        Where a table has other columns than its chapter, or a row cannot be read or stands twice;
        the message names the file and the line.
    """
    rows: dict[str, Row] = {}
    for chapter in _COLUMNS:
        path = directory / f"{chapter}.md"
        if path.is_file():
            for number, row in _chapter(path):
                if row.key in rows:
                    msg = f"{path.name}:{number}: {row.name} stands there twice"
                    raise ValueError(msg)
                rows[row.key] = row
    return rows


def parse_signature(text: str) -> tuple[str, inspect.Signature]:
    """Read ``"clip(x, /, min=None)"`` as a name and a signature whose defaults are literals.

    Raises
    ------
    ValueError
        Where the text is no signature, or a default is no literal.
    """
    try:
        function = ast.parse(f"def {text}: ...").body[0]
        assert isinstance(function, ast.FunctionDef)
        return function.name, inspect.Signature(list(_parameters(function.args)))
    except (SyntaxError, ValueError) as error:
        msg = f"a signature must read like 'clip(x, /, min=None)', got {text!r}"
        raise ValueError(msg) from error


def _parameters(arguments: ast.arguments) -> Iterator[inspect.Parameter]:
    early, usual = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    places = [
        (node, early if node in arguments.posonlyargs else usual)
        for node in [*arguments.posonlyargs, *arguments.args]
    ]
    required = len(places) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [None] * required + list(arguments.defaults)
    for (node, kind), default in zip(places, defaults, strict=True):
        yield inspect.Parameter(node.arg, kind, default=_literal(default))
    if arguments.vararg:
        yield inspect.Parameter(arguments.vararg.arg, inspect.Parameter.VAR_POSITIONAL)
    for node, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield inspect.Parameter(node.arg, inspect.Parameter.KEYWORD_ONLY, default=_literal(default))
    if arguments.kwarg:
        yield inspect.Parameter(arguments.kwarg.arg, inspect.Parameter.VAR_KEYWORD)


def _literal(node: ast.expr | None) -> object:
    return inspect.Parameter.empty if node is None else ast.literal_eval(node)


def _chapter(path: Path) -> Iterator[tuple[int, Row]]:
    family, inside = "", False
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if _CLAUSES.match(line):
            return  # A table below is part of a clause.
        heading = _FAMILY.match(line)
        family = heading["name"] if heading else family
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        try:
            if not inside:
                _check_columns(path.stem, cells)
            elif not set(line) <= set("|- "):
                yield number, _row(path.stem, family, cells)
        except ValueError as error:
            msg = f"{path.name}:{number}: {error}"
            raise ValueError(msg) from error
        inside = True


def _check_columns(chapter: str, cells: list[str]) -> None:
    first, *others = _COLUMNS[chapter]
    firsts = (first, *_ALSO_FIRST.get(chapter, ()))
    if cells[0] not in firsts or cells[1:] != others:
        msg = f"the columns must be {', '.join(_COLUMNS[chapter])}, got {', '.join(cells)}"
        raise ValueError(msg)


def _row(chapter: str, family: str, cells: list[str]) -> Row:
    columns = _COLUMNS[chapter]
    if len(cells) != len(columns):
        msg = f"a row must have {len(columns)} cells, got {len(cells)}"
        raise ValueError(msg)
    cell = dict(zip(columns, cells, strict=True))
    name, signature = parse_signature(_required(cells[0]))
    module: str | None = None
    module_signature: inspect.Signature | None = None
    if chapter == "loss":
        module, module_signature = parse_signature(_required(cell["module"]))
    call = parse_signature(f"forward({_required(cell['call'])})")[1] if "call" in cell else None
    return Row(
        chapter,
        family,
        name,
        signature,
        module,
        module_signature,
        call,
        _expression(cell.get("formula", cell.get("equation", "-"))),
        _calls(cell.get("inputs", "-"), family),
        cell.get("class"),
        _gradient(cell.get("gradient")),
        cell["source"],
        _clauses(cell["clauses"]),
    )


def _code(cell: str) -> str | None:
    return cell[1:-1] if len(cell) > 2 and cell[0] == cell[-1] == "`" else None


def _required(cell: str) -> str:
    code = _code(cell)
    if code is None:
        msg = f"a signature must stand in backticks, got {cell!r}"
        raise ValueError(msg)
    return code


def _expression(cell: str) -> str | None:
    code = _code(cell)
    if code is not None:
        _check_expression(code)
    return code


def _check_expression(code: str) -> None:
    try:
        ast.parse(code, mode="eval")
    except SyntaxError as error:
        msg = f"must be a Python expression, got {code!r}"
        raise ValueError(msg) from error


def _calls(cell: str, family: str) -> tuple[str, ...]:
    code = _code(cell)
    if code is None and cell == "-":
        return ()
    if code is None:
        if cell not in MAKERS or family not in _CALLS:
            known = ", ".join(MAKERS)
            msg = f"inputs must stand in backticks or be one of {known} in a family, got {cell!r}"
            raise ValueError(msg)
        return tuple(call.format(cell) for call in _CALLS[family])
    calls = tuple(call.strip() for call in code.split(";"))
    for call in calls:
        for part in ARROW.split(call):
            _check_expression(f"call({part})")
    return calls


def _gradient(cell: str | None) -> str | None:
    if cell is not None and cell not in GRADIENTS:
        msg = f"gradient must be one of {', '.join(GRADIENTS)}, got {cell!r}"
        raise ValueError(msg)
    return cell


def _clauses(cell: str) -> tuple[str, ...]:
    numbers = () if cell == "-" else tuple(cell.split(", "))
    for number in numbers:
        if not _CLAUSE.match(number):
            msg = f"clauses must be numbers like ops-07, got {number!r}"
            raise ValueError(msg)
    return numbers
