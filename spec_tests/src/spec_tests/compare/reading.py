"""Read ``compare.json`` back into what it was made of."""

from __future__ import annotations

import math
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from spec_tests.compare.findings import Report
from spec_tests.judge.written import COMPARISON

__all__ = ["read"]


def read(path: Path) -> tuple[dict[str, Any], Report]:
    """Read a file.

    Returns
    -------
    tuple of (dict, Report)
        The file's content, and the report that it was made of.

    Raises
    ------
    ValueError
        If it is not one that `spec_tests.compare.report` wrote, or of another format.
    """
    content = COMPARISON.read(path)
    kept = {key: content[key] for key in get_type_hints(Report) if key in content}
    try:
        report = _made(Report, kept)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise COMPARISON.other(path) from None
    if report.provenance is None:
        raise COMPARISON.other(path)
    return content, report


def _made(kind: Any, value: Any) -> Any:
    """Return a value of a type that has fields of types, out of what JSON keeps of it."""
    if is_dataclass(kind):
        types = get_type_hints(kind)
        fields = {name: _made(types[name], item) for name, item in value.items()}
        return kind(**fields)  # type: ignore[operator]
    origin, of = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else _made(of[0], value)
    if origin is dict:
        return {key: _made(of[1], item) for key, item in value.items()}
    if origin is list:
        return [_made(of[0], item) for item in value]
    if kind is float:
        # JSON has no NaN.
        return math.nan if value is None else float(value)
    return value
