"""Linear algebra: the extension `linalg` of the array API standard 2025.12."""

# The files are imported for their rows, which the registry then holds.
# ruff: noqa: F401, F403

from typing import TYPE_CHECKING

from impl_torch_ext.ops import decompositions, products, reduction, solving
from impl_torch_ext.ops.families import extensions, registry

if TYPE_CHECKING:
    # What the next statement does, for readers of types.
    from impl_torch_ext.ops.decompositions import *
    from impl_torch_ext.ops.products import *
    from impl_torch_ext.ops.solving import *

# Functions of `ops` that the extension has too (linalg-01).
_SAME = {name: registry[name] for name in ("matmul", "matrix_transpose", "tensordot", "vecdot")}

globals().update(extensions["linalg"], **_SAME, vector_norm=registry["norm"])
__all__ = sorted([*extensions["linalg"], *_SAME, "vector_norm"])


def __dir__() -> list[str]:
    return __all__
