"""Whether gradients are those of the function: first, second, forward, and in what they are given."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from spec_tests.check.ladder import Slopes, order, slopes
from spec_tests.check.properties.case import (
    Case,
    NotAsked,
    Property,
    Refused,
    Wrong,
    compared,
    differ,
    listed,
    literal,
    shown,
)

# So many elements of an input and of an output are looked at one by one.
_ELEMENTS = 24
# What two float64 derivatives may differ by, relative to the largest; float32 has what it has.
_APART = {np.dtype("float64"): 1e-8, np.dtype("float32"): 2e-3}


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
        allowed = _APART[np.dtype(dtype)] * (np.abs(want) + scale) + 10 * errors + 1e-12
        off = ~(np.abs(self.backward - want) <= allowed)
        return usable & off

    def moves(self, dtype: Any) -> bool:
        """Whether the function moves with this input at all, where that can be told."""
        usable = ~self.forward.kinked & ~self.forward.scattered
        size = np.abs(self.forward.values) - 10 * self.forward.errors
        return bool(np.any(usable & (size > _APART[np.dtype(dtype)])))


def jacobians(case: Case, seed: int) -> tuple[list[Any], list[tuple[int, Any]], list[Jacobian]]:
    """Return the inputs, the outputs' elements that were looked at, and a Jacobian for each input."""
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
            if row[place] is not None:
                _same_shape(case, place, row[place], values[place])
                got[:, column] = [row[place][element] for element in elements]
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


def _same_shape(case: Case, place: int, got: np.ndarray, x: np.ndarray) -> None:
    if got.shape != x.shape:
        says = f"backward is wrong: the gradient of input {place} has the shape {got.shape}, and the input {x.shape}"
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
            "slopes = [(f(4.0**-k) - f(-4.0**-k)) / (2 * 4.0**-k) for k in range(1, 14)]\n"
            "print(slopes)\nassert min(abs(a - b) for a, b in zip(slopes, slopes[1:])) < 1e-3 * max(1, "
            "abs(slopes[5])), 'differences agree at no step'"
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
        f"    moved[{table.place}][{element}] += t\n    return float(forward(moved)[{k}][{index}])\n\n\n"
        f"t = {_step(outputs[k].dtype)}\nwant = (f(t) - f(-t)) / (2 * t)\n"
        "print('backward gives', got, 'and differences of forward give', want)\n"
        f"assert abs(got - want) < {_half(got, want)!r}, 'the first derivative is wrong'"
    )
    return Wrong(says, body)


def _step(dtype: Any) -> str:
    return "2.0**-16" if np.dtype(dtype).itemsize == 8 else "2.0**-7"


def _half(got: float, want: float) -> float:
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


def adjoint(case: Case) -> str:
    """Compare <u, Jv> with <J^T u, v>: Jv by going backward twice, and by a rule of its own."""
    values = case.values(0)
    made = case.apply(values)
    u, v = case.cotangents(made), case.directions(values)
    pulled = [made.pull(u)[place] for place in case.places]
    there = _dot(pulled, v)
    size = _size(pulled, v)
    found = []
    try:
        _, back = case.subject.second(values, case.wanted, u, v)
    except NotAsked as error:
        found.append(str(error))
    except Exception as error:
        raise Refused(f"going backward twice raises {_named(error)}") from error
    else:
        here = sum(
            float(np.sum(b * w))
            for b, w, y in zip(back, u, made.outputs, strict=True)
            if b is not None and y.dtype.kind == "f"
        )
        _adjoint_agrees(case, values, u, v, (here, there, size), "going backward twice gives Jv")
        found.append("backward twice")
    try:
        pushed = case.subject.push(values, case.wanted, v)
    except NotAsked:
        pass
    else:
        _check_push(case, values, u, v, (_dot(pushed, u), there, size))
        found.append("its own jvp")
    if found and found[0].startswith("marked") and len(found) == 1:
        raise NotAsked(found[0])
    return "by " + " and ".join(found)


def _named(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _dot(some: list[Any], others: list[Any]) -> float:
    return sum(
        float(np.sum(np.asarray(a, np.float64) * b))
        for a, b in zip(some, others, strict=True)
        if a is not None and np.asarray(b).dtype.kind == "f"
    )


def _size(some: list[Any], others: list[Any]) -> float:
    return _dot([None if a is None else np.abs(a) for a in some], [np.abs(b) for b in others])


def _adjoint_agrees(
    case: Case, values: Any, u: Any, v: Any, sums: tuple[float, float, float], how: str
) -> None:
    here, there, size = sums
    apart = _APART[values[case.places[0]].dtype]
    if abs(here - there) > apart * (abs(there) + size) + 1e-12:
        says = (
            f"backward is wrong: <u, Jv> is {here:.9g} where {how}, and <J^T u, v> is {there:.9g}: "
            "it is not linear in the gradient that it gets, or hides from who follows it"
        )
        body = (
            f"values = {listed(values)}\nu = {listed(u)}\nv = {listed(v)}\n"
            f"places = {case.places}\npulled = gradients(values, u)\n"
            "there = sum((0 if pulled[k] is None else pulled[k] * d).sum() for k, d in zip(places, v))\n"
            "_, back = second(values, u, v)\n"
            "floats = [w for w in u if w.dtype.kind == 'f']\n"
            "here = sum((b * w).sum() for b, w in zip(back, floats) if b is not None)\n"
            "print('<u, Jv> =', here, 'and <J^T u, v> =', there)\n"
            f"assert abs(here - there) < {_half(here, there)!r}, 'they should be equal'"
        )
        raise Wrong(says, body)


def _check_push(
    case: Case, values: Any, u: Any, v: Any, sums: tuple[float, float, float]
) -> None:
    """Compare its own jvp with backward; forward's differences say which of the two is wrong."""
    here, there, size = sums
    apart = _APART[values[case.places[0]].dtype]
    if abs(here - there) <= apart * (abs(there) + size) + 1e-12:
        return
    real = _along(case, values, u, v)
    side = "jvp" if abs(here - float(real.values)) > abs(there - float(real.values)) else "backward"
    says = (
        f"{side} is wrong: <u, Jv> is {here:.9g} by jvp, <J^T u, v> is {there:.9g} by backward, and "
        f"differences of forward give {float(real.values):.9g}"
    )
    body = (
        f"values = {listed(values)}\nu = {listed(u)}\nv = {listed(v)}\n"
        f"print('jvp gives', {here!r})\ngot = gradients(values, u)\n"
        f"there = sum((got[k] * d).sum() for k, d in zip({case.places}, v))\n"
        f"assert abs(there - {here!r}) < {_half(here, there)!r}, 'jvp and backward disagree'"
    )
    raise Wrong(says, body)


def _along(case: Case, values: list[Any], u: list[Any], v: list[Any]) -> Slopes:
    """Return the slope of <u, f(x + t v)> at 0."""
    places = case.floats(case.apply(values))

    def curve(step: float) -> np.ndarray:
        with np.errstate(all="ignore"):
            outputs = case.apply(case.moved(values, v, step), [False] * len(values)).outputs
        return np.array(_dot([outputs[k] for k in places], [u[k] for k in places]))

    return slopes(curve)


def along(case: Case, values: list[Any], seed: int = 0) -> tuple[float, float, float]:
    """Return <J^T u, v> by backward, the same by differences of forward, and what it may be off."""
    made = case.apply(values)
    u, v = case.cotangents(made, seed), case.directions(values, seed)
    pulled = [made.pull(u)[place] for place in case.places]
    for place, slope in zip(case.places, pulled, strict=True):
        if slope is not None:
            _same_shape(case, place, slope, values[place])
    real = _along(case, values, u, v)
    apart = 10 * _APART[values[case.places[0]].dtype]
    allowed = 10 * float(real.errors) + apart * (abs(float(real.values)) + _size(pulled, v))
    if bool(real.kinked) or bool(real.scattered):
        allowed = np.inf
    return _dot(pulled, v), float(real.values), allowed + 1e-12


def second(case: Case) -> str:
    """Compare the derivative of backward, as autograd has it, with backward's own differences."""
    values = case.values(0)
    made = case.apply(values)
    if not any(made.follows):
        raise NotAsked("no output has a gradient")
    for seed in (0, 1):
        values = case.values(seed)
        for place in case.places:
            fault = _second_fault(case, values, place, seed)
            if fault is not None:
                case.found["second"] = fault
                raise fault
    case.found["second"] = None
    return "agrees with differences of the first"


def _second_fault(case: Case, values: list[Any], place: int, seed: int) -> Wrong | None:
    made = case.apply(values)
    u = case.cotangents(made, seed)
    v, w = case.directions(values, seed, only=place), case.directions(values, seed + 50)
    try:
        by_input, _ = case.subject.second(values, case.wanted, u, w)
    except NotAsked:
        raise
    except Exception as error:
        raise Refused(f"going backward twice raises {_named(error)}") from error

    def curve(step: float) -> np.ndarray:
        with np.errstate(all="ignore"):
            pulled = case.apply(case.moved(values, v, step)).pull(u)
        return np.concatenate(
            [
                np.ravel(np.zeros_like(values[k]) if pulled[k] is None else pulled[k]) * d.ravel()
                for k, d in zip(case.places, w, strict=True)
            ]
        )

    real = slopes(curve)
    if np.any(real.kinked) or np.any(real.scattered):
        return None
    got = _dot([by_input[place]], [v[case.places.index(place)]])
    want = float(np.sum(real.values))
    apart = 10 * _APART[values[place].dtype]
    allowed = apart * (abs(want) + float(np.sum(np.abs(real.values)))) + 1e-9
    if abs(got - want) <= allowed + 10 * float(np.sum(real.errors)):
        return None
    says = (
        f"the second derivative is wrong: backward moves by {want:.9g} with input {place}, and going "
        f"backward through it gives {got:.9g}"
    )
    return Wrong(says, _second_body(case, values, (u, v, w), place, (got, want)))


def _second_body(
    case: Case, values: list[Any], ways: tuple[Any, Any, Any], place: int, sums: tuple[float, float]
) -> str:
    u, v, w = ways
    at = case.places.index(place)
    return (
        f"values = {listed(values)}\nu = {listed(u)}\nv = {literal(v[at])}  # where input {place} goes\n"
        f"w = {listed(w)}\nplaces = {case.places}\nby_input, _ = second(values, u, w)\n"
        f"got = 0.0 if by_input[{at}] is None else float((by_input[{at}] * v).sum())\n\n\n"
        f"def g(t):\n    moved = list(values)\n    moved[{place}] = np.asarray(values[{place}] + t * v)\n"
        "    pulled = gradients(moved, u)\n"
        "    return sum((0 if pulled[k] is None else pulled[k] * d).sum() for k, d in zip(places, w))\n\n\n"
        f"t = {_step(values[place].dtype)}\nwant = float((g(t) - g(-t)) / (2 * t))\n"
        "print('backward twice gives', got, 'and differences of backward give', want)\n"
        f"assert abs(got - want) < {_half(*sums)!r}, 'the second derivative is wrong'"
    )


def linked(case: Case) -> str:
    """Say which saved values the second derivative does not follow."""
    if case.found.get("second", False) is False:
        raise NotAsked("the second derivative was not asked for, or is refused")
    values = case.values(0)
    names = case.subject.intermediates(values, case.wanted)
    fault = case.found["second"]
    if fault is not None and names:
        says = (
            f"the second derivative takes {', '.join(names)} for constant: saved, neither input nor "
            "output, so that autograd does not know what it depends on; compute it again in "
            "backward, return it as an output, or mark backward once_differentiable"
        )
        raise Wrong(says, fault.body)
    return f"{len(names)} intermediates, all followed" if names else "inputs and outputs alone"


def grad_output(case: Case) -> str:
    """Backward is linear in the gradient that it gets."""
    values = case.values(0)
    made = case.apply(values)
    u, w = case.cotangents(made, 0), case.cotangents(made, 7)
    one, other = made.pull(u), made.pull(w)
    trials = [
        ("-2 * u", [-2 * a if a.dtype.kind == "f" else a for a in u], [-2.0, 0.0]),
        ("u + 3 * w", [_sum(a, b) for a, b in zip(u, w, strict=True)], [1.0, 3.0]),
        ("0 * u", [0 * a for a in u], [0.0, 0.0]),
    ]
    for words, altered, (p, q) in trials:
        got = made.pull(altered)
        want = [
            None if a is None and b is None else np.asarray(p * _full(a, b) + q * _full(b, a))
            for a, b in zip(one, other, strict=True)
        ]
        for place, (a, b) in enumerate(zip(got, want, strict=True)):
            b = None if b is None or a is None else b.astype(a.dtype)
            if differ(a, b, 4096):
                says = (
                    f"backward is wrong: for the gradient {words} input {place} does not get the "
                    "like of what it gets for u and w, and backward is linear in its gradient"
                )
                full = "lambda a, b: np.zeros_like(b) if a is None else a"
                setup = (
                    f"values = {listed(values)}\nu = {listed(u)}\nw = {listed(w)}\n"
                    f"altered = {listed(altered)}\nfull = {full}\n"
                    "one, other = gradients(values, u), gradients(values, w)"
                )
                total = (
                    f"[{p} * full(a, b) + {q} * full(b, a) for a, b in zip(one, other) "
                    "if a is not None or b is not None]"
                )
                some = "[g for g in gradients(values, altered) if g is not None]"
                raise Wrong(says, compared(setup, some, total, "backward is not linear"))
    return "linear in it"


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a + 3 * b).astype(a.dtype) if a.dtype.kind == "f" else a


def _full(a: np.ndarray | None, b: np.ndarray | None) -> Any:
    return a if a is not None else np.zeros_like(b)


def runs(case: Case) -> str:
    """Backward runs, and gives a gradient of each input's shape."""
    values = case.values()
    made = case.apply(values)
    u = case.cotangents(made)
    try:
        pulled = made.pull(u)
    except Exception as error:
        says = f"backward is wrong: it raises {_named(error)}"
        raise Wrong(says, f"values, u = {listed(values)}, {listed(u)}\ngradients(values, u)") from error
    for place in case.places:
        if pulled[place] is not None:
            _same_shape(case, place, pulled[place], values[place])
    return shown(values)


ROWS = [
    Property("runs", "backward runs, and gives gradients of the inputs' shapes", runs),
    Property("first", "backward is the derivative of forward, element by element", first),
    Property("zero", "no gradient is zero or missing where the function moves", zero),
    Property("adjoint", "<u, Jv> = <J^T u, v>", adjoint),
    Property("second", "going backward twice gives the derivative of backward", second),
    Property("linked", "the second derivative follows what was saved", linked),
    Property("grad_output", "backward is linear in the gradient that it gets", grad_output),
]
__all__ = ["ROWS", "along", "shown"]
