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
from typing import IO, Any

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
            process = _start(task, stderr)
        except OSError as error:
            return Outcome(f"could not be started: {error}", "")
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(task.timeout, end)
        timer.start()
        try:
            _pass_on(process, stdout, listen)
            status = process.wait()
        finally:
            timer.cancel()
            _close(process)
    return Outcome(_fault(task, status, late.is_set()), _tail(errors) or _tail(output))


def _start(task: Task, stderr: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
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


def _pass_on(
    process: subprocess.Popen[str], stdout: IO[str], listen: Callable[[dict[str, Any]], None]
) -> None:
    """Give messages to the listener until the process closes its output; store other lines."""
    for line in process.stdout or ():
        message = _message(line)
        if message is not None:
            listen(message)
            continue
        stdout.write(line)
        if percent := PERCENT.search(line):
            listen({"event": "percent", "percent": int(percent[1])})


def _close(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _fault(task: Task, status: int, late: bool) -> str:
    if late:
        return f"took longer than {task.timeout:.0f} s and was ended"
    if status in task.succeeded:
        return ""
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with exit status {status}"


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
