"""Recurrent cells, layers, and the Functions behind the layers."""

from .cell import GRUCell, LSTMCell, RNNCell
from .fused import GRUFunction, LSTMFunction, RNNFunction
from .layer import GRU, LSTM, RNN

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


def __dir__() -> list[str]:
    return __all__
