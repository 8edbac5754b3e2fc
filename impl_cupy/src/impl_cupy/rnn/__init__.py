"""Recurrent cells and layers, and the Functions of their sequences."""

from impl_cupy.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_cupy.rnn.exchange import convert
from impl_cupy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_cupy.rnn.layer import GRU, LSTM, RNN
from impl_cupy.rnn.packed import PackedSequence, pack, unpack
from impl_cupy.rnn.unroll import truncated, unroll
from impl_cupy.rnn.variants import (
    LayerNormGRUCell,
    LayerNormLSTMCell,
    PeepholeLSTMCell,
    RecurrentDropoutCell,
    ZoneoutCell,
)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "GRUFunction",
    "LSTMCell",
    "LSTMFunction",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "PackedSequence",
    "PeepholeLSTMCell",
    "RNNCell",
    "RNNFunction",
    "RecurrentDropoutCell",
    "ZoneoutCell",
    "convert",
    "pack",
    "truncated",
    "unpack",
    "unroll",
]
