"""Chapter linalg: complex matrices, row by row, and the eigenvalues of general ones."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check.differences import gradients
from spec_tests.judge import tables
from spec_tests.judge.clauses import asks, rows
from spec_tests.judge.tables import Row
from spec_tests.support import matrices
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.calls import (
    Call,
    arguments,
    as_raw,
    as_tensors,
    calls,
    evaluate_all,
    results,
)

pytestmark = pytest.mark.sampled(4)

GENERAL = ("eig", "eigvals")


def is_asked(row: Row) -> bool:
    return row.family != "same"


def differentiable(row: Row) -> bool:
    return is_asked(row) and row.gradient == "yes"


def in_double(call: Call) -> Call:
    """Return the call with complex arrays in complex128, in which formulas are computed."""

    def wide(leaf: Any) -> Any:
        complex_ = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "c"
        return leaf.astype("complex128") if complex_ else leaf

    return Call(call.text, *call.map(wide))


def squared(x: np.ndarray) -> np.ndarray:
    """Return the squares of the magnitudes."""
    return np.asarray(x.real**2 + x.imag**2)


def parts(values: list[Any]) -> list[np.ndarray]:
    """Return the real and the imaginary parts of NumPy's arrays."""
    return [part for value in values for part in (np.real(value), np.imag(value))]


def parts_of(nn: Any, values: list[Any], wanted: list[np.ndarray]) -> list[Any]:
    """Return the real and imaginary parts of Tensors, a zero beside those that are real."""
    found: list[Any] = []
    for value, want in zip(values, wanted, strict=True):
        complex_ = np.iscomplexobj(want)
        found.append(nn.ops.real(value) if complex_ else value)
        found.append(nn.ops.imag(value) if complex_ else value * 0.0)
    return found


def compare(nn: Any, row: Row, dtype: str) -> None:
    """Compare the values of a row's calls on arrays of a dtype, real or complex."""
    __tracebackhide__ = True
    function = getattr(nn.ops.linalg, row.name)
    for call in calls(row, dtype):
        wanted = evaluate_all(row, in_double(call))
        tensors, options, _ = as_tensors(nn, call)
        for positional, keywords in ((tensors, options), as_raw(nn, call)):
            value = function(*positional, **keywords)
            if row.name in matrices.FIELDS:
                fields = getattr(type(value), "_fields", None)
                assert fields == matrices.FIELDS[row.name], f"{call.text} has fields {fields}"
            for got, want in zip(results(value), wanted, strict=True):
                assert isinstance(got, nn.Tensor), f"{call.text} gave {type(got).__name__}"
                wide = matrices.dtype_like(want, dtype)
                matrices.agree(nn, got, want, str(row.tolerance), call=call.text, dtype=wide)


def losses(
    nn: Any, row: Row, call: Call, leaves: list[Any], arrays: list[np.ndarray]
) -> tuple[Any, Any]:
    """Return a real number that depends on no phases, and the function of NumPy that gives it.

    Parameters
    ----------
    nn, row, call
        What is computed.
    leaves : list of Tensor
        In the places of the call's arrays.
    arrays : list of numpy.ndarray
        Their values.
    """
    left = iter(leaves)
    positional, options = arguments(nn, call, lambda array: next(left))
    values = results(getattr(nn.ops.linalg, row.name)(*positional, **options))
    squares = lambda x: nn.ops.real(x) ** 2 + nn.ops.imag(x) ** 2  # noqa: E731
    shown = matrices.without_phases(row.name, values, squares)

    def measured(*places: np.ndarray) -> list[np.ndarray]:
        inside = iter(places)
        filled = Call(call.text, *call.map(lambda leaf: _placed(leaf, inside)))
        return matrices.without_phases(row.name, evaluate_all(row, filled), squared)

    wanted = measured(*arrays)
    rng = np.random.default_rng(5)
    weights = [np.asarray(rng.uniform(0.5, 1.5, part.shape)) for part in parts(wanted)]
    terms = [
        nn.ops.sum(part * nn.tensor(weight.astype(to_numpy(nn, part).dtype)))
        for part, weight in zip(parts_of(nn, shown, wanted), weights, strict=True)
    ]

    def number(*places: np.ndarray) -> float:
        found = parts(measured(*places))
        return float(sum(np.sum(a * b) for a, b in zip(found, weights, strict=True)))

    return sum(terms[1:], terms[0]), number


def _placed(leaf: Any, inside: Any) -> Any:
    return next(inside) if isinstance(leaf, np.ndarray) else leaf


def pairs(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return the real and the imaginary parts of each array, one after the other."""
    return [np.ascontiguousarray(part) for array in arrays for part in (array.real, array.imag)]


def joined(halves: Any) -> list[Any]:
    """Return ``a + 1j * b`` of each pair."""
    return [a + 1j * b for a, b in zip(halves[::2], halves[1::2], strict=True)]


@pytest.mark.sampled(6)
@clause("linalg-05", "linalg-02", "linalg-04", needs="float64")
@rows("linalg", where=is_asked)
def test_complex_values(nn: Any, row: Row) -> None:
    for name in ("complex64", "complex128"):
        compare(nn, row, name)


@pytest.mark.sampled(9)
@clause("linalg-05", "linalg-03", needs="float64")
@rows("linalg", where=differentiable)
def test_complex_gradients(nn: Any, row: Row) -> None:
    for call in calls(row, "complex128"):
        halves = pairs(call.arrays())
        leaves = [tensor(nn, half) for half in halves]
        loss, number = losses(nn, row, call, joined(leaves), call.arrays())
        loss.backward()
        wanted = gradients(lambda *points, number=number: number(*joined(points)), halves)
        for place, (leaf, want) in enumerate(zip(leaves, wanted, strict=True)):
            part = "imaginary" if place % 2 else "real"
            text = f"gradient of {call.text} by the {part} part of array {place // 2}"
            agrees(nn, leaf.grad, want, "difference", call=text, dtype="float64")


@pytest.mark.sampled(6)
@clause("linalg-05", "autograd-13", needs=("float64", "double_backward"))
@rows(
    "linalg",
    where=lambda row: differentiable(row) and row.family != "products",
    asks="second derivative",
)
def test_complex_second_derivatives(nn: Any, row: Row) -> None:
    """A gradient times a direction, differentiated along another one, against differences."""
    call = calls(row, "complex128")[0]
    halves = pairs(call.arrays())
    directions = [
        matrices.drawn(half.shape, "float64", seed=40 + k) for k, half in enumerate(halves)
    ]
    if row.name in ("cholesky", "eigh", "eigvalsh"):
        # Both triangles move alike, so that it is all one which of them is read.
        moves = [matrices.symmetrized(move) for move in joined(directions)]
        directions = pairs(moves)

    def loss(*inside: Any) -> Any:
        return losses(nn, row, call, joined(inside), call.arrays())[0]

    def first(at: list[Any], *, create_graph: bool) -> Any:
        return nn.grad(loss, argnums=tuple(range(len(at))), create_graph=create_graph)(*at)

    def slope(t: Any) -> Any:
        at = [
            nn.tensor(half) + t * nn.tensor(move)
            for half, move in zip(halves, directions, strict=True)
        ]
        terms = [
            nn.ops.sum(part * nn.tensor(np.cos(move)))
            for part, move in zip(first(at, create_graph=True), directions, strict=True)
        ]
        return sum(terms[1:], terms[0])

    points = [nn.tensor(half) for half in halves]
    both = (first(points, create_graph=flag) for flag in (True, False))
    for recorded, plain in zip(*both, strict=True):
        said = f"recorded gradient of {call.text}"
        agrees(nn, recorded, to_numpy(nn, plain), "gradient", call=said, dtype="float64")

    got = nn.grad(slope)(nn.tensor(np.asarray(0.0)))
    (want,) = gradients(lambda t: float(to_numpy(nn, slope(nn.tensor(t)))), [np.asarray(0.0)])
    agrees(nn, got, want, "difference", call=f"second derivative of {call.text}", dtype="float64")


@clause("linalg-05", needs="float64")
def test_real_beside_complex(nn: Any) -> None:
    """The gradient of a real operand is the real part."""
    row = tables.read()["linalg.solve"]
    real, right = matrices.regular((3, 3), "float64"), matrices.drawn((3, 2), "complex128", 1)
    call = Call("solve(real, complex)", (real, right), {})
    a, *halves = [tensor(nn, array) for array in (real, right.real.copy(), right.imag.copy())]
    loss, number = losses(nn, row, call, [a, halves[0] + 1j * halves[1]], [real, right])
    loss.backward()
    wanted = gradients(
        lambda x, p, q: number(x, p + 1j * q), [real, right.real.copy(), right.imag.copy()]
    )
    for leaf, want in zip([a, *halves], wanted, strict=True):
        agrees(nn, leaf.grad, want, "difference", call=call.text, dtype="float64")


@clause("linalg-08", "linalg-05")
@pytest.mark.parametrize("name", ["cholesky", "eigh", "eigvalsh"])
def test_one_complex_triangle_is_read(nn: Any, name: str) -> None:
    x = matrices.definite((3, 3), "complex128")
    want = results(getattr(nn.ops.linalg, name)(nn.tensor(x)))
    spoiled = np.where(np.tri(3, dtype=bool), x, np.nan) + 1j * np.eye(3)
    got = results(getattr(nn.ops.linalg, name)(nn.tensor(spoiled)))
    for one, other in zip(got, want, strict=True):
        reference = to_numpy(nn, other)
        matrices.agree(nn, one, reference, "matmul", call=name, dtype=reference.dtype.name)


@clause("linalg-15", "linalg-04")
@rows("linalg", where=lambda row: row.name in GENERAL, asks=("values", "raw arrays"))
def test_eigenvalues_of_real_matrices(nn: Any, dtype: str, row: Row) -> None:
    compare(nn, row, dtype)


@clause("linalg-15", "linalg-03", needs="float64")
@rows("linalg", where=lambda row: row.name in GENERAL, asks="gradient")
def test_gradients_of_eigenvalues_of_real_matrices(nn: Any, row: Row) -> None:
    for call in calls(row, "float64"):
        leaves = [tensor(nn, array) for array in call.arrays()]
        loss, number = losses(nn, row, call, leaves, call.arrays())
        loss.backward()
        (want,) = gradients(number, call.arrays())
        text = f"gradient of {call.text}"
        agrees(nn, leaves[0].grad, want, "difference", call=text, dtype="float64")


@clause("linalg-15")
@pytest.mark.parametrize("name", ["float32", "complex64"])
def test_the_order_and_gauge_of_eig(nn: Any, name: str) -> None:
    x = matrices.general((5, 5), name)
    values, vectors = (to_numpy(nn, part) for part in nn.ops.linalg.eig(nn.tensor(x)))
    assert np.all(np.diff(values.real) >= 0), f"eigenvalues should ascend, got {values}"
    if name == "float32":
        place = int(np.argmax(values.imag))
        pair = values[place - 1 : place + 1]
        assert pair[0] == np.conj(pair[1]), f"a pair should stand together, got {values}"
    largest = np.take_along_axis(vectors, np.argmax(abs(vectors), 0)[None], 0)[0]
    eps = float(np.finfo("float32").eps)
    assert np.all(abs(largest.imag) <= 4 * eps), f"the largest should be real, got {largest}"
    assert np.all(largest.real > 0), f"the largest should be positive, got {largest}"
    lengths = np.sqrt(np.sum(squared(vectors.astype("complex128")), 0))
    assert np.all(abs(lengths - 1) <= 16 * eps), f"lengths should be 1, got {lengths}"


@clause("linalg-15")
@pytest.mark.parametrize("name", GENERAL)
def test_the_order_of_many_equal_real_parts(nn: Any, name: str) -> None:
    n = np.arange(21)
    diagonal = (n % 2 + 1j * (8 * n % 21)).astype("complex64")
    found = getattr(nn.ops.linalg, name)(nn.tensor(np.diag(diagonal)))
    exactly(nn, results(found)[0], np.sort(diagonal), dtype="complex64")


@clause("linalg-15", "linalg-06")
@pytest.mark.parametrize("name", GENERAL)
def test_shapes_that_eig_refuses(nn: Any, name: str) -> None:
    for shape in ((3,), (2, 3, 4)):
        with refuses(ValueError, name, str(shape)):
            getattr(nn.ops.linalg, name)(nn.tensor(np.ones(shape, "float32")))


@asks("zero sizes", "linalg.eig", "linalg.eigvals")
@clause("linalg-15", "linalg-07")
def test_eig_of_nothing(nn: Any) -> None:
    for shape in ((0, 0), (0, 3, 3)):
        x = tensor(nn, np.ones(shape, "float32"))
        values, vectors = nn.ops.linalg.eig(x)
        assert tuple(values.shape) == shape[:-1], f"eigenvalues have the shape {values.shape}"
        assert tuple(vectors.shape) == shape, f"eigenvectors have the shape {vectors.shape}"
        nn.ops.sum(nn.ops.real(nn.ops.linalg.eigvals(x))).backward()
        assert tuple(x.grad.shape) == shape, f"the gradient has the shape {x.grad.shape}"
