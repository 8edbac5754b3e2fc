"""Compiling functions, of which CuPy has nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from impl_cupy.checks import check_callable

_F = TypeVar("_F", bound=Callable[..., Any])


def jit(fn: _F) -> _F:
    """Return `fn` itself: CuPy runs each operation as it comes, and there is nothing to compile."""
    check_callable("jit", "fn", fn)
    return fn
