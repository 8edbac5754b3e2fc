"""Recurrent cells, layers, and the Functions behind the layers."""

from .cell import GRUCell, LSTMCell, RNNCell
from .exchange import convert
from .fused import GRUFunction, LSTMFunction, RNNFunction
from .layer import GRU, LSTM, RNN
from .packed import PackedSequence, pack, unpack
from .unroll import truncated, unroll
from .variants import (
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


def __dir__() -> list[str]:
    return __all__
