"""How memory grows with the size of a program, measured in a process of its own."""

import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
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
print("peaks:", json.dumps(peaks(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))))
"""
_LAYER = """
module = nn.{layer}({width}, {hidden})

def run(steps):
    x = nn.tensor(np.ones((steps, {batch}, {width}), np.float32))
    output, _ = module(x)
    nn.ops.sum(output * output).backward()
    module.zero_grad()
"""
_UNROLLED = """
cell = nn.{cell}({width}, {hidden})

def run(steps):
    x = nn.tensor(np.ones((steps, {batch}, {width}), np.float32))
    output, _ = nn.rnn.unroll(cell, x, checkpoint="sqrt")
    nn.ops.sum(output * output).backward()
    cell.zero_grad()
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
        The name of a recurrent layer, or of a cell, which `unroll` then runs with checkpoints.
    """
    names = {"width": WIDTH, "hidden": HIDDEN, "batch": BATCH, "layer": layer, "cell": layer}
    source = (_UNROLLED if layer.endswith("Cell") else _LAYER).format(**names)
    short, long = peaks_of(implementation, source, SHORT, LONG)
    return float(long - short) / (LONG - SHORT) / (BATCH * HIDDEN * np.dtype("float32").itemsize)


def peaks_of(implementation: str, source: str, *sizes: int) -> list[int]:
    """Return the peaks of memory, in bytes, of a program at several sizes.

    Parameters
    ----------
    implementation : str
        The importable name; it is ``nn`` in the program, beside ``np``.
    source : str
        It defines ``run(size)``.
    """
    arguments = [json.dumps(sys.path), implementation, source, json.dumps(sizes)]
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    marked = [line for line in run.stdout.splitlines() if line.startswith("peaks:")]
    if run.returncode or not marked:
        msg = f"the process that measures ended with {run.returncode}: {run.stderr[-500:]}"
        raise AssertionError(msg)
    return list(json.loads(marked[-1].partition(":")[2]))


def peaks(implementation: str, source: str, sizes: list[int]) -> list[int]:
    """Return what `peaks_of` does, of this process."""
    names: dict[str, Any] = {"nn": importlib.import_module(implementation), "np": np}
    exec(source, names)
    return [_peak(names["run"], size) for size in sizes]


def _peak(run: Callable[[int], None], size: int) -> int:
    # What is made once, such as a compiled program, is made before the measurement.
    run(size)
    gc.collect()
    _give_back()
    _CLEAR.write_text("5", encoding="ascii")
    before = _status("VmRSS")
    run(size)
    return _status("VmHWM") - before


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
