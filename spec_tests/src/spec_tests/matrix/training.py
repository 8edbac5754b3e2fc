"""The page's part on training: loss curves, accuracy, time and memory of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spec_tests.compare.findings import Report
from spec_tests.compare.report import EMULATED, images, summary, title
from spec_tests.matrix.packing import packed

__all__ = ["training_of"]


def training_of(content: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Return what the page shows of a comparison.

    Parameters
    ----------
    content : mapping
        Of ``compare.json``, which the page holds whole.
    report : Report
        What `spec_tests.compare.reading.read` made of it.
    """
    figures = {key: images(report, key) for key in report.workloads}
    emulated = [name for name, one in report.implementations.items() if one.emulated]
    return {
        "report": report,
        "summary": " ".join(summary(report)),
        "kept": all(verdict.kept is not False for verdict in report.verdicts),
        "marks": [f"{name}: {EMULATED}" for name in emulated],
        "emulated": EMULATED,
        "titles": {key: title(key) for key in figures},
        "figures": figures,
        # How figures are read is the same for every workload.
        "reading": list(dict.fromkeys(one.caption for drawn in figures.values() for one in drawn)),
        "file": packed(content),
    }
