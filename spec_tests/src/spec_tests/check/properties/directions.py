"""Derivatives in directions: <u, Jv>, the second derivative, and what backward is given."""

from typing import Any

import numpy as np

from spec_tests.check.ladder import Slopes, slopes
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
)
from spec_tests.check.properties.derivatives import APART, half, named, same_shape, step_of


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
        raise Refused(f"going backward twice raises {named(error)}") from error
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
    apart = APART[values[case.places[0]].dtype]
    if abs(here - there) > apart * (abs(there) + size) + 1e-12:
        says = (
            f"backward is wrong: <u, Jv> is {here:.9g} where {how}, and <J^T u, v> is {there:.9g}: "
            "it is not linear in the gradient that it gets, or hides from who follows it"
        )
        body = (
            f"values = {listed(values)}\nu = {listed(u)}\nv = {listed(v)}\n"
            f"places = {case.places}\npulled = gradients(values, u)\n"
            "there = sum((0 if pulled[k] is None else pulled[k] * d).sum() for k, d in "
            "zip(places, v))\n"
            "_, back = second(values, u, v)\n"
            "floats = [w for w in u if w.dtype.kind == 'f']\n"
            "here = sum((b * w).sum() for b, w in zip(back, floats) if b is not None)\n"
            "print('<u, Jv> =', here, 'and <J^T u, v> =', there)\n"
            f"assert abs(here - there) < {half(here, there)!r}, 'they should be equal'"
        )
        raise Wrong(says, body)


def _check_push(case: Case, values: Any, u: Any, v: Any, sums: tuple[float, float, float]) -> None:
    """Compare its own jvp with backward; forward's differences say which of the two is wrong."""
    here, there, size = sums
    apart = APART[values[case.places[0]].dtype]
    if abs(here - there) <= apart * (abs(there) + size) + 1e-12:
        return
    real = _along(case, values, u, v)
    side = "jvp" if abs(here - float(real.values)) > abs(there - float(real.values)) else "backward"
    says = (
        f"{side} is wrong: <u, Jv> is {here:.9g} by jvp, <J^T u, v> is {there:.9g} by "
        f"backward, and "
        f"differences of forward give {float(real.values):.9g}"
    )
    body = (
        f"values = {listed(values)}\nu = {listed(u)}\nv = {listed(v)}\n"
        f"print('jvp gives', {here!r})\ngot = gradients(values, u)\n"
        f"there = sum((got[k] * d).sum() for k, d in zip({case.places}, v))\n"
        f"assert abs(there - {here!r}) < {half(here, there)!r}, 'jvp and backward disagree'"
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
            same_shape(place, slope, values[place])
    real = _along(case, values, u, v)
    apart = 10 * APART[values[case.places[0]].dtype]
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
        raise Refused(f"going backward twice raises {named(error)}") from error

    def curve(step: float) -> np.ndarray:
        with np.errstate(all="ignore"):
            pulled = case.apply(case.moved(values, v, step)).pull(u)
        return np.concatenate(
            [
                np.ravel(np.asarray(_full(pulled[k], d))) * d.ravel()
                for k, d in zip(case.places, w, strict=True)
            ]
        )

    real = slopes(curve)
    if np.any(real.kinked) or np.any(real.scattered):
        return None
    got = _dot([by_input[place]], [v[case.places.index(place)]])
    want = float(np.sum(real.values))
    apart = 10 * APART[values[place].dtype]
    allowed = apart * (abs(want) + float(np.sum(np.abs(real.values)))) + 1e-9
    if abs(got - want) <= allowed + 10 * float(np.sum(real.errors)):
        return None
    says = (
        f"the second derivative is wrong: backward moves by {want:.9g} with input {place}, "
        f"and going "
        f"backward through it gives {got:.9g}"
    )
    return Wrong(says, _second_body(case, values, (u, v, w), place, (got, want)))


def _second_body(
    case: Case, values: list[Any], ways: tuple[Any, Any, Any], place: int, sums: tuple[float, float]
) -> str:
    u, v, w = ways
    at = case.places.index(place)
    return (
        f"values = {listed(values)}\nu = {listed(u)}\nv = {literal(v[at])}  # where input "
        f"{place} goes\n"
        f"w = {listed(w)}\nplaces = {case.places}\nby_input, _ = second(values, u, w)\n"
        f"got = 0.0 if by_input[{at}] is None else float((by_input[{at}] * v).sum())\n\n\n"
        f"def g(t):\n    moved = list(values)\n    moved[{place}] = "
        f"np.asarray(values[{place}] + t * v)\n"
        "    pulled = gradients(moved, u)\n"
        "    return sum((0 if pulled[k] is None else pulled[k] * d).sum() for k, d in "
        "zip(places, w))\n\n\n"
        f"t = {step_of(values[place].dtype)}\nwant = float((g(t) - g(-t)) / (2 * t))\n"
        "print('backward twice gives', got, 'and differences of backward give', want)\n"
        f"assert abs(got - want) < {half(*sums)!r}, 'the second derivative is wrong'"
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
            f"the second derivative takes {', '.join(names)} for constant: saved, neither "
            f"input nor "
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


ROWS = [
    Property("adjoint", "<u, Jv> = <J^T u, v>", adjoint),
    Property("second", "going backward twice gives the derivative of backward", second),
    Property("linked", "the second derivative follows what was saved", linked),
    Property("grad_output", "backward is linear in the gradient that it gets", grad_output),
]
