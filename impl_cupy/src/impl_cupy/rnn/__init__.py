"""Recurrent cells and layers, and the Functions of their sequences."""

from impl_cupy.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_cupy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_cupy.rnn.layer import GRU, LSTM, RNN
from impl_cupy.rnn.unroll import truncated, unroll

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "GRUFunction",
    "LSTMCell",
    "LSTMFunction",
    "RNNCell",
    "RNNFunction",
    "truncated",
    "unroll",
]
