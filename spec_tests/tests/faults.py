"""Deliberate faults: each breaks impl_numpy in one place, and the suite must say where.

A fault names the files of the suite that are run and the clauses that must fail. What it changes
lies inside impl_numpy, so a fault that no longer applies there shows as a suite that passes.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

MODULES = (
    "faults_in_tensors",
    "faults_in_gradients",
    "faults_in_modules",
    "faults_of_rounding",
    "faults_in_values",
    "faults_in_functions",
    "faults_in_cells",
    "faults_in_layers",
    "faults_in_attention",
    "faults_in_states",
    "faults_in_numbers",
    "faults_in_tools",
    "faults_in_transforms",
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


def names() -> dict[str, set[str]]:
    """Return the names that each module and class of impl_numpy has, its own and inherited."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "impl_numpy":
            found[name] = set(vars(module))
            for own in vars(module).values():
                if isinstance(own, type) and own.__module__ == name:
                    found[f"{name}.{own.__qualname__}"] = set(dir(own))
    return found


def apply(name: str, nn: Any) -> None:
    """Break the implementation; refuse a fault that alters a name that nothing has.

    Such a fault breaks nothing: what it meant to alter has another name now.
    """
    fault, before = every()[name], names()
    fault.apply(nn)
    after = names()
    new = {place: after[place] - known for place, known in before.items()}
    if any(new.values()):
        msg = f"the fault {name} alters what is not there: { {k: v for k, v in new.items() if v} }"
        raise AttributeError(msg)


def every() -> dict[str, Fault]:
    """Return the faults of all modules, by name."""
    for name in MODULES:
        importlib.import_module(name)
    return FAULTS
