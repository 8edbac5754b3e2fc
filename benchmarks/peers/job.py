"""What a maker returns, and how it says that there is no such work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.rows import Row

__all__ = ["Job", "Maker", "Makers", "Unsupported"]


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


Maker = Callable[[Row], Job]
Makers = Mapping[str, Maker]
