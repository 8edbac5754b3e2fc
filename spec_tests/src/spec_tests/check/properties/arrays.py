"""What a Function does with arrays: strides, memory that others hold, and memory of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spec_tests.check.properties.case import (
    Case,
    NotAsked,
    Property,
    Wrong,
    compared,
    differ,
    first_difference,
    listed,
    literal,
)

# Python's words for the awkward array, where `a` is one with the same values.
_LAYOUTS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "transposed": ("np.array({a}.T, order='C').T", lambda a: np.array(a.T, order="C").T),
    "sliced": ("np.repeat({a}, 2, -1)[..., ::2]", lambda a: np.repeat(a, 2, -1)[..., ::2]),
    "stride 0": (
        "np.broadcast_to({a}[:1], {a}.shape)",
        lambda a: np.broadcast_to(a[:1], a.shape),
    ),
}


def _layouts(array: Any) -> list[str]:
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.size < 2:
        return []
    names = ["sliced"] if array.shape[-1] > 1 else []
    names += ["transposed"] if sum(n > 1 for n in array.shape) > 1 else []
    return [*names, *(["stride 0"] if array.shape[0] > 1 else [])]


def inputs(case: Case) -> str:
    """Transposed, sliced and stride-0 inputs give what plain ones do."""
    if not case.subject.strided:
        raise NotAsked("arrays of this backend have no strides")
    asked = 0
    for place, value in enumerate(case.values()):
        for name in _layouts(value):
            _input(case, place, name)
            asked += 1
    if not asked:
        raise NotAsked("no input has more than one element")
    return f"{asked} layouts"


def _input(case: Case, place: int, name: str) -> None:
    plain = case.values()
    words, lay = _LAYOUTS[name]
    awkward = list(plain)
    awkward[place] = lay(plain[place])
    plain[place] = np.array(awkward[place], order="C")
    made = case.apply(plain)
    u = case.cotangents(made)
    want, setup = made.pull(u), f"plain = {listed(plain)}\nu = {listed(u)}\nawkward = list(plain)\n"
    setup += f"awkward[{place}] = " + words.format(a=f"plain[{place}]")
    says = f"with input {place} {name}, the same values give another "
    other = case.apply(awkward)
    if first_difference(other.outputs, made.outputs) is not None:
        body = compared(setup, "forward(awkward)", "forward(plain)", says + "output")
        raise Wrong(f"forward is wrong: {says}output", body)
    got = other.pull(u)
    if (at := first_difference(got, want)) is not None:
        body = compared(setup, "gradients(awkward, u)", "gradients(plain, u)", says + "gradient")
        raise Wrong(f"backward is wrong: {says}gradient of input {at}", body)


def gradients(case: Case) -> str:
    """Transposed, sliced and stride-0 gradients give what plain ones do."""
    if not case.subject.strided:
        raise NotAsked("arrays of this backend have no strides")
    values = case.values()
    made = case.apply(values)
    asked = 0
    for k in case.floats(made):
        for name in _layouts(made.outputs[k]):
            u = case.cotangents(made)
            words, lay = _LAYOUTS[name]
            awkward = list(u)
            awkward[k] = lay(u[k])
            u[k] = np.array(awkward[k], order="C")
            got, want = made.pull(awkward), made.pull(u)
            asked += 1
            if (at := first_difference(got, want)) is not None:
                says = (
                    f"backward is wrong: with the gradient of output {k} {name}, as sum() and "
                    f"T give "
                    f"it, the same values give input {at} another gradient"
                )
                setup = (
                    f"values = {listed(values)}\nplain = {listed(u)}\nawkward = list(plain)\n"
                    f"awkward[{k}] = " + words.format(a=f"plain[{k}]")
                )
                how = "gradients(values, awkward)", "gradients(values, plain)"
                raise Wrong(says, compared(setup, *how, "strides decide the gradient"))
    if not asked:
        raise NotAsked("no output has more than one element")
    return f"{asked} layouts"


def poisoned(case: Case) -> str:
    """Inputs and outputs made NaN before backward change no gradient in silence."""
    values = case.values()
    made = case.apply(values)
    u = case.cotangents(made)
    want = made.pull(u)
    found = []
    for what in ("inputs", "outputs"):
        try:
            got = case.subject.after_writing(values, case.wanted, u, what)
        except NotAsked:
            raise
        except Exception as error:
            found.append(f"{what}: found out ({type(error).__name__})")
            continue
        if first_difference(got, want) is not None:
            says = (
                f"backward is wrong in silence: it uses the {what} as they are by then, and "
                f"nothing "
                "tells that they were written in between; keep them by save_for_backward"
            )
            raise Wrong(says, _poisoned_body(values, u, what))
        found.append(f"{what}: no matter")
    return ", ".join(found)


def _poisoned_body(values: list[Any], u: list[Any], what: str) -> str:
    return compared(
        f"values = {listed(values)}\nu = {listed(u)}\n\n\ndef poison(inputs, outputs):\n"
        f"    for t in {what}:\n        if getattr(t, 'requires_grad', False):\n"
        "            (t.detach() if 'torch' in type(t).__module__ else t.data)[...] = "
        "float('nan')\n",
        "gradients(values, u, between=poison)",
        "gradients(values, u)",
        "the gradient changed in silence",
    )


def mutation(case: Case) -> str:
    """Forward and backward change nothing that they are given."""
    values = case.values()
    u = case.cotangents(case.apply(values))
    for wanted in (case.wanted, [False] * len(values)):
        changed = case.subject.mutations(values, wanted, u)
        if changed:
            side = changed[0].partition(" ")[0]
            says = f"{side} is wrong: {'; '.join(changed)}"
            body = (
                f"values = {listed(values)}\nbefore = [np.array(v) for v in values]\nu = "
                f"{listed(u)}\n"
                "seen = []\n\n\ndef keep(inputs, outputs):\n    seen.extend(inputs)\n\n\n"
                f"wanted = {list(wanted)}\nweights = [np.array(a) for a in u]\n"
                "gradients(values, weights, wanted, between=keep) if any(wanted) else "
                "seen.extend(made(values, wanted)[0])\n"
                "after = [t.detach().numpy() if hasattr(t, 'detach') else t for t in seen]\n"
                "print(before, after, u, weights)\n"
                "for a, b in zip(before + list(u), list(after) + weights):\n"
                "    assert np.array_equal(a, b), 'it was changed'\n"
                "raise AssertionError('an output was changed')"
            )
            raise Wrong(says, body)
    return "nothing that it was given is changed"


def aliasing(case: Case) -> str:
    """One Tensor in two places counts twice."""
    if not case.subject.strided:
        raise NotAsked("arrays of this backend are never the same memory in two places")
    values = case.values()
    pairs = [
        (p, q)
        for p in case.places
        for q in case.places
        if p < q and values[p].shape == values[q].shape and values[p].dtype == values[q].dtype
    ]
    if not pairs:
        raise NotAsked("no two inputs have the same shape")
    for p, q in pairs:
        apart = list(values)
        apart[q] = np.array(values[p])
        together = list(values)
        together[q] = together[p]
        made, other = case.apply(apart), case.apply(together)
        u = case.cotangents(made)
        wrong = first_difference(other.outputs, made.outputs) is not None
        slopes = made.pull(u)
        total = np.zeros_like(values[p])
        for k in (p, q):
            total = total + (0 if slopes[k] is None else slopes[k])
        got = other.pull(u)[p]
        if wrong or differ(got, total, 1024):
            side = "forward" if wrong else "backward"
            says = (
                f"{side} is wrong: the same Tensor as input {p} and {q} gives something else "
                f"than two "
                "Tensors of the same values"
            )
            body = (
                f"x = {literal(values[p])}\nvalues = {listed(values)}\nu = {listed(u)}\n"
                "apart, together = list(values), list(values)\n"
                f"apart[{p}], apart[{q}] = x, np.array(x)\none = tensor(x, True)\n"
                "inputs = [tensor(v, False) if isinstance(v, np.ndarray) else v for v in values]\n"
                f"inputs[{p}] = inputs[{q}] = one\nresult = apply(*inputs)\n"
                "outputs = list(result) if isinstance(result, (tuple, list)) else [result]\n"
                "(got,) = grad(outputs, [one], grad_outputs=[tensor(a, False) for a in u])\n"
                "want = gradients(apart, u)\n"
                f"want = sum(want[k] for k in ({p}, {q}) if want[k] is not None)\n"
                "got = got.detach().numpy()\nprint(got, want)\n"
                "assert np.allclose(got, want), 'two places count twice'"
            )
            raise Wrong(says, body)
    return f"{len(pairs)} pairs"


ROWS = [
    Property("layouts", "stride-0, transposed and sliced inputs give what plain ones do", inputs),
    Property("grad_layouts", "stride-0, transposed and sliced gradients likewise", gradients),
    Property(
        "poisoned", "what is written between forward and backward does no silent harm", poisoned
    ),
    Property("mutation", "forward and backward change nothing that they are given", mutation),
    Property("aliasing", "one Tensor in two places counts twice", aliasing),
]
