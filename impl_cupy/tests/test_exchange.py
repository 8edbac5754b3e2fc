"""What convert does with arrays on the device, and with bits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.backend import cp

SIZES: dict[str, Any] = {"input_size": 3, "hidden_size": 3, "num_layers": 2}


def parameters(cell: str) -> dict[str, Any]:
    return dict(getattr(nn, cell)(3, 3, num_layers=2).state_dict())


@pytest.mark.parametrize("form", ["keras", "flax", "onnx", "cudnn", "onednn"])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_every_bit_comes_back(cell: str, form: str) -> None:
    """Signs of zeros, NaN and subnormal numbers too, where two biases are one."""
    own = {name: nn.zeros(value.shape) for name, value in parameters(cell).items()}
    there = nn.rnn.convert(own, target=form)
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-42, 1.5], "float32")
    for array in there.values():
        array[...] = np.resize(special, array.shape)
    back = nn.rnn.convert(there, form, cell=cell, **SIZES)
    again = nn.rnn.convert(back, target=form)
    for name, array in there.items():
        assert again[name].tobytes() == array.tobytes(), name
        assert again[name].flags.c_contiguous, name


def test_sums_that_overflow_are_infinite_and_not_warned_of() -> None:
    own = {name: np.full(value.shape, 3e38, "float32") for name, value in parameters("RNN").items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(nn.rnn.convert(own, target="keras")["l0.bias"]).all()


def test_layouts_and_byte_orders() -> None:
    own = {name: value.numpy() for name, value in parameters("LSTM").items()}
    want = nn.rnn.convert(own, target="onednn")
    for turned in (
        {name: array.astype(">f4") for name, array in own.items()},
        {name: np.asfortranarray(array) for name, array in own.items()},
        {name: cp.asarray(array.T).T for name, array in own.items()},
    ):
        got = nn.rnn.convert(turned, target="onednn")
        for name, array in want.items():
            assert got[name].dtype == np.float32
            assert got[name].dtype.isnative
            assert np.array_equal(got[name], array)


def test_a_number_of_layers_that_cannot_be_is_refused_at_once() -> None:
    sizes = SIZES | {"cell": "GRU", "num_layers": 10**15}
    with pytest.raises(ValueError, match="convert: 'weights' of 'cudnn'"):
        nn.rnn.convert({"weights": np.zeros(5, "float32")}, "cudnn", **sizes)
