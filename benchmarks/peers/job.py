"""What a maker returns, and how it says that there is no such work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import Row

__all__ = ["Job", "Maker", "Makers", "Unsupported", "to_itself"]


class Unsupported(Exception):
    """The library has nothing for this row; the message says what is missing."""


@dataclass(frozen=True)
class Job:
    """Work that is ready.

    Attributes
    ----------
    call : callable
        Do the work once. What it returns counts in kinds that count.
    wait : callable
        Read a number of the last result, which waits for what runs in the background.
    """

    call: Callable[[], object]
    wait: Callable[[], object] = lambda: None


def to_itself(layer: Any) -> Callable[[Any], Any]:
    """Return attention of a sequence (L, N, E) to itself, without its weights."""
    return lambda x: layer(x, x, x, need_weights=False)[0]


Maker = Callable[[Row], Job]
Makers = Mapping[str, Maker]
