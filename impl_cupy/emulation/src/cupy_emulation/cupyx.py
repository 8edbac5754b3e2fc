"""The corner of `cupyx` that an implementation needs: whether a solver's failure is an error."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["errstate"]


class _Config(threading.local):
    linalg = "ignore"


_config = _Config()


@contextlib.contextmanager
def errstate(
    *,
    divide: Any = None,
    over: Any = None,
    under: Any = None,
    invalid: Any = None,
    linalg: Any = None,
) -> Iterator[None]:
    """Choose whether the functions of `linalg` look at what the solver reports.

    With ``"ignore"``, which holds unless told, a matrix that cannot be solved gives nonsense and
    nothing waits for the device; with ``"raise"`` there is a look, and a LinAlgError.
    """
    chosen = divide, over, under, invalid
    if any(mode is not None for mode in chosen) or linalg not in ("ignore", "raise", None):
        raise NotImplementedError
    before = _config.linalg
    _config.linalg = linalg or before
    try:
        yield
    finally:
        _config.linalg = before


def get_config_linalg() -> str:
    """Return ``"ignore"`` or ``"raise"``, as it holds in this thread."""
    return _config.linalg
