"""The report's figures, as SVG text, in the colours and lines of the comparison's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.arithmetic import Spread
from spec_tests.compare.plots import SETTINGS, STYLES, logarithmic, svg

__all__ = ["ratio_figure"]

WIDEST, NARROWEST, EACH = 14.0, 4.4, 0.42
HEIGHT = 3.9


def ratio_figure(rows: Sequence[str], series: Mapping[str, Sequence[Spread | None]]) -> str:
    """Draw ratios, with their quartiles, over the rows that they belong to.

    Parameters
    ----------
    rows : sequence of str
        Labels.
    series : mapping
        By name, a ratio for each row, or None where there is none.

    Returns
    -------
    str
        SVG.
    """
    with rc_context(SETTINGS):
        width = min(WIDEST, max(NARROWEST, 1.2 + EACH * len(rows)))
        # What stands under an axis takes as much as it is long.
        longest = max((len(row) for row in rows), default=0)
        figure, axes = _axes(width, HEIGHT + 0.06 * max(0, longest - 24))
        axes.axhline(1, color="#555555", linewidth=1)
        for number, (name, ratios) in enumerate(series.items()):
            shift = (number + 0.5) / len(series) - 0.5
            places = [i + 0.7 * shift for i, ratio in enumerate(ratios) if ratio]
            present = [ratio for ratio in ratios if ratio]
            colour, _, marker = STYLES[number % len(STYLES)]
            axes.errorbar(
                places,
                [ratio.median for ratio in present],
                yerr=[
                    [ratio.median - ratio.low for ratio in present],
                    [ratio.high - ratio.median for ratio in present],
                ],
                fmt=marker,
                color=colour,
                markersize=5,
                elinewidth=1.2,
                label=name,
            )
        axes.set_xticks(range(len(rows)), rows, rotation=60, ha="right", fontsize=9)
        logarithmic(axes)
        axes.set_ylabel("the peer's time over ours")
        return svg(figure, axes)


def _axes(width: float, height: float = HEIGHT) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes
