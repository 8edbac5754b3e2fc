"""Files that one command writes and the page of the matrix reads: their kinds and formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spec_tests.judge.clauses import SPEC_VERSION

__all__ = ["ACCURACY", "BENCHMARK", "COMPARISON", "Written"]


@dataclass(frozen=True)
class Written:
    """One kind of file.

    Attributes
    ----------
    kind : str
        What the file calls itself.
    format : int
        Another number where programs that read an older file would misread it.
    program : str
        The command that writes it.
    keys : tuple of str
        Fields that it always has.
    """

    kind: str
    format: int
    program: str
    keys: tuple[str, ...]

    def head(self) -> dict[str, Any]:
        """Return the fields by which `read` knows the file."""
        return {"format": self.format, "kind": self.kind, "spec_version": SPEC_VERSION}

    def read(self, path: Path) -> dict[str, Any]:
        """Read a file.

        Raises
        ------
        ValueError
            If it is no such file, or of another format; the message names it.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"{path}: cannot be read: {error}"
            raise ValueError(msg) from error
        told = isinstance(content, dict) and content.get("kind") == self.kind
        if not told or any(key not in content for key in ("spec_version", *self.keys)):
            raise self.other(path)
        if content.get("format") != self.format:
            msg = f"{path}: has format {content.get('format')}, this program reads {self.format}"
            raise ValueError(msg)
        return dict(content)

    def other(self, path: Path) -> ValueError:
        """Return the error that says that a file is none of this kind."""
        return ValueError(f"{path}: is no file of `{self.program}`, or an old one: run it again")


ACCURACY = Written(
    "accuracy",
    1,
    "spec-tests accuracy",
    ("implementation", "about", "functions", "steps", "lengths"),
)
COMPARISON = Written(
    "comparison",
    1,
    "nox -s compare",
    ("implementations", "workloads", "reference", "agreement", "details", "provenance"),
)
BENCHMARK = Written(
    "benchmark",
    1,
    "nox -s bench",
    ("created", "command", "machine", "facts", "measurements"),
)
