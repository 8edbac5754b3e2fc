"""Put together what the processes left behind: numbers, agreement, and which promises were kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.compare import agreement
from spec_tests.compare.verdicts import judge
from spec_tests.compare.workloads import Workload

__all__ = ["Evidence", "Failure", "assemble", "common_start", "training_folder"]

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Failure:
    """A process that did not do its work."""

    owner: str
    what: str
    fault: str
    last_lines: str


@dataclass(frozen=True)
class Evidence:
    """What was asked, and where the answers are.

    Attributes
    ----------
    out : Path
        The report's folder; processes left their files in its ``runs`` and ``clauses``.
    names : sequence of str
        The implementations.
    workloads : sequence of Workload
    failures : sequence of Failure
    suite, reference : bool
        Whether the conformance suite, and the reference, were run.
    """

    out: Path
    names: Sequence[str]
    workloads: Sequence[Workload]
    failures: Sequence[Failure]
    suite: bool
    reference: bool


@dataclass(frozen=True)
class Training:
    """One training's curves and parameters."""

    losses: np.ndarray
    seconds: np.ndarray
    initial: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    shadows: np.ndarray


def training_folder(out: Path, owner: str, workload: str) -> Path:
    """Return where a process keeps its files."""
    return out / "runs" / owner / workload


def assemble(evidence: Evidence) -> dict[str, Any]:
    """Return the report's content.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    dict
        ``implementations`` and ``workloads``, as programs read them; ``reference``,
        ``agreement`` and ``details``, by workload; ``failed_clauses`` by implementation;
        ``failures``; ``verdicts``.
    """
    report: dict[str, Any] = {
        "implementations": {},
        "workloads": {},
        "reference": {},
        "agreement": {},
        "details": {},
        "failed_clauses": {},
        "failures": [vars(failure) for failure in evidence.failures],
    }
    for name in evidence.names:
        _implementation(evidence, name, report)
    for workload in evidence.workloads:
        _workload(evidence, workload, report)
    report["verdicts"] = judge(
        report, evidence.workloads, suite=evidence.suite, reference=evidence.reference
    )
    return report


def common_start(out: Path, names: Sequence[str], workload: str) -> Path | None:
    """Return a file with the float32 parameters that most implementations started from.

    None if no implementation finished the training.
    """
    found = {name: load_training(out, name, workload, "float32") for name in names}
    trained = {name: run for name, run in found.items() if run is not None}
    if not trained:
        return None
    name = _most_common({name: run.initial for name, run in trained.items()})
    return training_folder(out, name, workload) / f"{workload}.float32.npz"


def load_training(out: Path, owner: str, workload: str, dtype: str = "") -> Training | None:
    """Return what a training left; None if it did not finish. The reference's has no dtype."""
    file = f"{workload}.{dtype}.npz" if dtype else f"{workload}.npz"
    path = training_folder(out, owner, workload) / file
    if not path.exists():
        return None
    with np.load(path) as stored:
        arrays = dict(stored)

    def parameters(prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): value
            for name, value in arrays.items()
            if name.startswith(prefix)
        }

    nothing = np.empty((0, 0))
    return Training(
        losses=arrays["losses"],
        seconds=arrays.get("seconds", nothing),
        initial=parameters("initial/"),
        final=parameters("final/"),
        shadows=arrays.get("shadows", nothing),
    )


def _implementation(evidence: Evidence, name: str, report: dict[str, Any]) -> None:
    """Fill in what an implementation is, and its clauses."""
    said: dict[str, Any] = {}
    for workload in evidence.workloads:
        said = said or _read(training_folder(evidence.out, name, workload.name) / "results.json")
    result = _read(evidence.out / "clauses" / f"{name}.json") if evidence.suite else {}
    versions = {**result.get("versions", {}), **said.get("versions", {})}
    counts = result.get("counts", {})
    report["implementations"][name] = {
        "versions": dict(sorted(versions.items())),
        "device": said.get("device", result.get("device", "unknown")),
        "emulated": bool(said.get("emulated", result.get("emulated", False))),
        "clauses": {key: counts.get(key) for key in ("passed", "failed", "unsupported")},
    }
    report["failed_clauses"][name] = [
        {"id": number, "title": clause.get("title", ""), "why": clause.get("why", "")}
        for number, clause in result.get("clauses", {}).items()
        if clause.get("status") == "failed"
    ]


def _workload(evidence: Evidence, workload: Workload, report: dict[str, Any]) -> None:
    """Fill in what became of one workload in every implementation."""
    out, key = evidence.out, workload.name
    runs: dict[str, dict[str, Training]] = {dtype: {} for dtype in DTYPES}
    entries, details = {}, {}
    for name in evidence.names:
        stored = _read(training_folder(out, name, key) / "results.json")
        summary = stored.get("workloads", {}).get(key, {})
        for dtype in DTYPES:
            run = load_training(out, name, key, dtype)
            if run is not None and dtype in summary:
                runs[dtype][name] = run
        entries[name], details[name] = _entry(
            summary, runs["float32"].get(name), runs["float64"].get(name)
        )
    reference = load_training(out, "reference", key)
    report["workloads"][key] = entries
    report["details"][key] = details
    report["agreement"][key] = _agreement(workload, runs, reference)
    if reference is not None:
        stored = _read(training_folder(out, "reference", key) / "results.json")
        report["reference"][key] = {
            "versions": stored.get("versions", {}),
            "losses": reference.losses.tolist(),
            "allowance": agreement.allowance(reference.losses, reference.shadows).tolist(),
            **stored.get("workloads", {}).get(key, {}),
        }


def _entry(
    summary: dict[str, Any], single: Training | None, double: Training | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one cell of ``workloads``, and one of ``details``."""
    last = summary.get("float32", {})
    entry = {
        "losses": [] if single is None else single.losses.tolist(),
        "final_accuracy": last.get("final_accuracy"),
        "seconds_per_step": None if single is None else float(np.median(single.seconds)),
        "peak_bytes": last.get("peak_bytes"),
    }
    detail = {
        "held_out_loss": last.get("held_out_loss"),
        "seconds_quartiles": []
        if single is None
        else np.quantile(single.seconds, (0.25, 0.75)).tolist(),
        "first_step_seconds": None if single is None else float(single.seconds[0]),
        "float64_losses": [] if double is None else double.losses.tolist(),
        "float64_seconds_per_step": None if double is None else float(np.median(double.seconds)),
        "float64_accuracy": summary.get("float64", {}).get("final_accuracy"),
    }
    return entry, detail


def _agreement(
    workload: Workload, runs: dict[str, dict[str, Training]], reference: Training | None
) -> dict[str, Any]:
    """Return how far the implementations are from the reference and from each other."""
    found: dict[str, Any] = {"steps": workload.agreement_steps}
    for dtype in DTYPES:
        losses = {name: run.losses[: workload.agreement_steps] for name, run in runs[dtype].items()}
        pairs = {
            f"{a} ~ {b}": agreement.relative_difference(losses[a], losses[b])
            for a, b in combinations(losses, 2)
        }
        to_reference = {}
        if reference is not None:
            known = reference.losses[: workload.agreement_steps]
            to_reference = {
                name: agreement.relative_difference(curve, known) for name, curve in losses.items()
            }
        found[dtype] = {
            "pairs": pairs,
            "to_reference": to_reference,
            **_largest(pairs | {f"{name} ~ torch.nn": one for name, one in to_reference.items()}),
        }
    found["initial"] = {dtype: _initial(runs[dtype]) for dtype in DTYPES}
    found["final_ulp"] = _final_ulp(runs["float32"], reference)
    found["divergence"] = {}
    if reference is not None:
        allowed = agreement.allowance(reference.losses, reference.shadows)
        for name, run in runs["float32"].items():
            step, share = agreement.first_divergence(run.losses, reference.losses, allowed)
            found["divergence"][name] = {"first_step": step, "share_of_allowance": share}
    return found


def _largest(differences: dict[str, float]) -> dict[str, Any]:
    """Return the largest difference and whose it is; None if there is none to compare."""
    where = max(differences, key=lambda key: differences[key], default=None)
    return {"largest": None if where is None else differences[where], "between": where}


def _initial(runs: dict[str, Training]) -> dict[str, Any]:
    """Compare the parameters drawn from the seed with those that most implementations drew."""
    if not runs:
        return {"identical": None, "ulp": {}}
    usual = runs[_most_common({name: run.initial for name, run in runs.items()})].initial
    ulp = {name: agreement.ulp_summary(run.initial, usual) for name, run in runs.items()}
    return {"identical": all(summary["identical"] for summary in ulp.values()), "ulp": ulp}


def _final_ulp(runs: dict[str, Training], reference: Training | None) -> dict[str, Any]:
    """Return ULP distances between the final float32 parameters."""
    found: dict[str, Any] = {"to_reference": {}, "pairs": {}}
    for a, b in combinations(runs, 2):
        found["pairs"][f"{a} ~ {b}"] = agreement.ulp_summary(runs[a].final, runs[b].final)
    if reference is not None:
        rounded = {name: value.astype(np.float32) for name, value in reference.final.items()}
        for name, run in runs.items():
            found["to_reference"][name] = agreement.ulp_summary(run.final, rounded)
    return found


def _most_common(parameters: dict[str, dict[str, np.ndarray]]) -> str:
    """Return the first name whose parameters are those that occur most often, bit for bit."""
    bits = {
        name: tuple((key, value.dtype.str, value.tobytes()) for key, value in sorted(own.items()))
        for name, own in parameters.items()
    }
    usual = Counter(bits.values()).most_common(1)[0][0]
    return next(name for name, own in bits.items() if own == usual)


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON file's content; an empty dict if the process did not write it."""
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
