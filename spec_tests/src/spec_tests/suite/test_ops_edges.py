"""Chapter ops: NaN, infinities, what was not chosen, and the edges of ``pow``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, tensor, to_numpy
from spec_tests.support.edges import (
    ARRIVES,
    FORMULAS,
    INF,
    NAN,
    REDUCTIONS,
    SELECTIONS,
    SOFTENED,
    Edge,
)
from spec_tests.support.special_cases import AXES, ELEMENTS

pytestmark = pytest.mark.sampled(4)

EDGES = SELECTIONS | REDUCTIONS | SOFTENED | FORMULAS
COMPARISONS = {
    "equal": False,
    "not_equal": True,
    "less": False,
    "less_equal": False,
    "greater": False,
    "greater_equal": False,
}


def gradients(
    nn: Any,
    call: Callable[..., Any],
    inputs: tuple[Any, ...],
    arrives: Any,
    dtype: str,
    recorded: bool = False,
) -> list[Any]:
    """Return the gradients of a call to each of its inputs, by a way back that may be recorded."""
    leaves = [tensor(nn, np.array(array, dtype)) for array in inputs]
    result = call(nn.ops, *leaves)
    arriving = nn.tensor(np.broadcast_to(np.array(arrives, dtype), result.shape).copy())
    if recorded:
        slopes = nn.grad(result, leaves, arriving, create_graph=True)
        return [slope.detach() for slope in slopes]
    result.backward(arriving)
    return [leaf.grad for leaf in leaves]


def check(nn: Any, name: str, edge: Edge, dtype: str) -> None:
    """Compare the value, of Tensors and of raw arrays, and the gradients with the table's."""
    arrays = [np.array(array, dtype) for array in edge.inputs]
    want = np.array(edge.value, np.float64)
    for make in (nn.tensor, lambda array: raw(nn, array)):
        got = edge.call(nn.ops, *(make(array) for array in arrays))
        agrees(nn, got, want, edge.tolerance, call=name)
    for recorded in (False, True)[: 1 + nn.spec_capabilities()["double_backward"]]:
        slopes = gradients(nn, edge.call, edge.inputs, ARRIVES, dtype, recorded)
        for position, (got, slope) in enumerate(zip(slopes, edge.gradients, strict=True)):
            call = f"{name}: gradient to operand {position}{', recorded' if recorded else ''}"
            agrees(nn, got, np.array(slope, np.float64), edge.tolerance, call=call)


@clause("ops-27")
@pytest.mark.parametrize("name", EDGES)
def test_nan_and_infinities(nn: Any, dtype: str, name: str) -> None:
    check(nn, name, EDGES[name], dtype)


@clause("ops-33", "ops-34", "ops-37")
@pytest.mark.parametrize("name", ELEMENTS)
def test_special_cases_of_elements(nn: Any, dtype: str, name: str) -> None:
    check(nn, name, ELEMENTS[name], dtype)


@clause("ops-37")
@pytest.mark.parametrize("name", ["erf", "atan", "asinh", "acosh"])
def test_second_derivatives_at_infinity(nn: Any, dtype: str, name: str) -> None:
    array = np.array([INF, 2.0, -INF][: 2 if name == "acosh" else 3], dtype)
    x = tensor(nn, array)
    slope = nn.grad(lambda t: nn.ops.sum(getattr(nn.ops, name)(t)), create_graph=True)(x)
    nn.ops.sum(slope).backward()
    first = to_numpy(nn, slope)[::2]
    exactly(nn, first, np.zeros(first.shape), call=f"gradient of {name}")
    got = to_numpy(nn, x.grad)
    assert np.isnan(got[::2]).all(), f"{name}: got {got} but should be nan at infinities"
    assert np.isfinite(got[1])


@clause("ops-37", "ops-38", "ops-39", "ops-40")
@pytest.mark.parametrize("name", AXES)
def test_special_cases_along_axes(nn: Any, dtype: str, name: str) -> None:
    check(nn, name, AXES[name], dtype)


@clause("ops-27")
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_with_nan(nn: Any, dtype: str, name: str) -> None:
    x, y = np.array([NAN, 1.0, NAN], dtype), np.array([1.0, NAN, NAN], dtype)
    compare, want = getattr(nn.ops, name), np.full(3, COMPARISONS[name])
    for make in (nn.tensor, lambda array: raw(nn, array)):
        exactly(nn, compare(make(x), make(y)), want, call=name)
        exactly(nn, compare(make(x), NAN), want, call=f"{name} with the number nan")
        exactly(nn, compare(NAN, make(x)), want, call=f"{name} of the number nan")
    assert not compare(tensor(nn, x), y).requires_grad


@clause("ops-27")
def test_argmax_finds_the_first_nan(nn: Any, dtype: str) -> None:
    array = np.array([[1, NAN, 3, NAN], [3, 1, 2, 3], [NAN, NAN, INF, 0], [-INF] * 4], dtype)
    for make in (nn.tensor, lambda a: raw(nn, a)):
        exactly(nn, nn.ops.argmax(make(array), axis=1), np.array([1, 0, 0, 0]), call="axis 1")
        along = nn.ops.argmax(make(np.ascontiguousarray(array.T)), axis=0, keepdims=True)
        exactly(nn, along, np.array([[1, 0, 0, 0]]), call="axis 0")
        exactly(nn, nn.ops.argmax(make(array[1:])), np.array(4), call="of all")


@clause("ops-27")
def test_minus_infinity_beside_numbers(nn: Any, dtype: str) -> None:
    array = np.array([[1.0, -INF, 2.0], [-INF, 0.0, -INF]])
    weight = np.array([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]])
    odds = np.exp(array - 2) / np.exp(array - 2).sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        logs = np.log(odds)
    chosen = np.isfinite(array)
    for name, want, slope in (
        ("softmax", odds, odds * (weight - (weight * odds).sum(-1, keepdims=True))),
        ("log_softmax", logs, weight - odds * weight.sum(-1, keepdims=True)),
    ):
        x = tensor(nn, array.astype(dtype))
        got = getattr(nn.ops, name)(x)
        agrees(nn, got, want, "reduction", call=f"{name} with -inf")
        got.backward(nn.tensor(weight.astype(dtype)))
        # What reaches -inf itself is stated of `softmax` alone.
        mask = chosen if name == "log_softmax" else np.ones_like(chosen)
        found = x.grad.numpy()[mask]
        agrees(nn, found, slope[mask], "gradient", call=f"gradient of {name} with -inf")
        if name == "softmax":
            exactly(nn, x.grad.numpy()[~chosen], np.zeros(3), call="gradient of softmax at -inf")


@clause("ops-27", needs="float64")
def test_casts_of_nan_and_infinities(nn: Any) -> None:
    values = np.array([NAN, INF, -INF, 0.5])
    for source, target in (("float32", "float64"), ("float64", "float32")):
        x = tensor(nn, values.astype(source))
        got = nn.ops.astype(x, getattr(nn, target))
        exactly(nn, got, values, dtype=target, call=f"astype of {source}")
        got.backward(nn.tensor(np.array([2.0, NAN, INF, -INF], target)))
        want = np.array([2.0, NAN, INF, -INF])
        exactly(nn, x.grad, want, dtype=source, call="gradient of astype")


# What is chosen among two elements each, and which: 1 where the first operand is.
CHOICES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = {
    "maximum": (
        lambda ops, x, y: ops.maximum(x, y),
        ([1.0, 2.0, NAN, 0.0], [2.0, 1.0, 0.0, NAN]),
        ([0, 1, 1, 0], [1, 0, 0, 1]),
    ),
    "minimum": (
        lambda ops, x, y: ops.minimum(x, y),
        ([2.0, 1.0, NAN, 0.0], [1.0, 2.0, 0.0, NAN]),
        ([0, 1, 1, 0], [1, 0, 0, 1]),
    ),
    "where": (
        lambda ops, x, y: ops.where(np.array([False, True, True, False]), x, y),
        ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]),
        ([0, 1, 1, 0], [1, 0, 0, 1]),
    ),
    "maximum with a number": (
        lambda ops, x: ops.maximum(0.0, x),
        ([-1.0, 1.0, NAN, -INF],),
        ([0, 1, 1, 0],),
    ),
    "relu": (lambda ops, x: ops.relu(x), ([-1.0, 1.0, NAN, 0.0],), ([0, 1, 1, 0],)),
    "abs": (lambda ops, x: ops.abs(x), ([0.0, 1.0, 2.0, -0.0],), ([0, 1, 1, 0],)),
    "clip": (
        lambda ops, x: ops.clip(x, -1.0, 1.0),
        ([-2.0, 1.0, 0.5, INF],),
        ([0, 1, 1, 0],),
    ),
    "clip to nan": (lambda ops, x: ops.clip(x, NAN, 1.0), ([-2.0, 1.0, 0.5, INF],), ([0] * 4,)),
    "sign": (lambda ops, x: ops.sign(x), ([-2.0, 0.0, NAN, INF],), ([0] * 4,)),
    "ceil": (lambda ops, x: ops.ceil(x), ([-2.5, 0.0, NAN, INF],), ([0] * 4,)),
    "floor": (lambda ops, x: ops.floor(x), ([-2.5, 0.0, NAN, INF],), ([0] * 4,)),
    "trunc": (lambda ops, x: ops.trunc(x), ([-2.5, 0.0, NAN, INF],), ([0] * 4,)),
    "round": (lambda ops, x: ops.round(x), ([-2.5, 0.0, NAN, INF],), ([0] * 4,)),
    "floor_divide": (
        lambda ops, x, y: ops.floor_divide(x, y),
        ([1.0, 0.0], [2.0, 0.0]),
        ([0, 0], [0, 0]),
    ),
    "the sign that copysign takes": (
        lambda ops, x: ops.copysign(1.0, x),
        ([1.0, -2.0],),
        ([0, 0],),
    ),
    "tril": (lambda ops, x: ops.tril(ops.reshape(x, (2, 2))), ([1.0] * 4,), ([1, 0, 1, 1],)),
    "triu": (lambda ops, x: ops.triu(ops.reshape(x, (2, 2))), ([1.0] * 4,), ([1, 1, 0, 1],)),
    "leaky_relu": (lambda ops, x: ops.leaky_relu(x, 0.0), ([2.0, 1.0],), ([1, 1],)),
}


@clause("ops-26", "ops-33", "ops-43")
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", CHOICES)
def test_whatever_arrives_at_what_was_not_chosen(
    nn: Any, dtype: str, name: str, number: str
) -> None:
    arrives = float(number)
    call, inputs, chosen = CHOICES[name]
    for got, flags in zip(gradients(nn, call, inputs, arrives, dtype), chosen, strict=True):
        want = np.where(np.array(flags) == 1, arrives, 0.0)
        exactly(nn, got, want, call=f"{name}, where {arrives} arrives")


@clause("ops-26")
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_whatever_arrives_at_the_greatest(nn: Any, dtype: str, number: str) -> None:
    arrives = float(number)
    array = np.array([[1.0, 3.0, 2.0], [NAN, 0.0, INF]], dtype)
    for name, rows in (("max", [[0, 1, 0], [1, 0, 0]]), ("min", [[1, 0, 0], [1, 0, 0]])):
        want = np.where(np.array(rows) == 1, arrives, 0.0)
        for options in ({"axis": 1}, {"axis": -1, "keepdims": True}):
            (got,) = gradients(
                nn,
                lambda ops, x: getattr(ops, name)(x, **options),  # noqa: B023
                (array,),
                arrives,
                dtype,
            )
            exactly(nn, got, want, call=f"{name}({options}), where {arrives} arrives")
        (got,) = gradients(
            nn,
            lambda ops, x: getattr(ops, name)(x),  # noqa: B023
            ([[1.0, 1.0], [3.0, 0.0]],),
            arrives,
            dtype,
        )
        want = np.array([[0, 0], [arrives, 0]] if name == "max" else [[0, 0], [0, arrives]])
        exactly(nn, got, want, call=f"{name} of all, where {arrives} arrives")


@clause("ops-26")
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_whatever_arrives_at_what_was_not_taken(nn: Any, dtype: str, number: str) -> None:
    arrives = float(number)
    mask, rows = np.array([False, True, False]), np.array([1])
    for name, call in {
        "take": lambda ops, x: ops.take(x, rows, axis=0),
        "x[[1]]": lambda ops, x: x[[1]],
        "x[1]": lambda ops, x: x[1],
        "x[1:2]": lambda ops, x: x[1:2],
        "x[mask]": lambda ops, x: x[mask],
    }.items():
        (got,) = gradients(nn, call, (np.zeros((3, 2)),), arrives, dtype)
        want = np.array([[0.0, 0.0], [arrives, arrives], [0.0, 0.0]])
        exactly(nn, got, want, call=f"{name}, where {arrives} arrives")


@clause("ops-26")
def test_casts_to_integers_end_the_gradient(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([1.5, 2.5], dtype))
    whole = nn.ops.astype(nn.ops.astype(x, nn.int64), getattr(nn, dtype))
    nn.ops.multiply(nn.ops.add(x, whole), INF).backward(nn.ones((2,), dtype=getattr(nn, dtype)))
    exactly(nn, x.grad, np.array([INF, INF]), call="x beside its whole part")


# Compositions whose second step has an infinite slope at what the first did not choose.
SHIELDED: dict[str, Callable[..., Any]] = {
    "sqrt(maximum(x, 0))": lambda ops, x: ops.sqrt(ops.maximum(x, 0.0)),
    "sqrt(maximum(0, x))": lambda ops, x: ops.sqrt(ops.maximum(0.0, x)),
    "sqrt(maximum(x, zeros))": lambda ops, x: ops.sqrt(ops.maximum(x, ops.zeros_like(x))),
    "sqrt(-minimum(-x, 0))": lambda ops, x: ops.sqrt(-ops.minimum(-x, 0.0)),
    "sqrt(relu(x))": lambda ops, x: ops.sqrt(ops.relu(x)),
    "sqrt(clip(x, 0))": lambda ops, x: ops.sqrt(ops.clip(x, 0.0)),
    "sqrt(clip(x, 0, 9))": lambda ops, x: ops.sqrt(ops.clip(x, 0.0, 9.0)),
    "sqrt(where(x > 0, x, 0))": lambda ops, x: ops.sqrt(ops.where(ops.greater(x, 0), x, 0.0)),
    "sqrt(max(x, 0))": lambda ops, x: ops.sqrt(ops.max(ops.stack([x, ops.zeros_like(x)]), axis=0)),
    "pow(maximum(x, 0), 0.5)": lambda ops, x: ops.pow(ops.maximum(x, 0.0), 0.5),
}


@clause("ops-26")
@pytest.mark.parametrize("name", SHIELDED)
def test_infinite_slopes_at_what_was_not_chosen(nn: Any, dtype: str, name: str) -> None:
    (got,) = gradients(nn, SHIELDED[name], ([-1.0, 4.0],), 1.0, dtype)
    agrees(nn, got, np.array([0.0, 0.25]), "elementwise", call=f"gradient of {name} at -1 and 4")
    (got,) = gradients(nn, SHIELDED[name], ([-1.0, -INF],), 1.0, dtype)
    exactly(nn, got, np.zeros(2), call=f"gradient of {name} at -1 and -inf")


@clause("ops-26")
def test_logarithms_of_what_was_not_chosen(nn: Any, dtype: str) -> None:
    for name, call in {
        "log(maximum(x, 0))": lambda ops, x: ops.log(ops.maximum(x, 0.0)),
        "log(relu(x))": lambda ops, x: ops.log(ops.relu(x)),
        "1 / clip(x, 0)": lambda ops, x: ops.divide(1.0, ops.clip(x, 0.0)),
    }.items():
        (got,) = gradients(nn, call, ([-1.0, -2.0],), 1.0, dtype)
        exactly(nn, got, np.zeros(2), call=f"gradient of {name}")
    (got,) = gradients(nn, lambda ops, x: ops.sqrt(ops.abs(x)), ([0.0, 4.0],), 1.0, dtype)
    agrees(nn, got, np.array([0.0, 0.25]), "elementwise", call="gradient of sqrt(abs(x))")


# x1, x2, the power, and the gradients to x1 and x2.
POWERS = np.array(
    [
        [NAN, 0, 1, 0, NAN],
        [INF, 0, 1, 0, INF],
        [-INF, 0, 1, 0, NAN],
        [0, 0, 1, 0, 0],
        [-2, 0, 1, 0, NAN],
        [1, NAN, 1, NAN, 0],
        [NAN, 2, NAN, NAN, NAN],
        [0, -1, INF, -INF, -INF],
        [0, -2, INF, -INF, -INF],
        [0, 1, 0, 1, 0],
        [0, 2, 0, 0, 0],
        [0, 0.5, 0, INF, 0],
        [-2, 2, 4, -4, NAN],
        [-2, 3, -8, 12, NAN],
        [-2, -1, -0.5, -0.25, NAN],
        [-2, 0.5, NAN, NAN, NAN],
        [1, 5, 1, 5, 0],
        [1, INF, 1, INF, 0],
        [4, 0.5, 2, 0.25, 2 * np.log(4)],
        [INF, 2, INF, INF, INF],
    ]
).T


@clause("ops-28")
@pytest.mark.parametrize("form", ["ops.pow", "**"])
def test_edges_of_pow(nn: Any, dtype: str, form: str) -> None:
    apply = nn.ops.pow if form == "ops.pow" else lambda x, y: x**y
    base, exponent, power, to_base, to_exponent = POWERS
    x, y = tensor(nn, base.astype(dtype)), tensor(nn, exponent.astype(dtype))
    got = apply(x, y)
    for element, (a, b) in enumerate(zip(base, exponent, strict=True)):
        agrees(nn, got[element], power[element], "elementwise", call=f"{a} {form} {b}")
    nn.ops.sum(got).backward()
    for element, (a, b) in enumerate(zip(base, exponent, strict=True)):
        call = f"{a} {form} {b}, gradient to"
        agrees(nn, x.grad[element], to_base[element], "gradient", call=f"{call} {a}")
        agrees(nn, y.grad[element], to_exponent[element], "gradient", call=f"{call} {b}")


@clause("ops-28")
def test_edges_of_pow_with_a_number(nn: Any, dtype: str) -> None:
    for a, b, power, to_base, to_exponent in POWERS.T:
        x = tensor(nn, np.array([a], dtype))
        got = nn.ops.pow(x, float(b))
        agrees(nn, got, np.array([power]), "elementwise", call=f"pow([{a}], {b})")
        got.backward(nn.ones((1,), dtype=getattr(nn, dtype)))
        agrees(nn, x.grad, np.array([to_base]), "gradient", call=f"pow([{a}], {b}), gradient")
        y = tensor(nn, np.array([b], dtype))
        got = nn.ops.pow(float(a), y)
        agrees(nn, got, np.array([power]), "elementwise", call=f"pow({a}, [{b}])")
        got.backward(nn.ones((1,), dtype=getattr(nn, dtype)))
        agrees(nn, y.grad, np.array([to_exponent]), "gradient", call=f"pow({a}, [{b}]), gradient")
    for number in (0, 0.0):
        x = tensor(nn, np.array([NAN, INF, 0.0], dtype))
        got = nn.ops.pow(x, number)
        exactly(nn, got, np.ones(3), call=f"pow(x, {number!r})")
        got.backward(nn.ones((3,), dtype=getattr(nn, dtype)))
        exactly(nn, x.grad, np.zeros(3), call=f"gradient of pow(x, {number!r})")


@clause("ops-28")
def test_edges_of_pow_of_raw_arrays(nn: Any, dtype: str) -> None:
    base, exponent, power, _, _ = POWERS.astype(dtype)
    got = nn.ops.pow(raw(nn, base), raw(nn, exponent))
    agrees(nn, got, power.astype(np.float64), "elementwise", call="pow of raw arrays")
