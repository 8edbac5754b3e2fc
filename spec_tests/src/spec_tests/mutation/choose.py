"""Which tests a mutant is given to, and in what order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from spec_tests.mutation.record import Record

__all__ = ["Choice"]


class Choice:
    """The tests of a record, for one place after the other.

    Parameters
    ----------
    record : Record
        What ran which lines.
    seconds : float
        Tests are taken until this time is full, as they took while they were recorded.
    """

    def __init__(self, record: Record, seconds: float) -> None:
        self.record, self.seconds = record, seconds
        self.names = record.tests
        count = len(record.tests)
        self.own = np.array(record.seconds)
        reach = np.zeros(count)
        self.by_file = {}
        for file, lines in record.lines.items():
            masks = np.array(list(lines.values()))
            reach += masks.sum(axis=0)
            self.by_file[file] = masks.any(axis=0)
        # The cases of one test are much alike: the second says less than the first.
        seen: Counter[str] = Counter()
        turn = np.zeros(count)
        for index in np.argsort(self.own, kind="stable"):
            function = record.tests[index].partition("[")[0]
            turn[index] = seen[function]
            seen[function] += 1
        # Quick ones first, and those that run little else: they ask for more of what they run.
        self.cost = (self.own + 0.002) * (reach + 20) * (1 + turn)

    def tests(
        self, file: str, lines: tuple[int, int], head: bool, words: Iterable[str]
    ) -> list[str]:
        """Return the names of tests for a place of a Python file.

        Parameters
        ----------
        file : str
            The path in the package.
        lines : tuple of int
            The first and last line of the statement, or of the definition whose head it is.
        head : bool
            Whether it is the head of a definition, or a statement outside of all functions.
        words : iterable of str
            Names that the statement binds or calls; a test with one of them in its name is asked
            first where lines do not say enough.
        """
        there = self.record.lines.get(file, {})
        spanned = range(lines[0], lines[1] + 1)
        masks = [there[line] for line in spanned if line in there]
        running = np.any(masks, axis=0) if masks else np.zeros(len(self.names), bool)
        loading = head or bool(self.record.loading.get(file, set()) & set(spanned))
        if not loading:
            return self._first(np.where(running, 0, -1))
        # What ran while the package was imported can be felt by any test.
        rank = np.full(len(self.names), 3)
        rank[self.by_file.get(file, np.zeros(len(self.names), bool))] = 2
        rank[running] = 1
        named = [word for word in words if len(word) > 1]
        if named:
            wanted = re.compile(rf"(?<![a-z0-9])({'|'.join(map(re.escape, named))})(?![a-z0-9])")
            rank[[bool(wanted.search(name.partition("::")[2])) for name in self.names]] = 0
        return self._first(rank)

    def launching(self, kernels: Iterable[str], others: Iterable[str]) -> list[str]:
        """Return the names of tests that launch a kernel, before those that launch other ones.

        A kernel counts that begins with one of the names: there is one for each dtype.
        """
        first, then = tuple(kernels), tuple(others)
        rank = [
            0
            if any(name.startswith(first) for name in launched)
            else (1 if any(name.startswith(then) for name in launched) else -1)
            for launched in self.record.kernels
        ]
        return self._first(np.array(rank))

    def mentioning(self, texts: Mapping[str, str], names: Iterable[str]) -> list[str]:
        """Return the names of tests that run a line of Python in which one of the names stands.

        Where none does, all tests are meant.
        """
        wanted = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names)))})\b")
        rank = np.full(len(self.names), -1)
        for file, lines in self.record.lines.items():
            text = texts[file].split("\n")
            for line, mask in lines.items():
                if wanted.search(text[line - 1]):
                    rank[mask] = 0
        return self._first(rank if (rank == 0).any() else np.zeros(len(self.names), int))

    def _first(self, rank: Any) -> list[str]:
        """Return tests by rank, those below zero left out, until the time is full."""
        order = np.lexsort((self.cost, rank))
        order = order[rank[order] >= 0]
        spent = np.cumsum(self.own[order])
        return [
            self.names[index] for index in order[: int(np.searchsorted(spent, self.seconds)) + 1]
        ]
