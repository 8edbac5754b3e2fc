"""Module, its state dict, a Module called with other parameters, and a table of one."""

from .base import Module
from .functional import functional_call
from .summary import summary

__all__ = ["Module", "functional_call", "summary"]
