"""One call beside others: subsets, several outputs, calls in between, threads, and what stays."""

import itertools
import sys
import threading
import tracemalloc
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
)

_SUBSETS, _THREADS, _ROUNDS = 15, 4, 12
_CALLS, _BYTES = 32, 4096


def subsets(case: Case) -> str:
    """Every subset of inputs that require grad gives the gradients that all of them give."""
    values = case.values()
    made = case.apply(values)
    u = case.cotangents(made)
    want = made.pull(u)
    sets = [
        set(chosen)
        for count in range(1, len(case.places) + 1)
        for chosen in itertools.combinations(case.places, count)
    ]
    if len(sets) > _SUBSETS:
        sets = [s for s in sets if len(s) in (1, len(case.places) - 1)]
    for chosen in sets:
        wanted = [k in chosen for k in range(len(values))]
        try:
            got = case.apply(values, wanted).pull(u)
        except Exception as error:
            says = (
                f"backward is wrong: where only the inputs {sorted(chosen)} require grad it raises "
                f"{type(error).__name__}: {error}"
            )
            body = f"values = {listed(values)}\nu = {listed(u)}\ngradients(values, u, {wanted})"
            raise Wrong(says, body) from error
        for place in chosen:
            if differ(got[place], want[place]):
                says = (
                    f"backward is wrong: where only the inputs {sorted(chosen)} require grad, "
                    f"input "
                    f"{place} gets another gradient than where all do"
                )
                setup = f"values = {listed(values)}\nu = {listed(u)}"
                one = f"[gradients(values, u, {wanted})[{place}]]"
                full = f"[gradients(values, u)[{place}]]"
                raise Wrong(says, compared(setup, one, full, "the subset decides the gradient"))
    if any(case.apply(values, [False] * len(values)).follows):
        raise Wrong("outputs require grad though no input does")
    return f"{len(sets)} subsets"


def outputs(case: Case) -> str:
    """Integers carry no gradient, and an output that nothing used counts as zero."""
    values = case.values()
    made = case.apply(values)
    for k, y in enumerate(made.outputs):
        if made.follows[k] and y.dtype.kind != "f":
            raise Wrong(f"output {k} is of dtype {y.dtype.name} and requires grad")
    used = [k for k, follows in enumerate(made.follows) if follows]
    if len(made.outputs) == 1:
        raise NotAsked("there is one output")
    u = case.cotangents(made)
    for k in used:
        alone = [a if j == k else None for j, a in enumerate(u)]
        zeros = [a if j == k else np.zeros_like(a) for j, a in enumerate(u)]
        want = made.pull(zeros)
        setup = f"values = {listed(values)}\nalone = {listed(alone)}\nzeros = {listed(zeros)}"
        try:
            got = made.pull(alone)
        except Exception as error:
            says = (
                f"backward is wrong: where output {k} alone is used it raises "
                f"{type(error).__name__}: {error}"
            )
            raise Wrong(says, f"{setup}\ngradients(values, alone)") from error
        if (at := first_difference(got, want)) is not None:
            says = (
                f"backward is wrong: where output {k} alone is used, input {at} gets another "
                f"gradient "
                "than with zeros for the others"
            )
            how = "gradients(values, alone)", "gradients(values, zeros)"
            raise Wrong(says, compared(setup, *how, "an unused output is not zero"))
    kinds = ", ".join(y.dtype.name for y in made.outputs)
    return f"{kinds}; {len(used)} with a gradient"


def interleaved(case: Case) -> str:
    """Two forwards before one backward: each has its own state."""
    one, two = case.values(1), case.values(2)
    u = case.cotangents(case.apply(one))
    alone = case.apply(one)
    outputs, want = [y.copy() for y in alone.outputs], alone.pull(u)
    other = case.apply(two)
    weights = case.cotangents(other, 3)
    wanted_two = other.pull(weights)
    for order in ("first", "last"):
        a, b = case.apply(one), case.apply(two)
        later = None if order == "first" else b.pull(weights)
        got = a.pull(u)
        later = b.pull(weights) if later is None else later
        for found, right in ((got, want), (later, wanted_two)):
            if (at := first_difference(found, right)) is not None:
                says = (
                    "backward is wrong: another forward in between changes the gradient of input "
                    f"{at}; what backward needs is kept where the next call writes"
                )
                raise Wrong(says, _between(one, two, u))
    again = case.apply(one).outputs
    if first_difference(again, outputs) is not None:
        raise Wrong(
            "forward is wrong: the same inputs give another output after other calls",
            compared(
                f"one, two = {listed(one)}, {listed(two)}\nwant = forward(one)\nforward(two)",
                "forward(one)",
                "want",
                "earlier calls decide the output",
            ),
        )
    return "each backward sees its own forward"


def _between(one: list[Any], two: list[Any], u: list[Any]) -> str:
    setup = (
        f"one, two = {listed(one)}, {listed(two)}\nu = {listed(u)}\n"
        "between = lambda inputs, outputs: forward(two, "
        "[isinstance(v, np.ndarray) and v.dtype.kind == 'f' for v in two])"
    )
    how = "gradients(one, u, between=between)", "gradients(one, u)"
    return compared(setup, *how, "another forward changes the gradient")


def repeats(case: Case) -> str:
    """The same call gives the same bits, forward and backward."""
    values = case.values()
    made = case.apply(values)
    u = case.cotangents(made)
    want = [*made.outputs, *made.pull(u)]
    for _ in range(3):
        again = case.apply(values)
        got = [*again.outputs, *again.pull(u)]
        pulled = [*again.outputs, *again.pull(u)]
        for results in (got, pulled):
            for k, (a, b) in enumerate(zip(results, want, strict=True)):
                same = (a is None and b is None) or (
                    a is not None and b is not None and np.array_equal(a, b, equal_nan=True)
                )
                if not same:
                    forward = k < len(made.outputs)
                    where = (
                        f"output {k}"
                        if forward
                        else f"the gradient of input {k - len(made.outputs)}"
                    )
                    side = "forward" if forward else "backward"
                    what = "forward(values)" if forward else "gradients(values, u)"
                    setup = (
                        f"values = {listed(values)}\nu = {listed(u)}\nfirst = {what}\n"
                        f"later = [{what} for _ in range(20)]"
                    )
                    body = (
                        f"{setup}\nprint(first, later)\nassert all(np.array_equal(a, b, "
                        f"equal_nan=True) "
                        "for run in later for a, b in zip(run, first) if a is not None), "
                        "'not the same'"
                    )
                    raise Wrong(f"{side} is not deterministic: {where} is another each time", body)
    return "the same bits four times"


def threads(case: Case) -> str:
    """Calls in several threads at once give what they give alone."""
    drawn = [case.values(10 + k) for k in range(_THREADS)]
    alone = []
    for values in drawn:
        made = case.apply(values)
        u = case.cotangents(made)
        alone.append(([*made.outputs, *made.pull(u)], u))
    raised: list[BaseException] = []
    wrong: list[int] = []
    barrier = threading.Barrier(_THREADS)

    def run(number: int) -> None:
        want, u = alone[number]
        try:
            barrier.wait(60)
            for _ in range(_ROUNDS):
                made = case.apply(drawn[number])
                if first_difference([*made.outputs, *made.pull(u)], want) is not None:
                    wrong.append(number)
        except Exception as error:
            raised.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=run, args=(k,)) for k in range(_THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    if raised:
        raise raised[0]
    if wrong:
        says = (
            f"{len(wrong)} of {_THREADS * _ROUNDS} calls in {_THREADS} threads give what they do "
            f"not give alone"
        )
        raise Wrong(says, _threads_body(drawn, [u for _, u in alone]))
    return f"{_THREADS * _ROUNDS} calls in {_THREADS} threads"


def _threads_body(drawn: list[list[Any]], weights: list[list[Any]]) -> str:
    every = ",\n    ".join(
        f"({listed(values)}, {listed(u)})" for values, u in zip(drawn, weights, strict=True)
    )
    return (
        "import sys\nimport threading\n\nsys.setswitchinterval(1e-6)\n"
        f"calls = [\n    {every},\n]\n"
        "both = lambda values, u: [*forward(values), *gradients(values, u)]\n"
        "alone = [both(*call) for call in calls]\nwrong = []\n\n\n"
        "def run(k):\n    for _ in range(100):\n        got = both(*calls[k])\n"
        "        if not all(np.allclose(a, b) for a, b in zip(got, alone[k]) if a is not None):\n"
        "            wrong.append(k)\n\n\n"
        "workers = [threading.Thread(target=run, args=(k,)) for k in range(len(calls))]\n"
        "for worker in workers:\n    worker.start()\nfor worker in workers:\n    worker.join()\n"
        "assert not wrong, f'{len(wrong)} calls gave what they do not give alone'"
    )


def leaks(case: Case) -> str:
    """Nothing of a call is alive when its results are gone."""
    sizes = dict(case.sizes)
    largest = _largest(case, sizes)
    while largest < _BYTES:
        larger = {name: 2 * size for name, size in sizes.items()}
        if _largest(case, larger) == largest:
            break
        sizes, largest = larger, _largest(case, larger)
    if largest == 0:
        raise NotAsked("no input has a gradient")
    values = case.values(0, "", **sizes)
    u = case.cotangents(case.apply(values))
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        for _ in range(4):
            case.apply(values).pull(u)
        before = case.subject.live()
        for _ in range(_CALLS):
            case.apply(values).pull(u)
        grown = case.subject.live() - before
    finally:
        if not tracing:
            tracemalloc.stop()
    if grown > max(_BYTES, _CALLS * largest // 2):
        says = (
            f"{grown // _CALLS} bytes of each call stay alive when its results are gone, and its "
            f"largest input has {largest}"
        )
        raise Wrong(says, _leaks_body(case, values, u, largest))
    return f"{_CALLS} calls leave {max(grown, 0)} bytes"


def _largest(case: Case, sizes: dict[str, int]) -> int:
    values = case.values(0, "", **sizes)
    return max((int(values[k].nbytes) for k in case.places), default=0)


def _leaks_body(case: Case, values: list[Any], u: list[Any], largest: int) -> str:
    torch = case.subject.label in ("torch", "impl_torch_ext")
    alive = (
        "sum(t.untyped_storage().nbytes() for t in gc.get_objects() "
        "if issubclass(type(t), torch.Tensor))"
        if torch
        else "sum(a.nbytes for a in jax.live_arrays())"
        if "jax" in case.subject.label
        else "tracemalloc.get_traced_memory()[0]"
    )
    extra = "\nimport torch" if torch else "\nimport jax" if "jax" in case.subject.label else ""
    return (
        f"import gc\nimport tracemalloc{extra}\n\ntracemalloc.start()\nvalues = {listed(values)}\n"
        f"u = {listed(u)}\n\n\ndef alive():\n    gc.collect()\n    return {alive}\n\n\n"
        "for _ in range(4):\n    gradients(values, u)\nbefore = alive()\n"
        f"for _ in range({_CALLS}):\n    gradients(values, u)\ngrown = alive() - before\n"
        f"print(grown, 'bytes more')\nassert grown <= {max(_BYTES, _CALLS * largest // 2)}, "
        f"'it leaks'"
    )


ROWS = [
    Property(
        "subsets", "every subset of inputs that require grad gets the same gradients", subsets
    ),
    Property("outputs", "integers carry no gradient, an unused output counts as zero", outputs),
    Property("interleaved", "two forwards before one backward do not meet", interleaved),
    Property("repeats", "the same call gives the same bits", repeats),
    Property("threads", "calls in several threads give what they give alone", threads, once=True),
    Property("leaks", "nothing of a call stays when its results are gone", leaks, once=True),
]
