"""Module, calling one with other parameters, and what one is made of."""

from impl_numpy.module.base import Module
from impl_numpy.module.functional import functional_call
from impl_numpy.module.summary import summary

__all__ = ["Module", "functional_call", "summary"]
