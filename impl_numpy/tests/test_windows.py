"""Convolutions are computed by blocks: samples together, or rows of one; the result is the same."""

import itertools

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.nn import bilinear

OPTIONS = [
    {},
    {"stride": 2, "padding": (2, 1)},
    {"padding": 3, "dilation": (2, 1), "groups": 2},
    {"stride": (1, 3), "dilation": 2, "groups": 2, "padding": 2},
]


def outcome(name, arguments, options, shape, block, monkeypatch):
    """Return the result of a layer and all gradients."""
    monkeypatch.setattr(bilinear, "BLOCK", block)
    nn.manual_seed(0)
    layer = getattr(nn, name)(*arguments, **options, dtype=nn.float64)
    x = nn.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
    y = layer(x)
    weights = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(nn.tensor(weights))
    return [a.detach().numpy() for a in (y, x.grad, layer.weight.grad, layer.bias.grad)]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
@pytest.mark.parametrize("block", [1, 300, 2000])
def test_blocks_make_no_difference(name, options, block, monkeypatch) -> None:
    call = name, (4, 6, (3, 2)), options, (5, 4, 9, 8)
    whole = outcome(*call, 1 << 40, monkeypatch)
    for got, want in zip(outcome(*call, block, monkeypatch), whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def transposed(x, weight, stride, padding, dilation, sizes):
    """Return a transposed convolution place by place."""
    y = np.zeros((len(x), weight.shape[1], *sizes))
    for *places, a, b in itertools.product(*map(range, (*x.shape[2:], *weight.shape[2:]))):
        ends = zip(places, (a, b), stride, padding, dilation, strict=True)
        target = [s * t + d * k - p for t, k, s, p, d in ends]
        if all(0 <= t < n for t, n in zip(target, sizes, strict=True)):
            y[:, :, target[0], target[1]] += x[:, :, places[0], places[1]] @ weight[:, :, a, b]
    return y


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "more"),
    [
        ((1, 1), (0, 3), (3, 1), (2, 0)),
        ((8, 2), (2, 0), (1, 3), (7, 2)),
        ((2, 3), (3, 1), (3, 1), (2, 2)),
    ],
)
def test_places_at_the_end_of_a_transpose(stride, padding, dilation, more) -> None:
    """What is put at the end may be more than the stride, or reach beyond what is cut off."""
    layer = nn.ConvTranspose2d(
        2, 3, (3, 2), stride, padding, more, dilation=dilation, bias=False, dtype=nn.float64
    )
    x = np.random.default_rng(0).standard_normal((2, 2, 4, 6))
    y = layer(nn.tensor(x)).detach().numpy()
    weight = layer.weight.detach().numpy()
    want = transposed(x, weight, stride, padding, dilation, y.shape[2:])
    np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)
    ends = zip(x.shape[2:], (3, 2), stride, padding, dilation, more, strict=True)
    assert y.shape[2:] == tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, k, s, p, d, o in ends
    )
