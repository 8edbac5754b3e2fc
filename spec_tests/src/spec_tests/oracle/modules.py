"""The calls of the chapter nn with the numbers that they are made with, and their stored results.

``make_modules.py`` computes the results with torch.nn from the table's rows; the suite and the
judge read them. Floating numbers are multiples of 1/256, the same in both dtypes, so that one
reference in float64 serves both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from spec_tests.judge.tables import Row
from spec_tests.oracle.draws import Draws
from spec_tests.oracle.stored import load
from spec_tests.support.calls import Call, module_calls

SEED = 20261127
NAME = "modules"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ModuleCase:
    """One Module with its arguments, and one call of it, arrays in float64.

    Attributes
    ----------
    key : str
        Under which the results are stored.
    row : Row
    constructor, call : Call
    """

    key: str
    row: Row
    constructor: Call
    call: Call

    def parameters(self, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
        """Return numbers for parameters and buffers of these names and shapes, in order."""
        draws = Draws(SEED)
        drawn: Arrays = {}
        for name, shape in shapes.items():
            if name.endswith("num_batches_tracked"):
                drawn[name] = np.asarray(3)
            else:
                least = 0.25 if name.endswith("running_var") else -1.0
                drawn[name] = on_grid(draws.uniform(shape, least, 1.0, "float64"))
        return drawn

    def cotangent(self, shape: tuple[int, ...], place: int) -> np.ndarray:
        """Return the weights of the result at `place`."""
        return on_grid(Draws(SEED + 1 + place).uniform(shape, -1.0, 1.0, "float64"))


def cases(row: Row) -> Iterator[ModuleCase]:
    """Return the cases of a row."""
    for number, (constructor, call) in enumerate(module_calls(row, "float64")):
        arguments, options = call.map(_on_grid)
        key = f"{row.name}({row.inputs[number]})"
        yield ModuleCase(key, row, constructor, Call(call.text, arguments, options))


def on_grid(array: Any) -> np.ndarray:
    """Round down to multiples of 1/256."""
    return np.asarray(np.floor(256 * np.asarray(array)) / 256)


def _on_grid(leaf: Any) -> Any:
    floating = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    return on_grid(leaf) if floating else leaf


@cache
def stored() -> dict[str, dict[str, Any]]:
    """Return the results of every case: ``stored()[key]`` maps names to arrays and facts.

    Facts are ``repr``, ``attributes``, and the ``parameters`` and ``buffers``, shapes by names.
    Arrays are ``output 0`` and so on, ``gradient to NAME`` and ``second gradient to NAME`` for
    inputs (``input 0`` ...) and parameters, ``after NAME`` for what a call in training leaves in
    `state_dict`, and ``evaluated 0`` for Modules that do something else in evaluation.
    """
    file = load(NAME)
    index: dict[str, Any] = json.loads(bytes(file["index"]).decode())
    numbers, start = file["numbers"], 0
    for known in index.values():
        for name, shape in known.pop("arrays"):
            size = int(np.prod(shape))
            known[name] = numbers[start : start + size].reshape(shape)
            start += size
    return index
