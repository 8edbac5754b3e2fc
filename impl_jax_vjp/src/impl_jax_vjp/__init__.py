"""Functions, Modules and RNNs with hand-written derivatives, each Function one ``jax.custom_vjp``.

Importing this package switches on ``jax_enable_x64``: int64 and float64 are part of the
specification.
"""

from . import init, loss, ops, optim, rnn
from .autograd import (
    enable_grad,
    grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    value_and_grad,
    vjp,
)
from .capabilities import __spec_version__, spec_capabilities
from .compilation import jit
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
from .function import Function, as_function, once_differentiable
from .functional import functional_call
from .loss import CrossEntropyLoss, MSELoss
from .module import Module
from .nn import (
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
from .parameter import Parameter
from .random import manual_seed
from .rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .serialization import load, save
from .tensor import Tensor, float32, float64, int32, int64
from .tensor import bool_ as bool

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
