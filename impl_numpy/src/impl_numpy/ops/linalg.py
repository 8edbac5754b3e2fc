"""The functions of linear algebra: the extension `linalg` of the array API standard 2025.12."""

# The files are imported for their rows, which the registry then holds.
# ruff: noqa: F401, F403

from typing import TYPE_CHECKING

from impl_numpy.ops import decompositions, products, reduction, solving
from impl_numpy.ops.families import EXTENSIONS, REGISTRY

if TYPE_CHECKING:
    # What the next statement does, for readers of types.
    from impl_numpy.ops.decompositions import *
    from impl_numpy.ops.products import *
    from impl_numpy.ops.solving import *

# Those that are functions of `ops` too (linalg-01).
_SAME = ("matmul", "matrix_transpose", "tensordot", "vecdot")

globals().update(
    EXTENSIONS["linalg"], **{name: REGISTRY[name] for name in _SAME}, vector_norm=REGISTRY["norm"]
)
__all__ = sorted([*EXTENSIONS["linalg"], *_SAME, "vector_norm"])


def __dir__() -> list[str]:
    return __all__
