"""The kept list: mutants that behave as the original does, each with the reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LIST", "Equivalent", "read", "unknown"]

LIST = Path(__file__).parent / "kept.toml"
_KEYS = ("file", "function", "was", "now", "reason")


@dataclass(frozen=True)
class Equivalent:
    """One entry, known again by what is changed where, not by the number of a line."""

    implementation: str
    file: str
    function: str
    was: str
    now: str
    reason: str
    # The line before it, where there are two such lines in the function.
    above: str = ""

    def fits(self, result: dict[str, Any]) -> bool:
        """Return whether a mutant, as a result has it, is this one."""
        keys = ("file", "function", "was", "now", *(("above",) if self.above else ()))
        return all(getattr(self, key) == result.get(key) for key in keys)


def read(implementation: str, path: Path = LIST) -> list[Equivalent]:
    """Return the entries of an implementation.

    Raises
    ------
    ValueError
        If an entry lacks a key, has one too many, or no reason.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    found = []
    for name, entries in content.items():
        for number, entry in enumerate(entries):
            if set(entry) - {"above"} != set(_KEYS) or not all(
                isinstance(entry[key], str) for key in entry
            ):
                msg = f"{path.name}: entry {number + 1} of {name} needs {', '.join(_KEYS)}: {entry}"
                raise ValueError(msg)
            if not entry["reason"].strip():
                msg = f"{path.name}: entry {number + 1} of {name} has no reason"
                raise ValueError(msg)
            found.append(Equivalent(name, **entry))
    return [entry for entry in found if entry.implementation == implementation]


def unknown(entries: Iterable[Equivalent], texts: dict[str, str]) -> list[Equivalent]:
    """Return the entries whose lines are in no file any more.

    Parameters
    ----------
    entries : iterable of Equivalent
        Of one implementation.
    texts : dict of str to str
        Its files.
    """
    lines = {file: {line.strip() for line in text.splitlines()} for file, text in texts.items()}
    return [
        entry
        for entry in entries
        if not set(filter(None, entry.was.split("\n"))) <= lines.get(entry.file, set())
    ]
