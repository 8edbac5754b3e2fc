"""Modes of recording, derivatives of functions, `jit` and `checkpoint`."""

from impl_cupy.autograd.anomaly import detect_anomaly
from impl_cupy.autograd.checkpoint import checkpoint
from impl_cupy.autograd.derivatives import (
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
)
from impl_cupy.autograd.graph import graph
from impl_cupy.autograd.jit import jit
from impl_cupy.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from impl_cupy.autograd.saved import saved_tensors_hooks
from impl_cupy.autograd.transforms import grad, value_and_grad, vjp
from impl_cupy.autograd.vmap import vmap

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
