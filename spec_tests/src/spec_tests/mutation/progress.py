"""How far a run is: one line that is written over in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

__all__ = ["Progress"]

_EVERY = 30.0


class Progress:
    """Counts what is done and says how long the rest will take.

    Parameters
    ----------
    what : str
        Named in each line.
    total : int
        How many there are in this run.
    stream : file
        Where lines go.
    """

    def __init__(self, what: str, total: int, stream: TextIO) -> None:
        self.what, self.total, self.stream = what, total, stream
        self.done, self.survived = 0, 0
        self.start = self.told = time.monotonic()

    def step(self, survived: bool) -> None:
        """Count one more."""
        self.done += 1
        self.survived += survived
        now = time.monotonic()
        if self.stream.isatty():
            self.stream.write(f"\r{self._line(now)}\x1b[K")
        elif now - self.told >= _EVERY or self.done == self.total:
            self.stream.write(f"{self._line(now)}\n")
            self.told = now
        self.stream.flush()

    def say(self, line: str) -> None:
        """Write a line of its own."""
        clear = "\r\x1b[K" if self.stream.isatty() else ""
        self.stream.write(f"{clear}{line}\n")
        self.stream.flush()

    def end(self) -> None:
        """Leave the line that was written over."""
        if self.stream.isatty() and self.done:
            self.stream.write("\n")

    def _line(self, now: float) -> str:
        left = (now - self.start) / self.done * (self.total - self.done)
        rest = f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
        return f"{self.what}: {self.done}/{self.total}, {self.survived} survived, {rest}"
