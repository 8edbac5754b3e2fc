"""Deliberate faults: each breaks impl_numpy in one place, and the suite must say where.

A fault names the files of the suite that are run and the clauses that must fail. What it changes
lies inside impl_numpy, so a fault that no longer applies there shows as a suite that passes.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

MODULES = (
    "faults_in_tensors",
    "faults_in_gradients",
    "faults_in_modules",
    "faults_of_rounding",
    "faults_in_values",
    "faults_in_functions",
)


class Fault(NamedTuple):
    """``apply(nn)`` breaks the implementation; `clauses` must fail when `files` are run."""

    apply: Callable[[Any], None]
    files: tuple[str, ...]
    clauses: tuple[str, ...]


FAULTS: dict[str, Fault] = {}


def fault(files: str, *clauses: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Enter a fault under the name of its function; `files` are those of the suite, by stem."""

    def enter(apply: Callable[[Any], None]) -> Callable[[Any], None]:
        FAULTS[apply.__name__] = Fault(apply, tuple(files.split()), clauses)
        return apply

    return enter


def every() -> dict[str, Fault]:
    """Return the faults of all modules, by name."""
    for name in MODULES:
        importlib.import_module(name)
    return FAULTS
