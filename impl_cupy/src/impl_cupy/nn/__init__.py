"""Layers and containers."""

from impl_cupy.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from impl_cupy.nn.container import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from impl_cupy.nn.dropout import Dropout
from impl_cupy.nn.embedding import Embedding
from impl_cupy.nn.linear import Linear
from impl_cupy.nn.norm import LayerNorm
from impl_cupy.nn.shape import Flatten, Identity

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
