"""The mutants of one implementation, in the order of a run."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spec_tests.mutation import token_mutants
from spec_tests.mutation.choose import Choice
from spec_tests.mutation.mutants import Candidate, Drawn, Mutant, chosen, in_rooms, made

__all__ = ["Plan", "Planned", "texts_of"]

SUFFIXES = {"python": ".py", "cuda": ".cu"}


@dataclass(frozen=True)
class Planned:
    """A mutant and the tests that it will be given to."""

    kind: str
    mutant: Mutant
    tests: list[str]


def texts_of(source: Path, kind: str, rooms: Sequence[str]) -> dict[str, str]:
    """Return the files of a package that are changed, by path; kernels belong to every room."""
    paths = sorted(source.rglob(f"*{SUFFIXES[kind]}"))
    texts = {
        path.relative_to(source).as_posix(): path.read_text(encoding="utf-8") for path in paths
    }
    if kind != "python" or list(rooms) == ["all"]:
        return texts
    return {file: text for file, text in texts.items() if in_rooms(file, rooms)}


class Plan:
    """The mutants of some files, in an order that the seed decides.

    Parameters
    ----------
    texts : dict of str to str
        The files by path.
    kind : str
        ``"python"``, ``"cuda"`` or ``"cpp"``.
    seed : int
        As in `mutants.chosen`.
    choice : Choice
        Finds the tests.
    callers : dict of str to str, optional
        The files in Python that call what C++ has.
    """

    def __init__(
        self,
        texts: dict[str, str],
        kind: str,
        seed: int,
        choice: Choice,
        callers: dict[str, str] | None = None,
    ) -> None:
        self.texts, self.kind, self.choice = texts, kind, choice
        self.callers = callers or {}
        places: list[tuple[str, Candidate]] = []
        for file, text in texts.items():
            places += [(file, one) for one in _candidates(text, kind)]
        self.drawn = chosen(places, texts, seed)

    def make(self, one: Drawn) -> Planned | None:
        """Make a change and find its tests; return None if it makes no difference.

        That is so where the file cannot be compiled, or means what it did.
        """
        if self.kind == "cuda":
            return _cuda(one, self.texts, self.choice)
        if self.kind == "cpp":
            mutant, users = _tokens(one, self.texts)
            return Planned("cpp", mutant, self.choice.mentioning(self.callers, users))
        planned = _python(one, self.texts[one.file], self.choice)
        try:
            changed = ast.parse(planned.mutant.text)
        except SyntaxError:
            return None
        same = ast.dump(changed) == ast.dump(ast.parse(self.texts[one.file]))
        return None if same else planned


def _candidates(text: str, kind: str) -> list[Candidate]:
    if kind == "python":
        # cosmic-ray is in the environment of whoever makes mutants of Python alone.
        from spec_tests.mutation.python_mutants import candidates

        return candidates(text)
    return [*token_mutants.candidates(text)]


def _python(drawn: Drawn, text: str, choice: Choice) -> Planned:
    from spec_tests.mutation.python_mutants import function_at, statement_at, words_at

    file, site, tree = drawn.file, drawn.change.site, ast.parse(text)
    first, last, head = statement_at(tree, site)
    mutant = made(file, function_at(tree, site.line), (first, last), drawn.change, text)
    tests = choice.tests(file, (first, last), head, words_at(tree, first, last))
    return Planned("python", mutant, tests)


def _tokens(drawn: Drawn, texts: dict[str, str]) -> tuple[Mutant, set[str]]:
    """Make a change of C++; return it with the functions that it may be felt in."""
    site, text = drawn.change.site, texts[drawn.file]
    function = token_mutants.function_at(text, site.line)
    mutant = made(drawn.file, function, (site.line, site.end_line), drawn.change, text)
    return mutant, token_mutants.users(texts, function)


def _cuda(drawn: Drawn, texts: dict[str, str], choice: Choice) -> Planned:
    mutant, users = _tokens(drawn, texts)
    kernels = users | {f"pointwise_{name}" for name in users}
    others = token_mutants.functions(texts[drawn.file])
    return Planned("cuda", mutant, choice.launching(kernels, others))
