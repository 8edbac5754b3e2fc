"""One product of matrices, by NumPy's BLAS or torch's: how fast this machine multiplies."""

from __future__ import annotations

import importlib

import numpy as np

from benchmarks.peers.job import Job, Makers
from benchmarks.rows import Row

__all__ = ["makers"]


def makers(argument: str) -> Makers:
    """Return the maker for the library that the argument names, ``"numpy"`` or ``"torch"``."""
    return {"sgemm": {"numpy": _numpy, "torch": _torch}[argument]}


def _numpy(row: Row) -> Job:
    rows, inner, columns = row.shape
    a, b = np.ones((rows, inner), np.float32), np.ones((inner, columns), np.float32)
    product = np.empty((rows, columns), np.float32)
    return Job(lambda: np.matmul(a, b, out=product))


def _torch(row: Row) -> Job:
    torch = importlib.import_module("torch")
    rows, inner, columns = row.shape
    a, b = torch.ones(rows, inner), torch.ones(inner, columns)
    product = torch.empty(rows, columns)
    return Job(lambda: torch.mm(a, b, out=product))
