"""Modes of recording, gradients of functions, and `jit`."""

from impl_cupy.autograd.jit import jit
from impl_cupy.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from impl_cupy.autograd.transforms import grad, value_and_grad, vjp

__all__ = [
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "jit",
    "no_grad",
    "set_grad_enabled",
    "value_and_grad",
    "vjp",
]
