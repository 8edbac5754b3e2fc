"""Modes of recording, derivatives of functions, `jit` and `checkpoint`."""

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
from impl_cupy.autograd.jit import jit
from impl_cupy.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from impl_cupy.autograd.transforms import grad, value_and_grad, vjp

__all__ = [
    "checkpoint",
    "enable_grad",
    "grad",
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
    "set_grad_enabled",
    "value_and_grad",
    "vjp",
]
