"""How messages name what came."""

from __future__ import annotations

from typing import Any


def kind_of(value: Any) -> str:
    """Name a value's type, with its module where several libraries have the name."""
    kind = type(value)
    if kind.__name__ == "ndarray":
        return f"{kind.__module__.partition('.')[0]}.ndarray"
    return kind.__name__
