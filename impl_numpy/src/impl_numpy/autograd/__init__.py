"""Recording switched on and off, and derivatives as functions of functions."""

from impl_numpy.autograd.anomaly import detect_anomaly
from impl_numpy.autograd.checkpoint import checkpoint
from impl_numpy.autograd.derivatives import (
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
)
from impl_numpy.autograd.graph import graph
from impl_numpy.autograd.jit import jit
from impl_numpy.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from impl_numpy.autograd.saved import saved_tensors_hooks
from impl_numpy.autograd.transforms import grad, value_and_grad, vjp
from impl_numpy.autograd.vmap import vmap

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
