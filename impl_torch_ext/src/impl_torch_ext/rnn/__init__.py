"""Recurrent cells and layers, and the Functions that they call."""

from impl_torch_ext.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_torch_ext.rnn.exchange import convert
from impl_torch_ext.rnn.fused import GRUFunction, LSTMFunction, RNNCellFunction, RNNFunction
from impl_torch_ext.rnn.layer import GRU, LSTM, RNN
from impl_torch_ext.rnn.packed import PackedSequence, pack, unpack
from impl_torch_ext.rnn.unroll import truncated, unroll
from impl_torch_ext.rnn.variants import (
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
    "RNNCellFunction",
    "RNNFunction",
    "RecurrentDropoutCell",
    "ZoneoutCell",
    "convert",
    "pack",
    "truncated",
    "unpack",
    "unroll",
]
