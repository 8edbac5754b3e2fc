"""The backend's transformations: compiled and mapped, the function is the same."""

import numpy as np

from spec_tests.check.properties.case import (
    Case,
    NotAsked,
    Property,
    Refused,
    Wrong,
    first_difference,
    listed,
)


def jit(case: Case) -> str:
    """Under the compiler it gives what it gives without, also for other values."""
    compiled = case.subject.jitted()
    for seed in (0, 1):
        values = case.values(seed)
        made = case.apply(values)
        u = case.cotangents(made)
        try:
            other = compiled.apply(values, case.wanted)
            got = [*other.outputs, *other.pull(u)]
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise Refused(f"under jit it raises {type(error).__name__}: {lines[0][:80]}") from error
        want = [*made.outputs, *made.pull(u)]
        at = first_difference(got, want, 4096)
        if at is not None:
            forward = at < len(made.outputs)
            side = "forward" if forward else "backward"
            what = f"output {at}" if forward else f"the gradient of input {at - len(made.outputs)}"
            says = f"{side} is wrong under jit: {what} is not that without, in call {seed + 1}"
            raise Wrong(says, _jit_body(case, values))
    return "two calls under jit"


def _jit_body(case: Case, values: list[object]) -> str:
    jit = "jax.jit" if case.subject.label == "jax" else "nn.jit"
    call = "target" if case.subject.label == "jax" else "apply"
    first = case.values(0)
    wrap = "jax.numpy.asarray(v)" if case.subject.label == "jax" else "tensor(v, False)"
    return (
        f"first, values = {listed(first)}, {listed(values)}\n"
        f"inputs = lambda some: [{wrap} if isinstance(v, np.ndarray) else v for v in some]\n"
        f"compiled = {jit}({call})\ncompiled(*inputs(first))\n"
        f"got, want = compiled(*inputs(values)), {call}(*inputs(values))\nprint(got, want)\n"
        "some = lambda r: r if isinstance(r, (tuple, list)) else [r]\n"
        "to = lambda t: np.asarray(t.detach().numpy() if hasattr(t, 'detach') else t)\n"
        "assert all(np.allclose(to(a), to(b)) for a, b in zip(some(got), some(want))), 'jit "
        "changes it'"
    )


def vmap(case: Case) -> str:
    """Mapped over a first axis, all inputs and each alone, it gives what single calls give."""
    single = [case.values(seed) for seed in (0, 1, 2)]
    arrays = [k for k, v in enumerate(single[0]) if isinstance(v, np.ndarray)]
    sets = [arrays] + ([[k] for k in arrays] if len(arrays) > 1 else [])
    for mapped in sets:
        stacked = [
            np.stack([s[k] for s in single]) if k in mapped else v for k, v in enumerate(single[0])
        ]
        axes = [0 if k in mapped else None for k in range(len(stacked))]
        try:
            got = case.subject.mapped(stacked, axes)
        except NotAsked:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise Refused(
                f"under vmap it raises {type(error).__name__}: {lines[0][:80]}"
            ) from error
        loops = [
            case.apply(
                [s[k] if k in mapped else v for k, v in enumerate(single[0])],
                [False] * len(stacked),
            ).outputs
            for s in single
        ]
        want = [np.stack(column) for column in zip(*loops, strict=True)]
        at = first_difference(got, want, 4096)
        if at is not None:
            says = f"under vmap over the inputs {mapped} output {at} is not that of single calls"
            raise Wrong(says, _vmap_body(case, stacked, axes))
    return f"{len(sets)} ways to map"


def _vmap_body(case: Case, stacked: list[object], axes: list[int | None]) -> str:
    label = case.subject.label
    call = {
        "jax": "jax.vmap(target, in_axes=tuple(axes))",
        "torch": "torch.func.vmap(apply, in_dims=tuple(axes))",
    }.get(label, "nn.vmap(apply, in_axes=tuple(axes))")
    wrap = "jax.numpy.asarray(v)" if label == "jax" else "tensor(v, False)"
    return (
        f"stacked, axes = {listed(stacked)}, {axes}\n"
        f"got = {call}(*[{wrap} if isinstance(v, np.ndarray) else v for v in stacked])\n"
        "got = list(got) if isinstance(got, (tuple, list)) else [got]\n"
        "rows = [forward([v if a is None else v[k] for v, a in zip(stacked, axes)]) for k in "
        "range(3)]\n"
        "for a, column in zip(got, zip(*rows)):\n"
        "    a = np.asarray(a.detach().numpy() if hasattr(a, 'detach') else a)\n"
        "    assert np.allclose(a, np.stack(column)), 'mapped is not single'"
    )


ROWS = [
    Property("jit", "compiled it gives what it gives without", jit, once=True),
    Property("vmap", "mapped it gives what single calls give", vmap, once=True),
]
