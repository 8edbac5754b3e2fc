"""Layers and containers."""

from impl_numpy.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from impl_numpy.nn.container import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from impl_numpy.nn.dropout import Dropout
from impl_numpy.nn.embedding import Embedding
from impl_numpy.nn.linear import Linear
from impl_numpy.nn.norm import LayerNorm
from impl_numpy.nn.shape import Flatten, Identity

__all__ = [
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "Linear",
    "LogSoftmax",
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
