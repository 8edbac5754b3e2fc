"""Layers of Keras 3 on its JAX backend, without state, under ``jax.jit``."""

from __future__ import annotations

from typing import Any

import keras

from benchmarks.peers.job import Makers
from benchmarks.peers.under_jit import sequence_makers
from benchmarks.rows import Row

__all__ = ["makers"]

LAYERS = {"RNN": keras.layers.SimpleRNN, "LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}


def makers(_: str) -> Makers:
    """Return the makers; Keras has the batch first."""
    return sequence_makers(_layer, time_major=False)


def _layer(row: Row) -> tuple[Any, Any]:
    steps, batch, inputs, hidden = row.shape
    layer = LAYERS[row.name](hidden, return_sequences=True)
    layer.build((batch, steps, inputs))
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def apply(parameters: Any, x: Any) -> Any:
        return layer.stateless_call(parameters, fixed, x)[0]

    return apply, [variable.value for variable in layer.trainable_variables]
