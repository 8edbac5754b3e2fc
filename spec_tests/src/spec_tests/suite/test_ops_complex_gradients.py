"""Chapter ops: the gradients of functions of complex arrays, by differences in the parts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, to_numpy
from spec_tests.support.calls import Call, calls, evaluate_all, filled, results
from spec_tests.support.complexes import (
    PARTS,
    complex_calls,
    leaves_of,
    parts,
    slopes,
    takes,
    weights,
    whole,
)
from spec_tests.support.dtypes import COMPLEX, there
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(6)

BOTH = ("complex", "float64", "double_backward")


def sloping(row: Row) -> bool:
    """Whether a row has gradients of complex arrays: so do two whose real numbers have none."""
    return takes(row) and (row.gradient == "yes" or row.name in ("sign", "imag"))


def computed(nn: Any, row: Row, call: Call, tensors: Iterator[Any]) -> list[Any]:
    positional, options = filled(nn, call, tensors)
    return results(getattr(nn.ops, row.name)(*positional, **options))


def send(nn: Any, values: list[Any], cotangents: list[np.ndarray]) -> None:
    """Run backward from every result, each with its cotangent in its own dtype."""
    for value, weight in zip(values, cotangents, strict=True):
        cotangent = nn.tensor(weight.astype(to_numpy(nn, value).dtype))
        value.backward(cotangent, retain_graph=len(values) > 1)


@pytest.mark.sampled(40)
@clause("ops-61", "autograd-47", "autograd-48")
@rows("ops", where=sloping)
def test_gradients_of_complex_functions(nn: Any, row: Row) -> None:
    for dtype in there(nn, COMPLEX):
        tolerance = "difference" if dtype == "complex128" else "gradient"
        for call in complex_calls(row, dtype):
            cotangents = weights(evaluate_all(row, call))
            # Rounded first, so that the reference has the same ones.
            cotangents = [
                w.astype(dtype if w.dtype.kind == "c" else PARTS[dtype]) for w in cotangents
            ]
            tensors, leaves = leaves_of(nn, call.floating())
            values = computed(nn, row, call, iter(tensors))
            assert all(value.requires_grad for value in values), f"{call.text} is not recorded"
            send(nn, values, cotangents)
            for place, (leaf, want) in enumerate(
                zip(leaves, slopes(row, call, cotangents), strict=True)
            ):
                said = f"gradient of {call.text} of {dtype} by part {place}"
                agrees(nn, leaf.grad, want, tolerance, call=said, dtype=PARTS[dtype])


@clause("ops-61", "autograd-13", needs=BOTH)
@pytest.mark.sampled(32)
@rows("ops", where=sloping)
def test_second_derivatives_of_complex_functions(nn: Any, row: Row) -> None:
    call = calls(row, "complex128")[0]
    arrays = call.floating()

    def cube(*tensors: Any) -> Any:
        made = whole(iter(tensors), arrays)
        values = computed(nn, row, call, iter(made))
        # The third power gives linear functions a second derivative too.
        flat = [nn.ops.reshape(y * y * y, (-1,)) for y in values]
        joined = flat[0] if len(flat) == 1 else nn.ops.concat(flat)
        return nn.ops.real(joined), nn.ops.imag(joined)

    check_gradients(nn, cube, parts(arrays), second_order=True, call=call.text)


@clause("ops-61", "ops-62", "ops-07")
def test_gradients_at_zero(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        for name in ("abs", "sign", "round"):
            (z,), leaves = leaves_of(nn, [np.array([0, 3 + 4j], dtype)])
            value = getattr(nn.ops, name)(z)
            send(nn, [value], weights([to_numpy(nn, value)]))
            for leaf in leaves:
                assert float(leaf.grad[0]) == 0.0, f"{name} at 0 sends {leaf.grad}"
                assert name != "round" or float(leaf.grad[1]) == 0.0
        (z,), leaves = leaves_of(nn, [np.array([0, 2 - 1j, -1j], dtype)])
        nn.ops.real(nn.ops.sum(nn.ops.pow(z, 0))).backward()
        for leaf in leaves:
            exactly(nn, leaf.grad, np.zeros(3), dtype=PARTS[dtype], call="gradient of pow(z, 0)")
        (z,), leaves = leaves_of(nn, [np.zeros(3, dtype)])
        nn.ops.norm(z).backward()
        for leaf in leaves:
            exactly(nn, leaf.grad, np.zeros(3), dtype=PARTS[dtype], call="gradient of a norm of 0")


@clause("ops-61", "ops-28")
@pytest.mark.parametrize("base", [0, -1, -2.0, 1.5, 1j, -1 + 0j])
def test_powers_of_a_number(nn: Any, base: complex) -> None:
    """They have the gradient of those of an array that is full of it."""
    for dtype in there(nn, COMPLEX):
        exponents = np.array([1, 2, 1] if base == 0 else [1 - 1j, 2j, -0.5], dtype)
        found = []
        for x in (base, nn.tensor(np.full(3, base, dtype))):
            (z,), leaves = leaves_of(nn, [exponents])
            value = nn.ops.pow(x, z)
            send(nn, [value], weights([to_numpy(nn, value)]))
            found.append([to_numpy(nn, leaf.grad) for leaf in leaves])
        for got, want in zip(*found, strict=True):
            agrees(nn, got, want, "gradient", dtype=PARTS[dtype], call=f"pow({base}, z)")
            assert base != 0 or not want.any(), f"gradient of powers of 0: {want}"


@clause("ops-61", "ops-38", "ops-22", needs=BOTH)
@pytest.mark.parametrize("name", ["prod", "cumulative_prod"])
def test_products_with_zeros(nn: Any, name: str) -> None:
    for zeros in ([1], [0, 2]):
        array = normal(4, "complex128")
        array[zeros] = 0

        def product(a: Any, b: Any) -> Any:
            z = getattr(nn.ops, name)(a + 1j * b)
            return nn.ops.real(z), nn.ops.imag(z)

        said = f"{name}, zeros at {zeros}"
        check_gradients(nn, product, [array.real, array.imag], second_order=True, call=said)


@clause("ops-61", "ops-11")
def test_gradients_of_casts(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        x = nn.tensor(np.array([1.0, 2.0], "float32"), requires_grad=True)
        z = nn.ops.astype(x, getattr(nn, dtype))
        z.backward(nn.tensor(np.array([2 + 1j, 3 - 1j], dtype)))
        exactly(nn, x.grad, np.array([2.0, 3.0]), dtype="float32", call=f"gradient of {dtype}")
        for other in there(nn, COMPLEX):
            (z,), leaves = leaves_of(nn, [np.array([1 + 2j], dtype)])
            nn.ops.astype(z, getattr(nn, other)).backward(nn.tensor(np.array([0.5 - 2j], other)))
            got = [float(leaf.grad[0]) for leaf in leaves]
            assert got == [0.5, -2.0], f"gradient of {dtype} to {other} is {got}"


@clause("tensor-18", "ops-61")
def test_real_operands_get_the_real_part(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        array = np.array([[1 + 2j, 3 - 1j]], dtype)
        x = nn.tensor(np.array([[0.5], [2.0]], PARTS[dtype]), requires_grad=True)
        value = x * nn.tensor(array) + x
        assert to_numpy(nn, value).dtype == dtype
        cotangent = np.array([[1, 1j], [2 - 1j, 0.5]], dtype)
        value.backward(nn.tensor(cotangent))
        want = np.real(cotangent * np.conj(array + 1)).sum(axis=1, keepdims=True)
        agrees(nn, x.grad, want, "gradient", dtype=PARTS[dtype], call="a real operand, broadcast")
