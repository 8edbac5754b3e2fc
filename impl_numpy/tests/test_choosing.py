"""What is chosen gets the gradient, by other ways in large arrays than in small ones."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.ops import elementwise, indexing

INF, NAN = np.inf, np.nan
# On both sides of the size from which elements are chosen by their bits.
SIZES = pytest.mark.parametrize("size", [7, elementwise.SHORT - 1, elementwise.SHORT, 4099])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def drawn(size: int, dtype: type, seed: int) -> np.ndarray:
    """Small integers, so that many tie, with what is not finite among them."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-2, 3, size).astype(dtype)
    values[rng.integers(0, size, size // 8)] = NAN
    values[rng.integers(0, size, size // 8)] = INF
    values[rng.integers(0, size, size // 8)] = -INF
    return values


def gradients(function, arrays, incoming) -> list:
    tensors = [nn.tensor(x, requires_grad=True) for x in arrays]
    function(*tensors).backward(nn.tensor(incoming))
    return [t.grad.numpy() for t in tensors]


def half(tie: np.ndarray, grad: np.ndarray) -> np.ndarray:
    return np.where(tie, grad / 2, grad)


@SIZES
@DTYPES
@pytest.mark.parametrize("finite", [True, False])
def test_maximum_and_minimum(size, dtype, finite) -> None:
    x, y, grad = (drawn(size, dtype, seed) for seed in range(3))
    if finite:
        x, y = np.arange(size, dtype=dtype), np.arange(size, dtype=dtype)[::-1] + dtype(0.5)
    for function, wins in ((nn.ops.maximum, np.greater), (nn.ops.minimum, np.less)):
        tie = (x == y) | (np.isnan(x) & np.isnan(y))
        mine = tie | wins(x, y) | (np.isnan(x) & ~np.isnan(y))
        yours = tie | ~mine
        dx, dy = gradients(function, (x, y), grad)
        np.testing.assert_array_equal(dx, np.where(mine, half(tie, grad), 0))
        np.testing.assert_array_equal(dy, np.where(yours, half(tie, grad), 0))


@SIZES
@DTYPES
def test_where_relu_and_clip(size, dtype) -> None:
    x, y, grad = (drawn(size, dtype, seed) for seed in range(3))
    condition = np.random.default_rng(9).random(size) < 0.5
    dx, dy = gradients(lambda a, b: nn.ops.where(condition, a, b), (x, y), grad)
    np.testing.assert_array_equal(dx, np.where(condition, grad, 0))
    np.testing.assert_array_equal(dy, np.where(condition, 0, grad))
    (dx,) = gradients(nn.ops.relu, (x,), grad)
    np.testing.assert_array_equal(dx, np.where(x <= 0, 0, grad))
    for lo, hi in ((-1, 1.0), (None, 1), (-1.0, None), (1, -1), (NAN, 1), (-1, NAN)):
        (dx,) = gradients(lambda a, lo=lo, hi=hi: nn.ops.clip(a, lo, hi), (x,), grad)
        outside = np.zeros(size, bool)
        for bound, beyond in ((lo, np.less), (hi, np.greater)):
            if bound is not None:
                outside |= beyond(x, bound) | np.isnan(bound)
        np.testing.assert_array_equal(dx, np.where(outside, 0, grad))


@pytest.mark.parametrize("bounds", [(-1, 1), (-1.5, None), (None, 0), (NAN, 1), (1, NAN), (2, -2)])
@DTYPES
def test_clip_by_numbers_is_clip_by_arrays(bounds, dtype) -> None:
    x = drawn(40, dtype, 3)
    arrays = [None if bound is None else np.array(bound, dtype) for bound in bounds]
    np.testing.assert_array_equal(
        nn.ops.clip(x, *bounds).numpy(), nn.ops.clip(x, *arrays).numpy(), strict=True
    )


@SIZES
@DTYPES
@pytest.mark.parametrize("plain", [True, False])
def test_abs(size, dtype, plain) -> None:
    x, grad = drawn(size, dtype, 1), drawn(size, dtype, 2)
    if plain:
        x = np.where(np.isnan(x) | (x == 0), dtype(-3), x)
    (dx,) = gradients(nn.ops.abs, (x,), grad)
    wanted = np.where(x == 0, 0, np.where(np.isnan(x), NAN, np.where(x < 0, -grad, grad)))
    np.testing.assert_array_equal(dx, wanted)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("ties", ["none", "numbers", "NaN"])
def test_max_and_min(axis, ties) -> None:
    x = np.random.default_rng(4).permutation(40 * 30).reshape(40, 30).astype(np.float64)
    if ties != "none":
        # In some rows and columns alone: a NaN hides one, a tie adds one.
        x[3, :7] = NAN if ties == "NaN" else x.max()
        x[20:22, 11] = x.max()
    for name, extremum in (("max", np.max), ("min", np.min)):
        best = extremum(x, axis=axis, keepdims=True)
        grad = np.random.default_rng(5).standard_normal(best.shape)
        chosen = (x == best) | (np.isnan(x) & np.isnan(best))
        share = grad / chosen.sum(axis=axis, keepdims=True)
        function = getattr(nn.ops, name)
        (dx,) = gradients(lambda a, f=function: f(a, axis=axis, keepdims=True), (x,), grad)
        np.testing.assert_array_equal(dx, np.where(chosen, share, 0))


KEYS = {
    "once": (np.array([4, -2, 0]),),
    "twice": (np.array([4, -1, 0, 4]),),
    "the same from both ends": (np.array([4, -1]),),
    "often": (np.arange(100) % 3,),
    "of no axis": (np.array(2),),
    "pairs": (np.array([0, 1, 0]), np.array([2, -1, 2])),
    "pairs once": (np.array([[0], [1]]), np.array([2, 0])),
    "beside a slice": (np.array([1, 1]), slice(None)),
    "after a slice": (slice(1, 3), np.array([0, 0, 2])),
    "beside an int": (3, np.array([0, 0, 2])),
    "none": (np.array([], np.int64),),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("width", [0, 1, 3])
def test_an_index_adds_what_it_names_twice(name, width) -> None:
    key = KEYS[name]
    if width != 3 and len(key) > 1:
        width = 3
    x = np.zeros((5, width))
    grad = np.random.default_rng(6).standard_normal(x[key].shape)
    wanted = np.zeros_like(x)
    np.add.at(wanted, key, grad)
    for form in (key, key[0] if len(key) == 1 else key):
        (dx,) = gradients(lambda a, k=form: a[k], (x,), grad)
        np.testing.assert_allclose(dx, wanted, rtol=1e-14, atol=1e-14)


def test_a_long_run_of_one_index_is_added_by_pairs() -> None:
    rows = np.zeros(1 << 16, np.int64)
    grad = np.full((len(rows), 1), 0.1, np.float32)
    out = indexing._put(grad, rows, (2, 1))
    assert abs(out[0, 0] / (len(rows) * np.float64(np.float32(0.1))) - 1) < 4e-6
    assert out[1, 0] == 0
