"""Chapter linalg, row by row: what every function of the tables is asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.check.differences import gradients
from spec_tests.judge import tables
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support import matrices
from spec_tests.support.assertions import agrees, exactly, refuses, same_signature, to_numpy
from spec_tests.support.calls import (
    Call,
    as_raw,
    as_tensors,
    calls,
    evaluate_all,
    filled,
    results,
)

pytestmark = pytest.mark.sampled(4)

# Their results are complex whatever comes.
COMPLEX = ("eig", "eigvals")
ONE_TRIANGLE = ("cholesky", "eigh", "eigvalsh")
OF_FLOATING = ("solving", "decompositions")


def of_linalg(row: Row) -> bool:
    """Whether the function is asked about here alone, and with real results."""
    return row.family != "same" and row.name not in COMPLEX


def differentiable(row: Row) -> bool:
    return of_linalg(row) and row.gradient == "yes"


def hermitian_part(nn: Any, x: Any) -> Any:
    """Return the mean with the transpose, of which both triangles are functions of all elements."""
    return (x + nn.ops.matrix_transpose(x)) / 2


def weights(values: list[Any], dtype: str) -> list[np.ndarray]:
    """Return the numbers by which results are multiplied before they are summed."""
    rng = np.random.default_rng(5)
    return [np.asarray(rng.uniform(0.5, 1.5, value.shape)).astype(dtype) for value in values]


@clause("linalg-01")
@rows("linalg")
def test_signatures(nn: Any, row: Row) -> None:
    assert hasattr(nn.ops.linalg, row.name), f"nn.ops.linalg.{row.name} should exist"
    function = getattr(nn.ops.linalg, row.name)
    same_signature(function, row.signature)
    if row.family == "same":
        name = "norm" if row.name == "vector_norm" else row.name
        assert function is getattr(nn.ops, name), f"linalg.{row.name} should be ops.{name}"


@clause("linalg-01")
def test_the_names_of_the_namespace(nn: Any) -> None:
    wanted = {row.name for row in tables.read().values() if row.chapter == "linalg"}
    listed = set(nn.ops.linalg.__all__)
    assert listed == wanted, f"__all__ and the tables differ by {sorted(listed ^ wanted)}"


@clause("linalg-02", "linalg-04")
@rows("linalg", where=lambda row: row.name not in COMPLEX, asks=("values", "raw arrays"))
def test_values(nn: Any, dtype: str, row: Row) -> None:
    function = getattr(nn.ops.linalg, row.name)
    for call in calls(row, dtype):
        wanted = evaluate_all(row, call)
        tensors, options, _ = as_tensors(nn, call)
        for positional, keywords in ((tensors, options), as_raw(nn, call)):
            value = function(*positional, **keywords)
            if row.name in matrices.FIELDS:
                fields = getattr(type(value), "_fields", None)
                assert fields == matrices.FIELDS[row.name], f"{call.text} has fields {fields}"
            for got, want in zip(results(value), wanted, strict=True):
                assert isinstance(got, nn.Tensor), f"{call.text} gave {type(got).__name__}"
                wide = matrices.dtype_like(want, dtype)
                agrees(nn, got, want, str(row.tolerance), call=call.text, dtype=wide)


@clause("linalg-03")
@rows("linalg", where=differentiable, asks="gradient")
def test_gradients(nn: Any, dtype: str, row: Row) -> None:
    for call in calls(row, dtype):
        positional, options, leaves = as_tensors(nn, call, requires_grad=True)
        values = results(getattr(nn.ops.linalg, row.name)(*positional, **options))
        factors = weights(values, dtype)
        for value, factor in zip(values, factors, strict=True):
            if value.requires_grad:
                value.backward(nn.tensor(factor), retain_graph=len(values) > 1)

        def number(*arrays: Any, call: Call = call, factors: Any = factors) -> float:
            wanted = evaluate_all(row, call, list(arrays))
            return float(sum(np.sum(a * b) for a, b in zip(wanted, factors, strict=True)))

        tolerance = "difference" if dtype == "float64" else "gradient"
        wanted = gradients(number, call.floating())
        for place, (leaf, slope) in enumerate(zip(leaves, wanted, strict=True)):
            text = f"gradient of {call.text} by array {place}"
            agrees(nn, leaf.grad, slope, tolerance, call=text)


@clause("linalg-03", "autograd-13", needs=("float64", "double_backward"))
@rows("linalg", where=differentiable, asks="second derivative")
def test_second_derivatives(nn: Any, row: Row) -> None:
    call = calls(row, "float64")[0]

    def cube(*tensors: Any) -> Any:
        if row.name in ONE_TRIANGLE:
            tensors = (hermitian_part(nn, *tensors),)
        positional, options = filled(nn, call, iter(tensors))
        values = results(getattr(nn.ops.linalg, row.name)(*positional, **options))
        # The third power gives linear functions a second derivative too.
        return tuple(y * y * y for y in values)

    check_gradients(nn, cube, call.floating(), second_order=True, call=call.text)


@pytest.mark.sampled(7)
@clause("linalg-03", needs=("float64", "double_backward"))
@pytest.mark.parametrize("name", ["solve", "cholesky", "qr", "eigh", "svd", "pinv", "det"])
def test_third_derivatives(nn: Any, name: str) -> None:
    """The second derivative's own gradient, along one line of inputs, against differences."""
    row = tables.read()[f"linalg.{name}"]
    call = calls(row, "float64")[0]
    arrays = call.floating()
    steps = [matrices.drawn(array.shape, "float64", seed=7) for array in arrays]

    def along(t: Any) -> Any:
        moved = [
            nn.tensor(array) + t * nn.tensor(step)
            for array, step in zip(arrays, steps, strict=True)
        ]
        if name in ONE_TRIANGLE:
            moved = [hermitian_part(nn, *moved)]
        positional, options = filled(nn, call, iter(moved))
        values = results(getattr(nn.ops.linalg, name)(*positional, **options))
        terms = [
            nn.ops.sum(value * value * value * nn.tensor(factor))
            for value, factor in zip(values, weights(values, "float64"), strict=True)
        ]
        return sum(terms[1:], terms[0])

    second = nn.grad(nn.grad(along, create_graph=True), create_graph=True)
    check_gradients(nn, second, [np.asarray(0.0)], call=f"second derivative of {name}")


@clause("linalg-03", "linalg-04")
@rows("linalg", where=lambda row: row.gradient == "none", asks="gradient")
def test_no_gradients(nn: Any, row: Row) -> None:
    for call in calls(row, "float32"):
        positional, options, _ = as_tensors(nn, call, requires_grad=True)
        got = getattr(nn.ops.linalg, row.name)(*positional, **options)
        assert got.requires_grad is False, f"{call.text} should not require grad"


@clause("linalg-03")
@pytest.mark.parametrize("name", ["qr", "eigh", "svd", "slogdet"])
def test_one_of_several_results(nn: Any, dtype: str, name: str) -> None:
    """The gradient of each result alone; together they give the gradient of the sum."""
    row = tables.read()[f"linalg.{name}"]
    call = calls(row, dtype)[0]
    for field, label in enumerate(matrices.FIELDS[name]):
        if label == "sign":
            continue
        positional, options, leaves = as_tensors(nn, call, requires_grad=True)
        value = getattr(getattr(nn.ops.linalg, name)(*positional, **options), label)
        (factor,) = weights([value], dtype)
        nn.ops.sum(value * nn.tensor(factor)).backward()

        def number(*arrays: Any, field: int = field, factor: Any = factor) -> float:
            return float(np.sum(evaluate_all(row, call, list(arrays))[field] * factor))

        (want,) = gradients(number, call.floating())
        tolerance = "difference" if dtype == "float64" else "gradient"
        agrees(nn, leaves[0].grad, want, tolerance, call=f"gradient of {label} of {call.text}")


@pytest.mark.sampled(8)
@clause("linalg-07")
@rows("linalg", where=of_linalg, asks="zero sizes")
def test_zero_sizes(nn: Any, row: Row) -> None:
    for place in (0, -1):
        for number, full in enumerate(calls(row, "float32")):
            sizes = [size for size in full.arrays()[0].shape if size > 1]
            check_empty(nn, row, calls(row, "float32", without(sizes[place]))[number])


def without(size: int) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Return a function that puts 0 for every axis of this length."""
    return lambda shape: tuple(0 if length == size else length for length in shape)


def check_empty(nn: Any, row: Row, call: Call) -> None:
    """Compare a call on empty arrays with the formula, which may refuse them."""
    __tracebackhide__ = True
    text = f"{call.text} with shapes {', '.join(str(array.shape) for array in call.arrays())}"
    positional, options, leaves = as_tensors(nn, call, requires_grad=row.gradient == "yes")
    function = getattr(nn.ops.linalg, row.name)
    try:
        wanted = evaluate_all(row, call)
    except ValueError:
        with refuses(ValueError, row.name, str(call.arrays()[0].shape)):
            function(*positional, **options)
        return
    values = results(function(*positional, **options))
    for got, want in zip(values, wanted, strict=True):
        wide = matrices.dtype_like(want, "float32")
        agrees(nn, got, want, str(row.tolerance), call=text, dtype=wide)
    if row.gradient == "yes":
        for value in values:
            if value.requires_grad:
                ones = np.ones_like(to_numpy(nn, value))
                value.backward(nn.tensor(ones), retain_graph=len(values) > 1)
        for leaf, array in zip(leaves, call.floating(), strict=True):
            if not array.size:
                exactly(nn, leaf.grad, np.zeros_like(array), call=f"gradient of {text}")


@clause("linalg-04")
@rows("linalg", where=lambda row: row.family != "same", asks="bad calls")
def test_operands_that_are_refused(nn: Any, row: Row) -> None:
    function = getattr(nn.ops.linalg, row.name)
    call = calls(row, "float32")[0]
    positional, options, _ = as_tensors(nn, call)
    wrong: Any
    for wrong in ("text", None, {}):
        for place, argument in enumerate(call.arguments):
            if isinstance(argument, np.ndarray):
                bad = [*positional[:place], wrong, *positional[place + 1 :]]
                with refuses(TypeError, row.name, type(wrong).__name__):
                    function(*bad, **options)
    names = ("int64", "bool") if row.family in OF_FLOATING else ()
    if row.name in COMPLEX and not nn.spec_capabilities().get("complex", False):
        names = (*names, "float32")
    for name in names:
        # The identity, so that nothing but the dtype is wrong.
        x = nn.tensor(np.eye(3).astype(name))
        others = {"solve": (x,), "matrix_power": (2,)}.get(row.name, ())
        with refuses(TypeError, row.name, *(() if row.name in COMPLEX else (name,))):
            function(x, *others)


@clause("linalg-06")
@rows(
    "linalg",
    where=lambda row: row.family in OF_FLOATING and row.name not in COMPLEX,
    asks="bad calls",
)
def test_shapes_that_are_no_matrices(nn: Any, row: Row) -> None:
    function = getattr(nn.ops.linalg, row.name)
    (size,) = {array.shape[-1] for array in calls(row, "float32")[0].arrays()[:1]}
    square = {"cholesky", "det", "eigh", "eigvalsh", "inv", "matrix_power", "slogdet", "solve"}
    shapes = [(size,), (2, size, size + 1)] if row.name in square else [(size,)]
    for shape in shapes:
        x = nn.tensor(np.ones(shape, "float32"))
        others = {"solve": (x,), "matrix_power": (2,)}.get(row.name, ())
        with refuses(ValueError, row.name, str(shape)):
            function(x, *others)
