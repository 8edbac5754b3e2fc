"""Start a worker in a contestant's environment, ask it, and say how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import thread_environment
from benchmarks.peers.table import Contestant, Environment

__all__ = ["Refused", "Worker", "WorkerEnded", "environment_of"]

ROOT = Path(__file__).parents[1]
# What a worker needs that is not installed: these programs, and the workloads of spec_tests.
PATHS = (ROOT, ROOT / "spec_tests" / "src")
# A core type set by hand may be slower than the one that OpenBLAS would choose.
BLAS_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class Refused(Exception):
    """The worker lives, and cannot do what it was asked; the message says why."""


class WorkerEnded(Exception):
    """The process is gone; the message says how."""


def environment_of(
    environment: Environment | None, threads: int, folder: Path, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return a worker's environment variables.

    Parameters
    ----------
    environment : Environment or None
        A row of the table; None for those of the implementations.
    threads : int
    folder : Path
        Where compilers may keep what they made: empty, so that nothing of an earlier run is used.
    inherited : mapping
        The variables of this process.
    """
    variables = dict(inherited)
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    if environment is None or not environment.old_blas:
        for name in BLAS_VARIABLES:
            variables.pop(name, None)
    paths = [*map(str, PATHS), *filter(None, [inherited.get("PYTHONPATH")])]
    variables["PYTHONPATH"] = os.pathsep.join(paths)
    variables |= {"TORCHINDUCTOR_CACHE_DIR": str(folder / "torchinductor")}
    variables |= {"CACHEDB": str(folder / "tinygrad.db")}
    variables |= thread_environment(threads)
    return variables | dict(environment.variables if environment else ())


class Worker:
    """A process of `benchmarks.worker`.

    Parameters
    ----------
    contestant : Contestant
    python : str
        The interpreter of its environment.
    variables : mapping
        See `environment_of`.
    folder : Path
        Working folder; what it writes to standard error is kept there.
    limit : float
        Seconds that any answer may take.

    Raises
    ------
    WorkerEnded
        If it cannot be started or ends before it is ready.
    Refused
        If its library cannot be imported.
    """

    def __init__(
        self,
        contestant: Contestant,
        python: str,
        variables: Mapping[str, str],
        folder: Path,
        limit: float,
    ) -> None:
        self.limit = limit
        self.ended = ""
        folder.mkdir(parents=True, exist_ok=True)
        self.errors = folder / "stderr.txt"
        given = (contestant.library, contestant.module, contestant.argument)
        with self.errors.open("w", encoding="utf-8") as stderr:
            try:
                self.process = subprocess.Popen(
                    [python, "-m", "benchmarks.worker", *given],
                    cwd=folder,
                    env=dict(variables),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    encoding="utf-8",
                )
            except OSError as error:
                msg = f"could not be started: {error}"
                raise WorkerEnded(msg) from error
        try:
            self.facts = self._answer()
        except Refused:
            self.close()
            raise

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises
        ------
        Refused
            If the answer is an error.
        WorkerEnded
            If the process ended, or was ended as it took too long.
        """
        if self.ended:
            raise WorkerEnded(self.ended)
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
        except OSError:
            # It is gone; reading finds out how.
            pass
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    # What was not yet sent goes nowhere now.
                    continue

    def _answer(self) -> dict[str, Any]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(self.limit, end)
        timer.start()
        try:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            status = self.process.wait()
            self.close()
            self.ended = self._how(status, late.is_set())
            raise WorkerEnded(self.ended)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    def _how(self, status: int, late: bool) -> str:
        if late:
            return f"took longer than {self.limit:g} s and was ended"
        written = self.errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f": {written[-1][:300]}" if written else ""
        if status < 0:
            return f"was ended by signal {-status}{last}"
        return f"ended with exit status {status}{last}"
