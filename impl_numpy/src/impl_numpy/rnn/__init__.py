"""Recurrent cells and layers, and their Functions."""

from impl_numpy.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_numpy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_numpy.rnn.layer import GRU, LSTM, RNN
from impl_numpy.rnn.unroll import unroll

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
    "unroll",
]
