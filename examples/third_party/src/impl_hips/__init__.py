"""A fifth implementation, on HIPS autograd: part of the specification, from its text alone."""

import numpy as _np

from impl_hips import convert as _convert
from impl_hips import dtypes as _dtypes
from impl_hips import operators as _operators  # noqa: F401, gives Tensor its operators
from impl_hips import ops
from impl_hips import random as _random
from impl_hips.function import Function, as_function, once_differentiable
from impl_hips.module import Module, ModuleList, Parameter, Sequential, functional_call
from impl_hips.nn import (
    GRUCell,
    Identity,
    Linear,
    LSTMCell,
    ReLU,
    RNNCell,
    Sigmoid,
    SiLU,
    Tanh,
    loss,
    optim,
)
from impl_hips.random import init, manual_seed
from impl_hips.tape import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from impl_hips.tensor import Tensor
from impl_hips.transforms import checkpoint, grad, jit, value_and_grad, vjp

__all__ = [
    *_dtypes.ALL,
    "Function",
    "GRUCell",
    "Identity",
    "LSTMCell",
    "Linear",
    "Module",
    "ModuleList",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "Tensor",
    "Variable",
    "arange",
    "as_function",
    "checkpoint",
    "empty",
    "enable_grad",
    "eye",
    "from_array",
    "full",
    "functional_call",
    "grad",
    "init",
    "is_grad_enabled",
    "jit",
    "loss",
    "manual_seed",
    "no_grad",
    "once_differentiable",
    "ones",
    "ops",
    "optim",
    "rand",
    "randn",
    "set_grad_enabled",
    "spec_capabilities",
    "tensor",
    "value_and_grad",
    "vjp",
    "zeros",
]
__spec_version__ = "2026.12"
vars().update(_dtypes.ALL)


def spec_capabilities():
    """Say what is here (tensor-01)."""
    return {
        "double_backward": False,
        "float64": True,
        "jit": False,
        "serialization": False,
        "vmap": False,
        "complex": False,
        "wide_unsigned": True,
    }


def tensor(data, *, dtype=None, requires_grad=False):
    """Copy data into a Tensor (tensor-03)."""
    return Tensor(_convert.array_of(data, dtype), requires_grad)


def from_array(array, requires_grad=False):
    """Share the memory of a raw array (tensor-05)."""
    if not isinstance(array, _np.ndarray):
        msg = f"from_array takes a NumPy array, got {type(array).__name__}"
        raise TypeError(msg)
    return Tensor(array, requires_grad)


Variable = from_array


def _of_sizes(name, make):
    def create(*shape, dtype=None, requires_grad=False):
        sizes = _convert.size_of(name, shape)
        dtype = _dtypes.named(name, "float32" if dtype is None else dtype)
        if name.startswith("rand") and dtype.kind != "f":
            msg = f"{name}: the dtype must be floating, got {dtype}"
            raise TypeError(msg)
        return Tensor(make(sizes).astype(dtype), requires_grad)

    create.__name__ = create.__qualname__ = name
    return create


zeros, ones, empty = (
    _of_sizes("zeros", _np.zeros),
    _of_sizes("ones", _np.ones),
    _of_sizes("empty", _np.zeros),
)
rand, randn = _of_sizes("rand", _random.uniform), _of_sizes("randn", _random.normal)


def _as_in_ops(name):
    def create(*args, requires_grad=False, **options):
        return Tensor(getattr(ops, name)(*args, **options).data, requires_grad)

    create.__name__ = create.__qualname__ = name
    return create


full, arange, eye = _as_in_ops("full"), _as_in_ops("arange"), _as_in_ops("eye")
