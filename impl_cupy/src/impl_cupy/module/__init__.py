"""Module, its state dict, and `functional_call`."""

from impl_cupy.module.base import Module
from impl_cupy.module.functional import functional_call
from impl_cupy.module.state import LoadResult

__all__ = ["LoadResult", "Module", "functional_call"]
