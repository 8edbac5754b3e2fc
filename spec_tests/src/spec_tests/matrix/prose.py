"""The text of clauses as HTML: the little of Markdown that the chapters use."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

__all__ = ["as_html", "words"]

_CODE = re.compile(r"`([^`]+)`")
_ITEM = re.compile(r"^(?:[-*]|\d+\.) ")
_RULE = re.compile(r"^\|[\s|:-]+\|$")
_BAR = re.compile(r"(?<!\\)\|")


def words(text: str) -> Markup:
    """Escape a line, with what stands in backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def as_html(text: str) -> Markup:
    """Return paragraphs, lists, tables and code of a clause; all else is escaped as it stands."""
    return Markup("\n").join(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[Markup]:
    block: list[str] = []
    fenced = False
    for line in [*lines, ""]:
        fence = line.startswith("```")
        if fenced or fence:
            if fence and fenced:
                yield Markup("<pre>{}</pre>").format("\n".join(block))
                block = []
            elif fence:
                yield from _block(block)
                block = []
            else:
                block.append(line)
            fenced = fenced != fence
        elif not line.strip():
            yield from _block(block)
            block = []
        elif block and _kind(line) != _kind(block[0]) and not line.startswith(" "):
            yield from _block(block)
            block = [line]
        else:
            block.append(line)
    # A fence that nobody closed.
    yield from _block(block)


def _kind(line: str) -> str:
    return "table" if line.startswith("|") else "list" if _ITEM.match(line) else "text"


def _block(lines: list[str]) -> Iterator[Markup]:
    if not lines:
        return
    kind = _kind(lines[0])
    if kind == "table":
        yield _table(lines)
    elif kind == "list":
        items: list[str] = []
        for line in lines:
            if _ITEM.match(line):
                items.append(_ITEM.sub("", line))
            else:
                items[-1] += f" {line.strip()}"
        inside = Markup("").join(Markup("<li>{}</li>").format(words(item)) for item in items)
        yield Markup("<ul>{}</ul>").format(inside)
    else:
        yield Markup("<p>{}</p>").format(words(" ".join(line.strip() for line in lines)))


def _table(lines: list[str]) -> Markup:
    rows = [
        [cell.strip() for cell in _BAR.split(line.strip().strip("|"))]
        for line in lines
        if not _RULE.match(line)
    ]
    made = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup("<{0}>{1}</{0}>").format(Markup("td" if number else "th"), words(cell))
                for cell in row
            )
        )
        for number, row in enumerate(rows)
    )
    return Markup('<div class="scroll"><table class="plain">{}</table></div>').format(made)
