"""Recording, and derivatives of Python functions. The engine is torch's own."""

from impl_torch_ext.autograd.anomaly import detect_anomaly
from impl_torch_ext.autograd.checkpoint import checkpoint
from impl_torch_ext.autograd.derivatives import (
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
)
from impl_torch_ext.autograd.graph import graph
from impl_torch_ext.autograd.jit import jit
from impl_torch_ext.autograd.modes import (
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from impl_torch_ext.autograd.saved import saved_tensors_hooks
from impl_torch_ext.autograd.transforms import grad, value_and_grad, vjp
from impl_torch_ext.autograd.vmap import vmap

__all__ = [
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "graph",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "no_grad",
    "saved_tensors_hooks",
    "set_grad_enabled",
    "value_and_grad",
    "vjp",
    "vmap",
]
