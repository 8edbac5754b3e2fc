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
from spec_tests.compare.findings import (
    Agreement,
    ClauseCounts,
    Details,
    Differences,
    Divergence,
    FailedClause,
    Failure,
    FinalDistances,
    FunctionVerdict,
    Implementation,
    InitialValues,
    Reference,
    Report,
    Training,
    UlpSummary,
)
from spec_tests.compare.verdicts import judge
from spec_tests.compare.workloads import Workload

__all__ = ["Evidence", "assemble", "common_start", "training_folder"]

DTYPES = ("float32", "float64")
REFERENCE = "reference"


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
class Stored:
    """One training's curves and parameters, as its process stored them."""

    losses: np.ndarray
    seconds: np.ndarray
    initial: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    shadows: np.ndarray


def training_folder(out: Path, owner: str, workload: str) -> Path:
    """Return where a process keeps its files."""
    return out / "runs" / owner / workload


def assemble(evidence: Evidence) -> Report:
    """Return the report's content, but for where it comes from."""
    report = Report(failures=list(evidence.failures))
    for name in evidence.names:
        _add_implementation(evidence, name, report)
    for workload in evidence.workloads:
        _add_workload(evidence, workload, report)
    report.verdicts = judge(
        report, evidence.workloads, suite=evidence.suite, reference=evidence.reference
    )
    return report


def common_start(out: Path, names: Sequence[str], workload: str) -> Path | None:
    """Return a file with the float32 parameters that most implementations started from.

    None if no implementation finished the training.
    """
    runs = {name: load_training(out, name, workload, "float32") for name in names}
    trained = {name: run for name, run in runs.items() if run is not None}
    if not trained:
        return None
    name = _most_common({name: run.initial for name, run in trained.items()})
    return training_folder(out, name, workload) / f"{workload}.float32.npz"


def load_training(out: Path, owner: str, workload: str, dtype: str = "") -> Stored | None:
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
    return Stored(
        losses=arrays["losses"],
        seconds=arrays.get("seconds", nothing),
        initial=parameters("initial/"),
        final=parameters("final/"),
        shadows=arrays.get("shadows", nothing),
    )


def _add_implementation(evidence: Evidence, name: str, report: Report) -> None:
    """Add what an implementation is, and its clauses."""
    stated: dict[str, Any] = {}
    for workload in evidence.workloads:
        folder = training_folder(evidence.out, name, workload.name)
        stated = stated or _read(folder / "results.json")
    result = _read(evidence.out / "clauses" / f"{name}.json") if evidence.suite else {}
    versions = {**result.get("versions", {}), **stated.get("versions", {})}
    counts = result.get("counts", {})
    failed = counts["failed"] + counts.get("crashed", 0) if "failed" in counts else None
    report.implementations[name] = Implementation(
        versions=dict(sorted(versions.items())),
        device=stated.get("device", result.get("device", "unknown")),
        emulated=bool(stated.get("emulated", result.get("emulated", False))),
        quick=bool(result.get("quick", False)),
        clauses=ClauseCounts(counts.get("passed"), failed, counts.get("unsupported")),
    )
    report.failed_clauses[name] = [
        FailedClause(number, clause.get("title", ""), clause.get("why", ""))
        for number, clause in result.get("clauses", {}).items()
        if clause.get("status") in ("failed", "crashed")
    ]
    for function, verdict in result.get("functions", {}).items():
        verdicts = report.functions.setdefault(function, {})
        verdicts[name] = FunctionVerdict(verdict["status"], verdict.get("why", ""))


def _add_workload(evidence: Evidence, workload: Workload, report: Report) -> None:
    """Add what became of one workload in every implementation."""
    out, key = evidence.out, workload.name
    runs: dict[str, dict[str, Stored]] = {dtype: {} for dtype in DTYPES}
    report.workloads[key], report.details[key] = {}, {}
    for name in evidence.names:
        stored = _read(training_folder(out, name, key) / "results.json")
        summary = stored.get("workloads", {}).get(key, {})
        for dtype in DTYPES:
            run = load_training(out, name, key, dtype)
            if run is not None and dtype in summary:
                runs[dtype][name] = run
        single, double = (runs[dtype].get(name) for dtype in DTYPES)
        report.workloads[key][name] = _training(summary, single)
        report.details[key][name] = _details(summary, single, double)
    reference = load_training(out, REFERENCE, key)
    report.agreement[key] = _agreement(workload, runs, reference)
    if reference is not None:
        report.reference[key] = _reference(out, key, reference)


def _training(summary: dict[str, Any], run: Stored | None) -> Training:
    last = summary.get("float32", {})
    return Training(
        losses=[] if run is None else run.losses.tolist(),
        final_accuracy=last.get("final_accuracy"),
        seconds_per_step=None if run is None else float(np.median(run.seconds)),
        peak_bytes=last.get("peak_bytes"),
    )


def _details(summary: dict[str, Any], single: Stored | None, double: Stored | None) -> Details:
    quartiles = [] if single is None else np.quantile(single.seconds, (0.25, 0.75)).tolist()
    return Details(
        held_out_loss=summary.get("float32", {}).get("held_out_loss"),
        seconds_quartiles=quartiles,
        first_step_seconds=None if single is None else float(single.seconds[0]),
        float64_losses=[] if double is None else double.losses.tolist(),
        float64_seconds_per_step=None if double is None else float(np.median(double.seconds)),
        float64_accuracy=summary.get("float64", {}).get("final_accuracy"),
    )


def _reference(out: Path, key: str, run: Stored) -> Reference:
    stored = _read(training_folder(out, REFERENCE, key) / "results.json")
    summary = stored.get("workloads", {}).get(key, {})
    return Reference(
        versions=stored.get("versions", {}),
        losses=run.losses.tolist(),
        allowance=agreement.allowance(run.losses, run.shadows).tolist(),
        final_accuracy=summary.get("final_accuracy"),
        held_out_loss=summary.get("held_out_loss"),
    )


def _agreement(
    workload: Workload, runs: dict[str, dict[str, Stored]], reference: Stored | None
) -> Agreement:
    """Return how far the implementations are from the reference and from each other."""
    steps = workload.agreement_steps
    return Agreement(
        steps=steps,
        float32=_differences(steps, runs["float32"], reference),
        float64=_differences(steps, runs["float64"], reference),
        initial={dtype: _initial(runs[dtype]) for dtype in DTYPES},
        final_ulp=_final_distances(runs["float32"], reference),
        divergence=_divergence(runs["float32"], reference),
    )


def _differences(steps: int, runs: dict[str, Stored], reference: Stored | None) -> Differences:
    """Compare the losses of the first steps, of all pairs and with the reference."""
    losses = {name: run.losses[:steps] for name, run in runs.items()}
    pairs = {
        f"{a} ~ {b}": agreement.relative_difference(losses[a], losses[b])
        for a, b in combinations(losses, 2)
    }
    to_reference = {}
    if reference is not None:
        known = reference.losses[:steps]
        to_reference = {
            name: agreement.relative_difference(curve, known) for name, curve in losses.items()
        }
    every = pairs | {f"{name} ~ torch.nn": share for name, share in to_reference.items()}
    where = max(every, key=lambda pair: every[pair], default=None)
    return Differences(pairs, to_reference, None if where is None else every[where], where)


def _divergence(runs: dict[str, Stored], reference: Stored | None) -> dict[str, Divergence]:
    """Find where each curve leaves the reference."""
    if reference is None:
        return {}
    allowed = agreement.allowance(reference.losses, reference.shadows)
    return {
        name: Divergence(*agreement.first_divergence(run.losses, reference.losses, allowed))
        for name, run in runs.items()
    }


def _initial(runs: dict[str, Stored]) -> InitialValues:
    """Compare the parameters drawn from the seed with those that most implementations drew."""
    if not runs:
        return InitialValues(None, {})
    usual = runs[_most_common({name: run.initial for name, run in runs.items()})].initial
    ulp = {name: agreement.ulp_summary(run.initial, usual) for name, run in runs.items()}
    return InitialValues(all(summary.identical for summary in ulp.values()), ulp)


def _final_distances(runs: dict[str, Stored], reference: Stored | None) -> FinalDistances:
    """Return ULP distances between the final float32 parameters."""
    pairs = {
        f"{a} ~ {b}": agreement.ulp_summary(runs[a].final, runs[b].final)
        for a, b in combinations(runs, 2)
    }
    to_reference: dict[str, UlpSummary] = {}
    if reference is not None:
        rounded = {name: value.astype(np.float32) for name, value in reference.final.items()}
        to_reference = {
            name: agreement.ulp_summary(run.final, rounded) for name, run in runs.items()
        }
    return FinalDistances(to_reference, pairs)


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
