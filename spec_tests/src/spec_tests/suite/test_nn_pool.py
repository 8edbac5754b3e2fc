"""The chapter ``nn``: pools, beside the calls of the table."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import distinct, normal

NAN, INF = float("nan"), float("inf")


@clause("nn-21")
def test_the_first_of_equals_has_the_gradient(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([[[[2, 1, 3], [2, 2, 3]]]], dtype))
    y, indices = nn.MaxPool2d(2, stride=1, return_indices=True)(x)
    exactly(nn, y, np.array([[[[2, 3]]]], dtype))
    exactly(nn, indices, np.array([[[[0, 2]]]]))
    y.backward(nn.tensor(np.array([[[[1, 10]]]], dtype)))
    exactly(nn, x.grad, np.array([[[[1, 0, 10], [0, 0, 0]]]], dtype))


@clause("nn-21")
def test_nan_is_largest_and_padding_is_never_chosen(nn: Any, dtype: str) -> None:
    values = np.array([[[-INF, -INF, NAN, 1.0, -5.0, -6.0]]], dtype)
    x = tensor(nn, values)
    y, indices = nn.MaxPool1d(2, padding=1, return_indices=True)(x)
    exactly(nn, y, np.array([[[-INF, NAN, 1.0, -6.0]]], dtype), call="MaxPool1d(2, padding=1)")
    exactly(nn, indices, np.array([[[0, 2, 3, 5]]]))
    y.backward(nn.tensor(np.array([[[1, 2, 3, 4]]], dtype)))
    exactly(nn, x.grad, np.array([[[1, 0, 2, 3, 0, 4]]], dtype))


@clause("nn-21")
def test_of_several_nan_the_first_is_largest(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([[[1, NAN, 3, NAN, NAN, 2, INF]]], dtype))
    y, indices = nn.MaxPool1d(3, stride=1, padding=1, return_indices=True)(x)
    exactly(nn, y, np.array([[[NAN, NAN, NAN, NAN, NAN, NAN, INF]]], dtype))
    exactly(nn, indices, np.array([[[1, 1, 1, 3, 3, 4, 6]]]))
    y.backward(nn.tensor(np.array([[[1, 2, 4, 8, 16, 32, 64]]], dtype)))
    exactly(nn, x.grad, np.array([[[0, 7, 0, 24, 32, 0, 64]]], dtype))
    values = np.zeros((2, 4, 4), dtype)
    values[0, 0, 1] = values[0, 1, 0] = values[0, 1, 1] = values[1, 2, 3] = NAN
    x = tensor(nn, values)
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    exactly(nn, indices, np.array([[[1, 2], [8, 10]], [[0, 2], [8, 11]]]))
    nn.ops.sum(y).backward()
    want = np.zeros((2, 16))
    want[[0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 8, 10, 0, 2, 8, 11]] = 1
    exactly(nn, x.grad, want.reshape(2, 4, 4))


@clause("nn-21")
def test_the_last_window_of_ceil_mode(nn: Any, dtype: str) -> None:
    values = np.array([[[1, 2, 3, 4, 5]]], dtype)
    x = tensor(nn, values)
    exactly(nn, nn.MaxPool1d(2)(x), np.array([[[2, 4]]], dtype))
    y = nn.MaxPool1d(2, ceil_mode=True)(x)
    exactly(nn, y, np.array([[[2, 4, 5]]], dtype))
    y.backward(nn.tensor(np.array([[[1, 2, 4]]], dtype)))
    exactly(nn, x.grad, np.array([[[0, 1, 0, 2, 4]]], dtype))
    # A third window would start at 5, beyond the input and the padding in front.
    pool = nn.MaxPool1d(2, stride=3, padding=1, ceil_mode=True)
    exactly(nn, pool(nn.tensor(values[..., :4])), np.array([[[1, 4]]], dtype))
    plane = nn.tensor(np.arange(15, dtype=dtype).reshape(1, 3, 5))
    exactly(
        nn, nn.MaxPool2d(2, ceil_mode=True)(plane), np.array([[[6, 8, 9], [11, 13, 14]]], dtype)
    )
    exactly(nn, nn.MaxPool2d(2)(plane), np.array([[[6, 8]]], dtype))


@clause("nn-23")
def test_the_divisor_of_a_mean(nn: Any, dtype: str) -> None:
    """It counts places of the input and, unless told not to, of its padding; none beyond."""
    x = nn.tensor(np.array([[[6, 6, 6, 6, 6, 6]]], dtype))
    options: dict[str, Any]
    for options, want in (
        ({}, [4, 6, 6]),
        ({"count_include_pad": False}, [6, 6, 6]),
        ({"ceil_mode": True}, [4, 6, 6, 3]),
        ({"ceil_mode": True, "count_include_pad": False}, [6, 6, 6, 6]),
    ):
        y = nn.AvgPool1d(3, stride=2, padding=1, **options)(x)
        agrees(nn, y, np.array([[want]], "f8"), "reduction", dtype=dtype, call=f"{options}")
    values = np.full((1, 2, 3), 36, dtype)
    corner, side = 36 * 4 / 9, 36 * 6 / 9
    rows: tuple[tuple[dict[str, Any], list[float]], ...] = (
        ({}, [corner, side, corner]),
        ({"count_include_pad": False}, [36, 36, 36]),
        ({"divisor_override": 4}, [36, 54, 36]),
        ({"divisor_override": 4, "count_include_pad": False}, [36, 54, 36]),
    )
    for options, row in rows:
        x = tensor(nn, values)
        y = nn.AvgPool2d(3, stride=1, padding=1, **options)(x)
        agrees(nn, y, np.array([[row, row]], "f8"), "reduction", dtype=dtype, call=f"{options}")
        nn.ops.sum(y).backward()
        # As all elements are alike, the sum of the gradient is that of the means by one of them.
        slopes = to_numpy(nn, x.grad).sum(keepdims=True) * 36
        agrees(nn, slopes, np.full((1, 1, 1), 2.0 * sum(row)), "reduction", dtype=dtype)


@clause("nn-21", "nn-23", "numerics-01")
@pytest.mark.parametrize("length", [2, 33, 130])
def test_lengths(nn: Any, dtype: str, length: int) -> None:
    values = distinct((3, 2, length), dtype)
    x = tensor(nn, values)
    pairs = values[:, :, : length // 2 * 2].reshape(3, 2, -1, 2)
    exactly(nn, nn.MaxPool1d(2)(x), pairs.max(axis=3))
    agrees(nn, nn.AvgPool1d(2)(x), pairs.astype("f8").mean(axis=3), "reduction")


@clause("nn-23")
def test_windows_of_the_adaptive_pool(nn: Any, dtype: str) -> None:
    values = normal((1, 5, 7), dtype)
    y = to_numpy(nn, nn.AdaptiveAvgPool2d((3, 4))(nn.tensor(values)))
    for i, (top, bottom) in enumerate([(0, 2), (1, 4), (3, 5)]):
        for j, (left, right) in enumerate([(0, 2), (1, 4), (3, 6), (5, 7)]):
            want = values[0, top:bottom, left:right].astype("f8").mean()
            agrees(nn, y[0, i, j], want, "reduction", call=f"window {i}, {j}")


@clause("nn-22")
def test_an_empty_batch(nn: Any) -> None:
    x = nn.zeros((0, 2, 5, 6))
    for layer in (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((2, 3))):
        assert tuple(layer(x).shape) == (0, 2, 2, 3), f"{layer}"


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], tuple[str, ...]]] = [
    ("MaxPool1d", (0,), {}, ValueError, ("kernel_size", "0")),
    ("MaxPool2d", ((2, -1),), {}, ValueError, ("kernel_size", "(2, -1)")),
    ("MaxPool2d", ((2, 2, 2),), {}, ValueError, ("kernel_size", "(2, 2, 2)", "2")),
    ("MaxPool1d", (2,), {"stride": 0}, ValueError, ("stride", "0")),
    ("MaxPool1d", (2,), {"dilation": 0}, ValueError, ("dilation", "0")),
    ("MaxPool2d", (3,), {"padding": 2}, ValueError, ("padding", "2", "3")),
    ("AvgPool1d", (2,), {"padding": -1}, ValueError, ("padding", "-1")),
    ("AvgPool2d", ((4, 2),), {"padding": (2, 2)}, ValueError, ("padding", "(2, 2)", "(4, 2)")),
    ("AvgPool2d", (2,), {"divisor_override": 0}, ValueError, ("divisor_override", "0")),
    ("AvgPool1d", ("2",), {}, TypeError, ("kernel_size", "2")),
    ("MaxPool2d", (2.5,), {}, TypeError, ("kernel_size", "2.5")),
    ("AdaptiveAvgPool2d", (-1,), {}, ValueError, ("output_size", "-1")),
    ("AdaptiveAvgPool2d", ((1, 2, 3),), {}, ValueError, ("output_size", "(1, 2, 3)")),
    ("AdaptiveAvgPool2d", (2.0,), {}, TypeError, ("output_size", "2.0")),
]


@clause("nn-22")
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


@clause("nn-22")
@pytest.mark.parametrize("name", ["MaxPool1d", "AvgPool1d", "MaxPool2d", "AvgPool2d"])
def test_calls_say_what_does_not_fit(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(3)
    wrong = (2,) if name.endswith("1d") else (2, 4)
    with refuses(ValueError, name, str(wrong)):
        layer(nn.zeros(wrong))
    short = (1, 1, 2) if name.endswith("1d") else (1, 1, 2, 2)
    with refuses(ValueError, name, ("2", str(short)), "3"):
        layer(nn.zeros(short))
    fitting = (1, 1, 4) if name.endswith("1d") else (1, 1, 4, 4)
    with refuses(TypeError, name, "int64"):
        layer(nn.zeros(fitting, dtype=nn.int64))
