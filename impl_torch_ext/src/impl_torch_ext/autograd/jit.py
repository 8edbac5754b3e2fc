"""Compilation, which torch does not need."""

from collections.abc import Callable
from typing import Any

__all__ = ["jit"]


def jit(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` itself: torch runs it eagerly, and its kernels are compiled already."""
    return fn
