"""The chapter ``nn``: norms, beside the calls of the table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal, positive


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
    for first, (name, buffer) in zip(kept, layer.named_buffers(), strict=True):
        assert first is buffer, f"{name} is another Tensor"
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


# Norms over rows of many elements, the shape of an input, and of how many groups rows are.
WIDE: dict[str, tuple[Callable[..., Any], tuple[int, ...], int]] = {
    "LayerNorm": (lambda nn, **o: nn.LayerNorm(57, **o), (4, 57), 1),
    "LayerNorm of matrices": (lambda nn, **o: nn.LayerNorm((3, 19), **o), (4, 3, 19), 1),
    "LayerNorm, no bias": (lambda nn, **o: nn.LayerNorm(57, bias=False, **o), (4, 57), 1),
    "LayerNorm, neither": (
        lambda nn, **o: nn.LayerNorm(57, elementwise_affine=False, **o),
        (4, 57),
        1,
    ),
    "RMSNorm": (lambda nn, **o: nn.RMSNorm(57, **o), (4, 57), 1),
    "RMSNorm, no weight": (
        lambda nn, **o: nn.RMSNorm((3, 19), elementwise_affine=False, **o),
        (4, 3, 19),
        1,
    ),
    "GroupNorm of one": (lambda nn, **o: nn.GroupNorm(1, 3, **o), (4, 3, 19), 1),
    "GroupNorm": (lambda nn, **o: nn.GroupNorm(2, 6, **o), (4, 6, 19), 2),
    "GroupNorm of images": (lambda nn, **o: nn.GroupNorm(3, 6, **o), (4, 6, 5, 5), 3),
    "GroupNorm of channels": (lambda nn, **o: nn.GroupNorm(2, 2, **o), (4, 2, 57), 2),
    "GroupNorm, no axis more": (lambda nn, **o: nn.GroupNorm(2, 102, **o), (4, 102), 2),
    "GroupNorm, neither": (lambda nn, **o: nn.GroupNorm(2, 6, affine=False, **o), (4, 6, 19), 2),
}


@clause("nn-10", "nn-24", "nn-25", "numerics-01")
@pytest.mark.parametrize("name", WIDE)
def test_rows_of_many_elements(nn: Any, dtype: str, name: str) -> None:
    make, shape, groups = WIDE[name]
    layer = make(nn, eps=0.25, dtype=getattr(nn, dtype))
    leaves = {"x": tensor(nn, (normal(shape, dtype) + 1).astype(dtype))}
    for seed, (key, old) in enumerate(layer.named_parameters()):
        leaves[key] = tensor(nn, positive(tuple(old.shape), dtype, seed=seed))
    arrives = normal(shape, dtype, seed=9)
    y = nn.functional_call(layer, {k: v for k, v in leaves.items() if k != "x"}, leaves["x"])
    y.backward(nn.tensor(arrives))
    rows = (shape[0], groups, -1)
    x, grad = (in_double(a).reshape(rows) for a in (to_numpy(nn, leaves["x"]), arrives))
    parameters = {k: in_double(to_numpy(nn, v)) for k, v in leaves.items() if k != "x"}
    # One for each element, or for the channel that stands along the second axis.
    alike = x[0].size // next((p.size for p in parameters.values()), 1)
    weight, bias = (
        np.repeat(parameters.get(key, np.array(plain)), alike).reshape(groups, -1)
        for key, plain in (("weight", 1.0), ("bias", 0.0))
    )
    left = x if name.startswith("RMSNorm") else x - x.mean(axis=2, keepdims=True)
    scale = 1 / np.sqrt(np.square(left).mean(axis=2, keepdims=True) + 0.25)
    normed, inner = left * scale, grad * weight
    agrees(nn, y, (normed * weight + bias).reshape(shape), "gradient", call=name)
    along = inner - normed * (inner * normed).mean(axis=2, keepdims=True)
    if not name.startswith("RMSNorm"):
        along -= inner.mean(axis=2, keepdims=True)
    wanted = {"x": (along * scale).reshape(shape)}
    for key, parts in (("weight", grad * normed), ("bias", grad)):
        if key in parameters:
            sums = parts.sum(axis=0).reshape(-1, alike).sum(axis=1)
            wanted[key] = sums.reshape(parameters[key].shape)
    for key, want in wanted.items():
        agrees(nn, leaves[key].grad, want, "gradient", call=f"{name}: gradient of {key}")
