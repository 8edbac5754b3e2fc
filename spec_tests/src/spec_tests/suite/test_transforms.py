"""Chapter transforms: each cell of its table."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import cells
from spec_tests.judge.transforms import Cell
from spec_tests.support.assertions import agrees, exactly, raw, refuses, to_numpy
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.mapping import looped
from spec_tests.support.threads import together
from spec_tests.support.transformed import CASES, inputs, program

REFUSALS = (RuntimeError, TypeError)
STEP = 6e-6
SEED = 8
THREADS = 3


@pytest.fixture
def dtype_of_programs(nn: Any) -> str:
    """Return one dtype for all columns, so that what is compiled is compiled once."""
    return "float64" if nn.spec_capabilities()["float64"] else "float32"


def slopes(nn: Any, module: Any, call: Callable[[Any], Any], x: np.ndarray) -> list[np.ndarray]:
    """Return the value of a call, and its gradients to the input and the parameters."""
    nn.manual_seed(SEED)
    module.zero_grad()
    leaf = nn.tensor(x, requires_grad=True)
    y = call(leaf)
    nn.ops.sum(y * y).backward()
    leaves = [leaf, *module.parameters()]
    found = [y.detach(), *[t.detach() * 0 if t.grad is None else t.grad for t in leaves]]
    return [to_numpy(nn, t) for t in found]


def same(nn: Any, cell: Cell, got: list[np.ndarray], want: list[np.ndarray]) -> None:
    """Compare two results of `slopes`."""
    __tracebackhide__ = True
    for place, (x, r) in enumerate(zip(got, want, strict=True)):
        what = "value" if place == 0 else f"gradient {place - 1}"
        tolerance = CASES[cell.program].tolerance
        agrees(nn, x, r, tolerance, call=f"{cell.key}: {what}", dtype=r.dtype.name)


def state(nn: Any, module: Any) -> dict[str, np.ndarray]:
    return {key: to_numpy(nn, value).copy() for key, value in module.state_dict().items()}


def asked(nn: Any, cell: Cell, dtype: str, ask: Callable[[Any], None]) -> None:
    """Run what a cell asks for of its program, or see it refused."""
    __tracebackhide__ = True
    module = program(nn, cell.program, dtype)
    if cell.clause is None:
        ask(module)
        return
    before = state(nn, module)
    if not cell.works:
        with refuses(RuntimeError, "vmap" if cell.column == "vmap" else "once_differentiable"):
            ask(module)
    else:
        refusal: Exception | None = None
        try:
            ask(module)
        except REFUSALS as error:
            refusal = error
        if refusal is None:
            return
        assert "\n" not in str(refusal).strip(), refusal
    after = state(nn, module)
    assert list(after) == list(before)
    for key, value in before.items():
        exactly(nn, after[key], value, call=f"{cell.key}: {key}", dtype=value.dtype.name)


def of_a_call(
    nn: Any, cell: Cell, dtype: str, transform: Callable[[Any], Any], times: int = 1
) -> None:
    """Compare a transformed program with the program itself, at several inputs."""
    __tracebackhide__ = True

    def ask(module: Any) -> None:
        __tracebackhide__ = True
        call = transform(module)
        twin = program(nn, cell.program, dtype)
        for time in range(times):
            x = inputs(dtype) * (1 - 0.25 * time)
            same(nn, cell, slopes(nn, module, call, x), slopes(nn, twin, twin, x))

    asked(nn, cell, dtype, ask)


@pytest.mark.sampled(6)
@clause("transforms-01")
@cells("jit")
def test_jit(nn: Any, dtype_of_programs: str, cell: Cell) -> None:
    of_a_call(nn, cell, dtype_of_programs, nn.jit, times=2)


@pytest.mark.sampled(8)
@clause("transforms-02")
@cells("vmap")
def test_vmap(nn: Any, dtype_of_programs: str, cell: Cell) -> None:
    array = inputs(dtype_of_programs)
    stack = np.stack([array, array * 0.75], axis=1)

    def ask(module: Any) -> None:
        __tracebackhide__ = True

        def seeded(x: Any) -> Any:
            nn.manual_seed(SEED)
            return module(x)

        got = slopes(nn, module, nn.vmap(module, in_axes=1), stack)
        same(nn, cell, got, slopes(nn, module, looped(nn, seeded, 1), stack))

    asked(nn, cell, dtype_of_programs, ask)


@pytest.mark.sampled(6)
@clause("transforms-03")
@cells("jvp")
def test_jvp(nn: Any, dtype_of_programs: str, cell: Cell) -> None:
    dtype = dtype_of_programs
    x, u = inputs(dtype), normal(inputs(dtype).shape, dtype, seed=5)

    def ask(module: Any) -> None:
        nn.manual_seed(SEED)
        output, tangent = nn.jvp(module, (nn.tensor(x),), (nn.tensor(u),))
        nn.manual_seed(SEED)
        want, pull = nn.vjp(module, nn.tensor(x))
        w = normal(tuple(want.shape), dtype, seed=6)
        terms = in_double(w) * in_double(to_numpy(nn, tangent))
        others = in_double(to_numpy(nn, pull(nn.tensor(w))[0])) * in_double(u)
        agrees(nn, output, to_numpy(nn, want), CASES[cell.program].tolerance, dtype=dtype)
        size = np.abs(terms).sum() + np.abs(others).sum()
        assert abs(terms.sum() - others.sum()) <= 64 * np.finfo(dtype).eps * size, cell.key
        assert np.abs(terms).sum() > 0

    asked(nn, cell, dtype, ask)


@pytest.mark.sampled(4)
@clause("transforms-04", needs="float64")
@cells("second")
def test_second(nn: Any, cell: Cell) -> None:
    x, u = inputs("float64"), normal(inputs("float64").shape, seed=5)

    def ask(module: Any) -> None:
        def first(x: Any) -> Any:
            nn.manual_seed(SEED)
            y = module(x)
            return nn.ops.sum(y * y)

        leaf = nn.tensor(x, requires_grad=True)
        (slope,) = nn.grad(first(leaf), [leaf], create_graph=True)
        nn.ops.sum(slope * nn.tensor(u)).backward()
        ahead, behind = (
            to_numpy(nn, nn.grad(first)(nn.tensor(x + step * u))) for step in (STEP, -STEP)
        )
        want = (ahead - behind) / (2 * STEP)
        agrees(nn, leaf.grad, want, "difference", call=cell.key, dtype="float64")

    asked(nn, cell, "float64", ask)


@pytest.mark.sampled(4)
@clause("transforms-05")
@cells("checkpoint")
def test_checkpoint(nn: Any, dtype_of_programs: str, cell: Cell) -> None:
    of_a_call(nn, cell, dtype_of_programs, lambda module: lambda x: nn.checkpoint(module, x))


def copied(nn: Any, cell: Cell, dtype: str, copy_of: Callable[[Any], Any]) -> None:
    """Compare a copy of a program that was used, and change the copy."""
    __tracebackhide__ = True
    module = program(nn, cell.program, dtype)
    array = inputs(dtype)
    slopes(nn, module, module, array)
    before = state(nn, module)
    other = copy_of(module)
    got = slopes(nn, other, other, array)
    want = slopes(nn, module, module, array)
    for x, r in zip(got, want, strict=True):
        exactly(nn, x, r, call=cell.key, dtype=r.dtype.name)
    after = state(nn, module)
    for parameter in other.parameters():
        parameter.data = raw(nn, to_numpy(nn, parameter) * 0)
    for key, value in state(nn, module).items():
        exactly(nn, value, after[key], call=f"{cell.key}: {key}", dtype=value.dtype.name)
    assert list(before) == list(after)


@clause("transforms-06")
@cells("deepcopy")
def test_deepcopy(nn: Any, dtype_of_programs: str, cell: Cell) -> None:
    copied(nn, cell, dtype_of_programs, copy.deepcopy)


@clause("transforms-07")
@cells("pickle")
def test_pickle(nn: Any, dtype_of_programs: str, cell: Cell) -> None:
    copied(nn, cell, dtype_of_programs, lambda module: pickle.loads(pickle.dumps(module)))


@clause("transforms-08")
@cells("threads")
def test_threads(nn: Any, dtype_of_programs: str, cell: Cell) -> None:
    dtype = dtype_of_programs
    module, array = program(nn, cell.program, dtype), inputs(dtype)
    drawing = cell.program.startswith("Dropout")
    want = slopes(nn, module, module, array)
    module.zero_grad()
    leaves = [nn.tensor(array, requires_grad=True) for _ in range(THREADS)]
    values: list[Any] = [None] * THREADS

    def work(number: int) -> None:
        values[number] = module(leaves[number])
        nn.ops.sum(values[number] * values[number]).backward()

    together(work, THREADS)
    for leaf, value in zip(leaves, values, strict=True):
        got = [to_numpy(nn, value), to_numpy(nn, leaf.grad)]
        # What Dropout leaves is twice its input, so the slope of y * y by x is 4 y w.
        drawn = [got[0], 4 * got[0] * to_numpy(nn, module.weight)] if drawing else want[:2]
        same(nn, cell, got, drawn)
    if not drawing:
        sums = [p.detach() * 0 if p.grad is None else p.grad for p in module.parameters()]
        wanted = [THREADS * slope for slope in want[2:]]
        same(nn, cell, [to_numpy(nn, total) for total in sums], wanted)
