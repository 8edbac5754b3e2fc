"""Changes of Python files: cosmic-ray's operators and one of ours, without those that say nothing.

A change is left out where no test of behaviour could see it: in annotations, in texts of errors, in
assertions, in what exists for type checkers, and where the change makes a program slower or
stricter with itself alone (`functools.cache`, ``slots=True``, ``zip(strict=True)``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import parso
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators import provider
from cosmic_ray.operators.operator import Example, Operator

from spec_tests.mutation.mutants import Candidate, Site

__all__ = [
    "DeleteStatement",
    "PythonCandidate",
    "candidates",
    "function_at",
    "statement_at",
    "words_at",
]

_CACHES = {"cache", "lru_cache", "cached_property"}
_DECORATORS = {*_CACHES, "overload", "final", "override", "abstractmethod", "no_type_check"}
# The same of whatever is compared by `is`: types, None and the like.
_SAME = {"core/ReplaceComparisonOperator_Is_Eq", "core/ReplaceComparisonOperator_IsNot_NotEq"}
# Keywords of calls that change neither results nor what is refused.
_KEYWORDS = {"slots", "strict", "maxsize", "stacklevel", "weakref_slot", "kw_only", "frozen"}
_TYPES = {"TypeVar", "ParamSpec", "TypeAlias", "NewType", "Protocol"}
# Most operators replace one operator by another. That they look at nodes of one type alone, which
# is theirs to know, makes the walk ten times as fast.
_ONLY = {
    "core/ReplaceBinaryOperator": "operator",
    "core/ReplaceComparisonOperator": "comparison",
}
_DELETED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Assign)


class DeleteStatement(Operator):
    """Puts ``pass`` in the place of a statement that does something besides naming a value."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield the place of a statement."""
        if node.type == "simple_stmt" and _does_something(node.children[0].get_code(False)):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002
        """Return the line without the statement."""
        first = node.children[0]
        prefix = first.get_first_leaf().prefix
        node.children[0] = parso.python.tree.Name("pass", first.start_pos, prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return what cosmic-ray asks of operators."""
        return (Example("x.y = 1\n", "pass\n"),)


def _does_something(code: str) -> bool:
    statement = ast.parse(code.strip()).body[0] if not code.startswith("return") else None
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Assign):
        return isinstance(statement.targets[0], ast.Attribute | ast.Subscript)
    return isinstance(statement, _DELETED)


@dataclass(frozen=True)
class PythonCandidate:
    """The change that an operator makes at its `occurrence`-th place of a file."""

    site: Site
    operator: str
    occurrence: int
    make: Operator = field(repr=False, compare=False)

    def text(self, source: str) -> str:
        """Return the changed file."""
        return str(MutationVisitor.mutate_code(source, self.make, self.occurrence))


def _operators() -> dict[str, Operator]:
    taken = {"core/" + name: cls for name, cls in provider._OPERATORS.items()}
    made = {name: cls() for name, cls in taken.items() if not cls.arguments() and name not in _SAME}
    return {**made, "statement/Delete": DeleteStatement()}


def candidates(source: str) -> list[Candidate]:
    """Return all changes of a file that say something."""
    tree = ast.parse(source)
    silent = _Silent(tree)
    operators, counts, found = _operators(), dict.fromkeys(_operators(), 0), []

    by_type: dict[str, list[tuple[str, Operator]]] = {}

    def walk(node: Any) -> None:
        there = by_type.get(node.type)
        if there is None:
            there = by_type[node.type] = [
                (name, operator)
                for name, operator in operators.items()
                if _ONLY.get(name.partition("_")[0], node.type) == node.type
            ]
        for name, operator in there:
            for start, end in operator.mutation_positions(node):
                site = Site(*start, *end)
                if not silent.has(site, name):
                    found.append(PythonCandidate(site, name, counts[name], operator))
                counts[name] += 1
        for child in getattr(node, "children", ()):
            walk(child)

    walk(parso.parse(source))
    return [*found]


class _Silent:
    """The parts of a file where no test of behaviour sees a change."""

    def __init__(self, tree: ast.Module) -> None:
        self.spans = [_span(node) for node in _silent_nodes(tree)]
        self.decorators = {
            decorator.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            for decorator in node.decorator_list
            if _DECORATORS & set(_names(decorator))
        }

    def has(self, site: Site, operator: str) -> bool:
        start, end = (site.line, site.column), (site.end_line, site.end_column)
        if "Decorator" in operator and site.line in self.decorators:
            return True
        return any(first <= start and end <= last for first, last in self.spans)


def _silent_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments += [one for one in (node.args.vararg, node.args.kwarg) if one]
            yield from [one.annotation for one in arguments if one.annotation]
            yield from [node.returns] if node.returns else []
        elif isinstance(node, ast.AnnAssign):
            yield node if "TypeAlias" in _names(node.annotation) else node.annotation
        elif isinstance(node, ast.Raise):
            # That it is raised can be seen; what it says is for people.
            yield from node.exc.args if isinstance(node.exc, ast.Call) else []
        elif isinstance(node, ast.keyword) and node.arg in _KEYWORDS:
            yield node.value
        elif isinstance(node, ast.Call) and "cast" in _names(node.func):
            yield node.args[0]
        elif isinstance(node, ast.Assert | ast.JoinedStr) or _is_silent(node):
            yield node


def _is_silent(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        test = ast.unparse(node.test)
        return test.endswith("TYPE_CHECKING") or "__name__" in test
    if isinstance(node, ast.ClassDef):
        # A Protocol is for type checkers.
        return any("Protocol" in _names(base) for base in node.bases)
    if isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        return bool(names & {"__all__", "msg", "message", "__version__"})
    return isinstance(node, ast.Call) and bool(_TYPES & set(_names(node.func)))


def _names(node: ast.AST) -> list[str]:
    return [
        one.id if isinstance(one, ast.Name) else one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Name | ast.Attribute)
    ]


def _span(node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def statement_at(tree: ast.Module, site: Site) -> tuple[int, int, bool]:
    """Return the lines of the statement that a place is in, and if it is a definition's head.

    Of a statement with a block these are the lines of its head, and of a definition's head all
    lines of the definition: what they say is seen when its body runs.
    """
    best: tuple[int, int, bool] = (site.line, site.end_line, False)
    size = 1 << 30
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt):
            continue
        first, last, head = node.lineno, int(node.end_lineno or node.lineno), False
        block = getattr(node, "body", None)
        decorators = getattr(node, "decorator_list", ())
        first = min([first, *(one.lineno for one in decorators)])
        if not first <= site.line <= last:
            continue
        if block:
            if site.line >= block[0].lineno and site.line > first:
                continue
            head = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            last = last if head else block[0].lineno - 1
            last = max(last, site.line)
        if last - first <= size:
            best, size = (first, last, head), last - first
    return best


def function_at(tree: ast.Module, line: int) -> str:
    """Return the dotted name of the innermost definition that a line is in."""
    names: list[str] = []
    scope: Any = tree
    while True:
        inner = [
            node
            for node in ast.walk(scope)
            if node is not scope
            and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and min([node.lineno, *(one.lineno for one in node.decorator_list)])
            <= line
            <= int(node.end_lineno or 0)
        ]
        if not inner:
            return ".".join(names)
        # Of those that enclose the line the outermost comes first in the walk.
        scope = inner[0]
        names.append(scope.name)


def words_at(tree: ast.Module, first: int, last: int) -> list[str]:
    """Return what a statement outside of functions binds, and its texts that are names."""
    words: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or not first <= node.lineno <= last:
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            words.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr):
            if not isinstance(node, ast.Expr):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                words |= {target.id for target in targets if isinstance(target, ast.Name)}
            words |= {
                one.value
                for one in ast.walk(node.value or node)
                if isinstance(one, ast.Constant) and str(one.value).isidentifier()
                if isinstance(one.value, str)
            }
    return sorted(words)
