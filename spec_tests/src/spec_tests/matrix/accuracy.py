"""The page's part on accuracy: heat map, errors over lengths, accuracy beside speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spec_tests.accuracy.figures import lengths_figure, speed_figure
from spec_tests.accuracy.merge import STATISTICS, merge
from spec_tests.compare.plots import data_uri
from spec_tests.matrix.packing import packed

__all__ = ["accuracy_of"]

_FIGURES = (
    ("LSTM", "output", "LSTM: output"),
    ("LSTM", "gradient", "LSTM: gradient of the recurrent weight"),
    ("GRU", "gradient", "GRU: gradient of the recurrent weight"),
    ("RNN_tanh", "gradient", "RNN: gradient of the recurrent weight"),
)


def accuracy_of(files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the page shows of files of `spec-tests accuracy`.

    Raises
    ------
    ValueError
        If two files are of one implementation, or of different versions of the specification.
    """
    heat = merge(files)
    whole = [file for file in files if file["lengths"]]
    figures = [
        (title, data_uri(lengths_figure(whole, layer, what))) for layer, what, title in _FIGURES
    ]
    speed = ("Elementwise functions: accuracy beside speed", data_uri(speed_figure(files)))
    return {
        "heat": heat,
        "statistics": STATISTICS,
        "figures": [*(figures if whole else []), speed],
        "runs": {file["implementation"]: _run(file) for file in files},
    }


def _run(file: dict[str, Any]) -> dict[str, Any]:
    # The errors element by element would be most of the page; the file itself has them.
    functions = {
        key: {name: value for name, value in one.items() if name != "errors"}
        for key, one in file["functions"].items()
    }
    return {
        "about": file["about"],
        "started": file.get("started", ""),
        "command": " ".join(file.get("command", [])),
        "file": packed({**file, "functions": functions}),
    }
