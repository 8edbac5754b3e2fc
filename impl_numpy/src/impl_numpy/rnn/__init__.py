"""Recurrent cells and layers, their Functions, what runs a cell over a sequence, and `convert`."""

from impl_numpy.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_numpy.rnn.exchange import convert
from impl_numpy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_numpy.rnn.layer import GRU, LSTM, RNN
from impl_numpy.rnn.packed import PackedSequence, pack, unpack
from impl_numpy.rnn.unroll import truncated, unroll
from impl_numpy.rnn.variants import (
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
