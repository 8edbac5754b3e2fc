"""Recording switched, gradients as functions, and compilation."""

from .checkpoint import checkpoint
from .derivatives import hessian, hvp, jacfwd, jacobian, jacrev, jvp, linearize
from .jit import jit
from .modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .transforms import grad, value_and_grad, vjp

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
