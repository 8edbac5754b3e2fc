"""A process that has collected the suite once, and forks for each mutant.

``python -m spec_tests.mutation.server --impl MODULE --record FILE`` reads one job a line from its
input and writes one answer a line. The package itself is not imported before the fork: what the
judge asks of it while it collects is answered from the record. The child imports the package from
the mutant's folder (`shadow`) and runs the tests of the job until one fails.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import importlib.metadata
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest

from spec_tests.mutation import record as recording

__all__ = ["Server", "main"]

# A test that takes so many times as long as it should will not end. The machine may be busy.
SLOWER, AT_LEAST = 20, 15.0
# What importing the package may take, with compiling where it compiles.
LOADING = 60.0
_MEMORY = 8 << 30


class Server:
    """The pytest plugin that takes the place of pytest's loop over the tests.

    Parameters
    ----------
    implementation : str
        The importable name.
    record : Record
        What the tests do on the package as it is.
    jobs, answers : file
        Where jobs come from and answers go: dicts, as JSON, one a line. A job has ``shadow``, the
        folder to import from, or none for the package as it is; ``tests``, their names in order;
        and ``environment``, variables to set. An answer has ``status`` (``killed``, ``timeout``,
        ``import`` or ``survived``), ``by``, the test, ``why``, and ``asked``, how many tests ran.
    """

    def __init__(
        self, implementation: str, record: recording.Record, jobs: IO[str], answers: IO[str]
    ) -> None:
        self.implementation = implementation
        self.limits = {
            name: max(AT_LEAST, SLOWER * seconds)
            for name, seconds in zip(record.tests, record.seconds, strict=True)
        }
        self.jobs, self.answers = jobs, answers
        self.items: dict[str, pytest.Item] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Answer jobs until there are no more."""
        # pytest rewrites the asserts of a plugin only in a process that has not yet imported it.
        from spec_tests.judge.marks import name_of

        self.items = {name_of(item): item for item in session.items}
        scratch = Path(tempfile.gettempdir())
        # A collection in the child would otherwise go through, and so copy, all that is here.
        gc.collect()
        gc.freeze()
        self._tell({"ready": sorted(self.items)})
        for line in self.jobs:
            self._tell(self._asked(json.loads(line)))
            for left in scratch.iterdir():
                shutil.rmtree(left, ignore_errors=True)
        return True

    def _tell(self, answer: dict[str, Any]) -> None:
        self.answers.write(json.dumps(answer) + "\n")
        self.answers.flush()

    def _asked(self, job: dict[str, Any]) -> dict[str, Any]:
        """Fork, watch the child and return what it found."""
        there, here = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(there)
            try:
                os.setpgid(0, 0)
                self._child(job, here)
            finally:
                os._exit(0)
        os.close(here)
        try:
            return self._watched(there)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(there)

    def _watched(self, there: int) -> dict[str, Any]:
        running, asked, text, start = "", 0, b"", time.monotonic()
        while True:
            left = start + self.limits.get(running, LOADING) - time.monotonic()
            if not select.select([there], [], [], max(left, 0))[0]:
                return {"status": "timeout", "by": running, "why": "no end", "asked": asked}
            piece = os.read(there, 1 << 16)
            if not piece:
                return {"status": "killed", "by": running, "why": "crashed", "asked": asked}
            text += piece
            *lines, text = text.split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "status" in said:
                    return {**said, "asked": asked}
                running, start, asked = said["runs"], time.monotonic(), asked + 1

    def _child(self, job: dict[str, Any], here: int) -> None:
        def say(**what: Any) -> None:
            os.write(here, json.dumps(what).encode() + b"\n")

        _shut_in(job)
        try:
            module = _loaded(self.implementation, job.get("shadow"))
        except BaseException as error:  # whatever a wrong module raises
            say(status="import", by="", why=f"{type(error).__name__}: {error}"[:300])
            return
        items = [self.items[name] for name in job["tests"] if name in self.items]
        if items:
            from spec_tests.judge.plugin import run_of

            run = run_of(items[0].config)
            run.module, run.capabilities = module, dict(module.spec_capabilities())
        for item, name, after in zip(items, job["tests"], [*items[1:], None], strict=True):
            say(runs=name)
            why = _failure(item, after)
            if why is not None:
                say(status="killed", by=name, why=why[:300])
                return
        say(status="survived", by="", why="")


def _shut_in(job: dict[str, Any]) -> None:
    """Let the child write nowhere and take no more memory than a test may need."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", **job.get("environment", {})}
    if job.get("shadow"):
        sys.path.insert(0, job["shadow"])
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([job["shadow"], *filter(None, [before])])
    with contextlib.suppress(OSError, ValueError):
        held = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + _MEMORY, held + _MEMORY))


def _loaded(implementation: str, shadow: str | None) -> ModuleType:
    del sys.modules[implementation]
    importlib.invalidate_caches()
    module = importlib.import_module(implementation)
    if shadow and not str(module.__file__).startswith(shadow):
        msg = f"{implementation} came from {module.__file__}, not from {shadow}"
        raise ImportError(msg)
    return module


def _failure(item: pytest.Item, after: pytest.Item | None) -> str | None:
    """Run a test; return the first line of its failure."""
    from _pytest.runner import runtestprotocol

    for report in runtestprotocol(item, nextitem=after, log=False):
        if report.failed:
            text = report.longreprtext.strip().splitlines() or ["failed"]
            told = [line for line in text if line.startswith("E ")]
            return (told or text)[0].removeprefix("E").strip()
    return None


def _stand_in(implementation: str, about: dict[str, Any]) -> ModuleType:
    """Return a module that answers what the judge asks while it collects."""
    module = ModuleType(implementation)
    vars(module)["spec_capabilities"] = lambda: dict(about["capabilities"])
    vars(module)["spec_device"] = lambda: dict(about["device"])
    return module


def _preload(implementation: str, modules: Sequence[str]) -> None:
    """Import what the package stands on, once for all mutants."""
    plugins = importlib.metadata.entry_points(group="pytest11")
    # pytest imports its plugins itself, and refuses those that are there already.
    others = {entry.value.partition(".")[0] for entry in plugins} | set(sys.stdlib_module_names)
    others |= {implementation, "spec_tests", "coverage", "cupy_emulation", "execnet"}
    for name in modules:
        if name not in others and not name.startswith("_"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="spec_tests.mutation.server", description=__doc__)
    parser.add_argument("--impl", required=True, metavar="MODULE", help="its importable name")
    parser.add_argument("--record", required=True, type=Path, help="what `recorder` wrote")
    known = parser.parse_args(arguments)
    record = recording.read(known.record)
    # Jobs and answers keep the streams for themselves: what else is written goes to stderr.
    jobs, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _preload(known.impl, record.about["modules"])
    sys.modules[known.impl] = _stand_in(known.impl, record.about)
    server = Server(known.impl, record, jobs, answers)
    with tempfile.TemporaryDirectory(prefix="mutants") as scratch:
        tempfile.tempdir = os.environ["TMPDIR"] = scratch
        # All tests: which of the cases `--quick` leaves out depends on what else is collected.
        options = [*recording.options_of(known.impl), "--capture=no"]
        status = pytest.main(
            [record.about["folder"], *options, f"--basetemp={scratch}/t"], plugins=[server]
        )
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
