"""Chapter ops: `einsum`, and values put or added where an index says."""

import pickle
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, own, raw, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.kept import Store
from spec_tests.support.places import put, scatter_add

pytestmark = pytest.mark.sampled(4)

INF, NAN = np.inf, np.nan
SUBSCRIPTS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij", [(2, 3)]),
    ("ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("ii", [(3, 3)]),
    ("iji->j", [(2, 3, 2)]),
    ("iij,jk->ik", [(2, 2, 3), (3, 4)]),
    ("i,i,i->i", [(3,), (3,), (3,)]),
    ("i,j", [(2,), (3,)]),
    ("bij, bjk -> bik", [(2, 3, 4), (2, 4, 2)]),
    ("b...i,...i->b...", [(2, 3, 4), (3, 4)]),
    ("...i,...j", [(2, 1, 3), (4, 2)]),
    ("...,...", [(), ()]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
    (",i->i", [(), (3,)]),
    ("Ba,aB->B", [(2, 3), (3, 2)]),
    ("ij,kl->ik", [(2, 3), (4, 5)]),
    ("ij,jk->ki", [(0, 3), (3, 2)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]),
]


@clause("ops-55")
@pytest.mark.parametrize(("subscripts", "shapes"), SUBSCRIPTS)
def test_einsum(nn: Any, dtype: str, subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [normal(shape, dtype, seed=k) for k, shape in enumerate(shapes)]
    want = np.einsum(subscripts, *[in_double(array) for array in arrays])
    got = nn.ops.einsum(subscripts, *[nn.tensor(array) for array in arrays])
    agrees(nn, got, want, "matmul", call=subscripts, dtype=dtype)


@clause("ops-55", needs=("float64", "double_backward"))
@pytest.mark.sampled(8)
@pytest.mark.parametrize(("subscripts", "shapes"), SUBSCRIPTS[:16])
def test_derivatives_of_einsum(nn: Any, subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [normal(shape, "float64", seed=k) for k, shape in enumerate(shapes)]

    def cube(*tensors: Any) -> Any:
        y = nn.ops.einsum(subscripts, *tensors)
        return y * y * y

    check_gradients(nn, cube, arrays, second_order=True, call=subscripts)


@clause("ops-55")
def test_dtypes_of_einsum(nn: Any) -> None:
    whole = np.arange(6).reshape(2, 3)
    got = nn.ops.einsum("ij,ij->i", nn.tensor(whole), nn.tensor(whole))
    exactly(nn, got, np.sum(whole * whole, axis=1))
    mixed = nn.ops.einsum("i,i", nn.tensor(normal(3, "float32")), nn.tensor(normal(3, "float64")))
    assert mixed.dtype == nn.float64
    assert nn.ops.einsum("i->i", raw(nn, normal(3, "float32"))).dtype == nn.float32
    truths = nn.tensor(np.array([True, False]))
    # Its dtype is as good as any other's, though it may not be the same object.
    for booleans in (truths, pickle.loads(pickle.dumps(truths))):
        with refuses(TypeError, "einsum", "bool"):
            nn.ops.einsum("i->", booleans)


@clause("ops-55", "ops-21")
def test_what_does_not_fit_in_einsum(nn: Any) -> None:
    einsum = nn.ops.einsum
    x, y = nn.tensor(normal((2, 3), "float32")), nn.tensor(normal((4, 2), "float32"))
    wrong = "ij,jk->ik ij ij,jk,kl ijk,jk i,jk ij,ki->il ij,ki->ii i1,ki ij;ki"
    for subscripts in [*wrong.split(), "ij->ki,", "....ij,ki", "ij,k..i"]:
        with refuses(ValueError, "einsum", subscripts):
            einsum(subscripts, x, y)
    with refuses(ValueError, "einsum", "(2, 3)", "(4, 2)"):
        einsum("ij,jk->ik", x, y)
    row = nn.ones((1, 2))
    for subscripts, operands in (("ij,jk", (x, row)), ("jk,ij", (row, x)), ("i...,...", (x, y))):
        with refuses(ValueError, "einsum", subscripts):
            einsum(subscripts, *operands)
    with refuses((ValueError, TypeError), "einsum"):
        einsum("")
    for other in (3, None, x):
        with refuses(TypeError, "einsum"):
            einsum(other, x)


KEYS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "int": (1, (4,)),
    "negative": (-1, (4,)),
    "element": ((2, -1), ()),
    "slice": (slice(1, None), (2, 4)),
    "steps": (slice(None, None, 2), (2, 4)),
    "ellipsis": ((Ellipsis, 1), (3,)),
    "newaxis": ((None, 1), (1, 4)),
    "indices": (np.array([2, 0]), (2, 4)),
    "pairs": ((np.array([2, 0]), np.array([1, -1])), (2,)),
    "mixed": ((slice(1), np.array([3, 1])), (1, 2)),
    "mask": (np.arange(12).reshape(3, 4) % 5 == 0, (3,)),
    "rows by mask": (np.array([True, False, True]), (2, 4)),
}


@clause("ops-56")
@pytest.mark.parametrize("name", KEYS)
def test_put(nn: Any, dtype: str, name: str) -> None:
    key, shape = KEYS[name]
    x, cotangent = normal((3, 4), dtype, seed=1), normal((3, 4), dtype, seed=2)
    for given in {shape, shape[1:], ()}:
        values = normal(given, dtype, seed=3)
        leaves = [tensor(nn, x), tensor(nn, values)]
        got = nn.ops.put(leaves[0], key, leaves[1])
        exactly(nn, got.detach(), put(x, key, values), call=name, dtype=dtype)
        got.backward(nn.tensor(cotangent))
        kept = put(cotangent, key, np.zeros((), dtype))
        exactly(nn, leaves[0].grad, kept, call=f"{name}: gradient to x", dtype=dtype)
        arrived = in_double(cotangent)[key]
        lead = arrived.ndim - values.ndim
        want = arrived.sum(axis=tuple(range(lead)))
        agrees(nn, leaves[1].grad, want, "reduction", call=f"{name}: to values", dtype=dtype)
    exactly(nn, nn.ops.put(nn.tensor(x), key, 1.5), put(x, key, 1.5), dtype=dtype)
    exactly(nn, leaves[0].detach(), x, call="x itself", dtype=dtype)


@clause("ops-56")
def test_put_at_repeated_places(nn: Any, dtype: str) -> None:
    x, values = tensor(nn, normal(4, dtype)), tensor(nn, normal(5, dtype, seed=1))
    got = nn.ops.put(x, np.array([2, 0, 2, -2, 0]), values)
    given = to_numpy(nn, values.detach())
    want = to_numpy(nn, x.detach()).copy()
    want[[0, 2]] = given[[4, 3]]
    exactly(nn, got.detach(), want, dtype=dtype)
    got.backward(nn.tensor(np.array([1, 2, 4, 8], dtype)))
    exactly(nn, x.grad, np.array([0, 2, 0, 8]), dtype=dtype)
    exactly(nn, values.grad, np.array([0, 0, 0, 4, 1]), dtype=dtype)
    beside = nn.ops.put(nn.zeros((2, 3)), (slice(1), [2, 0, 2]), nn.tensor([[1.0, 2.0, 3.0]]))
    exactly(nn, beside, np.array([[2, 0, 3], [0, 0, 0]]), dtype="float32")


@clause("ops-56", "ops-26")
def test_put_selects(nn: Any, dtype: str) -> None:
    """What was covered gives no NaN, forward or backward."""
    x = tensor(nn, np.array([NAN, INF, 1.0], dtype))
    got = nn.ops.put(x, np.array([0, 1]), nn.tensor(np.array([2.0, 3.0], dtype)))
    exactly(nn, got.detach(), np.array([2, 3, 1]), dtype=dtype)
    got.backward(nn.tensor(np.array([NAN, INF, 1.0], dtype)))
    exactly(nn, x.grad, np.array([0, 0, 1]), dtype=dtype)


@clause("ops-56", needs=("float64", "double_backward"))
def test_second_derivatives_of_put(nn: Any) -> None:
    arrays = [normal((3, 4), "float64", seed=1), normal((2, 4), "float64", seed=2)]
    places = np.array([2, 2])

    def function(x: Any, values: Any) -> Any:
        y = nn.ops.put(x * x, places, values * values)
        return y * y

    check_gradients(nn, function, arrays, second_order=True)


@clause("ops-56", "ops-21")
def test_what_does_not_fit_in_put(nn: Any) -> None:
    x = nn.tensor(normal((3, 4), "float32"))
    with refuses(ValueError, "put", "(2,)", "(4,)"):
        nn.ops.put(x, 1, nn.ones(2))
    with refuses(IndexError, "put", 3):
        nn.ops.put(x, 3, nn.ones(4))
    for key in (np.array([0, 5]), (0, 0, 0), *([(..., 0, ...)] if own(nn) else [])):
        with refuses(IndexError, "put"):
            nn.ops.put(x, key, 0.0)
    for key in (np.zeros(1), nn.tensor([0.0]), (0, nn.tensor([1.0]))):
        with refuses((IndexError, TypeError), "put"):
            nn.ops.put(x, key, 0.0)
    with refuses(TypeError, "put", "float32", "float64"):
        nn.ops.put(x, 1, nn.ones(4, dtype=nn.float64))
    with refuses(TypeError, "put", "int64"):
        nn.ops.put(nn.tensor(np.arange(3)), 1, 0.5)
    with refuses(TypeError, "put", "str"):
        nn.ops.put(x, 1, "text")
    exactly(nn, nn.ops.put(nn.tensor(np.arange(3)), 1, 7), np.array([0, 7, 2]))
    if not isinstance(nn.zeros(()).data, nn.Tensor):
        with refuses(TypeError, "put"):
            x[1] = nn.ones(4)


@clause("ops-57")
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scatter_add(nn: Any, dtype: str, axis: int) -> None:
    x = normal((3, 4), dtype, seed=1)
    shape = [3, 4]
    shape[axis] = 6
    indices = np.random.default_rng(2).integers(-x.shape[axis], x.shape[axis], shape)
    values, cotangent = normal(tuple(shape), dtype, seed=3), normal((3, 4), dtype, seed=4)
    leaves = [tensor(nn, x), tensor(nn, values)]
    got = nn.ops.scatter_add(leaves[0], nn.tensor(indices), leaves[1], axis=axis)
    want = scatter_add(in_double(x), indices, in_double(values), axis)
    agrees(nn, got, want, "reduction", dtype=dtype)
    got.backward(nn.tensor(cotangent))
    exactly(nn, leaves[0].grad, cotangent, dtype=dtype)
    exactly(nn, leaves[1].grad, np.take_along_axis(cotangent, indices, axis), dtype=dtype)


@clause("ops-57", "autograd-44")
def test_scatter_add_keeps_no_numbers(nn: Any) -> None:
    store = Store(nn)
    x, values = (tensor(nn, normal((size, 3), "float32")) for size in (4, 2))
    with store.hooks():
        got = nn.ops.scatter_add(x, np.array([[0, 3, 1], [2, 3, 0]]), values, axis=0)
    assert got.requires_grad
    assert not store.shapes, f"kept arrays of shapes {store.shapes} for backward"


@clause("ops-57", "ops-25")
def test_scatter_add_of_many(nn: Any) -> None:
    """A million ones of float32 at one place, and a large number before them."""
    count = 2**20
    got = nn.ops.scatter_add(
        nn.zeros(2), np.zeros(count, "int64"), nn.tensor(np.full(count, 0.1, "float32"))
    )
    want = np.float64(np.float32(0.1)) * count
    agrees(nn, got, np.array([want, 0.0]), "reduction", dtype="float32")


@clause("ops-58", "ops-25")
def test_segment_sum_of_many(nn: Any) -> None:
    count = 2**20
    ids = np.arange(count) % 2
    x = nn.tensor(np.full((count, 2), 0.1, "float32"))
    got = nn.ops.segment_sum(x, ids, 3)
    half = np.float64(np.float32(0.1)) * (count // 2)
    want = np.array([[half, half], [half, half], [0, 0]])
    agrees(nn, got, want, "reduction", dtype="float32")


@clause("ops-58")
def test_segment_sum(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal((4, 3), dtype))
    got = nn.ops.segment_sum(x, [3, 0, 3, 1], 5)
    array = in_double(to_numpy(nn, x.detach()))
    zero = np.zeros(3)
    agrees(
        nn,
        got,
        np.stack([array[1], array[3], zero, array[0] + array[2], zero]),
        "reduction",
        dtype=dtype,
    )
    cotangent = normal((5, 3), dtype, seed=1)
    got.backward(nn.tensor(cotangent))
    exactly(nn, x.grad, cotangent[[3, 0, 3, 1]], dtype=dtype)
    whole = nn.ops.segment_sum(nn.tensor(np.array([1, 2, 3])), np.array([1, 1, 0], "uint8"), 2)
    exactly(nn, whole, np.array([3, 3]))


@clause("ops-58", needs="jit")
def test_a_compiled_segment_sum_leaves_out_what_is_no_segment(nn: Any) -> None:
    compiled = nn.jit(lambda x, ids: nn.ops.segment_sum(x, ids, 2))
    try:
        got = compiled(nn.tensor([1.0, 2.0, 4.0, 8.0, 16.0]), nn.tensor([0, -1, 2, 1, -2]))
    except IndexError:
        return  # `jit` runs it as it is.
    exactly(nn, got, np.array([1, 8]), dtype="float32")


@clause("ops-57", "ops-58", "ops-21")
def test_what_does_not_fit_in_sums_at_places(nn: Any) -> None:
    x, ids = nn.tensor(normal((3, 4), "float32")), np.array([0, 1, 0])
    segment, scatter = nn.ops.segment_sum, nn.ops.scatter_add
    with refuses(IndexError, "segment_sum", 2):
        segment(x, np.array([0, 2, 1]), 2)
    with refuses(IndexError, "segment_sum", -1):
        segment(x, np.array([0, -1, 1]), 2)
    with refuses(ValueError, "segment_sum", "(3, 4)", "(2,)"):
        segment(x, ids[:2], 2)
    with refuses(ValueError, "segment_sum"):
        segment(x, ids.reshape(3, 1), 2)
    with refuses(TypeError, "segment_sum"):
        segment(x, ids * 0.5, 2)
    with refuses(ValueError, "segment_sum", "num_segments", -1):
        segment(x, ids, -1)
    with refuses(TypeError, "segment_sum", "num_segments"):
        segment(x, ids, 2.0)
    with refuses(TypeError, "segment_sum", "bool"):
        segment(nn.tensor(np.array([True, False, True])), ids, 2)
    places = np.array([[0], [1], [3]])
    with refuses(IndexError, "scatter_add", 4):
        scatter(x, places + 1, nn.ones((3, 1)))
    with refuses(ValueError, "scatter_add", "(3, 4)", "(2, 1)"):
        scatter(x, places[:2], nn.ones((2, 1)))
    with refuses(ValueError, "scatter_add", "(3, 1)", "(3, 2)"):
        scatter(x, places, nn.ones((3, 2)))
    with refuses(ValueError, "scatter_add"):
        scatter(x, np.array([0]), nn.ones(1))
    with refuses(TypeError, "scatter_add"):
        scatter(x, places * 0.5, nn.ones((3, 1)))
    with refuses(TypeError, "scatter_add", "bool"):
        scatter(nn.tensor(np.ones((3, 4), bool)), places, nn.tensor(np.ones((3, 1), bool)))
