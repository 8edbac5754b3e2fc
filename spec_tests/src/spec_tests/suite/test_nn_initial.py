"""The chapter ``nn``: what constructors draw."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.support.assertions import exactly, to_numpy

# The bound of weight and bias, from the arguments.
BOUNDS: dict[str, tuple[tuple[Any, ...], dict[str, Any], float]] = {
    "Bilinear": ((3, 4, 2), {}, 3),
    "Conv1d": ((4, 6, 3), {"groups": 2}, 6),
    "Conv2d": ((2, 3, (2, 3)), {}, 12),
    "ConvTranspose1d": ((2, 4, 3), {}, 12),
    "ConvTranspose2d": ((4, 6, (2, 3)), {"groups": 2}, 18),
}


@clause("nn-02")
@pytest.mark.parametrize("name", BOUNDS)
def test_weight_then_bias(nn: Any, dtype: str, name: str) -> None:
    arguments, options, fan = BOUNDS[name]
    draws, bound = Draws(11), 1 / np.sqrt(fan)
    nn.manual_seed(11)
    layer = getattr(nn, name)(*arguments, **options, dtype=getattr(nn, dtype))
    assert list(dict(layer.named_parameters())) == ["weight", "bias"]
    for parameter in (layer.weight, layer.bias):
        exactly(nn, parameter, draws.uniform(tuple(parameter.shape), -bound, bound, dtype))


@clause("nn-02")
@pytest.mark.parametrize("kdim", [None, 3])
def test_attention(nn: Any, dtype: str, kdim: int | None) -> None:
    draws = Draws(12)
    nn.manual_seed(12)
    options = {"kdim": kdim, "add_bias_kv": True, "dtype": getattr(nn, dtype)}
    layer = nn.MultiheadAttention(4, 2, **options)
    if kdim is None:
        glorot = {"in_proj_weight": (12, 4)}
    else:
        glorot = {"q_proj_weight": (4, 4), "k_proj_weight": (4, 3), "v_proj_weight": (4, 4)}
    for name, shape in glorot.items():
        bound = np.sqrt(6 / (shape[0] + shape[1]))
        exactly(nn, getattr(layer, name), draws.uniform(shape, -bound, bound, dtype), call=name)
    exactly(nn, layer.in_proj_bias, np.zeros(12, dtype))
    for name in ("bias_k", "bias_v"):
        exactly(nn, getattr(layer, name), draws.normal((1, 1, 4), 0.0, 0.5, dtype), call=name)
    exactly(nn, layer.out_proj.weight, draws.uniform((4, 4), -0.5, 0.5, dtype))
    exactly(nn, layer.out_proj.bias, np.zeros(4, dtype))
    assert isinstance(layer.out_proj, nn.Linear)


@clause("nn-02", "nn-24", "nn-25", "nn-26", "nn-28")
def test_constants_draw_nothing(nn: Any, dtype: str) -> None:
    nn.manual_seed(13)
    kind = getattr(nn, dtype)
    ones = {
        "weight": [
            nn.RMSNorm((2, 3), dtype=kind),
            nn.GroupNorm(2, 4, dtype=kind),
            nn.BatchNorm1d(4, dtype=kind),
        ],
        "running_var": [nn.BatchNorm1d(4, dtype=kind), nn.BatchNorm2d(2, dtype=kind)],
    }
    for name, layers in ones.items():
        for layer in layers:
            tensor = getattr(layer, name)
            exactly(nn, tensor, np.ones(tuple(tensor.shape), dtype), call=f"{layer}, {name}")
    exactly(nn, nn.BatchNorm2d(3, dtype=kind).bias, np.zeros(3, dtype))
    exactly(nn, nn.GroupNorm(1, 3, dtype=kind).bias, np.zeros(3, dtype))
    norm = nn.BatchNorm1d(3, dtype=kind)
    exactly(nn, norm.running_mean, np.zeros(3, dtype))
    exactly(nn, norm.num_batches_tracked, np.zeros((), np.int64))
    exactly(nn, nn.PReLU(3, 0.5, dtype=kind).weight, np.full(3, 0.5, dtype))
    after = Draws(13).uniform((2,), 0.0, 1.0, "float32")
    exactly(nn, nn.rand((2,)), after, dtype="float32")


@clause("nn-02", "nn-04")
def test_an_embedding_counts_padding_from_the_end(nn: Any) -> None:
    nn.manual_seed(14)
    layer = nn.Embedding(4, 3, padding_idx=-1)
    assert layer.padding_idx == 3
    assert not to_numpy(nn, layer.weight)[3].any()
    assert to_numpy(nn, layer.weight)[:3].all()
