"""Compiling, of which NumPy has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def jit(fn: Callable[..., T]) -> Callable[..., T]:
    """Return the function itself: NumPy has nothing to compile (autograd-20)."""
    return fn
