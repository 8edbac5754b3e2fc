"""The chapter ``init``: one stream of random numbers, and what is made of it."""

import math
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws, load
from spec_tests.support.assertions import exactly, refuses, to_numpy

SEEDS = [0, 1, 2**63]


def zeros(nn: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Return a Tensor for an initialiser to fill."""
    return nn.zeros(shape, dtype=getattr(nn, dtype))


@clause("init-01")
@pytest.mark.parametrize("seed", [3, 2**64 - 1])
def test_the_same_seed_gives_the_same_numbers(nn: Any, seed: int) -> None:
    nn.manual_seed(seed)
    first = [to_numpy(nn, drawn).copy() for drawn in (nn.rand((3,)), nn.randn((3,)))]
    nn.manual_seed(seed)
    for again, want in zip((nn.rand((3,)), nn.randn((3,))), first, strict=True):
        exactly(nn, again, want)
    nn.manual_seed(seed)
    exactly(nn, nn.rand((3,)), Draws(seed).uniform((3,), 0.0, 1.0, "float32"))


@clause("init-01")
@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None])
def test_seeds_that_are_refused(nn: Any, seed: Any) -> None:
    nn.manual_seed(5)
    with refuses((ValueError, TypeError)):
        nn.manual_seed(seed)
    exactly(nn, nn.rand((2,)), Draws(5).uniform((2,), 0.0, 1.0, "float32"))


@clause("init-02")
def test_uniform_numbers(nn: Any, dtype: str) -> None:
    draws = Draws(4)
    nn.manual_seed(4)
    exactly(nn, nn.rand((2, 3), dtype=getattr(nn, dtype)), draws.uniform((2, 3), 0, 1, dtype))
    tensor = nn.init.uniform_(zeros(nn, (3, 2), dtype), -0.3, 1.7)
    exactly(nn, tensor, draws.uniform((3, 2), -0.3, 1.7, dtype))
    tensor = nn.init.uniform_(zeros(nn, (2,), dtype), a=2.0, b=3.0)
    exactly(nn, tensor, draws.uniform((2,), 2.0, 3.0, dtype))


@clause("init-02")
def test_uniform_numbers_fill_in_c_order(nn: Any) -> None:
    nn.manual_seed(4)
    turned = nn.tensor(np.zeros((3, 2), np.float32).T)
    nn.init.uniform_(turned)
    exactly(nn, turned, Draws(4).uniform((2, 3), 0.0, 1.0, "float32"))


@clause("init-03")
def test_normal_numbers(nn: Any, dtype: str) -> None:
    draws = Draws(6)
    nn.manual_seed(6)
    for shape in ((3,), (2, 2), (), (5,)):
        got = nn.randn(shape, dtype=getattr(nn, dtype))
        exactly(nn, got, draws.normal(shape, 0.0, 1.0, dtype))
    tensor = nn.init.normal_(zeros(nn, (3, 3), dtype), 0.5, 0.1)
    exactly(nn, tensor, draws.normal((3, 3), 0.5, 0.1, dtype))


@clause("init-04")
def test_one_order(nn: Any) -> None:
    draws, k = Draws(8), 1 / math.sqrt(2)
    nn.manual_seed(8)
    nn.zeros((3,))
    nn.init.constant_(nn.empty((2,)), 3.0)
    nn.init.zeros_(nn.empty((2,)))
    nn.init.ones_(nn.empty((2,)))
    first, table = nn.Linear(2, 1), nn.Embedding(3, 1)
    nn.ReLU()
    last = nn.GRUCell(1, 2)
    exactly(nn, first.weight, draws.uniform((1, 2), -k, k, "float32"))
    exactly(nn, first.bias, draws.uniform((1,), -k, k, "float32"))
    exactly(nn, table.weight, draws.normal((3, 1), 0.0, 1.0, "float32"))
    for _, parameter in last.named_parameters():
        exactly(nn, parameter, draws.uniform(tuple(parameter.shape), -k, k, "float32"))
    nn.Dropout(0.5)(nn.ones((2, 3)))
    draws.units(6)
    exactly(nn, nn.rand((2,)), draws.uniform((2,), 0.0, 1.0, "float32"))


@clause("init-05")
@pytest.mark.parametrize(
    "name", ["uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_"]
)
def test_integers_are_not_drawn(nn: Any, name: str) -> None:
    tensor = nn.tensor([[7, 8]])
    nn.manual_seed(4)
    following = to_numpy(nn, nn.rand((3,)))
    nn.manual_seed(4)
    with refuses(TypeError, name, "int64"):
        getattr(nn.init, name)(tensor)
    exactly(nn, tensor, np.array([[7, 8]]))
    exactly(nn, nn.rand((3,)), following)


@clause("init-05")
def test_in_place(nn: Any, dtype: str) -> None:
    for change, want in (
        (nn.init.zeros_, 0.0),
        (nn.init.ones_, 1.0),
        (lambda tensor: nn.init.constant_(tensor, 0.1), 0.1),
        (lambda tensor: nn.init.constant_(tensor, val=-2), -2.0),
        (lambda tensor: nn.init.uniform_(tensor, 3.0, 3.0), 3.0),
        (lambda tensor: nn.init.normal_(tensor, mean=4.0, std=0.0), 4.0),
    ):
        parameter = nn.Parameter(nn.tensor(np.full((2, 3), 9, dtype)))
        assert change(parameter) is parameter
        exactly(nn, parameter, np.full((2, 3), want, dtype))
        assert parameter.is_leaf
        assert parameter.requires_grad
        assert parameter.grad_fn is None
        (parameter * 2).sum().backward()
        exactly(nn, parameter.grad, np.full((2, 3), 2, dtype))


@clause("init-06")
def test_xavier(nn: Any, dtype: str) -> None:
    draws = Draws(9)
    nn.manual_seed(9)
    for shape, fans in (((3, 5), 8), ((2, 3, 4), 20)):
        bound = 1.5 * math.sqrt(6 / fans)
        tensor = nn.init.xavier_uniform_(zeros(nn, shape, dtype), gain=1.5)
        exactly(nn, tensor, draws.uniform(shape, -bound, bound, dtype))
        std = 0.5 * math.sqrt(2 / fans)
        tensor = nn.init.xavier_normal_(zeros(nn, shape, dtype), gain=0.5)
        exactly(nn, tensor, draws.normal(shape, 0.0, std, dtype))
    bound = math.sqrt(6 / 8)
    tensor = nn.init.xavier_uniform_(zeros(nn, (3, 5), dtype))
    exactly(nn, tensor, draws.uniform((3, 5), -bound, bound, dtype))


@clause("init-06")
@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_"])
@pytest.mark.parametrize("shape", [(), (4,)])
def test_xavier_needs_two_axes(nn: Any, name: str, shape: tuple[int, ...]) -> None:
    with refuses(ValueError):
        getattr(nn.init, name)(nn.zeros(shape))


@clause("init-07")
def test_kaiming(nn: Any, dtype: str) -> None:
    draws = Draws(10)
    nn.manual_seed(10)
    shape = (2, 3, 4)
    for options, gain, fan in (
        ({}, math.sqrt(2), 12),
        ({"mode": "fan_out"}, math.sqrt(2), 8),
        ({"a": math.sqrt(5)}, math.sqrt(2 / (1 + math.sqrt(5) ** 2)), 12),
        ({"nonlinearity": "tanh"}, 5 / 3, 12),
    ):
        bound, std = gain * math.sqrt(3 / fan), gain / math.sqrt(fan)
        drawn = nn.init.kaiming_uniform_(zeros(nn, shape, dtype), **options)
        exactly(nn, drawn, draws.uniform(shape, -bound, bound, dtype))
        drawn = nn.init.kaiming_normal_(zeros(nn, shape, dtype), **options)
        exactly(nn, drawn, draws.normal(shape, 0.0, std, dtype))


@clause("init-07")
def test_calculate_gain(nn: Any) -> None:
    gain = nn.init.calculate_gain
    assert gain("linear") == 1
    assert gain("sigmoid") == 1
    assert gain("tanh") == 5 / 3
    assert gain("relu") == math.sqrt(2)
    for slope in (0.01, 0.2, 0.37, -3, 1e200):
        assert gain("leaky_relu", slope) == math.sqrt(2.0 / (1.0 + slope * slope))
    assert gain("leaky_relu") == gain("leaky_relu", 0.01)
    with refuses(ValueError):
        gain("swash")
    for odd in (math.nan, math.inf):
        with refuses(ValueError, "calculate_gain", "param", odd):
            gain("leaky_relu", odd)
        for name in ("kaiming_uniform_", "kaiming_normal_"):
            t = nn.ones((3, 2))
            with refuses(ValueError, name, " a", odd):
                getattr(nn.init, name)(t, a=odd)
            exactly(nn, t, np.ones((3, 2), np.float32))


@clause("init-08")
@pytest.mark.parametrize("seed", SEEDS)
def test_vectors_of_draws(nn: Any, dtype: str, seed: int) -> None:
    known = load("init_vectors")
    nn.manual_seed(seed)
    exactly(nn, nn.rand((2, 4), dtype=getattr(nn, dtype)), known["rand"][str(seed)][dtype])
    nn.manual_seed(seed)
    exactly(nn, nn.randn((7,), dtype=getattr(nn, dtype)), known["randn"][str(seed)][dtype])


@clause("init-08")
def test_vectors_of_layers(nn: Any, dtype: str) -> None:
    known = load("init_vectors")
    layers = {
        "linear": (nn.Linear, 3, 2),
        "embedding": (nn.Embedding, 5, 3),
        "lstm": (nn.LSTM, 3, 2),
    }
    for name, (make, *sizes) in layers.items():
        nn.manual_seed(0)
        layer = make(*sizes, dtype=getattr(nn, dtype))
        for key, want in known[name][dtype].items():
            exactly(nn, getattr(layer, key), want, call=f"{name}.{key}")


# Arguments of what draws that are none it can draw with.
UNFIT: list[tuple[str, dict[str, Any], str]] = [
    *[("uniform_", {name: x}, name) for name in "ab" for x in (math.inf, -math.inf, math.nan)],
    ("uniform_", {"a": 1.0, "b": 0.5}, "a"),
    ("uniform_", {"a": -1e308, "b": 1e308}, "a"),
    *[("normal_", {n: x}, n) for n in ("mean", "std") for x in (math.inf, -math.inf, math.nan)],
    ("normal_", {"std": -1.0}, "std"),
    *[
        (f"xavier_{kind}_", {"gain": x}, "gain")
        for kind in ("uniform", "normal")
        for x in (-1.0, math.inf, math.nan)
    ],
]


@clause("init-05")
@pytest.mark.parametrize("number", range(len(UNFIT)))
def test_what_nothing_is_drawn_with(nn: Any, number: int) -> None:
    name, options, said = UNFIT[number]
    x = nn.ones((2, 3))
    nn.manual_seed(5)
    with refuses(ValueError, name, said):
        getattr(nn.init, name)(x, **options)
    exactly(nn, x, np.ones((2, 3)), dtype="float32", call=f"{name} after its refusal")
    drawn = to_numpy(nn, nn.rand(3))
    nn.manual_seed(5)
    exactly(nn, nn.rand(3), drawn, dtype="float32", call="the next number")


@clause("init-10")
@pytest.mark.parametrize("forget", [1.0, 2, -0.5])
def test_biases_of_an_lstm(nn: Any, forget: float) -> None:
    hidden = 3
    layers = [
        nn.LSTM(2, hidden, num_layers=2, bidirectional=True),
        nn.LSTM(2, hidden, proj_size=2, dtype=nn.float64),
        nn.LSTMCell(2, hidden),
        nn.PeepholeLSTMCell(2, hidden),
        nn.LayerNormLSTMCell(2, hidden),
    ]
    gates = np.repeat([0.0, forget, 0.0, 0.0], hidden)
    for layer in layers:
        before = {key: to_numpy(nn, p.detach()).copy() for key, p in layer.named_parameters()}
        assert nn.init.lstm_bias_(layer, forget=forget) is layer
        for key, p in layer.named_parameters():
            want = before[key]
            if key.startswith("bias") or key in ("norm_ih.bias", "norm_hh.bias"):
                want = gates if "_ih" in key else np.zeros_like(gates)
            got = to_numpy(nn, p.detach())
            exactly(nn, got, want.astype(got.dtype), call=f"{layer}: {key}", dtype=got.dtype.name)
            assert p.requires_grad
            assert p.grad is None


@clause("init-10")
def test_where_there_are_no_biases_of_an_lstm(nn: Any) -> None:
    for module in (nn.GRU(2, 3), nn.Linear(2, 3), nn.zeros((12,)), None, nn.LSTM):
        with refuses(TypeError, "lstm_bias_"):
            nn.init.lstm_bias_(module)
    with refuses(ValueError, "lstm_bias_", "bias"):
        nn.init.lstm_bias_(nn.LSTM(2, 3, bias=False))
    layer = nn.LSTMCell(2, 3)
    before = to_numpy(nn, layer.bias_ih.detach()).copy()
    for bad in (float("nan"), float("inf")):
        with refuses(ValueError, "lstm_bias_", "forget"):
            nn.init.lstm_bias_(layer, bad)
    with refuses(TypeError, "lstm_bias_", "forget"):
        nn.init.lstm_bias_(layer, "1")
    exactly(nn, layer.bias_ih.detach(), before)
