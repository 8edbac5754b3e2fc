"""Chapter ops: order, search, sets, and shapes that depend on values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import asks
from spec_tests.support.assertions import exactly, raw, refuses, tensor, to_numpy

pytestmark = pytest.mark.sampled(4)

NAN, INF = float("nan"), float("inf")
BOUNDS = (ValueError, IndexError)


@clause("ops-49")
@pytest.mark.parametrize("stable", [True, False])
def test_equal_elements_keep_their_order(nn: Any, dtype: str, stable: bool) -> None:
    array = np.array([2.0, 1.0, 2.0, 0.0, -0.0, 1.0, 0.0], dtype)
    for descending, want in ((False, [3, 4, 6, 1, 5, 0, 2]), (True, [0, 2, 1, 5, 3, 4, 6])):
        for given in (nn.tensor(array), raw(nn, array), nn.tensor(array.astype("int64"))):
            got = nn.ops.argsort(given, descending=descending, stable=stable)
            exactly(nn, got, np.array(want), dtype="int64", call=f"argsort({descending=})")
        x = tensor(nn, array)
        weight = np.arange(1.0, 8.0)
        got = nn.ops.sort(x, descending=descending, stable=stable)
        exactly(nn, got, array[want], call=f"sort({descending=})")
        nn.ops.sum(got * nn.tensor(weight.astype(dtype))).backward()
        slopes = np.empty(7)
        slopes[want] = weight
        exactly(nn, x.grad, slopes, call=f"gradient of sort({descending=})")


@clause("ops-49")
def test_nan_is_the_greatest(nn: Any, dtype: str) -> None:
    array = np.array([NAN, 1.0, INF, NAN, -INF], dtype)
    for descending, want in ((False, [4, 1, 2, 0, 3]), (True, [0, 3, 2, 1, 4])):
        got = nn.ops.argsort(nn.tensor(array), descending=descending)
        exactly(nn, got, np.array(want), call=f"argsort with NaN, {descending=}")
        got = nn.ops.sort(nn.tensor(array), descending=descending)
        exactly(nn, got, array[want], call=f"sort with NaN, {descending=}")


@clause("ops-49")
def test_every_dtype_has_an_order(nn: Any) -> None:
    for name in ("bool", "int32", "int64"):
        array = np.array([[3, 0, 1], [0, 2, 0]]).astype(name)
        exactly(nn, nn.ops.sort(nn.tensor(array)), np.sort(array), dtype=name, call=f"sort {name}")
        got = nn.ops.sort(nn.tensor(array), axis=0, descending=True)
        exactly(nn, got, np.sort(array, axis=0)[::-1], dtype=name, call=f"sort {name} down")
    for name in ("sort", "argsort"):
        with refuses(BOUNDS, name, "()"):
            getattr(nn.ops, name)(nn.tensor(1.0))


@clause("ops-50")
def test_where_elements_belong(nn: Any, dtype: str) -> None:
    array = np.array([-1.0, 0.5, 0.5, 2.0], dtype)
    sought = np.array([[0.5, -2.0], [3.0, NAN]], dtype)
    for side in ("left", "right"):
        want = np.searchsorted(array, sought, side)
        for make in (nn.tensor, lambda a: raw(nn, a)):
            got = nn.ops.searchsorted(make(array), make(sought), side=side)
            exactly(nn, got, want, dtype="int64", call=f"searchsorted(side={side!r})")
        got = nn.ops.searchsorted(nn.tensor(array), 0.5, side=side)
        exactly(nn, got, np.searchsorted(array, 0.5, side), dtype="int64", call="of a number")
    nans = nn.tensor(np.array([1.0, NAN, NAN], dtype))
    exactly(nn, nn.ops.searchsorted(nans, NAN), np.array(1), call="NaN among NaN")
    exactly(nn, nn.ops.searchsorted(nans, NAN, side="right"), np.array(3), call="NaN after NaN")
    whole = nn.tensor([0, 1, 2])
    exactly(nn, nn.ops.searchsorted(whole, 0.5), np.array(1), call="a float among integers")
    order = np.array([2, 0, 1])
    got = nn.ops.searchsorted(nn.tensor(array[[1, 3, 0]]), nn.tensor(array), sorter=order)
    exactly(nn, got, np.array([0, 1, 1, 2]), call="with a sorter")
    some = np.array([3.0, -1.0, 2.0], dtype)
    for places in ([1, 1, 0], [1, 2, 2], [2, 2, 2]):
        want = np.searchsorted(some[places], array)
        got = nn.ops.searchsorted(nn.tensor(some), array, sorter=nn.tensor(places))
        exactly(nn, got, want, dtype="int64", call=f"with the sorter {places}")


@clause("ops-50")
def test_searches_that_are_refused(nn: Any) -> None:
    x = nn.tensor([1.0, 2.0])
    with refuses(ValueError, "searchsorted", "middle"):
        nn.ops.searchsorted(x, x, side="middle")
    with refuses(ValueError, "searchsorted", "(1, 2)"):
        nn.ops.searchsorted(nn.tensor([[1.0, 2.0]]), x)
    with refuses(ValueError, "searchsorted", "(3,)"):
        nn.ops.searchsorted(x, x, sorter=nn.tensor([0, 1, 0]))
    for places in ([0, 2], [-1, 0], [1, -2]):
        for sorter in (nn.tensor(places), np.array(places)):
            with refuses(ValueError, "searchsorted", next(n for n in places if not 0 <= n < 2)):
                nn.ops.searchsorted(x, x, sorter=sorter)
    with refuses(TypeError, "searchsorted", "float32"):
        nn.ops.searchsorted(x, x, sorter=x)


UNIQUE = {
    "unique_all": ("values", "indices", "inverse_indices", "counts"),
    "unique_counts": ("values", "counts"),
    "unique_inverse": ("values", "inverse_indices"),
}


@asks(("values", "raw arrays"), "ops.unique_values")
@clause("ops-51")
def test_values_come_once(nn: Any, dtype: str) -> None:
    array = np.array([[2.0, NAN, 0.0], [-0.0, NAN, 2.0]], dtype)
    want = {
        "values": np.array([0.0, 2.0, NAN, NAN]),
        "indices": np.array([2, 0, 1, 4]),
        "inverse_indices": np.array([[1, 2, 0], [0, 3, 1]]),
        "counts": np.array([2, 2, 1, 1]),
    }
    for given in (tensor(nn, array), raw(nn, array)):
        for name, fields in UNIQUE.items():
            got = getattr(nn.ops, name)(given)
            assert got._fields == fields, f"{name} has the fields {got._fields}"
            for field in fields:
                call = f"{name}(x).{field}"
                assert not getattr(got, field).requires_grad, call
                exactly(nn, getattr(got, field), want[field], call=call)
        values = nn.ops.unique_values(given)
        assert not values.requires_grad
        exactly(nn, values, want["values"], call="unique_values")


@asks("zero sizes", "ops.unique_values")
@clause("ops-51")
def test_values_of_every_dtype(nn: Any) -> None:
    for name in ("bool", "int32", "int64"):
        array = np.array([3, 0, 3, 1]).astype(name)
        got = nn.ops.unique_values(nn.tensor(array))
        exactly(nn, got, np.unique(array), dtype=name, call=f"unique_values of {name}")
    exactly(nn, nn.ops.unique_values(nn.ops.zeros((0,))), np.zeros(0), dtype="float32")
    got = nn.ops.unique_all(nn.tensor(4))
    exactly(nn, got.inverse_indices, np.array(0), call="inverse_indices of a scalar")


@clause("ops-51")
def test_places_of_what_is_not_0(nn: Any) -> None:
    array = np.array([[0.0, NAN, 1.0], [-0.0, 2.0, 0.0]], np.float32)
    for given in (array, array != 0, array > 1):
        want = np.nonzero(given)
        got = nn.ops.nonzero(nn.tensor(given))
        assert len(got) == 2
        for places, wanted in zip(got, want, strict=True):
            exactly(nn, places, wanted, dtype="int64", call="nonzero")
    with refuses(ValueError, "nonzero"):
        nn.ops.nonzero(nn.tensor(1.0))


@clause("ops-51")
def test_members(nn: Any, dtype: str) -> None:
    x = np.array([[1.0, NAN], [-0.0, 3.0]], dtype)
    y = np.array([NAN, 0.0, 1.0], dtype)
    want = np.array([[True, False], [True, False]])
    for make in (nn.tensor, lambda a: raw(nn, a)):
        exactly(nn, nn.ops.isin(make(x), make(y)), want, call="isin")
        exactly(nn, nn.ops.isin(make(x), make(y), invert=True), ~want, call="isin(invert=True)")
        exactly(nn, nn.ops.isin(make(x), 3.0), x == 3, call="isin with a number")
        exactly(nn, nn.ops.isin(1, make(y)), np.array(True), call="isin of a number")
    empty = nn.ops.zeros((0,))
    exactly(nn, nn.ops.isin(nn.tensor(x), empty), np.zeros((2, 2), bool), call="isin of nothing")
    with refuses(TypeError, "isin"):
        nn.ops.isin(1, 2)


DEPENDENT: dict[str, Callable[[Any, Any], Any]] = {
    "nonzero": lambda ops, x: ops.nonzero(x)[0],
    "unique_all": lambda ops, x: ops.unique_all(x).values,
    "unique_counts": lambda ops, x: ops.unique_counts(x).values,
    "unique_inverse": lambda ops, x: ops.unique_inverse(x).values,
    "unique_values": lambda ops, x: ops.unique_values(x),
    "repeat": lambda ops, x: ops.repeat(x, x),
}


@clause("ops-52")
@pytest.mark.parametrize("name", DEPENDENT)
def test_shapes_that_depend_on_values(nn: Any, name: str) -> None:
    x = nn.tensor([2, 0, 1, 2])
    want = to_numpy(nn, DEPENDENT[name](nn.ops, x))
    try:
        got = nn.jit(lambda t: DEPENDENT[name](nn.ops, t))(x)
    except Exception as error:
        assert name in str(error), f"{error} should name {name}"  # noqa: PT017
        return
    exactly(nn, got, want, call=f"{name} under jit")
