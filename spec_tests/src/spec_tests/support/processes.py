"""Programs that are run in a process of their own: with a limit of time, or before any import."""

import json
import os
import subprocess
import sys
from typing import Any

_SETUP = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
"""
_LIMITED = """
import importlib, resource, time
import numpy as np
nn = importlib.import_module(sys.argv[2])
limit = int(sys.argv[3])
used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
resource.setrlimit(resource.RLIMIT_CPU, (used + limit, used + limit + 5))
held = [line.split() for line in open("/proc/self/status") if line.startswith("VmData:")]
most = int(held[0][1]) * 1024 + int(sys.argv[5])
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
start = time.process_time()
exec(sys.argv[4])
print("answer:", json.dumps(time.process_time() - start))
"""
_LAST = 800
_MOST = 3 * 2**30


def seconds_of(implementation: str, source: str, limit: int) -> float | None:
    """Run a program in a process that may use so much CPU time, and 3 GiB of memory.

    Parameters
    ----------
    implementation : str
        The importable name; it is ``nn`` in the program, beside ``np``.
    source : str
        The program.
    limit : int
        Seconds of CPU time, beside those that importing takes.

    Returns
    -------
    float or None
        The seconds of CPU time; None where the limit ended it.

    Raises
    ------
    AssertionError
        Where the program failed in another way.
    """
    run = _run(_SETUP + _LIMITED, implementation, str(limit), source, str(_MOST))
    if run.returncode < 0:
        return None
    return float(_answer(run, implementation))


def answer_of(program: str, *arguments: str) -> Any:
    """Run a program and return what it prints after ``answer:``, read as JSON.

    Parameters
    ----------
    program : str
        It finds its arguments in ``sys.argv[2:]``, and `json` and `sys` imported.
    *arguments : str
        Its arguments.
    """
    return _answer(_run(_SETUP + program, *arguments), program)


def _run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program, json.dumps(sys.path), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _answer(run: "subprocess.CompletedProcess[str]", what: str) -> Any:
    marked = [line for line in run.stdout.splitlines() if line.startswith("answer:")]
    if run.returncode or not marked:
        msg = f"the process of {what} ended with {run.returncode}: {run.stderr[-_LAST:]}"
        raise AssertionError(msg)
    return json.loads(marked[-1].partition(":")[2])
