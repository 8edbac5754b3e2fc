"""Module, its state dict, `functional_call` and `summary`."""

from impl_cupy.module.base import Module
from impl_cupy.module.functional import functional_call
from impl_cupy.module.state import LoadResult
from impl_cupy.module.summary import Summary, SummaryRow, summary

__all__ = ["LoadResult", "Module", "Summary", "SummaryRow", "functional_call", "summary"]
