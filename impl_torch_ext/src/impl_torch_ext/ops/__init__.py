"""The functions of the Python array API standard 2025.12, and some from deep learning.

They work on Tensors. Values and derivatives are torch's, signatures the standard's. Added here are
errors in Python's own types that name the function and what it got, promotion where torch has none,
and negative and nested indices in `take`.
"""

# The files are imported for their rows, which the registry then holds.
# ruff: noqa: F401, F403

from typing import TYPE_CHECKING

from impl_torch_ext.dtypes import bool_ as bool
from impl_torch_ext.dtypes import float32, float64, int32, int64
from impl_torch_ext.ops import (
    activation,
    comparison,
    creation,
    elementwise,
    indexing,
    linalg,
    manipulation,
    reduction,
    sorting,
)
from impl_torch_ext.ops.families import registry

if TYPE_CHECKING:
    # What the next statement does, for readers of types.
    from impl_torch_ext.ops.activation import *
    from impl_torch_ext.ops.comparison import *
    from impl_torch_ext.ops.creation import *
    from impl_torch_ext.ops.elementwise import *
    from impl_torch_ext.ops.indexing import *
    from impl_torch_ext.ops.linalg import *
    from impl_torch_ext.ops.manipulation import *
    from impl_torch_ext.ops.reduction import *
    from impl_torch_ext.ops.sorting import *

globals().update(registry)

__all__ = sorted([*registry, "bool", "float32", "float64", "int32", "int64"])


def __dir__() -> list[str]:
    return __all__
