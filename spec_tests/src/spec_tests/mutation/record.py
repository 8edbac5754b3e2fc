"""Which tests of the suite run which lines of an implementation, and how long each takes.

``python -m spec_tests.mutation.record --impl MODULE --out FILE`` in the implementation's
environment, which needs coverage.py. A file of tests that has not changed since FILE was written is
not run again, as long as the implementation has not changed either.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = ["Record", "digests", "main", "options_of", "read", "source_of", "suite_folder"]

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
        loads, ``sources`` and ``files``: digests of the implementation and of each file of tests,
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

    def without(self, files: set[str]) -> Record:
        """Return what is known of the tests that stand in other files than these."""
        kept = [i for i, name in enumerate(self.tests) if name.partition("::")[0] not in files]
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
    """Return ``sources``, the digest of an implementation, and ``files``, of each file of tests."""
    source = source_of(implementation)
    whole = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        if path.suffix in SUFFIXES:
            whole.update(path.relative_to(source).as_posix().encode() + path.read_bytes())
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(folder.glob("test_*.py"))
    }
    return {"sources": whole.hexdigest()[:16], "files": files}


class Recorder:
    """The pytest plugin that tells coverage.py which test is running."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.record = Record()
        self._counters: Any = None
        self._name_of: Callable[[pytest.Item], str]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Note what the implementation says of itself."""
        # pytest rewrites the asserts of a plugin only in a process that has not yet imported it.
        from spec_tests.judge.plugin import name_of, run_of

        self._name_of = name_of
        run = run_of(session.config)
        self.record.about |= {
            "capabilities": run.capabilities,
            "device": run.result.device,
            "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        }
        self._counters = sys.modules.get("cupy_emulation.counters")
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Time a test, under its number."""
        self.coverage.switch_context(str(len(self.record.tests)))
        if self._counters:
            self._counters.reset_launches()
        start = time.perf_counter()
        result = yield
        self.record.seconds.append(round(time.perf_counter() - start, 4))
        self.record.tests.append(self._name_of(item))
        self.record.kernels.append(sorted(self._counters._kernels) if self._counters else [])
        self.coverage.switch_context("after")
        return result

    def finish(self, source: Path) -> Record:
        """Take the lines from coverage.py and return the record."""
        data = self.coverage.get_data()
        count = len(self.record.tests)
        for path in data.measured_files():
            file = Path(path).relative_to(source).as_posix()
            for line, contexts in data.contexts_by_lineno(path).items():
                mask = np.zeros(count, bool)
                mask[[int(context) for context in contexts if context.isdigit()]] = True
                if mask.any():
                    self.record.lines.setdefault(file, {})[line] = mask
                if "" in contexts:
                    self.record.loading.setdefault(file, set()).add(line)
        return self.record


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="spec_tests.mutation.record", description=__doc__)
    parser.add_argument("--impl", required=True, metavar="MODULE", help="its importable name")
    parser.add_argument("--out", required=True, type=Path, help="the file to write")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many at once")
    parser.add_argument("--only", metavar="NAMES", help="of these files, with commas between")
    parser.add_argument("--tests", type=Path, metavar="FOLDER", help="instead of the suite")
    known, options = parser.parse_known_args(arguments)
    folder = known.tests or suite_folder()
    try:
        found = digests(known.impl, folder)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    old, files = Record(), sorted(found["files"])
    if known.out.exists():
        before = read(known.out)
        same = {"sources": found["sources"], "options": options, "folder": str(folder)}
        if all(before.about[key] == value for key, value in same.items()):
            known_files = before.about["files"]
            files = [name for name in files if known_files.get(name) != found["files"][name]]
            gone = set(known_files) - set(found["files"])
            old = before.without({*files, *gone})
    if known.only:
        files = [name for name in files if name in known.only.split(",")]
    if not files:
        print(f"{known.out}: up to date, {len(old.tests)} tests")
        return 0
    if known.processes > 1:
        new, status = _shared(known, folder, files, options)
    else:
        new, status = _recorded(known.impl, [str(folder / name) for name in files], options)
    where = {"folder": str(folder), "source": str(source_of(known.impl))}
    new.about |= {**found, **where, "options": options}
    whole = old.joined(new)
    whole.write(known.out)
    print(f"{known.out}: {len(whole.tests)} tests, {len(new.tests)} of them run, exit {status}")
    return 0


def _shared(
    known: argparse.Namespace, folder: Path, files: Sequence[str], options: Sequence[str]
) -> tuple[Record, int]:
    """Record in several processes, each of which has some of the files."""
    shares: list[list[str]] = [[] for _ in range(min(known.processes, len(files)))]
    # Long files first, each to whom has least.
    for name in sorted(files, key=lambda name: -(folder / name).stat().st_size):
        shares[min(range(len(shares)), key=lambda i: _size(folder, shares[i]))].append(name)
    command = [sys.executable, "-m", "spec_tests.mutation.record", "--impl", known.impl]
    if known.tests:
        command.append(f"--tests={known.tests}")
    with tempfile.TemporaryDirectory() as scratch:
        parts = [Path(scratch) / f"{number}.npz" for number in range(len(shares))]
        running = [
            subprocess.Popen([*command, "--out", str(part), "--only", ",".join(names), *options])
            for part, names in zip(parts, shares, strict=True)
        ]
        status = max(process.wait() for process in running)
        whole = Record()
        for part in parts:
            whole = whole.joined(read(part))
    return whole, status


def _size(folder: Path, names: Sequence[str]) -> int:
    return sum((folder / name).stat().st_size for name in names)


def _recorded(implementation: str, paths: Sequence[str], options: Sequence[str]) -> Any:
    # Only here, as whoever reads a record has no need of it.
    import coverage

    source = source_of(implementation)
    measuring = coverage.Coverage(
        data_file=None, config_file=False, include=[f"{source}/*"], messages=False
    )
    measuring.start()
    recorder = Recorder(measuring)
    options = [*options_of(implementation), "--tb=short", *options]
    status = pytest.main([*paths, *options], plugins=[recorder])
    measuring.stop()
    return recorder.finish(source), int(status)


if __name__ == "__main__":
    sys.exit(main())
