"""Module, its state dict, and a Module called with other parameters."""

from .base import Module
from .functional import functional_call

__all__ = ["Module", "functional_call"]
