"""The chapter ``tensor``: Python's protocols, copies and pickles."""

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import address, exactly, own, raw, refuses, tensor, to_numpy

MANY = (ValueError, RuntimeError)
COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@clause("tensor-41", "tensor-20")
@pytest.mark.parametrize("name", COMPARE)
def test_comparisons_with_arrays_of_every_kind(nn: Any, dtype: str, name: str) -> None:
    compare = COMPARE[name]
    a, b = np.array([1, 2, 3], dtype), np.array([1, 3, 2], dtype)
    want = compare(a, b)
    x, y = tensor(nn, a), tensor(nn, b)
    # The operators of a class of the backend's own may refuse NumPy's arrays (tensor-33).
    for other in (b, y, raw(nn, b)) if own(nn) else (y, raw(nn, b)):
        got = compare(x, other)
        assert isinstance(got, nn.Tensor), f"x {name} {type(other).__name__} is {got!r}"
        exactly(nn, got, want, call=f"x {name} {type(other).__name__}")
        assert not got.requires_grad
    for other in (a, x, raw(nn, a)) if own(nn) else (x, raw(nn, a)):
        got = compare(other, y)
        exactly(nn, got, want, call=f"{type(other).__name__} {name} x")
    exactly(nn, compare(x, 2), compare(a, 2), call=f"x {name} 2")
    exactly(nn, compare(2, x), compare(2, a), call=f"2 {name} x")
    matrix = np.stack([a, b])
    for other in (b, raw(nn, b)) if own(nn) else (raw(nn, b),):
        got = compare(nn.tensor(matrix), other)
        exactly(nn, got, compare(matrix, b), call=f"x (2, 3) {name} {type(other).__name__} (3,)")


@clause("tensor-41", "tensor-39")
@pytest.mark.parametrize("name", COMPARE)
def test_comparisons_with_numpy_scalars(nn: Any, name: str) -> None:
    compare = COMPARE[name]
    a = np.array([1, 2, 3], np.float32)
    x, i = nn.tensor(a), nn.tensor([1, 2, 3])
    for scalar in (np.float32(2), np.float64(2), np.int64(2), np.int8(2), np.uint8(2)):
        call = f"{name} {type(scalar).__name__}"
        exactly(nn, compare(x, scalar), compare(a, 2), call=f"x {call}")
        exactly(nn, compare(scalar, x), compare(2, a), call=f"x, on the right of {call}")
        exactly(nn, compare(i, scalar), compare(a, 2), call=f"integers {call}")


@clause("tensor-41")
@pytest.mark.parametrize("dtype_name", ["float32", "float64", "int32", "int64", "bool"])
def test_arrays_of_tensors(nn: Any, dtype_name: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(dtype_name)
    x = nn.tensor(array)
    got = np.asarray(x)
    assert got.dtype == array.dtype, f"np.asarray gives {got.dtype}"
    assert np.array_equal(got, array)
    assert np.asarray(nn.tensor(2.5)).shape == ()
    if not own(nn):
        return
    assert np.array_equal(np.array(x), array)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    twin = np.array(x, copy=True)
    twin[0, 0] = 1
    exactly(nn, x, array, call="what np.array(copy=True) was made of")


@clause("tensor-41")
def test_a_tensor_that_requires_grad_is_no_array(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([1.0, 2.0], dtype))
    for value in (x, x * 2, nn.Parameter(x.detach())):
        with refuses(RuntimeError, "detach"):
            np.asarray(value)
        if own(nn):
            with refuses(RuntimeError, "detach"):
                np.array(value)


@clause("tensor-41")
def test_sums_by_numpy(nn: Any, dtype: str) -> None:
    array = np.array([[1.0, 2.0], [3.0, 4.0]], dtype)
    reductions: list[Any] = [np.sum, np.mean, np.max]
    choices: list[dict[str, Any]] = [{}, {"axis": 0}]
    for reduce in reductions:
        for options in choices:
            try:
                got = reduce(nn.tensor(array), **options)
            except TypeError:
                continue
            got = to_numpy(nn, got)
            assert got.dtype == array.dtype, f"np.{reduce.__name__} gives {got.dtype}"
            assert np.array_equal(got, reduce(array, **options)), reduce.__name__


@clause("tensor-41")
def test_one_element_as_a_number(nn: Any) -> None:
    for shape in ((), (1,), (1, 1)):
        x, i = nn.full(shape, 2.5), nn.full(shape, 3)
        assert float(x) == 2.5
        assert int(x) == 2
        assert bool(x) is True
        assert bool(nn.full(shape, 0.0)) is False
        assert bool(nn.full(shape, False)) is False
        assert operator.index(i) == 3
        assert type(operator.index(i)) is int
        assert [10, 20, 30, 40][i] == 40
        assert list(range(i)) == [0, 1, 2]
        assert float(i) == 3.0
        assert complex(float(x)) == 2.5
    assert bool(nn.tensor(float("nan"))) is True
    assert operator.index(nn.tensor(2**62)) == 2**62
    assert operator.index(nn.tensor(-5, dtype=nn.int32)) == -5
    with refuses(TypeError):
        operator.index(nn.tensor(2.0))
    # torch warns where a Tensor that requires grad becomes a number.
    y = tensor(nn, np.array(1.5, np.float32), own(nn))
    assert (float(y), int(y), bool(y)) == (1.5, 1, True)


@clause("tensor-41")
@pytest.mark.parametrize("shape", [(2,), (0,), (2, 1), (3, 2)])
@pytest.mark.parametrize("convert", ["bool", "int", "float", "index", "format"])
def test_more_elements_are_no_number(nn: Any, convert: str, shape: tuple[int, ...]) -> None:
    x = nn.ones(shape, dtype=nn.int64 if convert == "index" else None)
    types = (ValueError,) if own(nn) else (ValueError, RuntimeError, TypeError)
    calls: dict[str, Any] = {
        "bool": bool,
        "int": int,
        "float": float,
        "index": operator.index,
        "format": lambda value: format(value, ".2f"),
    }
    with refuses(types, str(shape) if own(nn) else ""):
        calls[convert](x)


@clause("tensor-41")
def test_formats_of_one_element(nn: Any) -> None:
    for shape in ((), (1,)) if own(nn) else ((),):
        x, i = nn.full(shape, 2.5), nn.full(shape, 42)
        assert format(x, ".3f") == "2.500"
        assert f"{x:8.2e}" == "2.50e+00"
        assert f"{i:05d}" == "00042"
        assert f"{i:x}" == "2a"
    for x in (nn.tensor([1.0, 2.0]), nn.tensor(2.5)):
        assert format(x, "")
        assert str(x)
    assert f"{tensor(nn, np.array(2.5, np.float32), own(nn)):.1f}" == "2.5"


@clause("tensor-41")
def test_membership(nn: Any) -> None:
    x, i = nn.tensor([[1.0, 2.0], [3.0, 4.5]]), nn.tensor([1, 2, 3])
    for value, want in ((2.0, True), (2, True), (4.5, True), (5.0, False), (0.5, False)):
        assert (value in x) is want, f"{value} in x"
        assert (np.float64(value) in x) is want, f"np.float64({value}) in x"
    assert 3 in i
    assert np.int64(3) in i
    assert 2.5 not in i
    assert float("nan") not in nn.tensor([float("nan")])
    assert 1.0 not in nn.zeros((0,))
    assert True in nn.tensor([False, True])


@clause("tensor-41")
def test_iteration(nn: Any, dtype: str) -> None:
    array = np.arange(6, dtype=dtype).reshape(3, 2)
    x = tensor(nn, array)
    for got, want in (
        (list(x), list(array)),
        (list(reversed(x)), list(array[::-1])),
        ([*x], list(array)),
        (list(iter(x)), list(array)),
    ):
        assert len(got) == 3
        for row, wanted in zip(got, want, strict=True):
            exactly(nn, row, wanted)
    one, two, three = reversed(x)
    nn.ops.sum(one * 2 + two * 3 + three * 4).backward()
    exactly(
        nn, x.grad, np.array([[4.0, 4.0], [3.0, 3.0], [2.0, 2.0]]), call="gradient through reversed"
    )
    first, *rest = x
    exactly(nn, first, array[0])
    assert len(rest) == 2
    assert list(nn.zeros((0, 2))) == []
    assert list(reversed(nn.zeros((0, 2)))) == []


@clause("tensor-41")
@pytest.mark.parametrize("what", ["list", "reversed", "unpacking", "len", "iter"])
def test_a_tensor_without_axes_is_not_iterated(nn: Any, what: str) -> None:
    x = nn.tensor(1.0)
    calls: dict[str, Any] = {
        "list": list,
        "reversed": lambda value: list(reversed(value)),
        "unpacking": lambda value: (lambda *parts: parts)(*value),
        "len": len,
        "iter": iter,
    }
    with refuses(TypeError):
        calls[what](x)


class Named:
    """A free attribute that can be copied and pickled."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.value == self.value


def kinds(nn: Any, dtype: str) -> dict[str, Any]:
    """Return leaves of every kind, each with another gradient, or none."""
    array = np.array([[1.0, 2.0], [3.0, 4.0]], dtype)
    leaves = {
        "a leaf": tensor(nn, array),
        "a Parameter": nn.Parameter(nn.tensor(array)),
        "a frozen Parameter": nn.Parameter(nn.tensor(array), requires_grad=False),
        "a constant": nn.tensor(array),
        "integers": nn.tensor(np.array([1, 2], np.int32)),
    }
    for name in ("a leaf", "a Parameter"):
        nn.ops.sum(leaves[name] * leaves[name]).backward()
    return leaves


@clause("tensor-42")
@pytest.mark.parametrize("kind", ["a leaf", "a Parameter", "a frozen Parameter", "a constant"])
def test_deep_copies(nn: Any, dtype: str, kind: str) -> None:
    x = kinds(nn, dtype)[kind]
    if isinstance(x, nn.Parameter):
        x.tag = Named(3)
    values = np.array(to_numpy(nn, x))
    twin = copy.deepcopy(x)
    assert type(twin) is type(x)
    assert twin is not x
    exactly(nn, twin, values, call=f"deepcopy of {kind}")
    assert (twin.requires_grad, twin.is_leaf) == (x.requires_grad, True)
    if x.grad is None:
        assert twin.grad is None
    else:
        exactly(nn, twin.grad, np.array(to_numpy(nn, x.grad)), call="grad of the copy")
        assert twin.grad is not x.grad
        assert address(twin.grad.data) != address(x.grad.data)
    if isinstance(x, nn.Parameter):
        assert twin.tag == x.tag
        assert twin.tag is not x.tag
    assert address(twin.data) != address(x.data)
    twin.data = raw(nn, values + 1)
    exactly(nn, x, values, call="what was copied")


@clause("tensor-42")
def test_copies_of_one_thing_are_one(nn: Any) -> None:
    x = nn.Parameter(nn.ones((2,)))
    one, two, other = copy.deepcopy([x, x, nn.Parameter(nn.ones((2,)))])
    assert one is two
    assert other is not one
    loop = nn.Parameter(nn.ones((2,)))
    loop.itself = [loop]
    assert copy.deepcopy(loop).itself[0] is not loop


@clause("tensor-42")
def test_results_are_not_copied(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([1.0, 2.0], dtype))
    for result in (x * 2, x[0], nn.ops.sum(x)):
        with refuses(RuntimeError, ("detach", "graph leaves")):
            copy.deepcopy(result)
    exactly(nn, copy.deepcopy((x * 2).detach()), np.array([2.0, 4.0]))


@clause("tensor-42")
@pytest.mark.parametrize("kind", ["a leaf", "a Parameter", "a frozen Parameter", "a constant"])
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickles(nn: Any, dtype: str, kind: str, protocol: int) -> None:
    x = kinds(nn, dtype)[kind]
    if isinstance(x, nn.Parameter):
        x.tag = Named(3)
    twin = pickle.loads(pickle.dumps(x, protocol))
    assert type(twin) is type(x)
    exactly(nn, twin, np.array(to_numpy(nn, x)), call=f"pickle of {kind}")
    assert (twin.requires_grad, twin.is_leaf) == (x.requires_grad, True)
    assert twin.grad is None
    if isinstance(x, nn.Parameter):
        assert twin.tag == x.tag


@clause("tensor-42")
def test_pickles_of_results(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([1.0, 2.0], dtype))
    if not own(nn):
        return
    twin = pickle.loads(pickle.dumps(x * 2))
    exactly(nn, twin, np.array([2.0, 4.0]), call="pickle of x * 2")
    assert twin.is_leaf
    assert twin.grad_fn is None
    nn.ops.sum(twin * 3 if twin.requires_grad else x * 3).backward()


@clause("tensor-42")
def test_free_attributes(nn: Any) -> None:
    parameter = nn.Parameter(nn.ones((2,)))
    parameter.tag = 1
    assert parameter.tag == 1
    parameter.tag = [2]
    del parameter.tag
    assert not hasattr(parameter, "tag")
    with refuses(AttributeError, "tag"):
        parameter.tag  # noqa: B018
    module = nn.Linear(3, 2)
    module.weight.group = "decay"
    assert [getattr(p, "group", None) for p in module.parameters()] == ["decay", None]
    twin = copy.deepcopy(module)
    assert twin.weight.group == "decay"
