"""Functions on Tensors: array API standard 2025.12 names, and deep learning's own.

They take Tensors, raw arrays and, beside at least one of these, Python numbers, and return Tensors.
Each is differentiable as often as its mathematics is.
"""

import sys as _sys
import typing as _typing

from .. import dtypes as _dtypes
from ..protocols import OPS as _OPS
from . import (  # noqa: F401
    activation,
    comparison,
    complexes,
    creation,
    decompositions,
    einsum,
    elementwise,
    fft,
    indexing,
    inspection,
    linalg,
    manipulation,
    movement,
    places,
    products,
    recurrence,
    reduction,
    rounding,
    solving,
    sorting,
    transcendental,
)
from .families import FUNCTIONS as _FUNCTIONS

__all__ = sorted([*_FUNCTIONS, *_dtypes.NAMED, *inspection.CONSTANTS, "fft", "linalg"])
globals().update(_FUNCTIONS | _dtypes.NAMED | inspection.CONSTANTS)
__array_api_version__ = inspection.API_VERSION
__array_namespace_info__ = inspection.namespace_info

_OPS.namespace = _sys.modules[__name__]

if _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any: ...


def __dir__() -> list[str]:
    return __all__
