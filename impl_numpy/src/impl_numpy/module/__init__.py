"""Module, and calling one with other parameters."""

from impl_numpy.module.base import Module
from impl_numpy.module.functional import functional_call

__all__ = ["Module", "functional_call"]
