"""Other dtypes and sizes, and numbers that are none: what shapes and values may come."""

from typing import Any

import numpy as np

from spec_tests.check.properties.case import (
    Case,
    NotAsked,
    Property,
    Refused,
    Wrong,
    compared,
    differ,
    first_difference,
    listed,
)
from spec_tests.check.properties.derivatives import jacobians
from spec_tests.check.properties.directions import along
from spec_tests.check.subjects.base import Application

# Around the widths of vectors and the blocks of sums.
_SIZES = (1, 2, 7, 8, 9, 16, 17, 33, 65, 129, 257, 1025)
_ELEMENTS = 40_000
_MOVES = (0.37, -0.37, 3.0, -3.0)
# What is 0 from a small number on is 0 at infinity; what gets there by underflow may be NaN.
_FAR = (16.0, 1e30, 1e60, 1e120)
_EXAMPLES = ("N", "B", "batch")


def dtypes(case: Case) -> str:
    """In float32 it gives float32, and the numbers of float64 to its precision."""
    if not any(case.signature.arguments[k].dtype == "float64" for k in case.places):
        raise NotAsked("the inputs are float32 already")
    single = case.values(0, "float32")
    double = [v.astype(np.float64) if _floating(v) else v for v in single]
    small, large = case.apply(single), case.apply(double)
    setup = f"single = {listed(single)}"
    for k, (y, r) in enumerate(zip(small.outputs, large.outputs, strict=True)):
        wanted = "float32" if r.dtype == np.float64 else r.dtype.name
        if y.dtype.name != wanted:
            says = (
                f"forward is wrong: float32 in gives {y.dtype.name} out (output {k}), wanted "
                f"{wanted}"
            )
            body = (
                f"{setup}\ngot = forward(single)[{k}].dtype\nprint(got)\nassert got == "
                f"{wanted!r}, got"
            )
            raise Wrong(says, body)
        if _far(y, r):
            says = f"forward is wrong in float32: output {k} is not that of float64 to 1e-3"
            body = f"{setup}\ndouble = {listed(double)}\nprint(forward(single), forward(double))\n"
            body += f"assert np.allclose(forward(single)[{k}], forward(double)[{k}], 1e-3, 1e-3)"
            raise Wrong(says, body)
    _gradients_in_single(case, (single, small), (double, large))
    _in_double(case)
    return "float32 in, float32 out"


def _gradients_in_single(case: Case, low: tuple[Any, Any], high: tuple[Any, Any]) -> None:
    (single, small), (double, large) = low, high
    u = [a.astype(y.dtype) for a, y in zip(case.cotangents(small), small.outputs, strict=True)]
    w = [a.astype(y.dtype) for a, y in zip(u, large.outputs, strict=True)]
    setup = f"single, u = {listed(single)}, {listed(u)}"
    try:
        got = small.pull(u)
    except Exception as error:
        says = f"backward is wrong in float32: it raises {type(error).__name__}: {error}"
        raise Wrong(says, f"{setup}\ngradients(single, u)") from error
    for place, (a, b) in enumerate(zip(got, large.pull(w), strict=True)):
        if a is not None and a.dtype != single[place].dtype:
            says = (
                f"backward is wrong: input {place} is {single[place].dtype.name}, its gradient "
                f"{a.dtype.name}"
            )
            body = (
                f"{setup}\ngot = gradients(single, u)[{place}].dtype\nassert got == 'float32', got"
            )
            raise Wrong(says, body)
        if a is not None and b is not None and _far(a, b):
            says = (
                f"backward is wrong in float32: the gradient of input {place} is not that of "
                f"float64 to 1e-3"
            )
            body = f"{setup}\ndouble, w = {listed(double)}, {listed(w)}\n"
            body += f"got, want = gradients(single, u)[{place}], gradients(double, w)[{place}]\n"
            body += "print(got, want)\nassert np.allclose(got, want, 1e-3, 1e-3)"
            raise Wrong(says, body)


def _in_double(case: Case) -> None:
    """Ask that float64 is computed in float64: differences show how many digits there are."""
    values, ends, tables = jacobians(case, 0)
    for table in tables:
        if values[table.place].dtype != np.float64 or not ends:
            continue
        usable = ~table.forward.kinked & ~table.forward.scattered
        scale = float(np.max(np.abs(table.forward.values), initial=0.0))
        if np.any(usable) and np.median(table.forward.errors[usable]) > 1e-6 * scale > 0:
            says = (
                "forward is wrong in float64: it has the digits of float32; differences agree with "
                f"themselves to {float(np.median(table.forward.errors[usable])):.1g} alone"
            )
            body = (
                f"values = {listed(values)}\nmoved = list(values)\n"
                f"moved[{table.place}] = values[{table.place}] * (1 + 1e-9)\n"
                "print(forward(values), forward(moved))\n"
                "assert not all(np.array_equal(a, b) for a, b in zip(forward(values), "
                "forward(moved)))"
            )
            raise Wrong(says, body)


def _floating(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _far(got: np.ndarray, want: np.ndarray) -> bool:
    if got.dtype.kind != "f":
        return False
    scale = float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0))
    with np.errstate(all="ignore"):
        off = np.abs(got.astype(np.float64) - want)
        return bool(
            np.any(off[np.isfinite(want)] > 1e-3 * (np.abs(want[np.isfinite(want)]) + scale))
        )


def empty(case: Case) -> str:
    """Sizes of 0 give empty results, and gradients of the inputs' shapes."""
    if not case.signature.symbols:
        raise NotAsked("no size may be chosen: name one, as in float64(N,3)")
    refused = []
    for name in case.signature.symbols:
        values = case.values(0, "", **{name: 0})
        setup = f"values = {listed(values)}"
        try:
            with np.errstate(all="ignore"):
                made = case.apply(values)
        except ZeroDivisionError as error:
            says = f"forward is wrong: for {name} = 0 it divides by the size"
            raise Wrong(says, f"{setup}\nforward(values)") from error
        except Exception as error:
            refused.append(f"{name} = 0: {type(error).__name__}")
            continue
        _empty_gradients(case, name, values, made)
    if refused:
        raise Refused("; ".join(refused))
    return ", ".join(f"{name} = 0" for name in case.signature.symbols)


def _empty_gradients(case: Case, name: str, values: list[Any], made: Any) -> None:
    u = case.cotangents(made)
    setup = f"values, u = {listed(values)}, {listed(u)}"
    try:
        with np.errstate(all="ignore"):
            got = made.pull(u)
    except Exception as error:
        says = f"backward is wrong: for {name} = 0 it raises {type(error).__name__}: {error}"
        raise Wrong(says, f"{setup}\ngradients(values, u)") from error
    nothing = all(y.size == 0 for y in made.outputs)
    for place, slope in enumerate(got):
        if slope is None:
            continue
        if slope.shape != values[place].shape or (nothing and np.any(slope != 0)):
            what = f"the shape {slope.shape}" if slope.shape != values[place].shape else "numbers"
            says = (
                f"backward is wrong: for {name} = 0 the gradient of input {place}, of shape "
                f"{values[place].shape}, has {what}, and no output has an element"
            )
            body = f"{setup}\ngot = gradients(values, u)[{place}]\nprint(got)\n"
            body += f"assert got.shape == {values[place].shape} and not np.any(got != 0)"
            raise Wrong(says, body)


def blocks(case: Case) -> str:
    """The derivative is right at sizes on both sides of the usual blocks."""
    if not case.signature.symbols:
        raise NotAsked("no size may be chosen: name one, as in float64(N,3)")
    asked, last = 0, 0
    for name in case.signature.symbols:
        for size in _SIZES:
            values = case.values(3, "", **{name: size})
            if sum(v.size for v in values if isinstance(v, np.ndarray)) > _ELEMENTS:
                continue
            try:
                case.apply(values)
            except Exception:
                continue
            got, want, allowed = along(case, values, seed=size)
            asked, last = asked + 1, max(last, size)
            if not abs(got - want) <= allowed:
                says = (
                    f"backward is wrong at {name} = {size}: along a direction it says "
                    f"{got:.9g}, and "
                    f"differences of forward {want:.9g}"
                )
                raise Wrong(says, _along_body(case, values, size, (got, want)))
    return f"{asked} sizes up to {last}"


def _along_body(case: Case, values: list[Any], seed: int, sums: tuple[float, float]) -> str:
    made = case.apply(values)
    u, v = case.cotangents(made, seed), case.directions(values, seed)
    got, want = sums
    half = abs(got - want) / 2
    return (
        f"values = {listed(values)}\nu = {listed(u)}\nv = {listed(v)}\nplaces = {case.places}\n"
        "pulled = gradients(values, u)\n"
        "got = sum((0 if pulled[k] is None else pulled[k] * d).sum() for k, d in zip(places, "
        "v))\n\n\n"
        "def f(t):\n    moved = list(values)\n    for k, d in zip(places, v):\n"
        "        moved[k] = np.asarray(values[k] + t * d)\n"
        "    return sum((y * a).sum() for y, a in zip(forward(moved), u) if y.dtype.kind == "
        "'f')\n\n\n"
        "t = 2.0**-16\nwant = (f(t) - f(-t)) / (2 * t)\nprint(got, want)\n"
        f"assert abs(got - want) < {half if np.isfinite(half) else 1.0!r}, 'wrong at this size'"
    )


def nonfinite(case: Case) -> str:
    """NaN reaches what depends on it and no other example; infinity gives none."""
    values = case.values()
    made = case.apply(values)
    floats = case.floats(made)
    if not floats:
        raise NotAsked("no output is floating")
    if 1 in case.sizes.values():
        # The softmax of one number is 1, whatever the number.
        raise NotAsked("at sizes of 1 an output may depend on nothing")
    asked = 0
    for place in case.places:
        every = list(np.ndindex(*values[place].shape))
        for element in dict.fromkeys([every[0], every[-1]]) if every else []:
            depends = _depends(case, values, place, element, made.outputs)
            _nan(case, values, (place, element), depends, floats)
            _infinite(case, values, (place, element), depends, floats)
            asked += 1
    return f"{asked} places"


def _put(values: list[Any], place: int, element: tuple[int, ...], number: float) -> list[Any]:
    moved = list(values)
    moved[place] = np.array(values[place])
    moved[place][element] = number
    return moved


def _outputs(case: Case, values: list[Any]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return case.apply(values, [False] * len(values)).outputs


def _depends(
    case: Case, values: list[Any], place: int, element: tuple[int, ...], outputs: list[np.ndarray]
) -> list[np.ndarray]:
    """Return which elements of the outputs move with an element of an input."""
    argument = case.signature.arguments[place]
    here = float(values[place][element])
    numbers = [here + move for move in _MOVES]
    if argument.low is not None and argument.high is not None:
        width = argument.high - argument.low
        numbers = [argument.low + part * width for part in (0.1, 0.4, 0.6, 0.9)]
    moved = [_outputs(case, _put(values, place, element, number)) for number in numbers]
    return [
        np.any([~((other[k] == y) | (np.isnan(other[k]) & np.isnan(y))) for other in moved], axis=0)
        for k, y in enumerate(outputs)
    ]


def _nan(
    case: Case, values: list[Any], where: tuple[int, Any], depends: list[np.ndarray], floats: Any
) -> None:
    place, element = where
    finite = case.apply(values)
    poisoned = _put(values, place, element, float("nan"))
    try:
        outputs = _outputs(case, poisoned)
    except Exception as error:
        raise Refused(f"NaN raises {type(error).__name__}") from error
    for k in floats:
        nan = np.isnan(outputs[k])
        # A sort puts NaN in one place; that it is nowhere among what depends on it is a loss.
        lost = not any(np.any(depends[j] & np.isnan(outputs[j])) for j in floats)
        swallowed, spread = depends[k] & lost, ~depends[k] & nan & _other(case, where, depends[k])
        setup = (
            f"values = {listed(values)}\nvalues[{place}][{element}] = np.nan\ny = "
            f"forward(values)[{k}]\nprint(y)"
        )
        if np.any(swallowed):
            at = tuple(int(n) for n in np.argwhere(swallowed)[0])
            says = (
                f"forward is wrong: NaN in input {place}{list(element)} is lost on the way to "
                f"output "
                f"{k}{list(at)}, which depends on it"
            )
            raise Wrong(says, f"{setup}\nassert np.isnan(y[{at}]), 'NaN is lost'")
        if np.any(spread):
            at = tuple(int(n) for n in np.argwhere(spread)[0])
            says = (
                f"forward is wrong: NaN in input {place}{list(element)} reaches output "
                f"{k}{list(at)}, "
                "which does not depend on it"
            )
            raise Wrong(says, f"{setup}\nassert not np.isnan(y[{at}]), 'NaN spreads'")
        _nan_backward(case, poisoned, where, depends[k], k, finite)


def _examples(case: Case) -> str:
    """Return the name of the axis of examples, or nothing."""
    return case.batch or next((s for s in case.signature.symbols if s in _EXAMPLES), "")


def _other(case: Case, where: tuple[int, Any], array: np.ndarray) -> np.ndarray:
    """Return which elements of an array belong to other examples than an element of an input.

    Within an example 0 * NaN is NaN, as where a gate meets a state of zeros, and no fault.
    """
    place, element = where
    name = _examples(case)
    other = np.zeros(array.shape, bool)
    rows = bool(name) and case.signature.arguments[place].shape[:1] == (name,)
    if rows and array.shape[:1] == (case.sizes[name],):
        other[np.arange(array.shape[0]) != element[0]] = True
    return other


def _nan_backward(
    case: Case,
    poisoned: list[Any],
    where: tuple[int, Any],
    depends: np.ndarray,
    k: int,
    finite: Application,
) -> None:
    """Ask that gradients of other examples, by outputs of theirs, are numbers."""
    place, element = where
    if depends.all():
        return
    with np.errstate(all="ignore"):
        made = case.apply(poisoned)
        u = [np.zeros_like(y) for y in made.outputs]
        u[k][~depends] = 1
        slope = made.pull(u)[place]
    before = finite.pull(u)[place]
    if slope is None or before is None:
        return
    # An element that those outputs do not move with may meet the NaN, times 0.
    others = (before != 0) & _other(case, where, before)
    others[element] = False
    bad = others & np.isnan(slope)
    if np.any(bad):
        at = tuple(int(n) for n in np.argwhere(bad)[0])
        says = (
            f"backward is wrong: NaN in input {place}{list(element)} reaches the gradient of its "
            f"element {list(at)} by outputs that do not depend on it"
        )
        body = f"nan = np.nan\nvalues, u = {listed(poisoned)}, {listed(u)}\n"
        body += f"got = gradients(values, u)[{place}]\nprint(got)\n"
        raise Wrong(says, body + f"assert not np.isnan(got[{at}]), 'NaN spreads'")


def _infinite(
    case: Case, values: list[Any], where: tuple[int, Any], depends: list[np.ndarray], floats: Any
) -> None:
    """Ask of elementwise outputs that grow like their input that infinity makes no NaN of them."""
    place, element = where
    argument = case.signature.arguments[place]
    if argument.low is not None or values[place].dtype != np.float64:
        return
    for sign in (1.0, -1.0):
        far = [_outputs(case, _put(values, place, element, sign * x)) for x in _FAR]
        end = _outputs(case, _put(values, place, element, sign * np.inf))
        for k in floats:
            if np.sum(depends[k]) != 1:
                continue
            at = tuple(int(n) for n in np.argwhere(depends[k])[0])
            if not _elementwise(case, values, where, k, at):
                continue
            rates = [float(y[k][at]) / x for y, x in zip(far, _FAR, strict=True)]
            grows = rates[-1] != 0 and np.allclose(rates[1:], rates[-1], rtol=1e-6, atol=0)
            still = len({float(y[k][at]) for y in far}) == 1 and np.isfinite(far[-1][k][at])
            if np.isnan(end[k][at]) and (grows or (still and far[-1][k][at] == 0)):
                limit = float(far[-1][k][at]) if still else np.sign(rates[-1]) * np.inf
                infinite = "np.inf" if sign > 0 else "-np.inf"
                says = (
                    f"forward is wrong: {infinite[3:] if sign > 0 else '-inf'} in input "
                    f"{place}{list(element)} gives NaN in output {k}{list(at)}, which goes to "
                    f"{limit:g} there"
                )
                body = (
                    f"values = {listed(values)}\nvalues[{place}][{element}] = {infinite}\n"
                    f"y = forward(values)[{k}]\nprint(y)\nassert not np.isnan(y[{at}]), 'NaN "
                    f"of infinity'"
                )
                raise Wrong(says, body)


def _elementwise(
    case: Case, values: list[Any], where: tuple[int, Any], k: int, at: tuple[int, ...]
) -> bool:
    """Whether an element of an output moves with no other element of the input."""
    place, element = where
    moved = list(values)
    moved[place] = np.array(values[place] + 0.1)
    moved[place][element] = values[place][element]
    return bool(_outputs(case, moved)[k][at] == _outputs(case, values)[k][at])


def batch(case: Case) -> str:
    """An example gives in a batch what it gives alone."""
    name = _examples(case)
    if not name or name not in case.signature.symbols:
        raise NotAsked("no axis of examples: name one N or B, or say --batch NAME")
    rows = [k for k, a in enumerate(case.signature.arguments) if a.shape[:1] == (name,)]
    values = case.values(0, "", **{name: 5})
    made = case.apply(values)
    if not rows or any(y.shape[:1] != (5,) for y in made.outputs):
        raise NotAsked(f"{name} is not the first axis of an input and of every output")
    if not case.batch and not _independent(case, values, rows, made.outputs):
        raise NotAsked(
            f"examples of {name} depend on each other; --batch {name} holds it to the rule"
        )
    u = case.cotangents(made)
    slopes = made.pull(u)
    for row in range(5):
        alone = [v[row : row + 1] if k in rows else v for k, v in enumerate(values)]
        one = case.apply(alone)
        part = [a[row : row + 1] for a in u]
        pulled = one.pull(part)
        setup = f"values, u = {listed(values)}, {listed(u)}\n"
        setup += f"alone = [v[{row}:{row + 1}] if k in {rows} else v for k, v in enumerate(values)]"
        whole = [y[row : row + 1] for y in made.outputs]
        if first_difference(one.outputs, whole) is not None:
            says = (
                f"forward is wrong: example {row} of {name} gives in a batch of 5 what it does "
                f"not give alone"
            )
            want = f"[y[{row}:{row + 1}] for y in forward(values)]"
            raise Wrong(says, compared(setup, "forward(alone)", want, "examples meet"))
        for k in rows:
            full = slopes[k]
            if differ(pulled[k], None if full is None else full[row : row + 1], 1024):
                says = (
                    f"backward is wrong: example {row} of {name} gets in a batch of 5 another "
                    f"gradient than alone"
                )
                got = f"[gradients(alone, [a[{row}:{row + 1}] for a in u])[{k}]]"
                want = f"[gradients(values, u)[{k}][{row}:{row + 1}]]"
                raise Wrong(says, compared(setup, got, want, "examples meet"))
    return f"5 examples of {name}"


def _independent(case: Case, values: list[Any], rows: list[int], outputs: list[np.ndarray]) -> bool:
    moved = list(values)
    for k in rows:
        if _floating(values[k]):
            moved[k] = np.array(values[k])
            moved[k][0] = values[k][1]
    return all(
        np.array_equal(a[1:], b[1:], equal_nan=a.dtype.kind == "f")
        for a, b in zip(_outputs(case, moved), outputs, strict=True)
    )


ROWS = [
    Property("dtypes", "float32 in gives float32 out, with the numbers of float64", dtypes),
    Property(
        "empty", "sizes of 0 give empty results and gradients of the right shapes", empty, once=True
    ),
    Property(
        "blocks", "the derivative is right at sizes around blocks, up to 1025", blocks, once=True
    ),
    Property(
        "nonfinite",
        "NaN is not lost and reaches no other example; infinity makes no NaN",
        nonfinite,
    ),
    Property("batch", "an example gives in a batch what it gives alone", batch, once=True),
]
