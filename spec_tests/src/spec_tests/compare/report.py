"""Write the report: ``compare.json`` for programs, ``index.html`` for people."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from spec_tests.compare.agreement import FACTOR, FLOOR
from spec_tests.compare.findings import Agreement, Details, Reference, Report, Training
from spec_tests.compare.plots import STYLES, data_uri, deviation_figure, loss_figure
from spec_tests.compare.verdicts import FLOAT32_AGREEMENT, FLOAT64_AGREEMENT, in_digits, scientific
from spec_tests.compare.workloads import SEED, Workload
from spec_tests.judge.written import COMPARISON

__all__ = ["EMULATED", "FILTERS", "Image", "images", "summary", "title", "write_report"]

EMULATED = "CPU emulation, no GPU code ran"
TITLES = {
    "digits": "Handwritten digits, read row by row",
    "pydoc": "Python's documentation, character by character",
    "truecase": "Lines of it, given their capital letters back",
}


def write_report(out: Path, report: Report, workloads: Sequence[Workload]) -> None:
    """Write both files.

    Parameters
    ----------
    out : Path
    report : Report
        What `spec_tests.compare.results.assemble` returned, with ``provenance``.
    workloads : sequence of Workload
    """
    content = {**COMPARISON.head(), "summary": summary(report), **asdict(report)}
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    (out / "compare.json").write_text(text + "\n", encoding="utf-8")
    (out / "index.html").write_text(_page(report, workloads), encoding="utf-8")


def summary(report: Report) -> list[str]:
    """Return two sentences that say what was found."""
    names = list(report.implementations)
    asked = [verdict for verdict in report.verdicts if verdict.kept is not None]
    broken = [verdict.promise for verdict in asked if not verdict.kept]
    who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    what = f"{who} trained the same {len(report.workloads)} networks from the same seed"
    if broken:
        listed = "; ".join(promise[0].lower() + promise[1:] for promise in broken)
        count = f"{len(broken)} of {len(asked)} promises were not kept"
        return [f"{what}; {count}.", f"Not kept: {listed}."]
    unseen = " and ".join(
        f"{min(reached):.1%} to {max(reached):.1%} of unseen {things} right"
        for dataset, things in (("digits", "digits"), ("truecase", "letters' cases"))
        if (reached := _accuracies(report, dataset))
    )
    first = f"{what} and got {unseen}; all {len(asked)} promises that were asked are kept."
    single, double = (_largest(report, dtype) for dtype in ("float32", "float64"))
    if single is None or double is None:
        return [first, "There was nothing to compare their losses with."]
    second = (
        f"Over the first epoch the losses agree to {scientific(double)} in float64 and to "
        f"{scientific(single)} in float32"
    )
    if report.reference:
        second += (
            ", and no float32 curve ever leaves the torch.nn reference by more than rounding "
            "explains"
        )
    return [first, f"{second}."]


def _accuracies(report: Report, dataset: str) -> list[float]:
    return [
        training.final_accuracy
        for key, trainings in report.workloads.items()
        if key.startswith(dataset)
        for training in trainings.values()
        if training.final_accuracy is not None
    ]


def _largest(report: Report, dtype: str) -> float | None:
    largest = [agreement.losses(dtype).largest for agreement in report.agreement.values()]
    return max((value for value in largest if value is not None), default=None)


def _page(report: Report, workloads: Sequence[Workload]) -> str:
    """Render the template, which holds the page's words."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    folder = resources.files("spec_tests.compare")
    template = environment.from_string(folder.joinpath("page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        style=markupsafe.Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        report=report,
        summary=summary(report),
        sections=[_section(report, workload) for workload in workloads],
        colours={
            name: STYLES[number % len(STYLES)][0]
            for number, name in enumerate(report.implementations)
        },
        emulated=EMULATED,
        seed=SEED,
        factor=FACTOR,
        floor=scientific(FLOOR, ".1e"),
        float32_agreement=scientific(FLOAT32_AGREEMENT),
        float64_agreement=scientific(FLOAT64_AGREEMENT),
    )


@dataclass(frozen=True)
class Image:
    """A figure as the page holds it: its bytes, the text in its place, and what stands below."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """What the page shows of one workload."""

    key: str
    title: str
    workload: Workload
    network: str
    images: list[Image]
    entries: dict[str, Training]
    details: dict[str, Details]
    reference: Reference | None
    agreement: Agreement


def _section(report: Report, workload: Workload) -> Section:
    """Gather what the page shows of one workload."""
    key = workload.name
    return Section(
        key=key,
        title=title(key),
        workload=workload,
        network=network(workload),
        images=images(report, key),
        entries=report.workloads[key],
        details=report.details[key],
        reference=report.reference.get(key),
        agreement=report.agreement[key],
    )


def network(workload: Workload) -> str:
    """Return in words what is trained."""
    layers = f"{workload.num_layers} layers, " if workload.num_layers > 1 else ""
    ways = "both directions, " if workload.bidirectional else ""
    each = f" ({layers}{ways}told the lengths of its sequences)" if layers or ways else ""
    units = f"{workload.cell} of {workload.hidden_size} units{each}"
    if workload.dataset == "digits":
        return f"{units}, and a Linear from its last state to {workload.classes} classes"
    what = f"{workload.classes} " + ("characters" if workload.dataset == "pydoc" else "classes")
    return f"{units} on an Embedding of {workload.input_size}, and a Linear at every step to {what}"


def title(key: str) -> str:
    """Return what a workload is called."""
    dataset, _, cell = key.partition("_")
    return f"{TITLES.get(dataset, dataset)}: {cell.upper()}"


def images(report: Report, key: str) -> list[Image]:
    """Draw the losses of a workload, and their distances to the reference where there is one."""
    dataset = key.partition("_")[0]
    reference = report.reference.get(key)
    trainings = report.workloads[key].items()
    single = {name: training.losses for name, training in trainings if training.losses}
    if not single:
        return []
    known = reference.losses if reference else []
    per_character = dataset != "digits"
    ylabel = "loss, nats per character" if per_character else "training loss, nats"
    logarithmic = dataset != "pydoc"
    losses = Image(
        data_uri(loss_figure(single, known, ylabel, logarithmic)),
        _loss_words(key, single),
        "Training loss, mean over about 1/55 of the run. Curves that agree lie "
        "on each other; each carries its markers at steps of its own.",
    )
    if reference is None:
        return [losses]
    double = {name: report.details[key][name].float64_losses for name in single}
    distances = Image(
        data_uri(deviation_figure(single, double, reference.losses, reference.allowance)),
        _deviation_words(report.agreement[key], key),
        "Distance to the reference, the largest in each 1/55 of the run: "
        "float32 above (thick), float64 below (thin). The grey area is what float32 "
        "rounding explains; a gap is no difference at all.",
    )
    return [losses, distances]


def _loss_words(key: str, curves: dict[str, list[float]]) -> str:
    ends = ", ".join(f"{name} {_short(losses[-1])}" for name, losses in curves.items())
    first = next(iter(curves.values()))[0]
    return f"Training loss of {key} by step, from {_short(first)} at the start to: {ends}."


def _deviation_words(agreement: Agreement, key: str) -> str:
    parts = [
        f"{name} stays within it (uses {_percent(divergence.share_of_allowance)} of it at most)"
        if divergence.first_step is None
        else f"{name} leaves it at step {divergence.first_step}"
        for name, divergence in agreement.divergence.items()
    ]
    return (
        f"Distance of each loss of {key} to the reference by step, on a logarithmic scale, with "
        f"the allowance for float32 rounding: {', '.join(parts)}."
    )


def _breakable(name: str) -> markupsafe.Markup:
    """Let a browser break a name behind its underscores, where a column is narrow."""
    return markupsafe.Markup("<wbr>").join(re.split(r"(?<=_)", name))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _short(value: float | None) -> str:
    return "–" if value is None else scientific(value, ".3g")


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1e3:.0f}" if value >= 0.1 else f"{value * 1e3:.3g}"


def _mebibytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 2**20:.1f}"


def _ulp(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f} ULP" if value < 1e4 else f"{scientific(value, '.1e')} ULP"


# For templates.
FILTERS: dict[str, Callable[..., str]] = {
    "percent": _percent,
    "short": _short,
    "milliseconds": _milliseconds,
    "mebibytes": _mebibytes,
    "ulp": _ulp,
    "breakable": _breakable,
    "in_digits": in_digits,
}


def _finite(value: Any) -> Any:
    """Return the value with None where JSON has no number: NaN and infinities."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
