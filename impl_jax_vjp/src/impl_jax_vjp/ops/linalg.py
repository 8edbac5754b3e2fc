"""The extension ``linalg`` of the array API standard 2025.12."""

import typing as _typing

from . import decompositions, products, solving  # noqa: F401
from .families import FUNCTIONS as _FUNCTIONS
from .families import SPACES as _SPACES

_SAME = ("matmul", "matrix_transpose", "tensordot", "vecdot")
_ALL = {
    **_SPACES["linalg"],
    **{name: _FUNCTIONS[name] for name in _SAME},
    "vector_norm": _FUNCTIONS["norm"],
}
__all__ = sorted(_ALL)
globals().update(_ALL)

if _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any: ...


def __dir__() -> list[str]:
    return __all__
