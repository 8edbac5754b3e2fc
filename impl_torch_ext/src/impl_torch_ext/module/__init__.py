"""Modules. A Module is a `torch.nn.Module`: what takes one takes ours."""

from impl_torch_ext.module.functional import functional_call
from impl_torch_ext.module.state import Module

__all__ = ["Module", "functional_call"]
