"""The mutants of one implementation, in the order of a run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spec_tests.mutation import token_mutants
from spec_tests.mutation.choose import Choice
from spec_tests.mutation.mutants import Candidate, Mutant, chosen, in_rooms, made

__all__ = ["Planned", "plan", "texts_of"]

SUFFIXES = {"python": ".py", "cuda": ".cu"}


@dataclass(frozen=True)
class Planned:
    """A mutant and the tests that it will be given to."""

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


def plan(texts: dict[str, str], kind: str, seed: int, choice: Choice) -> Iterator[Planned]:
    """Yield the mutants of some files, in an order that the seed decides.

    Parameters
    ----------
    texts : dict of str to str
        The files by path.
    kind : str
        ``"python"`` or ``"cuda"``.
    seed : int
        As in `mutants.chosen`.
    choice : Choice
        Finds the tests.
    """
    places: list[tuple[str, Candidate]] = []
    for file, text in texts.items():
        places += [(file, one) for one in _candidates(text, kind)]
    trees = {file: ast.parse(text) for file, text in texts.items()} if kind == "python" else {}
    for file, one in chosen(places, texts, seed):
        if kind == "python":
            planned = _python(file, one, texts[file], trees[file], choice)
            if _differs(planned.mutant.text, trees[file]):
                yield planned
        else:
            yield _cuda(file, one, texts, choice)


def _differs(text: str, tree: ast.Module) -> bool:
    """Return whether a changed file can be compiled and means something else."""
    try:
        return ast.dump(ast.parse(text)) != ast.dump(tree)
    except SyntaxError:
        return False


def _candidates(text: str, kind: str) -> list[Candidate]:
    if kind == "python":
        # cosmic-ray is in the environment of whoever makes mutants of Python alone.
        from spec_tests.mutation.python_mutants import candidates

        return candidates(text)
    return [*token_mutants.candidates(text)]


def _python(file: str, one: Candidate, text: str, tree: ast.Module, choice: Choice) -> Planned:
    from spec_tests.mutation.python_mutants import function_at, statement_at, words_at

    first, last, head = statement_at(tree, one.site)
    mutant = made(file, function_at(tree, one.site.line), (first, last), one, text)
    return Planned(mutant, choice.tests(file, (first, last), head, words_at(tree, first, last)))


def _cuda(file: str, one: Candidate, texts: dict[str, str], choice: Choice) -> Planned:
    text = texts[file]
    function = token_mutants.function_at(text, one.site.line)
    mutant = made(file, function, (one.site.line, one.site.end_line), one, text)
    users = token_mutants.users(texts, function)
    kernels = set(users) | {f"pointwise_{name}" for name in users}
    others = token_mutants.functions(text)
    return Planned(mutant, choice.launching(kernels or {function}, others))
