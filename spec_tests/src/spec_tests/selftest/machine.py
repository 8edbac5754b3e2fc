"""What computes here: processor, instruction sets, threads, libraries and their settings."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.judge.environment import device_of, versions_of

__all__ = ["about", "precision_of_products"]

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
)
# The widest first, by the words that Linux and NumPy have for them.
_SETS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "asimd": "NEON", "sse4_2": "SSE4.2"}
_EPS = float(np.finfo(np.float32).eps)


def about(implementation: str, nn: Any) -> dict[str, Any]:
    """Return what is known of the machine and of an implementation that was imported.

    Returns
    -------
    dict
        ``device``, ``emulated``, ``versions``, ``processor``, ``instruction_set`` (of the
        processor), ``built_for`` (what libraries say that they use of it), ``threads`` and
        ``matmul_precision`` (settings and what was measured).
    """
    return {
        **device_of(nn),
        "versions": versions_of(implementation),
        "platform": platform.platform(),
        "processor": _processor(),
        "instruction_set": _instruction_set(),
        "built_for": _built_for(implementation),
        "threads": _threads(),
        "matmul_precision": {**_settings(), "measured": precision_of_products(nn)},
    }


def precision_of_products(nn: Any) -> dict[str, Any]:
    """Measure the error of products of float32 matrices, as ``{"error_in_eps", "kind"}``.

    Of 64 terms it is a few eps where numbers are multiplied in float32, and some thousand where a
    device rounds them to TF32 (Ampere whitepaper: 10 bits) before.
    """
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 64, 64)).astype(np.float32)
    want = a.astype(np.float64) @ b.astype(np.float64)
    got = nn.ops.matmul(nn.tensor(a), nn.tensor(b)).detach().numpy().astype(np.float64)
    error = float(np.max(np.abs(got - want)) / np.max(np.abs(want)) / _EPS)
    kind = "float32" if error < 64 else "TF32 or the like" if error < 2**13 else "bfloat16 or less"
    return {"error_in_eps": round(error, 2), "kind": kind}


def _processor() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _instruction_set() -> str:
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            there = set(line.partition(":")[2].split())
            return next((name for flag, name in _SETS.items() if flag in there), "none named")
    return "unknown"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _built_for(implementation: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    config = np.show_config(mode="dicts") or {}
    simd = config.get("SIMD Extensions", {})
    said["numpy"] = " ".join([*simd.get("baseline", ()), *simd.get("found", ())]) or "unknown"
    said["blas"] = config.get("Build Dependencies", {}).get("blas", {}).get("name", "unknown")
    torch = sys.modules.get("torch")
    if torch is not None:
        said["torch"] = str(torch.backends.cpu.get_cpu_capability())
    # Where an implementation has compiled sources of its own, its room `native` knows of them.
    info = getattr(sys.modules.get(f"{implementation}.native"), "build_info", None)
    if info is not None:
        said[implementation] = " ".join(f"{key}={value}" for key, value in info().items())
    return said


def _threads() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads: dict[str, Any] = {"processors": os.cpu_count(), "usable": usable}
    torch = sys.modules.get("torch")
    if torch is not None:
        threads["torch"] = torch.get_num_threads()
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        pass
    else:
        for pool in threadpool_info():
            threads[str(pool["internal_api"])] = pool["num_threads"]
    return {**threads, **{name: os.environ[name] for name in _VARIABLES if name in os.environ}}


def _settings() -> dict[str, str]:
    found = {}
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None:
        found["torch"] = str(torch.get_float32_matmul_precision())
    if jax is not None:
        found["jax"] = str(jax.config.jax_default_matmul_precision or "default")
    return found
