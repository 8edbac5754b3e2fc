"""Modules. A Module is a `torch.nn.Module`: what takes one takes ours."""

from impl_torch_ext.module.base import Module
from impl_torch_ext.module.functional import functional_call
from impl_torch_ext.module.summary import summary

__all__ = ["Module", "functional_call", "summary"]
