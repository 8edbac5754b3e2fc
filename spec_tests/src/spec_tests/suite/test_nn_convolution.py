"""The chapter ``nn``: convolutions, beside the calls of the table."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal

pytestmark = pytest.mark.sampled(4)


def correlated(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Return the cross-correlation of (N, C, H, W) in float64, place by place."""
    high, wide = weight.shape[2:]
    rows = (x.shape[2] - high) // stride + 1
    columns = (x.shape[3] - wide) // stride + 1
    y = np.empty((len(x), len(weight), rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            window = x[:, :, top : top + high, left : left + wide]
            y[:, :, i, j] = np.einsum("nchw,ochw->no", window, weight)
    return y + bias[:, None, None]


@clause("nn-17", "numerics-01")
@pytest.mark.parametrize("size", [(1, 1, 3, 3, 1), (2, 5, 17, 33, 2), (3, 7, 9, 8, 3)])
def test_sizes(nn: Any, dtype: str, size: tuple[int, ...]) -> None:
    batch, channels, high, wide, stride = size
    nn.manual_seed(3)
    layer = nn.Conv2d(channels, 6, 3, stride=stride, dtype=getattr(nn, dtype))
    x = tensor(nn, normal((batch, channels, high, wide), dtype))
    weight, bias = (in_double(to_numpy(nn, p)) for p in (layer.weight, layer.bias))
    want = correlated(in_double(to_numpy(nn, x)), weight, bias, stride)
    y = layer(x)
    agrees(nn, y, want, "matmul", call=f"{layer} of {x.shape}")
    y.backward(nn.ones(tuple(want.shape), dtype=getattr(nn, dtype)))
    count = want.shape[0] * want.shape[2] * want.shape[3]
    agrees(nn, layer.bias.grad, np.full(6, float(count)), "gradient", call=f"{layer}, bias")


BORDERS: dict[str, Any] = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


@clause("nn-17", "nn-18")
@pytest.mark.parametrize("mode", BORDERS)
def test_what_stands_outside(nn: Any, dtype: str, mode: str) -> None:
    """A kernel of 4 places wants one place in front and two behind."""
    kind, kernel = getattr(nn, dtype), np.array([1.0, -2, 4, 8])
    layer = nn.Conv1d(1, 1, 4, padding="same", bias=False, padding_mode=mode, dtype=kind)
    layer.load_state_dict({"weight": kernel.reshape(1, 1, 4).astype(dtype)})

    def wanted(row: np.ndarray) -> np.ndarray:
        return np.correlate(np.pad(row, (1, 2), BORDERS[mode]), kernel, "valid")

    values, weights = np.array([1.0, 3, -2, 5, 7]), np.array([1.0, 2, -1, 3, -4])
    x = tensor(nn, values.reshape(1, 5).astype(dtype))
    y = layer(x)
    agrees(nn, y, wanted(values)[None], "matmul", call=f"{layer}")
    y.backward(nn.tensor(weights.reshape(1, 5).astype(dtype)))
    slope = np.array([wanted(unit) @ weights for unit in np.eye(5)])
    agrees(nn, x.grad, slope[None], "gradient", call=f"{layer}, gradient to the input")


@clause("nn-17")
def test_groups_and_dilation(nn: Any, dtype: str) -> None:
    layer = nn.Conv1d(4, 6, 2, dilation=3, groups=2, bias=False, dtype=getattr(nn, dtype))
    x, cotangent = tensor(nn, normal((4, 7), dtype)), normal((6, 4), dtype, seed=1)
    wide, weight = (in_double(to_numpy(nn, p)) for p in (x, layer.weight))
    want, slope = np.zeros((6, 4)), np.zeros((4, 7))
    for o, c, k, t in np.ndindex(6, 2, 2, 4):
        channel, place = o // 3 * 2 + c, t + 3 * k
        want[o, t] += weight[o, c, k] * wide[channel, place]
        slope[channel, place] += weight[o, c, k] * in_double(cotangent)[o, t]
    y = layer(x)
    agrees(nn, y, want, "matmul", call=f"{layer}")
    y.backward(nn.tensor(cotangent))
    agrees(nn, x.grad, slope, "gradient", call=f"{layer}, gradient to the input")


@clause("nn-17", "nn-20")
@pytest.mark.parametrize("name", ["Conv1d", "ConvTranspose1d"])
def test_an_empty_batch(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(2, 3, 2)
    x = tensor(nn, np.zeros((0, 2, 4), np.float32))
    y = layer(x)
    assert tuple(y.shape) == (0, 3, 3 if name == "Conv1d" else 5)
    nn.ops.sum(y).backward()
    assert tuple(x.grad.shape) == (0, 2, 4)
    assert not to_numpy(nn, layer.weight.grad).any()


@clause("nn-20")
def test_the_transpose_is_one(nn: Any, dtype: str) -> None:
    """<conv(x), y> = <x, transposed(y)> with one weight for both."""
    kind = getattr(nn, dtype)
    forward = nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=1, bias=False, dtype=kind)
    back = nn.ConvTranspose2d(
        4, 3, 3, stride=2, padding=1, output_padding=(0, 1), bias=False, dtype=kind
    )
    back.load_state_dict(forward.state_dict())
    x = nn.tensor(normal((2, 3, 5, 6), dtype))
    y = nn.tensor(normal((2, 4, 3, 3), dtype, seed=1))
    there, here = to_numpy(nn, forward(x) * y), to_numpy(nn, x * back(y))
    want, sizes = in_double(there).sum(), np.abs(in_double(there)).sum()
    epsilon = np.finfo(dtype).eps
    assert abs(in_double(here).sum() - want) <= 64 * epsilon * sizes


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], tuple[str, ...]]] = [
    ("Conv1d", (0, 2, 3), {}, ValueError, ("in_channels", "0")),
    ("Conv2d", (2, -1, 3), {}, ValueError, ("out_channels", "-1")),
    ("Conv2d", (2, 2, 0), {}, ValueError, ("kernel_size", "0")),
    ("Conv2d", (2, 2, (3, 0)), {}, ValueError, ("kernel_size", "(3, 0)")),
    ("Conv2d", (2, 2, (3, 3, 3)), {}, ValueError, ("kernel_size", "(3, 3, 3)", "2")),
    ("Conv1d", (2, 2, 3), {"stride": 0}, ValueError, ("stride", "0")),
    ("Conv1d", (2, 2, 3), {"dilation": -1}, ValueError, ("dilation", "-1")),
    ("Conv1d", (2, 2, 3), {"padding": -1}, ValueError, ("padding", "-1")),
    ("Conv2d", (2, 2, 3), {"padding": "full"}, ValueError, ("padding", "full", "same", "valid")),
    ("Conv2d", (2, 2, 3), {"padding": "same", "stride": 2}, ValueError, ("same", "stride", "2")),
    (
        "Conv1d",
        (2, 2, 3),
        {"padding_mode": "edge"},
        ValueError,
        ("padding_mode", "edge", "circular"),
    ),
    ("Conv1d", (4, 6, 3), {"groups": 3}, ValueError, ("in_channels", "4", "groups", "3")),
    ("Conv1d", (6, 4, 3), {"groups": 3}, ValueError, ("out_channels", "4", "groups", "3")),
    ("Conv1d", (6, 4, 3), {"groups": 0}, ValueError, ("groups", "0")),
    ("Conv1d", (2.5, 4, 3), {}, TypeError, ("in_channels", "2.5")),
    ("Conv2d", (2, 4, "3"), {}, TypeError, ("kernel_size", "3")),
    ("Conv2d", (2, 4, 3), {"stride": None}, TypeError, ("stride", "None")),
    ("ConvTranspose1d", (2, 4, 3), {"padding": "same"}, TypeError, ("padding", "same")),
    (
        "ConvTranspose1d",
        (2, 4, 3),
        {"padding_mode": "reflect"},
        ValueError,
        ("padding_mode", "reflect"),
    ),
    ("ConvTranspose2d", (2, 4, 3), {"output_padding": -1}, ValueError, ("output_padding", "-1")),
    ("ConvTranspose1d", (4, 6, 3), {"groups": 3}, ValueError, ("in_channels", "4", "groups", "3")),
]


@clause("nn-19", "nn-20")
@pytest.mark.parametrize(("name", "arguments", "options", "error", "parts"), WRONG)
def test_constructors_say_what_does_not_fit(
    nn: Any,
    name: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    error: type[Exception],
    parts: tuple[str, ...],
) -> None:
    with refuses(error, name, *parts):
        getattr(nn, name)(*arguments, **options)


@clause("nn-19")
def test_calls_say_what_does_not_fit(nn: Any) -> None:
    with refuses(ValueError, "Conv1d", "(2, 3, 7)", "in_channels", "2"):
        nn.Conv1d(2, 4, 3)(nn.zeros((2, 3, 7)))
    with refuses(ValueError, "Conv2d", "(2, 3)"):
        nn.Conv2d(2, 4, 3)(nn.zeros((2, 3)))
    with refuses(ValueError, "Conv2d", "(1, 1, 2, 4, 5)"):
        nn.Conv2d(2, 4, 3)(nn.zeros((1, 1, 2, 4, 5)))
    with refuses(ValueError, "Conv1d", "5", "4"):
        nn.Conv1d(2, 4, 3, dilation=2)(nn.zeros((1, 2, 4)))
    with refuses(ValueError, "Conv2d", "reflect", "4"):
        nn.Conv2d(2, 4, 3, padding=4, padding_mode="reflect")(nn.zeros((1, 2, 4, 9)))
    with refuses(ValueError, "Conv1d", "circular", "5", "4"):
        nn.Conv1d(2, 4, 3, padding=5, padding_mode="circular")(nn.zeros((1, 2, 4)))
    with refuses(ValueError, "ConvTranspose2d", "(2, 3, 7, 7)", "in_channels", "2"):
        nn.ConvTranspose2d(2, 4, 3)(nn.zeros((2, 3, 7, 7)))


@clause("nn-20")
def test_output_padding(nn: Any, dtype: str) -> None:
    """It makes the result longer at its end, where what lies beyond the kernel is the bias."""
    layer = nn.ConvTranspose1d(1, 1, 2, stride=3, output_padding=1, dtype=dtype)
    layer.weight.data = nn.tensor(np.array([[[10, 100]]], dtype)).data
    layer.bias.data = nn.tensor(np.array([0.5], dtype)).data
    x = tensor(nn, np.array([[[1, 2]]], dtype))
    y = layer(x)
    want = [10.5, 100.5, 0.5, 20.5, 200.5, 0.5]
    exactly(nn, y, np.array([[want]], dtype), call="output_padding=1")
    y.backward(nn.tensor(np.array([[[1, 2, 4, 8, 16, 32]]], dtype)))
    exactly(nn, x.grad, np.array([[[210, 1680]]], dtype))
    exactly(nn, layer.weight.grad, np.array([[[17, 34]]], dtype))
    exactly(nn, layer.bias.grad, np.array([63], dtype))
    # With padding the end is what the padding had cut away.
    padded = nn.ConvTranspose1d(1, 1, 2, stride=3, padding=1, output_padding=2, dtype=dtype)
    padded.load_state_dict(layer.state_dict())
    exactly(nn, padded(x), np.array([[[100.5, 0.5, 20.5, 200.5, 0.5]]], dtype), call="padding=1")
    plane = nn.ConvTranspose2d(
        1, 1, 1, stride=(2, 3), output_padding=(1, 0), bias=False, dtype=dtype
    )
    plane.weight.data = nn.tensor(np.ones((1, 1, 1, 1), dtype)).data
    got = plane(nn.tensor(np.array([[[[1, 2], [3, 4]]]], dtype)))
    spread = np.zeros((1, 1, 4, 4), dtype)
    spread[0, 0, ::2, ::3] = [[1, 2], [3, 4]]
    exactly(nn, got, spread, call="of a plane")


@clause("nn-20")
def test_output_size(nn: Any) -> None:
    layer, x = nn.ConvTranspose1d(2, 4, 3, stride=2), nn.zeros((1, 2, 5))
    assert tuple(layer(x).shape) == (1, 4, 11)
    assert tuple(layer(x, [12]).shape) == (1, 4, 12)
    assert tuple(layer(x, output_size=(1, 4, 12)).shape) == (1, 4, 12)
    for wrong in (10, 13):
        with refuses(ValueError, "ConvTranspose1d", "output_size", str(wrong), "11", "12"):
            layer(x, (wrong,))
    with refuses(ValueError, "ConvTranspose1d", "output_padding", "2"):
        nn.ConvTranspose1d(2, 4, 3, stride=2, output_padding=2)(x)
    assert tuple(nn.ConvTranspose1d(2, 4, 3, dilation=3, output_padding=2)(x).shape) == (1, 4, 13)
    with refuses(ValueError, "ConvTranspose1d", "padding"):
        nn.ConvTranspose1d(2, 4, 1, padding=3)(x)
