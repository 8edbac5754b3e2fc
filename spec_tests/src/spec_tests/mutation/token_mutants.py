"""Changes of C++ and CUDA sources, on tokens: operators, comparisons, numbers, signs, statements.

The sources are formatted by clang-format, which tells a binary operator from a template's bracket
or a pointer: it has a space on each side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from spec_tests.mutation.mutants import Site

__all__ = ["TokenCandidate", "candidates", "function_at", "functions", "users"]

_BINARY = {
    "+": ("-", "*"),
    "-": ("+", "*"),
    "*": ("+", "/"),
    "/": ("*", "-"),
    "%": ("*", "/"),
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
    "&&": ("||",),
    "||": ("&&",),
    "+=": ("-=", "="),
    "-=": ("+=", "="),
    "*=": ("/=", "="),
    "/=": ("*=", "="),
    "&": ("|",),
    "|": ("&",),
}
_OPERATOR = re.compile(
    r"(?<= )(" + "|".join(map(re.escape, sorted(_BINARY, key=len, reverse=True))) + r")(?=\s)"
)
_NUMBER = re.compile(r"(?<![\w.])(\d+\.?\d*(?:e[+-]?\d+)?)(f|LL|L|u)?(?![\w.])")
_SIGN = re.compile(r"(?:(?<=[(\[])|(?<=[=,?:&|] )|(?<=return ))([-!])(?=[\w(])")
_CHOICE = re.compile(r"\b(?:f?(min|max)f?)(?=\()")
_WORD = re.compile(r"\b(true|false)\b")
# A statement of one line that assigns or calls, and is no declaration.
_STATEMENT = re.compile(
    r"^ +(?!return\b|using\b|case\b|default\b|else\b|if\b|for\b|while\b|do\b|goto\b)"
    r"(?:\+\+|--)?\*?[\w.:>\[\]()*+/% -]*?(?:(?: [-+*/|&]?= .*)|\)|\+\+|--|\bbreak|\bcontinue);$"
)
_DECLARATION = re.compile(
    r"^ +(?:const |auto |static |constexpr )|^ +[\w:<>]+[*&]* [*&]?\w+(?: =|;|\()"
)
_SILENT = re.compile(r"^\s*(?:#|using |template |namespace |static_assert|assert\()")
_HEAD = re.compile(r"^(?!#|\}|//|template|namespace|using|extern \"C\" \{)\S")
_NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")


@dataclass(frozen=True)
class TokenCandidate:
    """One token, or a statement, in the place of another."""

    site: Site
    operator: str
    start: int
    end: int
    now: str

    def text(self, source: str) -> str:
        """Return the changed file."""
        return source[: self.start] + self.now + source[self.end :]


def candidates(source: str) -> list[TokenCandidate]:
    """Return the changes of a file; comments, texts and the preprocessor's lines stay."""
    found = []
    start, directive = 0, False
    for number, line in enumerate(_bare(source).split("\n"), 1):
        # A line that ends in a backslash goes on in the next one.
        directive = directive or line.lstrip().startswith("#")
        if not directive and not _SILENT.match(line):
            for operator, first, last, now in _changes(line):
                site = Site(number, first, number, last)
                found.append(TokenCandidate(site, operator, start + first, start + last, now))
        directive = directive and line.endswith("\\")
        start += len(line) + 1
    return found


def _changes(line: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _OPERATOR.finditer(line):
        for now in _BINARY[match[1]]:
            yield f"token/{match[1]} {now}", match.start(1), match.end(1), now
    for match in _NUMBER.finditer(line):
        value = float(match[1]) if "." in match[1] or "e" in match[1] else int(match[1])
        for other in {value + 1, value - 1 if value else value + 1}:
            yield "token/number", match.start(1), match.end(1), str(other)
    for match in _SIGN.finditer(line):
        yield f"token/without {match[1]}", match.start(1), match.end(1), ""
    for match in _CHOICE.finditer(line):
        now = "max" if match[1] == "min" else "min"
        yield f"token/{match[1]} {now}", match.start(1), match.end(1), now
    for match in _WORD.finditer(line):
        now = "false" if match[1] == "true" else "true"
        yield "token/bool", match.start(1), match.end(1), now
    if _STATEMENT.match(line) and not _DECLARATION.match(line):
        first = len(line) - len(line.lstrip())
        yield "statement/Delete", first, len(line) - 1, ""


def _bare(source: str) -> str:
    """Return the text with blanks in the place of comments and of what stands in quotes."""
    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'"
    blank = re.compile(pattern, re.DOTALL)
    return blank.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)


def _heads(source: str) -> list[tuple[int, str]]:
    """Return the first line and the name of each function or type outside of all others."""
    found = []
    for number, line in enumerate(_bare(source).split("\n"), 1):
        name = _NAME.search(line) if _HEAD.match(line) else None
        if name:
            found.append((number, name[1]))
    return found


def functions(source: str) -> list[str]:
    """Return the names of a file's functions."""
    return [name for _, name in _heads(source)]


def function_at(source: str, line: int) -> str:
    """Return the name of the function that a line is in."""
    before = [name for number, name in _heads(source) if number <= line]
    return before[-1] if before else ""


def users(texts: dict[str, str], function: str) -> set[str]:
    """Return the function and all that call it, directly or not, in any of the files."""
    called: dict[str, set[str]] = {}
    for text in texts.values():
        heads, lines = _heads(text), _bare(text).split("\n")
        starts = [*(number for number, _ in heads), len(lines) + 1]
        for (start, name), end in zip(heads, starts[1:], strict=True):
            body = " ".join(lines[start : end - 1])
            called.setdefault(name, set()).update(_NAME.findall(body))
            called[name] |= set(re.findall(r"\b(\w+)<", body))
    found, waiting = set(), [function]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [user for user, names in called.items() if name in names]
    return found
