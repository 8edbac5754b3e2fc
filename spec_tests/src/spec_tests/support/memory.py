"""How the memory of a layer grows with its sequence, measured in a process of its own."""

import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

BATCH, WIDTH, HIDDEN = 4, 4, 64
SHORT, LONG = 1000, 4000
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from spec_tests.support.memory import peaks
print("peaks:", json.dumps(peaks(sys.argv[2], sys.argv[3])))
"""
# An array comes from the system and goes back to it, so that none is made from what was left over.
_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


def unmeasurable(nn: Any) -> str:
    """Return why this process's memory says nothing of a layer's, or an empty string."""
    if not (_STATUS.exists() and os.access(_CLEAR, os.W_OK)):
        return "the system has no high-water mark of memory that can be reset"
    device = nn.spec_device() if hasattr(nn, "spec_device") else {"emulated": True}
    if not device["emulated"] and device["device"] != "CPU":
        return "the memory of a device is not that of the process"
    return ""


def arrays_per_step(implementation: str, layer: str) -> float:
    """Return by how many arrays (N, H) the peak of forward and backward grows with a step.

    Parameters
    ----------
    implementation : str
        The importable name.
    layer : str
        The name of a recurrent layer.
    """
    command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), implementation, layer]
    run = subprocess.run(
        command, env={**os.environ, **_ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    marked = [line for line in run.stdout.splitlines() if line.startswith("peaks:")]
    if run.returncode or not marked:
        msg = f"the process that measures {layer} ended with {run.returncode}: {run.stderr[-500:]}"
        raise AssertionError(msg)
    short, long = json.loads(marked[-1].partition(":")[2])
    return float(long - short) / (LONG - SHORT) / (BATCH * HIDDEN * np.dtype("float32").itemsize)


def peaks(implementation: str, layer: str) -> list[int]:
    """Return the peaks of memory, in bytes, of a short and of a long sequence."""
    nn = importlib.import_module(implementation)
    module = getattr(nn, layer)(WIDTH, HIDDEN)
    return [_peak(nn, module, steps) for steps in (SHORT, LONG)]


def _peak(nn: Any, module: Any, steps: int) -> int:
    # What is made once, such as a compiled program, is made before the measurement.
    _train(nn, module, steps)
    gc.collect()
    _give_back()
    _CLEAR.write_text("5", encoding="ascii")
    before = _status("VmRSS")
    _train(nn, module, steps)
    return _status("VmHWM") - before


def _train(nn: Any, module: Any, steps: int) -> None:
    x = nn.tensor(np.ones((steps, BATCH, WIDTH), np.float32))
    output, _ = module(x)
    nn.ops.sum(output * output).backward()
    module.zero_grad()


def _give_back() -> None:
    """Return free memory to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(field: str) -> int:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    msg = f"{_STATUS} has no {field}"
    raise KeyError(msg)
