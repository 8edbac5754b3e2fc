"""Functions, Modules and RNNs with hand-written derivatives, each one ``jax.custom_vjp``."""

from . import init, loss, ops, optim, rnn
from .autograd import (
    enable_grad,
    grad,
    is_grad_enabled,
    jit,
    no_grad,
    set_grad_enabled,
    value_and_grad,
    vjp,
)
from .capabilities import __spec_version__, spec_capabilities
from .creation import (
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
from .dtypes import bool_ as bool
from .dtypes import float32, float64, int32, int64
from .function import Function, as_function, once_differentiable
from .loss import CrossEntropyLoss, L1Loss, MSELoss
from .module import Module, functional_call
from .nn import (
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
from .parameter import Parameter
from .random import manual_seed
from .rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .serialization import load, save
from .tensor import Tensor

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
