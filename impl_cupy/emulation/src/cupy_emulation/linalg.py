"""The corner of `cupy.linalg` that an implementation needs."""

from __future__ import annotations

import typing

import numpy as _np

from . import storage as _storage
from .manipulation import matrix_transpose
from .products import matmul

__all__ = ["matmul", "matrix_transpose", "norm"]


def norm(
    x: typing.Any,
    ord: typing.Any = None,
    axis: typing.Any = None,
    keepdims: bool = False,
) -> typing.Any:
    """Return a norm of vectors or matrices."""
    made = _np.linalg.norm(_storage.raw(x, "x"), ord, axis, keepdims)
    return _storage.result(made, "reduction")
