"""`nn.ops.linalg`: the extension of the Python array API standard 2025.12, by its own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from impl_cupy.ops import decompositions, eigenvalues, products, solving
from impl_cupy.ops.families import extensions

_rooms = (products, decompositions, eigenvalues, solving)
_same = {
    "matmul": products.matmul,
    "matrix_transpose": products.matrix_transpose,
    "tensordot": products.tensordot,
    "vecdot": products.vecdot,
    "vector_norm": products.norm,
}

__all__ = sorted((*extensions["linalg"], *_same))

globals().update(extensions["linalg"] | _same)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def __dir__() -> list[str]:
    return __all__
