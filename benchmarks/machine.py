"""What the measurements ran on: processor, instruction set, threads."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Machine", "machine", "settings", "thread_environment"]

CPUINFO = Path("/proc/cpuinfo")
# From the widest on; as Linux calls them, and as people do.
INSTRUCTION_SETS = {
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "avx": "AVX",
    "sve": "SVE",
    "asimd": "NEON",
    "neon": "NEON",
}
KERNELS = ("IMPL_", "OMP_", "GOMP_", "KMP_", "MKL_", "ONEDNN_", "ATEN_", "XLA_")
COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NPROC",
)


@dataclass(frozen=True)
class Machine:
    """A processor and a system.

    Attributes
    ----------
    processor : str
        As the system knows it, with family and model, which a virtual machine's name leaves out.
    instruction_set : str
        The widest vectors it has.
    cores : int
        Logical ones.
    system : str
    """

    processor: str
    instruction_set: str
    cores: int
    system: str

    @property
    def slug(self) -> str:
        """The processor as a file's name."""
        return re.sub(r"[^a-z0-9]+", "-", self.processor.lower()).strip("-")


def machine(text: str | None = None) -> Machine:
    """Return this machine.

    Parameters
    ----------
    text : str, optional
        What to read in the place of Linux's list of processors.
    """
    if text is None:
        text = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    # The first processor's lines; a machine of several kinds of core is known by its first.
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in facts:
        name += f" family {facts['cpu family']} model {facts.get('model', '?')}"
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    known = [title for flag, title in INSTRUCTION_SETS.items() if flag in flags]
    return Machine(name, known[0] if known else "unknown", os.cpu_count() or 1, platform.platform())


def settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that change which kernels run, or how threads wait."""
    return {name: value for name, value in sorted(variables.items()) if name.startswith(KERNELS)}


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment variables that give a process so many threads."""
    variables = dict.fromkeys(COUNTS, str(threads))
    if threads == 1:
        # XLA has no option for another number, and takes that of NPROC.
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        variables["XLA_FLAGS"] = flags
    return variables
