"""Chapter ops: the namespace of functions, its values, gradients, edges and errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, refuses, tensor
from spec_tests.support.cases import FUNCTIONS
from spec_tests.support.inputs import distinct, in_double, normal

COMPARISONS: dict[str, Callable[..., Any]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    # The maximum is taken off first: off the sum's logarithm it would cost digits near ±1000.
    low = x - x.max(axis=axis, keepdims=True)
    return low - np.log(np.exp(low).sum(axis=axis, keepdims=True))


def log_sum_exp(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    top = x.max(axis=axis, keepdims=True)
    total = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return total if keepdims else total.squeeze(axis)


@clause("ops-02")
def test_comparisons_and_logic(nn: Any, dtype: str) -> None:
    a = np.array([0.0, 1.0, 2.0, np.nan, np.inf], dtype)
    b = np.array([1.0, 1.0, 1.0, 1.0, np.inf], dtype)
    x, y = tensor(nn, a), nn.tensor(b)
    for name, reference in COMPARISONS.items():
        got = getattr(nn.ops, name)(x, y)
        assert not got.requires_grad
        exactly(nn, got, reference(a, b), call=name)
    exactly(nn, nn.ops.isnan(x), np.isnan(a))
    exactly(nn, nn.ops.isfinite(x), np.isfinite(a))
    p, q = np.array([True, True, False, False]), np.array([True, False, True, False])
    for name in ("logical_and", "logical_or"):
        got = getattr(nn.ops, name)(nn.tensor(p), nn.tensor(q))
        exactly(nn, got, getattr(np, name)(p, q), call=name)
    exactly(nn, nn.ops.logical_not(nn.tensor(p)), ~p)


@clause("ops-02")
def test_selection_values(nn: Any, dtype: str) -> None:
    a, b = normal((3, 4), dtype), normal((3, 4), dtype, seed=1)
    x, y = nn.tensor(a), nn.tensor(b)
    exactly(nn, nn.ops.clip(x, -0.5, 0.75), np.clip(a, a.dtype.type(-0.5), a.dtype.type(0.75)))
    exactly(nn, nn.ops.clip(x, min=0), np.maximum(a, 0))
    exactly(nn, nn.ops.clip(x, max=0), np.minimum(a, 0))
    exactly(nn, nn.ops.where(x > y, x, y), np.maximum(a, b))
    exactly(nn, nn.ops.where(x > 0, x, 0.0), np.maximum(a, 0))
    exactly(nn, nn.ops.astype(x, nn.int64), a.astype("int64"))
    exactly(nn, nn.ops.astype(x > 0, getattr(nn, dtype)), (a > 0).astype(dtype))
    exactly(nn, nn.ops.argmax(x), np.asarray(a.argmax()))
    exactly(nn, nn.ops.argmax(x, axis=1), a.argmax(axis=1))
    exactly(nn, nn.ops.argmax(x, axis=0, keepdims=True), a.argmax(axis=0, keepdims=True))


@pytest.mark.parametrize("name", FUNCTIONS)
@clause("ops-03", needs="float64")
def test_gradients(nn: Any, name: str) -> None:
    call, inputs = FUNCTIONS[name]
    check_gradients(nn, lambda *tensors: call(nn, *tensors), inputs, call=name)


@clause("ops-05")
def test_large_inputs_do_not_overflow(nn: Any, dtype: str) -> None:
    array = np.array([[1000.0, 0.0, -1000.0], [-1000.0, -1000.0, -1001.0]], dtype)
    wide = in_double(array)
    logs = log_softmax(wide, -1)
    odds = np.exp(logs)
    weight = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    for name, want, slope in (
        ("softmax", odds, odds * (weight - (weight * odds).sum(-1, keepdims=True))),
        ("log_softmax", logs, weight - odds * weight.sum(-1, keepdims=True)),
    ):
        x = tensor(nn, array)
        got = getattr(nn.ops, name)(x)
        agrees(nn, got, want, "reduction", call=f"{name} of ±1000")
        got.backward(nn.tensor(weight.astype(dtype)))
        agrees(nn, x.grad, slope, "gradient", call=f"gradient of {name} of ±1000")
    got = nn.ops.logsumexp(nn.tensor(array))
    agrees(nn, got, log_sum_exp(wide, -1, False), "reduction", call="logsumexp of ±1000")
    # One element outweighs the others, so that the result's own rounding at 1000 does not matter.
    x = tensor(nn, np.array([[1000.0, 0.0, -1000.0], [-1000.0, -2000.0, -3000.0]], dtype))
    nn.ops.sum(nn.ops.logsumexp(x)).backward()
    want = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    agrees(nn, x.grad, want, "gradient", call="gradient of logsumexp of ±1000")


@clause("ops-06")
def test_sigmoid_at_both_ends(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([-1000.0, 0.0, 1000.0], dtype))
    got = nn.ops.sigmoid(x)
    exactly(nn, got, np.array([0.0, 0.5, 1.0]), call="sigmoid of -1000, 0, 1000")
    nn.ops.sum(got).backward()
    exactly(nn, x.grad, np.array([0.0, 0.25, 0.0]), call="gradient of sigmoid")


@clause("ops-07")
def test_subgradient_at_zero(nn: Any, dtype: str) -> None:
    for name, want in (("relu", [0.0, 0.0, 0.0, 1.0]), ("abs", [-1.0, 0.0, 0.0, 1.0])):
        x = tensor(nn, np.array([-2.0, 0.0, -0.0, 2.0], dtype))
        nn.ops.sum(getattr(nn.ops, name)(x)).backward()
        exactly(nn, x.grad, np.array(want), call=f"gradient of {name} at -2, 0, -0, 2")


@clause("ops-08")
def test_ties_are_shared(nn: Any, dtype: str) -> None:
    for name, sign in (("maximum", 1), ("minimum", -1)):
        x = tensor(nn, sign * np.array([1.0, 2.0, 3.0], dtype))
        y = tensor(nn, sign * np.array([1.0, 3.0, 2.0], dtype))
        nn.ops.sum(getattr(nn.ops, name)(x, y)).backward()
        exactly(nn, x.grad, np.array([0.5, 0.0, 1.0]), call=f"{name}, first operand")
        exactly(nn, y.grad, np.array([0.5, 1.0, 0.0]), call=f"{name}, second operand")


@clause("ops-08")
def test_clip_passes_the_gradient_at_its_bounds(nn: Any, dtype: str) -> None:
    array = np.array([-2.0, -1.0, 0.0, 1.0, 2.0], dtype)
    for options, want in (
        ({"min": -1.0, "max": 1.0}, [0.0, 1.0, 1.0, 1.0, 0.0]),
        ({"min": -1.0}, [0.0, 1.0, 1.0, 1.0, 1.0]),
        ({"max": 1.0}, [1.0, 1.0, 1.0, 1.0, 0.0]),
        ({}, [1.0, 1.0, 1.0, 1.0, 1.0]),
        ({"min": nn.tensor(-array)}, [0.0, 0.0, 1.0, 1.0, 1.0]),
        ({"max": nn.tensor(-array)}, [1.0, 1.0, 1.0, 0.0, 0.0]),
        ({"min": nn.tensor(-array), "max": 1.0}, [0.0, 0.0, 1.0, 1.0, 0.0]),
    ):
        x = tensor(nn, array)
        nn.ops.sum(nn.ops.clip(x, **options)).backward()
        exactly(nn, x.grad, np.array(want), call=f"gradient of clip({options})")


@clause("ops-09")
def test_gradient_of_sqrt_at_zero(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([0.0, 4.0], dtype))
    nn.ops.sum(nn.ops.sqrt(x)).backward()
    exactly(nn, x.grad, np.array([np.inf, 0.25]), call="gradient of sqrt at 0 and 4")


@clause("ops-09")
def test_powers_at_zero(nn: Any, dtype: str) -> None:
    array = np.array([0.0, 2.0, -3.0], dtype)
    zero, two = np.zeros((), dtype), np.full((), 2.0, dtype)
    for exponent in (0, 0.0, nn.tensor(zero)):
        for apply in (nn.ops.pow, lambda base, power: base**power):
            x = tensor(nn, array)
            got = apply(x, exponent)
            exactly(nn, got, np.ones(3), call="pow(x, 0)")
            nn.ops.sum(got).backward()
            exactly(nn, x.grad, np.zeros(3), call="gradient of pow(x, 0) at 0, 2, -3")
    for exponent in (2, 2.0, nn.tensor(two)):
        x = tensor(nn, array)
        nn.ops.sum(nn.ops.pow(x, exponent)).backward()
        agrees(nn, x.grad, np.array([0.0, 4.0, -6.0]), "gradient", call="pow(x, 2) at 0, 2, -3")


@clause("ops-10")
def test_where_selects_gradients(nn: Any, dtype: str) -> None:
    chosen = np.array([True, False, False, True])
    a, b = normal(4, dtype), normal(4, dtype, seed=1)
    cotangent = np.array([np.nan, 1.0, np.inf, 2.0], dtype)
    x, y = tensor(nn, a), tensor(nn, b)
    got = nn.ops.where(nn.tensor(chosen), x, y)
    exactly(nn, got, np.where(chosen, a, b))
    got.backward(nn.tensor(cotangent))
    exactly(nn, x.grad, np.array([np.nan, 0.0, 0.0, 2.0]), call="where, first operand")
    exactly(nn, y.grad, np.array([0.0, 1.0, np.inf, 0.0]), call="where, second operand")


@clause("ops-10")
def test_where_does_not_let_an_unselected_value_through(nn: Any, dtype: str) -> None:
    a = np.array([np.nan, 1.0, np.inf], dtype)
    x = tensor(nn, a)
    got = nn.ops.where(nn.ops.isfinite(x), x, 0.0)
    exactly(nn, got, np.array([0.0, 1.0, 0.0]))
    nn.ops.sum(got).backward()
    exactly(nn, x.grad, np.array([0.0, 1.0, 0.0]))


@clause("ops-11", needs="float64")
def test_gradients_pass_through_astype(nn: Any) -> None:
    for source, target in (("float32", "float64"), ("float64", "float32")):
        array = normal(3, source)
        x = tensor(nn, array)
        y = nn.ops.astype(x, getattr(nn, target))
        exactly(nn, y, array.astype(target), dtype=target)
        nn.ops.sum(y * y).backward()
        want = 2 * array.astype("float32").astype("float64")
        agrees(nn, x.grad, want.astype(source), "gradient", dtype=source)


@clause("ops-11")
def test_integers_end_the_gradient(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    for dtype in (nn.int32, nn.int64, nn.bool):
        assert not nn.ops.astype(x, dtype).requires_grad


@clause("ops-12")
def test_shape_errors(nn: Any, dtype: str) -> None:
    x = nn.tensor(normal((2, 3), dtype))
    y = nn.tensor(normal(4, dtype))
    for name in ("add", "subtract", "multiply", "divide", "pow", "maximum", "minimum", "equal"):
        with refuses(ValueError, name, "(2, 3)", "(4,)"):
            getattr(nn.ops, name)(x, y)
    with refuses(ValueError, "where", "(2, 3)", "(4,)"):
        nn.ops.where(x > 0, x, y)
    with refuses(ValueError, "matmul", "(2, 3)", "(4,)"):
        nn.ops.matmul(x, y)
    with refuses(ValueError, "matmul", "(2, 3)", "(2, 3)"):
        nn.ops.matmul(x, x)
    with refuses(ValueError, "matmul", "(2, 5, 3)", "(4, 3, 5)"):
        nn.ops.matmul(nn.ones((2, 5, 3)), nn.ones((4, 3, 5)))
    with refuses(ValueError, "reshape", "(2, 3)", "(4, 2)"):
        nn.ops.reshape(x, (4, 2))
    for axis in (0, 1, -1):
        with refuses(ValueError, "concat", "(2, 3)", "(4,)"):
            nn.ops.concat([x, y], axis=axis)
    with refuses(ValueError, "stack", "(2, 3)", "(4,)"):
        nn.ops.stack([x, y])
    with refuses(ValueError, "broadcast_to", "(2, 3)", "(3, 2)"):
        nn.ops.broadcast_to(x, (3, 2))
    # An axis is not dropped, though it has one element.
    for shape in ((3,), ()):
        with refuses(ValueError, "broadcast_to", "(1, 3)", str(shape)):
            nn.ops.broadcast_to(x[:1], shape)


@clause("ops-12")
def test_axis_errors(nn: Any, dtype: str) -> None:
    x = nn.tensor(distinct((2, 3), dtype))
    for name in ("sum", "mean", "max", "min", "argmax", "softmax", "log_softmax", "logsumexp"):
        for axis in (2, -3):
            with refuses((ValueError, IndexError), name, axis, "(2, 3)"):
                getattr(nn.ops, name)(x, axis=axis)
    with refuses((ValueError, IndexError), "concat", 5, "(2, 3)"):
        nn.ops.concat([x, x], axis=5)
    with refuses((ValueError, IndexError), "stack", 5, "(2, 3)"):
        nn.ops.stack([x, x], axis=5)
    with refuses((ValueError, IndexError), "expand_dims", 5, "(2, 3)"):
        nn.ops.expand_dims(x, axis=5)
    with refuses((ValueError, IndexError), "squeeze", 5, "(2, 3)"):
        nn.ops.squeeze(x, 5)
    with refuses((ValueError, IndexError), "take", 5, "(2, 3)"):
        nn.ops.take(x, nn.tensor(np.array([0])), axis=5)
    with refuses((ValueError, IndexError), "permute_dims", 5, "(2, 3)"):
        nn.ops.permute_dims(x, (0, 5))
