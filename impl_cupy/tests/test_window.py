"""Convolutions, pools and batch norms: what their kernels move and add up, and how many run."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.backend import EMULATED, cp
from impl_cupy.nn.window import Windows, count_places, fold, unfold

if EMULATED:
    from cupy_emulation import kernel_launches, launches, reset_launches

Array = np.ndarray[Any, Any]

WINDOWS = {
    "one": ((5, 6), (1, 1), (1, 1), (0, 0), (1, 1)),
    "near": ((5, 6), (3, 2), (1, 1), (1, 0), (1, 1)),
    "far": ((9, 11), (2, 3), (3, 2), (1, 4), (2, 3)),
    "line": ((13,), (3,), (2,), (2,), (2,)),
}


def windows_of(name: str) -> Windows:
    sizes, kernel, stride, front, dilation = WINDOWS[name]
    rest = zip(sizes, front, kernel, stride, dilation, strict=True)
    places = tuple(count_places(size, (p, p), k, s, d) for size, p, k, s, d in rest)
    return Windows(sizes, places, kernel, stride, front, dilation)


def columns_of(x: Array, windows: Windows) -> Array:
    """Return what `unfold` makes, element by element."""
    samples, channels = x.shape[:2]
    made = np.zeros((channels, *windows.kernel, samples, *windows.places), x.dtype)
    axes = range(len(windows.sizes))
    for kernel in itertools.product(*map(range, windows.kernel)):
        for place in itertools.product(*map(range, windows.places)):
            at = tuple(
                place[i] * windows.stride[i] + kernel[i] * windows.dilation[i] - windows.front[i]
                for i in axes
            )
            if all(0 <= at[i] < windows.sizes[i] for i in axes):
                made[(slice(None), *kernel, slice(None), *place)] = x[
                    (slice(None), slice(None), *at)
                ].T
    return made.reshape(-1, samples * int(np.prod(windows.places)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(1, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("name", WINDOWS)
def test_columns_and_back(name: str, lead: tuple[int, int], dtype: str) -> None:
    windows, rng = windows_of(name), np.random.default_rng(3)
    x = rng.integers(-9, 9, (*lead, *windows.sizes)).astype(dtype)
    want = columns_of(x, windows)
    columns = cp.asnumpy(unfold(cp.asarray(x), windows))
    np.testing.assert_array_equal(columns, want)
    other = rng.integers(-9, 9, want.shape).astype(dtype)
    bias = rng.integers(-9, 9, lead[1]).astype(dtype)
    back = cp.asnumpy(fold(cp.asarray(other), None, lead[0], windows))
    # Whole numbers: both sides are exact.
    assert (back * x).sum() == (other * columns).sum()
    shifted = cp.asnumpy(fold(cp.asarray(other), cp.asarray(bias), lead[0], windows))
    axes = tuple(range(1, 1 + len(windows.sizes)))
    np.testing.assert_array_equal(shifted - back, np.zeros_like(back) + np.expand_dims(bias, axes))


@pytest.mark.parametrize("sizes", [(1, 1), (5, 7), (4, 9)], ids=str)
@pytest.mark.parametrize("wanted", [(1, 1), (3, 4), (7, 2), (9, 13)], ids=str)
def test_adaptive_windows(wanted: tuple[int, int], sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    x = nn.tensor(rng.standard_normal((2, 3, *sizes)), requires_grad=True, dtype=nn.float64)
    y = nn.AdaptiveAvgPool2d(wanted)(x)
    cotangent = rng.standard_normal(y.shape)
    y.backward(nn.tensor(cotangent))
    to_x, host = np.zeros(x.shape), x.detach().numpy()
    for i, j in itertools.product(*map(range, wanted)):
        rows, columns = (
            slice(at * size // count, -((-(at + 1) * size) // count))
            for at, size, count in zip((i, j), sizes, wanted, strict=True)
        )
        part = host[:, :, rows, columns]
        np.testing.assert_allclose(y.detach().numpy()[:, :, i, j], part.mean(axis=(2, 3)))
        share = part.shape[2] * part.shape[3]
        to_x[:, :, rows, columns] += cotangent[:, :, i : i + 1, j : j + 1] / share
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), to_x, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 12])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("ceil", [False, True])
def test_shares_of_means_add_up(ceil: bool, stride: int, size: int) -> None:
    """A window's mean of ones is 1 inside, so gradients of ones add up to the windows' number."""
    pool = nn.AvgPool1d(4, stride, 2, ceil_mode=ceil, count_include_pad=False)
    x = nn.ones((1, 1, size), requires_grad=True, dtype=nn.float64)
    y = pool(x)
    np.testing.assert_allclose(y.detach().numpy(), 1)
    nn.ops.sum(y).backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy().sum(), y.size)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(2, 3), (5, 1, 7), (40, 3, 2)], ids=str)
def test_batch_norm_against_single_operations(shape: tuple[int, ...], affine: bool) -> None:
    rng = np.random.default_rng(5)
    norm = nn.BatchNorm1d(shape[1], eps=0.25, affine=affine, dtype=nn.float64)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x, weights = rng.standard_normal(shape), nn.tensor(rng.standard_normal(shape))
    over, sizes = (0, *range(2, len(shape))), (-1, *(1,) * (len(shape) - 2))

    def composed(value: Any) -> Any:
        left = value - nn.ops.mean(value, axis=over, keepdims=True)
        y = left / nn.ops.sqrt(nn.ops.var(value, axis=over, keepdims=True) + 0.25)
        return y * norm.weight.reshape(sizes) + norm.bias.reshape(sizes) if affine else y

    found = []
    for function in (norm, composed):
        value = nn.tensor(x, requires_grad=True)
        norm.zero_grad()
        y = function(value)
        nn.ops.sum(y * weights).backward()
        slopes = [value.grad, *(p.grad for p in norm.parameters())]
        found.append(
            [y.detach().numpy(), *(slope.numpy() for slope in slopes if slope is not None)]
        )
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


@pytest.mark.skipif(not EMULATED, reason="only the emulation counts launches")
@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_a_convolution_is_one_product(name: str) -> None:
    layer, x = getattr(nn, name)(3, 4, 3), nn.randn((2, 3, 6, 7), requires_grad=True)
    reset_launches()
    y = layer(x)
    first = "unfold_float" if name == "Conv2d" else "fold_float"
    assert kernel_launches() == {first: 1}
    assert launches("gemm") == 1
    assert launches() <= 4
    seed = nn.ones(y.shape)
    reset_launches()
    y.backward(seed)
    # To the input and to the weight; a convolution's columns are made again.
    assert launches("gemm") == 2
    assert launches("raw") == (2 if name == "Conv2d" else 1)
    assert launches() <= 7


@pytest.mark.skipif(not EMULATED, reason="only the emulation counts launches")
@pytest.mark.parametrize("layer", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2)])
def test_a_pool_is_one_kernel_each_way(layer: Any) -> None:
    x = nn.randn((2, 3, 6, 7), requires_grad=True)
    reset_launches()
    y = layer(x)
    assert launches() == launches("raw") == 1
    seed = nn.ones(y.shape)
    reset_launches()
    y.backward(seed)
    assert launches() == launches("raw") == 1
