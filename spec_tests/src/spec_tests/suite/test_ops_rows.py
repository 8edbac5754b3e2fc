"""Chapter ops, row by row: what every function of the tables is asked for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.check.differences import gradients
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, raw, refuses, same_signature, to_numpy
from spec_tests.support.calls import (
    Call,
    DType,
    as_raw,
    as_tensors,
    calls,
    evaluate,
    evaluate_all,
    filled,
    results,
)

TWO_OPERANDS = ("binary", "compare", "bits")
# What stands between the operand and the axis in a call that names a wrong axis.
BETWEEN: dict[str, Any] = {
    "indices": [[0]],
    "values": [[1.0]],
    "shift": 1,
    "repeats": 2,
    "num_classes": 3,
}


def differentiable(row: Row) -> bool:
    return row.gradient == "yes"


def of_arrays(row: Row) -> bool:
    """Whether the first call of the row has an array."""
    return bool(calls(row, "float32")[0].arrays())


def has_formula(row: Row) -> bool:
    return row.formula is not None


def slopes_of(row: Row, call: Call) -> bool:
    """Whether the call has a floating result of floating arrays."""
    return bool(call.floating()) and evaluate(row, call).dtype.kind == "f"


@clause("ops-01", "ops-13")
@rows("ops")
def test_signatures(nn: Any, row: Row) -> None:
    assert hasattr(nn.ops, row.name), f"nn.ops.{row.name} should exist"
    same_signature(getattr(nn.ops, row.name), row.signature)


@clause("ops-02", "ops-04")
@rows("ops", where=has_formula, asks=("values", "raw arrays"))
def test_values(nn: Any, dtype: str, row: Row) -> None:
    function = getattr(nn.ops, row.name)
    for call in calls(row, dtype):
        wanted = evaluate_all(row, call)
        tensors, options, _ = as_tensors(nn, call)
        for positional, keywords in ((tensors, options), as_raw(nn, call)):
            value = function(*positional, **keywords)
            if row.family == "several":
                assert isinstance(value, tuple), f"{call.text} gave {type(value).__name__}"
            for got, want in zip(results(value), wanted, strict=True):
                assert isinstance(got, nn.Tensor), f"{call.text} gave {type(got).__name__}"
                tolerance = str(row.tolerance)
                wide = call.dtype(dtype) if want.dtype.kind == "f" else None
                agrees(nn, got, want, tolerance, call=call.text, dtype=wide)


@clause("ops-02", "tensor-15")
@rows("ops", where=lambda row: row.family in TWO_OPERANDS)
def test_numbers_beside_arrays(nn: Any, dtype: str, row: Row) -> None:
    first = calls(row, dtype)[0]
    array = first.arrays()[-1]
    number = {"b": True, "i": 2, "f": 1.25}[array.dtype.kind]
    for positional in ((array, number), (number, array)):
        call = Call(f"{row.name} of an array and {number}", positional, {})
        tensors, _, _ = as_tensors(nn, call)
        got = getattr(nn.ops, row.name)(*tensors)
        agrees(nn, got, evaluate(row, call), str(row.tolerance), call=call.text)


@clause("ops-03", "ops-04")
@rows("ops", where=differentiable, asks="gradient")
def test_gradients(nn: Any, dtype: str, row: Row) -> None:
    for call in calls(row, dtype):
        if not slopes_of(row, call):
            continue
        positional, options, leaves = as_tensors(nn, call, requires_grad=True)
        values = results(getattr(nn.ops, row.name)(*positional, **options))
        rng = np.random.default_rng(5)
        weights = [
            np.asarray(rng.uniform(0.5, 1.5, got.shape)).astype(call.dtype(dtype)) for got in values
        ]
        for got, weight in zip(values, weights, strict=True):
            got.backward(nn.tensor(weight), retain_graph=len(values) > 1)

        def number(*arrays: Any, call: Call = call, weights: Any = weights) -> float:
            wanted = evaluate_all(row, call, list(arrays))
            return float(sum(np.sum(a * b) for a, b in zip(wanted, weights, strict=True)))

        tolerance = "difference" if dtype == "float64" else "gradient"
        wanted = gradients(number, call.floating())
        for place, (leaf, slope) in enumerate(zip(leaves, wanted, strict=True)):
            agrees(
                nn, leaf.grad, slope, tolerance, call=f"gradient of {call.text} by array {place}"
            )


@pytest.mark.sampled(12)
@clause("ops-03", "autograd-13", needs=("float64", "double_backward"))
@rows("ops", where=differentiable, asks="second derivative")
def test_second_derivatives(nn: Any, row: Row) -> None:
    call = calls(row, "float64")[0]

    if not call.floating():
        return

    def cube(*tensors: Any) -> Any:
        positional, options = filled(nn, call, iter(tensors))
        values = results(getattr(nn.ops, row.name)(*positional, **options))
        # The third power gives linear functions a second derivative too.
        return tuple(y * y * y for y in values)

    check_gradients(nn, cube, call.floating(), second_order=True, call=call.text)


@clause("ops-03")
@rows(
    "ops", where=lambda row: row.gradient in ("zero", "none") and has_formula(row), asks="gradient"
)
def test_no_gradients(nn: Any, dtype: str, row: Row) -> None:
    for call in calls(row, dtype):
        positional, options, leaves = as_tensors(nn, call, requires_grad=True)
        value = getattr(nn.ops, row.name)(*positional, **options)
        recorded = row.gradient == "zero"
        for got in results(value):
            said = f"{call.text} should have requires_grad={recorded}"
            assert got.requires_grad is recorded, said
        if recorded:
            nn.ops.sum(value).backward()
            for leaf, array in zip(leaves, call.floating(), strict=True):
                exactly(nn, leaf.grad, np.zeros_like(array), call=f"gradient of {call.text}")


# Calls on nothing, of rows whose own calls do not become such by an axis of length 0.
EMPTY = {
    "bitwise_left_shift": "ints(), ints(3)",
    "bitwise_right_shift": "ints(), ints(3)",
    "broadcast_to": "normal(1, 0), (2, 3, 0); normal(1), (0,)",
    "take": "normal(4), ints(); normal(0), ints(); normal(0, 3), ints(1), axis=1",
    "take_along_axis": "normal(3, 4), ints().reshape(3, 0); normal(0, 4), ints(0).reshape(1, 1)",
    "one_hot": "ints(), 3; ints(), 3, axis=0; ints().reshape(2, 0), 1",
    "scatter_add": "normal(3, 4), ints().reshape(3, 0), normal(3, 0); normal(0), ints(), normal(0)",
    "segment_sum": "normal(0, 2), ints(), 3; normal(0), ints(), 0",
    "searchsorted": "normal(0), normal(3); positive(3).cumsum(), normal(0, 2)",
    "zeros": "(0, 3); 0; (2, 0), dtype=float64",
    "ones": "(0, 3); 0; (2, 0), dtype=float64",
    "full": "(0, 3), 1.5; 0, 2.0, dtype=float64",
    "arange": "0; 3, 1; 1, 4, -1; 0.0, dtype=float64",
    "eye": "0; 0, 3; 3, 0, k=1",
    "linspace": "0.0, 1.0, 0; 0.0, 1.0, 0, endpoint=False, dtype=float64",
}


@pytest.mark.sampled(10)
@clause("ops-24")
@rows("ops", where=has_formula, asks="zero sizes")
def test_empty_arrays(nn: Any, dtype: str, row: Row) -> None:
    made = calls(replace(row, inputs=tuple(EMPTY.get(row.name, "").split("; "))), dtype)
    compared = [check_empty(nn, row, call, dtype) for call in made if row.name in EMPTY]
    for place in (0, -1):
        for number, full in enumerate(calls(row, dtype)):
            sizes = [size for array in full.arrays()[:1] for size in array.shape if size > 1]
            if sizes:
                call = calls(row, dtype, without(sizes[place]))[number]
                if any(not array.size for array in call.arrays()):
                    compared.append(check_empty(nn, row, call, dtype))
    assert any(compared), f"no call of {row.name} on empty arrays has been compared"


def without(size: int) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Return a function that puts 0 for every axis of this length."""
    return lambda shape: tuple(0 if length == size else length for length in shape)


def check_empty(nn: Any, row: Row, call: Call, dtype: str) -> bool:
    """Compare a call on empty arrays with the formula; return whether that takes them."""
    __tracebackhide__ = True
    text = f"{call.text} with shapes {', '.join(str(array.shape) for array in call.arrays())}"
    positional, options, leaves = as_tensors(nn, call, requires_grad=row.gradient == "yes")
    function = getattr(nn.ops, row.name)
    try:
        wanted = evaluate_all(row, call)
    except (ValueError, IndexError):
        if row.family == "reduce":
            with refuses(ValueError, row.name, str(call.arrays()[0].shape), "element"):
                function(*positional, **options)
        return False
    values = results(function(*positional, **options))
    floating = row.gradient == "yes"
    for got, want in zip(values, wanted, strict=True):
        wide = call.dtype(dtype) if want.dtype.kind == "f" else None
        agrees(nn, got, want, str(row.tolerance), call=text, dtype=wide)
        floating = floating and want.dtype.kind == "f"
    if floating and values:
        for got in values:
            # No sum: where there is a compiler, it would cost more than the function that is asked.
            ones = np.ones_like(to_numpy(nn, got))
            got.backward(nn.tensor(ones), retain_graph=len(values) > 1)
        for leaf, array in zip(leaves, call.floating(), strict=True):
            if not array.size:
                exactly(nn, leaf.grad, np.zeros(array.shape), call=f"gradient of {text}")
    return True


@clause("ops-21")
@rows("ops", where=of_arrays, asks="bad calls")
def test_what_is_no_array(nn: Any, row: Row) -> None:
    call = calls(row, "float32")[0]
    positional, options, _ = as_tensors(nn, call)
    wrong: Any
    for wrong in ("text", None, {}):
        for place, argument in enumerate(call.arguments):
            if not isinstance(argument, np.ndarray | list):
                continue
            bad = list(positional)
            bad[place] = [*bad[place], wrong] if isinstance(argument, list) else wrong
            with refuses(TypeError, row.name, type(wrong).__name__):
                getattr(nn.ops, row.name)(*bad, **options)


@clause("ops-21")
@rows("ops", where=lambda row: row.family in TWO_OPERANDS, asks="bad calls")
def test_numbers_alone(nn: Any, row: Row) -> None:
    with refuses(TypeError, row.name):
        getattr(nn.ops, row.name)(1.0, 2.0)


@clause("ops-12")
@rows("ops", where=lambda row: row.family in TWO_OPERANDS, asks="bad calls")
def test_shapes_that_do_not_fit(nn: Any, row: Row) -> None:
    logical = row.name.startswith("logical")
    dtype = "bool" if logical else "int64" if row.family == "bits" else "float32"
    x, y = nn.tensor(np.zeros((2, 3), dtype)), nn.tensor(np.zeros(4, dtype))
    with refuses(ValueError, row.name, "(2, 3)", "(4,)"):
        getattr(nn.ops, row.name)(x, y)


@clause("ops-12")
@rows("ops", where=lambda row: "axis" in row.signature.parameters, asks="bad calls")
def test_axes_that_are_not_there(nn: Any, row: Row) -> None:
    names = row.signature.parameters
    x = nn.tensor(np.ones((2, 3), "int64" if "num_classes" in names else "float32"))
    first = [
        nn.tensor(value) if isinstance(value, list) else value
        for name, value in BETWEEN.items()
        if name in names
    ]
    operands = [[x, x]] if row.family == "join" else [x, x] if {"x2", "b"} & set(names) else [x]
    function = getattr(nn.ops, row.name)
    axis: Any
    for axis in (7, -8):
        with refuses((ValueError, IndexError), row.name, axis, "(2, 3)"):
            function(*operands, *first, axis=axis)
    for axis in (0.5, "0"):
        with refuses(TypeError, row.name):
            function(*operands, *first, axis=axis)


@pytest.mark.sampled(24)
@clause("function-17", "function-18", "function-28", needs="double_backward")
@rows("ops", where=differentiable)
def test_in_a_function_that_is_differentiated_twice(nn: Any, row: Row) -> None:
    """Nothing that a function does inside counts as cutting the Function's history."""
    first = calls(row, "float32")[0]
    asked = [first]
    if row.family in TWO_OPERANDS:
        array = first.arrays()[-1]
        asked += [Call(f"{row.name} of an array and 1.25", (array, 1.25), {})]
        asked += [Call(f"{row.name} of 1.25 and an array", (1.25, array), {})]
    for call in asked:

        def computed(xp: Any, inputs: Any, call: Call = call) -> Any:
            left = iter(inputs)

            def change(leaf: Any) -> Any:
                if isinstance(leaf, np.ndarray):
                    return next(left) if leaf.dtype.kind == "f" else raw(nn, leaf)
                return getattr(nn, leaf.name) if isinstance(leaf, DType) else leaf

            positional, options = call.map(change)
            value = getattr(xp, row.name)(*positional, **options)
            parts = value if isinstance(value, tuple) else (value,)
            sums = [xp.sum(part * part) for part in parts]
            return sum(x if x.dtype == nn.float32 else xp.astype(x, nn.float32) for x in sums)

        class Calling(nn.Function):
            @staticmethod
            def forward(ctx: Any, *inputs: Any, computed: Any = computed) -> Any:
                value = computed(nn.ops, inputs)
                ctx.save_for_backward(value, *inputs)
                return value * inputs[0]

            @staticmethod
            def backward(ctx: Any, grad_output: Any) -> Any:
                value, *inputs = ctx.saved_tensors
                return (value * grad_output, *[None] * (len(inputs) - 1))

        leaves = [nn.tensor(array) for array in call.floating()]
        slope = nn.grad(lambda *xs, apply=Calling.apply: nn.ops.sum(apply(*xs)))
        got = nn.grad(lambda *xs, slope=slope: nn.ops.sum(slope(*xs)))(*leaves)
        plain = nn.grad(lambda x, *xs, computed=computed: computed(nn.ops, (x, *xs)))(*leaves)
        want = to_numpy(nn, plain) * np.float32(np.prod(got.shape))
        agrees(nn, got, want, "gradient", call=call.text)
