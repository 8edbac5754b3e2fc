"""Chapter fft, row by row: what every function of the tables is asked for."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row, read
from spec_tests.support.assertions import agrees, exactly, raw, refuses, same_signature, to_numpy
from spec_tests.support.calls import as_tensors, calls, evaluate
from spec_tests.support.inputs import normal
from spec_tests.support.spectra import (
    cotangent,
    given,
    gradient_of,
    joined,
    leaves_of,
    parts,
    reference,
    same,
    transform,
    transposed,
    weighted,
    wide,
)

pytestmark = pytest.mark.sampled(4)


def of_one_axis(row: Row) -> bool:
    return transform(row) and "n" in row.signature.parameters


def of_several_axes(row: Row) -> bool:
    return transform(row) and "s" in row.signature.parameters


@clause("fft-01")
@rows("fft")
def test_signatures(nn: Any, row: Row) -> None:
    assert hasattr(nn.ops.fft, row.name), f"nn.ops.fft.{row.name} should exist"
    same_signature(getattr(nn.ops.fft, row.name), row.signature)


@clause("fft-01")
def test_the_names_of_the_namespace(nn: Any) -> None:
    wanted = {row.name for row in read().values() if row.chapter == "fft"}
    listed = list(nn.ops.fft.__all__)
    assert sorted(listed) == sorted(wanted), f"they differ by {sorted(set(listed) ^ wanted)}"


@clause("fft-02", "fft-03", "fft-04", "fft-12")
@rows("fft", where=transform, asks=("values", "raw arrays"))
def test_values(nn: Any, dtype: str, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    for call in calls(row, dtype):
        for x in given(row, call):
            want = reference(row, call, wide(x))
            text = f"{call.text} with x of {x.dtype.name}"
            for operand in (nn.tensor(x), raw(nn, x)):
                got = function(operand, **call.options)
                assert isinstance(got, nn.Tensor), f"{text} gave {type(got).__name__}"
                same(nn, got, want, str(row.tolerance), dtype, text)
                assert np.array_equal(to_numpy(nn, operand), x), f"{text} wrote to x"


@clause("fft-07", "fft-04")
@rows("fft", where=transform, asks="gradient")
def test_gradients(nn: Any, dtype: str, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    for call in calls(row, dtype):
        for x in given(row, call):
            g = cotangent(reference(row, call, wide(x)), dtype)
            leaves = leaves_of(nn, x)
            function(joined(leaves), **call.options).backward(nn.tensor(g))
            want = transposed(partial(reference, row, call), x, wide(g))
            text = f"gradient of {call.text} with x of {x.dtype.name}"
            same(nn, gradient_of(nn, leaves), want, "gradient", dtype, text)


@clause("fft-07", "autograd-13", needs=("float64", "double_backward"))
@rows("fft", where=transform, asks="second derivative")
def test_second_derivatives(nn: Any, row: Row) -> None:
    call = calls(row, "float64")[0]
    for x in given(row, call):

        def cube(*leaves: Any) -> Any:
            y = getattr(nn.ops.fft, row.name)(joined(leaves), **call.options)
            return tuple(part * part * part for part in parts(nn, y))

        arrays = [x.real, x.imag] if x.dtype.kind == "c" else [x]
        check_gradients(nn, cube, arrays, second_order=True, call=call.text)


@pytest.mark.sampled(12)
@clause("fft-15", "function-17", "function-18", needs=("float64", "double_backward"))
@rows("fft", where=transform)
def test_in_a_function_that_is_differentiated_twice(nn: Any, row: Row) -> None:
    dtype = "float64"
    call = calls(row, dtype)[1]
    (x,) = call.arguments

    def energy(xp: Any, y: Any) -> Any:
        whole = row.family == "hermitian"
        return xp.sum(y * y) if whole else xp.sum(xp.real(y) ** 2) + xp.sum(xp.imag(y) ** 2)

    class Loud(nn.Function):
        """x times its energy, whose `backward` takes the energy for a constant."""

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = getattr(ctx.xp.fft, row.name)(x, **call.options)
            ctx.save_for_backward(y)
            return x * energy(ctx.xp, y)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (y,) = ctx.saved_tensors
            return energy(ctx.xp, y) * grad_output

    y = reference(row, call, wide(x))
    leaf = nn.tensor(x, requires_grad=True)
    slope = nn.grad(lambda x: nn.ops.sum(Loud.apply(x)), create_graph=True)(leaf)
    power = np.sum(np.abs(y) ** 2)
    same(nn, slope, np.full(x.shape, power), "gradient", dtype, f"slope with {call.text}")
    nn.ops.sum(slope).backward()
    want = x.size * transposed(partial(reference, row, call), x, 2 * y)
    same(nn, leaf.grad, want, "gradient", dtype, f"second derivative with {call.text}")


@clause("fft-03")
@rows("fft", where=transform, asks="bad calls")
def test_what_they_do_not_take(nn: Any, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    wrong = ["int32", "int64", "bool"] + ["complex64", "complex128"] * (row.family == "real")
    for name in wrong:
        array = np.ones((2, 4), name)
        for operand in (nn.tensor(array), raw(nn, array)):
            with refuses(TypeError, row.name, name):
                function(operand)
    for what in (1.5, 2, None, "text", [[1.0, 2.0]]):
        with refuses(TypeError, row.name, type(what).__name__):
            function(what)


def refuses_norms(row: Row, function: Any, x: Any) -> None:
    with refuses(ValueError, row.name, "half", "backward", "ortho", "forward"):
        function(x, norm="half")
    for norm in (None, 2):
        with refuses(TypeError, row.name):
            function(x, norm=norm)


@clause("fft-05")
@rows("fft", where=of_one_axis, asks="bad calls")
def test_a_length_or_an_axis_that_does_not_fit(nn: Any, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    x = nn.tensor(normal((2, 4), "float32"))
    refuses_norms(row, function, x)
    for n in (0, -1):
        with refuses(ValueError, row.name, n):
            function(x, n=n)
    for axis in (2, -3):
        with refuses((ValueError, IndexError), row.name, axis, "(2, 4)"):
            function(x, axis=axis)
    with refuses((ValueError, IndexError), row.name, "-1", "()"):
        function(nn.tensor(1.0))
    wrong: Any
    for wrong in (2.5, "4"):
        with refuses(TypeError, row.name):
            function(x, n=wrong)
        with refuses(TypeError, row.name):
            function(x, axis=wrong)
    lengths = (0, 1) if row.family == "hermitian" else (0,)
    for length in lengths:
        with refuses(ValueError, row.name, length):
            function(nn.tensor(normal((2, length), "float32")))


@clause("fft-05")
@rows("fft", where=of_several_axes, asks="bad calls")
def test_lengths_or_axes_that_do_not_fit(nn: Any, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    x = nn.tensor(normal((2, 3, 4), "float32"))
    refuses_norms(row, function, x)
    options: dict[str, Any]
    for options, fragment in (
        ({"axes": (0, 0)}, "0"),
        ({"axes": (1, -2)}, "-2"),
        ({"s": (2, 2)}, "axes"),
        ({"s": (2,), "axes": (0, 1)}, "2"),
        ({"s": (2, 0), "axes": (0, 1)}, "0"),
        ({"s": (-2, 2), "axes": (0, 1)}, "-2"),
    ):
        with refuses(ValueError, row.name, fragment):
            function(x, **options)
    for axes in ((0, 3), (-4, 0)):
        with refuses((ValueError, IndexError), row.name, axes[axes[0] == 0], "(2, 3, 4)"):
            function(x, axes=axes)
    for options in (
        {"axes": 1},
        {"axes": (0, 0.5)},
        {"s": 3, "axes": (0,)},
        {"s": (2.5,), "axes": (0,)},
        {"s": ("2",), "axes": (0,)},
    ):
        with refuses(TypeError, row.name):
            function(x, **options)
    with refuses(ValueError, row.name, 0):
        function(nn.tensor(normal((2, 0), "float32")))
    if row.family != "complex":
        with refuses(ValueError, row.name):
            function(x, axes=())


@clause("fft-09")
@rows("fft", where=transform, asks="zero sizes")
def test_empty_arrays(nn: Any, row: Row) -> None:
    several = of_several_axes(row)
    options: dict[str, Any] = {"axes": (1,)} if several else {"axis": 1}
    for x in given(row, calls(row, "float32", lambda shape: (0, 4, 2))[0]):
        leaves = leaves_of(nn, x)
        y = getattr(nn.ops.fft, row.name)(joined(leaves), **options)
        want = np.apply_along_axis(lambda line: reference_of_line(row, line), 1, np.ones((1, 4, 2)))
        assert tuple(y.shape) == (0, *want.shape[1:]), f"{row.name} gave shape {tuple(y.shape)}"
        sum(nn.ops.sum(part) for part in parts(nn, y)).backward()
        for leaf in leaves:
            exactly(nn, leaf.grad, np.zeros((0, 4, 2), "float32"), dtype="float32", call=row.name)


def reference_of_line(row: Row, line: np.ndarray) -> np.ndarray:
    return reference(row, calls(row, "float64")[0], line)


@clause("fft-13")
@rows("fft", where=lambda row: row.family == "frequencies", asks="values")
def test_frequencies(nn: Any, dtype: str, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    floating = getattr(nn, dtype)
    device = nn.ops.__array_namespace_info__().default_device()
    for call in calls(row, dtype):
        want = evaluate(row, call)
        for more in ({}, {"device": device}, {"device": None}):
            got = function(*call.arguments, **call.options, dtype=floating, **more)
            assert isinstance(got, nn.Tensor), f"{call.text} gave {type(got).__name__}"
            assert not got.requires_grad
            agrees(nn, got, want, "elementwise", call=call.text)
        for options in ({}, {"dtype": None}):
            got = function(*call.arguments, **call.options, **options)
            agrees(nn, got, want, "elementwise", call=call.text, dtype="float32")


@clause("fft-13", "ops-31")
@rows("fft", where=lambda row: row.family == "frequencies", asks=("zero sizes", "bad calls"))
def test_frequencies_that_there_are_not(nn: Any, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    for n in (0, -3):
        with refuses(ValueError, row.name, n):
            function(n)
    with refuses(ValueError, row.name, 0):
        function(4, d=0)
    wrong: Any
    for wrong in (2.5, "4", None):
        with refuses(TypeError, row.name):
            function(wrong)
    for wrong in ("1", None):
        with refuses(TypeError, row.name):
            function(4, d=wrong)
    for name in ("int64", "bool"):
        with refuses(TypeError, row.name, name):
            function(4, dtype=getattr(nn, name))
    for wrong in ("nowhere", 1.5):
        with refuses((ValueError, TypeError), row.name, wrong):
            function(4, device=wrong)


@pytest.mark.sampled(8)
@clause("fft-14")
@rows(
    "fft",
    where=lambda row: row.family == "shifts",
    asks=("values", "gradient", "raw arrays", "zero sizes"),
)
def test_shifts(nn: Any, dtype: str, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    for shapes in (None, lambda shape: (0, *shape[1:])):
        for call in calls(row, dtype, shapes):
            want = evaluate(row, call)
            for kind in ("float32", "float64", "int8", "uint8", "int64", "bool"):
                array = np.trunc(call.arguments[0] * 4).astype(kind)
                there = reference(row, call, array)
                exactly(nn, function(nn.tensor(array), **call.options), there, dtype=kind)
                exactly(nn, function(raw(nn, array), **call.options), there, dtype=kind)
            positional, options, (leaf,) = as_tensors(nn, call, requires_grad=True)
            got = function(*positional, **options)
            exactly(nn, got, want, call=call.text)
            g = normal(want.shape, dtype, seed=3)
            got.backward(nn.tensor(g))
            slope = transposed(partial(reference, row, call), want, g)
            exactly(nn, leaf.grad, slope, call=f"gradient of {call.text}")


@clause("fft-14", needs="complex")
@rows("fft", where=lambda row: row.family == "shifts")
def test_shifts_of_complex_numbers(nn: Any, dtype: str, row: Row) -> None:
    call = calls(row, dtype)[1]
    x = call.arguments[0] + 1j * normal(call.arguments[0].shape, dtype, seed=2)
    leaves = leaves_of(nn, x)
    y = getattr(nn.ops.fft, row.name)(joined(leaves), **call.options)
    same(nn, y, reference(row, call, wide(x)), "exact", dtype, call.text)
    g = cotangent(x, dtype)
    weighted(nn, y, g).backward()
    want = transposed(partial(reference, row, call), x, wide(g))
    same(nn, gradient_of(nn, leaves), want, "exact", dtype, f"gradient of {call.text}")


@clause("fft-14", needs=("float64", "double_backward"))
@rows("fft", where=lambda row: row.family == "shifts", asks="second derivative")
def test_second_derivatives_of_shifts(nn: Any, row: Row) -> None:
    call = calls(row, "float64")[0]

    def cube(x: Any) -> Any:
        return getattr(nn.ops.fft, row.name)(x, **call.options) ** 3

    check_gradients(nn, cube, call.arrays(), second_order=True, call=call.text)


@clause("fft-14", "ops-21")
@rows("fft", where=lambda row: row.family == "shifts", asks="bad calls")
def test_shifts_that_do_not_fit(nn: Any, row: Row) -> None:
    function = getattr(nn.ops.fft, row.name)
    x = nn.tensor(normal((2, 3), "float32"))
    for axes in (2, -3, (0, 2)):
        axis = axes if isinstance(axes, int) else axes[1]
        with refuses((ValueError, IndexError), row.name, axis, "(2, 3)"):
            function(x, axes=axes)
    for axes in ((0, 0), (1, -1)):
        with refuses(ValueError, row.name, axes[1]):
            function(x, axes=axes)
    wrong: Any
    for wrong in (0.5, "0", (0, 1.5)):
        with refuses(TypeError, row.name):
            function(x, axes=wrong)
    for wrong in (1.5, None, "text", [1.0]):
        with refuses(TypeError, row.name, type(wrong).__name__):
            function(wrong)


@clause("fft-14")
def test_shifts_undo_each_other(nn: Any) -> None:
    fft = nn.ops.fft
    for shape in ((), (1,), (4,), (5,), (3, 4), (2, 0)):
        x = normal(shape, "float32")
        for first, then in ((fft.fftshift, fft.ifftshift), (fft.ifftshift, fft.fftshift)):
            exactly(nn, then(first(nn.tensor(x))), x, dtype="float32", call=f"{shape} twice")
