"""Recurrent cells and layers, and the Functions that they call."""

from impl_torch_ext.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_torch_ext.rnn.fused import GRUFunction, LSTMFunction, RNNCellFunction, RNNFunction
from impl_torch_ext.rnn.layer import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "GRUFunction",
    "LSTMCell",
    "LSTMFunction",
    "RNNCell",
    "RNNCellFunction",
    "RNNFunction",
]
