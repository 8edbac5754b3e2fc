"""The chapter ``nn``: norms, beside the calls of the table."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy
from spec_tests.support.inputs import in_double, normal


def statistics(nn: Any, layer: Any) -> list[np.ndarray]:
    """Return copies of the buffers."""
    return [to_numpy(nn, buffer).copy() for _, buffer in layer.named_buffers()]


@clause("nn-26", "nn-27")
@pytest.mark.parametrize("momentum", [0.25, None])
def test_running_statistics_over_batches(nn: Any, dtype: str, momentum: float | None) -> None:
    layer = nn.BatchNorm1d(3, momentum=momentum, dtype=getattr(nn, dtype))
    kept = [buffer for _, buffer in layer.named_buffers()]
    mean, variance = np.zeros(3), np.ones(3)
    for count in (1, 2, 3):
        batch = normal((6, 3), dtype, seed=count) * count + count
        layer(nn.tensor(batch, requires_grad=True))
        wide, part = in_double(batch), 1 / count if momentum is None else momentum
        mean = (1 - part) * mean + part * wide.mean(axis=0)
        variance = (1 - part) * variance + part * wide.var(axis=0, ddof=1)
        agrees(nn, layer.running_mean, mean, "gradient", call=f"mean after {count} batches")
        agrees(nn, layer.running_var, variance, "gradient", call=f"variance after {count}")
        exactly(nn, layer.num_batches_tracked, np.array(count))
    for tensor, (name, buffer) in zip(kept, layer.named_buffers(), strict=True):
        assert tensor is buffer, f"{name} is another Tensor"
        assert not buffer.requires_grad, name
    before = statistics(nn, layer)
    x = normal((4, 3), dtype, seed=9)
    y = layer.eval()(nn.tensor(x))
    want = (in_double(x) - mean) / np.sqrt(variance + 1e-5)
    agrees(nn, y, want, "gradient", call="in evaluation")
    for old, new in zip(before, statistics(nn, layer), strict=True):
        assert np.array_equal(old, new)


@clause("nn-27")
def test_what_raises_changes_no_buffer(nn: Any) -> None:
    layer = nn.BatchNorm1d(3)
    for wrong, parts in (((1, 3), ("(1, 3)",)), ((1, 3, 1), ("(1, 3, 1)",)), ((0, 3), ("(0, 3)",))):
        with refuses(ValueError, "BatchNorm1d", *parts):
            layer(nn.zeros(wrong))
    with refuses(ValueError, "BatchNorm1d", "(4, 2)", "num_features", "3"):
        layer(nn.zeros((4, 2)))
    with refuses(ValueError, "BatchNorm1d", "(4, 3, 2, 2)"):
        layer(nn.zeros((4, 3, 2, 2)))
    with refuses(ValueError, "BatchNorm2d", "(4, 3)"):
        nn.BatchNorm2d(3)(nn.zeros((4, 3)))
    with refuses(TypeError, "BatchNorm1d", "float64", "float32"):
        layer(nn.zeros((4, 3), dtype=nn.float64))
    mean, variance, count = statistics(nn, layer)
    assert not mean.any()
    assert (variance == 1).all()
    assert count == 0
    assert tuple(layer.eval()(nn.ones((1, 3))).shape) == (1, 3)
    assert tuple(layer(nn.ones((0, 3))).shape) == (0, 3)


@clause("nn-26")
def test_a_norm_without_statistics_uses_the_batch(nn: Any, dtype: str) -> None:
    layer = nn.BatchNorm1d(3, track_running_stats=False, dtype=getattr(nn, dtype))
    assert layer.running_mean is None
    assert layer.running_var is None
    assert layer.num_batches_tracked is None
    assert list(layer.state_dict()) == ["weight", "bias"]
    x = nn.tensor(normal((5, 3), dtype))
    exactly(nn, layer.eval()(x), to_numpy(nn, layer.train()(x)), call="in evaluation")
    with refuses(ValueError, "BatchNorm1d", "(1, 3)"):
        layer.eval()(x[:1])


@clause("nn-26", "nn-27")
def test_a_norm_is_saved_and_copied_with_its_statistics(nn: Any) -> None:
    layer, other = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    layer(nn.tensor(normal((3, 2, 2, 2), "float32")))
    other.load_state_dict(layer.state_dict())
    for old, new in zip(statistics(nn, layer), statistics(nn, other), strict=True):
        assert np.array_equal(old, new)
    x = nn.tensor(normal((3, 2, 2, 2), "float32", seed=1))
    exactly(nn, other.eval()(x), to_numpy(nn, layer.eval()(x)))


@clause("nn-24", "nn-25", "nn-26")
def test_constant_inputs_have_finite_gradients(nn: Any, dtype: str) -> None:
    kind = getattr(nn, dtype)
    for layer in (
        nn.RMSNorm(4, dtype=kind),
        nn.GroupNorm(2, 4, dtype=kind),
        nn.BatchNorm1d(4, dtype=kind),
    ):
        for value in (0.0, 3.0):
            x = nn.tensor(np.full((3, 4), value, dtype), requires_grad=True)
            y = layer(x)
            nn.ops.sum(y * y).backward()
            assert np.isfinite(to_numpy(nn, x.grad)).all(), f"{layer} at {value}"


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], tuple[str, ...]]] = [
    ("RMSNorm", ((),), {}, ValueError, ("normalized_shape",)),
    ("RMSNorm", (0,), {}, ValueError, ("normalized_shape", "0")),
    ("RMSNorm", (3,), {"eps": -1.0}, ValueError, ("eps", "-1.0")),
    ("GroupNorm", (0, 4), {}, ValueError, ("num_groups", "0")),
    ("GroupNorm", (3, 4), {}, ValueError, ("num_groups", "3", "num_channels", "4")),
    ("GroupNorm", (2, 4.0), {}, TypeError, ("num_channels", "4.0")),
    ("BatchNorm1d", (0,), {}, ValueError, ("num_features", "0")),
    ("BatchNorm2d", (3,), {"momentum": "0.1"}, TypeError, ("momentum", "0.1")),
    ("BatchNorm2d", (3,), {"eps": -1.0}, ValueError, ("eps", "-1.0")),
]


@clause("nn-24", "nn-25", "nn-26")
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


@clause("nn-24", "nn-25")
def test_calls_say_what_does_not_fit(nn: Any) -> None:
    with refuses(ValueError, "RMSNorm", "(2, 4)", "5"):
        nn.RMSNorm(5)(nn.zeros((2, 4)))
    with refuses(ValueError, "GroupNorm", "(2, 3, 5)", "4"):
        nn.GroupNorm(2, 4)(nn.zeros((2, 3, 5)))
    with refuses(ValueError, "GroupNorm", "(4,)"):
        nn.GroupNorm(2, 4)(nn.zeros((4,)))


@clause("nn-25")
def test_channels_that_are_neighbours_make_a_group(nn: Any, dtype: str) -> None:
    layer, values = nn.GroupNorm(2, 6, dtype=getattr(nn, dtype)), normal((3, 6, 4), dtype)
    wide = in_double(values).reshape(3, 2, 12)
    mean, variance = wide.mean(axis=2, keepdims=True), wide.var(axis=2, keepdims=True)
    want = ((wide - mean) / np.sqrt(variance + 1e-5)).reshape(3, 6, 4)
    agrees(nn, layer(nn.tensor(values)), want, "gradient", call=f"{layer}")


@clause("nn-24")
def test_the_eps_that_is_left_out(nn: Any, dtype: str) -> None:
    values = (normal((2, 5), dtype) / 256).astype(dtype)
    layer, wide = nn.RMSNorm(5, dtype=getattr(nn, dtype)), in_double(values)
    square = np.square(wide).mean(axis=1, keepdims=True)
    want = wide / np.sqrt(square + np.finfo(dtype).eps)
    agrees(nn, layer(nn.tensor(values)), want, "reduction", call=f"{layer}")


# Rows of more elements than a warp or a vector of a processor has, and of no round number of them.
WIDE: dict[str, tuple[Any, tuple[int, ...]]] = {
    "LayerNorm": (lambda nn, dtype: nn.LayerNorm(70, eps=0.25, dtype=dtype), (3, 70)),
    "LayerNorm of matrices": (lambda nn, dtype: nn.LayerNorm((5, 15), dtype=dtype), (2, 5, 15)),
    "LayerNorm without bias": (
        lambda nn, dtype: nn.LayerNorm(70, bias=False, dtype=dtype),
        (3, 70),
    ),
    "LayerNorm of nothing else": (
        lambda nn, dtype: nn.LayerNorm(70, elementwise_affine=False, dtype=dtype),
        (3, 70),
    ),
    "RMSNorm": (lambda nn, dtype: nn.RMSNorm(70, eps=0.25, dtype=dtype), (3, 70)),
    "GroupNorm": (lambda nn, dtype: nn.GroupNorm(2, 4, eps=0.25, dtype=dtype), (3, 4, 20)),
    "GroupNorm of one group": (lambda nn, dtype: nn.GroupNorm(1, 6, dtype=dtype), (2, 6, 3, 5)),
}


def normalized(
    layer: Any, x: np.ndarray, arrives: np.ndarray, given: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return result, gradient to the input and gradients to the parameters, in float64."""
    groups = getattr(layer, "num_groups", None)
    axes = tuple(range(-len(getattr(layer, "normalized_shape", ())), 0)) or (-1,)
    spread = (1, -1, *(1,) * (x.ndim - 2)) if groups else (1, *x.shape[axes[0] :])
    weight, bias = (
        given.get(name, np.asarray(number)) for name, number in (("weight", 1.0), ("bias", 0.0))
    )
    weight, bias = (part.reshape(spread) if part.ndim else part for part in (weight, bias))
    over = (len(x), groups, -1) if groups else x.shape
    is_centered = type(layer).__name__ != "RMSNorm"

    def mean(array: np.ndarray) -> np.ndarray:
        found = array.reshape(over).mean(axis=axes, keepdims=True)
        return np.broadcast_to(found, np.empty(x.shape).reshape(over).shape).reshape(x.shape)

    left = x - mean(x) if is_centered else x
    scale = 1 / np.sqrt(mean(left * left) + layer.eps)
    row, grad = left * scale, arrives * weight
    slope = scale * (grad - (mean(grad) if is_centered else 0) - row * mean(grad * row))
    summed = tuple(axis for axis in range(x.ndim) if spread[axis] == 1)
    parts = {"weight": arrives * row, "bias": arrives}
    slopes = {k: parts[k].sum(axis=summed).reshape(v.shape) for k, v in given.items()}
    return row * weight + bias, slope, slopes


@clause("nn-10", "nn-24", "nn-25")
@pytest.mark.parametrize("name", WIDE)
def test_wide_rows(nn: Any, dtype: str, name: str) -> None:
    make, shape = WIDE[name]
    layer = make(nn, getattr(nn, dtype))
    given = {
        key: normal(tuple(part.shape), dtype, seed=seed) + 1
        for seed, (key, part) in enumerate(layer.named_parameters())
    }
    layer.load_state_dict({key: array.astype(dtype) for key, array in given.items()})
    x, arrives = normal(shape, dtype, seed=7) + 1, normal(shape, dtype, seed=8)
    leaf = nn.tensor(x.astype(dtype), requires_grad=True)
    y = layer(leaf)
    y.backward(nn.tensor(arrives))
    wide = {key: in_double(to_numpy(nn, part)) for key, part in layer.named_parameters()}
    value, slope, slopes = normalized(
        layer, to_numpy(nn, leaf).astype("float64"), in_double(arrives), wide
    )
    agrees(nn, y.detach(), value, "reduction", call=name)
    agrees(nn, leaf.grad, slope, "gradient", call=f"{name}, gradient to the input")
    for key, part in layer.named_parameters():
        agrees(nn, part.grad, slopes[key], "gradient", call=f"{name}, gradient to {key}")
