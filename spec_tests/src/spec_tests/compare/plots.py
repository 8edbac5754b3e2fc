"""The report's figures, as SVG text."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

__all__ = [
    "SETTINGS",
    "STYLES",
    "data_uri",
    "deviation_figure",
    "framed",
    "growth_figure",
    "logarithmic",
    "loss_figure",
    "svg",
]

# Okabe and Ito's colours, which people who confuse colours can tell apart, each with a line style
# and a marker of its own, so that the figures can also be read without colour.
STYLES: tuple[tuple[str, Any, str], ...] = (
    ("#0072B2", "-", "o"),
    ("#D55E00", (0, (6, 2)), "s"),
    ("#009E73", (0, (6, 2, 1, 2)), "^"),
    ("#B0448C", (0, (1.5, 1.5)), "D"),
    ("#56B4E9", (0, (8, 2, 1, 2, 1, 2)), "v"),
    ("#8A6D00", (0, (3, 1)), "P"),
)
SETTINGS: Any = {
    "svg.fonttype": "none",
    # Without it the names of a figure's parts are drawn anew in every run.
    "svg.hashsalt": "spec-tests",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": "#333333",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "legend.columnspacing": 1.2,
}
SIZE = (5.4, 3.7)
POINTS = 55
SMALLEST = 1e-18


def loss_figure(
    curves: Mapping[str, Sequence[float]], reference: Sequence[float], ylabel: str, log: bool
) -> str:
    """Draw the training loss of all implementations over the reference's.

    Parameters
    ----------
    curves : mapping
        Losses, one a step, by implementation.
    reference : sequence of float
        Empty if there is none.
    ylabel : str
    log : bool
        Whether the loss's axis is logarithmic.

    Returns
    -------
    str
        SVG.
    """
    with rc_context(SETTINGS):
        figure, axes = framed(ylabel)
        if len(reference):
            axes.plot(
                *_binned(reference, np.mean),
                color="#BBBBBB",
                linewidth=7,
                solid_capstyle="round",
                label="torch.nn, float64",
            )
        for number, (name, losses) in enumerate(curves.items()):
            colour, dashes, marker = STYLES[number % len(STYLES)]
            steps, values = _binned(losses, np.mean)
            # Right curves lie on each other: each shows its marker at points of its own.
            axes.plot(
                steps,
                values,
                color=colour,
                linestyle=dashes,
                linewidth=1.6,
                marker=marker,
                markersize=5,
                markevery=(2 * number, 2 * len(curves)),
                label=name,
            )
        if log:
            logarithmic(axes)
        return svg(figure, axes)


def deviation_figure(
    single: Mapping[str, Sequence[float]],
    double: Mapping[str, Sequence[float]],
    reference: Sequence[float],
    allowance: Sequence[float],
) -> str:
    """Draw how far each loss is from the reference, with what rounding explains.

    Parameters
    ----------
    single, double : mapping
        Losses in float32 and float64 by implementation; the float64 ones may be shorter.
    reference, allowance : sequence of float

    Returns
    -------
    str
        SVG.
    """
    known = np.asarray(reference)
    with rc_context(SETTINGS):
        figure, axes = framed("|loss − reference|")
        steps, allowed = _binned(allowance, np.min)
        axes.fill_between(steps, allowed, SMALLEST, color="#EEEEEE", linewidth=0)
        axes.plot(steps, allowed, color="#555555", linewidth=1, label="float32 allowance")
        lowest = float(np.min(allowed))
        for number, name in enumerate(single):
            colour, dashes, marker = STYLES[number % len(STYLES)]
            place = (2 * number, 2 * len(single))
            both = ((single[name], name, 1.6), (double.get(name, []), "", 0.9))
            for losses, label, width in both:
                if not len(losses):
                    continue
                distance = np.abs(np.asarray(losses) - known[: len(losses)])
                at, values = _binned(distance, np.max, len(known))
                lowest = min(lowest, float(np.min(values[values > 0], initial=lowest)))
                axes.plot(
                    at,
                    np.where(values > 0, values, np.nan),
                    color=colour,
                    linestyle=dashes,
                    linewidth=width,
                    marker=marker,
                    markersize=5 if label else 3,
                    markevery=place,
                    label=label or None,
                )
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(lowest / 3, SMALLEST))
        return svg(figure, axes)


def growth_figure(
    xlabel: str,
    ylabel: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    root: bool = False,
) -> str:
    """Draw times or bytes over a size, both logarithmic, and a line that grows as the size does.

    Parameters
    ----------
    xlabel, ylabel : str
    series : mapping
        By name, sizes and values.
    root : bool
        Whether another line grows as the size's square root, from the last series.

    Returns
    -------
    str
        SVG.
    """
    with rc_context(SETTINGS):
        figure, axes = framed(ylabel, xlabel)
        for number, (name, (sizes, values)) in enumerate(series.items()):
            colour, dashes, marker = STYLES[number % len(STYLES)]
            line = {"color": colour, "linestyle": dashes, "marker": marker}
            axes.plot(sizes, values, markersize=5, linewidth=1.6, label=name, **line)
        sizes, values = next(iter(series.values()))
        linear = [values[-1] * size / sizes[-1] for size in sizes]
        axes.plot(sizes, linear, color="#999999", linewidth=1, linestyle=":", label="linear")
        if root:
            last, values = list(series.values())[-1]
            grown = [values[-1] * (size / last[-1]) ** 0.5 for size in sizes]
            axes.plot(sizes, grown, color="#999999", linewidth=1, linestyle="-.", label="root")
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.minorticks_off()
        logarithmic(axes)
        return svg(figure, axes)


def framed(ylabel: str, xlabel: str = "step", grid: Any = "y") -> tuple[Figure, Any]:
    """Return an empty figure and its axes, with grid lines along "x", "y" or "both"."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(axis=grid, color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _binned(
    values: Sequence[float] | np.ndarray, reduce: Any, steps: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the last step of each bin, and its values reduced to one.

    There are `POINTS` bins in ``steps``, by default the number of values.
    """
    array = np.asarray(values, dtype=np.float64)
    steps = steps or len(array)
    every = np.linspace(0, steps, min(POINTS, steps) + 1).astype(int)
    edges = np.unique(np.minimum(every, len(array)))
    reduced = [reduce(array[a:b]) for a, b in pairwise(edges)]
    return edges[1:], np.array(reduced)


def logarithmic(axes: Any) -> None:
    """Make the vertical axis logarithmic, with labels that are plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(_sparse)


def _sparse(value: float, _position: int) -> str:
    """Label 2 and 5 of each decade, so that an axis of less than a decade has labels."""
    leading = value / 10 ** np.floor(np.log10(value))
    return f"{value:g}" if round(leading, 3) in (2, 5) else ""


def svg(figure: Figure, axes: Any) -> str:
    """Return a figure as SVG text, the legend above it; the same text in every run."""
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=10
    )
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def data_uri(picture: str) -> str:
    """Return SVG text as an address that holds it, for a page that is one file."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()
