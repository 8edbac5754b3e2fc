"""Differentiable functions, named as in the Python array API standard 2025.12 and deep learning.

This package is also `ctx.xp` when a Function runs on Tensors. Its names are those of the rows.
"""

import sys
from typing import TYPE_CHECKING, Any

from impl_cupy import dtypes
from impl_cupy.ops import (
    activation,
    comparison,
    complexes,
    creation,
    einsum,
    elementwise,
    fft,
    indexing,
    inspection,
    linalg,
    manipulation,
    mapped,
    mapped_keys,
    movement,
    places,
    products,
    recurrence,
    reduction,
    rounding,
    sorting,
    transcendental,
)
from impl_cupy.ops.families import rows
from impl_cupy.tape import handles

_rooms = (
    elementwise,
    transcendental,
    rounding,
    complexes,
    comparison,
    reduction,
    recurrence,
    products,
    manipulation,
    movement,
    indexing,
    places,
    einsum,
    sorting,
    creation,
    linalg,
    fft,
    activation,
    inspection,
    mapped,
    mapped_keys,
)
_dtypes = {dtype.name: dtype for dtype in dtypes.dtypes}

__all__ = sorted((*rows, *_dtypes, *inspection.constants, "linalg", "fft"))

globals().update(rows | _dtypes | inspection.constants)
__array_api_version__ = "2025.12"
__array_namespace_info__ = inspection.namespace_info
handles.namespace = sys.modules[__name__]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def __dir__() -> list[str]:
    return __all__
