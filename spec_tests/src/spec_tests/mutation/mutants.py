"""One change of one file, and which of all changes a run takes."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256
from random import Random
from typing import Protocol

__all__ = ["Candidate", "Drawn", "Mutant", "Site", "chosen", "diff_of", "in_rooms", "made"]

# What the issue of mutants is about: how Tensors, Functions and training work.
ROOMS = (
    "function context engine tape recording tensor ops rnn loss optim module serialization"
).split()


@dataclass(frozen=True)
class Site:
    """A place in a file: lines from 1, columns from 0."""

    line: int
    column: int
    end_line: int
    end_column: int


class Candidate(Protocol):
    """A change that could be made: see `python_mutants` and `token_mutants`."""

    @property
    def site(self) -> Site:
        """The place that is changed."""
        ...

    @property
    def operator(self) -> str:
        """The name of the kind of change."""
        ...

    def text(self, source: str) -> str:
        """Return the changed file."""
        ...


@dataclass(frozen=True)
class Drawn:
    """A change that a run will make, unless it turns out to be none.

    Attributes
    ----------
    id : str
        A short name, made of the text of the line and the change: it stays when other lines are
        edited.
    file : str
        The path in the package.
    change : Candidate
        What is done.
    """

    id: str
    file: str
    change: Candidate


@dataclass(frozen=True)
class Mutant:
    """A change that was made.

    Attributes
    ----------
    file : str
        The path in the package.
    function : str
        What the place belongs to, with dots; empty for the file itself.
    operator : str
        What kind of change it is.
    lines : tuple of int
        The first and last line of the statement that was changed, as the package is.
    was, now, above : str
        The changed lines before and after, without indents, joined by newlines, and the line before
        them.
    text : str
        The whole file, changed.
    """

    file: str
    function: str
    operator: str
    lines: tuple[int, int]
    was: str
    now: str
    above: str
    text: str


def diff_of(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, of either text, stripped and joined."""
    old, new = before.splitlines(), after.splitlines()
    was, now = [], []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        if kind != "equal":
            was += old[i:j]
            now += new[k:m]
    return tuple("\n".join(line.strip() for line in lines) for lines in (was, now))  # type: ignore[return-value]


def made(file: str, function: str, lines: tuple[int, int], one: Candidate, text: str) -> Mutant:
    """Make the change of a candidate in a file's text."""
    changed = one.text(text)
    first, last = max(one.site.line - 3, 0), one.site.end_line + 2
    # What differs is near the place; the whole file would take the longer to compare.
    old, new = text.splitlines(), changed.splitlines()
    tail = len(new) - (len(old) - last)
    was, now = diff_of("\n".join(old[first:last]), "\n".join(new[first:tail]))
    same = 0
    while old[first + same : last] and old[first + same] == new[first + same]:
        same += 1
    above = old[first + same - 1].strip() if first + same else ""
    return Mutant(file, function, one.operator, lines, was, now, above, changed)


def chosen(
    places: Iterable[tuple[str, Candidate]], texts: Mapping[str, str], seed: int
) -> list[Drawn]:
    """Return one change for each place, in an order that the seed decides.

    Operators that have many changes for one place would otherwise make most of the sample: a ``+``
    can be twelve other operators, and nearly all of these fail at once. A longer sample begins with
    the shorter one. A place is drawn by the text of its line, so that an edit elsewhere leaves the
    others where they are.

    Parameters
    ----------
    places : iterable of (str, Candidate)
        Files and changes.
    texts : mapping of str to str
        The files by name.
    seed : int
        Decides the order and which of a place's changes it is.
    """
    lines = {file: text.split("\n") for file, text in texts.items()}
    by_place: dict[tuple[str, Site], list[Candidate]] = {}
    for file, one in places:
        by_place.setdefault((file, one.site), []).append(one)
    seen: Counter[tuple[str, str, int]] = Counter()
    drawn = []
    for file, site in sorted(by_place, key=lambda key: (key[0], astuple(key[1]))):
        line = lines[file][site.line - 1]
        words = (file, line.strip(), site.column - len(line) + len(line.lstrip()))
        place = repr((*words, seen[words]))
        seen[words] += 1
        random = Random(f"{seed} {place}")
        rank, there = random.random(), by_place[file, site]
        number = random.randrange(len(there))
        change = there[number]
        turn = sum(other.operator == change.operator for other in there[:number])
        name = f"{place} {change.operator} {turn}"
        drawn.append((rank, Drawn(sha256(name.encode()).hexdigest()[:12], file, change)))
    return [one for _, one in sorted(drawn, key=lambda pair: pair[0])]


def in_rooms(file: str, rooms: Sequence[str]) -> bool:
    """Return whether a file belongs to one of the rooms; ``function`` has ``function_node`` too."""
    name = file.partition("/")[0].partition(".")[0]
    return any(name == room or name.startswith(f"{room}_") for room in rooms)
