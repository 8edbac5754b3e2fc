"""Run other interpreters, at most two at a time, and listen to what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ONE_THREAD", "Outcome", "Task", "run"]

# Each process gets one thread, so that two at once on two cores do not share a core.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
LAST_LINES = 15
PERCENT = re.compile(r"\[\s*(\d+)%\]")


@dataclass(frozen=True)
class Task:
    """One process.

    Attributes
    ----------
    owner : str
        The implementation, or the reference.
    what : str
        A word for a person.
    command : sequence of str
    folder : Path
        Working folder; standard output and error are kept there.
    timeout : float
        Seconds after which the process is ended.
    succeeded : tuple of int
        Exit statuses that mean that the process did its work.
    """

    owner: str
    what: str
    command: Sequence[str]
    folder: Path
    timeout: float
    succeeded: tuple[int, ...] = (0,)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a process ended: what went wrong, or an empty string, and its last lines on stderr."""

    fault: str
    last_lines: str


def run(task: Task, listen: Callable[[dict[str, Any]], None]) -> Outcome:
    """Run a process to its end.

    Parameters
    ----------
    task : Task
    listen : callable
        Gets every message of `spec_tests.compare.messages`; for pytest, messages with the event
        ``"percent"``.

    Returns
    -------
    Outcome
        A process that cannot be started, crashes or takes too long is an outcome too, never an
        exception.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    errors = task.folder / f"{task.what}.stderr.txt"
    output = task.folder / f"{task.what}.stdout.txt"
    with errors.open("w") as stderr, output.open("w") as stdout:
        try:
            process = subprocess.Popen(
                list(task.command),
                cwd=task.folder,
                env={**os.environ, **ONE_THREAD, **task.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            return Outcome(f"could not be started: {error}", "")
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(task.timeout, end)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                message = _message(line)
                if message is not None:
                    listen(message)
                    continue
                stdout.write(line)
                if percent := PERCENT.search(line):
                    listen({"event": "percent", "percent": int(percent[1])})
            status = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
    if late.is_set():
        fault = f"took longer than {task.timeout:.0f} s and was ended"
    elif status in task.succeeded:
        fault = ""
    elif status < 0:
        fault = f"was ended by signal {-status}"
    else:
        fault = f"ended with exit status {status}"
    return Outcome(fault, _tail(errors) or _tail(output))


def _message(line: str) -> dict[str, Any] | None:
    """Return what a line says, or None if it is no message."""
    if not line.startswith('{"event"'):
        return None
    try:
        message: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return None
    return message


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:])
