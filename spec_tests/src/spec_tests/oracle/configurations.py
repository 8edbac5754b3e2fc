"""Configurations of recurrent layers, and the numbers each is called with.

``make_recurrent.py`` computes their results with torch.nn; the suite reads them. Whatever is drawn
is a multiple of 1/64, the same number in both dtypes, so that one reference in float64 serves both.
I and H are equal, so that a backend that compiles for every shape compiles less: other tests have
sizes that differ.

T steps, N batch, I input size, H hidden size, P size of a projection, L layers, D directions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np

from spec_tests.oracle.draws import Draws

T, N, I, H, P = 4, 3, 3, 3, 2  # noqa: E741 - the letters of the rnn chapter
COUNT, SEED = 408, 20261127
CELLS = {"RNN_tanh": 1, "RNN_relu": 1, "GRU": 3, "LSTM": 4, "LSTM_projected": 4}

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Configuration:
    """One layer with its options, and one call of it."""

    number: int
    cell: str
    num_layers: int
    bidirectional: bool
    bias: bool
    layout: str
    dropout: float
    lengths: tuple[int, ...] | None
    # Whether the second derivative is asked for.
    penalised: bool = False

    @property
    def constructor(self) -> tuple[str, dict[str, Any]]:
        """Return the layer's class and its options by name."""
        name, _, kind = self.cell.partition("_")
        options: dict[str, Any] = {
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "bias": self.bias,
            "batch_first": self.layout == "batch first",
            "dropout": self.dropout,
        }
        if name == "RNN":
            options["nonlinearity"] = kind
        elif kind:
            options["proj_size"] = P
        return name, options

    @property
    def options(self) -> list[str]:
        """Return what differs from a plain layer, by which errors are told."""
        said = {
            f"{self.num_layers} layers": self.num_layers > 1,
            "both directions": self.bidirectional,
            "no bias": not self.bias,
            self.layout: self.layout != "time first",
            "dropout": self.dropout > 0,
            "projection": self.cell == "LSTM_projected",
            "lengths": self.lengths is not None,
        }
        return [
            self.cell.partition("_projected")[0],
            *(name for name, is_so in said.items() if is_so),
        ]

    @property
    def directions(self) -> int:
        """Return D."""
        return 1 + self.bidirectional

    @property
    def batch(self) -> tuple[int, ...]:
        """Return the batch axis, if there is one."""
        return () if self.layout == "one sample" else (N,)

    @property
    def out(self) -> int:
        """Return how many numbers h has."""
        return P if self.cell == "LSTM_projected" else H

    def sequence(self, size: int) -> tuple[int, ...]:
        """Return the shape of what has `size` numbers at every step."""
        return (N, T, size) if self.layout == "batch first" else (T, *self.batch, size)

    @cached_property
    def parameters(self) -> Shapes:
        """Return the shape of every parameter, in order."""
        rows = CELLS[self.cell] * H
        shapes: Shapes = {}
        for layer, end in itertools.product(
            range(self.num_layers), ("", "_reverse")[: self.directions]
        ):
            width = self.directions * self.out if layer else I
            own: Shapes = {"weight_ih": (rows, width), "weight_hh": (rows, self.out)}
            if self.bias:
                own |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if self.cell == "LSTM_projected":
                own["weight_hr"] = (P, H)
            shapes |= {f"{name}_l{layer}{end}": shape for name, shape in own.items()}
        return shapes

    @property
    def states(self) -> Shapes:
        """Return the shapes of h and, for LSTM, c."""
        first = (self.num_layers * self.directions, *self.batch)
        shapes: Shapes = {"h": (*first, self.out)}
        return shapes | ({"c": (*first, H)} if self.cell.startswith("LSTM") else {})

    @property
    def inputs(self) -> Shapes:
        """Return the shapes of what the layer is called with: x and the states."""
        return {"x": self.sequence(I), **{f"{key}0": own for key, own in self.states.items()}}

    @property
    def outputs(self) -> Shapes:
        """Return the shapes of what the layer returns."""
        last = {f"{key}_n": shape for key, shape in self.states.items()}
        return {"output": self.sequence(self.directions * self.out), **last}

    @property
    def results(self) -> Shapes:
        """Return the shapes of what is stored, in order: values, first and second gradients."""
        slopes = self.inputs | self.parameters
        shapes = self.outputs | {f"gradient to {key}": shape for key, shape in slopes.items()}
        if self.penalised:
            seconds = {f"second gradient to {key}": shape for key, shape in slopes.items()}
            shapes |= {"penalty": (), **seconds}
        return shapes

    @property
    def running(self) -> np.ndarray:
        """Say which steps a sequence has: booleans in the layout of the input, (T, N) or ..."""
        ends = np.array(self.lengths or (T,) * prod(self.batch)).reshape(self.batch)
        mask = np.arange(T).reshape(T, *(1 for _ in self.batch)) < ends
        return mask.T if self.layout == "batch first" else mask

    def drawn(self) -> dict[str, np.ndarray]:
        """Return inputs, parameters and cotangents (named as the outputs) in float64."""
        draws = Draws(SEED + 1 + self.number)
        ranges = {key: (shape, 1.5) for key, shape in (self.inputs | self.outputs).items()}
        ranges |= {key: (shape, 0.75) for key, shape in self.parameters.items()}
        return {
            key: np.floor(64 * draws.uniform(shape, -most, most, "float64")) / 64
            for key, (shape, most) in ranges.items()
        }

    def masks(self) -> list[np.ndarray]:
        """Return which elements dropout keeps between layers, each (T, N, D P), for one seed."""
        draws, width = Draws(self.number), self.directions * self.out
        shape = (T, prod(self.batch), width)
        layers = self.num_layers - 1 if self.dropout else 0
        return [draws.units(prod(shape)).reshape(shape) >= self.dropout for _ in range(layers)]


def sensible(layers: int, _both: bool, bias: bool, layout: str, dropout: float, _cut: bool) -> bool:
    """Leave out dropout without a layer above, and one sample without biases."""
    return (layers > 1 or not dropout) and (bias or layout != "one sample")


@cache
def configurations() -> tuple[Configuration, ...]:
    """Return the configurations: drawn without repetition from all combinations of options."""
    grid = [
        combination
        for combination in itertools.product(
            CELLS,
            (1, 2, 3),
            (False, True),
            (True, False),
            ("time first", "batch first", "one sample"),
            (0.0, 0.25),
            (False, True),
        )
        if sensible(*combination[1:])
    ]
    draws = Draws(SEED)
    chosen = np.sort(np.argsort(draws.units(len(grid)))[:COUNT])
    made, groups = [], set()
    for number, place in enumerate(chosen):
        cell, layers, both, bias, layout, dropout, cut = grid[place]
        count = 1 if layout == "one sample" else N
        ends = tuple(int(end) for end in draws.units(count) * (T + 1)) if cut else None
        # The first one of its kind, and some more.
        group = (cell, layers, both, cut)
        twice = group not in groups or number % 7 == 0
        groups.add(group)
        options = (cell, layers, both, bias, layout, dropout)
        made.append(Configuration(number, *options, lengths=ends, penalised=twice))
    return tuple(made)
