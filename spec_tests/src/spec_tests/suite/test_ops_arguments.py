"""Chapter ops: dtypes, copies, sizes and axes that a function of the tables is told."""

import array as array_module
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.judge import tables
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.calls import arguments, calls
from spec_tests.support.dtypes import ALL, INTEGERS, there
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(4)

REAL = (
    "exp log sqrt tanh sin cos sigmoid mean softmax log_softmax logsumexp reciprocal expm1 log1p "
    "log2 log10 tan asin acos atan sinh cosh asinh acosh atanh erf silu softplus leaky_relu elu "
    "gelu var std norm"
).split()


def takes_several_axes(row: Row) -> bool:
    return row.name == "logsumexp" or (row.family == "reduce" and not row.name.startswith("arg"))


@clause("ops-01")
def test_the_names_of_the_namespace(nn: Any) -> None:
    wanted = {row.name for row in tables.read().values() if row.chapter == "ops"}
    wanted |= set(ALL)
    wanted |= {"e", "inf", "nan", "newaxis", "pi", "fft", "linalg"}
    listed = set(nn.ops.__all__)
    assert listed == wanted, f"__all__ and the tables differ by {sorted(listed ^ wanted)}"


@pytest.mark.sampled(8)
@clause("ops-14")
@rows("ops", where=lambda row: row.name in REAL)
def test_integers_become_real_numbers(nn: Any, row: Row) -> None:
    function = getattr(nn.ops, row.name)
    for name in there(nn, ("bool", *INTEGERS)):
        array = np.array([[1, 1, 2], [3, 1, 1]]).astype(name)
        want = to_numpy(nn, function(nn.tensor(array.astype("float32"))))
        call = f"{row.name} of {name}"
        agrees(nn, function(nn.tensor(array)), want, "elementwise", call=call, dtype="float32")


@clause("ops-14")
def test_quotients_of_integers(nn: Any) -> None:
    got = nn.ops.divide(nn.tensor([1, 2]), nn.tensor([4, 4]))
    exactly(nn, got, np.array([0.25, 0.5]), dtype="float32", call="divide of integers")
    for name in ("abs", "negative", "square", "sign", "relu", "max"):
        got = getattr(nn.ops, name)(nn.tensor([1, 2]))
        assert to_numpy(nn, got).dtype == np.int64, f"{name} should keep int64"


@clause("ops-15", needs="float64")
def test_sums_in_a_given_dtype(nn: Any) -> None:
    x = tensor(nn, np.array([1.5, 2.25, -0.5], "float32"))
    for add in (nn.ops.sum, lambda t, dtype: t.sum(dtype=dtype)):
        x.grad = None
        got = add(x, dtype=nn.float64)
        exactly(nn, got, np.array(3.25), dtype="float64", call="sum(dtype=float64)")
        got.backward()
        exactly(nn, x.grad, np.ones(3), dtype="float32", call="gradient of sum(dtype=float64)")
    got = nn.ops.sum(x, dtype=nn.int64)
    # The elements are cast before they are added: 1 + 2 + 0, not the whole part of 3.25.
    exactly(nn, got, np.array(3), call="sum(dtype=int64)")
    got = nn.ops.sum(nn.tensor(np.array([1.75, 1.75], "float32")), dtype=nn.int64)
    exactly(nn, got, np.array(2), call="sum(dtype=int64) of 1.75, 1.75")


@clause("ops-15")
@pytest.mark.parametrize("name", ["int32", "int64", "bool"])
def test_sums_of_integers(nn: Any, name: str) -> None:
    x = nn.tensor(np.ones((2, 3), name))
    exactly(nn, nn.ops.sum(x, axis=1), np.array([3, 3]), call=f"sum of {name}")
    exactly(nn, x.sum(), np.array(6), call=f"Tensor.sum of {name}")


@clause("ops-16")
def test_asarray_copies(nn: Any, dtype: str) -> None:
    array = raw(nn, normal(3, dtype))
    floating = getattr(nn, dtype)
    for copy in (None, True, False):
        got = nn.ops.asarray(array, copy=copy)
        exactly(nn, got, to_numpy(nn, array), call=f"asarray(copy={copy})")
    nn.ops.asarray(array, dtype=floating, copy=False)
    with refuses(ValueError, "asarray"):
        nn.ops.asarray(array, dtype=nn.int64, copy=False)
    for data in ([1.0, 2.0], 1.5, normal(3, dtype).data):
        with refuses(ValueError, "asarray"):
            nn.ops.asarray(data, copy=False)


@clause("ops-16")
def test_asarray_of_memory(nn: Any) -> None:
    for code, dtype in (("f", "float32"), ("i", "int32"), ("b", "int8"), ("B", "uint8")):
        memory = array_module.array(code, [1, 0, 5])
        for given in (memory, memoryview(memory)):
            got = nn.ops.asarray(given)
            exactly(nn, got, np.array([1, 0, 5], dtype), dtype=dtype, call=f"memory of {code!r}")
        got = nn.ops.asarray(memory)
        memory[0] = 9
        exactly(nn, got, np.array([1, 0, 5], dtype), dtype=dtype, call="after its memory changed")
    with refuses(TypeError, "asarray", "bytes"):
        nn.ops.asarray(b"abcd")


@clause("ops-16")
@pytest.mark.parametrize("copy", [None, True, False])
def test_gradients_pass_through_asarray(nn: Any, dtype: str, copy: bool | None) -> None:
    x = tensor(nn, normal(3, dtype))
    got = nn.ops.asarray(x, copy=copy)
    nn.ops.sum(got * 2.0).backward()
    exactly(nn, x.grad, np.full(3, 2.0), call=f"gradient of asarray(copy={copy})")


@clause("ops-16", "ops-17")
def test_copies_are_not_shared(nn: Any, dtype: str) -> None:
    ways: list[Callable[[Any], Any]] = [
        lambda x: nn.ops.asarray(x, copy=True),
        lambda x: nn.ops.reshape(x, (3, 2), copy=True),
    ]
    for copied in ways:
        x = nn.tensor(normal((2, 3), dtype))
        want = to_numpy(nn, copied(x)).copy()
        y = copied(x)
        nn.init.zeros_(x)
        exactly(nn, y, want, call="a copy after its source has changed")


@clause("ops-17")
@pytest.mark.parametrize("copy", [None, True, False])
def test_reshape_copies_when_told(nn: Any, dtype: str, copy: bool | None) -> None:
    array = normal((2, 3), dtype)
    x = tensor(nn, array)
    got = nn.ops.reshape(x, (3, 2), copy=copy)
    exactly(nn, got, array.reshape(3, 2), call=f"reshape(copy={copy})")
    nn.ops.sum(got).backward()
    exactly(nn, x.grad, np.ones((2, 3)), call=f"gradient of reshape(copy={copy})")


@clause("ops-18")
def test_expand_dims_takes_places_in_the_result(nn: Any, dtype: str) -> None:
    array = normal((2, 3), dtype)
    x = nn.tensor(array)
    for axis in (0, 2, -3, (0, 2), (-1, 0), (1, 2, 4)):
        want = np.expand_dims(array, axis)
        exactly(nn, nn.ops.expand_dims(x, axis), want, call=f"expand_dims(axis={axis})")
    with pytest.raises(TypeError):
        nn.ops.expand_dims(x)
    with refuses(ValueError, "expand_dims", "(0, 0)", "(2, 3)"):
        nn.ops.expand_dims(x, (0, 0))
    with refuses(ValueError, "expand_dims", "(2, 3)"):
        nn.ops.expand_dims(x, (0, -4))
    for axis in (3, -4):
        with refuses((ValueError, IndexError), "expand_dims", axis, "(2, 3)"):
            nn.ops.expand_dims(x, axis)


@clause("ops-19")
@rows("ops", where=takes_several_axes)
def test_no_axes_to_reduce(nn: Any, row: Row) -> None:
    call = calls(row, "float32")[0]
    x = nn.tensor(call.arrays()[0])
    got = getattr(nn.ops, row.name)(x, axis=())
    # The same over a further axis of length 1.
    want = getattr(nn.ops, row.name)(nn.ops.expand_dims(x, axis=0), axis=0)
    agrees(nn, got, to_numpy(nn, want), "elementwise", call=f"{row.name}(x, axis=())", dtype=None)


@clause("ops-19")
def test_logsumexp_over_several_axes(nn: Any, dtype: str) -> None:
    array = normal((2, 3, 4), dtype) + np.array(1000, dtype)
    wide = array.astype("float64") - 1000
    for axis in (None, (0, 2), (-1, 1), 1):
        for keepdims in (False, True):
            want = np.log(np.sum(np.exp(wide), axis=axis, keepdims=keepdims)) + 1000
            got = nn.ops.logsumexp(nn.tensor(array), axis=axis, keepdims=keepdims)
            agrees(nn, got, want, "reduction", call=f"logsumexp(axis={axis}) near 1000")


@clause("ops-20", "tensor-34")
def test_sizes_are_counts(nn: Any) -> None:
    shape: tuple[int, ...]
    x = nn.zeros((2, 3))
    for shape in ((-2, 3), (-1, -1), (3, -2)):
        with refuses(ValueError, "reshape", str(shape)):
            nn.ops.reshape(x, shape)
        # The method may be the backend's own, with an exception of its own.
        with refuses((ValueError, RuntimeError)):
            x.reshape(shape)
        with refuses((ValueError, RuntimeError)):
            x.reshape(*shape)
    for shape in ((2, -1), (-1, 2, 3)):
        with refuses(ValueError, "broadcast_to", str(shape)):
            nn.ops.broadcast_to(x, shape)
    for name in ("reshape", "broadcast_to"):
        with refuses(TypeError, name):
            getattr(nn.ops, name)(x, (2.0, 3))


@clause("ops-21")
def test_where_takes_two_numbers(nn: Any) -> None:
    got = nn.ops.where(nn.tensor([True, False]), 1.0, 2.0)
    exactly(nn, got, np.array([1.0, 2.0]), dtype="float32", call="where of two numbers")


@clause("ops-22")
def test_axes_of_cumulative_prod(nn: Any, dtype: str) -> None:
    function = nn.ops.cumulative_prod
    for shape in ((2, 3), ()):
        with refuses(ValueError, "cumulative_prod"):
            function(nn.tensor(normal(shape, dtype)))
    exactly(nn, function(nn.tensor([2, 3, 4])), np.array([2, 6, 24]), call="cumulative_prod")
    narrow = nn.tensor(np.array([2, 3], "int32"))
    exactly(nn, function(narrow), np.array([2, 6]), call="cumulative_prod of int32")
    halves = nn.tensor(np.array([1.5, 2.5], dtype))
    got = function(halves, dtype=nn.int64)
    exactly(nn, got, np.array([1, 2]), call="cumulative_prod(dtype=int64)")
    got = function(halves, include_initial=True)
    exactly(nn, got, np.array([1.0, 1.5, 3.75]), call="cumulative_prod(include_initial=True)")


@clause("ops-22", needs=("float64", "double_backward"))
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("zeros", [(1,), (0, 2), (0, 1, 2, 3)])
def test_cumulative_prod_of_zeros(nn: Any, zeros: tuple[int, ...], initial: bool) -> None:
    array = normal(4) + 2
    array[list(zeros)] = 0

    def apply(x: Any) -> Any:
        return nn.ops.cumulative_prod(x, include_initial=initial)

    check_gradients(nn, apply, [array], second_order=True, call=f"cumulative_prod of {array}")


@clause("ops-23")
def test_the_namespace_inside_a_function(nn: Any, dtype: str) -> None:
    class Portable:
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            wide = ctx.xp.expand_dims(x, axis=(0, -1))
            return ctx.xp.sum(ctx.xp.tanh(wide), axis=(0, -1))

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * (1 - ctx.xp.square(ctx.xp.tanh(x)))

    x = tensor(nn, normal(3, dtype))
    got = nn.as_function(Portable).apply(x)
    (slope,) = nn.grad(lambda x: nn.ops.sum(nn.as_function(Portable).apply(x)), argnums=(0,))(x)
    wide = normal(3, dtype).astype("float64")
    agrees(nn, got, np.tanh(wide), "elementwise", call="a Function of ctx.xp")
    agrees(nn, slope, 1 - np.tanh(wide) ** 2, "gradient", call="its gradient")


def has_flags(row: Row) -> bool:
    return bool(flags_of(row)) and row.family != "same"


def flags_of(row: Row) -> list[str]:
    options = row.signature.parameters.items()
    return [name for name, option in options if type(option.default) is bool]


def refuses_flags(nn: Any, row: Row, function: Any) -> None:
    """Ask that no option that is True or False by default is a string, or several elements."""
    __tracebackhide__ = True
    for name in flags_of(row):
        for wrong in ("yes", "", np.array([True, False]), nn.tensor([True, False])):
            positional, options = arguments(nn, calls(row, "float32")[0], nn.tensor)
            with refuses((TypeError, ValueError), row.name, name):
                function(*positional, **{**options, name: wrong})


@clause("ops-13")
@rows("ops", where=has_flags)
def test_flags(nn: Any, row: Row) -> None:
    refuses_flags(nn, row, getattr(nn.ops, row.name))


@clause("ops-13")
@rows("linalg", where=has_flags)
def test_flags_of_matrices(nn: Any, row: Row) -> None:
    refuses_flags(nn, row, getattr(nn.ops.linalg, row.name))


@clause("ops-13")
@rows("loss", where=has_flags)
def test_flags_of_losses(nn: Any, row: Row) -> None:
    refuses_flags(nn, row, getattr(nn.loss, row.name))
