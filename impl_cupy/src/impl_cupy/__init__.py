"""Tensors with reverse-mode autograd, Functions, Modules and recurrent layers on CuPy."""

from impl_cupy import init, loss, nn, ops, optim, rnn
from impl_cupy.autograd import (
    enable_grad,
    grad,
    is_grad_enabled,
    jit,
    no_grad,
    set_grad_enabled,
    value_and_grad,
    vjp,
)
from impl_cupy.capabilities import __spec_version__, spec_capabilities, spec_device
from impl_cupy.creation import (
    Variable,
    arange,
    empty,
    eye,
    from_array,
    full,
    ones,
    rand,
    randn,
    tensor,
    zeros,
)
from impl_cupy.dtypes import bool_ as bool
from impl_cupy.dtypes import float32, float64, int32, int64
from impl_cupy.function import Function, as_function, once_differentiable
from impl_cupy.loss import CrossEntropyLoss, MSELoss
from impl_cupy.module import Module, functional_call
from impl_cupy.nn import (
    Dropout,
    Embedding,
    Flatten,
    Identity,
    Linear,
    LogSoftmax,
    ModuleList,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from impl_cupy.parameter import Parameter
from impl_cupy.random import manual_seed
from impl_cupy.rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from impl_cupy.serialization import load, save
from impl_cupy.tensor import Tensor

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Function",
    "GRUCell",
    "Identity",
    "LSTMCell",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleList",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Tensor",
    "Variable",
    "__spec_version__",
    "arange",
    "as_function",
    "bool",
    "empty",
    "enable_grad",
    "eye",
    "float32",
    "float64",
    "from_array",
    "full",
    "functional_call",
    "grad",
    "init",
    "int32",
    "int64",
    "is_grad_enabled",
    "jit",
    "load",
    "loss",
    "manual_seed",
    "nn",
    "no_grad",
    "once_differentiable",
    "ones",
    "ops",
    "optim",
    "rand",
    "randn",
    "rnn",
    "save",
    "set_grad_enabled",
    "spec_capabilities",
    "spec_device",
    "tensor",
    "value_and_grad",
    "vjp",
    "zeros",
]
