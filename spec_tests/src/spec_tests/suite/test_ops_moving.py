"""Chapter ops: elements that are moved, repeated, paired and counted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.judge.clauses import asks
from spec_tests.support.assertions import agrees, exactly, refuses, tensor
from spec_tests.support.changes import can_write
from spec_tests.support.inputs import normal

BOUNDS = (ValueError, IndexError)


@clause("ops-38", needs=("float64", "double_backward"))
def test_products_with_zeros(nn: Any) -> None:
    for zeros in ([], [1], [0, 2], [0, 1, 2]):
        array = normal((2, 3))
        array[:, zeros] = 0.0
        x = tensor(nn, array)
        for axis in (1, None):
            x.grad = None
            nn.ops.sum(nn.ops.prod(x, axis=axis)).backward()
            rows = array if axis else array.reshape(1, -1)
            want = [[np.prod(np.delete(row, k)) for k in range(len(row))] for row in rows]
            agrees(nn, x.grad, np.reshape(want, (2, 3)), "gradient", call=f"prod, zeros at {zeros}")
        check_gradients(
            nn, lambda t: nn.ops.prod(t, axis=1) ** 2, [array], second_order=True, call="prod"
        )


@clause("ops-38")
def test_products_choose_their_dtype(nn: Any) -> None:
    for name in ("int32", "int64", "bool"):
        x = nn.tensor(np.array([[2, 3], [1, 1]]).astype(name))
        want = np.array([[2, 3], [1, 1]]).astype(name).prod(axis=0, dtype="int64")
        exactly(nn, nn.ops.prod(x, axis=0), want, dtype="int64", call=f"prod of {name}")
        want = np.array([[2, 3], [1, 1]]).astype(name).cumsum(axis=0, dtype="int64")
        got = nn.ops.cumulative_sum(x, axis=0)
        exactly(nn, got, want, dtype="int64", call=f"cumulative_sum of {name}")
    got = nn.ops.prod(nn.tensor([1.75, 2.5]), dtype=nn.int64)
    exactly(nn, got, np.array(2), dtype="int64", call="prod(dtype=int64)")


@clause("ops-39")
def test_a_large_mean_costs_no_digits(nn: Any, dtype: str) -> None:
    # Beyond the second, halves between the numbers have no digit left.
    for large in (2.0**20, 0.5 / float(np.finfo(dtype).eps)):
        array = (np.array([0.0, 1.0, 2.0, 3.0]) + large).astype(dtype)
        got = nn.ops.var(nn.tensor(array))
        agrees(nn, got, np.array(1.25), "reduction", call=f"var about {large}")
        got = nn.ops.std(nn.tensor(array), correction=1)
        agrees(nn, got, np.array((5 / 3) ** 0.5), "reduction", call=f"std about {large}")


@clause("ops-39")
def test_corrections(nn: Any, dtype: str) -> None:
    x = nn.tensor(np.array([1.0, 2.0, 4.0], dtype))
    agrees(nn, nn.ops.var(x, correction=0.5), np.array(14 / 3 / 2.5), "reduction", call="var")
    for correction in (3, 4.5):
        got = nn.ops.var(x, correction=correction)
        exactly(nn, got, np.array(np.inf), call=f"var(correction={correction})")
    exactly(nn, nn.ops.var(x[:1], correction=1), np.array(np.nan), call="var of one")
    with refuses(TypeError, "var", "text"):
        nn.ops.var(x, correction="text")


@clause("ops-40")
def test_norms(nn: Any, dtype: str) -> None:
    array = np.array([[3.0, -4.0], [0.0, 1.0]], dtype)
    x = nn.tensor(array)
    for order in (2, 1, 0, np.inf, -np.inf, 0.5, -2):
        with np.errstate(divide="ignore"):
            want = np.linalg.vector_norm(array.astype("float64"), axis=1, ord=order)
        got = nn.ops.norm(x, axis=1, ord=order)
        agrees(nn, got, want, "reduction", call=f"norm(ord={order})")
    agrees(nn, nn.ops.norm(nn.tensor([3, 4])), np.array(5.0), "reduction", dtype="float32")
    for wrong in ("fro", None):
        with refuses(TypeError, "norm"):
            nn.ops.norm(x, ord=wrong)


@clause("ops-24")
def test_norms_of_no_element(nn: Any, dtype: str) -> None:
    x = nn.tensor(np.zeros((2, 0), dtype))
    for order in (-0.5, -1, -2, -np.inf):
        for axis in (1, None):
            with refuses(ValueError, "norm", "0"):
                nn.ops.norm(x, axis=axis, ord=order)
        assert nn.ops.norm(x, axis=0, ord=order).shape == (0,)
    for order in (0, 0.5, 1, 2, 3, np.inf):
        exactly(nn, nn.ops.norm(x, axis=1, ord=order), np.zeros(2), call=f"norm(ord={order})")


@clause("ops-41")
@pytest.mark.parametrize("name", ["float32", "float64", "int32", "int64", "bool"])
def test_what_is_not_0(nn: Any, name: str) -> None:
    array = np.array([[0, 1, 2], [0, 0, 0], [1, 1, 1]]).astype(name)
    x = nn.tensor(array)
    exactly(nn, nn.ops.all(x, axis=1), array.all(axis=1), call="all")
    exactly(nn, nn.ops.any(x, axis=1), array.any(axis=1), call="any")
    got = nn.ops.count_nonzero(x, axis=1)
    exactly(nn, got, np.count_nonzero(array, axis=1), dtype="int64", call="count_nonzero")
    if name.startswith("float"):
        array[1] = np.nan
        exactly(nn, nn.ops.all(nn.tensor(array), axis=1), np.array([False, True, True]), call="all")


@clause("ops-42")
def test_differences(nn: Any, dtype: str) -> None:
    array = normal((2, 3), dtype)
    x, more = nn.tensor(array), np.ones((2, 2), dtype)
    for n in (0, 1, 2, 3, 5):
        want = np.diff(array, n)
        exactly(nn, nn.ops.diff(x, n=n).shape, np.array(want.shape), call=f"shape of diff(n={n})")
    weight = np.array([1.0, -2.0, 3.0], dtype)
    for n in (1, 2, 3, 4, 5):
        leaf = tensor(nn, np.arange(n + 3).astype(dtype))
        nn.ops.diff(leaf, n=n).backward(nn.tensor(weight))
        slope = np.diff(np.eye(n + 3), n, axis=0).T @ weight.astype("float64")
        exactly(nn, leaf.grad, slope, call=f"gradient of diff(n={n})")
    got = nn.ops.diff(x, append=nn.tensor(more), n=0)
    exactly(nn, got, np.concatenate([array, more], axis=1), call="diff(n=0, append)")
    got = nn.ops.diff(nn.tensor([1, 4, 9]), prepend=nn.tensor([0]))
    exactly(nn, got, np.array([1, 3, 5]), dtype="int64", call="diff of integers")
    with refuses(ValueError, "diff", -1):
        nn.ops.diff(x, n=-1)
    with refuses(TypeError, "diff"):
        nn.ops.diff(x, n=1.5)
    with refuses(ValueError, "diff", "(2, 3)", "(3, 1)"):
        nn.ops.diff(x, prepend=nn.ops.zeros((3, 1)))
    for name in ("prepend", "append"):
        with refuses(ValueError, "diff", "(2, 3)", "(1, 4)"):
            nn.ops.diff(x, axis=0, **{name: nn.ops.zeros((1, 4))})


MOVED: dict[str, Callable[[Any, Any], Any]] = {
    "roll(x, 4)": lambda np, x: np.roll(x, 4),
    "roll(x, (4,))": lambda np, x: np.roll(x, (4,)),
    "roll(x, (1, 1), axis=(1, 1))": lambda np, x: np.roll(x, (1, 1), axis=(1, 1)),
    "roll(x, 1, axis=(0, 1))": lambda np, x: np.roll(x, 1, axis=(0, 1)),
    "moveaxis(x, (0, 1), (1, 0))": lambda np, x: np.moveaxis(x, (0, 1), (1, 0)),
    "repeat(x, 0)": lambda np, x: np.repeat(x, 0),
    "tile(x, ())": lambda np, x: np.tile(x, ()),
    "tile(x, (2, 0))": lambda np, x: np.tile(x, (2, 0)),
    "tile(x, (2, 1, 1))": lambda np, x: np.tile(x, (2, 1, 1)),
    "pad(x, (1, 2))": lambda np, x: np.pad(x, (1, 2)),
    "pad(x, ((0, 0), (2, 1)))": lambda np, x: np.pad(x, ((0, 0), (2, 1)), constant_values=7),
    "tril(x, k=9)": lambda np, x: np.tril(x, k=9),
    "triu(x, k=-9)": lambda np, x: np.triu(x, k=-9),
    "triu(x, k=9)": lambda np, x: np.triu(x, k=9),
}


@clause("ops-43")
@pytest.mark.parametrize("name", MOVED)
def test_elements_are_moved(nn: Any, name: str) -> None:
    for array in (normal((2, 3), "float32"), np.arange(6).reshape(2, 3) % 3):
        got = MOVED[name](nn.ops, nn.tensor(array))
        exactly(nn, got, MOVED[name](np, array), dtype=array.dtype.name, call=name)


@clause("ops-43")
def test_a_roll_along_no_axis(nn: Any, dtype: str) -> None:
    array = normal((2, 3), dtype)
    x = tensor(nn, array)
    y = nn.ops.roll(x, (), axis=())
    exactly(nn, y, array, dtype=dtype)
    assert not y.is_leaf, "a result that is recorded is no leaf"


@clause("ops-11")
def test_whether_astype_copies(nn: Any, dtype: str) -> None:
    array = normal((3,), dtype)
    for copy in (True, False):
        x = nn.tensor(array)
        y = nn.ops.astype(x, x.dtype, copy=copy)
        exactly(nn, y, array, dtype=dtype)
        if can_write(nn):
            x.data[...] = 0
            exactly(nn, y, array if copy else 0 * array, dtype=dtype, call=f"{copy=}")


@clause("ops-43")
def test_repeats_by_an_array(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([1.0, 2.0, 3.0], dtype))
    for counts in (np.array([2, 0, 1]), np.array([2]), np.array([1, 1, 2], np.uint8)):
        got = nn.ops.repeat(x, counts)
        exactly(nn, got, np.repeat(np.array([1.0, 2, 3]), counts), call=f"repeat by {counts}")
    nn.ops.sum(nn.ops.repeat(x, nn.tensor([2, 0, 1]))).backward()
    exactly(nn, x.grad, np.array([2.0, 0.0, 1.0]), call="gradient of repeat")


@asks(("values", "zero sizes", "bad calls"), "ops.broadcast_shapes")
@clause("ops-43")
def test_shapes_meet(nn: Any) -> None:
    for shapes in ([], [(2,)], [(2, 1), (3,), ()], [(0, 1), (1, 4)]):
        got = nn.ops.broadcast_shapes(*shapes)
        assert got == np.broadcast_shapes(*shapes), f"broadcast_shapes of {shapes} is {got}"
        assert type(got) is tuple
    assert nn.ops.broadcast_arrays() == ()
    assert nn.ops.meshgrid() == ()
    with refuses(ValueError, "broadcast_shapes", "(2,)", "(3,)"):
        nn.ops.broadcast_shapes((2,), (3,))
    with refuses(ValueError, "broadcast_arrays", "(2,)", "(3,)"):
        nn.ops.broadcast_arrays(nn.ops.zeros((2,)), nn.ops.zeros((3,)))


# A function, its arguments after x of shape (2, 3), the exception, and what it says.
REFUSED: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("roll", ((1, 2),), {"axis": (0,)}, ValueError),
    ("roll", ((1, 2),), {}, ValueError),
    ("roll", ((),), {}, ValueError),
    ("roll", (0.5,), {}, TypeError),
    ("moveaxis", (0, (0, 1)), {}, ValueError),
    ("moveaxis", ((0, 0), (0, 1)), {}, ValueError),
    ("moveaxis", (0, 2), {}, BOUNDS),
    ("moveaxis", (0, "1"), {}, TypeError),
    ("repeat", (-1,), {}, ValueError),
    ("repeat", (1.5,), {}, TypeError),
    ("tile", ((-1, 1),), {}, ValueError),
    ("tile", ((1.5,),), {}, TypeError),
    ("pad", (-1,), {}, ValueError),
    ("pad", (((1, 1),) * 3,), {}, ValueError),
    ("pad", (1.5,), {}, TypeError),
    ("pad", (1, "reflect"), {}, ValueError),
    ("pad", (1,), {"constant_values": "0"}, TypeError),
    ("tril", (), {"k": 0.5}, TypeError),
    ("triu", (), {"k": None}, TypeError),
    ("meshgrid", (), {}, ValueError),
    ("broadcast_shapes", ((-1,),), {}, TypeError),
]


@clause("ops-43")
@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_moves_that_are_refused(nn: Any, number: int) -> None:
    name, arguments, options, error = REFUSED[number]
    with refuses(error, name):
        getattr(nn.ops, name)(nn.ops.ones((2, 3)), *arguments, **options)


@clause("ops-43")
def test_moves_that_lack_an_axis(nn: Any) -> None:
    scalar, vector = nn.ops.ones(()), nn.ops.ones((3,))
    with refuses(BOUNDS, "unstack", "()"):
        nn.ops.unstack(scalar)
    for name in ("tril", "triu"):
        with refuses(ValueError, name, "(3,)"):
            getattr(nn.ops, name)(vector)
    for counts in ([1, 2], [-1, 1, 1]):
        with refuses(ValueError, "repeat"):
            nn.ops.repeat(vector, nn.tensor(counts))
    with refuses(ValueError, "meshgrid", "uv"):
        nn.ops.meshgrid(vector, vector, indexing="uv")


@clause("ops-44")
def test_products_of_axes(nn: Any) -> None:
    x, y = np.arange(6).reshape(1, 2, 3), np.arange(6).reshape(3, 2)
    axes: Any
    for axes in (1, ((2, 1), (0, 1)), ((-1,), (-2,)), [[1], [1]], 0):
        want = np.tensordot(x, y, axes)
        got = nn.ops.tensordot(nn.tensor(x), nn.tensor(y), axes=axes)
        exactly(nn, got, want, dtype="int64", call=f"tensordot(axes={axes})")
    a, b = nn.tensor(x), nn.tensor(y)
    for axes in (2, 3, -1, ((0,), (0,)), ((2, 1), (0,)), ((1, 1), (1, 1))):
        with refuses(ValueError, "tensordot", "(1, 2, 3)", "(3, 2)"):
            nn.ops.tensordot(a, b, axes=axes)
    got = nn.ops.vecdot(nn.tensor(y), nn.tensor(y), axis=-2)
    exactly(nn, got, (y * y).sum(axis=0), dtype="int64", call="vecdot")
    with refuses(BOUNDS, "vecdot"):
        nn.ops.vecdot(b, b, axis=0)
    for other in (nn.tensor(x), nn.tensor(y[:, :1]), nn.tensor(y[:2])):
        with refuses(ValueError, "vecdot", "(3, 2)", tuple(other.shape)):
            nn.ops.vecdot(b, other)


@clause("ops-45")
def test_elements_along_an_axis(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype))
    places = np.array([[0, 0, -1, 1]], np.int32)
    got = nn.ops.take_along_axis(x, nn.tensor(places), axis=1)
    exactly(nn, got, np.array([[1.0, 1, 3, 2], [4, 4, 6, 5]]), call="take_along_axis")
    nn.ops.sum(got).backward()
    exactly(nn, x.grad, np.array([[2.0, 1, 1], [2, 1, 1]]), call="gradient of take_along_axis")
    row = nn.ops.take_along_axis(x[:1], nn.tensor([[0, 1], [2, 2]]))
    exactly(nn, row, np.array([[1.0, 2], [3, 3]]), call="take_along_axis of a row for several")
    for wrong in ([0], [[[0]]], [[0], [0], [0]]):
        with refuses(ValueError, "take_along_axis", "(2, 3)", np.shape(wrong)):
            nn.ops.take_along_axis(x, nn.tensor(wrong))
    for beyond in (3, -4):
        with refuses(IndexError, "take_along_axis", beyond):
            nn.ops.take_along_axis(x, nn.tensor([[beyond]]))
    with refuses(TypeError, "take_along_axis", "float32"):
        nn.ops.take_along_axis(x, nn.tensor([[0.0]]))


@clause("ops-46")
def test_rows_that_are_1_at_a_class(nn: Any) -> None:
    for name in ("int32", "int64", "int8", "uint8"):
        # Raw arrays have what dtypes the backend has, NumPy's have all.
        classes = np.array([[0, 2], [1, 0]], name)
        for axis in (-1, 0, 1):
            want = np.moveaxis(np.eye(3)[classes], -1, axis)
            got = nn.ops.one_hot(classes, 3, axis=axis)
            exactly(nn, got, want, dtype="float32", call=f"one_hot of {name} at {axis}")
    got = nn.ops.one_hot(nn.tensor([1]), 2, dtype=nn.bool)
    exactly(nn, got, np.array([[False, True]]), dtype="bool", call="one_hot(dtype=bool)")
    for beyond in (3, -1):
        with refuses(IndexError, "one_hot", beyond, "num_classes"):
            nn.ops.one_hot(nn.tensor([0, beyond]), 3)
    with refuses(TypeError, "one_hot", "float32"):
        nn.ops.one_hot(nn.tensor([0.0]), 3)
    with refuses(ValueError, "one_hot", -1):
        nn.ops.one_hot(nn.tensor([0]), -1)
    with refuses(TypeError, "one_hot"):
        nn.ops.one_hot(nn.tensor([0]), 1.5)


@clause("ops-46")
def test_classes_out_of_range_under_jit(nn: Any) -> None:
    try:
        got = nn.jit(lambda x: nn.ops.one_hot(x, 3))(nn.tensor([1, 3]))
    except IndexError:
        return
    exactly(nn, got, np.array([[0.0, 1, 0], [0, 0, 0]]), dtype="float32", call="one_hot, jit")
