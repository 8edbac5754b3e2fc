"""Records which tests run which lines, and how long each takes.

``python -m spec_tests.mutation.recorder --impl MODULE --out FILE`` in the implementation's
environment, which needs coverage.py. A test is not run again that stands in FILE, has not changed
and ran no file of the implementation that has changed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests.mutation.record import (
    Record,
    digests,
    options_of,
    read,
    source_of,
    suite_folder,
)

__all__ = ["Recorder", "main"]


class Recorder:
    """The pytest plugin that tells coverage.py which test is running."""

    def __init__(self, coverage: Any, known: Collection[str]) -> None:
        self.coverage, self.known = coverage, known
        self.record = Record()
        self._counters: Any = None
        self._name_of: Callable[[pytest.Item], str]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Note what the implementation says of itself, and leave out the tests that are known."""
        # pytest rewrites the asserts of a plugin only in a process that has not yet imported it.
        from spec_tests.judge.marks import name_of
        from spec_tests.judge.plugin import run_of

        self._name_of = name_of
        session.items[:] = [item for item in session.items if name_of(item) not in self.known]
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
    parser = argparse.ArgumentParser(prog="spec_tests.mutation.recorder", description=__doc__)
    parser.add_argument("--impl", required=True, metavar="MODULE", help="its importable name")
    parser.add_argument("--out", required=True, type=Path, help="the file to write")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many at once")
    parser.add_argument("--tests", type=Path, metavar="FOLDER", help="instead of the suite")
    # What a process of several is told: the tests of some files, but for those that are known.
    parser.add_argument("--share", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    known, options = parser.parse_known_args(arguments)
    folder = known.tests or suite_folder()
    if known.share:
        files, names = json.loads(known.share.read_text(encoding="utf-8"))
        _recorded(known.impl, [str(folder / name) for name in files], names, options)[0].write(
            known.out
        )
        return 0
    try:
        found = digests(known.impl, folder)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    old, files = _known(known.out, found, folder, options)
    if not files:
        print(f"{known.out}: up to date, {len(old.tests)} tests")
        return 0
    new, status = _shared(known, folder, files, old.tests, options)
    where = {"folder": str(folder), "source": str(source_of(known.impl))}
    new.about |= {**found, **where, "options": options}
    whole = old.joined(new)
    whole.write(known.out)
    print(f"{known.out}: {len(whole.tests)} tests, {len(new.tests)} of them run, exit {status}")
    return 0


def _known(
    path: Path, found: dict[str, Any], folder: Path, options: Sequence[str]
) -> tuple[Record, list[str]]:
    """Return what need not be run again, and the files with tests that must be."""
    if not path.exists():
        return Record(), sorted(found["files"])
    before = read(path)
    if (before.about["options"], before.about["folder"]) != (list(options), str(folder)):
        return Record(), sorted(found["files"])
    stale = before.stale(found)
    files = {name.partition("::")[0] for name in stale} & set(found["files"])
    files |= {
        name for name, digest in found["files"].items() if before.about["files"].get(name) != digest
    }
    old = before.without(stale)
    if found != {key: old.about[key] for key in found}:
        files = files or {min(found["files"])}
    return old, sorted(files)


def _shared(
    known: argparse.Namespace,
    folder: Path,
    files: Sequence[str],
    names: Sequence[str],
    options: Sequence[str],
) -> tuple[Record, int]:
    """Record, in several processes if wanted, each of which has some of the files."""
    count = min(known.processes, len(files))
    if count == 1:
        return _recorded(known.impl, [str(folder / name) for name in files], names, options)
    shares: list[list[str]] = [[] for _ in range(count)]
    # Long files first, each to whom has least.
    for name in sorted(files, key=lambda name: -(folder / name).stat().st_size):
        shares[min(range(count), key=lambda i: _size(folder, shares[i]))].append(name)
    command = [sys.executable, "-m", "spec_tests.mutation.recorder", "--impl", known.impl]
    if known.tests:
        command.append(f"--tests={known.tests}")
    running, parts = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for number, share in enumerate(shares):
            told, part = Path(scratch) / f"{number}.json", Path(scratch) / f"{number}.npz"
            told.write_text(json.dumps([share, list(names)]), encoding="utf-8")
            own = ("--share", str(told), "--out", str(part))
            running.append(subprocess.Popen([*command, *own, *options]))
            parts.append(part)
        status = max([process.wait() for process in running])
        whole = Record()
        for part in parts:
            whole = whole.joined(read(part))
    return whole, status


def _size(folder: Path, names: Sequence[str]) -> int:
    return sum((folder / name).stat().st_size for name in names)


def _recorded(
    implementation: str, paths: Sequence[str], known: Sequence[str], options: Sequence[str]
) -> tuple[Record, int]:
    # Only here, as whoever reads a record has no need of it.
    import coverage

    source = source_of(implementation)
    measuring = coverage.Coverage(
        data_file=None, config_file=False, include=[f"{source}/*"], messages=False
    )
    measuring.start()
    recorder = Recorder(measuring, set(known))
    options = [*options_of(implementation), "--tb=short", *options]
    status = pytest.main([*paths, *options], plugins=[recorder])
    measuring.stop()
    return recorder.finish(source), int(status)


if __name__ == "__main__":
    sys.exit(main())
