"""Tensors with reverse-mode autograd, Functions, Modules and RNNs on NumPy alone.

Meant to be imported as `import impl_numpy as nn`, and to be read: `tape`, `engine`, `recording` and
`tensor`, in this order, are the whole of autograd; the rows of `ops` are what it knows.
"""

from impl_numpy import init, loss, ops, optim, rnn
from impl_numpy.autograd import (
    checkpoint,
    enable_grad,
    grad,
    hessian,
    hvp,
    is_grad_enabled,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    no_grad,
    set_grad_enabled,
    value_and_grad,
    vjp,
)
from impl_numpy.capabilities import SPEC_VERSION as __spec_version__
from impl_numpy.capabilities import spec_capabilities
from impl_numpy.creation import (
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
from impl_numpy.dtypes import bool_ as bool
from impl_numpy.dtypes import float32, float64, int32, int64
from impl_numpy.function import Function, as_function, once_differentiable
from impl_numpy.loss import CrossEntropyLoss, L1Loss, MSELoss
from impl_numpy.module import Module, functional_call
from impl_numpy.nn import (
    Dropout,
    Embedding,
    Flatten,
    Identity,
    LayerNorm,
    Linear,
    LogSoftmax,
    ModuleList,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from impl_numpy.parameter import Parameter
from impl_numpy.random import manual_seed
from impl_numpy.rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from impl_numpy.serialization import load, save
from impl_numpy.tensor import Tensor

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
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
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
    "checkpoint",
    "empty",
    "enable_grad",
    "eye",
    "float32",
    "float64",
    "from_array",
    "full",
    "functional_call",
    "grad",
    "hessian",
    "hvp",
    "init",
    "int32",
    "int64",
    "is_grad_enabled",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "load",
    "loss",
    "manual_seed",
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
    "tensor",
    "value_and_grad",
    "vjp",
    "zeros",
]
