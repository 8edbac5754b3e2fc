"""Chapter autograd: `vmap`, its axes and structures, and what does not fit it."""

import warnings
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal

pytestmark = pytest.mark.sampled(4)

PURPOSE = "on purpose"


class Pair(NamedTuple):
    """A structure with names."""

    first: Any
    second: Any


class Mishap(Exception):
    """What the user's own code raises."""


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@clause("autograd-50")
def test_axes_of_an_argument(nn: Any, dtype: str, axis: int) -> None:
    a = normal((2, 3, 4), dtype)
    seen = []

    def fn(x: Any) -> Any:
        seen.append((x.shape, x.ndim, len(x), [row.shape for row in x]))
        return nn.ops.sum(x, axis=1) + x[:, 0]

    got = nn.vmap(fn, in_axes=axis)(nn.tensor(a))
    moved = np.moveaxis(in_double(a), axis, 0)
    agrees(nn, got, moved.sum(axis=2) + moved[:, :, 0], "reduction")
    length, width = moved.shape[1:]
    assert seen == [((length, width), 2, length, [(width,)] * length)]


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@clause("autograd-50")
def test_axes_of_a_result(nn: Any, dtype: str, axis: int) -> None:
    a = normal((2, 3, 4), dtype)
    got = nn.vmap(lambda x: -x, in_axes=1, out_axes=axis)(nn.tensor(a))
    exactly(nn, got, -np.moveaxis(a, 1, axis))


@clause("autograd-50")
def test_scalar_slices(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    got = nn.vmap(lambda x: (x.ndim, x * x)[1])(nn.tensor(a))
    agrees(nn, got, in_double(a) ** 2, "elementwise")
    exactly(nn, nn.vmap(lambda x: x, out_axes=-1)(nn.tensor(a)), a)


@clause("autograd-50")
def test_one_axis_for_each_argument(nn: Any, dtype: str) -> None:
    a, b, c = normal((3, 4), dtype), normal((4, 2), dtype, seed=1), normal((2, 3), dtype, seed=2)
    want = np.einsum("sk,kj->sj", in_double(a), in_double(b)) * in_double(c).T
    tensors = [nn.tensor(array) for array in (a, b, c)]
    for kind in (tuple, list):
        got = nn.vmap(lambda x, w, y: x @ w * y, in_axes=kind([0, None, 1]))(*tensors)
        agrees(nn, got, want, "matmul")
    got = nn.vmap(lambda x, w, y: x @ w * y, (0, None, -1), 1)(*tensors)
    agrees(nn, got, want.T, "matmul")


@clause("autograd-50")
def test_what_is_not_cut_may_be_anything(nn: Any, dtype: str) -> None:
    a, b = normal((3, 4), dtype), normal((3, 4), dtype, seed=1)
    given = []

    def fn(x: Any, *rest: Any, scale: Any, name: str) -> Any:
        given.append((rest, name))
        assert scale.shape == (3, 4)
        return x * nn.ops.sum(scale)

    rest = ({"a": 1, "b": [None, "c"]}, 2.5, None)
    vmapped = nn.vmap(fn, in_axes=(0, None, None, None))
    got = vmapped(nn.tensor(a), *rest, scale=nn.tensor(b), name="n")
    agrees(nn, got, in_double(a) * in_double(b).sum(), "reduction")
    assert given == [(rest, "n")]


@clause("autograd-50")
def test_structures(nn: Any, dtype: str) -> None:
    a, b, c, d = (normal((3, 3), dtype, seed=seed) for seed in range(4))
    wide_a, wide_b, wide_c, wide_d = (in_double(array) for array in (a, b, c, d))
    ta, tb, tc, td = (nn.tensor(array) for array in (a, b, c, d))

    def fn(params: Any, pair: Any) -> Any:
        assert list(params) == ["w", "more"]
        first, (second,) = params["more"]
        total = params["w"] + 2 * first + 3 * second + 4 * pair.first
        return OrderedDict([("z", Pair(total, [pair.second])), ("a", (pair.first,))])

    arguments = {"w": ta, "more": (tb, [tc])}, Pair(td, nn.tensor([1, 2, 3]))
    got = nn.vmap(fn)(*arguments)
    assert type(got) is OrderedDict
    assert list(got) == ["z", "a"]
    assert type(got["z"]) is Pair
    assert type(got["a"]) is tuple
    agrees(nn, got["z"].first, wide_a + 2 * wide_b + 3 * wide_c + 4 * wide_d, "elementwise")
    exactly(nn, got["z"].second[0], np.array([1, 2, 3]))
    axes = ({"w": 1, "more": (None, [0])}, Pair(-1, 0))
    got = nn.vmap(fn, axes, {"z": Pair(1, 0), "a": -1})(*arguments)
    rows = wide_a.T[:, None] + 2 * wide_b + (3 * wide_c + 4 * wide_d.T)[:, None]
    agrees(nn, got["z"].first, np.moveaxis(rows, 0, 1), "elementwise")
    exactly(nn, got["a"][0], d)
    # One entry for a whole structure, and for a part of one.
    got = nn.vmap(fn, ({"w": 1, "more": 0}, 0), {"z": Pair(1, [0]), "a": 0})(*arguments)
    agrees(nn, got["z"].first.T, wide_a.T + 2 * wide_b + 3 * wide_c + 4 * wide_d, "elementwise")


@clause("autograd-50")
def test_defaults_and_empty_structures(nn: Any, dtype: str) -> None:
    a = normal((3, 2), dtype)
    got = nn.vmap(lambda s: (s, {}, [()]))(defaultdict(list, {"x": nn.tensor(a), "none": []}))
    assert type(got[0]) is defaultdict
    assert got[0]["another"] == []
    assert got[0]["none"] == []
    assert got[1:] == ({}, [()])
    exactly(nn, got[0]["x"], a)


@clause("autograd-50")
def test_results_that_depend_on_no_slice(nn: Any, dtype: str) -> None:
    a, b = normal((3, 2), dtype), normal(4, dtype, seed=1)
    y = nn.tensor(b)

    def fn(x: Any) -> Any:
        return x + 1, y, y * 2, nn.arange(2)

    got = nn.vmap(fn, out_axes=(0, 1, 0, -1))(nn.tensor(a))
    exactly(nn, got[1], np.stack([b] * 3, axis=1))
    exactly(nn, got[2], np.stack([b * 2] * 3))
    exactly(nn, got[3], np.stack([np.arange(2)] * 3, axis=-1))
    got = nn.vmap(fn, out_axes=(0, None, None, None))(nn.tensor(a))
    exactly(nn, got[0], a + np.ones(1, dtype))
    exactly(nn, got[1], b)
    exactly(nn, got[2], b * 2)
    exactly(nn, got[3], np.arange(2))


@clause("autograd-50", "autograd-52")
def test_dtypes_under_vmap(nn: Any) -> None:
    for name in ("bool", "int32", "int64", "float32", "float64"):
        if name == "float64" and not nn.spec_capabilities()["float64"]:
            continue
        array = np.array([[0, 1, 1], [1, 0, 1]]).astype(name)
        exactly(nn, nn.vmap(lambda x: nn.ops.flip(x))(nn.tensor(array)), array[:, ::-1], dtype=name)
        got = nn.vmap(lambda x: (x == 1) & (x != 0))(nn.tensor(array))
        exactly(nn, got, array == 1)


@clause("autograd-50")
def test_vmap_of_vmap(nn: Any, dtype: str) -> None:
    a, b = normal((2, 3, 4), dtype), normal((3, 5), dtype, seed=1)
    x, y = nn.tensor(a), nn.tensor(b)

    def fn(x: Any, y: Any) -> Any:
        assert x.shape == (2,)
        assert y.shape == (5,)
        return nn.ops.sum(x) * y

    inner = nn.vmap(fn, in_axes=(1, None), out_axes=1)
    got = nn.vmap(inner, in_axes=(1, 0), out_axes=-1)(x, y)
    want = np.einsum("isj,sk->kjs", in_double(a), in_double(b))
    agrees(nn, got, want, "reduction")
    deep = nn.vmap(nn.vmap(nn.vmap(lambda x: x * x), in_axes=1, out_axes=1))(x)
    agrees(nn, deep, in_double(a) ** 2, "elementwise")
    # What the outer cuts, the inner finds whole.
    got = nn.vmap(lambda x: nn.vmap(lambda w: w * x)(y))(nn.tensor(a[0, :, 0]))
    agrees(nn, got, np.einsum("s,jk->sjk", in_double(a)[0, :, 0], in_double(b)), "elementwise")


@clause("autograd-57")
def test_arguments_that_do_not_fit(nn: Any) -> None:
    x, y = nn.ones((2, 3)), nn.ones((4, 3))
    called = []

    def fn(*args: Any, **named: Any) -> Any:
        called.append(args)
        return x

    ways: list[tuple[Any, type[Exception], tuple[Any, ...], tuple[Any, ...]]] = [
        (0, ValueError, (x, y), ("2", "4")),
        ((0, 1), ValueError, (x, y), ("2", "3")),
        (0, ValueError, ({"a": x, "b": [y]},), ("2", "4")),
        (None, ValueError, (x, y), ("in_axes",)),
        ((None, None), ValueError, (x, y), ("in_axes",)),
        (0, ValueError, (), ()),
        (0, ValueError, ({},), ()),
        (2, ValueError, (x,), ("in_axes", "2", "(2, 3)")),
        ((0, -3), ValueError, (x, x), ("in_axes", "-3", "(2, 3)")),
        (0, ValueError, (nn.tensor(1.0),), ("in_axes", "0", "()")),
        ((0,), ValueError, (x, x), ("in_axes", "1", "2")),
        ((0, 0, 0), ValueError, (x, x), ("in_axes", "3", "2")),
        (({"a": 0},), ValueError, ({"b": x},), ("in_axes",)),
        (({"a": 0},), ValueError, ([x],), ("in_axes",)),
        (([0, 0],), ValueError, ([x],), ("in_axes", "2", "1")),
        (((0, 0),), ValueError, (x,), ("in_axes",)),
        ((0, True), TypeError, (x, x), ("in_axes", "bool")),
        (1.0, TypeError, (x,), ("in_axes", "float")),
        (({"a": "0"},), TypeError, ({"a": x},), ("in_axes", "str")),
        ({"a": 0}, TypeError, (x,), ("in_axes", "dict")),
        (0, TypeError, (x, 2.5), ("1", "float")),
        (0, TypeError, (x, [x, "s"]), ("1", "str")),
        ((0, 0, 0), TypeError, (x, x, None), ("2", "None")),
    ]
    for in_axes, error, args, words in ways:
        with refuses(error, "vmap", *words):
            nn.vmap(fn, in_axes)(*args)
    with refuses(ValueError, "vmap"):
        nn.vmap(fn)(named=x)
    for wrong in (None, 5, x):
        with refuses(TypeError, "vmap"):
            nn.vmap(wrong)(x)
    assert called == []


@clause("autograd-57")
def test_results_that_do_not_fit(nn: Any) -> None:
    x = nn.ones((2, 3))
    for value, word in ((5, "int"), (None, "None"), ("a", "str"), ([x, 1.0], "float")):
        with refuses(TypeError, "vmap", word):
            nn.vmap(lambda x, value=value: value)(x)
    ways: list[tuple[Any, Any, type[Exception], tuple[Any, ...]]] = [
        (2, lambda x: x, ValueError, ("2",)),
        (-3, lambda x: x, ValueError, ("-3",)),
        ((0, 0), lambda x: x, ValueError, ()),
        ((0, 0), lambda x: (x, x, x), ValueError, ("2", "3")),
        ({"a": 0}, lambda x: {"b": x}, ValueError, ()),
        (None, lambda x: x * 2, ValueError, ()),
        ((0, None), lambda x: (x, x), ValueError, ()),
        (True, lambda x: x, TypeError, ("bool",)),
        ("0", lambda x: x, TypeError, ("str",)),
        ((0, 1.0), lambda x: (x, x), TypeError, ("float",)),
    ]
    for out_axes, fn, error, words in ways:
        with refuses(error, "vmap", "out_axes", *words):
            nn.vmap(fn, 0, out_axes)(x)


@clause("autograd-57", "autograd-08")
def test_an_exception_leaves_everything_as_it_was(nn: Any) -> None:
    x = tensor(nn, np.ones((2, 3), "float32"))
    w = tensor(nn, np.full(3, 2, "float32"))

    def failing(x: Any) -> Any:
        with nn.no_grad():
            nn.vmap(lambda w: w * x)(nn.ones((4, 3)))
            raise Mishap(PURPOSE)

    nn.manual_seed(4)
    before = nn.rand(3).numpy()
    nn.manual_seed(4)
    for wrapped in (nn.vmap(failing), nn.vmap(nn.vmap(failing), in_axes=1)):
        with pytest.raises(Mishap, match=PURPOSE):
            wrapped(nn.ones((2, 3, 3)))
        assert nn.is_grad_enabled()
        nn.ops.sum(nn.vmap(lambda x: x * w)(x)).backward()
    exactly(nn, x.grad, np.full((2, 3), 4, "float32"))
    exactly(nn, w.grad, np.full(3, 4, "float32"))
    assert bool(nn.ops.all(x == 1))
    exactly(nn, nn.rand(3), before)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@clause("autograd-58", "autograd-52")
def test_recurrent_layers_of_several_slices_and_of_none(nn: Any, name: str) -> None:
    """They are no Functions of the user's: nothing is said of how they run, nor refused."""
    layer = getattr(nn, name)(2, 3)
    known = {key: to_numpy(nn, p) for key, p in layer.named_parameters()}

    def loss(parameters: Any, x: Any) -> Any:
        return nn.ops.sum(nn.functional_call(layer, parameters, x)[0])

    for count in (2, 0):
        cut = {key: nn.tensor(np.stack([a] * 2)[:count]) for key, a in known.items()}
        whole = {key: nn.tensor(a) for key, a in known.items()}
        x = nn.zeros((count, 4, 1, 2))
        for parameters, axis in ((cut, 0), (whole, None)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                slopes = nn.vmap(nn.grad(loss), in_axes=(axis, 0))(parameters, x)
            for key, a in known.items():
                assert tuple(slopes[key].shape) == (count, *a.shape)


@pytest.mark.parametrize("axis", [0, 1])
@clause("autograd-58")
def test_no_slices(nn: Any, dtype: str, axis: int) -> None:
    kind = getattr(nn, dtype)
    x, w = nn.zeros((0, 3) if axis == 0 else (3, 0), dtype=kind), tensor(nn, normal((3, 2), dtype))

    def fn(x: Any) -> Any:
        return {"product": nn.ops.tanh(x @ w), "sum": nn.ops.sum(x), "free": w * 2}

    got = nn.vmap(fn, in_axes=axis, out_axes={"product": 1, "sum": 0, "free": 2})(x)
    exactly(nn, got["product"].detach(), np.zeros((2, 0)))
    exactly(nn, got["sum"].detach(), np.zeros(0))
    exactly(nn, got["free"].detach(), np.zeros((3, 2, 0)))
    (nn.ops.sum(got["product"]) + nn.ops.sum(got["free"])).backward()
    exactly(nn, w.grad, np.zeros((3, 2)))
