"""Runs Python with kernels compiled under AddressSanitizer.

``python -m cupy_emulation.sanitize ARGUMENTS...`` runs ``python ARGUMENTS...`` (``-m pytest
tests``, say) with libasan loaded first. NumPy takes each array from malloc, so that a kernel that
reads or writes one element beyond an array's end, before its start or after its release ends the
process with AddressSanitizer's report. Misaligned accesses, which a GPU refuses too, end it as
well. A view's ends are guarded only where they are the ends of its base.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .compiler import compiler_command


def environment() -> dict[str, str]:
    """Return the environment variables of a process whose kernels are watched.

    Raises
    ------
    RuntimeError
        If the C++ compiler has no libasan.
    """
    found = subprocess.run(
        [compiler_command(), "-print-file-name=libasan.so"],
        capture_output=True,
        text=True,
        check=True,
    )
    library = os.path.realpath(found.stdout.strip())
    if not os.path.isabs(found.stdout.strip()) or not os.path.exists(library):
        msg = f"{compiler_command()} has no libasan.so; install it with the compiler"
        raise RuntimeError(msg)
    # Python itself keeps memory until the end of the process: no leaks of kernels.
    return {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "CUPY_EMULATION_SANITIZE": "address",
    }


def main(arguments: list[str]) -> int:
    """Run ``python ARGUMENTS...`` and return its exit status; reports go to standard error."""
    with tempfile.TemporaryDirectory() as folder:
        # Written to a file first: what pytest has captured is lost with its process.
        log = f"log_path={folder}/report"
        variables = environment()
        variables["ASAN_OPTIONS"] += f":{log}"
        variables["UBSAN_OPTIONS"] = log
        done = subprocess.run([sys.executable, *arguments], env=variables, check=False)
        for report in sorted(Path(folder).iterdir()):
            sys.stderr.write(report.read_text(errors="replace"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
