"""Each option of recurrent layers as two functions of the same leaves: the layer, the equations.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden, ``P`` what is projected, ``L`` layers,
``D`` directions. A leaf is the input ``x``, a state ``h0`` or ``c0``, or a parameter under the name
that a layer has for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from spec_tests.oracle import Draws
from spec_tests.support.inputs import normal

T, N, I, H, P = 4, 3, 3, 3, 2  # noqa: E741 - the letters of the chapter
SEED, DROPOUT = 23, 0.25
# A length past which there is padding, the whole, and one step.
ENDS = (2, 4, 1)
MASK = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0]], bool)
GATES = {"RNN_tanh": 1, "RNN_relu": 1, "LSTM": 4, "GRU": 3}
Leaves = dict[str, Any]
_MADE: dict[str, dict[str, Any]] = {
    "bias=False": {"bias": False},
    "batch_first": {"batch_first": True},
    "num_layers=2": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "two of both": {"num_layers": 2, "bidirectional": True},
    "dropout": {"num_layers": 2, "dropout": DROPOUT},
    "proj_size": {"proj_size": P},
}


@dataclass(frozen=True)
class Case:
    """An option of one layer, also with `lengths`, and with `resets` beside them."""

    layer: str
    option: str
    lengths: bool = False
    resets: bool = False

    @property
    def made(self) -> dict[str, Any]:
        """Return the options that the layer is made with."""
        return _MADE.get(self.option, {})

    @property
    def out(self) -> int:
        """Return how many numbers h has."""
        return int(self.made.get("proj_size", H))

    @property
    def directions(self) -> int:
        """Return D."""
        return 1 + self.made.get("bidirectional", False)

    @property
    def count(self) -> int:
        """Return L D."""
        return int(self.made.get("num_layers", 1)) * self.directions

    @property
    def batch(self) -> int:
        """Return N."""
        return 1 if self.option == "one sample" else N

    @property
    def steps(self) -> int:
        """Return T."""
        return 1 if self.option == "cell" else T

    @property
    def over_cell(self) -> bool:
        """Whether it is a cell that is called, once or by `unroll`."""
        return self.option == "cell" or self.option.startswith("unroll")

    @cached_property
    def ends(self) -> np.ndarray:
        """Return how many steps each sequence has, (N,)."""
        cut = self.lengths or self.option in ("lengths", "packed")
        return np.array(ENDS[: self.batch] if cut else (self.steps,) * self.batch)

    @cached_property
    def marks(self) -> np.ndarray:
        """Return where an episode begins, (T, N)."""
        asked = self.resets or self.option == "reset_mask"
        return MASK[: self.steps, : self.batch] & asked

    def drawn(self) -> dict[str, np.ndarray]:
        """Return the leaves in float64."""
        rows, shapes = GATES[self.layer] * H, {"x": self.laid_out((self.steps, self.batch, I))}
        if self.option == "hx" or self.over_cell:
            first = () if self.over_cell else (self.count,)
            shapes["h0"] = (*first, self.batch, self.out)
            if self.layer == "LSTM":
                shapes["c0"] = (*first, self.batch, H)
        for k in range(self.count):
            layer, turned = divmod(k, self.directions)
            width = self.directions * self.out if layer else I
            end = f"_l{layer}" + "_reverse" * turned
            shapes[f"weight_ih{end}"], shapes[f"weight_hh{end}"] = (rows, width), (rows, self.out)
            if self.made.get("bias", True):
                shapes[f"bias_ih{end}"] = shapes[f"bias_hh{end}"] = (rows,)
            if "proj_size" in self.made:
                shapes[f"weight_hr{end}"] = (P, H)
        return {
            name: normal(shape, "float64", seed=seed) * (1.0 if name in ("x", "h0", "c0") else 0.5)
            for seed, (name, shape) in enumerate(shapes.items())
        }

    def laid_out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that an array (T, N, ...) has in the layout of the call."""
        if self.option == "batch_first":
            return (shape[1], shape[0], *shape[2:])
        if self.option in ("one sample", "cell"):
            return tuple(size for axis, size in enumerate(shape) if axis != (self.option != "cell"))
        return shape


def module_of(nn: Any, case: Case, dtype: str) -> Any:
    """Return what the case calls: a layer, a cell, or a Module that runs one by `unroll`."""
    name, _, kind = case.layer.partition("_")
    options: dict[str, Any] = {"dtype": getattr(nn, dtype)}
    if kind:
        options["nonlinearity"] = kind
    if not case.over_cell:
        return getattr(nn, name)(I, H, **case.made, **options)
    cell = getattr(nn, f"{name}Cell")(I, H, **options)
    return cell if case.option == "cell" else _unrolled(nn, case, cell)


def _unrolled(nn: Any, case: Case, cell: Any) -> Any:
    """Return a Module that runs a cell over a sequence; its parameters are the cell's."""

    class Users(nn.Module):
        """A cell that says nothing of its parts."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = cell

        def forward(self, x: Any, state: Any) -> Any:
            return self.inner(x, state)

    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Users() if case.option == "unroll" else cell

        def forward(self, x: Any, hx: Any, **options: Any) -> Any:
            if case.option == "unroll checkpoint":
                options["checkpoint"] = "sqrt"
            return nn.rnn.unroll(self.cell, x, hx, **options)

    return Unrolled()


def of_module(nn: Any, case: Case, module: Any) -> Callable[[Leaves], Leaves]:
    """Return what calls the case's Module with leaves and names what comes."""
    names = [name for name, _ in module.named_parameters()]
    options: dict[str, Any] = {}
    if case.lengths or case.resets or case.option == "lengths":
        options["lengths"] = int(case.ends[0]) if case.option == "one sample" else case.ends
    if case.marks.any():
        marks = case.marks.T if case.option == "batch_first" else case.marks
        options["reset_mask"] = marks[:, 0] if case.option == "one sample" else marks
    if case.option == "return_cell_states":
        options["return_cell_states"] = True

    def call(leaves: Leaves) -> Leaves:
        own = [leaf for name, leaf in leaves.items() if name not in ("x", "h0", "c0")]
        states = tuple(leaves[name] for name in ("h0", "c0") if name in leaves)
        hx = states if len(states) > 1 else states[0] if states else None
        given = leaves["x"]
        if case.option == "packed":
            given = nn.rnn.pack(given, case.ends)
        params = dict(zip(names, own, strict=True))
        found = nn.functional_call(module, params, given, hx, **options)
        if case.option == "cell":
            return _states(found)
        output, last, *cells = found
        if case.option == "packed":
            output = nn.rnn.unpack(output)[0]
        return {"output": output, **_states(last), **({"cells": cells[0]} if cells else {})}

    return call


def _states(last: Any) -> Leaves:
    return dict(zip(("h_n", "c_n"), last if isinstance(last, tuple) else (last,), strict=False))


def of_equations(nn: Any, case: Case) -> Callable[[Leaves], Leaves]:
    """Return what computes from leaves by the equations of the chapter, step by step."""

    def call(leaves: Leaves) -> Leaves:
        return _Composition(nn, case, leaves).outputs()

    return call


class _Composition:
    """Layers, directions and steps in loops; ``where`` says which sequences have a step."""

    def __init__(self, nn: Any, case: Case, leaves: Leaves) -> None:
        self.nn, self.case, self.leaves = nn, case, leaves
        self.running = np.arange(case.steps)[:, None] < case.ends

    def outputs(self) -> Leaves:
        """Return what the call of the case returns, by name."""
        nn, case, x = self.nn, self.case, self.leaves["x"]
        if case.option in ("one sample", "cell"):
            x = nn.ops.expand_dims(x, axis=int(case.option != "cell"))
        elif case.option == "batch_first":
            x = nn.ops.permute_dims(x, (1, 0, 2))
        masks, last, cells = Draws(SEED), [], x
        for place in range(0, case.count, case.directions):
            if place and case.option == "dropout":
                units = masks.units(prod(x.shape)).reshape(x.shape)
                x = nn.ops.where(nn.tensor(units >= DROPOUT), x / (1 - DROPOUT), x * 0)
            ways = [self.direction(x, k, bool(k - place)) for k in self.places(place)]
            last += [state for *_, state in ways]
            x, cells = (nn.ops.concat([way[i] for way in ways], axis=-1) for i in (0, 1))
        found = {"output": self.as_called(x)}
        for i, name in enumerate(("h_n", "c_n")[: len(last[0])]):
            states = nn.ops.stack([state[i] for state in last])
            found[name] = states[0] if case.over_cell else states
            if case.option == "one sample":
                found[name] = states[:, 0]
        if case.option == "cell":
            del found["output"]
        if case.option == "return_cell_states":
            found["cells"] = cells
        return found

    def places(self, place: int) -> range:
        """Return the places of the directions of a layer."""
        return range(place, place + self.case.directions)

    def as_called(self, x: Any) -> Any:
        """Return (T, N, ...) in the layout of the call."""
        if self.case.option == "batch_first":
            return self.nn.ops.permute_dims(x, (1, 0, 2))
        return x[:, 0] if self.case.option == "one sample" else x

    def first(self, k: int, dtype: Any) -> list[Any]:
        """Return the states that a layer and direction begins with."""
        sizes = (self.case.out, H)[: 1 + (self.case.layer == "LSTM")]
        found = []
        for name, size in zip(("h0", "c0"), sizes, strict=False):
            zeros = self.nn.zeros((self.case.batch, size), dtype=dtype)
            state = self.leaves.get(name)
            found.append(zeros if state is None else state if self.case.over_cell else state[k])
        return found

    def direction(self, x: Any, k: int, turned: bool) -> tuple[Any, Any, list[Any]]:
        """Return output and last state of every step, (T, N, ...), and the final states."""
        nn = self.nn
        layer, reverse = divmod(k, self.case.directions)
        end = f"_l{layer}" + "_reverse" * reverse
        own = {n.removesuffix(end): p for n, p in self.leaves.items() if n.endswith(end)}
        state = self.first(k, x.dtype)
        outputs, cells = [], []
        steps = range(self.case.steps)
        for t in reversed(steps) if turned else steps:
            runs = nn.tensor(self.running[t][:, None])
            anew = self.anew(t, turned)
            if anew.any():
                here = nn.tensor(anew[:, None])
                state = [nn.ops.where(here, s * 0, s) for s in state]
            value = nn.ops.where(runs, x[t], x[t] * 0)
            new = self.step(own, value, state)
            state = [nn.ops.where(runs, n, s) for n, s in zip(new, state, strict=True)]
            zeros = [nn.ops.where(runs, s, s * 0) for s in (state[0], state[-1])]
            outputs.append(zeros[0])
            cells.append(zeros[1])
        order = slice(None, None, -1) if turned else slice(None)
        return nn.ops.stack(outputs[order]), nn.ops.stack(cells[order]), state

    def anew(self, t: int, turned: bool) -> np.ndarray:
        """Return which sequences begin an episode with step t, in the order of a direction."""
        marks = self.case.marks & self.running
        if not turned:
            return marks[t]
        # Seen from the end, another episode begins once the marked step has been taken.
        return marks[t + 1] if t + 1 < len(marks) else np.zeros_like(marks[t])

    def step(self, own: Leaves, x: Any, state: list[Any]) -> list[Any]:
        """Return the states after a step."""
        ops, layer, h = self.nn.ops, self.case.layer, state[0]
        a, b = x @ own["weight_ih"].T, h @ own["weight_hh"].T
        if "bias_ih" in own:
            a, b = a + own["bias_ih"], b + own["bias_hh"]
        parts = [slice(H * i, H * (i + 1)) for i in range(GATES[layer])]
        if layer == "GRU":
            r, z = (ops.sigmoid(a[:, part] + b[:, part]) for part in parts[:2])
            n = ops.tanh(a[:, parts[2]] + r * b[:, parts[2]])
            return [(1 - z) * n + z * h]
        if layer == "LSTM":
            i, f, g, o = (a[:, part] + b[:, part] for part in parts)
            c = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
            h = ops.sigmoid(o) * ops.tanh(c)
            return [h @ own["weight_hr"].T if "weight_hr" in own else h, c]
        return [(ops.relu if layer == "RNN_relu" else ops.tanh)(a + b)]
