"""The process that works, in a contestant's own environment, and does what it is asked.

    python -m benchmarks.worker LIBRARY MODULE ARGUMENT

Requests come as JSON, one a line, on standard input, answers go to what was standard output; what
libraries print goes to standard error instead. An answer with the key ``error`` says what went
wrong in the work, and the worker lives on.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Work", "main"]

# How long a thread that looks for more work may keep a core busy, and what counts as asleep.
SETTLE_STEPS, SETTLE_STEP, IDLE_SHARE = 50, 0.002, 0.2


def main(library: str, module: str, argument: str) -> None:
    """Import the library, say how long that took and what there is, and serve requests."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        channel.write(json.dumps(answer) + "\n")
        channel.flush()

    try:
        # First of all, so that nothing it needs is loaded already.
        began = time.perf_counter()
        imported = importlib.import_module(library)
        seconds = time.perf_counter() - began
        if imported.__spec__ is not None and imported.__spec__.origin is None:
            msg = f"No module named {library!r}, only a folder of that name"
            raise ImportError(msg)
        makers = importlib.import_module(module).makers(argument)
        say({"import": seconds, "makers": sorted(makers), **described(imported, library)})
    except Exception as error:
        say({"error": in_words(error)})
        return
    work = Work(makers)
    for line in sys.stdin:
        say(work.answer(json.loads(line)))


def described(imported: Any, library: str) -> dict[str, Any]:
    """Return versions, device and the BLAS libraries that are loaded, with their kernels."""
    from spec_tests.compare.worker import device_of, versions_of

    device, emulated = device_of(imported)
    versions = versions_of(library.partition(".")[0])
    return {"versions": versions, "device": device, "emulated": emulated, "pools": pools()}


def pools() -> list[str]:
    """Return each thread pool in words, as in ``openblas 0.3.30 SkylakeX, 2 threads``."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    found = []
    for pool in threadpool_info():
        words = (pool.get(key) for key in ("internal_api", "version", "architecture"))
        found.append(f"{' '.join(filter(None, words))}, {pool['num_threads']} threads")
    return found


def in_words(error: BaseException) -> str:
    """Return an exception as one line."""
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0][:300] if first else ''}"


def settle() -> None:
    """Wait, a tenth of a second at most, until threads that spin have gone to sleep.

    A pool's threads look for more work for a while before they sleep, and would take the core from
    whose turn it is next.
    """
    for _ in range(SETTLE_STEPS):
        before = time.process_time()
        time.sleep(SETTLE_STEP)
        if time.process_time() - before < IDLE_SHARE * SETTLE_STEP:
            return


def give_back() -> None:
    """Return free memory to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


class Work:
    """The work at hand, and the requests about it.

    Parameters
    ----------
    makers : mapping
        What a module of `benchmarks.peers` returned.
    """

    def __init__(self, makers: Any) -> None:
        self.makers = makers
        self.job: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked; an exception is an answer too."""
        ask: Callable[..., dict[str, Any]] = getattr(self, f"do_{request.pop('do')}")
        try:
            return ask(**request)
        except Exception as error:
            return {"error": in_words(error)}

    def do_make(self, maker: str, row: dict[str, Any]) -> dict[str, Any]:
        """Prepare a row's work and do it once; say how long both took together."""
        from benchmarks.rows import Row

        self.do_drop()
        if maker not in self.makers:
            return {"error": f"has no {maker}"}
        began = time.perf_counter()
        self.job = self.makers[maker](Row.from_dict(row))
        self.job.call()
        self.job.wait()
        return {"first": time.perf_counter() - began}

    def do_run(self, calls: int, lead: float = 0.0) -> dict[str, Any]:
        """Do the work so many times; say how long it took, and the time of all cores together.

        Before, it is done for ``lead`` seconds that do not count.
        """
        call = self.job.call
        end = time.perf_counter() + lead
        while time.perf_counter() < end:
            call()
        self.job.wait()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(calls):
            call()
        self.job.wait()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        settle()
        return {"wall": wall, "cpu": cpu}

    def do_count(self) -> dict[str, Any]:
        """Do the work once more; say what it returned."""
        return {"value": float(self.job.call())}

    def do_peak(self, maker: str, row: dict[str, Any]) -> dict[str, Any]:
        """Say how far above what it was resident memory is at its peak, the second time.

        What comes of the first time counts, such as buffers that are kept for the next; a peak of
        that time alone, such as a compiler's, does not.
        """
        from benchmarks.rows import Row, shrunk
        from spec_tests.compare.memory import PeakMemory

        self.do_make(maker, shrunk(Row.from_dict(row)).as_dict())
        self.do_drop()
        give_back()
        first = PeakMemory()
        answer = self.do_make(maker, row)
        if "error" in answer:
            return answer
        gc.collect()
        give_back()
        again = PeakMemory()
        self.do_run(1)
        return {"value": max(0, again.before + again.grown() - first.before)}

    def do_drop(self) -> dict[str, Any]:
        """Let the work go."""
        self.job = None
        gc.collect()
        return {}


if __name__ == "__main__":
    main(*sys.argv[1:])
