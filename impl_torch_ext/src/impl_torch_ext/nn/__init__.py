"""The layers that are no recurrence and no loss."""

from impl_torch_ext.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from impl_torch_ext.nn.container import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from impl_torch_ext.nn.dropout import Dropout
from impl_torch_ext.nn.embedding import Embedding
from impl_torch_ext.nn.linear import Linear
from impl_torch_ext.nn.norm import LayerNorm
from impl_torch_ext.nn.shape import Flatten, Identity

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
