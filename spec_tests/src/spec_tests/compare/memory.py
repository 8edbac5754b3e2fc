"""How much memory a training takes at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

__all__ = ["PeakMemory"]

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """The growth of a process's resident memory, from now to its peak.

    On Linux the kernel's high-water mark is reset first, so that what ran earlier in the process
    does not hide what comes. Elsewhere it cannot be reset, and the growth of ``ru_maxrss`` is a
    lower bound. Memory on a device is not in it.
    """

    MEANING = (
        "host memory: the process's resident memory at its peak during the float32 training, less "
        "that before the network was made and after a tiny one was trained, so that libraries are "
        "not in it; one process per workload"
    )

    def __init__(self) -> None:
        try:
            CLEAR.write_text("5", encoding="ascii")
            self.before = _status("VmRSS")
            self.from_kernel = _status("VmHWM") > 0
        except (OSError, KeyError):
            self.before = _maxrss()
            self.from_kernel = False

    def grown(self) -> int:
        """Return the growth in bytes."""
        peak = _status("VmHWM") if self.from_kernel else _maxrss()
        return max(0, peak - self.before)


def _status(field: str) -> int:
    """Return a field of Linux's status file of this process, in bytes."""
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise KeyError(field)


def _maxrss() -> int:
    """Return the process's peak since it started, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
