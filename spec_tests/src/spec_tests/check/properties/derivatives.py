"""Whether backward is the derivative of forward, element by element."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from spec_tests.check.ladder import Slopes, order, slopes
from spec_tests.check.properties.case import (
    Case,
    NotAsked,
    Property,
    Wrong,
    listed,
    shown,
)

# So many elements of an input and of an output are looked at one by one.
_ELEMENTS = 24
# What two float64 derivatives may differ by, relative to the largest; float32 has what it has.
APART = {np.dtype("float64"): 1e-8, np.dtype("float32"): 2e-3}


@dataclass
class Jacobian:
    """The derivative of the outputs by an input, from both sides, element by element."""

    place: int
    elements: list[tuple[int, ...]]
    forward: Slopes
    backward: np.ndarray
    missing: bool

    def wrong(self, dtype: Any) -> np.ndarray:
        """Return where backward is not what forward's differences say."""
        want, errors = self.forward.values, self.forward.errors
        usable = ~self.forward.kinked & ~self.forward.scattered
        scale = float(np.max(np.abs(want[usable]), initial=0.0))
        allowed = APART[np.dtype(dtype)] * (np.abs(want) + scale) + 10 * errors + 1e-12
        off = ~(np.abs(self.backward - want) <= allowed)
        return usable & off

    def moves(self, dtype: Any) -> bool:
        """Whether the function moves with this input at all, where that can be told."""
        usable = ~self.forward.kinked & ~self.forward.scattered
        size = np.abs(self.forward.values) - 10 * self.forward.errors
        return bool(np.any(usable & (size > APART[np.dtype(dtype)])))


def jacobians(case: Case, seed: int) -> tuple[list[Any], list[tuple[int, Any]], list[Jacobian]]:
    """Return the inputs, the outputs' elements looked at, and a Jacobian for each input."""
    key = "jacobians", seed
    if key not in case.found:
        case.found[key] = _jacobians(case, seed)
    return case.found[key]


def _jacobians(case: Case, seed: int) -> tuple[list[Any], list[tuple[int, Any]], list[Jacobian]]:
    values = case.values(seed)
    made = case.apply(values)
    ends = [(k, i) for k in case.floats(made) for i in _some(made.outputs[k].shape, seed)]
    rows = []
    for k, index in ends:
        one_hot = [np.zeros_like(y) for y in made.outputs]
        one_hot[k][index] = 1
        rows.append(made.pull(one_hot))
    tables = []
    for place in case.places:
        elements = _some(values[place].shape, seed)
        curves = [_line(case, values, place, element, ends) for element in elements]
        found = [slopes(curve) for curve in curves]
        shape = (len(elements), len(ends))
        joined = Slopes(
            np.array([s.values for s in found]).reshape(shape),
            np.array([s.errors for s in found]).reshape(shape),
            np.array([s.kinked for s in found], bool).reshape(shape),
        )
        got = np.zeros(shape)
        for column, row in enumerate(rows):
            slope = row[place]
            if slope is not None:
                same_shape(place, slope, values[place])
                got[:, column] = [slope[element] for element in elements]
        missing = all(row[place] is None for row in rows)
        tables.append(Jacobian(place, elements, joined, got, missing))
    return values, ends, tables


def _some(shape: tuple[int, ...], seed: int) -> list[tuple[int, ...]]:
    every = list(np.ndindex(*shape))
    if len(every) <= _ELEMENTS:
        return every
    chosen = np.random.default_rng(300 + seed).choice(len(every), _ELEMENTS, replace=False)
    return [every[k] for k in sorted({0, len(every) - 1, *map(int, chosen)})]


def _line(case: Case, values: list[Any], place: int, element: tuple[int, ...], ends: Any) -> Any:
    """Return the outputs' elements as a function of the step of one element of an input."""

    def curve(step: float) -> np.ndarray:
        moved = list(values)
        moved[place] = np.array(values[place])
        moved[place][element] += step
        with np.errstate(all="ignore"):
            outputs = case.apply(moved, [False] * len(values)).outputs
        return np.array([outputs[k][index] for k, index in ends], np.float64)

    return curve


def same_shape(place: int, got: np.ndarray, x: np.ndarray) -> None:
    """Refuse a gradient of another shape than its input."""
    if got.shape != x.shape:
        says = (
            f"backward is wrong: the gradient of input {place} has the shape {got.shape}, and the "
            f"input {x.shape}"
        )
        raise Wrong(says)


def first(case: Case) -> str:
    """Compare the Jacobian of backward with the differences of forward, element by element."""
    best = np.inf
    for seed in (0, 1):
        values, ends, tables = jacobians(case, seed)
        for table in tables:
            _consistent(table, values, ends)
            off = table.wrong(values[table.place].dtype)
            if np.any(off):
                raise _wrong_first(case, values, ends, table, off)
            if table.elements and ends:
                curve = _line(case, values, table.place, table.elements[0], ends)
                found = order(curve, table.backward[0])
                best = min(best, found)
    return f"Taylor remainder: {_order(best)}"


def _order(number: float) -> str:
    return "none" if not np.isfinite(number) else f"order {number:.1f}"


def _consistent(table: Jacobian, values: list[Any], ends: list[tuple[int, Any]]) -> None:
    scattered = table.forward.scattered
    if np.any(scattered):
        row, column = np.argwhere(scattered)[0]
        k, index = ends[column]
        says = (
            f"forward disagrees with itself: differences of output {k}{list(index)} by input "
            f"{table.place}{list(table.elements[row])} agree at no step, so that it has no slope; "
            "is it random, rounded, or full of jumps?"
        )
        body = (
            f"values = {listed(values)}\ndef f(t):\n    moved = [np.array(v) if isinstance(v, "
            f"np.ndarray) else v for v in values]\n    moved[{table.place}]"
            f"[{table.elements[row]}] += t\n    return float(forward(moved)[{k}][{index}])\n"
            "runs = [[(f(4.0**-k) - f(-(4.0**-k))) / (2 * 4.0**-k) for k in range(3, 9)]"
            " for _ in range(5)]\n"
            "print(runs)\n"
            "apart = max(abs(a - b) for run in runs for a, b in zip(run, run[1:]))\n"
            "assert apart < 0.1 * max(1, abs(runs[0][-1])), 'differences agree at no step'"
        )
        raise Wrong(says, body)


def _wrong_first(
    case: Case, values: list[Any], ends: list[tuple[int, Any]], table: Jacobian, off: np.ndarray
) -> Wrong:
    size = np.where(off, np.abs(table.backward - table.forward.values), -1.0)
    size = np.nan_to_num(size, nan=np.inf)
    row, column = (int(n) for n in np.unravel_index(int(np.argmax(size)), size.shape))
    k, index = ends[column]
    element = table.elements[row]
    got, want = float(table.backward[row, column]), float(table.forward.values[row, column])
    curve = _line(case, values, table.place, element, [ends[column]])
    says = (
        f"backward is wrong: d output {k}{list(index)} / d input {table.place}{list(element)} is "
        f"{got:.9g} by backward and {want:.9g} by the differences of forward, which agree with "
        f"themselves to {float(table.forward.errors[row, column]):.1g}; Taylor remainder: "
        f"{_order(order(curve, np.array([got])))} with the one, "
        f"{_order(order(curve, np.array([want])))} with the other"
    )
    outputs = case.apply(values).outputs
    body = (
        f"values = {listed(values)}\ncotangents = [np.zeros_like(y) for y in forward(values)]\n"
        f"cotangents[{k}][{index}] = 1\ngot = gradients(values, cotangents)[{table.place}]\n"
        f"got = 0.0 if got is None else got[{element}]\n\n\ndef f(t):\n    moved = list(values)\n"
        f"    moved[{table.place}] = np.array(values[{table.place}])\n"
        f"    moved[{table.place}][{element}] += t\n    return "
        f"float(forward(moved)[{k}][{index}])\n\n\n"
        f"t = {step_of(outputs[k].dtype)}\nwant = (f(t) - f(-t)) / (2 * t)\n"
        "print('backward gives', got, 'and differences of forward give', want)\n"
        f"assert abs(got - want) < {half(got, want)!r}, 'the first derivative is wrong'"
    )
    return Wrong(says, body)


def step_of(dtype: Any) -> str:
    """Return the step of the differences in a script."""
    return "2.0**-16" if np.dtype(dtype).itemsize == 8 else "2.0**-7"


def half(got: float, want: float) -> float:
    """Return what a right result is off by at most, and a wrong one by more."""
    off = abs(got - want) / 2
    return float(off) if np.isfinite(off) else 1.0


def zero(case: Case) -> str:
    """A gradient that is zero, or missing, where the function moves is wrong."""
    values, ends, tables = jacobians(case, 0)
    if not ends:
        raise NotAsked("no output is floating")
    for table in tables:
        flat = table.missing or not np.any(table.backward)
        if flat and table.moves(values[table.place].dtype):
            size = np.where(table.forward.kinked | table.forward.scattered, 0, table.forward.values)
            row, column = (
                int(n) for n in np.unravel_index(int(np.argmax(np.abs(size))), size.shape)
            )
            k, index = ends[column]
            kind = "missing" if table.missing else "zero"
            says = (
                f"backward is wrong: the gradient of input {table.place} is {kind} everywhere, and "
                f"output {k}{list(index)} moves with its element {list(table.elements[row])} by "
                f"{float(size[row, column]):.6g}"
            )
            fault = _wrong_first(case, values, ends, table, np.abs(size) == np.abs(size).max())
            raise Wrong(says, fault.body)
    return "no gradient is zero where the function moves"


def runs(case: Case) -> str:
    """Backward runs, and gives a gradient of each input's shape."""
    values = case.values()
    made = case.apply(values)
    u = case.cotangents(made)
    try:
        pulled = made.pull(u)
    except Exception as error:
        says = f"backward is wrong: it raises {named(error)}"
        raise Wrong(
            says, f"values, u = {listed(values)}, {listed(u)}\ngradients(values, u)"
        ) from error
    for place in case.places:
        slope = pulled[place]
        if slope is not None:
            same_shape(place, slope, values[place])
    return shown(values)


def named(error: Exception) -> str:
    """Return an exception with the first line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


ROWS = [
    Property("runs", "backward runs, and gives gradients of the inputs' shapes", runs),
    Property("first", "backward is the derivative of forward, element by element", first),
    Property("zero", "no gradient is zero or missing where the function moves", zero),
]
