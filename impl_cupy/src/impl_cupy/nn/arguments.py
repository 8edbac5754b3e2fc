"""Checks of what layers are made with."""

from __future__ import annotations

import operator
from typing import Any


def positive_int(module: str, argument: str, value: Any) -> int:
    """Take a size of a layer.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is below 1.
    """
    try:
        size = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        size = None
    if size is None:
        msg = f"{module}: {argument} must be a positive int, got {value!r}"
        raise TypeError(msg)
    if size < 1:
        msg = f"{module}: {argument} must be a positive int, got {size}"
        raise ValueError(msg)
    return size
