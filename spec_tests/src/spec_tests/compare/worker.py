"""Train every workload in one implementation: ``python -m spec_tests.compare.worker JOB.json``.

Runs in the implementation's own interpreter, through nothing but the names of the specification.
Each workload is trained twice from the same numbers, in float32 and in float64. What comes out is
files: ``WORKLOAD.DTYPE.npz`` with the curves and the parameters, ``results.json`` with the rest,
written anew after each workload so that a crash loses none of the earlier ones.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.compare.memory import PeakMemory
from spec_tests.compare.messages import Reporter, say
from spec_tests.compare.network import make_network
from spec_tests.compare.workloads import PADDING, SEED, Batches, Workload, save_arrays

__all__ = ["main", "train"]


def main(path: Path) -> int:
    """Do a job.

    Parameters
    ----------
    path : Path
        A JSON file with the keys ``module``, ``data``, ``out`` (folders) and ``workloads``.

    Returns
    -------
    int
        The exit status: 0 if every training finished.
    """
    job = json.loads(path.read_text(encoding="utf-8"))
    out = Path(job["out"])
    results: dict[str, Any] = {"implementation": job["module"], "workloads": {}, "errors": {}}

    def store() -> None:
        unfinished = out / "results.json.part"
        unfinished.write_text(json.dumps(results, indent=1), encoding="utf-8")
        os.replace(unfinished, out / "results.json")

    nn = importlib.import_module(job["module"])
    device, emulated = device_of(nn)
    results.update(versions=versions_of(job["module"]), device=device, emulated=emulated)
    results["peak_bytes_is"] = PeakMemory.MEANING
    store()
    for fields in job["workloads"]:
        workload = Workload(**fields)
        batches = Batches(Path(job["data"]) / f"{workload.dataset}.npz", workload.dataset)
        try:
            _warm_up(nn, workload, batches)
            results["workloads"][workload.name] = _both_precisions(nn, workload, batches, out)
        except Exception:
            # One workload that fails says nothing about the next; the report shows both.
            results["errors"][workload.name] = traceback.format_exc()
            traceback.print_exc()
            say("failed", workload=workload.name)
        store()
    say("done")
    return 1 if results["errors"] else 0


def _warm_up(nn: Any, workload: Workload, batches: Batches) -> None:
    """Train a tiny network of the same kind, so that what loads late is not counted later."""
    train(nn, replace(workload, hidden_size=2), batches, "float32", 2, lambda _: None)


def _both_precisions(
    nn: Any, workload: Workload, batches: Batches, out: Path
) -> dict[str, dict[str, Any]]:
    """Train in float32, then in float64 from the same numbers; store both, return the rest."""
    summary = {}
    start = None
    for dtype, steps in (("float32", workload.steps), ("float64", workload.float64_steps)):
        reporter = Reporter(workload.name, dtype, steps, workload.weight)
        arrays, summary[dtype] = train(nn, workload, batches, dtype, steps, reporter.step, start)
        save_arrays(out / f"{workload.name}.{dtype}.npz", arrays)
        if start is None:
            start = {
                name.removeprefix("initial/"): value.astype(np.float64)
                for name, value in arrays.items()
                if name.startswith("initial/")
            }
    return summary


def train(
    nn: Any,
    workload: Workload,
    batches: Batches,
    dtype: str,
    steps: int,
    report: Callable[[int], None],
    start: dict[str, np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train one workload.

    Parameters
    ----------
    nn : module
        The implementation.
    workload : Workload
    batches : Batches
    dtype : str
        ``"float32"`` or ``"float64"``.
    steps : int
    report : callable
        Gets the number of steps done, after each.
    start : dict of ndarray, optional
        Parameters by name to start from, in the place of those that the seed gives.

    Returns
    -------
    arrays : dict of ndarray
        ``losses`` and ``seconds``, one a step; ``initial/NAME`` as drawn from the seed, and
        ``final/NAME``.
    summary : dict
        ``final_accuracy`` and ``held_out_loss`` on held-out data, ``peak_bytes``.
    """
    memory = PeakMemory()
    nn.manual_seed(SEED)
    model = make_network(nn, workload, getattr(nn, dtype))
    arrays = {f"initial/{name}": value for name, value in _values(model).items()}
    if start is not None:
        model.load_state_dict(start)
    losses, seconds = _steps(nn, model, workload, batches, dtype, steps, report)
    arrays |= {f"final/{name}": value for name, value in _values(model).items()}
    arrays |= {"losses": losses, "seconds": seconds}
    peak = memory.grown()
    return arrays, {**_held_out(nn, model, batches, dtype), "peak_bytes": peak}


def _steps(
    nn: Any,
    model: Any,
    workload: Workload,
    batches: Batches,
    dtype: str,
    steps: int,
    report: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Train with Adam; return the loss of each step and the seconds that it took."""
    optimizer = nn.optim.Adam(model.parameters(), lr=workload.lr)
    losses, seconds = np.empty(steps), np.empty(steps)
    for step in range(steps):
        if step == workload.lr_drop:
            for group in optimizer.param_groups:
                group["lr"] = workload.lr / 10
        began = time.perf_counter()
        inputs, targets = _tensors(nn, batches.training(step), dtype)
        optimizer.zero_grad()
        loss = nn.loss.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        # The number is read in every step: on a device, or in JAX, that waits for the work.
        losses[step] = loss.item()
        seconds[step] = time.perf_counter() - began
        report(step + 1)
    return losses, seconds


def _held_out(nn: Any, model: Any, batches: Batches, dtype: str) -> dict[str, float]:
    """Return the network's accuracy and loss on held-out data."""
    inputs, targets = _tensors(nn, batches.held_out(), dtype)
    with nn.no_grad():
        logits = model(inputs)
        held_out_loss = nn.loss.cross_entropy(logits, targets).item()
    guesses = np.argmax(logits.numpy(), axis=-1)
    wanted = targets.numpy()
    accuracy = float(np.mean((guesses == wanted)[wanted != PADDING]))
    return {"final_accuracy": accuracy, "held_out_loss": held_out_loss}


def _values(model: Any) -> dict[str, np.ndarray]:
    """Return copies of the parameters by name."""
    return {
        name: np.array(parameter.detach().numpy(), copy=True)
        for name, parameter in model.named_parameters()
    }


def _tensors(nn: Any, batch: tuple[np.ndarray, np.ndarray], dtype: str) -> tuple[Any, Any]:
    """Return a batch as Tensors, floating inputs in ``dtype``."""
    inputs, targets = batch
    if inputs.dtype.kind == "f":
        inputs = inputs.astype(dtype)
    return nn.tensor(inputs), nn.tensor(targets)


def device_of(nn: Any) -> tuple[str, bool]:
    """Return what the implementation says that it runs on, and whether that is an emulation.

    An implementation may offer ``spec_device()``, a dict with the keys ``device`` and ``emulated``.
    """
    said = nn.spec_device() if hasattr(nn, "spec_device") else {"device": "CPU", "emulated": False}
    return str(said["device"]), bool(said["emulated"])


def versions_of(module: str) -> dict[str, str]:
    """Return the versions of Python, of the implementation, and of what it requires."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for distribution in importlib.metadata.packages_distributions().get(module, [])[:1]:
        versions[distribution] = importlib.metadata.version(distribution)
        for requirement in importlib.metadata.requires(distribution) or []:
            name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                # A requirement of an extra, or of another platform.
                continue
    return versions


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
