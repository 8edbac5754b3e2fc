"""Corners of the API where what NumPy or JAX do is not what is wanted."""

from collections.abc import Callable
from typing import Any

import pytest

import impl_jax_vjp as nn


@pytest.mark.parametrize("make", [nn.zeros, nn.ones, nn.empty, nn.eye, nn.rand, nn.randn])
def test_a_constructor_takes_none_for_its_default(make: Callable[..., Any]) -> None:
    assert make(2, dtype=None).dtype == nn.float32


@pytest.mark.parametrize(
    "layer",
    [nn.Linear, nn.Embedding, nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.RNN, nn.LSTM, nn.GRU],
)
def test_a_layer_takes_none_for_its_default(layer: Callable[..., Any]) -> None:
    assert {p.dtype for p in layer(2, 2, dtype=None).parameters()} == {nn.float32}


def test_a_module_is_not_converted_to_none() -> None:
    with pytest.raises(TypeError, match="to: wanted float32 or float64, got dtype None"):
        nn.Linear(1, 1).to(None)
