"""Recurrent cells and layers, and the Functions of their sequences."""

from impl_cupy.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_cupy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_cupy.rnn.layer import GRU, LSTM, RNN

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
]
