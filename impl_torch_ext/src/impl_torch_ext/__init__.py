"""One API for Tensors, Functions, Modules and recurrent layers, on torch.

The names are those of the specification; `impl_torch_ext.ops`, `loss`, `optim`, `init` and `rnn`
are submodules.
"""

from impl_torch_ext import init, loss, ops, optim, rnn
from impl_torch_ext.autograd import (
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
from impl_torch_ext.capabilities import __spec_version__, spec_capabilities
from impl_torch_ext.creation import (
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
from impl_torch_ext.dtypes import bool_ as bool
from impl_torch_ext.dtypes import float32, float64, int32, int64
from impl_torch_ext.function import Function, as_function, once_differentiable
from impl_torch_ext.loss import CrossEntropyLoss, L1Loss, MSELoss
from impl_torch_ext.module import Module, functional_call
from impl_torch_ext.nn import (
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
from impl_torch_ext.parameter import Parameter
from impl_torch_ext.random import manual_seed
from impl_torch_ext.rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from impl_torch_ext.serialization import load, save
from impl_torch_ext.tensor import Tensor

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
