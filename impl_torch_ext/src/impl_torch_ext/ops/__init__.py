"""The functions of the Python array API standard 2025.12, and some from deep learning.

They work on Tensors. Values and derivatives are torch's, signatures the standard's. Added here are
errors in Python's own types that name the function and what it got, promotion where torch has none,
and negative and nested indices in `take`.
"""

# The files are imported for their rows, which the registry then holds.
# ruff: noqa: F401, F403

from typing import TYPE_CHECKING

from impl_torch_ext.dtypes import (
    NAMED,
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from impl_torch_ext.dtypes import bool_ as bool
from impl_torch_ext.ops import (
    activation,
    comparison,
    complexes,
    creation,
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
    sorting,
    transcendental,
)
from impl_torch_ext.ops.einsum import einsum
from impl_torch_ext.ops.families import registry
from impl_torch_ext.ops.inspection import NamespaceInfo, e, inf, nan, newaxis, pi

if TYPE_CHECKING:
    # What the next statement does, for readers of types.
    from impl_torch_ext.ops.activation import *
    from impl_torch_ext.ops.comparison import *
    from impl_torch_ext.ops.complexes import *
    from impl_torch_ext.ops.creation import *
    from impl_torch_ext.ops.elementwise import *
    from impl_torch_ext.ops.indexing import *
    from impl_torch_ext.ops.inspection import *
    from impl_torch_ext.ops.manipulation import *
    from impl_torch_ext.ops.movement import *
    from impl_torch_ext.ops.places import *
    from impl_torch_ext.ops.products import *
    from impl_torch_ext.ops.recurrence import *
    from impl_torch_ext.ops.reduction import *
    from impl_torch_ext.ops.rounding import *
    from impl_torch_ext.ops.sorting import *
    from impl_torch_ext.ops.transcendental import *

globals().update(registry)

_WIDE = ("uint16", "uint32", "uint64")  # Refused where they are used (tensor-37).
_CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
__all__ = sorted([*registry, *NAMED, *_WIDE, *_CONSTANTS, "fft", "linalg"])

__array_api_version__ = "2025.12"


def __array_namespace_info__() -> NamespaceInfo:
    """Return what the namespace says of itself (array API, inspection)."""
    return NamespaceInfo()


def __dir__() -> list[str]:
    return __all__
