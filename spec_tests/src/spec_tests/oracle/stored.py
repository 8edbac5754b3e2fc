"""Read the stored reference results."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

folder = Path(__file__).parent / "data"


@cache
def load(name: str) -> dict[str, Any]:
    """Return the reference results of one file.

    Parameters
    ----------
    name : str
        The stem of a file in ``oracle/data``, such as ``"layers"``.

    Returns
    -------
    dict
        Dicts in dicts, as the script that made the file describes them, with read-only
        ``numpy.ndarray`` leaves. Inputs have the dtype under whose name they stand; what was
        computed from them is float64 throughout.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    tree: dict[str, Any] = {}
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        for key in stored.files:
            *branches, leaf = key.split("/")
            branch = tree
            for part in branches:
                branch = branch.setdefault(part, {})
            array = stored[key]
            array.flags.writeable = False
            branch[leaf] = array
    return tree


@cache
def states() -> dict[str, Any]:
    """Return the states of optimizers that ``make_states.py`` wrote: by writer, name and dtype."""
    known: dict[str, Any] = json.loads((folder / "states.json").read_text(encoding="utf-8"))
    return known


def store(name: str, arrays: Mapping[str, Any]) -> None:
    """Write the arrays, whose keys are paths with slashes, to the file that `load` reads."""
    np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **arrays)


def record(
    name: str, script: str, content: bytes, facts: Mapping[str, Any], versions: Mapping[str, str]
) -> None:
    """Write where a file's numbers come from to ``provenance_<name>.json``.

    Parameters
    ----------
    name, script : str
        What the numbers are of, and what made them.
    content : bytes
        The numbers, of which a digest is kept.
    facts, versions : mapping
        What else there is to say, and the versions of what computed, beside Python's and NumPy's.
    """
    origin = {
        "made by": script,
        **facts,
        "python": platform.python_version(),
        "numpy": np.__version__,
        **versions,
        "machine": platform.machine(),
        "sha256 of the numbers": hashlib.sha256(content).hexdigest(),
    }
    path = folder / f"provenance_{name}.json"
    path.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
