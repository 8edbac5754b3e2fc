"""Which tests of the suite run which lines of an implementation, and how long each takes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Record", "digests", "options_of", "read", "source_of", "suite_folder"]

SUITE, PLUGIN = "spec_tests.suite", "spec_tests.judge.plugin"
# Files of an implementation that a change of makes the record stale.
SUFFIXES = {".py", ".cu"}


@dataclass
class Record:
    """What the tests of one implementation's run did.

    Attributes
    ----------
    tests : list of str
        Their names, as in result files.
    seconds : list of float
        How long each took, as it was traced.
    kernels : list of list of str
        The kernels that each launched, where the implementation's device counts them.
    lines : dict of str to dict of int to array
        By file, relative to the package, and line: a mask of the tests that ran it.
    loading : dict of str to set of int
        The lines that ran while the package was imported.
    about : dict
        ``capabilities`` and ``device`` as the implementation tells, ``modules`` that its import
        loads, ``sources`` and ``files``: digests of its files and of those of tests,
        ``folder`` and ``source``: where both stand.
    """

    tests: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    kernels: list[list[str]] = field(default_factory=list)
    lines: dict[str, dict[int, Any]] = field(default_factory=dict)
    loading: dict[str, set[int]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write everything to one ``.npz`` file."""
        arrays: dict[str, Any] = {}
        names = {}
        for number, (file, masks) in enumerate(sorted(self.lines.items())):
            names[file] = [number, sorted(masks)]
            rows = [masks[line] for line in sorted(masks)]
            arrays[f"lines{number}"] = np.packbits(np.array(rows, bool), axis=1)
        text = {
            "tests": self.tests,
            "seconds": self.seconds,
            "kernels": self.kernels,
            "loading": {file: sorted(lines) for file, lines in self.loading.items()},
            "about": self.about,
            "names": names,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, text=np.array(json.dumps(text)), **arrays)

    def stale(self, found: dict[str, Any]) -> set[str]:
        """Return the tests that have changed, or ran a file of the package that has changed.

        Parameters
        ----------
        found : dict
            What `digests` says now.
        """
        now, then = found["sources"], self.about["sources"]
        changed = [file for file in then if now.get(file) != then[file]]
        # What is launched is not followed into a kernel's file.
        every = any(not file.endswith(".py") for file in changed) or "__init__.py" in changed
        again = np.full(len(self.tests), every)
        for file in changed:
            for mask in self.lines.get(file, {}).values():
                again |= mask
        files, before = found["files"], self.about["files"]
        return {
            name
            for name, ran in zip(self.tests, again, strict=True)
            if ran or files.get(name.partition("::")[0]) != before[name.partition("::")[0]]
        }

    def without(self, names: Collection[str]) -> Record:
        """Return what is known of all tests but these."""
        kept = [i for i, name in enumerate(self.tests) if name not in names]
        lines = {
            file: {line: mask[kept] for line, mask in masks.items() if mask[kept].any()}
            for file, masks in self.lines.items()
        }
        return Record(
            [self.tests[i] for i in kept],
            [self.seconds[i] for i in kept],
            [self.kernels[i] for i in kept],
            {file: masks for file, masks in lines.items() if masks},
            self.loading,
            self.about,
        )

    def joined(self, new: Record) -> Record:
        """Return the tests of both, with what `new` says of the implementation."""
        both = Record(
            self.tests + new.tests,
            self.seconds + new.seconds,
            self.kernels + new.kernels,
            {},
            new.loading,
            new.about,
        )
        for record, start in ((self, 0), (new, len(self.tests))):
            for file, masks in record.lines.items():
                for line, mask in masks.items():
                    whole = both.lines.setdefault(file, {}).setdefault(
                        line, np.zeros(len(both.tests), bool)
                    )
                    whole[start : start + len(mask)] |= mask
        return both


def read(path: Path) -> Record:
    """Return what `Record.write` wrote."""
    with np.load(path) as stored:
        text = json.loads(str(stored["text"]))
        count = len(text["tests"])
        lines = {}
        for file, (number, there) in text["names"].items():
            rows = np.unpackbits(stored[f"lines{number}"], axis=1, count=count).astype(bool)
            lines[file] = dict(zip(there, rows, strict=True))
    loading = {file: set(there) for file, there in text["loading"].items()}
    return Record(text["tests"], text["seconds"], text["kernels"], lines, loading, text["about"])


def source_of(implementation: str) -> Path:
    """Return the folder of a package, which is not imported.

    Raises
    ------
    ValueError
        If there is no such package.
    """
    spec = importlib.util.find_spec(implementation)
    if spec is None or not spec.submodule_search_locations:
        msg = f"--impl: {implementation!r} is no package that can be imported here"
        raise ValueError(msg)
    return Path(next(iter(spec.submodule_search_locations)))


def suite_folder() -> Path:
    """Return the folder of the suite's files."""
    return source_of(SUITE)


def options_of(implementation: str) -> list[str]:
    """Return pytest's options for a run of the suite in this process."""
    options = ["--impl", implementation, "-q", "-p", "no:cacheprovider"]
    installed = importlib.metadata.entry_points(group="pytest11")
    # Where spec_tests is on the path without being installed, pytest does not know the plugin.
    if not any(entry.value == PLUGIN for entry in installed):
        options += ["-p", PLUGIN]
    return options


def digests(implementation: str, folder: Path) -> dict[str, Any]:
    """Return digests of an implementation's files, ``sources``, and of ``files`` of tests."""
    source = source_of(implementation)
    sources = [path for path in sorted(source.rglob("*")) if path.suffix in SUFFIXES]
    return {
        "sources": {path.relative_to(source).as_posix(): _digest(path) for path in sources},
        "files": {path.name: _digest(path) for path in sorted(folder.glob("test_*.py"))},
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
