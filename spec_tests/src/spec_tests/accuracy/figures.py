"""Figures of the page: errors over the length of a sequence, and accuracy beside speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context

from spec_tests.compare.plots import SETTINGS, STYLES, framed, svg

__all__ = ["lengths_figure", "speed_figure"]


def lengths_figure(files: Sequence[dict[str, Any]], layer: str, what: str) -> str:
    """Draw the largest error of a layer over the number of steps, a line an implementation.

    Parameters
    ----------
    files : sequence of dict
        Of `spec-tests accuracy`.
    layer, what : str
        As in their ``lengths``: ``"LSTM"`` and ``"output"`` or ``"gradient"``.

    Returns
    -------
    str
        SVG.
    """
    with rc_context(SETTINGS):
        figure, axes = framed("largest error, eps of float32", "steps", "both")
        for number, file in enumerate(files):
            errors = file["lengths"].get(layer, {}).get(what, [])
            colour, dashes, marker = STYLES[number % len(STYLES)]
            axes.plot(
                file["steps"][: len(errors)],
                errors,
                color=colour,
                linestyle=dashes,
                marker=marker,
                markersize=5,
                linewidth=1.6,
                label=file["implementation"],
            )
        axes.set_xscale("log", base=4)
        axes.set_yscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        return svg(figure, axes)


def speed_figure(files: Sequence[dict[str, Any]]) -> str:
    """Draw every elementwise function by nanoseconds an element and its error at 99.9%."""
    with rc_context(SETTINGS):
        figure, axes = framed(
            "error at 99.9%, units in the last place", "nanoseconds an element", "both"
        )
        for number, file in enumerate(files):
            colour, _, marker = STYLES[number % len(STYLES)]
            points = [
                # Exact functions stand on the lower edge.
                (one["nanoseconds"], max(one["ulp"][1], 0.05))
                for one in file["functions"].values()
                if one.get("nanoseconds")
            ]
            axes.scatter(
                [point[0] for point in points],
                [point[1] for point in points],
                s=22,
                marker=marker,
                facecolor="none",
                edgecolor=colour,
                linewidth=1.2,
                label=file["implementation"],
            )
        axes.set_xscale("log")
        axes.set_yscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        return svg(figure, axes)
