"""The linear recurrence by its two ways: with few numbers at a step, and with many."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.ops import reduction


def looped(a: np.ndarray, b: np.ndarray, backwards: bool) -> np.ndarray:
    h = b.copy()
    for t in range(len(b) - 2, -1, -1) if backwards else range(1, len(b)):
        h[t] += a[t + 1] * h[t + 1] if backwards else a[t] * h[t - 1]
    return h


@pytest.mark.parametrize("shape", [(0,), (1,), (6,), (6, 2, 4), (6, 3, 4), (6, 0), (0, 3), (1, 9)])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_ways_are_the_loop(shape, axis, backwards, dtype) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.moveaxis(rng.uniform(-1, 1, shape), 0, axis).astype(dtype) for _ in range(2))
    place = axis % len(shape)
    found = reduction.linear_scan(b, a, place, backwards)
    wide = [np.moveaxis(x, place, 0).astype(np.float64) for x in (a, b)]
    want = np.moveaxis(looped(*wide, backwards), 0, place)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, want, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-6)


@pytest.mark.parametrize("lanes", [1, 40])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_factor_that_is_not_used_has_no_gradient(lanes, reverse) -> None:
    values = np.ones((4, lanes))
    values[-1 if reverse else 0] = np.inf
    a = nn.tensor(values, requires_grad=True)
    y = nn.ops.linear_recurrence(a, nn.ones((4, lanes)), reverse=reverse)
    y.backward(nn.tensor(np.full((4, lanes), np.nan)))
    assert a.grad.tolist()[-1 if reverse else 0] == [0] * lanes


def test_nothing_is_written_that_came() -> None:
    a, b = np.full((5, 40), 0.5), np.ones((5, 40))
    nn.ops.linear_recurrence(a, b, np.ones(40))
    assert (a == 0.5).all()
    assert (b == 1).all()
