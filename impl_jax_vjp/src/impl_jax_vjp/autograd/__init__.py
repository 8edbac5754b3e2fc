"""Recording switched, gradients as functions, and compilation."""

from .anomaly import detect_anomaly
from .checkpoint import checkpoint
from .derivatives import hessian, hvp, jacfwd, jacobian, jacrev, jvp, linearize
from .graph import graph
from .jit import jit
from .modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .saved import saved_tensors_hooks
from .transforms import grad, value_and_grad, vjp
from .vmap import vmap

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
