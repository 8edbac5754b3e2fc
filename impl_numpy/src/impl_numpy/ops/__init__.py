"""The functions of the Python array API standard 2025.12, and some from deep learning, on Tensors.

They take Tensors, raw arrays and, next to at least one of these, Python numbers. Each returns a
Tensor. This package is also `ctx.xp` where a Function runs on Tensors.
"""

# The files are imported for their rows, which the registry then holds.
# ruff: noqa: F401, F403

import sys
from typing import TYPE_CHECKING

from impl_numpy.dtypes import BY_NAME
from impl_numpy.ops import (
    activation,
    comparison,
    complexes,
    creation,
    elementwise,
    indexing,
    inspection,
    linalg,
    manipulation,
    movement,
    places,
    recurrence,
    reduction,
    rounding,
    sorting,
    transcendental,
)
from impl_numpy.ops.einsum import einsum
from impl_numpy.ops.families import REGISTRY
from impl_numpy.ops.inspection import API_VERSION as __array_api_version__
from impl_numpy.ops.inspection import CONSTANTS
from impl_numpy.ops.inspection import array_namespace_info as __array_namespace_info__
from impl_numpy.recording import Differentiable

if TYPE_CHECKING:
    # What the next statement does, for readers of types.
    from impl_numpy.ops.activation import *
    from impl_numpy.ops.comparison import *
    from impl_numpy.ops.complexes import *
    from impl_numpy.ops.creation import *
    from impl_numpy.ops.elementwise import *
    from impl_numpy.ops.indexing import *
    from impl_numpy.ops.inspection import *
    from impl_numpy.ops.linalg import *
    from impl_numpy.ops.manipulation import *
    from impl_numpy.ops.movement import *
    from impl_numpy.ops.places import *
    from impl_numpy.ops.recurrence import *
    from impl_numpy.ops.reduction import *
    from impl_numpy.ops.rounding import *
    from impl_numpy.ops.sorting import *
    from impl_numpy.ops.transcendental import *

globals().update(REGISTRY, **CONSTANTS, **BY_NAME)
__all__ = sorted([*REGISTRY, *CONSTANTS, *BY_NAME])


def __dir__() -> list[str]:
    return __all__


Differentiable.ops = sys.modules[__name__]
